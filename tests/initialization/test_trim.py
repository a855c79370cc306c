"""A trimmed model gives what its source gives."""

import conftest
import pytest
import torch
from adapted_models import adapt, make_source
from transformers import AutoConfig, AutoTokenizer

from ofa_transformers.initialization.mapping import TokenKind
from ofa_transformers.tokenization import trim_tokenizer


KEPT = {"deu": conftest.TEXT[3:6], "rus": conftest.TEXT[8:10]}

KINDS = [
    ("xlm-roberta", "unigram"),
    ("xlm-roberta-base", "unigram"),
    ("xlm-roberta-classifier", "byte_bpe"),
    ("roberta-untied", "byte_bpe"),
    ("bert", "wordpiece"),
    ("gpt2", "byte_bpe"),
    ("llama-untied", "sentencepiece_bpe"),
    ("t5", "unigram"),
]


@pytest.mark.parametrize(("kind", "name"), KINDS, ids=[kind for kind, _ in KINDS])
def test_outputs_are_the_same(kind, name, tiny_tokenizers, tmp_path):
    old = tiny_tokenizers[name]
    source = make_source(kind, old, rows=len(old) + 7)  # rows that stand for no token
    trimmed = adapt(source, old, trim_tokenizer(old, KEPT, multiple_of=8), None, method="fvt")
    new = trimmed.tokenizer
    assert len(new) == trimmed.report.target["rows"] < len(old) and len(new) % 8 == 0
    assert set(trimmed.mapping.kinds) <= {TokenKind.COPIED, TokenKind.SPECIAL}
    trimmed.save_pretrained(tmp_path / "trimmed")
    assert AutoConfig.from_pretrained(tmp_path / "trimmed").vocab_size == len(new)
    loaded = type(source).from_pretrained(tmp_path / "trimmed").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "trimmed")
    kept = old.convert_tokens_to_ids(new.convert_ids_to_tokens(range(len(new))))
    for line in [line for lines in KEPT.values() for line in lines]:
        before, after = (t(line, return_tensors="pt", return_token_type_ids=False) for t in (old, tokenizer))
        if kind == "t5":
            before["decoder_input_ids"], after["decoder_input_ids"] = before["input_ids"], after["input_ids"]
        with torch.no_grad():
            expected, found = source(**before, return_dict=True), loaded(**after, return_dict=True)
        names = {"logits", "last_hidden_state"} & set(expected)
        assert names == names & set(found) and names
        for part in names:
            theirs = expected[part][..., kept] if expected[part].shape[-1] == len(old) + 7 else expected[part]
            torch.testing.assert_close(found[part], theirs, rtol=0, atol=1e-6)
