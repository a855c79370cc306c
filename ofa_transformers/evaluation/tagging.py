"""Tagging of words across languages, named entities or parts of speech: fine-tuned on one, tested on all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification, PreTrainedTokenizerBase

from ..scoring.framing import special_frame, word_tokens
from ..text.labelled.entities import ENTITY_TAG, OUTSIDE, count_units, units_reader
from ..text.labelled.examples import Examples, LabelledData
from ..text.labelled.splits import choose_splits
from .counts import Scored, accuracy, count_classes, f1, macro_f1
from .finetuning import Features, FineTuning, Task, evaluate_fine_tuned
from .results import Measurement


# https://universaldependencies.org/u/pos; small training sets lack some of them.
UPOS = {
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
}
_NO_LABEL = -100  # what torch's cross-entropy passes over


def evaluate_tagging(
    models: Sequence[str],
    data: LabelledData,
    *,
    train_language: str,
    train_split: str = "train",
    dev_split: str = "dev",
    test_split: str = "test",
    languages: Sequence[str] | None = None,
    seeds: Sequence[int] = (42,),
    on_results: Callable[[list[Measurement]], object] | None = None,
    **settings: Any,
) -> list[Measurement]:
    """F1 of named entities, or F1, accuracy and macro-F1 of parts of speech (the paper, section 4.3).

    Each model gets a tagging head, is fine-tuned on one language, and tags the words of all; its weights are those of
    the epoch with the best F1 on that language's development sentences. A word's tag is learnt and read at its first
    token. A word without one, because the sentence is longer than `max_length` tokens or because the tokenizer turns the
    word into nothing, counts as outside of entities, or as wrong where every word has a tag.

    Args:
        models: folders or Hub ids of anything that AutoModelForTokenClassification loads.
        data: see `read_labelled_files`, `read_labelled_datasets`. Tags of which one is O are entities.
        train_language: the language to fine-tune on, by name (eng_Latn) or code.
        train_split, dev_split, test_split: of `data`; see `choose_splits`.
        languages: to test on, likewise; default: all.
        seeds: a fine-tuning for each; of the head, the order and dropout.
        on_results: called with the measurements of each model and seed as soon as they are there, so that none is lost
            where a later fine-tuning fails.
        settings: fields of `FineTuning`: epochs, learning_rate, batch_size, max_length, weight_decay, device,
            trust_remote_code.

    Returns:
        Of each model, seed and language, with 95 % bootstrap intervals over the sentences: "F1" of entities by type and
        span, as seqeval's `f1_score`. Of parts of speech "F1" as in XTREME and the paper, who pass them to that same
        function, for which a run of words with the same tag is one unit (except that it can't tell CCONJ from SCONJ,
        nor we repeat that); "accuracy" of the words, which is also their micro-F1; and "macro-F1" over the tags.

    Raises:
        ImportError: seqeval is missing.
        ValueError: a missing language or split, a tag that the training sentences haven't, a model without tokenizer, or
            settings that can't be, all before any training; a model that doesn't fit its tokenizer.
        OSError: a model that can't be found.
        FloatingPointError: a fine-tuning that diverged.
    """
    units_reader()  # or the error, now
    chosen = choose_splits(data, "tagging", train_language, train_split, dev_split, test_split, languages)
    labels = _labels(chosen.train.label_set())
    chosen.check_labels(labels)
    task = Task(
        f"tagging ({data.name})",
        labels,
        AutoModelForTokenClassification,
        DataCollatorForTokenClassification,
        encode_words,
        _score,
    )
    return evaluate_fine_tuned(task, chosen, models, seeds, FineTuning(**settings), on_results)


def _labels(found: set[str]) -> list[str]:
    """The tags to predict: those found, completed to both tags of each type of entity, or to all parts of speech."""
    if any(map(ENTITY_TAG.fullmatch, found)):
        kinds = {tag[2:] for tag in found - {OUTSIDE}}
        return [OUTSIDE, *(f"{prefix}-{kind}" for kind in sorted(kinds) for prefix in "BI")]
    return sorted(UPOS if found <= UPOS else found)


def encode_words(
    examples: Examples, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[Features]:
    """Sentences of words as tokens, with their labels at the first token of each word.

    Returns:
        For each sentence `input_ids`, `attention_mask`, `labels` (-100 where no word begins), and `first`: (words,)
        int64, the position of each word's first token, -1 where it has none.
    """
    index = {label: number for number, label in enumerate(labels)}
    space = word_prefix(tokenizer)
    prefix, suffix = special_frame(tokenizer)
    room = max(max_length - len(prefix) - len(suffix), 0)
    encoded = word_tokens(tokenizer, [[f"{space}{word}" for word in words] for words in examples.inputs])
    features = []
    for (ids, words), tags in zip(encoded, examples.labels):
        ids = [*prefix, *ids[:room], *suffix]
        first = np.full(len(tags), -1)
        targets = [_NO_LABEL] * len(ids)
        for position, word in enumerate(words[:room], start=len(prefix)):
            if first[word] < 0:
                first[word] = position
                targets[position] = index[tags[word]]
        features.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": targets, "first": first})
    return features


def word_prefix(tokenizer: PreTrainedTokenizerBase) -> str:
    """What to put before words given by themselves, so that they are cut as within a line: a space, or nothing.

    Byte-level tokenizers, and those of SentencePiece that put no mark before a line (Gemma, Metaspace with "never"), know
    the beginning of a word by the space before it, which words by themselves haven't.
    """
    line = tokenizer("a b", add_special_tokens=False)["input_ids"]
    for prefix in ("", " "):
        words = tokenizer(["a", f"{prefix}b"], is_split_into_words=True, add_special_tokens=False)["input_ids"]
        if words == line:
            return prefix
    return ""


def _score(
    examples: Examples, labels: Sequence[str], features: Sequence[Features], predicted: Sequence[np.ndarray]
) -> list[Scored]:
    entities = OUTSIDE in labels
    names = [*labels, OUTSIDE]  # one past the end stands for words without token
    found = [np.append(tags, len(labels))[sentence["first"]] for sentence, tags in zip(features, predicted)]
    tagged = [[names[tag] for tag in tags] for tags in found]
    scored = [Scored("F1", count_units(examples.labels, tagged), f1)]
    if not entities:
        index = {label: number for number, label in enumerate(labels)}
        gold = np.array([index[tag] for tags in examples.labels for tag in tags])
        sentences = np.repeat(np.arange(len(found)), [len(tags) for tags in found])
        words = np.concatenate(found)
        words[words == len(labels)] = -1
        counts = count_classes(gold, words, sentences, len(found), len(labels))
        scored += [Scored("accuracy", counts, accuracy), Scored("macro-F1", counts, macro_f1)]
    return scored
