"""Time and memory of `WordVectors.from_parallel`, and of its factorization (ARPACK on the Gram matrix, float32) beside `svds`'s in float64.

    python examples/benchmarks/parallel_vectors.py TEXT... --exclude ids.txt --dim 200 --json parallel.json

TEXT are files of lines `id<TAB>text` whose names begin with the language (deu_Latn.tsv.gz). Each step runs in a process
of its own: wall and processor seconds, and the highest resident set, imports included. ARPACK (scipy's `svds`) gets the
same matrix, in float64, and its singular values are compared.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import scipy.sparse
from rich.console import Console
from rich.table import Table
from scipy.sparse.linalg import svds

from ofa_transformers import WordVectors
from ofa_transformers.vectors import parallel


def measured(function, *args) -> dict:
    """Runs `function` in a process of its own; it returns facts to add."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, function, args).result()


def _measured(function, args) -> dict:
    wall, processor = time.perf_counter(), time.process_time()
    facts = function(*args)
    return facts | {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def build(texts: list[Path], exclude: Path | None, dim: int, matrix: Path) -> dict:
    """All of it; the matrix is kept for the other steps."""
    factorize = parallel._factorize

    def keep(ppmi, *args):
        scipy.sparse.save_npz(matrix, ppmi, compressed=False)
        return factorize(ppmi, *args)

    parallel._factorize = keep
    vectors = WordVectors.from_parallel(texts, dim=dim, exclude=exclude)
    return {"words": len(vectors), "languages": len(vectors.language_counts())}


def factorize(matrix: Path, dim: int) -> dict:
    left = parallel._factorize(scipy.sparse.load_npz(matrix).tocsr(), dim, 0)
    return {"singular_values": np.square(left, dtype=np.float64).sum(axis=0).tolist()}


def arpack(matrix: Path, dim: int) -> dict:
    ppmi = scipy.sparse.load_npz(matrix).tocsr().astype(np.float64)
    start = np.random.default_rng(0).standard_normal(min(ppmi.shape))
    return {"singular_values": svds(ppmi, k=dim, v0=start, solver="arpack")[1][::-1].tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", metavar="TEXT", nargs="+", type=Path)
    parser.add_argument("--exclude", type=Path, help="file of segment ids to leave out, one a line")
    parser.add_argument("--dim", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        matrix = Path(folder) / "ppmi.npz"
        results = {"from_parallel": measured(build, args.texts, args.exclude, args.dim, matrix)}
        results |= {step.__name__: measured(step, matrix, args.dim) for step in (factorize, arpack)}
    exact = np.array(results["arpack"]["singular_values"])
    error = np.abs(np.array(results["factorize"]["singular_values"]) / exact - 1)
    results["factorize"]["largest_relative_error"] = float(error.max())
    results["factorize"]["processor_ratio"] = (
        results["factorize"]["processor_seconds"] / results["arpack"]["processor_seconds"]
    )
    table = Table("", "wall s", "CPU s", "peak MiB", "", title=f"{results['from_parallel']['words']:,} words")
    notes = {"factorize": f"singular values within {error.max():.1%}, {np.median(error):.3%} in the median"}
    for name, result in results.items():
        cells = [f"{result[key]:.1f}" for key in ("seconds", "processor_seconds")]
        table.add_row(name, *cells, f"{result['peak_mebibytes']:.0f}", notes.get(name, ""))
    Console(width=120).print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
