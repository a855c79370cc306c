"""Time and memory of training a tokenizer, and what an extension does to new and to old languages.

    python examples/benchmarks/target_tokenizers.py train TEXT... --vocab-size 60000 --held-out ids.txt --json train.json
    python examples/benchmarks/target_tokenizers.py extend TEXT... --new chr,cop,ewe --tokenizer xlm-r=FOLDER --made \
        --num-new-tokens 10000 --held-out ids.txt --json extend.json

TEXT are files of lines `id<TAB>text` whose names begin with the language (deu_Latn.tsv.gz), one a language; the segments
named in `--held-out` are measured on, the others trained on. Each training and extension runs in a process of its own:
wall and processor seconds, and the highest resident set, imports included.

`--made` adds tokenizers of kinds whose originals may not be at hand, trained on the old languages: byte-level BPE that
cuts text as GPT-2 and RoBERTa do, as Llama 3 and as Qwen do, and BPE of SentencePiece with byte fallback as Llama 2's.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from ofa_transformers.text.segments import read_ids, read_segments, texts_by_language
from ofa_transformers.tokenization import extend_tokenizer, measure_changes, measure_fertility, train_tokenizer


# How Llama 3 and Qwen cut text before its bytes are merged; they differ in how many digits stay together.
_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MADE = {"gpt-2": None, "llama-3": _CUTS % "{1,3}", "qwen": _CUTS % "", "llama-2": "sentencepiece"}


def lines_of(files: list[Path], held_out: frozenset[str], test: bool) -> dict[str, list[str]]:
    """language -> its lines, those held out or the others; of several files of a language, the first."""
    return {
        language: [text for name, text in read_segments(parts[0]) if (name in held_out) == test]
        for language, parts in texts_by_language(files).items()
    }


def measured(function, *args) -> dict[str, float]:
    """Runs `function` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measured, function, args).result()


def _measured(function, args) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    size = function(*args)
    return {
        "tokens": size,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def train(files: list[Path], held_out: frozenset[str], algorithm: str, size: int, folder: Path) -> int:
    tokenizer = train_tokenizer(lines_of(files, held_out, test=False), size, algorithm=algorithm)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def extend(files: list[Path], held_out: frozenset[str], source: str, new: list[str], number: int, folder: Path) -> int:
    texts = lines_of(files, held_out, test=False)
    tokenizer = extend_tokenizer(source, {language: texts[language] for language in new}, number)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def make(kind: str, lines: list[str], size: int, folder: Path) -> None:
    """A tokenizer of one of the kinds of `MADE`."""
    sentencepiece = MADE[kind] == "sentencepiece"
    specials = ["<unk>", "<s>", "</s>"] if sentencepiece else ["<|endoftext|>"]
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>" if sentencepiece else None))
    if sentencepiece:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    elif MADE[kind] is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        parts = [pre_tokenizers.Split(Regex(MADE[kind]), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=specials + (byte_pieces if sentencepiece else []),
        initial_alphabet=[] if sentencepiece else pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    if sentencepiece:
        state = json.loads(tokenizer.to_str())["model"]
        merges = [tuple(merge) for merge in state["merges"]]
        trained, normalizer = (
            models.BPE(state["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True),
            tokenizer.normalizer,
        )
        tokenizer = Tokenizer(trained)
        tokenizer.normalizer = normalizer
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        tokenizer.add_special_tokens(specials)
    unk = {"unk_token": "<unk>"} if sentencepiece else {}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=specials[-1], **unk).save_pretrained(folder)


def run_train(args: argparse.Namespace, folder: Path) -> tuple[dict, list[list[str]]]:
    files = args.texts[: args.languages] if args.languages else args.texts
    held_out = read_ids(args.held_out)
    texts = lines_of(files, held_out, test=False)
    characters = sum(map(len, (line for lines in texts.values() for line in lines)))
    result = measured(train, files, held_out, args.algorithm, args.vocab_size, folder / "trained")
    result |= {"algorithm": args.algorithm, "languages": sorted(texts), "characters": characters}
    rows = [["", "languages", "characters", "tokens", "wall s", "CPU s", "peak MiB"]]
    rows.append([args.algorithm, str(len(texts)), f"{characters:,}", f"{result['tokens']:,}", *_cost(result)])
    return result, rows


def run_extend(args: argparse.Namespace, folder: Path) -> tuple[dict, list[list[str]]]:
    held_out = read_ids(args.held_out)
    new = args.new.split(",")
    tests = lines_of(args.texts, held_out, test=True)
    unknown = sorted(set(new) - set(tests))
    if unknown:
        raise SystemExit(f"--new names {', '.join(unknown)}, of which there is no TEXT")
    old = {language: lines for language, lines in tests.items() if language not in new}
    tokenizers = dict(value.partition("=")[::2] for value in args.tokenizer)
    if args.made:
        training = lines_of(args.texts, held_out, test=False)
        for kind in MADE:
            tokenizers[kind] = str(folder / kind)
            lines = [line for language in sorted(old) for line in training[language]]
            make(kind, lines, args.made_size, folder / kind)
    results: dict[str, dict] = {}
    rows = [
        [
            "tokenizer",
            "new tokens",
            "wall s",
            "CPU s",
            "peak MiB",
            "language",
            "tokens/word",
            "after",
            "unknown",
            "after",
        ]
    ]
    for name, source in tokenizers.items():
        extended = folder / f"{name}-extended"
        cost = measured(extend, args.texts, held_out, source, new, args.num_new_tokens, extended)
        both = {"before": source, "after": str(extended)}
        report = measure_fertility(both, {**{language: tests[language] for language in new}, **old}).to_dict()
        changes = {
            language: {**vars(change), "share_changed": change.share_changed}
            for language, change in measure_changes(source, extended, old).items()
        }
        words, changed, without = (
            sum(change[key] for change in changes.values())
            for key in ("words", "words_changed", "words_changed_without_new_piece")
        )
        decoded = sum(change["lines_decoded_otherwise"] for change in changes.values())
        results[name] = {**cost, "fertility": report, "changes": changes}
        for i, language in enumerate(new):
            head = [name, f"{args.num_new_tokens:,}", *_cost(cost)] if i == 0 else [""] * 5
            fertility = [report[when][language] for when in both]
            shares = [f"{result['unk_share']:.1%}" for result in fertility]
            rows.append([*head, language, *(f"{result['tokens_per_word']:.2f}" for result in fertility), *shares])
        mean = [sum(report[when][language]["tokens_per_word"] for language in old) / len(old) for when in both]
        rows.append([""] * 5 + [f"mean of {len(old)} old", *(f"{value:.3f}" for value in mean)])
        rows.append([""] * 5 + ["old words cut otherwise", f"{changed:,} of {words:,}", f"{changed / words:.2%}"])
        rows.append([""] * 5 + ["... without a new piece", "", f"{without:,}"])
        rows.append([""] * 5 + ["old lines decoded otherwise", "", f"{decoded:,}"])
    return results, rows


def _cost(result: dict) -> list[str]:
    return [f"{result['seconds']:.1f}", f"{result['processor_seconds']:.1f}", f"{result['peak_mebibytes']:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "extend"):
        command = commands.add_parser(name)
        command.add_argument("texts", metavar="TEXT", nargs="+", type=Path)
        command.add_argument("--held-out", type=Path, help="file of segment ids to measure on, one a line")
        command.add_argument("--json", type=Path, help="write the figures here")
        if name == "train":
            command.add_argument("--vocab-size", type=int, default=60_000, help="(default: %(default)s)")
            command.add_argument("--algorithm", default="unigram", help="unigram, bpe or wordpiece (default: unigram)")
            command.add_argument("--languages", type=int, help="take the first so many files (default: all)")
        else:
            command.add_argument("--tokenizer", action="append", default=[], help="NAME=folder or Hub id; repeatable")
            command.add_argument("--new", required=True, help="languages to extend for: chr,cop,ewe; others are old")
            command.add_argument("--num-new-tokens", type=int, default=10_000, help="(default: %(default)s)")
            command.add_argument("--made", action="store_true", help="the kinds made of the old languages as well")
            command.add_argument("--made-size", type=int, default=30_000, help="their tokens (default: %(default)s)")
    args = parser.parse_args()
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        results, (heading, *rows) = {"train": run_train, "extend": run_extend}[args.command](args, Path(folder))
    table = Table(*heading)
    for row in rows:
        table.add_row(*row)
    Console(width=150).print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
