"""The demo's continued pretraining: an ordinary torch loop over batches drawn beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm.auto import tqdm
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
)

from ..evaluation.masked_lm import decode_only


def masked_batches(
    texts: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    steps: int,
    batch_size: int,
    sequence_length: int,
    seed: int,
) -> list[dict[str, torch.Tensor]]:
    """`steps` batches of packed, masked sequences. Made once, so that all models see the same.

    The texts of a language are put in a new order in each pass, joined by the separator and cut into sequences of
    `sequence_length` tokens, special tokens included; then 15 % of the tokens are masked as in BERT.
    """
    generator = torch.Generator().manual_seed(seed)
    encoded = [
        [
            [*ids, tokenizer.sep_token_id]
            for ids in tokenizer(list(lines), add_special_tokens=False, verbose=False)["input_ids"]
        ]
        for lines in texts
    ]
    body = sequence_length - tokenizer.num_special_tokens_to_add()
    sequences: list[list[int]] = []
    while len(sequences) < steps * batch_size:
        one_pass = []
        for lines in encoded:
            stream = [i for n in torch.randperm(len(lines), generator=generator).tolist() for i in lines[n]][:-1]
            one_pass += [stream[start : start + body] for start in range(0, len(stream), body)]
        sequences += [one_pass[i] for i in torch.randperm(len(one_pass), generator=generator).tolist()]
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, seed=seed)
    return [
        dict(collate([{"input_ids": [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]} for ids in batch]))
        for batch in (sequences[step * batch_size : (step + 1) * batch_size] for step in range(steps))
    ]


def continue_pretraining(
    model: PreTrainedModel,
    batches: Sequence[dict[str, torch.Tensor]],
    *,
    learning_rate: float,
    seed: int,
    show_progress: bool = False,
) -> None:
    """One step of AdamW a batch, warmup over a tenth of them, then linear decay. Changes `model`; `seed` is of dropout."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, len(batches) // 10, len(batches))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for batch in tqdm(batches, desc="continued pretraining", unit="step", leave=False, disable=not show_progress):
            chosen = batch["labels"] != -100
            with decode_only(model, chosen):  # most of the work would go into logits that nothing is learned from
                logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            loss = torch.nn.functional.cross_entropy(logits, batch["labels"][chosen])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
