"""Time and memory of the initialisation at the sizes of the paper, phase by phase, beside the authors' code.

    python examples/benchmarks/initialization.py A --text DIR --dictionary FILE --tokenizer DIR [--authors CHECKOUT]

| job | source | target | words x 200 | size |
| --- | --- | --- | --- | --- |
| A | XLM-R base | 60,000 tokens, trained on the text | 200,000 | 100 |
| B | XLM-R base | 300,000: XLM-R's and 50,000 words | 200,000 | 100 |
| C | XLM-R base | 401,000: XLM-R's and 151,000 words, as many tokens as Glot500 | 4,000,000 | 100 |
| M | XLM-R base | 1,000,000: XLM-R's and 750,000 words | 4,000,000 | 100 |
| D | B at 100, 200, 400 and full size in one go, beside each of them alone | | | |
| curves | time against words, target tokens and source tokens, drawn | | | |

The source is random-normal with XLM-R's shape and a decaying spectrum, or a real checkpoint with XLM-R's tokenizer
(`--source`). `initialization_inputs.py` says how the inputs are made; they are kept in `--folder`. Each run is
a process of its own. Memory is the growth of the peak resident set beyond libraries, in MiB; "beyond the model" leaves
out the parameters of source and result. With `--device cuda` neighbours and factorization go to a GPU, as they do by
default where there is one, and what PyTorch has allocated there is shown as well. A floor is what a phase must compute or move at the least, at the rates that
this machine reaches for it in the same run: products by `torch.mm`, bytes by copying memory.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import torch


JOBS = {
    "A": {"tokens": 60_000, "words": 200_000, "sizes": [100]},
    "B": {"tokens": 300_000, "words": 200_000, "sizes": [100]},
    "C": {"tokens": 401_000, "words": 4_000_000, "sizes": [100]},
    "M": {"tokens": 1_000_000, "words": 4_000_000, "sizes": [100]},
    "D": {"tokens": 300_000, "words": 200_000, "sizes": [100, 200, 400, None]},
}
# Target rows that the authors' code makes where all would take too long: their time is extrapolated.
AUTHORS_SAMPLE = {"A": None, "B": 4096}
MIB = 2**20


class Phases:
    """Seconds, CPU seconds and peak memory of functions of the library, which are wrapped for it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, float]] = {}
        self.running: list[str] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if name in self.running:  # a function that calls itself counts once
            yield
            return
        self.running.append(name)
        row = self.rows.setdefault(name, {"seconds": 0.0, "cpu_seconds": 0.0, "peak_mebibytes": 0.0})
        reset_peak()
        start, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            row["seconds"] += time.perf_counter() - start
            row["cpu_seconds"] += time.process_time() - cpu
            row["peak_mebibytes"] = max(row["peak_mebibytes"], peak() / MIB)
            self.running.remove(name)

    def wrap(self, owner: Any, attribute: str, name: str, note: Callable[..., None] | None = None):
        """A patch under which `owner.attribute` is measured as `name`, and `note` sees its arguments and result."""
        original = getattr(owner, attribute)

        def measured(*args: Any, **options: Any) -> Any:
            with self(name):
                result = original(*args, **options)
            if note is not None:
                note(result, *args, **options)
            return result

        return mock.patch.object(owner, attribute, measured)


def peak() -> int:
    """The highest resident set since `reset_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def best_of(function: Callable[[], Any], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def machine_rates(side: int = 4096) -> dict[str, float]:
    """Operations a second of the products that the jobs are made of, and bytes a second of copying (read + written)."""
    from ofa_transformers.utils.precision import cpu_multiplies_bfloat16

    low = torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32
    a, b = torch.randn(side, 200).to(low), torch.randn(side, 200).to(low)
    out = torch.empty(side, side, dtype=low)
    d, e = torch.randn(768, 2 * side, dtype=torch.float64), torch.randn(2 * side, 768, dtype=torch.float64)
    big, copy = torch.ones(2**14 * side), torch.ones(2**14 * side)
    return {
        "similarity_flops": 2 * side * side * 200 / best_of(lambda: torch.mm(a, b.T, out=out)),
        "float64_flops": 2 * 768 * 768 * 2 * side / best_of(lambda: d @ e),
        "bytes": 2 * 4 * 2**14 * side / best_of(lambda: copy.copy_(big)),
    }


def run_child(spec: dict[str, Any]) -> dict[str, Any]:
    """One run of the initialisation, and its figures."""
    import ofa_transformers
    from ofa_transformers.initialization import account, assembly
    from ofa_transformers.initialization import inputs as reading
    from ofa_transformers.initialization.factors import Factorizer
    from ofa_transformers.initialization.initializer import OfaInitializer
    from ofa_transformers.initialization.mapping import build, subword_vectors, word_tokens
    from ofa_transformers.vectors.word_vectors import WordVectors

    device = spec.get("device")
    on_gpu = torch.cuda.is_available() if device is None else device == "cuda"
    rates = machine_rates(spec.get("rates_side", 4096))
    phases, counts = Phases(), {"forms": 0, "pairs": 0, "source_covered": 0, "composed": 0}

    def note_neighbors(_: Any, queries: np.ndarray, candidates: np.ndarray, *args: Any, **options: Any) -> None:
        counts["composed"], counts["source_covered"] = len(queries), len(candidates)

    def note_tokenized(_: Any, __: Any, joined: list[str], others: list[str]) -> None:
        counts["forms"] += len(joined) + len(others)

    def note_pairs(result: tuple[np.ndarray, ...], *args: Any, **options: Any) -> None:
        counts["pairs"] += len(result[0])

    before = psutil.Process().memory_info().rss
    highest, model_bytes = before, 0
    with ExitStack() as stack:
        for patch in (
            phases.wrap(reading, "_load_tokenizer", "tokenizers"),
            phases.wrap(WordVectors, "load", "word vectors"),
            phases.wrap(reading, "take_source", "source model"),
            phases.wrap(build.Vocabulary, "from_tokenizer", "vocabularies"),
            phases.wrap(build, "match_tokens", "matches"),
            phases.wrap(subword_vectors, "count_subwords", "tokens of words", note_pairs),
            phases.wrap(word_tokens, "_tokenize", "  in the tokenizer", note_tokenized),
            phases.wrap(build, "subword_vectors", "vectors of subwords"),
            phases.wrap(build, "nearest_neighbors", "neighbours", note_neighbors),
            phases.wrap(Factorizer, "__call__", "factorization"),
            phases.wrap(ofa_transformers.TokenMapping, "apply", "rows"),
            phases.wrap(account, "measure_rows", "report"),
            phases.wrap(account, "count_tokens", "report"),
            phases.wrap(account, "count_languages", "report"),
            phases.wrap(assembly, "with_new_embeddings", "model"),
            phases.wrap(assembly, "factorized_model", "model"),
        ):
            stack.enter_context(patch)
        start, cpu = time.perf_counter(), time.process_time()
        arguments = {
            "target_tokenizer": spec["target"],
            "word_vectors": spec["words"],
            "max_words": spec.get("max_words"),
            "device": device,
        }
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        if len(spec["sizes"]) == 1:
            runs = iter([OfaInitializer.from_pretrained(spec["source"], embedding_size=spec["sizes"][0], **arguments)])
        else:
            runs = OfaInitializer.each_size(spec["source"], spec["sizes"], **arguments)
        for adapted in runs:
            report = adapted.report
            model_bytes = max(model_bytes, 4 * (report.source["parameters"] + report.target["parameters"]))
            tokens, source = report.tokens, report.source
            hidden, target_rows = source["hidden_size"], report.target["rows"]
            entries = adapted.mapping.weights.nnz
            del adapted
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    highest = max([highest, *(row["peak_mebibytes"] * MIB for row in phases.rows.values())])
    sums = phases.rows["vectors of subwords"]
    for name in ("seconds", "cpu_seconds"):  # the tokens of words are found within
        sums[name] -= phases.rows["tokens of words"][name]

    dimension, used = 200, source["tokens"]
    factorized = [size for size in spec["sizes"] if size is not None]
    floors = {
        "source model": (0, 4 * source["parameters"]),
        "vectors of subwords": (0, counts["pairs"] * dimension * 4),
        "neighbours": (2 * counts["composed"] * counts["source_covered"] * dimension, 0),
        "factorization": (target_rows * hidden * (hidden + 1) + sum(2 * used * hidden * k for k in factorized), 0),
        "rows": (0, sum(4 * (k or hidden) * (entries + target_rows) for k in spec["sizes"])),
    }
    for name, (operations, moved) in floors.items():
        row = phases.rows.get(name)
        if row is None or (name == "factorization" and not factorized):
            continue
        rate = rates["similarity_flops"] if name == "neighbours" else rates["float64_flops"]
        floor = operations / rate + 2 * moved / rates["bytes"]
        row |= {"operations": operations, "bytes": moved, "floor_seconds": floor, "of_floor": row["seconds"] / floor}
    inner = phases.rows["  in the tokenizer"]
    phases.rows["tokens of words"] |= {
        "floor_seconds": inner["seconds"],
        "of_floor": phases.rows["tokens of words"]["seconds"] / inner["seconds"],
    }
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mebibytes": (highest - before) / MIB,
        "peak_beyond_model_mebibytes": (highest - before - model_bytes) / MIB,
        "gpu_peak_mebibytes": torch.cuda.max_memory_allocated() / MIB if on_gpu else None,
        "model_mebibytes": model_bytes / MIB,
        "tokens": tokens,
        "counts": counts,
        "rates": rates,
        "phases": phases.rows,
    }


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """`run_child` in a process of its own, which ends with an error if it dies."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(spec["threads"]), "RAYON_NUM_THREADS": str(spec["threads"])}
    command = [sys.executable, __file__, "--child", json.dumps(spec)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def run_authors(args: argparse.Namespace, spec: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).parent / "authors_baseline.py"), str(args.authors)]
    command += ["--source", spec["source"], "--target", spec["target"], "--words", spec["words"]]
    command += ["--embedding-size", str(spec["sizes"][0]), "--threads", str(spec["threads"])]
    sample = args.sample or AUTHORS_SAMPLE[args.job]
    if sample:
        command += ["--sample", str(sample)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(spec["threads"])}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


# Not part of what the authors' code is timed on: reading files, and putting a model together.
_AROUND = ("tokenizers", "word vectors", "source model", "report", "model", "  in the tokenizer")


def initialisation(result: dict[str, Any], unit: str) -> float:
    return sum(row[unit] for name, row in result["phases"].items() if name not in _AROUND)


def show(result: dict[str, Any]) -> None:
    header = f"{'phase':22} {'seconds':>8} {'CPU s':>8} {'peak MiB':>9} {'Gflop':>9} {'MB':>8} {'floor s':>8} {'x floor':>8}"
    print(header)
    for name, row in result["phases"].items():
        line = f"{name:22} {row['seconds']:8.2f} {row['cpu_seconds']:8.2f} {row['peak_mebibytes']:9.0f}"
        if "floor_seconds" in row:
            line += f" {row.get('operations', 0) / 1e9:9.0f} {row.get('bytes', 0) / 1e6:8.0f}"
            line += f" {row['floor_seconds']:8.2f} {row['of_floor']:8.1f}"
        print(line)
    print(
        f"{'initialisation':22} {initialisation(result, 'seconds'):8.2f} {initialisation(result, 'cpu_seconds'):8.2f}"
    )
    print(
        f"{'everything':22} {result['seconds']:8.2f} {result['cpu_seconds']:8.2f} {result['peak_mebibytes']:9.0f}, "
        f"{result['peak_beyond_model_mebibytes']:.0f} of it beyond the model"
    )
    if result["gpu_peak_mebibytes"] is not None:
        print(f"peak on the GPU: {result['gpu_peak_mebibytes']:.0f} MiB")
    print(f"tokens {result['tokens']}, counts {result['counts']}")


def make_spec(args: argparse.Namespace, job: dict[str, Any]) -> dict[str, Any]:
    import initialization_inputs as inputs
    from transformers import AutoTokenizer

    folder = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = args.tokenizer or args.source
    source = args.source or inputs.source_model(folder, AutoTokenizer.from_pretrained(tokenizer))
    if job["tokens"] < 250_000:
        target = inputs.trained_tokenizer(folder, args.text, job["tokens"])
    else:
        target = inputs.extended_tokenizer(folder, args.text, args.dictionary, tokenizer, job["tokens"])
    if job["words"] > 250_000:
        words = inputs.many_word_vectors(folder, args.text, args.dictionary, job["words"])
    else:
        words = inputs.word_vectors(folder, args.text, job["words"])
    paths = {"source": str(source), "target": str(target), "words": str(words)}
    options = {"threads": args.threads, "device": args.device, "max_words": args.max_words}
    return {**paths, "sizes": job["sizes"], **options}


def measure_sizes(args: argparse.Namespace) -> dict[str, Any]:
    """Job D: each size alone, then all in one go."""
    spec = make_spec(args, JOBS["D"])
    results: dict[str, Any] = {}
    for size in spec["sizes"]:
        results[str(size or "full")] = result = run({**spec, "sizes": [size]})
        print(
            f"{size or 'full'!s:>5} alone: {result['seconds']:7.2f} s, CPU {result['cpu_seconds']:7.2f} s", flush=True
        )
    together = run(spec)
    shares = {
        unit: together[unit] / max(result[unit] for result in results.values()) for unit in ("seconds", "cpu_seconds")
    }
    results["together"] = together
    results |= {f"{unit}_of_slowest": share for unit, share in shares.items()}
    print(f"all in one go: {together['seconds']:.2f} s, CPU {together['cpu_seconds']:.2f} s: ", end="")
    print(f"{results['seconds_of_slowest']:.2f} of the slowest alone, CPU {results['cpu_seconds_of_slowest']:.2f}")
    show(together)
    return results


def measure_curves(args: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds of the initialisation while one of words, target tokens and source tokens grows."""
    import initialization_inputs as inputs

    base = make_spec(args, JOBS["B"])
    tokenizer = args.tokenizer or args.source
    full = run(base)  # the point that all three curves share
    series: dict[str, list[tuple[int, dict[str, Any]]]] = {
        "words": [(number, {"max_words": number}) for number in (50_000, 100_000)],
        "target tokens": [],
        "source tokens": [],
    }
    for tokens in (260_000, 401_000):
        target = inputs.extended_tokenizer(args.folder, args.text, args.dictionary, tokenizer, tokens)
        series["target tokens"].append((tokens, {"target": str(target)}))
    for tokens in (60_000, 125_000):
        series["source tokens"].append((tokens, {"source": str(inputs.cut_source(args.folder, tokenizer, tokens))}))
    shared = {"words": 200_000, "target tokens": 300_000, "source tokens": 250_002}
    results: dict[str, Any] = {}
    for name, points in series.items():
        runs = [(size, run({**base, **changes})) for size, changes in points] + [(shared[name], full)]
        results[name] = []
        for size, found in sorted(runs, key=lambda item: item[0]):
            row = {"size": size, "cpu_seconds": initialisation(found, "cpu_seconds"), "counts": found["counts"]}
            row["phases"] = {phase: values["cpu_seconds"] for phase, values in found["phases"].items()}
            results[name].append(row)
            print(
                f"{name:14} {size:8,} {row['cpu_seconds']:8.2f} CPU s, composed {row['counts']['composed']:,}",
                flush=True,
            )
    if args.plot:
        draw(results, args.plot)
    return results


def draw(results: dict[str, Any], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit("--plot needs matplotlib: pip install 'ofa-transformers[plot]'") from error
    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(results)), results.items()):
        sizes = [point["size"] / 1000 for point in points]
        axes.plot(sizes, [point["cpu_seconds"] for point in points], "o-", color="black", label="all")
        for phase, colour in (
            ("tokens of words", "tab:blue"),
            ("neighbours", "tab:orange"),
            ("factorization", "tab:green"),
        ):
            axes.plot(
                sizes, [point["phases"][phase] for point in points], ".-", color=colour, label=phase, linewidth=1
            )
        axes.set(xlabel=f"{name} (thousands)", ylabel="CPU seconds", ylim=0, xlim=0)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        spec = json.loads(sys.argv[2])
        torch.set_num_threads(spec["threads"])
        print(json.dumps(run_child(spec)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=[*JOBS, "curves"])
    parser.add_argument("--text", type=Path, required=True, help="folder of parallel text, LNG_Script.tsv.gz")
    parser.add_argument("--dictionary", type=Path, required=True, help="dictionary table, .tsv.gz")
    parser.add_argument("--tokenizer", type=Path, help="folder with the tokenizer of XLM-R")
    parser.add_argument("--source", type=Path, help="a checkpoint with that tokenizer (default: random-normal)")
    parser.add_argument("--folder", type=Path, default=Path("benchmark_inputs"), help="inputs (default: %(default)s)")
    parser.add_argument("--authors", type=Path, help="checkout of the authors' code, to run beside (A and B)")
    parser.add_argument("--sample", type=int, help="target rows that it makes; the rest is extrapolated (default: B)")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--max-words", type=int, help="take only the first so many words of the job's")
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="draw the curves here, .png or .svg")
    args = parser.parse_args()
    if args.tokenizer is None and args.source is None:
        parser.error("name --tokenizer, or a --source that has one.")
    if args.authors and args.job not in AUTHORS_SAMPLE:
        parser.error("--authors goes with the jobs A and B.")
    if args.job == "D":
        results = measure_sizes(args)
    elif args.job == "curves":
        results = measure_curves(args)
    else:
        spec = make_spec(args, JOBS[args.job])
        results = run(spec)
        show(results)
        if args.authors:
            results["authors"] = authors = run_authors(args, spec)
            for unit in ("seconds", "cpu_seconds"):
                theirs = sum(authors[unit].values())
                results[f"{unit}_ratio"] = ratio = theirs / initialisation(results, unit)
                results[f"{unit}_ratio_of_everything"] = theirs / results[unit]
                print(f"authors: {theirs:.1f} {unit}, {ratio:.1f} times ours", end="; ")
                print(f"{results[f'{unit}_ratio_of_everything']:.1f} times with our reading and writing of models")
            print(f"authors' peak: {authors['peak_mebibytes']:.0f} MiB")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
