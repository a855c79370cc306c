"""The source models: a sentence encoder that gets a masked-LM head, one that then learns several languages, and one from nothing."""

import logging
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from states import TrainingState
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    XLMRobertaConfig,
)

from ofa_transformers import OfaInitializer, WordVectors
from ofa_transformers.scoring.masked_lm import decode_only
from ofa_transformers.tokenization import train_tokenizer
from ofa_transformers.utils.files import new_folder
from ofa_transformers.utils.precision import cpu_bfloat16


logger = logging.getLogger(__name__)

TOKENS = 64  # of a sample


def encoder_with_head(
    encoder: str, english: Sequence[str], head_steps: int, steps: int, path: Path, device: str = "cpu"
) -> Path:
    """An English encoder with a masked-LM head: first the head alone learns, then all.

    all-MiniLM-L6-v2 comes without the head that it was pretrained with.
    """
    if not path.exists():
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        torch.manual_seed(0)
        model = AutoModelForMaskedLM.from_pretrained(encoder).to(device)
        model.base_model.requires_grad_(False)
        _train(model, tokenizer, english, head_steps, 2e-3, "head")
        model.requires_grad_(True)
        _train(model, tokenizer, english, steps, 3e-4, "encoder")
        _save(model, tokenizer, path)
    return path


def of_several_languages(
    english: Path,
    texts: dict[str, dict[str, str]],
    vocab_size: int,
    vector_size: int,
    steps: int,
    path: Path,
    device: str = "cpu",
) -> Path:
    """A masked LM of some languages in equal shares: the English one, adapted to their vocabulary and trained on.

    From nothing, a masked LM of this size needs far more steps than the whole study before it learns more than how
    frequent tokens are.
    """
    if not path.exists():
        lines = {language: list(verses.values()) for language, verses in texts.items()}
        tokenizer = train_tokenizer(lines, vocab_size, algorithm="unigram")
        pairs = {language: list(verses.items()) for language, verses in texts.items()}
        adapted = OfaInitializer.from_pretrained(
            english,
            target_tokenizer=tokenizer,
            word_vectors=WordVectors.from_parallel(pairs, dim=vector_size, alignment_weight=0),
            source_languages=["eng"],
            target_text=[line for some in lines.values() for line in some[:2000]],
            language_offset=0.4,
        )
        shortest = min(map(len, lines.values()))
        draws = random.Random(0)
        mixed = [line for some in lines.values() for line in draws.sample(some, shortest)]
        torch.manual_seed(0)
        _train(adapted.model.to(device), tokenizer, mixed, steps, 3e-4, "several languages")
        _save(adapted.model, tokenizer, path)
    return path


def from_nothing(
    texts: dict[str, dict[str, str]],
    vocab_size: int,
    layers: int,
    width: int,
    steps: int,
    path: Path,
    device: str = "cpu",
) -> Path:
    """A masked LM shaped like XLM-R, of some languages, each line as often as any other.

    Worth its name from some ten thousand steps of 256 lines on, on a GPU; it goes on where it broke off.
    """
    if not path.exists():
        lines = {language: list(verses.values()) for language, verses in texts.items()}
        tokenizer = train_tokenizer(lines, vocab_size, algorithm="unigram")
        ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
        config = XLMRobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // 64),
            intermediate_size=4 * width,
            max_position_embeddings=514,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            **ids,
        )
        torch.manual_seed(0)
        model = AutoModelForMaskedLM.from_config(config).to(device)
        every = [line for some in lines.values() for line in some]
        more = {"batch_size": 256, "warmup": max(30, steps // 20), "state": path.with_name(f"{path.name}.state")}
        _train(model, tokenizer, every, steps, 2e-4, "from nothing", **more)
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
    """Cross-entropy of the masked tokens, which alone are decoded; but for the loss itself in bfloat16, where the processor can."""
    device = model.device
    with low_precision(device), decode_only(model, masked.to(device)):
        logits = model(input_ids=inputs.to(device), attention_mask=encoded["attention_mask"].to(device)).logits
    return torch.nn.functional.cross_entropy(logits.float(), encoded["input_ids"][masked].to(device), **options)


def low_precision(device: torch.device) -> torch.autocast:
    """bfloat16, where the processor can; otherwise float32."""
    low = device.type != "cpu" or cpu_bfloat16("The study's autocast")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> dict[str, torch.Tensor]:
    return tokenizer(
        texts,
        truncation=True,
        max_length=TOKENS,
        padding=True,
        return_tensors="pt",
        return_special_tokens_mask=True,
    )


def _train(
    model,
    tokenizer,
    lines: Sequence[str],
    steps: int,
    rate: float,
    name: str,
    *,
    batch_size: int = 32,
    warmup: int = 30,
    state: Path | None = None,
) -> None:
    """AdamW with a warm-up and a linear fall, some lines a step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, fused=True)
    draws, generator = random.Random(0), torch.Generator().manual_seed(0)
    model.train()
    settings = {"steps": steps, "rate": rate, "batch_size": batch_size, "warmup": warmup}
    kept = TrainingState(state, settings, model, {"optimizer": optimizer}, generator)
    first, losses = kept.values.get("step", 0), []
    for step in range(steps):
        drawn = draws.sample(lines, min(batch_size, len(lines)))
        if step < first:
            continue
        kept.keep(step=step)
        encoded = encode(tokenizer, drawn)
        loss = masked_loss(model, encoded, *mask_tokens(encoded, tokenizer, generator))
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / warmup) * (1 - step / steps)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 50 == 49 or step == steps - 1:
            logger.info("%s, step %d: loss %.3f", name, step + 1, sum(losses) / len(losses))
            losses.clear()
    kept.remove()


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    with new_folder(path) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
