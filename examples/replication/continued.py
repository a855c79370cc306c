"""The same continued pretraining for every initialisation, and what is measured on the way."""

import random
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from initializations import Initialization
from sources import TOKENS, encode, low_precision, mask_tokens, masked_loss
from states import TrainingState
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from translations import draw_translations, let_learn

from ofa_transformers.evaluation import embed_texts, score_masked_lm
from ofa_transformers.models.sentence_modules import SentenceModules
from ofa_transformers.scoring.score import MaskedLMScore
from ofa_transformers.scoring.sentences import default_layer, translation_ranks
from ofa_transformers.text.parallel import ParallelText
from ofa_transformers.training.objective import count_labels, training_loss
from ofa_transformers.training.optimization import parameter_groups
from ofa_transformers.training.pairs import PairedText
from ofa_transformers.workflows.export.sentences import sentence_encoder


WEIGHT_DECAY, WARMUP_STEPS = 0.01, 10
SAMPLES, LINES = 16, 3  # samples of a step, and lines that are joined to one


@dataclass(frozen=True)
class Held:
    """Held-out text: language -> lines, pairs with English by task and language, and English lines.

    One of the tasks may be English, to which another English translation belongs.
    """

    lines: dict[str, list[str]]
    pairs: dict[str, dict[str, ParallelText]]
    english: list[str]


def continue_pretraining(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: dict[str, dict[str, str]],
    held: Held,
    *,
    initialization: Initialization,
    teacher: Path,
    steps: int,
    loss_steps: Collection[int],
    retrieval_steps: Collection[int],
    bits_steps: Collection[int],
    seed: int,
    energy: bool = False,
    state: Path | None = None,
    test: Held | None = None,
    before: dict[str, object] | None = None,
    parallel_text: dict[tuple, PairedText] | None = None,
) -> dict:
    """Trains, and measures the held-out loss, retrieval and bits at given steps, and the energy of training if asked.

    Samples, their order and their masks depend on the seed alone, those of the held-out text on nothing. What the model
    began with says what it is trained on; pairs of translations have about as many tokens a step as other samples. The
    `teacher` is the source, for distillation. A training that broke off goes on from the file `state`, which is written
    every few minutes and removed at the end, but for a measured energy, which would lack a part. `test` is measured
    once, at the end, and so is what the model retrieves as a sentence encoder, less what tells the languages of the text
    apart. `before` keeps what was measured before the first step, for trainings that begin alike,
    `parallel_text` what they draw pairs from. Where the processor multiplies bfloat16, training and measuring do (bits
    differ by less than 0.001 from float32, top-1 of all languages by 0.3 points).

    Raises:
        ValueError: the file `state` is of another training.
    """
    meter = EnergyMeter() if energy else None
    lines = {language: list(verses.values()) for language, verses in texts.items()}
    rate, decay = initialization.rate, initialization.decay
    options = {"layer": default_layer(model), "steps": steps, "samples": SAMPLES, "seed": seed}
    translations = draw_translations(initialization, texts, tokenizer, teacher, **options, encoded=parallel_text)
    masks = [
        (encoded, *mask_tokens(encoded, tokenizer, torch.Generator().manual_seed(7)))
        for encoded in (encode(tokenizer, lines) for lines in held.lines.values())
    ]
    decayed = {n for n, parameter in model.named_parameters() if parameter.dim() > 1}
    groups = parameter_groups(model, decayed, learning_rate=rate, weight_decay=WEIGHT_DECAY)
    optimizer = torch.optim.AdamW(groups, fused=True)
    falling = (lambda step: (steps - step) / steps) if decay else (lambda step: 1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(falling(step), (step + 1) / WARMUP_STEPS))
    torch.manual_seed(seed)  # dropout
    generator = torch.Generator().manual_seed(seed)
    precision = low_precision(model.device)
    kind = "bfloat16" if precision._enabled else "float32"
    found = {
        "precision": kind,
        "measured_in": kind,
        "parameters": model.num_parameters(),
        "embedding_parameters": model.get_input_embeddings().weight.numel(),
        "loss": {},
        "retrieval": {},
        # By this name, as in the results so far, every seventh token masked; by words below.
        "bits_per_character": {},
        "bits_per_character_by_word": {},
        "english_bits_per_character_by_word": {},
        "tokens_per_character": {
            language: round(tokens_per_character(tokenizer, lines), 5) for language, lines in held.lines.items()
        },
    }
    seconds = cpu_seconds = tokens = 0.0
    curve: dict[int, dict[str, float]] = {}
    settings = {**asdict(initialization), "steps": steps, "seed": seed, "precision": kind}
    parts = {"optimizer": optimizer, "schedule": schedule}
    before = {} if before is None else before

    def measure(name: str, step: int, measured: Callable[[], object]) -> None:
        """Notes what `measured` finds after a step."""
        if step == 0 and name in before:
            found[name][step] = before[name]
            return
        with precision:
            found[name][step] = measured()
        if step == 0:
            before[name] = found[name][step]

    scored = partial(bits_per_character, model, tokenizer, held.lines)
    kept = TrainingState(None if energy else state, settings, model, parts, generator)
    if kept.values:
        found, curve = kept.values["found"], kept.values["curve"]
        seconds, cpu_seconds, tokens = kept.values["sums"]
    for step in range(kept.values.get("step", 0), steps + 1):
        kept.keep(step=step, found=found, curve=curve, sums=[seconds, cpu_seconds, tokens])
        if step in loss_steps:
            measure("loss", step, lambda: held_out_loss(model, masks, list(held.lines)))
            curve[step] = {"seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2)}
        if step in retrieval_steps:
            measure("retrieval", step, lambda: retrieval(model, tokenizer, held.pairs))
        if step in bits_steps:
            measure("bits_per_character", step, lambda: scored("token"))
            measure("bits_per_character_by_word", step, lambda: scored("word"))
            measure("english_bits_per_character_by_word", step, lambda: english_bits(model, tokenizer, held))
        if step == steps:
            break
        if meter:
            meter.go_on()
        start, cpu_start = time.perf_counter(), time.process_time()
        model.train()
        let_learn(model, initialization.trained, step / steps)
        pairs = translations.of_step(step)
        if pairs is None:
            encoded = encode(tokenizer, batch(lines, step, seed))
            loss = masked_loss(model, encoded, *mask_tokens(encoded, tokenizer, generator))
        else:
            encoded = {name: tensor.to(model.device) for name, tensor in pairs.items()}
            count = count_labels(encoded["labels"], causal=False)
            with precision:
                tokens_loss, pairs_loss = training_loss(model, model, encoded, count, False, translations.alignment)
            loss = tokens_loss if pairs_loss is None else tokens_loss + pairs_loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seconds += time.perf_counter() - start
        cpu_seconds += time.process_time() - cpu_start
        tokens += int(encoded["attention_mask"].sum())
        if meter:
            meter.pause()
    if meter:
        found["watt_hours"] = round(meter.stop(), 4)
    with precision:
        encoder, modules = sentence_encoder(model, tokenizer, lines)
        found["encoder"] = retrieval(encoder, tokenizer, held.pairs, modules)
    if test is not None:
        with precision:
            found["test"] = {
                "bits_per_character_by_word": bits_per_character(model, tokenizer, test.lines, "word"),
                "english_bits_per_character_by_word": english_bits(model, tokenizer, test),
                "retrieval": retrieval(model, tokenizer, test.pairs),
                "encoder": retrieval(encoder, tokenizer, test.pairs, modules),
            }
    kept.remove()
    return {**found, "curve": curve, "tokens": int(tokens)}


class EnergyMeter:
    """Energy of this process as codecarbon estimates it, which of a processor without a counter knows its kind alone."""

    def __init__(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        # The country decides on the CO2, which isn't kept.
        self._tracker = OfflineEmissionsTracker(
            country_iso_code="DEU", tracking_mode="process", save_to_file=False, log_level="error"
        )
        self._number = 0
        self._kilowatt_hours = 0.0

    def go_on(self) -> None:
        self._number += 1
        self._tracker.start_task(str(self._number))

    def pause(self) -> None:
        self._kilowatt_hours += self._tracker.stop_task().energy_consumed

    def stop(self) -> float:
        """All of it, in Wh."""
        self._tracker.stop()
        return 1000 * self._kilowatt_hours


def tokens_per_character(tokenizer: PreTrainedTokenizerBase, lines: list[str]) -> float:
    """Of the lines' beginnings that samples hold: what turns the loss of a token into bits per character."""
    encoded = tokenizer(
        lines, truncation=True, max_length=TOKENS, return_offsets_mapping=True, add_special_tokens=False
    )
    characters = sum(spans[-1][1] for spans in encoded["offset_mapping"] if spans)
    return sum(map(len, encoded["input_ids"])) / characters


def batch(texts: dict[str, list[str]], step: int, seed: int) -> list[str]:
    """Samples of some joined lines, the languages in turn."""
    draws = random.Random(f"{seed} {step}")
    languages = list(texts)
    chosen = [languages[(step * SAMPLES + i) % len(languages)] for i in range(SAMPLES)]
    return [" ".join(draws.sample(texts[language], LINES)) for language in chosen]


@torch.no_grad()
def held_out_loss(model: PreTrainedModel, masks: list[tuple], languages: list[str]) -> dict[str, float]:
    """Mean loss of a masked token, in nats, by language."""
    model.eval()
    return {
        language: round(masked_loss(model, encoded, inputs, masked).item(), 4)
        for language, (encoded, inputs, masked) in zip(languages, masks)
    }


def bits_per_character(model, tokenizer, lines: dict[str, list[str]], scheme: str) -> dict[str, float]:
    """Of the first quarter of each language's lines, every token predicted once, by `scheme`."""
    found = {}
    for language, texts in lines.items():
        scores = score_masked_lm(model, tokenizer, texts[: max(1, len(texts) // 4)], scheme=scheme)
        found[language] = round(sum(scores, MaskedLMScore()).bits_per_character, 4)
    return found


def english_bits(model, tokenizer, held: Held) -> float:
    """Bits per character of English, words masked: what the source could do."""
    return bits_per_character(model, tokenizer, {"eng": held.english}, "word")["eng"]


def retrieval(
    model, tokenizer, pairs: dict[str, dict[str, ParallelText]], modules: SentenceModules | None = None
) -> dict[str, dict[str, list[float]]]:
    """task -> language -> top-1 accuracy from English and to English, in percent, at the paper's layer, or by the
    modules of a sentence encoder; then the same two once each language's mean vector is subtracted from its texts'
    (Libovický et al., 2020)."""
    layer = default_layer(model) if modules is None else None
    embed = partial(embed_texts, model, tokenizer, layer=layer, modules=modules)
    found = {}
    for task, by_language in pairs.items():
        found[task] = {language: [] for language in by_language}
        names = {id(text): language for language, text in by_language.items()}
        for text, _, both in translation_ranks(list(by_language.values()), embed):
            found[task][names[id(text)]] += [round(100 * (ranks < 1).double().mean().item(), 2) for ranks in both]
    return found
