"""A short continued pretraining: an ordinary torch loop over batches drawn beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_linear_schedule_with_warmup

from ..training.masking import CausalCollator, MaskingCollator
from ..training.objective import count_labels, training_loss
from ..training.pairs import PairCollator, PairedText, PairSamples
from ..training.samples import Encoder, StoredSamples
from ..training.schedule import LanguageSchedule


def training_batches(
    texts: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    steps: int,
    batch_size: int,
    sequence_length: int,
    seed: int,
    causal: bool = False,
) -> list[dict[str, torch.Tensor]]:
    """`steps` batches of packed sequences. Made once, so that all models see the same.

    The texts of a language are joined by the separator and cut into sequences of `sequence_length` tokens, special tokens
    included; languages are drawn in proportion to their sequences; then 15 % of the tokens are masked as in BERT, or
    with `causal` all are labels.
    """
    encoder = Encoder(tokenizer, sequence_length, causal=causal)
    encoded = [[{"input_ids": sample} for sample in encoder(lines)] for lines in texts]
    names = (f"{number:04d}" for number in range(len(encoded)))  # sorted as they come
    schedule = LanguageSchedule({name: len(samples) for name, samples in zip(names, encoded)}, alpha=1.0, seed=seed)
    samples = StoredSamples(encoded, schedule, steps * batch_size)
    collate = CausalCollator(tokenizer) if causal else MaskingCollator(tokenizer, seed=seed)
    return [
        collate([samples[position] for position in range(first, first + batch_size)])
        for first in range(0, len(samples), batch_size)
    ]


def pair_batches(
    texts: Mapping[str, Mapping[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    steps: int,
    batch_size: int,
    sequence_length: int,
    seed: int,
) -> list[dict[str, torch.Tensor]]:
    """`steps` batches of `batch_size` lines (language -> id -> line) in two languages each, both sides masked.

    Languages are drawn alike; a line is cut at `sequence_length` tokens. `continue_pretraining` adds their contrastive
    loss to that of the masked tokens.
    """
    encoder = Encoder(tokenizer, sequence_length)
    samples = PairSamples(PairedText(texts, encoder), alpha=0.0, seed=seed)
    collate = PairCollator(encoder, MaskingCollator(tokenizer, seed=seed))
    return [
        collate([samples[number] for number in range(first, first + batch_size)])
        for first in range(0, steps * batch_size, batch_size)
    ]


def continue_pretraining(
    model: PreTrainedModel,
    batches: Sequence[dict[str, torch.Tensor]],
    *,
    learning_rate: float,
    seed: int,
    causal: bool = False,
    bf16: bool = False,
    show_progress: bool = False,
) -> None:
    """One step of AdamW a batch, warmup over a tenth of them, then linear decay. Changes `model`; `seed` is of dropout.

    With `bf16` it computes in bfloat16; weights stay float32.
    """
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, len(batches) // 10, len(batches))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for batch in tqdm(batches, desc="continued pretraining", unit="step", leave=False, disable=not show_progress):
            with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
                tokens, pairs = training_loss(model, model, batch, count_labels(batch["labels"], causal), causal)
            (tokens if pairs is None else tokens + pairs).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
