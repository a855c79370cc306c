"""From a pretrained model, a target tokenizer and word vectors to a checkpoint (OFA, section 3).

`OfaInitializer` comes from the package itself. Nothing is imported here: `report` stands between `mapping`, which it
tells about, and `initializer`, which has it written.
"""
