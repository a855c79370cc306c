"""Size of report.html, and what it takes to write, at a vocabulary of 401,000 tokens; nothing is downloaded.

    python examples/benchmarks/report_page.py --output report.html

The mapping is made up: random tokens and words, which pack worse than real ones, in the proportions that the paper
states for RoBERTa and Glot500's vocabulary (27k copied, 179k composed, 195k fallback). The time that the page takes is
given beside that of writing the model's weights (401k x 768, float32).
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from safetensors.torch import save_file

from ofa_transformers import TokenMapping, WordVectors
from ofa_transformers.mapping import TokenKind, Vocabulary
from ofa_transformers.report import OfaReport, count_languages, count_tokens, find_warnings, measure_rows, write_page


ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзийклмнопрстуфхцчшщыэюя",
    "कखगघचछजझटठडढतथदधनपफबभमयरलवशसह",
    "αβγδεζηθικλμνξοπρστυφχψω",
]


def make_strings(count: int, mark: str, generator: np.random.Generator) -> list[str]:
    """Strings of 2 to 11 letters, each of one alphabet."""
    lengths = generator.integers(2, 12, count)
    alphabets = [np.array(list(letters)) for letters in ALPHABETS]
    which = generator.choice(len(alphabets), count, p=[0.6, 0.2, 0.1, 0.1])
    return [mark + "".join(generator.choice(alphabets[a], n)) for a, n in zip(which, lengths)]


def make_mapping(
    tokens: int, sources: int, words: int, languages: int, generator: np.random.Generator
) -> TokenMapping:
    kinds = generator.choice(
        [TokenKind.COPIED, TokenKind.COMPOSED, TokenKind.FALLBACK], tokens, p=[27 / 401, 179 / 401, 195 / 401]
    ).astype(np.uint8)
    counts = np.array([1, 10, 0])[kinds]
    indptr = np.concatenate([[0], np.cumsum(counts)])
    composed = kinds == TokenKind.COMPOSED
    cosines = np.sort(generator.beta(8, 4, (composed.sum(), 10)), axis=1)[:, ::-1]
    weights = np.exp(cosines / 0.1)
    weights /= weights.sum(axis=1, keepdims=True)
    data, similarity = np.ones(indptr[-1], dtype=np.float32), np.full(indptr[-1], np.nan, dtype=np.float32)
    is_composed = np.repeat(composed, counts)
    data[is_composed], similarity[is_composed] = weights.ravel(), cosines.ravel()
    matrix = scipy.sparse.csr_array(
        (data, generator.integers(0, sources, indptr[-1]).astype(np.int32), indptr.astype(np.int32)),
        shape=(tokens, sources),
    )
    texts = make_strings(tokens, "▁", generator)
    # Each word has some five tokens, most of them frequent ones.
    frequent = np.flatnonzero(kinds != TokenKind.FALLBACK)
    owners = frequent[np.minimum(generator.pareto(0.5, 5 * words), len(frequent) - 1).astype(np.int64)]
    owners[: len(frequent)] = frequent
    incidence = scipy.sparse.csr_array(
        (np.ones(len(owners), dtype=np.float32), (owners, generator.integers(0, words, len(owners)))),
        shape=(tokens, words),
    )
    codes = np.array([f"q{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(languages)])
    vectors = WordVectors(
        make_strings(words, "", generator),
        codes[generator.integers(0, languages, words)],
        np.ones((words, 1), dtype=np.float32),
        frequencies=generator.pareto(1, words).astype(np.float32),
    )

    def vocabulary(texts: list[str]) -> Vocabulary:
        forms = [text.replace("▁", " ").encode() for text in texts]
        none = np.zeros(len(texts), dtype=bool)
        return Vocabulary(texts, forms, none, none, none, {}, "metaspace", None)

    settings = {"target_languages": None, "max_words": None, "authors_compatible": False, "temperature": 0.1}
    return TokenMapping(
        matrix, kinds, similarity, np.where(kinds == 0, 1, 0).astype(np.uint8), np.ones(sources, dtype=bool), settings,
        vocabulary(make_strings(sources, "▁", generator)), vocabulary(texts), vectors, incidence,
    )  # fmt: skip


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(f"{what}: {time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} s of CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("report.html"))
    parser.add_argument("--tokens", type=int, default=401_000)
    parser.add_argument("--sources", type=int, default=250_000)
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--languages", type=int, default=400)
    parser.add_argument("--hidden-size", type=int, default=768)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    mapping = make_mapping(options.tokens, options.sources, options.words, options.languages, generator)
    torch.manual_seed(options.seed)
    spectrum = torch.linspace(1, 0.02, options.hidden_size) ** 2
    source = torch.randn(options.sources, options.hidden_size) * spectrum
    target = mapping.apply(source)

    with timed("counts, when the model is made"):
        total, by_script = count_tokens(mapping)
        by_language, unused = count_languages(mapping)
    with timed("measures of the rows, when the model is made"):
        figures, points = measure_rows(source, target, None, mapping, {}, options.seed)
    counts = mapping.word_vectors.language_counts()
    model = {"name": "made up", "class": "XLMRobertaForMaskedLM", "hidden_size": options.hidden_size}
    report = OfaReport(
        source={**model, "tokens": options.sources, "rows": options.sources, "parameters": 278_000_000},
        target={**model, "tokens": options.tokens, "rows": options.tokens, "parameters": 394_000_000},
        word_vectors={
            "words": options.words, "dimension": 1, "languages": counts, "unused": unused, "metadata": {}
        },
        settings=mapping.settings,
        tokens=total,
        tokens_by_script=by_script,
        reconstruction_error=None,
        seconds={},
        versions={},
        warnings=find_warnings(total, by_script, by_language, unused, counts),
        tokens_by_language=by_language,
        figures=figures,
        mapping=mapping,
        map=points,
    )  # fmt: skip
    with timed("report.html, when it is saved"):
        write_page(report, options.output)
    print(f"report.html: {options.output.stat().st_size / 1e6:.1f} MB")
    with (
        tempfile.TemporaryDirectory() as folder,
        timed(f"its rows alone, {target.nbytes / 1e6:,.0f} MB of safetensors"),
    ):
        save_file({"rows": target}, Path(folder) / "rows.safetensors")


if __name__ == "__main__":
    main()
