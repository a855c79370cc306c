"""The code in README and docs runs.

Of each page, the Python blocks are executed in order, in one namespace and one folder that `SETUPS` fills, and the lines
of shell blocks are parsed: every `ofa` command must accept its arguments, and every script, option, make target and extra
must exist. A comment before a block changes that, and is not seen by readers:

    <!-- runs -->             shell: the `ofa` commands are run
    <!-- not run: reason -->  Python: compiled, and its imports and the arguments of calls checked
"""

import argparse
import ast
import configparser
import contextlib
import glob
import gzip
import inspect
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
import typer
from conftest import REPOSITORY
from transformers import RobertaForMaskedLM, XLMRobertaForMaskedLM

import ofa_transformers as ofa
from ofa_transformers.cli import app
from ofa_transformers.demo.data import DATA, SEED_MODEL, load_parallel_text
from ofa_transformers.tokenization import train_tokenizer


PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "examples").glob("**/README.md")),
]
_BLOCK = re.compile(
    r"(?:<!--[ ]*(?P<mark>runs|not[ ]run:[^>]*?)[ ]*-->\n+)?^[ ]*```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^[ ]*```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code. `code` begins with as many empty lines as stand before it, so that errors name the page's line."""

    page: Path
    line: int
    language: str
    mark: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text[: match.start("code")].count("\n")
        code = inspect.cleandoc("\n" + match["code"]) if match["code"].startswith(" ") else match["code"]
        found.append(Block(page, line, match["language"], match["mark"] or "", "\n" * line + code))
    return found


def name(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_code_of_the_page(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    SETUPS.get(name(page), lambda: None)()
    names: dict = {"__name__": "__page__"}
    for block in blocks(page):
        if block.language == "python":
            code = compile(block.code, block.place, "exec")
            if block.mark.startswith("not run"):
                assert len(block.mark) > len("not run: ")
                check_names(block)
            else:
                exec(code, names)
        elif block.language == "bash":
            for command in commands(block.code):
                try:
                    run(command, executed=block.mark == "runs")
                except (AssertionError, click.ClickException) as error:
                    message = error.format_message() if isinstance(error, click.ClickException) else error
                    raise AssertionError(f"{block.place}: {' '.join(command)}: {message}") from error
    CHECKS.get(name(page), lambda names, printed: None)(names, capsys.readouterr().out)


def test_the_table_of_extras_is_complete():
    text = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
    table = text[text.index("| extra |") :].partition("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", table)) == set(extras())


# Python that is not run


def check_names(block: Block) -> None:
    """Imports exist, and calls of what is imported or built in take their keyword arguments."""
    tree = ast.parse(block.code)
    known: dict = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            with contextlib.suppress(ModuleNotFoundError) if not _is_ours(node) else contextlib.nullcontext():
                exec(compile(ast.Module([node], []), block.place, "exec"), known)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and _root(node.func) in known):
        target = eval(compile(ast.Expression(call.func), block.place, "eval"), known)
        keywords = {key.arg: None for key in call.keywords if key.arg}
        try:
            signature = inspect.signature(target)
        except ValueError:  # of a class in C, which doesn't tell its arguments
            continue
        try:
            signature.bind(*call.args, **keywords)
        except TypeError as error:
            raise AssertionError(f"{block.place}: {ast.unparse(call)}: {error}") from error


def _root(node: ast.expr) -> str | None:
    """`a` of `a` and `a.b.c`, which can be looked up without running anything."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _is_ours(node: ast.Import | ast.ImportFrom) -> bool:
    module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
    return (module or "").split(".")[0] in ("ofa_transformers", "transformers")


# Shell


def commands(code: str) -> list[list[str]]:
    """The commands of a shell block, with patterns of file names expanded where files match."""
    lines = re.sub(r"\\\n\s*", "", code).splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [[name for word in words for name in _files(word)] for words in split if words]


def _files(word: str) -> list[str]:
    return (sorted(glob.glob(word)) if "*" in word else []) or [word]


def run(words: list[str], executed: bool) -> None:
    """Checks one command, and executes it if asked to."""
    program, *arguments = words
    if program == "ofa":
        if executed:
            assert typer.main.get_command(app).main(arguments, prog_name="ofa", standalone_mode=False) in (None, 0)
        else:
            parse(arguments)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        names = [word for word in arguments if "=" not in word]
        assert set(names) <= set(targets), f"the Makefile has {', '.join(targets)}"
    elif program == "pip":
        check_extras(arguments)
    elif program in ("python", "accelerate", "torchrun"):
        if "ofa" in arguments:  # torchrun ... --no-python ofa pretrain
            return parse(arguments[arguments.index("ofa") + 1 :])
        check_script(arguments)
    else:
        assert program in ("cd", "cp", "git", "hf", "ls", "export", "mteb", "lm_eval", ".venv/bin/python"), (
            "what is this?"
        )


def parse(arguments: list[str]) -> None:
    """As the command line does, short of running."""
    command, context = typer.main.get_command(app), None
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        word, *arguments = arguments
        assert word in command.commands, f"there is {', '.join(command.commands)}"
        command = command.commands[word]
    if "..." in arguments:
        arguments = [word for word in arguments if word != "..."]
        command.make_context("ofa", arguments, parent=context, resilient_parsing=True)
    else:
        command.make_context("ofa", arguments, parent=context)


def extras() -> configparser.SectionProxy:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    return setup["options.extras_require"]


def check_extras(arguments: list[str]) -> None:
    for word in arguments:
        if match := re.match(r"(?:ofa-transformers|\.)\[([\w,-]+)\]", word):
            for extra in match[1].split(","):
                assert extra in extras(), f"there is no extra {extra}"


def check_script(arguments: list[str]) -> None:
    """The script and the files named before it exist, and it takes the arguments that follow."""
    index = next((i for i, word in enumerate(arguments) if word.endswith(".py")), None)
    if index is None or not arguments[index].startswith("examples/"):
        return  # a module, or a script of somebody else
    for word in arguments[: index + 1]:
        assert not word.startswith("examples/") or (REPOSITORY / word).exists(), f"there is no {word}"
    script, rest = REPOSITORY / arguments[index], arguments[index + 1 :]
    partly = "..." in rest
    parsers: list[argparse.ArgumentParser] = []
    original = argparse.ArgumentParser.parse_known_args

    def parse_known_args(parser, *args, **kwargs):
        parsers.append(parser)
        if partly:
            for action in parser._actions:
                action.required = False
        result = original(parser, *args, **kwargs)
        parsers.pop()
        if parsers:  # of a subcommand
            return result
        assert not result[1], f"{arguments[index]} has no {result[1][0]}"
        raise _Parsed

    def error(parser, message):
        raise AssertionError(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)
        patch.setattr(argparse.ArgumentParser, "error", error)
        patch.setattr(sys, "argv", [str(script), *(word for word in rest if word != "...")])
        patch.syspath_prepend(str(script.parent))
        modules = set(sys.modules)
        with pytest.raises(_Parsed):
            runpy.run_path(str(script), run_name="__main__")
        for module in set(sys.modules) - modules:  # other scripts may have modules of the same name
            if str(getattr(sys.modules[module], "__file__", None)).startswith(str(script.parent)):
                del sys.modules[module]


class _Parsed(Exception):
    """A script has parsed its arguments."""


# What pages find in their folder, and what must come out


def source_and_inputs() -> None:
    """The model, tokenizer, vectors and text that docs/getting-started.md makes, smaller; and a configuration file."""
    text = load_parallel_text(["swh_Latn"]).train
    shutil.copytree(SEED_MODEL, "english-model")
    train_tokenizer({key: [*lines.values()] for key, lines in text.items()}, vocab_size=900).save_pretrained(
        "tokenizer"
    )
    ofa.WordVectors.from_parallel({key[:3]: [*lines.items()] for key, lines in text.items()}, dim=30).save("vectors")
    Path("text").mkdir()
    for language in text:
        shutil.copy(DATA / f"{language}.tsv", "text")
    found = next(block for block in blocks(REPOSITORY / "docs" / "plan-and-repeat.md") if block.language == "yaml")
    Path("xlmr.yaml").write_text(found.code, encoding="utf-8")


def adapted_model() -> None:
    """A factorized checkpoint."""
    source_and_inputs()
    ofa.OfaInitializer.from_pretrained(
        "english-model", target_tokenizer="tokenizer", word_vectors="vectors", embedding_size=16
    ).save_pretrained("adapted", report_page=False)


def vector_files() -> None:
    """What docs/word-vectors.md reads: files of several formats, parallel text, a dictionary."""
    from gensim.models import FastText
    from gensim.models.fasttext import save_facebook_model

    text = load_parallel_text(["swh_Latn"]).train
    vectors = ofa.WordVectors(["haus", "maji"], ["deu", "swh"], np.eye(2, dtype=np.float32))
    lines = [f"{language}:{word} 0.5 {i}" for i, (language, word) in enumerate(zip(vectors.languages, vectors.words))]
    Path("vectors.txt.gz").write_bytes(gzip.compress("\n".join(["2 2", *lines]).encode()))
    save_facebook_model(
        FastText(
            [line.split() for line in text["swh_Latn"].values()], vector_size=5, bucket=50, min_count=2, epochs=1
        ),
        "cc.sw.300.bin",
    )
    Path("muse").mkdir()
    for code, word in (("de", "haus"), ("fr", "maison")):
        for name in (f"wiki.multi.{code}.vec", f"muse/{code}.vec"):
            Path(name).write_text(f"2 2\n{word} 0.5 1\nx 1 0\n", encoding="utf-8")
    Path("bible").mkdir()
    for language, segments in text.items():  # the default of 200 dimensions needs more segments than the demo's
        pieces = {f"{key}.{i}": line.split()[i::8] for key, line in segments.items() for i in range(8)}
        content = "".join(f"{key}\t{' '.join(words)}\n" for key, words in pieces.items() if words)
        Path("bible", f"{language}.tsv.gz").write_bytes(gzip.compress(content.encode()))
    Path("test-ids.txt").write_text("none\n", encoding="utf-8")
    header, entries = (
        "language\tiso639_3\tsource_word\tenglish_word",
        "Swahili\tswa\tkompyuta\tlaw\nSwahili\tswa\tsheria\tlaw\n",
    )
    Path("wiktionary.tsv.gz").write_bytes(gzip.compress(f"{header}\n{entries}".encode()))


SETUPS: dict[str, Callable[[], None]] = {
    "docs/word-vectors.md": vector_files,
    "docs/loading-and-sharing.md": adapted_model,
    "docs/plan-and-repeat.md": source_and_inputs,
}


def check_repeated(names: dict, printed: str) -> None:
    first, again = (Path(folder, "model.safetensors").read_bytes() for folder in ("adapted", "again"))
    assert first == again and "Nothing was written" in printed


def check_readme(names: dict, printed: str) -> None:
    assert type(names["model"]) is ofa.OfaForMaskedLM and names["model"].config.embedding_size == 64
    assert type(names["dense"]) in (XLMRobertaForMaskedLM, RobertaForMaskedLM)
    assert "composed" in printed
    assert names["adapted"].report.explain("▁mtu").id == names["tokenizer"].convert_tokens_to_ids("▁mtu")


CHECKS: dict[str, Callable[[dict, str], None]] = {
    "README.md": check_readme,
    "docs/plan-and-repeat.md": check_repeated,
}
