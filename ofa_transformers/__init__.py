"""OFA for Transformers: adapt a pretrained model to many languages by extending its vocabulary (arXiv 2311.08849)."""
