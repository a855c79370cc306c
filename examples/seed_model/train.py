"""Train the English seed model of `ofa demo`: a byte-level BPE tokenizer and a small RoBERTa masked LM.

    python examples/seed_model/prepare_text.py --output seed_text
    python examples/seed_model/train.py --text seed_text --output seed_model

Ordinary Transformers and torch code, for CPUs: packed sequences, dynamic masking as RoBERTa's, the masked-LM head applied
to the masked positions only. So that an hour on two cores is enough, the model doesn't start from noise alone: token
embeddings from co-occurrence counts of the same text, positions from sinusoids, the head's bias from token frequencies.
A checkpoint is written every `--save-steps` steps, float16 safetensors.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM, set_seed

from ofa_transformers.utils.precision import cpu_bfloat16


SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]  # RoBERTa's, in its order


def train_tokenizer(lines: list[str], vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=max_length,
    )


def encode(tokenizer: PreTrainedTokenizerFast, lines: list[str]) -> list[torch.Tensor]:
    """Each line as token ids with a closing `</s>`."""
    ids = tokenizer(lines, add_special_tokens=False)["input_ids"]
    return [torch.tensor([*line, tokenizer.eos_token_id], dtype=torch.int32) for line in ids]


def pack(lines: list[torch.Tensor], max_length: int, bos: int, generator: torch.Generator | None) -> torch.Tensor:
    """Lines in a new order, one after another, cut into `<s>` + `max_length - 1` tokens; the last part is dropped."""
    if generator is not None:
        lines = [lines[i] for i in torch.randperm(len(lines), generator=generator).tolist()]
    stream = torch.cat(lines)
    body = max_length - 1
    chunks = stream[: len(stream) // body * body].view(-1, body)
    return torch.cat([torch.full((len(chunks), 1), bos, dtype=torch.int32), chunks], dim=1).long()


def cooccurrence_vectors(stream: np.ndarray, vocab_size: int, dim: int, window: int = 5) -> torch.Tensor:
    """(vocab_size, dim) U sqrt(S) of the positive pointwise mutual information of tokens at most `window` apart.

    With the weights 1 / distance and the smoothed contexts of Levy et al. (2015).
    """
    counts = scipy.sparse.csr_array((vocab_size, vocab_size), dtype=np.float64)
    for distance in range(1, window + 1):
        pairs = (np.full(len(stream) - distance, 1 / distance), (stream[:-distance], stream[distance:]))
        counts = counts + scipy.sparse.coo_array(pairs, shape=counts.shape).tocsr()
    counts = (counts + counts.T).tocoo()
    rows, columns = (np.bincount(axis, counts.data, vocab_size) for axis in (counts.row, counts.col))
    columns = columns**0.75 / (columns**0.75).sum()
    pmi = np.log(counts.data / rows[counts.row] / columns[counts.col])
    kept = pmi > 0
    indices = np.stack([counts.row[kept], counts.col[kept]])
    ppmi = torch.sparse_coo_tensor(indices, pmi[kept], counts.shape, dtype=torch.float32, check_invariants=False)
    u, values, _ = torch.svd_lowrank(ppmi, q=dim + 16, niter=4)
    return u[:, :dim] * values[:dim].sqrt()


def sinusoids(positions: int, dim: int) -> torch.Tensor:
    """(positions, dim), of Vaswani et al. (2017): a shift in position is a rotation, which attention learns quickly."""
    angles = torch.arange(positions).unsqueeze(1) / 10_000 ** (torch.arange(0, dim, 2) / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


@torch.no_grad()
def initialize(model: RobertaForMaskedLM, lines: list[torch.Tensor]) -> None:
    stream = torch.cat(lines).numpy()
    words = model.roberta.embeddings.word_embeddings
    vectors = cooccurrence_vectors(stream, *words.weight.shape)
    seen = vectors.abs().sum(1) > 0
    words.weight[seen] = vectors[seen] * (0.04 / vectors[seen].std())
    positions = model.roberta.embeddings.position_embeddings
    first = positions.padding_idx + 1
    positions.weight[first:] = 0.04 * sinusoids(len(positions.weight) - first, words.embedding_dim)
    frequencies = torch.bincount(torch.from_numpy(stream), minlength=len(words.weight)) + 1.0
    model.lm_head.bias.copy_((frequencies / frequencies.sum()).log())


def mask(ids: torch.Tensor, tokenizer: PreTrainedTokenizerFast, probability: float, generator: torch.Generator):
    """BERT's dynamic masking: of the chosen tokens 80 % become <mask>, 10 % a random token, 10 % stay."""
    draws = torch.rand(ids.shape, generator=generator)
    chosen = (draws < probability) & (ids >= len(SPECIAL_TOKENS))
    action = torch.rand(ids.shape, generator=generator)
    random_ids = torch.randint(len(SPECIAL_TOKENS), len(tokenizer), ids.shape, generator=generator)
    inputs = torch.where(chosen & (action < 0.8), tokenizer.mask_token_id, ids)
    inputs = torch.where(chosen & (action >= 0.9), random_ids, inputs)
    return inputs, chosen


def masked_loss(model: RobertaForMaskedLM, inputs: torch.Tensor, targets: torch.Tensor, chosen: torch.Tensor):
    hidden = model.roberta(inputs).last_hidden_state[chosen]
    return torch.nn.functional.cross_entropy(model.lm_head(hidden).float(), targets[chosen])


@torch.no_grad()
def evaluate(model, tokenizer, chunks: torch.Tensor, batch_size: int, autocast) -> float:
    model.eval()
    generator = torch.Generator().manual_seed(0)
    total = count = 0
    for batch in chunks.split(batch_size):
        inputs, chosen = mask(batch, tokenizer, 0.15, generator)
        with autocast():
            total += masked_loss(model, inputs, batch, chosen).item() * chosen.sum().item()
        count += chosen.sum().item()
    model.train()
    return total / count


def save(model: RobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, folder: Path, record: dict) -> None:
    """Write to a temporary name, then move into place of the checkpoint before."""
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    half = RobertaForMaskedLM(model.config).half()
    half.load_state_dict(model.state_dict())
    half.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    (temporary / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder with train.txt and heldout.txt")
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoint; replaced at each save")
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="the decay ends here at the latest")
    parser.add_argument("--batch-size", type=int, default=16, help="sequences of 128 tokens")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--warmup-steps", type=int, default=300)
    parser.add_argument("--save-steps", type=int, default=500)
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast, where the processor multiplies it")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.output.exists():
        raise SystemExit(f"{args.output} exists; name a new folder")

    max_length = 128
    train_lines = (args.text / "train.txt").read_text(encoding="utf-8").splitlines()
    heldout_lines = (args.text / "heldout.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = train_tokenizer(train_lines, args.vocab_size, max_length)
    train_ids, heldout_ids = encode(tokenizer, train_lines), encode(tokenizer, heldout_lines)
    heldout = pack(heldout_ids, max_length, tokenizer.bos_token_id, None)

    set_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    model = RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            num_hidden_layers=args.layers,
            num_attention_heads=6,
            intermediate_size=768,
            max_position_embeddings=max_length + 2,
            type_vocab_size=1,
            hidden_dropout_prob=0.0,  # fewer than ten passes over the text: capacity is short, not data
            attention_probs_dropout_prob=0.0,
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    ).train()
    initialize(model, train_ids)
    decay = [p for p in model.parameters() if p.dim() > 1]
    no_decay = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": no_decay, "weight_decay": 0.0}],
        lr=args.learning_rate,
        betas=(0.9, 0.98),
    )

    low = args.bf16 and cpu_bfloat16("--bf16")

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=low)

    tokens = sum(map(len, train_ids))
    print(f"{tokens:,} training tokens, {heldout.numel():,} held out, {model.num_parameters():,} parameters")
    start = time.monotonic()
    step, epoch, running, queue = 0, 0, 0.0, torch.empty(0, max_length, dtype=torch.long)
    bar = tqdm(total=args.steps, mininterval=30, desc="training")
    while True:
        minutes = (time.monotonic() - start) / 60
        progress = max(step / args.steps, minutes / args.max_minutes)
        done = progress >= 1
        if step and (done or step % args.save_steps == 0):
            loss = evaluate(model, tokenizer, heldout, args.batch_size, autocast)
            record = {
                "step": step,
                "tokens_seen": step * args.batch_size * max_length,
                "epochs": round(step * args.batch_size * max_length / tokens, 2),
                "minutes": round(minutes, 1),
                "heldout_mlm_loss": round(loss, 4),
                "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
            }
            save(model, tokenizer, args.output, record)
            tqdm.write(f"step {step}: train {running:.3f} heldout {loss:.3f} after {minutes:.1f} min")
        if done:
            break
        while len(queue) < args.batch_size:
            epoch += 1
            chunks = pack(train_ids, max_length, tokenizer.bos_token_id, generator)
            queue = torch.cat([queue, chunks[torch.randperm(len(chunks), generator=generator)]])
        batch, queue = queue[: args.batch_size], queue[args.batch_size :]
        inputs, chosen = mask(batch, tokenizer, 0.15, generator)
        with autocast():
            loss = masked_loss(model, inputs, batch, chosen)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * min((step + 1) / args.warmup_steps, 1.0) * (1 - progress)
        optimizer.step()
        optimizer.zero_grad()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        step += 1
        bar.update()
    bar.close()
    print(f"saved to {args.output}")


if __name__ == "__main__":
    main()
