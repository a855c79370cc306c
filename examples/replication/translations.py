"""What a training takes of translations, and which parameters it moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from initializations import Initialization
from sources import TOKENS
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ofa_transformers.training.alignment import Alignment
from ofa_transformers.training.distillation import SentenceVectors, read_targets
from ofa_transformers.training.masking import MaskingCollator
from ofa_transformers.training.pairs import PairCollator, PairedText, PairSamples
from ofa_transformers.training.samples import Encoder
from ofa_transformers.training.setup import MASKED_TARGET_WEIGHT


OUTER = 2  # layers next to the embeddings, and next to the head
FIRST = 1 / 5  # share of the steps in which rows learn alone


@dataclass(frozen=True)
class Translations:
    """Batches of pairs, which lie at even distances among the steps; none where masked LM is all."""

    batches: Sequence[dict[str, torch.Tensor]]
    alignment: Alignment
    share: float

    def of_step(self, step: int) -> dict[str, torch.Tensor] | None:
        """The batch of a step; None where it is one of masked LM."""
        number = int(step * self.share)
        return self.batches[number] if self.batches and number < int((step + 1) * self.share) else None


def draw_translations(
    chosen: Initialization,
    texts: dict[str, dict[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    teacher: Path,
    *,
    layer: int,
    steps: int,
    samples: int,
    seed: int,
    encoded: dict[tuple, PairedText] | None = None,
) -> Translations:
    """Those that an initialisation is trained on.

    Args:
        chosen: says which.
        texts: language -> id -> line.
        tokenizer: the model's.
        teacher: whose vectors of English lines distillation draws pairs to.
        layer: of these vectors.
        steps, samples: of the training, and pairs of a step.
        seed: of the draws.
        encoded: keeps the text once it is encoded, which takes as long as some dozen steps, for other trainings on it.
    """
    if chosen.pairs is None:
        return Translations([], Alignment(), 0.0)
    if chosen.distils:
        english = texts["eng"]
        texts = {name: {key: line for key, line in lines.items() if key in english} for name, lines in texts.items()}
    encoder = Encoder(tokenizer, 2 * TOKENS if chosen.joined else TOKENS)
    key = (tuple(texts), chosen.distils, encoder.max_length)
    encoded = {} if encoded is None else encoded
    if key not in encoded:
        encoded[key] = PairedText(texts, encoder)
    text = encoded[key]
    drawn = PairSamples(text, alpha=0.0, seed=seed)
    number = int(steps * chosen.share)
    pairs = [[drawn[step * samples + i] for i in range(samples)] for step in range(number)]
    targets, alignment = None, Alignment(weight=chosen.pairs)
    if chosen.distils:
        needed = np.unique([pair["segment"] for some in pairs for pair in some])
        lines = [english[key] for key in text.segments]
        targets = read_targets(str(teacher), lines, layer, str(teacher.parent), needed)
        alignment = Alignment(
            weight=chosen.pairs,
            vectors=SentenceVectors(layer),
            spread=targets.spread,
            target_weight=MASKED_TARGET_WEIGHT if chosen.masked else 1.0,
            masked=chosen.masked,
        )
    masking = MaskingCollator(tokenizer, seed=seed, probability=chosen.masking)
    collate = PairCollator(encoder, masking, chosen.joined, targets, chosen.masked)
    return Translations([collate(some) for some in pairs], alignment, chosen.share)


def let_learn(model: PreTrainedModel, trained: str, progress: float) -> None:
    """Says which parameters move, by `Initialization.trained` and the share of the steps that is done."""
    layers = model.config.num_hidden_layers
    inner = [f".layer.{number}." for number in range(OUTER, layers - OUTER)]
    rows = {id(model.get_input_embeddings().weight), *map(id, model.get_output_embeddings().parameters())}
    for name, parameter in model.named_parameters():
        if trained == "outer":
            moves = not any(part in name for part in inner)
        elif trained == "body":
            moves = parameter is not model.get_input_embeddings().weight
        else:
            moves = trained == "all" or progress >= FIRST or id(parameter) in rows
        parameter.requires_grad_(moves)
