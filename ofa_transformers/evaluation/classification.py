"""Classification of texts across languages: fine-tuned on one, tested on all without further training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, PreTrainedTokenizerBase

from ..scoring.framing import special_frame, text_ids
from ..text.labelled.examples import Examples, LabelledData
from ..text.labelled.splits import choose_splits
from .counts import Scored, accuracy, count_classes, macro_f1
from .finetuning import Features, FineTuning, Task, evaluate_fine_tuned
from .results import Measurement


def evaluate_classification(
    models: Sequence[str],
    data: LabelledData,
    *,
    train_language: str = "eng",
    train_split: str = "train",
    dev_split: str = "dev",
    test_split: str = "test",
    languages: Sequence[str] | None = None,
    seeds: Sequence[int] = (42,),
    on_results: Callable[[list[Measurement]], object] | None = None,
    **settings: Any,
) -> list[Measurement]:
    """Macro-F1 and accuracy of texts with one label each, as in Taxi1500 (the paper, section 4.3).

    Each model gets a classification head, is fine-tuned on one language, and predicts the labels of all; its weights
    are those of the epoch with the best macro-F1 on that language's development texts.

    Args:
        models: folders or Hub ids of anything that AutoModelForSequenceClassification loads.
        data: see `read_labelled_files`, `read_labelled_datasets`, `project_labels`.
        train_language: the language to fine-tune on, by name (eng_Latn) or code.
        train_split, dev_split, test_split: of `data`; see `choose_splits`.
        languages: to test on, likewise; default: all.
        seeds: a fine-tuning for each; of the head, the order and dropout.
        on_results: called with the measurements of each model and seed as soon as they are there, so that none is lost
            where a later fine-tuning fails.
        settings: fields of `FineTuning`: epochs, learning_rate, batch_size, max_length, weight_decay, device,
            trust_remote_code. Texts longer than `max_length` tokens are judged by their beginning.

    Returns:
        "macro-F1" and "accuracy" of each model, seed and language, with 95 % bootstrap intervals over the texts.

    Raises:
        ValueError: a missing language or split, a label that the training texts haven't, a model without tokenizer, or
            settings that can't be, all before any training; a model that doesn't fit its tokenizer.
        OSError: a model that can't be found.
        FloatingPointError: a fine-tuning that diverged.
    """
    chosen = choose_splits(data, "classification", train_language, train_split, dev_split, test_split, languages)
    labels = sorted(chosen.train.label_set())
    chosen.check_labels(labels)
    task = Task(
        f"classification ({data.name})",
        labels,
        AutoModelForSequenceClassification,
        DataCollatorWithPadding,
        _encode,
        _score,
    )
    return evaluate_fine_tuned(task, chosen, models, seeds, FineTuning(**settings), on_results)


def _encode(
    examples: Examples, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[Features]:
    index = {label: number for number, label in enumerate(labels)}
    prefix, suffix = special_frame(tokenizer)
    room = max(max_length - len(prefix) - len(suffix), 0)
    texts = [[*prefix, *ids[:room], *suffix] for ids in text_ids(tokenizer, examples.inputs)]
    return [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": index[label]}
        for ids, label in zip(texts, examples.labels)
    ]


def _score(
    examples: Examples, labels: Sequence[str], features: Sequence[Features], predicted: Sequence[np.ndarray]
) -> list[Scored]:
    gold = np.array([sentence["labels"] for sentence in features])
    counts = count_classes(gold, np.array(predicted), np.arange(len(gold)), len(gold), len(labels))
    return [Scored("macro-F1", counts, macro_f1), Scored("accuracy", counts, accuracy)]
