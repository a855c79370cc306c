"""An adaptation whose tokens, words, names and metadata try to break a page."""

from functools import lru_cache

import numpy as np
from adapted_models import make_source
from conftest import TEXT, build_byte_bpe, build_unigram
from tokenizers import AddedToken

import ofa_transformers as ofa


HOSTILE = [
    "</script><script>hacked=1</script>",
    "<!--<script>",
    "<img src=x onerror=hacked=1>",
    "\"'&amp;`${hacked=1}",
    "a\nb",
    "{{ 7 * 7 }}",
    "İstanbul",
    "𝒲😀",
]


@lru_cache
def inputs():
    source_tokenizer, target_tokenizer = build_byte_bpe(), build_unigram()
    target_tokenizer.add_tokens([AddedToken(text, normalized=False) for text in HOSTILE])
    words, languages = [], []
    for line, language in ((0, "eng"), (1, "eng"), (2, "eng"), (3, "deu"), (4, "deu"), (5, "deu"), (8, "rus")):
        for word in TEXT[line].strip(".").replace(",", "").replace(";", "").split():
            if (f"${word}$", language) not in zip(words, languages):
                words.append(f"${word}$")
                languages.append(language)
    words += ["$<b>bold</b>$", "$บ้าน$", "$ไทย$"]
    languages += ["eng", "tha", "tha"]
    vectors = np.random.default_rng(0).normal(size=(len(words), 12)).astype(np.float32)
    metadata = {"origin": HOSTILE[2], "licence": HOSTILE[0]}
    return source_tokenizer, target_tokenizer, ofa.WordVectors(words, np.array(languages), vectors, metadata=metadata)


def adapt_hostile(embedding_size: int | None) -> ofa.OfaInitializer:
    """A tiny RoBERTa adapted to a Unigram tokenizer with `HOSTILE` tokens."""
    source_tokenizer, target_tokenizer, vectors = inputs()
    source = make_source("roberta", source_tokenizer)
    source.config._name_or_path = f"someone/{HOSTILE[1]}"
    return ofa.OfaInitializer.from_pretrained(
        source,
        source_tokenizer=source_tokenizer,
        target_tokenizer=target_tokenizer,
        word_vectors=vectors,
        embedding_size=embedding_size,
    )
