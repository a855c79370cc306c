"""Peak memory and time of the masked-LM loss and its backward: plain logits beside the blocked loss.

    python examples/benchmarks/blocked_loss.py --vocab-size 400000 --positions 1024 --embedding-size 100

Each variant runs in a process of its own on the CPU. Memory is the growth of the process's peak resident set during
loss and backward, in MiB, beyond the model and its input. The gradients of the two are compared.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch


def peak_rss() -> int:
    """The highest resident set of this process so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def reset_peak_rss() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measure(variant: str, args: argparse.Namespace, gradients: str) -> None:
    from ofa_transformers import FactorizedLinear
    from ofa_transformers.models.modeling_ofa import blocked_cross_entropy

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    size = args.embedding_size or args.hidden_size
    projection = FactorizedLinear(args.hidden_size, args.vocab_size, size)
    if args.embedding_size is None:
        projection = torch.nn.Linear(args.hidden_size, args.vocab_size)
    hidden = torch.randn(args.positions, args.hidden_size, requires_grad=True)
    labels = torch.randint(0, args.vocab_size, (args.positions,))
    reset_peak_rss()
    before, start = peak_rss(), time.perf_counter()
    if variant == "plain":
        loss = torch.nn.functional.cross_entropy(projection(hidden), labels)
    else:
        inner = projection.before_vocabulary(hidden) if args.embedding_size else hidden
        loss = blocked_cross_entropy(inner, projection.weight, labels, projection.bias)
    loss.backward()
    seconds, memory = time.perf_counter() - start, peak_rss() - before
    torch.save([loss.detach(), hidden.grad, *(p.grad for p in projection.parameters())], gradients)
    print(json.dumps({"variant": variant, "mebibytes": memory / 2**20, "seconds": seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-size", type=int, default=400_000, help="tokens (default: %(default)s)")
    parser.add_argument("--positions", type=int, default=1024, help="labelled positions (default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=768, help="(default: %(default)s)")
    parser.add_argument(
        "--embedding-size", type=int, help="factorize to this many primitives (default: not factorized)"
    )
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--variant", choices=["plain", "blocked"], help=argparse.SUPPRESS)
    parser.add_argument("--gradients", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        measure(args.variant, args, args.gradients)
        return

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant in ("plain", "blocked"):
            command = [
                sys.executable,
                __file__,
                *sys.argv[1:],
                "--variant",
                variant,
                "--gradients",
                f"{folder}/{variant}",
            ]
            results[variant] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"{variant:8} {results[variant]['mebibytes']:9.0f} MiB {results[variant]['seconds']:8.2f} s")
        pairs = zip(torch.load(f"{folder}/plain"), torch.load(f"{folder}/blocked"))
        error = max(((a - b).norm() / a.norm()).item() for a, b in pairs)
    results["memory_ratio"] = results["blocked"]["mebibytes"] / results["plain"]["mebibytes"]
    results["time_ratio"] = results["blocked"]["seconds"] / results["plain"]["seconds"]
    results["relative_error_of_gradients"] = error
    print(
        f"memory ratio {results['memory_ratio']:.3f}, time ratio {results['time_ratio']:.2f}, largest relative "
        f"difference of loss and gradients {error:.1e}"
    )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
