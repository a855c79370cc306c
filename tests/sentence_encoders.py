"""A tiny sentence encoder in the layout of sentence-transformers."""

import json
from pathlib import Path

from adapted_models import make_source
from transformers import PreTrainedTokenizerBase


def make_sentence_encoder(folder: Path, tokenizer: PreTrainedTokenizerBase, kind: str = "bert-base") -> Path:
    """Mean pooling and normalisation over a random encoder."""
    make_source(kind, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    kinds = ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds)
    ]
    (folder / "1_Pooling").mkdir()
    for name, content in (
        ("modules.json", modules),
        ("sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False}),
        ("1_Pooling/config.json", {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}),
    ):
        (folder / name).write_text(json.dumps(content))
    return folder
