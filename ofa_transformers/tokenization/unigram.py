"""Unigram pieces, trained by sentencepiece.

The trainer of the tokenizers library iterates over randomly seeded hash maps and gives another vocabulary each time;
sentencepiece, which trained XLM-R's, does not.
"""

from __future__ import annotations

import io

import numpy as np
import sentencepiece
from tokenizers import models

from ..utils.progress import stage
from .plan import BYTE_PIECES, Plan, check_size
from .word_counts import Words, count_words


# sentencepiece adds up its expectations by thread, so that their number shows in the last digits: it is always the same
_TRAINING_THREADS = 8

# about 0.1 KB and 6 microseconds each
_SAMPLE_WORDS = 4_000_000
# Characters. Of longer ones, which are no words but data, sentencepiece's time is more than linear; pieces have up to 16.
_LONGEST_WORD = 1_000


def train_unigram(plan: Plan, texts, size: int, alpha: float, max_characters: int | None, seed: int) -> None:
    words = count_words(plan.tokenizer, texts, alpha, max_characters=max_characters)
    bytes_ = BYTE_PIECES if plan.options.get("byte_fallback") else []
    alphabet = set().union(*words.words) | {"▁"}
    check_size(size + len(plan.last), len(alphabet) + len(bytes_), plan)
    reserved = plan.names + bytes_
    pieces = train_unigram_pieces(words, size - len(reserved))
    vocabulary = [(token, 0.0) for token in reserved] + [(p, s) for p, s in pieces if p not in set(reserved)]
    unk = plan.names.index(plan.unk) if plan.unk is not None else None
    plan.tokenizer.model = models.Unigram(vocabulary, unk_id=unk, byte_fallback=bool(bytes_))


def train_unigram_pieces(words: Words, size: int) -> list[tuple[str, float]]:
    """Up to `size` pieces of a Unigram model with their scores (natural logs of probabilities), best first.

    sentencepiece writes out every occurrence of a word before it counts them again, so it gets a sample of at most
    `_SAMPLE_WORDS`, drawn systematically: each word by its share, up to one occurrence.
    """
    weights = words.weights * min(1 / words.unit, _SAMPLE_WORDS / words.weights.sum())
    counts = np.diff(np.floor(np.cumsum(weights) + 0.5), prepend=0).astype(np.int64)
    sample = (
        (word[start : start + _LONGEST_WORD], count)
        for word, count in zip(words.words, counts.tolist())
        if count and word != "▁"
        for start in range(0, len(word), _LONGEST_WORD)
    )
    trained = io.BytesIO()
    with stage("Training"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{word.replace('▁', ' ')}\t{count}" for word, count in sample),
            input_format="tsv",
            model_writer=trained,
            model_type="unigram",
            vocab_size=size + 1,  # it insists on an unk
            # The default of a million takes minutes for little vocabularies. XLM-R's 250,000 began with four times as many.
            seed_sentencepiece_size=min(max(5 * size, 100_000), 1_000_000),
            hard_vocab_limit=False,
            normalization_rule_name="identity",  # the words come normalised, with their spaces
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            character_coverage=1.0,
            max_sentence_length=1 << 24,  # in bytes; longer ones would be left out silently
            num_threads=_TRAINING_THREADS,
            bos_id=-1,
            pad_id=-1,
            eos_id=-1,
            unk_id=0,
            minloglevel=2,
        )
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    return [(model.id_to_piece(i), model.get_score(i)) for i in range(1, model.get_piece_size())]
