"""All tokenizer classes that Transformers maps from a model type, as the table in docs/tokenizer-classes.md.

    python tests/tokenization/class_table.py [JOBS]

Each model type gets tokenizers of every kind, passed, extended and trained like another, beside its configuration and in a
tiny adapted model where one can be made. Fails where AutoTokenizer reads another tokenizer than was passed.
"""

import json
import multiprocessing
import sys
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import conftest
import tokenizer_classes
import torch
import transformers
from architectures.permuted import SPECIAL_IDS, source_tokenizer
from architectures.tiny import NOT_TRIED, make_config, make_model, registered_classes
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

import ofa_transformers as ofa
from ofa_transformers.demo.data import load_parallel_text
from ofa_transformers.tokenization import extend_tokenizer, save_tokenizer, train_tokenizer


PAGE = Path(__file__).resolve().parents[2] / "docs" / "tokenizer-classes.md"
KINDS = {
    "unigram": "Unigram",
    "byte_bpe": "BPE of bytes",
    "sentencepiece_bpe": "BPE with ▁",
    "wordpiece": "WordPiece",
}
WAYS = ("passed", "extended", "trained like it", "adapted")
RIGHT, GENERIC, REFUSED = "right", "right*", "refused"
LINES = [*conftest.TEXT[:11], "e\u0301 é  two spaces\ttab", " 12,3 … don't", "<s> <mask> [SEP] x"]
LARGEST = 20_000_000  # parameters of a tiny model

ABOUT = """# Tokenizer classes

AutoTokenizer chooses a class by the model's type and the tokenizer's settings, and most classes build their tokenizer anew from the vocabulary. So the same file can be one tokenizer beside one model and another beside the next. What `ofa` saves is read back before it is there, and must have the same ids, decoding, special tokens and vocabulary; this table says what becomes of it, for every class that Transformers {version} maps from a model type. `make tokenizer-classes` makes it.

*Own* is a tokenizer of the class: passed on, extended, and another trained like it. The other columns are new tokenizers of each kind: passed, extended, trained like one of the kind, each saved beside a configuration of every model type of the class, and adapted to with a tiny model for {adapted} of the {classes} classes. **Right**: AutoTokenizer gives what was passed. **Right\\***: so too, once the settings name `PreTrainedTokenizerFast`, since the class would make another tokenizer. **Refused**: with an error, before the work and before anything is written.

| class | model types | own | {kinds} |
| --- | --- | --- | {rules} |
"""


class Fault(AssertionError):
    """AutoTokenizer gives another tokenizer than was passed."""


@cache
def texts() -> dict[str, list[str]]:
    parallel = load_parallel_text(["deu_Latn", "zul_Latn"]).train
    return {language: list(segments.values())[:60] for language, segments in parallel.items()}


def three(tokenizer: PreTrainedTokenizerBase) -> dict[str, PreTrainedTokenizerBase | str]:
    """The tokenizer, an extension of it and one trained like it, or why there is none."""
    made: dict[str, PreTrainedTokenizerBase | str] = {"passed": tokenizer}
    for way, make in (
        ("extended", lambda: extend_tokenizer(tokenizer, texts(), 60)),
        ("trained like it", lambda: train_tokenizer(texts(), len(tokenizer) + 150, like=tokenizer, same_normalizer=True)),
    ):  # fmt: skip
        try:
            made[way] = make()
        except ValueError as error:
            made[way] = str(error)
    return made


@cache
def new_tokenizers() -> dict[str, dict[str, PreTrainedTokenizerBase | str]]:
    return {kind: three(conftest.TOKENIZER_BUILDERS[kind]()) for kind in KINDS}


@cache
def own_tokenizers(name: str) -> dict[str, PreTrainedTokenizerBase | str]:
    """Those of a class, or why there are none."""
    found = tokenizer_classes.fast_class(name)
    if found is None:
        return dict.fromkeys(WAYS[:3], "slow, without a tokenizer.json")
    try:
        return three(tokenizer_classes.build(found))
    except ImportError as error:
        return dict.fromkeys(WAYS[:3], f"not tried: {str(error).split(' to use')[0]}")


def saved(tokenizer: PreTrainedTokenizerBase | str, model_type: str) -> tuple[str, str]:
    """What becomes of it beside a configuration, and why."""
    if isinstance(tokenizer, str):
        return ("not tried" if tokenizer.startswith("not tried") else REFUSED), tokenizer
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
        try:
            save_tokenizer(tokenizer, folder)
        except ValueError as error:
            return REFUSED, str(error)
        return compare(tokenizer, folder), ""


@cache
def tiny_model_class(name: str) -> tuple[str, str] | None:
    """(model type, model class) of the first model of a tokenizer class that can be made tiny."""
    for model_type, its_class in TOKENIZER_MAPPING_NAMES.items():
        for model_class, (its_type, _) in registered_classes().items() if its_class == name else ():
            # Not a model whose configuration is saved as another type, as that of a part of it (qwen3_5_text).
            if its_type != model_type or model_class in NOT_TRIED:
                continue
            if make_config(model_class, **SPECIAL_IDS).model_type != model_type:
                continue
            with torch.device("meta"):
                if make_model(model_class, make_config(model_class, **SPECIAL_IDS)).num_parameters() <= LARGEST:
                    return model_type, model_class
    return None


def adapted(tokenizer: PreTrainedTokenizerBase, model_class: str) -> tuple[str, str] | None:
    """What becomes of it as the target of a tiny model; None where that model can't be adapted to it."""
    torch.manual_seed(0)
    model = make_model(model_class, make_config(model_class, **SPECIAL_IDS)).eval()
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = ofa.OfaInitializer.from_pretrained(
                model, source_tokenizer=source_tokenizer(), target_tokenizer=tokenizer, method="random"
            )
            result.save_pretrained(Path(folder) / "adapted", report_page=False)
        except ValueError as error:
            # Architectures that are refused are in a table of their own.
            return (REFUSED, str(error)) if "AutoTokenizer" in str(error) else None
        return compare(tokenizer, Path(folder) / "adapted"), ""


def compare(tokenizer: PreTrainedTokenizerBase, folder: Path) -> str:
    """Our own look at what was written, apart from the proof that it was written with.

    Raises:
        Fault: it isn't what was passed.
    """
    loaded = AutoTokenizer.from_pretrained(folder)
    # Not get_vocab of the tokenizer: MLuke's class answers with the vocabulary that it was made with.
    if (
        loaded.backend_tokenizer.get_vocab() != tokenizer.backend_tokenizer.get_vocab()
        or loaded.special_tokens_map != tokenizer.special_tokens_map
    ):
        raise Fault("another vocabulary, or other special tokens")
    for line in LINES:
        ids = tokenizer.backend_tokenizer.encode(line).ids
        if loaded.backend_tokenizer.encode(line).ids != ids or loaded.decode(ids) != tokenizer.decode(ids):
            raise Fault(f"{line!r} becomes {loaded.convert_ids_to_tokens(loaded.backend_tokenizer.encode(line).ids)}")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    same = settings["tokenizer_class"] in (type(tokenizer).__name__, "PreTrainedTokenizerFast")
    return RIGHT if same and isinstance(loaded, type(tokenizer)) else GENERIC


def examine(model_type: str) -> dict[str, dict[str, tuple[str, str]]]:
    """column -> way -> (what becomes of it, why)."""
    name = TOKENIZER_MAPPING_NAMES[model_type]
    own = own_tokenizers(name) if name else {}
    found = {"own": {way: saved(tokenizer, model_type) for way, tokenizer in own.items()}}
    tiny = tiny_model_class(name)
    for kind, ways in new_tokenizers().items():
        found[kind] = {way: saved(tokenizer, model_type) for way, tokenizer in ways.items()}
        result = adapted(ways["passed"], tiny[1]) if tiny is not None and tiny[0] == model_type else None
        if result is not None:
            found[kind]["adapted"] = result
    return found


def try_type(model_type: str) -> tuple[str, dict | None, str]:
    transformers.logging.set_verbosity(transformers.logging.FATAL)
    transformers.logging.disable_progress_bar()
    try:
        return model_type, examine(model_type), ""
    except Exception as error:  # whatever it is, it is a fault
        return model_type, None, f"{model_type}: {type(error).__name__}: {error}"


def cell(ways: dict[str, tuple[str, str]]) -> str:
    """One word where all ways end alike, else each."""
    if not ways:
        return "none"
    results = {result for result, _ in ways.values()}
    reasons = {why for result, why in ways.values() if result != RIGHT and why}
    if len(results) == 1:
        result = results.pop()
        alike = reasons.pop() if len(reasons) == 1 else ""
        return alike if result == "not tried" else f"{result}: {alike}" if alike.startswith("slow") else result
    return ", ".join(f"{way} {result}" for way, (result, _) in ways.items())


def row(model_type: str, columns: dict[str, dict[str, tuple[str, str]]]) -> tuple[str, ...]:
    """The class and its cells.

    Raises:
        Fault: an adapted model and a tokenizer that is saved beside a configuration end otherwise.
    """
    wrong = [
        kind
        for kind in KINDS
        if columns[kind].get("adapted", columns[kind]["passed"])[0] != columns[kind]["passed"][0]
    ]
    if wrong:
        raise Fault(f"{model_type}: saved beside the configuration and adapted end otherwise for {wrong}")
    cells = [cell({way: result for way, result in ways.items() if way != "adapted"}) for ways in columns.values()]
    return TOKENIZER_MAPPING_NAMES[model_type] or "none", *cells


def rows(found: dict[str, dict[str, dict[str, tuple[str, str]]]]) -> list[str]:
    """A row for each class and outcome: model types of one class that end alike share it."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for model_type, columns in found.items():
        groups[row(model_type, columns)].append(model_type)
    return [
        f"| {name} | {', '.join(types)} | {' | '.join(cells)} |" for (name, *cells), types in sorted(groups.items())
    ]


def notes(found: dict[str, dict[str, dict[str, tuple[str, str]]]]) -> str:
    """Why there are refusals, once for each class and way."""
    seen: dict[tuple[str, str], str] = {}
    for model_type, columns in found.items():
        for column, ways in columns.items():
            for way, (result, why) in ways.items():
                key = (TOKENIZER_MAPPING_NAMES[model_type] or "none", way if column == "own" else "new tokenizers")
                if result == REFUSED and not why.startswith("slow"):
                    seen.setdefault(key, why.split(". Nothing was written")[0].removeprefix("tokenizer: "))
    lines = [f"- {name}, {way}: {why}." for (name, way), why in sorted(seen.items())]
    return "\n## Refusals, in the words of the error\n\n" + "\n".join(lines) + "\n"


def main(jobs: int) -> int:
    # Types of one class one after the other, so that a process makes its tokenizers once.
    types = sorted(
        TOKENIZER_MAPPING_NAMES, key=lambda model_type: (TOKENIZER_MAPPING_NAMES[model_type] or "", model_type)
    )
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=60) as pool:
        results = list(pool.imap(try_type, types, chunksize=4))
    faults = [fault for _, _, fault in results if fault]
    found = {model_type: columns for model_type, columns, _ in results if columns is not None}
    for model_type, columns in found.items():
        try:
            row(model_type, columns)
        except Fault as fault:
            faults.append(str(fault))
    if faults:
        print("\n".join(faults))
        return 1
    about = ABOUT.format(
        version=transformers.__version__,
        classes=len(set(TOKENIZER_MAPPING_NAMES.values())),
        adapted=sum("adapted" in columns["unigram"] for columns in found.values()),
        kinds=" | ".join(KINDS.values()),
        rules=" | ".join("---" for _ in KINDS),
    )
    table = rows(found)
    PAGE.write_text(about + "\n".join(table) + "\n" + notes(found), encoding="utf-8")
    print(f"{len(types)} model types, {len(table)} rows: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2))
