"""Which rules make the better rows? Zero-training retrieval with two sentence encoders and new vocabularies.

    python examples/initialization_study/run.py --bible BIBLE --tatoeba TATOEBA --minilm MINILM --e5 E5 -o results
    python examples/initialization_study/run.py ... -o results --split test --arms random ofa both

BIBLE holds `LNG_Script.tsv.gz` (lines `verse_id<TAB>text`), `split_dev.tsv`, `split_test.tsv` and `train_exclude.txt`;
TATOEBA `LNG-eng.tsv.gz` (lines `text<TAB>English`); MINILM and E5 are all-MiniLM-L6-v2 and multilingual-e5-small,
folders or Hub ids. Word vectors and tokenizers are made of the Bibles' other verses.

Each cell of the table (source, arm, size, tokenizer seed) is a JSON file in results/cells; a cell that is there already
is not computed again. The tables are results/results.json and results/results.md. `--quick` takes one source, four
languages and few verses, for a look at how it works.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from arms import ARMS, make_mapping, target_rows
from data import bible_pairs, sample, tatoeba_pairs, training_text
from retrieval import measure
from tables import write_tables
from transformers import AutoModel, AutoTokenizer

from ofa_transformers import WordVectors
from ofa_transformers.tokenization import train_tokenizer


# Languages that multilingual-e5-small knows: its tokenizer and its body are of XLM-R, whose 100 languages are these and
# more (Conneau et al., 2020, table 6). The others are new to it.
KNOWN = ["eng", "ara", "ces", "cmn", "deu", "est", "eus", "fra", "guj"]
KNOWN += ["heb", "hye", "lav", "pes", "rus", "spa", "swh", "tgl", "ukr"]
NEW = ["cha", "chr", "cop", "ewe", "syr", "zul"]

# Dimensions of the word vectors.
VECTOR_SIZE = 200


@dataclass(frozen=True)
class Source:
    """A sentence encoder: its languages, its layers (the last, and the one at two thirds as in the paper), its prefix."""

    languages: tuple[str, ...]
    layers: dict[str, int]
    prefix: str = ""


SOURCES = {
    "minilm": Source(("eng",), {"last": 6, "middle": 4}),
    "e5": Source(tuple(KNOWN), {"last": 12, "middle": 8}, prefix="query: "),
}


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    (args.output / "cells").mkdir(parents=True, exist_ok=True)
    languages = ["eng", "deu", "swh", "rus", "ewe"] if args.quick else sorted(KNOWN + NEW)
    texts = {
        "bible": bible_pairs(args.bible, languages, args.split, args.verses),
        "tatoeba": tatoeba_pairs(args.tatoeba, languages, args.split, args.pairs),
    }
    text = training_text(args.bible, languages)
    vectors = None
    for seed in args.seeds:
        for name in args.sources:
            cells = [cell for cell in cells_of(args, name, seed) if not is_done(args, cell)]
            if not cells:
                continue
            vectors = vectors or load_vectors(args, text)
            run_cells(args, name, cells, text, texts, vectors)
            write_tables(args.output, NEW)
    write_tables(args.output, NEW)


def cells_of(args: argparse.Namespace, source: str, seed: int) -> list[dict]:
    """The cells of one source and tokenizer, those with the same mapping together."""
    arms = sorted((a for a in args.arms if a != "source"), key=lambda a: (repr(ARMS[a].mapping), a))
    common = {"source": source, "split": args.split, "seed": seed, "verses": args.verses, "pairs": args.pairs}
    cells = [{"arm": arm, "size": size, **common} for arm in arms for size in args.sizes]
    if "source" in args.arms and seed == args.seeds[0]:  # as it is, with its own tokenizer
        cells.insert(0, {"arm": "source", "size": None, **common})
    return cells


def cell_file(args: argparse.Namespace, cell: dict) -> Path:
    size = cell["size"] or "full"
    return args.output / "cells" / f"{cell['split']}-{cell['source']}-{cell['arm']}-{size}-{cell['seed']}.json"


def is_done(args: argparse.Namespace, cell: dict) -> bool:
    """Whether the cell's file is there; raises where it was computed from another number of texts."""
    path = cell_file(args, cell)
    if not path.is_file():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))["cell"]
    if found != cell:
        raise ValueError(f"{path} holds {found}, not {cell}; choose another output folder.")
    return True


def run_cells(args, name: str, cells: list[dict], text, texts, vectors: WordVectors) -> None:
    source = SOURCES[name]
    path = getattr(args, name)
    own = AutoTokenizer.from_pretrained(path)
    model = AutoModel.from_pretrained(path, dtype=torch.float32, add_pooling_layer=False).eval()
    embeddings = model.get_input_embeddings().weight.detach().clone()
    target = load_tokenizer(args, text, cells[0]["seed"])
    mapping, mapped = None, None
    for cell in cells:
        start = time.perf_counter()
        if cell["arm"] == "source":
            tokenizer, rows, tokens = own, embeddings, {}
        else:
            arm = ARMS[cell["arm"]]
            if arm.mapping != mapped:
                mapping = make_mapping(arm, own, target, vectors, list(source.languages), len(embeddings))
                mapped = arm.mapping
            rows = target_rows(mapping, embeddings, cell["size"], arm)
            tokenizer = target
            tokens = {kind.name.lower(): count for kind, count in mapping.counts().items()}
        made = time.perf_counter()
        model.set_input_embeddings(torch.nn.Embedding.from_pretrained(rows))
        results = {
            task: measure(model, tokenizer, pairs, source.layers, source.prefix) for task, pairs in texts.items()
        }
        seconds = {"rows": round(made - start, 1), "retrieval": round(time.perf_counter() - made, 1)}
        file = cell_file(args, cell)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(
            json.dumps({"cell": cell, "tokens": tokens, "seconds": seconds, "results": results}, indent=1) + "\n",
            encoding="utf-8",
        )
        os.replace(temporary, file)
        last = results["bible"]["last"]
        mean = sum(scores["to_top1"] for scores in last.values()) / len(last)
        print(f"{file.stem}: Bible, English to X, top-1 {mean:.1f}; {seconds}", flush=True)


def load_vectors(args: argparse.Namespace, text: dict[str, dict[str, str]]) -> WordVectors:
    path = args.vectors or args.output / "vectors"
    if not path.exists():
        texts = {language: list(verses.items()) for language, verses in text.items()}
        WordVectors.from_parallel(texts, dim=VECTOR_SIZE, alignment_weight=0).save(path)
    return WordVectors.load(path)


def load_tokenizer(args: argparse.Namespace, text: dict[str, dict[str, str]], seed: int):
    """A Unigram tokenizer of a random 80 % of each language's verses: the seed picks them."""
    path = args.output / "tokenizers" / str(seed)
    if not path.exists():
        texts = {language: sample(verses, 0.8, seed) for language, verses in text.items()}
        train_tokenizer(texts, args.vocab_size, algorithm="unigram", seed=seed).save_pretrained(path)
    return AutoTokenizer.from_pretrained(path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bible", type=Path, required=True, help="folder of the parallel Bibles")
    parser.add_argument("--tatoeba", type=Path, required=True, help="folder of Tatoeba's pairs")
    for name in SOURCES:
        parser.add_argument(f"--{name}", help="folder or Hub id of this source")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for cells and tables")
    parser.add_argument("--vectors", type=Path, help="word vectors (default: built from the Bibles)")
    parser.add_argument("--vocab-size", type=int, default=40_000, help="target tokens (default: 40,000)")
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    parser.add_argument("--verses", type=int, help="verses a language (default: 100 of dev, 500 of test)")
    parser.add_argument("--pairs", type=int, help="Tatoeba pairs a language (default: 100 of dev, 500 of test)")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--arms", nargs="+", choices=["source", *ARMS], default=["source", *ARMS])
    parser.add_argument("--sizes", nargs="+", default=["full", "100", "200"], help="embedding sizes; full or a number")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the target tokenizers")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--quick", action="store_true", help="MiniLM, four languages, 30 verses, 4,000 tokens, one seed"
    )
    args = parser.parse_args()
    if args.quick:
        args.sources, args.seeds, args.vocab_size, args.verses, args.pairs = ["minilm"], [0], 4000, 30, 30
    args.verses = args.verses or (100 if args.split == "dev" else 500)
    args.pairs = args.pairs or (100 if args.split == "dev" else 500)
    args.sizes = [None if size == "full" else int(size) for size in args.sizes]
    missing = [name for name in args.sources if getattr(args, name) is None]
    if missing:
        parser.error(f"no folder for {', '.join(missing)}; pass --{' and --'.join(missing)}, or other --sources")
    return args


if __name__ == "__main__":
    main()
