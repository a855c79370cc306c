"""Cost of factorized embeddings at work, beside the dense ones that they replace.

    python examples/benchmarks/model.py layers                         # lookup, projection, loss, optimizer alone
    python examples/benchmarks/model.py step --precision bf16          # a whole XLM-R-base training step
    python examples/benchmarks/model.py step --device cuda --precision bf16 --batch-size 64 --length 512
    python examples/benchmarks/model.py step --device cuda --precision bf16 --batch-size 0 --length 512

`--batch-size 0` takes, of each arm, the largest power of two that fits.

Arms: `dense` keeps the whole table, V x D; a number k keeps V x k and k x D. Both take the same loss, at the labelled
positions only and in blocks (`sparse_prediction`). `stock` (of `step`) is Transformers' own class, which makes the
logits of all positions. Embeddings and projection are tied. The optimizer is AdamW, fused, as Trainer has it, after
clipping the gradients to a norm of 1; the step is timed once its states exist.

Every arm runs in a process of its own, and the arms take turns, `--rounds` times; of each figure the smallest is kept.
CPU time is that of all threads: on a machine with other work its ratios say more than those of wall time. Memory is the
peak of the process: weights, gradients, optimizer states, activations and the libraries (on a GPU: what PyTorch has
allocated). The floor is what must be done whatever the program: the operations counted, at the rate of a large matrix
product on this machine in this precision, and the bytes that AdamW reads and writes, at the rate of its own kernel; in
CPU time on a CPU. The share of the peak is that of the operations alone, in wall time on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any


# AdamW reads weight, gradient and two states, and writes all but the gradient; float32.
ADAMW_BYTES = 7 * 4


class Clock:
    """Smallest wall and CPU seconds of each named phase."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.phases: dict[str, tuple[float, float]] = {}

    def __call__(self, name: str, run: Callable[[], Any]) -> Any:
        import torch

        synchronize = torch.cuda.synchronize if self.device == "cuda" else lambda: None
        synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        result = run()
        synchronize()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        old = self.phases.get(name, (float("inf"), float("inf")))
        self.phases[name] = (min(old[0], wall), min(old[1], cpu))
        return result


def reset_peak_memory(device: str) -> None:
    """Called once the model is there: building one from scratch makes a table that it then ties to another."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> int:
    """Bytes: the highest resident set of this process, or what PyTorch has allocated on the GPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def time_column(args: argparse.Namespace) -> int:
    """Which of wall and CPU time a floor is compared with."""
    return 0 if args.device == "cuda" else 1


def autocast(args: argparse.Namespace) -> Any:
    import torch

    return torch.autocast(args.device, dtype=torch.bfloat16) if args.precision == "bf16" else nullcontext()


def measure_layers(args: argparse.Namespace, arm: str) -> dict[str, Any]:
    """The tied embeddings and projection alone, on `tokens` positions of which a share is labelled."""
    import torch

    from ofa_transformers import FactorizedEmbedding, FactorizedLinear
    from ofa_transformers.models.modeling_ofa import blocked_cross_entropy

    vocab_size, hidden_size = args.vocab_size, args.hidden_size
    with torch.device(args.device):
        if arm == "dense":
            embeddings = torch.nn.Embedding(vocab_size, hidden_size)
            projection = torch.nn.Linear(hidden_size, 1)
            projection.bias = torch.nn.Parameter(torch.zeros(vocab_size))
            before_vocabulary = torch.nn.Identity()
        else:
            embeddings = FactorizedEmbedding(vocab_size, hidden_size, int(arm))
            projection = FactorizedLinear(hidden_size, 1, int(arm))
            projection.bias = torch.nn.Parameter(torch.zeros(vocab_size))
            projection.primitives = embeddings.primitives
            before_vocabulary = projection.before_vocabulary
        projection.weight = embeddings.weight
        with torch.no_grad():
            embeddings.weight.mul_(0.02)
        ids = torch.randint(vocab_size, (args.batch_size * args.length,))
        labels = ids[: max(1, round(args.labelled * len(ids)))]
    parameters = list({id(p): p for m in (embeddings, projection) for p in m.parameters()}.values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    clock = Clock(args.device)
    reset_peak_memory(args.device)

    def lookup() -> torch.Tensor:
        with autocast(args):
            return embeddings(ids)

    def loss(hidden: torch.Tensor) -> torch.Tensor:
        with autocast(args):
            inner = before_vocabulary(hidden[: len(labels)])
            return blocked_cross_entropy(inner, projection.weight, labels, projection.bias)

    with torch.no_grad():
        hidden = lookup()
        for _ in range(10 * args.iterations):
            clock("lookup", lookup)
        for _ in range(args.iterations + 1):
            with autocast(args):
                clock("projection", lambda: projection(hidden[: len(labels)]))
    for _ in range(args.iterations + 1):
        clock("lookup, forward + backward", lambda: lookup().sum().backward())
        optimizer.zero_grad()
        clock("lookup and loss, forward + backward", lambda: loss(lookup()).backward())
        clock("optimizer", optimizer.step)
        optimizer.zero_grad()
    numbers = sum(p.numel() for p in parameters)
    size = hidden_size if arm == "dense" else int(arm)
    factors = 0 if arm == "dense" else hidden_size * size
    labelled, tokens = len(labels), len(ids)
    return {
        "phases": clock.phases,
        "parameters": numbers,
        "operations": {
            "lookup": 2 * tokens * factors,
            "lookup, forward + backward": 6 * tokens * factors,
            "projection": 2 * labelled * (vocab_size * size + factors),
            "lookup and loss, forward + backward": 6 * (labelled * (vocab_size * size + factors) + tokens * factors),
            "optimizer": 0,
        },
        "optimizer_bytes": ADAMW_BYTES * numbers,
        "memory": peak_memory(args.device),
    }


def measure_step(args: argparse.Namespace, arm: str) -> dict[str, Any]:
    """`measure_step_of` at the batch size asked for, or at the largest power of two that fits."""
    import torch

    if args.batch_size:
        return measure_step_of(args, arm, args.batch_size)
    batch_size = 1024
    while True:
        try:
            return measure_step_of(args, arm, batch_size)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
        batch_size //= 2
        torch.cuda.empty_cache()


def measure_step_of(args: argparse.Namespace, arm: str, batch_size: int) -> dict[str, Any]:
    """A training step of a masked LM of XLM-R-base's shape, over `vocab_size` tokens."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, set_seed

    from ofa_transformers import OfaConfig, OfaForMaskedLM

    set_seed(0)
    shape = {
        "vocab_size": args.vocab_size,
        "hidden_size": args.hidden_size,
        "num_hidden_layers": args.layers,
        "num_attention_heads": args.hidden_size // 64,
        "intermediate_size": 4 * args.hidden_size,
        "max_position_embeddings": args.length + 2,
        "type_vocab_size": 1,
        "attn_implementation": "sdpa",
    }
    with torch.device(args.device):
        if arm == "stock":
            model = XLMRobertaForMaskedLM(XLMRobertaConfig(**shape))
        else:
            size = None if arm == "dense" else int(arm)
            model = OfaForMaskedLM(OfaConfig(**shape, embedding_size=size, sparse_prediction=True))
        ids = torch.randint(4, args.vocab_size, (batch_size, args.length))
        labelled = torch.rand(ids.shape).argsort().lt(round(args.labelled * args.length))
    labels = ids.masked_fill(~labelled, -100)
    model.train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    clock = Clock(args.device)
    reset_peak_memory(args.device)

    def forward() -> torch.Tensor:
        with autocast(args):
            return model(input_ids=ids, labels=labels).loss

    def step() -> float:
        loss = clock("forward, with the loss", forward)
        clock("backward", loss.backward)
        clock("clipping", lambda: torch.nn.utils.clip_grad_norm_(parameters, 1.0))
        clock("optimizer", optimizer.step)
        optimizer.zero_grad()
        return loss.detach()

    first = step()
    clock.phases.clear()
    for _ in range(args.iterations):
        last = clock("step", step)
    if not last.isfinite():
        raise RuntimeError(f"The loss of {arm} is {last.item()}.")
    if args.profile:
        activities = list(torch.profiler.supported_activities())
        with torch.profiler.profile(activities=activities) as profile:
            step()
        sort_by = f"self_{'cuda' if args.device == 'cuda' else 'cpu'}_time_total"
        print(profile.key_averages().table(sort_by=sort_by, row_limit=25), file=sys.stderr)

    tokens, vocabulary, hidden = ids.numel(), args.vocab_size, args.hidden_size
    size = hidden if arm in ("dense", "stock") else int(arm)
    factors = 0 if size == hidden else hidden * size
    positions = tokens if arm == "stock" else int(labelled.sum())
    body = args.layers * (12 * hidden**2 + 2 * args.length * hidden)
    head = hidden**2 + factors + vocabulary * size
    numbers = sum(p.numel() for p in parameters)
    return {
        "phases": clock.phases,
        "parameters": numbers,
        "operations": {"step": 6 * (tokens * (body + factors) + (tokens - positions) * hidden**2 + positions * head)},
        "optimizer_bytes": ADAMW_BYTES * numbers,
        "memory": peak_memory(args.device),
        "tokens": tokens,
        "batch_size": batch_size,
        "loss": [first.item(), last.item()],
    }


def measure_machine(args: argparse.Namespace, arm: str) -> dict[str, Any]:
    """Operations a second of a large matrix product, and bytes a second of AdamW's kernel; see `time_column`."""
    import torch

    clock = Clock(args.device)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    side = args.side or (8192 if args.device == "cuda" else 2048)
    a, b = torch.randn(2, side, side, device=args.device, dtype=dtype)
    weight = torch.nn.Parameter(torch.zeros(side * 2**15, device=args.device))
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.AdamW([weight], fused=True)
    for _ in range(args.iterations + 2):
        clock("product", lambda: a @ b)
        clock("optimizer", optimizer.step)
    column = time_column(args)
    return {
        "operations": 2 * side**3 / clock.phases["product"][column],
        "bytes": ADAMW_BYTES * weight.numel() / clock.phases["optimizer"][column],
        "device": torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
    }


def run_in_turn(args: argparse.Namespace, arms: list[str]) -> dict[str, dict[str, Any]]:
    """Each arm in a fresh process, `rounds` times over; the smallest time of each phase."""
    results: dict[str, dict[str, Any]] = {}
    # Threads that wait must not count as work.
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
    for round_ in range(args.rounds):
        for arm in ["machine", *arms]:
            print(f"round {round_ + 1}/{args.rounds}: {arm}", file=sys.stderr)
            command = [sys.executable, __file__, *sys.argv[1:], "--arm", arm]
            new = json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
            )
            old = results.setdefault(arm, new)
            if arm == "machine":
                results[arm] = {k: v if k == "device" else max(v, old[k]) for k, v in new.items()}
            else:
                old["memory"] = max(old["memory"], new["memory"])
                for name, times in new["phases"].items():
                    old["phases"][name] = [min(pair) for pair in zip(times, old["phases"][name])]
    return results


def show(args: argparse.Namespace, results: dict[str, dict[str, Any]]) -> None:
    machine, dense = results["machine"], results["dense"]
    print(
        f"V = {args.vocab_size:,}, D = {args.hidden_size}, {args.batch_size or 'as many as fit'} x {args.length} tokens, "
        f"{args.labelled:.0%} labelled, {args.precision}; {machine['device']}: "
        f"{machine['operations'] / 1e9:,.0f} GFLOP/s in a large product, AdamW at {machine['bytes'] / 1e9:,.1f} GB/s"
    )
    arms = [arm for arm in results if arm != "machine"]
    column = time_column(args)
    print(f"\n{'':36} {'arm':>6} {'wall':>10} {'/ dense':>8} {'CPU':>10} {'/ dense':>8} {'floor':>10} {'/ floor':>8}")
    for name, dense_times in dense["phases"].items():
        for arm in arms:
            result = results[arm]
            wall, cpu = times = result["phases"][name]
            line = f"{name:36} {arm:>6} {1e3 * wall:7.1f} ms {wall / dense_times[0]:8.2f}"
            line += f" {1e3 * cpu:7.1f} ms {cpu / dense_times[1]:8.2f}"
            operations = result["operations"].get(name, 0)
            moved = result["optimizer_bytes"] if name in ("optimizer", "step") else 0
            floor = operations / machine["operations"] + moved / machine["bytes"]
            if floor:
                result.setdefault("floor", {})[name] = floor
                line += f" {1e3 * floor:7.1f} ms {times[column] / floor:8.1f}"
            print(line)
    print(f"\n{'arm':>6} {'parameters':>12} {'peak memory':>12} {'/ dense':>8}", end="")
    print(
        f" {'tokens/s':>9} {'/ dense':>8} {'per CPU s':>10} {'/ dense':>8} {'of peak':>8}"
        if args.job == "step"
        else ""
    )
    for arm in arms:
        result = results[arm]
        memory = result["memory"]
        line = (
            f"{arm:>6} {result['parameters'] / 1e6:10.1f} M {memory / 2**30:8.2f} GiB {memory / dense['memory']:8.2f}"
        )
        if args.job == "step":
            times, dense_times = result["phases"]["step"], dense["phases"]["step"]
            peak = 1e12 * args.peak_tflops if args.peak_tflops else machine["operations"]
            result["tokens_per_second"], result["tokens_per_cpu_second"] = (result["tokens"] / t for t in times)
            result["share_of_peak"] = result["operations"]["step"] / times[column] / peak
            shares = [result["tokens"] / t / (dense["tokens"] / d) for t, d in zip(times, dense_times)]
            line += f" {result['tokens_per_second']:9,.1f} {shares[0]:8.2f}"
            line += f" {result['tokens_per_cpu_second']:10,.1f} {shares[1]:8.2f}"
            line += f" {result['share_of_peak']:8.1%}"
        print(line)


def draw(args: argparse.Namespace, results: dict[str, dict[str, Any]]) -> None:
    """The phases of a step, stacked, an arm a bar."""
    from matplotlib.figure import Figure

    arms = [arm for arm in results if arm != "machine"]
    column = time_column(args)
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(arms)), layout="constrained")
    axes = figure.add_subplot()
    left = [0.0] * len(arms)
    for phase in [phase for phase in results["dense"]["phases"] if phase != "step"]:
        seconds = [results[arm]["phases"][phase][column] for arm in arms]
        axes.barh(arms, seconds, left=left, height=0.6, label=phase)
        left = [a + b for a, b in zip(left, seconds)]
    floors = [results[arm]["floor"]["step"] for arm in arms]
    axes.plot(floors, arms, "k|", markersize=16, label="floor")
    axes.invert_yaxis()
    axes.set_xlabel(f"{('wall', 'CPU')[column]} seconds of a step, {args.precision}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize="small")
    # No date: the same figures give the same bytes.
    figure.savefig(args.plot, metadata={"Date": None} if args.plot.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=["layers", "step"])
    parser.add_argument("--arms", nargs="+", default=["dense", "100", "200", "400"], help="(default: %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=401_000, help="(default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=768, help="(default: %(default)s)")
    parser.add_argument("--layers", type=int, default=12, help="of the model of step (default: %(default)s)")
    parser.add_argument(
        "--batch-size", type=int, default=4, help="rows of text, 0 for all that fit (default: %(default)s)"
    )
    parser.add_argument("--length", type=int, default=128, help="tokens of a row (default: %(default)s)")
    parser.add_argument("--labelled", type=float, default=0.15, help="share of the tokens (default: %(default)s)")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast; fp32 weights")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="on the CPU (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each arm (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=3, help="measurements in each (default: %(default)s)")
    parser.add_argument(
        "--peak-tflops", type=float, help="peak of the data sheet, for the share of it (default: measured)"
    )
    parser.add_argument("--profile", action="store_true", help="print where a step spends its time (torch.profiler)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="draw the phases of a step here, .svg or .png (needs matplotlib)")
    parser.add_argument("--side", type=int, help="of the large product (default: 2048, on a GPU 8192)")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.arm is None:
        if "dense" not in args.arms:
            parser.error("--arms: the others are compared with dense, which is missing")
        if not args.batch_size and (args.job, args.device) != ("step", "cuda"):
            parser.error("--batch-size 0 is for step, with --device cuda")
        if args.plot and args.job != "step":
            parser.error("--plot draws the phases of a step")
        results = run_in_turn(args, args.arms)
        show(args, results)
        if args.plot:
            draw(args, results)
        if args.json:
            settings = {k: v for k, v in vars(args).items() if k not in ("arm", "json", "plot")}
            args.json.write_text(json.dumps({"settings": settings, **results}, indent=1) + "\n")
        return
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    measure = measure_machine if args.arm == "machine" else measure_step if args.job == "step" else measure_layers
    print(json.dumps(measure(args, args.arm)))


if __name__ == "__main__":
    main()
