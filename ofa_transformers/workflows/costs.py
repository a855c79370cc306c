"""What a route and a comparison take on this machine: some steps are done on stand-ins of models that aren't made yet."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedConfig

from ..initialization.methods import find_method
from ..models.checkpoints import load_config
from ..scoring.masked_lm import DEFAULT_STRIDE
from ..scoring.sentences import default_layer
from ..training.alignment import Alignment
from ..training.distillation import MEASURED, SentenceVectors
from ..training.encoding import Batch
from ..training.masking import IGNORED
from ..training.run import LINES_OF_LANGUAGE
from ..training.timing import pass_seconds, stand_in, update_seconds
from ..utils.precision import multiplies_bfloat16
from .comparison import BATCH, Comparison
from .comparison import TOKENS as SHORT
from .route import Route
from .route_settings import MASKED_IN_PAIRS, SAMPLES, sample_tokens


# Characters of a token, of a tokenizer that was made for the text.
_CHARACTERS = 3.6
# Of the tokens of samples that are no pairs, those that are predicted; of a pass forward and back, the part that goes forward.
_MASKED, _FORWARD = 0.15, 0.3
# Held-out lines of a language in an evaluation during a route's training, and those whose bits are measured around it.
_HELD_PAIRS, _HELD_LINES = 50, 16
_DRAWS = 32
# Characters that are read a second, and seconds to make the rows and the model of a candidate.
_READING, _MAKING = 1e6, 8.0


@dataclass(frozen=True)
class RouteCosts:
    """Seconds on this machine.

    Attributes:
        tokens: of a step, without padding.
        step: of a step.
        evaluation: of an evaluation during training.
        teacher: of the source's vectors of the lines that are drawn, where these are taught.
        measurement: of measuring a model before or after training.
        removal: of finding what tells languages apart in a sentence encoder's vectors.
    """

    tokens: int = 0
    step: float = 0.0
    evaluation: float = 0.0
    teacher: float = 0.0
    measurement: float = 0.0
    removal: float = 0.0


class _Trial:
    """A stand-in of a model, and how long it takes for batches of given shapes.

    Args:
        auto: its class.
        config: of the source.
        vocab_size: of the new model, about.
        taught: it has no head, and its vectors are compared with a teacher's.
        bf16: it is trained in bfloat16.
    """

    def __init__(self, auto: type, config: PreTrainedConfig, vocab_size: int, taught: bool, bf16: bool) -> None:
        config = copy.deepcopy(config)
        text = config.get_text_config()
        text.vocab_size, text.pad_token_id = vocab_size, 0
        with torch.device("meta"):
            model = auto.from_config(config)
        self.model, self.taught, self.causal = stand_in(model), taught, auto is AutoModelForCausalLM
        self.alignment = Alignment(layer=default_layer(model))
        if taught:
            self.alignment = Alignment(vectors=SentenceVectors(text.num_hidden_layers))
        self.vocab_size, self.width, self.bf16 = vocab_size, text.hidden_size, bf16
        self.generator = np.random.default_rng(0)

    def seconds(self, rows: Iterable[np.ndarray], pairs: int = 0) -> tuple[float, float]:
        """Of a pass forward and back as in training, and of a token with padding in float32, as models are measured:
        over batches with rows of these sizes."""
        batches = [self._batch(sizes, pairs) for sizes in rows]
        options = {"causal": self.causal, "alignment": self.alignment}
        plain = found = pass_seconds(self.model, batches, **options)
        if self.bf16:
            found = pass_seconds(self.model, batches, bf16=True, **options)
        return found, plain / float(np.mean([batch["input_ids"].numel() for batch in batches]))

    def _batch(self, sizes: np.ndarray, pairs: int) -> Batch:
        """Rows of these sizes, padded: samples, or both sides of so many pairs."""
        within = torch.from_numpy(np.arange(int(sizes.max())) < sizes[:, None])
        ids = torch.from_numpy(self.generator.integers(0, self.vocab_size, within.shape))
        masked = torch.from_numpy(self.generator.random(ids.shape)) < (MASKED_IN_PAIRS if pairs else _MASKED)
        chosen = within if self.causal else within & masked
        labels = ids.masked_fill(~chosen | self.taught, IGNORED)
        batch = {"input_ids": ids, "attention_mask": within.long(), "labels": labels}
        if pairs:
            batch |= {"content": within, "segments": torch.arange(pairs)}
        if self.taught:
            batch["targets"] = torch.zeros(pairs, self.width)
        return batch

    @property
    def passes(self) -> int:
        """Over a line, so that each of its tokens is predicted once without the rest of its word."""
        return 1 if self.causal else DEFAULT_STRIDE + 1


def measure_route(route: Route, config: PreTrainedConfig, vocab_size: int, steps: int) -> RouteCosts:
    """Of lines of about the length that the text will have.

    Args:
        config: of the source.
        vocab_size: about that of the adapted model.
        steps: of its training.
    """
    taught = route.distills
    auto = AutoModel if taught else route.head or AutoModelForMaskedLM
    trial = _Trial(auto, config, vocab_size, taught, route.in_bfloat16)
    lines = [line for some in route.lines.values() for line in some]
    lengths = np.array([len(line) for line in lines[:: -(-len(lines) // 10_000)]]) / _CHARACTERS
    most = sample_tokens(route.source)
    lengths = np.minimum(lengths.astype(int) + 2, most)
    mean = float(lengths.mean())
    pairs = SAMPLES * max(1, round(most / (2 * mean)))
    share = 1.0 if taught or (route.contrasts and route.all_parallel) else 0.5 * route.contrasts
    tokens = step = forward = 0.0
    if share < 1:
        samples = np.full(SAMPLES, most)
        seconds, each = trial.seconds([samples] * _DRAWS)
        step, tokens, forward = (1 - share) * seconds, (1 - share) * samples.sum(), _FORWARD * each
    if share:
        seconds, each = trial.seconds([trial.generator.choice(lengths, 2 * pairs) for _ in range(_DRAWS)], pairs)
        step, tokens, forward = step + share * seconds, tokens + share * 2 * pairs * mean, _FORWARD * each
    line = forward * mean
    others = max(len(route.translations) - 1, 0)
    bits = 0.0 if taught else line * _HELD_LINES * len(route.lines) * trial.passes
    held = len(route.held_out_ids)
    return RouteCosts(
        tokens=round(tokens),
        step=step + update_seconds(trial.model),
        evaluation=line * 2 * min(_HELD_PAIRS, held) * others,
        teacher=line * min(len(route.translations[route.pivot]), MEASURED + steps * pairs) if taught else 0.0,
        measurement=line * 2 * held * others + bits,
        removal=line * LINES_OF_LANGUAGE * len(route.lines) if taught or route.contrasts else 0.0,
    )


def comparison_seconds(comparison: Comparison) -> float:
    """Of all cells."""
    tokenizer = comparison.tokenizer

    def count(lines: Iterable[str]) -> int:
        lines = list(lines)  # Transformers fails where there are none
        found = tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"] if lines else []
        return sum(map(len, found))

    config = load_config(comparison.source, {})
    taught = not comparison.is_trainable
    auto = AutoModel if taught else AutoModelForCausalLM if comparison.is_causal else AutoModelForMaskedLM
    trial = _Trial(auto, config, len(tokenizer), taught, multiplies_bfloat16(use_cpu=True))
    seconds, token = trial.seconds([np.full(BATCH, SHORT)] * _DRAWS, BATCH // 2 if taught else 0)
    step = seconds + update_seconds(trial.model) if max(comparison.steps) else 0.0

    held = count([line for lines in comparison.held_lines.values() for line in lines])
    pairs = count({line for text in comparison.held_pairs for line in (*text.texts, *text.translations)})
    read = pairs + (held * trial.passes if comparison.is_language_model else 0)
    measuring = len(comparison.steps) * read * _FORWARD * token + sum(comparison.steps) * step

    characters = sum(len(line) for lines in comparison.text.values() for line in lines)
    line = held / sum(map(len, comparison.held_lines.values()))
    cells = 0.0
    for chosen in comparison.candidates.values():
        method = find_method(chosen["method"])
        trained = method.trained_lines(chosen.get("method_settings") or {})
        cells += _MAKING + measuring + method.text_seconds * characters / 1e6
        cells += trained * line * token * (1 + _FORWARD)  # forward and back, and forward through the source
    return characters / _READING + len(comparison.seeds) * cells
