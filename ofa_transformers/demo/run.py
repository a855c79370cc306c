"""The demo itself: adapt, measure, continue pretraining, measure again, save."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import transformers
from tqdm.auto import tqdm
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..evaluation import MaskedLMScore, embed_texts, retrieval_accuracy, score_masked_lm
from ..initializer import OfaInitializer
from ..mapping import TokenKind, TokenMapping
from ..tokenization import train_tokenizer
from ..vectors import WordVectors
from .data import ENGLISH, SEED_MODEL, ParallelText, load_parallel_text
from .pretraining import continue_pretraining, masked_batches


@dataclass(frozen=True)
class DemoSettings:
    """All that decides the demo's numbers.

    Attributes:
        seed: of tokenizer, vectors, random rows and masking.
        languages: language_Script codes of the target languages; None for all that are shipped.
        vocab_size: tokens of the target tokenizer.
        embedding_size: rank of the factorized model.
        vector_size: dimensions of the word vectors; at most the number of segments to train on.
        steps, batch_size, sequence_length: of the continued pretraining, in optimizer steps, sequences, tokens.
        learning_rate: its peak, after a warmup over a tenth of the steps and before a linear decay to 0.
    """

    seed: int = 0
    languages: tuple[str, ...] | None = None
    vocab_size: int = 5000
    embedding_size: int = 64
    vector_size: int = 40
    steps: int = 100
    batch_size: int = 16
    sequence_length: int = 128
    learning_rate: float = 5e-4


@dataclass(frozen=True)
class Scores:
    """Held-out measures of one model; the overall values leave English out."""

    masked_lm: dict[str, MaskedLMScore]
    retrieval: dict[str, float]

    @property
    def overall(self) -> MaskedLMScore:
        return sum((score for language, score in self.masked_lm.items() if language != ENGLISH), MaskedLMScore())

    @property
    def mean_retrieval(self) -> float:
        return float(np.mean(list(self.retrieval.values())))


@dataclass(frozen=True)
class Arm:
    """One initialisation and how it fared."""

    name: str
    folder: Path
    parameters: int
    embedding_parameters: int
    before: Scores
    after: Scores
    training_seconds: float


@dataclass(frozen=True)
class DemoResult:
    output: Path
    settings: DemoSettings
    arms: list[Arm]
    token_counts: dict[str, int]
    train_words: dict[str, int]
    segments: tuple[int, int]  # train, held out
    retrieval_layer: int
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        """Retrieval accuracy of guessing."""
        return 1 / self.segments[1]

    def to_dict(self) -> dict:
        """Plain values for JSON."""

        def scores(value: Scores) -> dict:
            return {
                "loss": value.overall.loss,
                "bits_per_character": value.overall.bits_per_character,
                "retrieval": value.mean_retrieval,
                "languages": {
                    language: {
                        "loss": score.loss,
                        "bits_per_character": score.bits_per_character,
                        "retrieval": value.retrieval.get(language),
                    }
                    for language, score in value.masked_lm.items()
                },
            }

        return {
            "arms": [
                {
                    "name": arm.name,
                    "checkpoint": arm.folder.name,
                    "parameters": arm.parameters,
                    "embedding_parameters": arm.embedding_parameters,
                    "training_seconds": round(arm.training_seconds, 1),
                    "before": scores(arm.before),
                    "after": scores(arm.after),
                }
                for arm in self.arms
            ],
            "target_tokens": self.token_counts,
            "train_words": self.train_words,
            "train_segments": self.segments[0],
            "heldout_segments": self.segments[1],
            "retrieval_chance": self.chance,
            "retrieval_layer": self.retrieval_layer,
            "settings": asdict(self.settings),
            "seconds": round(self.seconds, 1),
            "versions": self.versions,
        }


def run_demo(
    output: str | os.PathLike,
    settings: DemoSettings | None = None,
    *,
    overwrite: bool = False,
    source: str | os.PathLike | None = None,
    show_progress: bool = False,
) -> DemoResult:
    """Adapt the shipped English model to the languages of the shipped text, three ways, and measure each.

    - "random, overlap copied": rows of tokens that the source has are copied, all others are drawn from a normal
      distribution with the source rows' mean and standard deviation (the paper's baseline RoBERTa-rand).
    - "OFA": the paper's initialisation at full size.
    - "OFA-k": the same with the embeddings factorized to `settings.embedding_size`.

    All are trained on identical batches. The folder `output` receives one checkpoint each and `results.json`; it appears
    when everything is done.

    Args:
        output: folder to write.
        overwrite: replace `output` if it has content.
        source: another masked LM of RoBERTa's or XLM-R's style than the shipped one.

    Raises:
        FileExistsError: `output` has content and `overwrite` is False.
        ValueError: a setting out of range.
    """
    start = time.monotonic()
    settings = settings or DemoSettings()
    output = Path(output)
    check_output(output, overwrite)
    text = load_parallel_text(settings.languages)
    source = SEED_MODEL if source is None else Path(source)
    source_model = AutoModelForMaskedLM.from_pretrained(source, dtype=torch.float32)
    source_tokenizer = AutoTokenizer.from_pretrained(source)

    tokenizer = train_tokenizer(
        {language: list(segments.values()) for language, segments in text.train.items()},
        settings.vocab_size,
        model_max_length=settings.sequence_length,
        seed=settings.seed,
    )
    vectors = WordVectors.from_parallel(
        {iso639(language): list(segments.items()) for language, segments in text.train.items()},
        dim=settings.vector_size,
        min_count=1,  # the text is tiny: most words occur once
        seed=settings.seed,
    )
    common = {
        "target_tokenizer": tokenizer,
        "word_vectors": vectors,
        "source_tokenizer": source_tokenizer,
        "source_languages": [iso639(ENGLISH)],
        "seed": settings.seed,
    }
    full = OfaInitializer.from_pretrained(source_model, **common)
    factorized = OfaInitializer.from_pretrained(source_model, embedding_size=settings.embedding_size, **common)
    models = {
        "random, overlap copied": random_rows(source_model, full.model, full.mapping, settings.seed),
        "OFA": full.model,
        f"OFA-{settings.embedding_size}": factorized.model,
    }
    folders = ["random", "ofa", f"ofa-{settings.embedding_size}"]

    batches = masked_batches(
        [list(segments.values()) for segments in text.train.values()],
        tokenizer,
        steps=settings.steps,
        batch_size=settings.batch_size,
        sequence_length=settings.sequence_length,
        seed=settings.seed,
    )
    # the paper's eighth layer of twelve, as a share of the depth
    layer = round(source_model.config.num_hidden_layers * 8 / 12)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        arms = []
        for (name, model), folder in zip(models.items(), folders):
            with tqdm(total=3, desc=name, unit="stage", leave=False, disable=not show_progress) as bar:
                before = measure(model, tokenizer, text, layer)
                bar.update()
                began = time.monotonic()
                continue_pretraining(
                    model,
                    batches,
                    learning_rate=settings.learning_rate,
                    seed=settings.seed,
                    show_progress=show_progress,
                )
                seconds = time.monotonic() - began
                bar.update()
                after = measure(model, tokenizer, text, layer)
                bar.update()
            arms.append(
                Arm(
                    name=name,
                    folder=output / folder,
                    parameters=model.num_parameters(),
                    embedding_parameters=count_parameters(model.get_input_embeddings()),
                    before=before,
                    after=after,
                    training_seconds=seconds,
                )
            )
            initializer = {id(full.model): full, id(factorized.model): factorized}.get(id(model))
            if initializer is None:
                model.save_pretrained(temporary / folder)
                tokenizer.save_pretrained(temporary / folder)
            else:
                initializer.save_pretrained(temporary / folder)
        result = DemoResult(
            output=output,
            settings=settings,
            arms=arms,
            token_counts={kind.name.lower(): count for kind, count in full.mapping.counts().items()},
            train_words={
                language: sum(len(segment.split()) for segment in segments.values())
                for language, segments in text.train.items()
            },
            segments=(max(map(len, text.train.values())), len(text.heldout[ENGLISH])),
            retrieval_layer=layer,
            seconds=time.monotonic() - start,
            versions={"torch": torch.__version__, "transformers": transformers.__version__},
        )
        (temporary / "results.json").write_text(json.dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
        move_into_place(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return result


def check_output(output: Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file; name a folder for the results")
    if output.exists() and any(output.iterdir()) and not overwrite:
        raise FileExistsError(f"{output} is not empty; name another folder, or pass overwrite to replace it")


def move_into_place(temporary: Path, output: Path) -> None:
    """Rename `temporary` to `output`; what lay there is removed last."""
    temporary.chmod(0o755)  # mkdtemp makes folders that only their owner can read
    if not output.exists():
        os.replace(temporary, output)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{output.name}.old.", dir=output.parent))
    os.replace(output, old)
    try:
        os.replace(temporary, output)
    except OSError:
        os.replace(old, output)
        raise
    shutil.rmtree(old)


def iso639(language: str) -> str:
    """`deu` of `deu_Latn`."""
    return language.split("_")[0]


def count_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def random_rows(
    source_model: PreTrainedModel, adapted: PreTrainedModel, mapping: TokenMapping, seed: int
) -> PreTrainedModel:
    """A copy of `adapted` (full size) in which only matched tokens have rows of the source; the rest are drawn."""
    composed = mapping.kinds == TokenKind.COMPOSED
    weights = mapping.weights.copy()
    keep = np.repeat(~composed, np.diff(weights.indptr))
    weights.data = np.where(keep, weights.data, np.float32(0))
    weights.eliminate_zeros()
    kinds = np.where(composed, np.uint8(TokenKind.FALLBACK), mapping.kinds)
    baseline = dataclasses.replace(mapping, weights=weights, kinds=kinds, cosines=mapping.cosines[keep])
    model = copy.deepcopy(adapted)
    with torch.no_grad():
        for get in ("get_input_embeddings", "get_output_embeddings"):
            rows = baseline.apply(getattr(source_model, get)().weight, seed=seed)
            getattr(model, get)().weight[: len(rows)].copy_(rows)
        bias = baseline.apply(source_model.get_output_embeddings().bias, seed=seed)
        model.get_output_embeddings().bias[: len(bias)].copy_(bias)
    return model


def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: ParallelText, layer: int) -> Scores:
    """Held-out masked-LM scores of every language, and retrieval from English to every other."""
    languages = list(text.heldout)
    segments: Sequence[str] = [segment for language in languages for segment in text.heldout[language].values()]
    count = len(text.heldout[ENGLISH])
    scores = score_masked_lm(model, tokenizer, segments)
    vectors = dict(zip(languages, embed_texts(model, tokenizer, segments, layer=layer).split(count)))
    return Scores(
        masked_lm={
            language: sum(scores[i * count : (i + 1) * count], MaskedLMScore()) for i, language in enumerate(languages)
        },
        retrieval={
            language: retrieval_accuracy(vectors[ENGLISH], vectors[language])
            for language in languages
            if language != ENGLISH
        },
    )
