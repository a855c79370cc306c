"""`ofa evaluate classification` and `tagging`: of models that are fine-tuned on one language first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    DATA,
    BatchSize,
    Card,
    Cpu,
    Datasets,
    Details,
    Epochs,
    Head,
    LabelledFiles,
    Languages,
    LearningRate,
    Markdown,
    MaxLength,
    Models,
    Output,
    Overwrite,
    RemoteCode,
    Seeds,
    TrainSplit,
    head_codes,
)
from .output import Destination, evaluation


if TYPE_CHECKING:
    from ...evaluation import Measurement
    from ...text.labelled.examples import LabelledData


def classification(
    models: Models,
    data: LabelledFiles = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Read labels of segments by id, with --parallel.",
            show_default="none",
            rich_help_panel=DATA,
        ),
    ] = None,
    parallel: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Read a folder of id<TAB>text files.", show_default="none", rich_help_panel=DATA
        ),
    ] = None,
    dataset: Datasets = None,
    languages: Languages = None,
    train_language: Annotated[
        str, typer.Option(metavar="CODE", help="Fine-tune on this language.", rich_help_panel=DATA)
    ] = "eng",
    train_split: TrainSplit = "train",
    seeds: Seeds = None,
    epochs: Epochs = 10,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = 32,
    head: Head = None,
    max_length: MaxLength = 256,
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    cpu: Cpu = False,
    trust_remote_code: RemoteCode = False,
    markdown: Markdown = False,
    details: Details = False,
) -> None:
    """Classification of texts, macro-F1: fine-tuned on one language, tested on all without further training.

    Example: ofa evaluate classification adapted --labels taxi1500/labels.tsv --parallel bible --seed 1 --seed 2
    """
    from ...evaluation import evaluate_classification
    from ...text.labelled.projection import project_labels

    if (labels is None) != (parallel is None):
        raise ValueError("--labels and --parallel belong together: labels by id, and text by id.")
    with evaluation(
        models,
        Destination(output, overwrite, card, markdown, details),
        [*(data or ()), *(path for path in (labels, parallel) if path)],
    ) as found:
        head_languages = head_codes(head)
        if labels is not None:
            if data or dataset:
                raise ValueError("Name the texts with one of --data, --dataset, and --labels with --parallel.")
            chosen = None if languages is None else list(dict.fromkeys([train_language, *languages]))
            read = project_labels(labels, parallel, languages=chosen)
        else:
            read = _labelled(data, dataset, "classification", train_language, languages)
        trained_on = read.find_one(train_language)
        evaluate_classification(
            models,
            read,
            train_language=train_language,
            train_split=train_split,
            languages=languages,
            seeds=seeds or [42],
            on_results=lambda measured: found.extend(_with_means(measured, head_languages, trained_on)),
            **_settings(epochs, learning_rate, batch_size, max_length, cpu, trust_remote_code),
        )


def tagging(
    models: Models,
    data: LabelledFiles = None,
    dataset: Datasets = None,
    languages: Languages = None,
    train_language: Annotated[
        str, typer.Option(metavar="CODE", help="Fine-tune on this language.", rich_help_panel=DATA)
    ] = ...,
    train_split: TrainSplit = "train",
    seeds: Seeds = None,
    epochs: Epochs = 10,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = 32,
    head: Head = None,
    max_length: MaxLength = 256,
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    cpu: Cpu = False,
    trust_remote_code: RemoteCode = False,
    markdown: Markdown = False,
    details: Details = False,
) -> None:
    """Named entities (CoNLL) or parts of speech (CoNLL-U), F1: fine-tuned on one language, tested on all.

    Example: ofa evaluate tagging adapted --data masakhaner --train-language swa --seed 1 --seed 2 -o results
    """
    from ...evaluation import evaluate_tagging

    with evaluation(models, Destination(output, overwrite, card, markdown, details), data or ()) as found:
        head_languages = head_codes(head)
        read = _labelled(data, dataset, "tagging", train_language, languages)
        trained_on = read.find_one(train_language)
        evaluate_tagging(
            models,
            read,
            train_language=train_language,
            train_split=train_split,
            languages=languages,
            seeds=seeds or [42],
            on_results=lambda measured: found.extend(_with_means(measured, head_languages, trained_on)),
            **_settings(epochs, learning_rate, batch_size, max_length, cpu, trust_remote_code),
        )


def _labelled(
    data: Sequence[Path] | None,
    datasets: Sequence[str] | None,
    kind: Any,
    train_language: str,
    languages: Sequence[str] | None,
) -> LabelledData:
    from ...text.labelled.files import read_labelled_datasets, read_labelled_files

    if bool(data) == bool(datasets):
        raise ValueError("Name labelled sentences with --data, or data sets of the Hub with --dataset.")
    chosen = None if languages is None else list(dict.fromkeys([train_language, *languages]))
    return read_labelled_datasets(datasets, kind) if datasets else read_labelled_files(data, kind, languages=chosen)


def _settings(
    epochs: float,
    learning_rate: float | None,
    batch_size: int,
    max_length: int,
    cpu: bool,
    trust_remote_code: bool,
) -> dict[str, Any]:
    return {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "max_length": max_length,
        "device": "cpu" if cpu else None,
        "trust_remote_code": trust_remote_code,
    }


def _with_means(
    measured: list[Measurement], head_languages: Sequence[str] | None, train_language: str
) -> list[Measurement]:
    from ...evaluation import group_means

    return measured + group_means(measured, head_languages, left_out=[train_language])
