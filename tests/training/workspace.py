"""A folder with tiny models and text of three languages, for the tests of the scripts and of the command."""

from pathlib import Path

import torch
from conftest import TEXT, build_byte_bpe, build_unigram
from tiny_models import LM_HEADS, make_config


SIZES = {"deu": 200, "swh_Latn": 40, "zho": 120}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MODELS = {
    "dropout": ("xlm-roberta", build_unigram, {}),
    "plain": ("xlm-roberta", build_unigram, NO_DROPOUT),
    "gpt2": ("gpt2", build_byte_bpe, {"bos_token_id": 0, "eos_token_id": 2}),
}


def make_workspace(folder: Path, models: tuple[str, ...] = tuple(MODELS)) -> None:
    """train/ and validation/ with LANGUAGE.txt, and a folder for each model with its tokenizer."""
    for part, start, sizes in (("train", 0, SIZES), ("validation", 1000, dict.fromkeys(SIZES, 3))):
        (folder / part).mkdir()
        for number, (language, size) in enumerate(sizes.items()):
            lines = [f"{TEXT[(i + number) % 11]} {language} {i}" for i in range(start, start + size)]
            (folder / part / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in models:
        family, build, changes = MODELS[name]
        tokenizer = build()
        torch.manual_seed(7)
        model = LM_HEADS[family](make_config(family, vocab_size=len(tokenizer), initializer_range=0.1, **changes))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
