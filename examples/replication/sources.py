"""The source models: a sentence encoder that gets a masked-LM head, and a small RoBERTa pretrained from scratch."""

import logging
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaForMaskedLM,
)

from ofa_transformers.evaluation.masked_lm import decode_only
from ofa_transformers.files import new_folder
from ofa_transformers.tokenization import train_tokenizer


logger = logging.getLogger(__name__)

TOKENS = 64  # of a sample


def encoder_with_head(encoder: str, english: Sequence[str], head_steps: int, steps: int, path: Path) -> Path:
    """An English encoder with a masked-LM head: first the head alone learns, then all.

    all-MiniLM-L6-v2 comes without the head that it was pretrained with.
    """
    if not path.exists():
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        torch.manual_seed(0)
        model = AutoModelForMaskedLM.from_pretrained(encoder)
        model.base_model.requires_grad_(False)
        _train(model, tokenizer, english, head_steps, 2e-3, "head")
        model.requires_grad_(True)
        _train(model, tokenizer, english, steps, 3e-4, "encoder")
        _save(model, tokenizer, path)
    return path


def small_roberta(texts: dict[str, list[str]], vocab_size: int, steps: int, path: Path) -> Path:
    """A RoBERTa of four layers and 256 dimensions, pretrained on some languages in equal shares."""
    if not path.exists():
        tokenizer = train_tokenizer(texts, vocab_size, algorithm="unigram")
        config = RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=1024,
            max_position_embeddings=130,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        torch.manual_seed(0)
        model = RobertaForMaskedLM(config)
        shortest = min(map(len, texts.values()))
        generator = random.Random(0)
        mixed = [line for lines in texts.values() for line in generator.sample(lines, shortest)]
        _train(model, tokenizer, mixed, steps, 1e-3, "pretraining")
        _save(model, tokenizer, path)
    return path


def mask_tokens(
    encoded: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerBase, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, L) inputs with 15 % of the tokens masked, and which are; special tokens never are."""
    ids = encoded["input_ids"]
    masked = (torch.rand(ids.shape, generator=generator) < 0.15) & (encoded["special_tokens_mask"] == 0)
    return ids.masked_fill(masked, tokenizer.mask_token_id), masked


def masked_loss(
    model: PreTrainedModel, encoded: dict[str, torch.Tensor], inputs: torch.Tensor, masked: torch.Tensor, **options
) -> torch.Tensor:
    """Cross-entropy of the masked tokens, which alone are decoded; computed in bfloat16 but for the loss itself."""
    with torch.autocast("cpu", dtype=torch.bfloat16), decode_only(model, masked):
        logits = model(input_ids=inputs, attention_mask=encoded["attention_mask"]).logits
    return torch.nn.functional.cross_entropy(logits.float(), encoded["input_ids"][masked], **options)


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> dict[str, torch.Tensor]:
    return tokenizer(
        texts,
        truncation=True,
        max_length=TOKENS,
        padding=True,
        return_tensors="pt",
        return_special_tokens_mask=True,
    )


def _train(model, tokenizer, lines: Sequence[str], steps: int, rate: float, name: str) -> None:
    """AdamW with a short warm-up and a linear fall, 32 lines a step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, fused=True)
    draws, generator = random.Random(0), torch.Generator().manual_seed(0)
    model.train()
    losses = []
    for step in range(steps):
        encoded = encode(tokenizer, draws.sample(lines, 32))
        loss = masked_loss(model, encoded, *mask_tokens(encoded, tokenizer, generator))
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 30) * (1 - step / steps)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 50 == 49 or step == steps - 1:
            logger.info("%s, step %d: loss %.3f", name, step + 1, sum(losses) / len(losses))
            losses.clear()


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    with new_folder(path) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
