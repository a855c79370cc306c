"""The demo itself: adapt, measure, continue pretraining, measure again, save."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
import transformers
from tqdm.auto import tqdm
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..initialization.initializer import OfaInitializer
from ..initialization.mapping.token_mapping import TokenKind, TokenMapping
from ..scoring.batching import longest_input
from ..scoring.masked_lm import score_masked_lm
from ..scoring.score import MaskedLMScore
from ..scoring.sentences import embed_texts, retrieval_accuracy
from ..tokenization import save_tokenizer, train_tokenizer
from ..utils.files import check_output_folder, new_folder
from ..utils.strict_json import dumps
from ..vectors import WordVectors
from ..workflows.pretraining import continue_pretraining, pair_batches, training_batches
from .data import ENGLISH, SEED_MODEL, ParallelText, load_parallel_text
from .results import Arm, DemoResult, DemoSettings, Scores


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
    - "OFA-N": the same with the embeddings factorized to `settings.embedding_size`.

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
    output = check_output_folder(output, overwrite)
    text = load_parallel_text(settings.languages)
    source = SEED_MODEL if source is None else Path(source)
    full, factorized, random = adapt(source, text, settings)
    tokenizer = full.tokenizer
    batches = batches_of(text, tokenizer, settings)
    # the paper's eighth layer of twelve, as a share of the depth
    layer = round(random.config.num_hidden_layers * 8 / 12)
    models = [
        ("random, overlap copied", "random", random),
        ("OFA", "ofa", full.model),
        (f"OFA-{settings.embedding_size}", f"ofa-{settings.embedding_size}", factorized.model),
    ]
    arms = []
    with new_folder(output, overwrite) as temporary:
        for name, folder, model in tqdm(models, desc="initialisations", leave=False, disable=not show_progress):
            before = measure(model, tokenizer, text, layer, show_progress)
            began = time.monotonic()
            continue_pretraining(
                model,
                batches,
                learning_rate=settings.learning_rate,
                seed=settings.seed,
                show_progress=show_progress,
            )
            seconds = time.monotonic() - began
            after = measure(model, tokenizer, text, layer, show_progress)
            embeddings = sum(parameter.numel() for parameter in model.get_input_embeddings().parameters())
            arms.append(Arm(name, output / folder, model.num_parameters(), embeddings, before, after, seconds))
        full.save_pretrained(temporary / models[1][1])
        factorized.save_pretrained(temporary / models[2][1])
        random.save_pretrained(temporary / models[0][1])
        save_tokenizer(tokenizer, temporary / models[0][1])
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
        (temporary / "results.json").write_text(dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
    return result


def batches_of(
    text: ParallelText, tokenizer: PreTrainedTokenizerBase, settings: DemoSettings
) -> list[dict[str, torch.Tensor]]:
    """Running text and pairs of translations in turn, as `ofa pretrain --parallel` mixes them."""
    options = {"sequence_length": settings.sequence_length, "seed": settings.seed}
    lines = training_batches(
        [list(segments.values()) for segments in text.train.values()],
        tokenizer,
        steps=(settings.steps + 1) // 2,
        batch_size=settings.batch_size,
        **options,
    )
    pairs = pair_batches(
        text.train, tokenizer, steps=settings.steps // 2, batch_size=settings.pairs_per_batch, **options
    )
    return [batch for both in itertools.zip_longest(lines, pairs) for batch in both if batch is not None]


def adapt(
    source: Path, text: ParallelText, settings: DemoSettings
) -> tuple[OfaInitializer, OfaInitializer, PreTrainedModel]:
    """Target tokenizer and word vectors from the text, then OFA at full size, OFA factorized, and random rows."""
    source_model = AutoModelForMaskedLM.from_pretrained(source, dtype=torch.float32)
    source_tokenizer = AutoTokenizer.from_pretrained(source)
    longest = longest_input(source_model, source_tokenizer)
    if settings.sequence_length > longest:
        raise ValueError(f"sequence_length={settings.sequence_length}, but {source} takes at most {longest} tokens")
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
    full, factorized = OfaInitializer.each_size(
        source_model,
        (None, settings.embedding_size),
        target_tokenizer=tokenizer,
        word_vectors=vectors,
        source_tokenizer=source_tokenizer,
        source_languages=[iso639(ENGLISH)],
        seed=settings.seed,
    )
    return full, factorized, random_rows(source_model, full.model, full.mapping, settings.seed)


def iso639(language: str) -> str:
    """`deu` of `deu_Latn`."""
    return language.split("_")[0]


def random_rows(
    source_model: PreTrainedModel, adapted: PreTrainedModel, mapping: TokenMapping, seed: int
) -> PreTrainedModel:
    """A copy of `adapted` (full size) in which only tokens of both vocabularies have the source's rows; others are drawn.

    False friends, which OFA composes, have them here, as in the baseline of the paper.
    """
    composed = mapping.kinds == TokenKind.COMPOSED
    friends = np.array(list(mapping.rejections), dtype=np.int64)
    theirs = np.array([rejection.source_id for rejection in mapping.rejections.values()], dtype=np.int64)
    copied = scipy.sparse.coo_array((np.ones(len(friends), np.float32), (friends, theirs)), shape=mapping.shape)
    weights = (scipy.sparse.diags_array((~composed).astype(np.float32)) @ mapping.weights + copied).tocsr()
    kinds = np.where(composed, np.uint8(TokenKind.FALLBACK), mapping.kinds)
    kinds[friends] = TokenKind.COPIED
    cosines = np.full(weights.nnz, np.nan, dtype=np.float32)
    baseline = dataclasses.replace(mapping, weights=weights, kinds=kinds, cosines=cosines)
    model = copy.deepcopy(adapted)
    with torch.no_grad():
        for get in ("get_input_embeddings", "get_output_embeddings"):
            rows = baseline.apply(getattr(source_model, get)().weight, seed=seed)
            getattr(model, get)().weight[: len(rows)].copy_(rows)
        bias = baseline.apply(source_model.get_output_embeddings().bias, fallback="mean", seed=seed)
        model.get_output_embeddings().bias[: len(bias)].copy_(bias)
    return model


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: ParallelText,
    layer: int,
    show_progress: bool = False,
) -> Scores:
    """Held-out masked-LM scores of every language, and retrieval from English to every other."""
    languages = list(text.heldout)
    segments: Sequence[str] = [segment for language in languages for segment in text.heldout[language].values()]
    count = len(text.heldout[ENGLISH])
    scores = score_masked_lm(model, tokenizer, segments, show_progress=show_progress)
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
