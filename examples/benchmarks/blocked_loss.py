"""Peak memory and time of the masked-LM loss and its backward: plain logits, the blocked loss, and fused kernels.

    python examples/benchmarks/blocked_loss.py --vocab-size 400000 --positions 1024 --embedding-size 100
    python examples/benchmarks/blocked_loss.py --device cuda --precision bf16 --variants plain blocked cce liger

Each variant runs in a process of its own. Memory is what loss and backward need at their peak, in MiB, beyond the model
and its input: growth of the process's resident set on the CPU, what PyTorch has allocated on a GPU. Loss and gradients
are compared with the plain ones. On a GPU the best of several repetitions counts; on the CPU the first, which pays for
fresh memory as a step of training does.

`cce` is cut-cross-entropy (Wijmans et al., 2025), `liger` the fused loss of Liger-Kernel; both run on GPUs alone, and
multiply the same projected hidden states with the same weights as the blocked loss.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch


VARIANTS = {"plain": None, "blocked": None, "cce": "cut_cross_entropy", "liger": "liger_kernel"}


def peak_rss() -> int:
    """The highest resident set of this process so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def reset_peak_rss() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def loss_of(variant: str, projection: torch.nn.Linear, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean loss of `hidden` (n, D) projected onto the vocabulary."""
    from ofa_transformers.models.loss_ofa import blocked_cross_entropy

    if variant == "plain":
        return torch.nn.functional.cross_entropy(projection(hidden).float(), labels)
    before = getattr(projection, "before_vocabulary", None)
    inner = hidden if before is None else before(hidden)
    if variant == "blocked":
        return blocked_cross_entropy(inner, projection.weight, labels, projection.bias)
    # Neither knows autocast.
    inner, weight, bias = (part.to(inner.dtype) for part in (inner, projection.weight, projection.bias))
    if variant == "cce":
        from cut_cross_entropy import linear_cross_entropy

        return linear_cross_entropy(inner, weight, labels, bias=bias)
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    return LigerFusedLinearCrossEntropyLoss()(weight, inner, labels, bias)


def measure(variant: str, args: argparse.Namespace, gradients: str) -> dict[str, Any]:
    """Time and memory of a variant; loss and gradients go to a file."""
    from ofa_transformers import FactorizedLinear

    torch.manual_seed(0)
    on_gpu = args.device == "cuda"
    if args.embedding_size is None:
        projection = torch.nn.Linear(args.hidden_size, args.vocab_size)
    else:
        projection = FactorizedLinear(args.hidden_size, args.vocab_size, args.embedding_size)
    projection.to(args.device)
    hidden = torch.randn(args.positions, args.hidden_size).to(args.device).requires_grad_()
    labels = torch.randint(0, args.vocab_size, (args.positions,)).to(args.device)
    half = args.precision == "bf16"
    seconds, memory = float("inf"), 0
    for _ in range(args.repeats if on_gpu else 1):
        for tensor in (hidden, *projection.parameters()):
            tensor.grad = None
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        else:
            reset_peak_rss()
            before = peak_rss()
        start = time.perf_counter()
        with torch.autocast(args.device, dtype=torch.bfloat16) if half else nullcontext():
            loss = loss_of(variant, projection, hidden, labels)
        loss.backward()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = min(seconds, time.perf_counter() - start)
        memory = max(memory, (torch.cuda.max_memory_allocated() if on_gpu else peak_rss()) - before)
    found = [loss.detach(), hidden.grad, *(p.grad for p in projection.parameters())]
    torch.save([tensor.float().cpu() for tensor in found], gradients)
    return {"variant": variant, "mebibytes": memory / 2**20, "seconds": seconds}


def compare(results: dict[str, Any], folder: str) -> None:
    """Adds how each variant stands beside the plain one: shares of memory and time, the gap of loss and gradients."""
    plain, expected = results["plain"], torch.load(f"{folder}/plain")
    for variant, result in results.items():
        if variant == "plain":
            continue
        result["memory_ratio"] = result["mebibytes"] / plain["mebibytes"]
        result["time_ratio"] = result["seconds"] / plain["seconds"]
        pairs = zip(expected, torch.load(f"{folder}/{variant}"))
        result["relative_error_of_gradients"] = max(((a - b).norm() / a.norm()).item() for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-size", type=int, default=400_000, help="tokens (default: %(default)s)")
    parser.add_argument("--positions", type=int, default=1024, help="labelled positions (default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=768, help="(default: %(default)s)")
    parser.add_argument(
        "--embedding-size", type=int, help="factorize to this many primitives (default: not factorized)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(default: %(default)s)")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast; fp32 weights")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["plain", "blocked"], metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5, help="on a GPU (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="on the CPU (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--gradients", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        torch.set_num_threads(args.threads)
        print(json.dumps(measure(args.variant, args, args.gradients)))
        return
    if args.variants[0] != "plain":
        parser.error("--variants: the others are compared with plain, which comes first")

    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant in args.variants:
            command = [sys.executable, __file__, *sys.argv[1:]]
            command += ["--variant", variant, "--gradients", f"{folder}/{variant}"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[variant] = json.loads(done.stdout.splitlines()[-1])
            print(f"{variant:8} {results[variant]['mebibytes']:9.0f} MiB {results[variant]['seconds']:8.3f} s")
        compare(results, folder)
    for variant, result in results.items():
        if variant != "plain":
            print(
                f"{variant}: memory ratio {result['memory_ratio']:.3f}, time ratio {result['time_ratio']:.2f}, largest "
                f"relative difference of loss and gradients {result['relative_error_of_gradients']:.1e}"
            )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
