"""The initialisation of the authors of OFA, run from a checkout of their code and measured.

    python examples/benchmarks/authors_baseline.py CHECKOUT --source FOLDER --target FOLDER --words FOLDER --embedding-size 100

`CHECKOUT` is a clone of https://github.com/cisnlp/ofa, whose code needs gensim and scikit-learn. Nothing of it is part
of this repository. Its functions run as they are, in the order of its `run_ofa`, on the inputs of
`initialization.py`; a source model is read before the clock starts. With `--sample N` target rows are made for a random
sample of N tokens, in the authors' own batches of 1,024, and their time is multiplied by the number of tokens over N;
the other steps run in full.
"""

import argparse
import contextlib
import io
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ofa_transformers import WordVectors


class Sampled:
    """A tokenizer of some of the tokens of another, with new ids from 0 on."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ids: np.ndarray) -> None:
        self.tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
        self.vocab = {token: index for index, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def convert_ids_to_tokens(self, index: int) -> str:
        return self.tokens[index]


def source_embeddings(folder: Path) -> np.ndarray:
    """The input embeddings of a checkpoint, float32."""
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        name = next(name for name in file.keys() if name.endswith("word_embeddings.weight"))  # noqa: SIM118
        return file.get_tensor(name).float().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of the authors' code")
    parser.add_argument("--source", type=Path, required=True, help="folder of the source model and its tokenizer")
    parser.add_argument("--target", type=Path, required=True, help="folder of the target tokenizer")
    parser.add_argument("--words", type=Path, required=True, help="folder of word vectors")
    parser.add_argument(
        "--embedding-size", "--size", dest="size", type=int, help="of the factorization (default: full size)"
    )
    parser.add_argument("--sample", type=int, help="make so many target rows only, and extrapolate")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    args = parser.parse_args()
    code = args.checkout / "ofa"
    if not (code / "utils.py").is_file():
        raise SystemExit(f"{args.checkout} is no checkout of the authors' code: it has no ofa/utils.py.")
    sys.path.insert(0, str(code))
    import utils as authors  # theirs
    from gensim.models import KeyedVectors

    torch.set_num_threads(args.threads)
    source = AutoTokenizer.from_pretrained(args.source)
    target = AutoTokenizer.from_pretrained(args.target)
    matrix = source_embeddings(args.source)[: len(source)]
    words = WordVectors.load(args.words)
    keyed = KeyedVectors(words.dimension)
    # Their code can't read words with a colon of their own.
    kept = np.array([":" not in word for word in words.words])
    keys = [f"{language}:{word}" for language, word, keep in zip(words.languages, words.words, kept) if keep]
    keyed.add_vectors(keys, words.vectors[kept])
    vectors = authors.WordEmbedding(keyed)
    seconds: dict[str, float] = {}
    cpu_seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def clock(phase: str, factor: float = 1.0) -> Iterator[None]:
        start, cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            yield
        seconds[phase] = factor * (time.perf_counter() - start)
        cpu_seconds[phase] = factor * (time.process_time() - cpu)
        print(f"{phase}: {seconds[phase]:.1f} s, CPU {cpu_seconds[phase]:.1f} s", file=sys.stderr)

    with clock("subword vectors"):
        source_vectors, _ = authors.get_subword_embeddings_in_word_embedding_space(source, vectors)
        target_vectors, _ = authors.get_subword_embeddings_in_word_embedding_space(target, vectors)
    if args.size is not None:
        with clock("factorization"):
            _, matrix = authors.perform_factorize(matrix, keep_dim=args.size)
    with clock("matches"):
        overlap = authors.get_overlapping_tokens(target, source, fuzzy_search=True)
        made = np.zeros((len(target), matrix.shape[1]), dtype=matrix.dtype)
        for index, source_index in overlap.values():
            made[index] = matrix[source_index]
    ids = np.arange(len(target))
    if args.sample is not None and args.sample < len(target):
        ids = np.sort(np.random.default_rng(0).choice(len(target), args.sample, replace=False))
    with clock("neighbours and rows", factor=len(target) / len(ids)):
        tokenizer = target if len(ids) == len(target) else Sampled(target, ids)
        authors.create_target_embeddings(
            source_vectors,
            target_vectors[ids],
            source,
            tokenizer,
            matrix.copy(),
            made[ids],
            dict.fromkeys(overlap, 0),
            {},
        )
    result = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "sampled_rows": None if len(ids) == len(target) else len(ids),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
