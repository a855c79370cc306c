"""Time and memory of reading word2vec text, beside gensim; and of opening a folder of `WordVectors.save`.

    python examples/benchmarks/read_vectors.py --words 100000 --dimension 300 --open-words 5000000 --json read.json

Two files are made: numbers with four decimals, as fastText writes them, and all digits of a float32, as gensim does.
Each is read in a process of its own by `WordVectors.load` and by gensim's `KeyedVectors.load_word2vec_format` (extra
`gensim`), and the vectors are compared. Memory is the growth of the process's peak resident set while reading, beside
the size of the array (N x d float32). The folder that is opened has `--open-words` words (and takes 4 bytes a number
on the disk); its memory is the growth of the resident set until `len` and one word have been asked for.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ofa_transformers import WordVectors


def resident(kind: str = "VmHWM") -> int:
    """The resident set of this process in bytes: its peak (VmHWM) or what it is now (VmRSS)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(kind))) * 1024


def make_text(path: Path, words: int, dimension: int, decimals: int | None) -> None:
    generator = np.random.default_rng(0)
    numbers_of_words = generator.permutation(words)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{words} {dimension}\n")
        for i in numbers_of_words:
            row = (0.1 * generator.standard_normal(dimension)).astype(np.float32)
            numbers = map(str, row) if decimals is None else (f"{value:.{decimals}f}" for value in row.tolist())
            file.write(f"wörd{i} {' '.join(numbers)}\n")


def measure_reading(reader: str, path: Path) -> dict:
    """In a process of its own: what reading the file takes."""
    if reader == "gensim":
        from gensim.models import KeyedVectors
    else:
        import iso639  # noqa: F401 - imports are not what is measured
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, start, processor = resident(), time.perf_counter(), time.process_time()
    if reader == "gensim":
        vectors = KeyedVectors.load_word2vec_format(str(path)).vectors
    else:
        vectors = WordVectors.load(path).vectors
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "peak_bytes": resident() - before,
        "array_bytes": vectors.nbytes,
        "sha256": hashlib.sha256(np.ascontiguousarray(vectors)).hexdigest(),
    }


def measure_opening(path: Path) -> dict:
    import safetensors.torch  # noqa: F401 - imports are not what is measured

    before, start = resident("VmRSS"), time.perf_counter()
    vectors = WordVectors.load(path)
    words, last = len(vectors), vectors.words[-1]
    seconds = time.perf_counter() - start
    return {"words": words, "last": last, "seconds": seconds, "resident_bytes": resident("VmRSS") - before}


def in_new_process(*arguments: str) -> dict:
    command = [sys.executable, __file__, "--measure", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=100_000, help="of the text files (default: %(default)s)")
    parser.add_argument("--dimension", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--open-words", type=int, default=1_000_000, help="of the folder (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the files are made and removed (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        kind, path = args.measure
        print(json.dumps(measure_opening(Path(path)) if kind == "open" else measure_reading(kind, Path(path))))
        return

    results: dict = {"cores": os.cpu_count(), "words": args.words, "dimension": args.dimension, "read": []}
    table = Table("numbers", "reader", "MB", "s", "MB/s", "MB/CPU s", "x gensim", "peak/array")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for name, decimals in [("4 decimals", 4), ("all digits", None)]:
            path = Path(folder) / "vectors.txt"
            make_text(path, args.words, args.dimension, decimals)
            size = path.stat().st_size / 1e6
            found = {reader: in_new_process(reader, str(path)) for reader in ("gensim", "ours")}
            for reader, row in found.items():
                row |= {"numbers": name, "reader": reader, "megabytes": size}
                row["times_gensim"] = found["gensim"]["seconds"] / row["seconds"]
                row["same_bits"] = row["sha256"] == found["gensim"]["sha256"]
                results["read"].append(row)
                table.add_row(
                    name,
                    reader,
                    f"{size:.0f}",
                    f"{row['seconds']:.2f}",
                    f"{size / row['seconds']:.0f}",
                    f"{size / row['processor_seconds']:.0f}",
                    f"{row['times_gensim']:.1f}",
                    f"{row['peak_bytes'] / row['array_bytes']:.2f}",
                )
        same = all(row["same_bits"] for row in results["read"])
        console = Console()
        console.print(table)
        console.print(f"The vectors {'are the same to the last bit' if same else 'DIFFER'}.")

        words = [f"wörd{i}" for i in range(args.open_words)]
        saved = Path(folder) / "saved"
        WordVectors(words, np.full(len(words), "deu"), np.zeros((len(words), args.dimension), np.float32)).save(saved)
        results["open"] = opened = in_new_process("open", str(saved))
    console.print(
        f"A folder of {opened['words']:,} words opened in {opened['seconds']:.3f} s, with "
        f"{opened['resident_bytes'] / 1e6:.0f} MB more of resident memory."
    )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
