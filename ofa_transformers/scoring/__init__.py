"""What a model makes of text: language-modelling scores and sentence embeddings."""
