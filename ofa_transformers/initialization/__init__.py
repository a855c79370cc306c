"""From a pretrained model, a target tokenizer and word vectors to a checkpoint (OFA, section 3).

To read in this order:

1. `initializer`: `OfaInitializer.from_pretrained`, the method on one screen. Its steps are the modules that follow.
2. `settings`: what decides an initialisation, how it is checked, and what holds where it is left open.
3. `inputs`: read tokenizers, word vectors, text and the source.
4. `method`, which calls `mapping.build`: map the target's tokens onto the source's; `mapping.token_mapping` applies it.
5. `factors`, then `rows`: factorize the source's embeddings, and make the target's rows of them.
6. `head_bias`: the head's bias, carried over or of text.
7. `special_tokens`, then `assembly`: put the model together; `output_rows` and `calibration`: let its head tell new
   tokens apart, and predict them as often as they occur.
8. `account`: tell in a report what was done. `saving`: write it all to a folder.

`run` keeps time, and what several sizes have in common; `memory` estimates and refuses; `planning` is the dry run.

Nothing is imported here: `report` stands between `mapping`, which it tells about, and `account`, which has it written.
"""
