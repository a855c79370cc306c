"""The paper's comparison in miniature: one source, many ways to begin, the same continued pretraining.

    python examples/replication/run.py --bible BIBLE --tatoeba TATOEBA --minilm MINILM -o results

BIBLE holds `LNG_Script.tsv.gz` (lines `verse_id<TAB>text`), `split_dev.tsv`, `split_test.tsv` and `train_exclude.txt`;
with another English translation (`eng_Latn-KJV.tsv.gz`), English verses are retrieved with it, too. TATOEBA holds
`LNG-eng.tsv.gz` (lines `text<TAB>English`); MINILM is all-MiniLM-L6-v2, a folder or a Hub id. Tokenizers and word
vectors are made of the Bibles' other verses, the sources too: MiniLM gets a masked-LM head, "multilingual" is that
model after it has been adapted to four of the languages and trained on them, and "base" a model of XLM-R base's shape,
trained on these four from nothing: hours of a GPU, in parts as short as you like.

Each cell (source, initialisation, seed) is a JSON file in results/cells, and one that is there already is not computed
again: a run that broke off goes on. Tables and pictures are written at the end, and by `--summary` of what is there.
`--quick` takes minutes. `--workers 2` computes two cells side by side, each on one thread.
"""

import argparse
import copy
import json
import logging
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from continued import Held, continue_pretraining, english_bits, retrieval
from initializations import INITIALIZATIONS, Inputs, initialize
from sources import encoder_with_head, from_nothing, low_precision, of_several_languages
from summary import write_summary
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ofa_transformers import WordVectors
from ofa_transformers.text.parallel import ParallelText, evenly, read_pairs, read_segments_by_id
from ofa_transformers.text.segments import read_ids, read_segments, segment_files
from ofa_transformers.tokenization import train_tokenizer
from ofa_transformers.training.pairs import PairedText
from ofa_transformers.utils.files import new_file


LANGUAGES = ["eng", "deu", "fra", "spa", "rus", "ara", "cmn", "hye", "swh", "tgl", "eus", "zul"]
FOUR = ["eng", "deu", "rus", "ara"]
SOURCE_LANGUAGES = {"minilm": ["eng"], "multilingual": FOUR, "base": FOUR}
# Three seeds tell what holds; the others show the rest of the paper's table once.
DECISIVE = ["random", "random-c", "fvt-c", "ofa", "rules-c", "offset0.2-c", "offset0.2-c-200"]
# FOCUS trains fastText, by gensim.
COSTLY = [name for name, chosen in INITIALIZATIONS.items() if chosen.method == "focus"]
OTHERS = [name for name, chosen in INITIALIZATIONS.items() if name not in DECISIVE and name not in COSTLY]
# What isn't named on the command line.
SETTINGS = {
    "initializations": DECISIVE,
    "languages": LANGUAGES,
    "seeds": [0, 1, 2],
    "steps": 120,
    "vocab_size": 20_000,
    "verses": 60,
    "pairs": 60,
    "head_steps": 100,
    "source_steps": 400,
    "source_vocab_size": 12_000,
    "base_steps": 20_000,
    "base_layers": 12,
    "base_width": 768,
    "vector_size": 200,
    "alignment_weight": 1.0,
}
QUICK_SETTINGS = {
    "initializations": ["random", "fvt-c", "ofa", "offset0.2-c"],
    "languages": ["eng", "deu", "rus", "swh"],
    "seeds": [0],
    "steps": 24,
    "vocab_size": 5000,
    "verses": 30,
    "pairs": 30,
    "head_steps": 10,
    "source_steps": 20,
    "source_vocab_size": 3000,
    "base_steps": 20,
    "base_layers": 2,
    "base_width": 64,
    "vector_size": 50,
    "alignment_weight": 1.0,
}

logger = logging.getLogger("replication")


def main() -> None:
    args = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if args.summary:
        write_summary(args.output)
        return
    text, *held = read_text(args)
    prepare(args, text)
    cells = [
        {"source": source, "initialization": name, "seed": seed, **settings(args)}
        for source in args.sources
        for seed in args.seeds
        for name in args.initializations
    ]
    left = [cell for cell in cells if not is_done(args, cell)]
    logger.info("%d cells, %d of them to be computed", len(cells), len(left))
    of_sources = {source: measure_source(args, held[0], source) for source in {cell["source"] for cell in left}}
    shared = (args, text, *held, of_sources)
    if args.workers > 1:
        with multiprocessing.get_context("spawn").Pool(args.workers, start_worker, shared) as pool:
            for done in pool.imap_unordered(run_in_worker, left):
                logger.info(done)
    else:
        torch.set_num_threads(args.threads)
        memory = Memory()
        for cell in left:
            logger.info(run_cell(*shared, memory, cell))
    write_summary(args.output)


def settings(args: argparse.Namespace) -> dict:
    """What a cell depends on beside its name."""
    names = ("steps", "verses", "pairs", "vocab_size", "alignment_weight")
    return {name: getattr(args, name) for name in names}


def read_text(args: argparse.Namespace) -> tuple[dict[str, dict[str, str]], Held, Held]:
    """Training text, and what is held out: dev and test."""
    files = {name.partition("_")[0]: path for name, path in segment_files(args.bible).items()}
    bible = {language: dict(read_segments(files[language])) for language in args.languages}
    excluded = read_ids(args.bible / "train_exclude.txt")
    text = {
        language: {name: verse for name, verse in verses.items() if name not in excluded}
        for language, verses in bible.items()
    }
    others = [path for path in sorted(args.bible.glob("eng*")) if path != files["eng"]]
    another = dict(read_segments(others[0])) if others else {}
    dev, test = (
        held_out(args, bible, another, args.bible / f"split_{name}.tsv", half)
        for half, name in enumerate(("dev", "test"))
    )
    return text, dev, test


def held_out(
    args: argparse.Namespace, bible: dict[str, dict[str, str]], another: dict[str, str], ids: Path, half: int
) -> Held:
    """Verses of a split, and a half of Tatoeba's pairs."""
    others = [language for language in args.languages if language != "eng"]
    verses = read_segments_by_id(args.bible, ids=ids, languages=others, max_sentences=args.verses)
    there = [language for language in others if (args.tatoeba / f"{language}-eng.tsv.gz").is_file()]
    sentences = [pairs[half::2].spread(args.pairs) for pairs in read_pairs(args.tatoeba, languages=there)]
    pairs = {
        task: {text.language.partition("_")[0]: text for text in texts}
        for task, texts in (("Bible", verses), ("Tatoeba", sentences))
    }
    wanted = read_ids(ids)
    if common := [name for name in bible["eng"] if name in wanted and name in another]:
        versions = [[version[name] for name in common] for version in (another, bible["eng"])]
        pairs["English"] = {"eng": ParallelText("eng", *versions, "two English translations").spread(args.verses)}
    lines = {
        language: evenly([verse for name, verse in bible[language].items() if name in wanted], 40)
        for language in args.languages
    }
    return Held(lines, pairs, lines.pop("eng"))


def prepare(args: argparse.Namespace, text: dict[str, dict[str, str]]) -> None:
    """Target tokenizer, word vectors and sources, where they aren't there yet."""
    lines = {language: list(verses.values()) for language, verses in text.items()}
    if not (args.output / "tokenizer").exists():
        tokenizer = train_tokenizer(lines, args.vocab_size, algorithm="unigram")
        tokenizer.save_pretrained(args.output / "tokenizer")
    if not (args.output / "vectors").exists():
        pairs = {language: list(verses.items()) for language, verses in text.items()}
        vectors = WordVectors.from_parallel(pairs, dim=args.vector_size, alignment_weight=args.alignment_weight)
        vectors.save(args.output / "vectors")
    sources = args.output / "sources"
    known = {language: text[language] for language in FOUR if language in text}
    if "base" in args.sources:
        size = (args.source_vocab_size, args.base_layers, args.base_width)
        from_nothing(known, *size, args.base_steps, sources / "base", args.device)
    if {"minilm", "multilingual"} & set(args.sources):
        english = encoder_with_head(
            args.minilm, lines["eng"], args.head_steps, args.source_steps, sources / "minilm", args.device
        )
    if "multilingual" in args.sources:
        of_several_languages(
            english,
            known,
            args.source_vocab_size,
            args.vector_size,
            args.source_steps,
            sources / "multilingual",
            args.device,
        )


def cell_file(args: argparse.Namespace, cell: dict) -> Path:
    return args.output / "cells" / f"{cell['source']}-{cell['initialization']}-{cell['seed']}.json"


def is_done(args: argparse.Namespace, cell: dict) -> bool:
    """Whether the cell's file is there; raises where it was computed with other settings."""
    path = cell_file(args, cell)
    if not path.is_file():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))["cell"]
    if found != cell:
        raise ValueError(f"{path} holds {found}, not {cell}; choose another output folder.")
    return True


@dataclass
class Memory:
    """What a process keeps from cell to cell.

    Attributes:
        beginning, model, before: of the last cell: what its model depends on, the model, and what was measured of it
            before training. Cells that differ in training alone begin alike.
        encoded: see `draw_translations`.
    """

    beginning: tuple | None = None
    model: PreTrainedModel | None = None
    before: dict[str, object] = field(default_factory=dict)
    encoded: dict[tuple, PairedText] = field(default_factory=dict)


def run_cell(
    args: argparse.Namespace,
    text: dict[str, dict[str, str]],
    held: Held,
    test: Held,
    of_sources: dict[str, dict],
    memory: Memory,
    cell: dict,
) -> str:
    """Computes and writes a cell; a line about it. `of_sources` has what `measure_source` found."""
    start = time.perf_counter()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    lines = {language: list(verses.values()) for language, verses in text.items()}
    inputs = Inputs(
        args.output / "sources" / cell["source"],
        [language for language in SOURCE_LANGUAGES[cell["source"]] if language in lines],
        AutoTokenizer.from_pretrained(args.output / "tokenizer"),
        WordVectors.load(args.output / "vectors"),
        [line for some in lines.values() for line in some[:2000]],
    )
    chosen, steps = INITIALIZATIONS[cell["initialization"]], cell["steps"]
    beginning = (cell["source"], chosen.beginning, cell["seed"])
    if beginning != memory.beginning:
        memory.beginning, memory.model, memory.before = beginning, initialize(chosen, inputs, cell["seed"]), {}
    model = copy.deepcopy(memory.model).to(args.device)
    made = time.perf_counter()
    path = cell_file(args, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    between = {step for step in args.measure if step < steps}
    shares = (0, 1) if args.brief else (0, 1 / 12, 1 / 6, 1 / 5, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1)
    results = continue_pretraining(
        model,
        inputs.tokenizer,
        text,
        held,
        initialization=chosen,
        teacher=inputs.source,
        steps=steps,
        loss_steps=sorted({round(share * steps) for share in shares} | between),
        retrieval_steps={0, steps} | between | ({steps // 2} if not args.brief else set()),
        bits_steps={0, steps} | between,
        seed=cell["seed"],
        energy=args.energy,
        state=path.with_suffix(".state"),
        test=test,
        before=memory.before,
        parallel_text=memory.encoded,
    )
    results["source"] = of_sources[cell["source"]]
    results["seconds"] = {"initialization": round(made - start, 1), "all": round(time.perf_counter() - start, 1)}
    with new_file(path) as temporary:
        temporary.write_text(json.dumps({"cell": cell, **results}, indent=1) + "\n", encoding="utf-8")
    final = results["loss"][steps]
    return f"{path.stem}: loss {sum(final.values()) / len(final):.3f}, {results['seconds']['all']:.0f} s"


def measure_source(args: argparse.Namespace, held: Held, source: str) -> dict:
    """English of the source: bits per character, and retrieval with another English translation, where there is one."""
    folder = args.output / "sources" / source
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder).to(args.device)
    pairs = {task: texts for task, texts in held.pairs.items() if task == "English"}
    with low_precision(model.device):
        return {
            "english_bits_per_character_by_word": english_bits(model, tokenizer, held),
            "retrieval": retrieval(model, tokenizer, pairs),
        }


_shared: tuple = ()


def start_worker(*shared: object) -> None:
    global _shared
    _shared = (*shared, Memory())
    torch.set_num_threads(1)


def run_in_worker(cell: dict) -> str:
    return run_cell(*_shared, cell)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bible", type=Path, help="folder of the parallel Bibles")
    parser.add_argument("--tatoeba", type=Path, help="folder of Tatoeba's pairs")
    parser.add_argument("--minilm", help="all-MiniLM-L6-v2: folder or Hub id")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for cells, tables and pictures")
    parser.add_argument("--sources", nargs="+", choices=SOURCE_LANGUAGES, default=["minilm"])
    parser.add_argument("--initializations", nargs="+", choices=INITIALIZATIONS, metavar="NAME")
    parser.add_argument("--all", action="store_true", help="all initialisations but FOCUS")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2")
    parser.add_argument("--languages", nargs="+", metavar="LNG", help="default: " + " ".join(LANGUAGES))
    parser.add_argument("--base-steps", type=int, help="of 256 lines, of the source base (default: 20,000)")
    parser.add_argument("--steps", type=int, help="of 16 samples of up to 64 tokens (default: 120)")
    parser.add_argument(
        "--measure", nargs="+", type=int, default=[], metavar="STEP", help="measure all after these, too"
    )
    parser.add_argument(
        "--brief", action="store_true", help="measure before training, after --measure's steps and at the end alone"
    )
    parser.add_argument("--vocab-size", type=int, help="target tokens (default: 20,000)")
    parser.add_argument("--verses", type=int, help="to retrieve, a language (default: 60)")
    parser.add_argument("--pairs", type=int, help="of Tatoeba, a language (default: 60)")
    parser.add_argument("--alignment-weight", type=float, help="of aligned words in the vectors (default: 1)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of a single worker")
    parser.add_argument("--device", default="cpu", help="where to train (default: %(default)s)")
    parser.add_argument("--energy", action="store_true", help="measure that of training, with codecarbon")
    parser.add_argument("--summary", action="store_true", help="only write tables and pictures of what is there")
    parser.add_argument("--quick", action="store_true", help="four languages, few steps, one seed: minutes")
    args = parser.parse_args()
    for name, value in (QUICK_SETTINGS if args.quick else SETTINGS).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    if args.energy and find_spec("codecarbon") is None:
        parser.error("--energy needs codecarbon: pip install 'ofa-transformers[codecarbon]'")
    if args.all:
        args.initializations = DECISIVE + OTHERS
    if not args.summary:
        needed = ["bible", "tatoeba", *(["minilm"] if set(args.sources) - {"base"} else [])]
        if missing := [name for name in needed if getattr(args, name) is None]:
            parser.error(f"pass --{' and --'.join(missing)}")
        if "eng" not in args.languages:
            parser.error("--languages must have eng, which the others are retrieved with")
    return args


if __name__ == "__main__":
    sys.exit(main())
