"""`ofa evaluate retrieval`, `perplexity`, `classification`, `tagging` and `table`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import RUN, quiet_unless_interactive, reserve_output


if TYPE_CHECKING:
    from ..evaluation import Measurement
    from ..text.labelled.examples import LabelledData

app = typer.Typer(
    help="Measure models side by side: retrieval, perplexity, classification, tagging.", no_args_is_help=True
)
# Panels of the help.
DATA, TRAINING = "Data", "Fine-tuning"

Models = Annotated[
    list[str],
    typer.Argument(metavar="MODEL...", help="Folders or Hub ids, side by side in the tables.", show_default=False),
]
Languages = Annotated[
    list[str] | None,
    typer.Option(
        "--language", metavar="CODE", help="Only this one; may repeat.", show_default="all", rich_help_panel=DATA
    ),
]
Ids = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Use these segments, one id a line.", show_default="all", rich_help_panel=DATA),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="SET",
        help="LANGUAGE=ID[:CONFIG] on the Hub; may repeat.",
        show_default="none",
        rich_help_panel=DATA,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Of the data, in results.", show_default="its folder's", rich_help_panel=DATA),
]
Head = Annotated[
    str,
    typer.Option(
        "--head-languages",
        metavar="CODES",
        help="Pretrained on: deu,fra or a file of codes; or none.",
        show_default=True,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Folder for results.json, .csv and .md.",
        show_default="none",
        rich_help_panel=RUN,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.", rich_help_panel=RUN)]
Card = Annotated[bool, typer.Option("--card", help="Add the results to the models' README.md.", rich_help_panel=RUN)]
Cpu = Annotated[bool, typer.Option("--cpu", help="Don't use a GPU.", rich_help_panel=RUN)]
RemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.", rich_help_panel=RUN)
]
Markdown = Annotated[
    bool,
    typer.Option("--markdown", help="Print Markdown, as into files and pipes.", rich_help_panel=RUN),
]
LabelledFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        "-d",
        metavar="PATH",
        help="Files named like deu.train.tsv, or folders.",
        show_default="none",
        rich_help_panel=DATA,
    ),
]
TrainSplit = Annotated[str, typer.Option(metavar="NAME", help="Split to fine-tune on.", rich_help_panel=DATA)]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", metavar="N", help="Of a run; may repeat.", show_default="42", rich_help_panel=TRAINING),
]
Epochs = Annotated[float, typer.Option(metavar="N", help="Passes over the training split.", rich_help_panel=TRAINING)]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        "--lr",
        metavar="X",
        help="AdamW's, at its peak.",
        show_default="by the model's width",
        rich_help_panel=TRAINING,
    ),
]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Sentences of a step.", min=1, rich_help_panel=TRAINING)]
MaxLength = Annotated[
    int, typer.Option(metavar="N", help="Tokens of a sentence; the rest is cut off.", min=1, rich_help_panel=RUN)
]


@app.command("retrieval")
def retrieval(
    models: Models,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Files like deu-eng.tsv, x.deu-eng.deu; folders.",
            show_default="none",
            rich_help_panel=DATA,
        ),
    ] = None,
    parallel: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Files of id<TAB>text; folders.", show_default="none", rich_help_panel=DATA),
    ] = None,
    ids: Ids = None,
    dataset: Datasets = None,
    columns: Annotated[
        str, typer.Option(metavar="A,B", help="Columns of --dataset.", rich_help_panel=DATA)
    ] = "sentence1,sentence2",
    pivot: Annotated[
        str, typer.Option(metavar="CODE", help="Match the others with it.", rich_help_panel=DATA)
    ] = "eng",
    languages: Languages = None,
    max_sentences: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of a language.", min=2, show_default="all", rich_help_panel=DATA),
    ] = None,
    name: Name = None,
    layer: Annotated[
        int | None,
        typer.Option(metavar="N", help="Mean of its states.", min=0, show_default="two thirds of the depth"),
    ] = None,
    center: Annotated[bool, typer.Option("--center", help="Subtract the mean vector of each language first.")] = False,
    head: Head = "xlm-r",
    max_length: MaxLength = 512,
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    cpu: Cpu = False,
    trust_remote_code: RemoteCode = False,
    markdown: Markdown = False,
) -> None:
    """Retrieval of translations, top 1, 5 and 10 in both directions: Tatoeba (SR-T), Bible (SR-B), your own.

    Example: ofa evaluate retrieval adapted FacebookAI/xlm-roberta-base --parallel bible --ids test.tsv -o results
    """
    from ..evaluation import evaluate_retrieval
    from ..text.languages import language_name
    from ..text.parallel_text import read_pair_datasets, read_pairs, read_segments_by_id

    given = [option for option in (pairs, parallel, dataset) if option]
    if len(given) != 1:
        raise ValueError("Name the sentences with one of --pairs, --parallel and --dataset.")
    if ids is not None and not parallel:
        raise ValueError("--ids are of --parallel text; leave them out.")
    options = {"languages": languages, "max_sentences": max_sentences}
    with _evaluation(
        models, output, overwrite, card, markdown, [*(pairs or ()), *(parallel or ()), *([ids] if ids else [])]
    ) as found:
        head_languages = _head(head)
        if pairs:
            texts = read_pairs(pairs, pivot=pivot, **options)
        elif parallel:
            texts = read_segments_by_id(parallel, pivot=pivot, ids=ids, **options)
        else:
            texts = read_pair_datasets(
                _datasets(dataset, languages), columns=_two(columns), max_sentences=max_sentences
            )
        evaluate_retrieval(
            models,
            texts,
            name=name or _name(given[0]),
            pivot=language_name(pivot.partition("_")[0]),
            layer=layer,
            center=center,
            head_languages=head_languages,
            max_length=max_length,
            device="cpu" if cpu else None,
            trust_remote_code=trust_remote_code,
            on_results=found.extend,
        )


@app.command("perplexity")
def perplexity(
    models: Models,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="Files named by language, LANGUAGE=FILE, folders.",
            show_default="none",
            rich_help_panel=DATA,
        ),
    ] = None,
    ids: Ids = None,
    dataset: Datasets = None,
    column: Annotated[
        str, typer.Option(metavar="NAME", help="Column or field with the text.", rich_help_panel=DATA)
    ] = "text",
    split: Annotated[str, typer.Option(metavar="NAME", help="Of --dataset.", rich_help_panel=DATA)] = "test",
    max_texts: Annotated[
        int | None,
        typer.Option(metavar="N", help="First lines of a language.", min=1, show_default="all", rich_help_panel=DATA),
    ] = None,
    name: Name = None,
    scheme: Annotated[
        Literal["word", "token"],
        typer.Option(metavar="word|token", help="Mask the rest of a word, or a token; of masked LMs."),
    ] = "word",
    stride: Annotated[int, typer.Option(metavar="N", help="Mask one token of N at a time.", min=2)] = 7,
    head: Head = "xlm-r",
    max_length: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens of a window.", min=3, show_default="the model's", rich_help_panel=RUN),
    ] = None,
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    cpu: Cpu = False,
    trust_remote_code: RemoteCode = False,
    markdown: Markdown = False,
) -> None:
    """Bits per character and byte, and (pseudo-)perplexity, of masked language models and decoders.

    Example: ofa evaluate perplexity adapted continued --text heldout/ --max-texts 200 -o results
    """
    from ..evaluation import evaluate_perplexity
    from ..text.held_out import read_held_out

    if not text and not dataset:
        raise ValueError("Name text with --text or --dataset.")
    with _evaluation(models, output, overwrite, card, markdown, [*(text or ()), *([ids] if ids else [])]) as found:
        head_languages = _head(head)
        texts, data = read_held_out(
            text or (), dataset or (), ids=ids, column=column, split=split, max_texts=max_texts
        )
        evaluate_perplexity(
            models,
            texts,
            name=name or _name(text or dataset),
            data=data,
            scheme=scheme,
            stride=stride,
            head_languages=head_languages,
            max_length=max_length,
            device="cpu" if cpu else None,
            trust_remote_code=trust_remote_code,
            on_results=found.extend,
        )


@app.command("classification")
def classification(
    models: Models,
    data: LabelledFiles = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labels of segments by id, with --parallel.",
            show_default="none",
            rich_help_panel=DATA,
        ),
    ] = None,
    parallel: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Folder of id<TAB>text files.", show_default="none", rich_help_panel=DATA),
    ] = None,
    dataset: Datasets = None,
    languages: Languages = None,
    train_language: Annotated[
        str, typer.Option(metavar="CODE", help="Language to fine-tune on.", rich_help_panel=DATA)
    ] = "eng",
    train_split: TrainSplit = "train",
    seeds: Seeds = None,
    epochs: Epochs = 10,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = 32,
    head: Head = "xlm-r",
    max_length: MaxLength = 256,
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    cpu: Cpu = False,
    trust_remote_code: RemoteCode = False,
    markdown: Markdown = False,
) -> None:
    """Classification of texts, macro-F1: fine-tuned on one language, tested on all without further training.

    Example: ofa evaluate classification adapted --labels taxi1500/labels.tsv --parallel bible --seed 1 --seed 2
    """
    from ..evaluation import evaluate_classification
    from ..text.labelled.projection import project_labels

    if (labels is None) != (parallel is None):
        raise ValueError("--labels and --parallel belong together: labels by id, and text by id.")
    with _evaluation(
        models, output, overwrite, card, markdown, [*(data or ()), *(path for path in (labels, parallel) if path)]
    ) as found:
        head_languages = _head(head)
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


@app.command("tagging")
def tagging(
    models: Models,
    data: LabelledFiles = None,
    dataset: Datasets = None,
    languages: Languages = None,
    train_language: Annotated[
        str, typer.Option(metavar="CODE", help="Language to fine-tune on.", rich_help_panel=DATA)
    ] = ...,
    train_split: TrainSplit = "train",
    seeds: Seeds = None,
    epochs: Epochs = 10,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = 32,
    head: Head = "xlm-r",
    max_length: MaxLength = 256,
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    cpu: Cpu = False,
    trust_remote_code: RemoteCode = False,
    markdown: Markdown = False,
) -> None:
    """Named entities (CoNLL) or parts of speech (CoNLL-U), F1: fine-tuned on one language, tested on all.

    Example: ofa evaluate tagging adapted --data masakhaner --train-language swa --seed 1 --seed 2 -o results
    """
    from ..evaluation import evaluate_tagging

    with _evaluation(models, output, overwrite, card, markdown, data or ()) as found:
        head_languages = _head(head)
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


@app.command("table")
def table(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS...", help="results.json of other runs, or their folders.", show_default=False),
    ],
    output: Output = None,
    overwrite: Overwrite = False,
    card: Card = False,
    markdown: Markdown = False,
) -> None:
    """Results of several runs side by side: other models, other seeds, other tasks.

    Example: ofa evaluate table results-xlm-r results-adapted --markdown
    """
    from ..evaluation import read_json

    measured = list(
        dict.fromkeys(item for path in results for item in read_json(path / "results.json" if path.is_dir() else path))
    )
    models = sorted({item.model for item in measured})
    with _evaluation(models, output, overwrite, card, markdown, results) as found:
        found += measured


@contextlib.contextmanager
def _evaluation(
    models: Sequence[str],
    output: Path | None,
    overwrite: bool,
    card: bool,
    markdown: bool,
    data: Sequence[str | Path],
) -> Iterator[list[Measurement]]:
    """Checks where results shall go; inside, they are put into the list; then writes and shows them.

    Where the work breaks off, what is in the list is written beside the output folder, or shown if there is none.
    """
    from ..evaluation.card import check_card, write_card_results
    from ..utils.files import free_name

    quiet_unless_interactive()
    if output is not None:
        reserve_output(output, overwrite, inputs=[*models, *(str(path).partition("=")[2] or path for path in data)])
    for model in models if card else ():
        check_card(model)
    found: list[Measurement] = []
    try:
        yield found
    except BaseException as error:
        if found and output is not None:
            kept = free_name(output.with_name(f"{output.name}-unfinished"))
            _write(found, kept)
            typer.echo(
                f"Results until then: {kept} (`ofa evaluate table` joins them with those of the rest)", err=True
            )
        elif found:
            _show(found, markdown or not sys.stdout.isatty())
        if isinstance(error, FloatingPointError):
            raise ValueError(str(error)) from error
        raise
    if output is not None:
        _write(found, output, overwrite)
        typer.echo(f"Results: {output}", err=True)
    for model in models if card else ():
        path = write_card_results(model, [item for item in found if item.model == model])
        typer.echo(f"Card: {path}", err=True)
    _show(found, markdown or not sys.stdout.isatty())


def _write(measured: Sequence[Measurement], output: Path, overwrite: bool = False) -> None:
    from ..evaluation import to_csv, to_json, to_markdown
    from ..utils.files import new_folder

    with new_folder(output, overwrite) as folder:
        for ending, text in (("json", to_json(measured)), ("csv", to_csv(measured)), ("md", to_markdown(measured))):
            (folder / f"results.{ending}").write_text(text, encoding="utf-8")


def _show(measured: Sequence[Measurement], markdown: bool) -> None:
    from ..evaluation import to_markdown
    from ..evaluation.results import GROUPS, tables

    if markdown:
        typer.echo(to_markdown(measured))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for item in tables(measured):
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=item.title, title_justify="left", caption=item.note)
        shown.add_column("language", no_wrap=True)
        for column in item.columns:
            shown.add_column(column, justify="right")
        for number, (language, cells) in enumerate(item.rows):
            following = item.rows[number + 1][0] if number + 1 < len(item.rows) else ""
            shown.add_row(language, *cells, end_section=language not in GROUPS and following in GROUPS)
        console.print(shown)


def _head(value: str) -> list[str] | None:
    """Codes of head languages: from a list with commas, or a file of them; None for none."""
    from ..text.language_groups import head_languages

    if value == "none":
        return None
    if Path(value).is_file():
        value = Path(value).read_text(encoding="utf-8")
    codes = value.replace(",", " ").split()
    head_languages(codes)  # or its error, before work begins
    return codes


def _name(paths: Sequence[Any]) -> str:
    """What the data are called: the folder that they lie in, or the data set."""
    first = str(paths[0]).partition("=")[2] or str(paths[0])
    path = Path(first).resolve()
    if not path.exists():
        return first
    return path.name if path.is_dir() else path.parent.name


def _datasets(values: Sequence[str], languages: Sequence[str] | None) -> dict[str, str]:
    named = {}
    for value in values:
        language, _, identifier = value.partition("=")
        if not language or not identifier:
            raise ValueError(f"The data set {value!r} has no language; write LANGUAGE=ID or LANGUAGE=ID:CONFIG.")
        if languages is None or language in languages:
            named[language] = identifier
    return named


def _two(columns: str) -> tuple[str, str]:
    names = columns.split(",")
    if len(names) != 2 or not all(names):
        raise ValueError(f"--columns is {columns!r}, but must name two, as sentence1,sentence2.")
    return names[0], names[1]


def _labelled(
    data: Sequence[Path] | None,
    datasets: Sequence[str] | None,
    kind: Any,
    train_language: str,
    languages: Sequence[str] | None,
) -> LabelledData:
    from ..text.labelled.files import read_labelled_datasets, read_labelled_files

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
    from ..evaluation import group_means

    return measured + group_means(measured, head_languages, left_out=[train_language])
