"""What reads files: every reader of the library, and commands that read, each with whole inputs to damage."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Subject:
    """A reader or command.

    Attributes:
        name: what it is called in the account.
        files: below its folder of inputs, of which one is damaged.
        read: given the folder, reads; a list of strings is a command line to run.
        weight: of the number of cases; less for what takes long, or shares its code with others.
        needs: what else it reads.
        called: what the damaged file may be called in place of its name.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], Any]
    weight: float = 1.0
    needs: tuple[str, ...] = ()
    called: str | None = None

    @property
    def is_command(self) -> bool:
        return self.name.startswith("$")


WORDS = ["$house$", "$river$", "haus", "stadt", "größe", "naïve", "дом", "水", "a", "b", "c", "d"]
LANGUAGES = ["eng", "eng", *["deu"] * 4, "rus", "zho", *["eng"] * 4]
ROWS = {
    "classification": ("text", ["das Haus ist groß", "ein Fluss", "wir gehen", "Brot"], "label", ["a", "b", "a", "c"]),
    "tagging": ("tokens", [["Anna", "geht"], ["in", "Rom"]], "ner_tags", [["B-PER", "O"], ["O", "B-LOC"]]),
}


def _vectors(folder: Path) -> None:
    import torch

    import ofa_transformers as ofa

    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)
    counts = np.arange(len(WORDS), 0, -1, dtype=np.float32)
    ofa.WordVectors(WORDS, np.array(LANGUAGES), vectors, counts, {"origin": "a test", "n": [1]}).save(
        folder / "vectors"
    )
    rows = [f"{word} {' '.join(f'{x:.4f}' for x in row)}" for word, row in zip(WORDS, vectors)]
    text = f"{len(rows)} 4\n" + "\n".join(rows) + "\n"
    (folder / "w2v.vec").write_text(text)
    (folder / "glove.txt").write_text("\n".join(rows) + "\n")
    (folder / "w2v.vec.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    binary = b"".join(word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(WORDS, vectors))
    (folder / "w2v.bin").write_bytes(b"%d 4\n" % len(rows) + binary)
    parts = {
        "words": WORDS,
        "vectors": torch.tensor(vectors),
        "languages": LANGUAGES,
        "frequencies": torch.tensor(counts),
    }
    torch.save(parts, folder / "vectors.pt")
    np.savez(folder / "vectors.npz", words=np.array(WORDS), vectors=vectors)
    np.save(folder / "vectors.npy", vectors)
    with contextlib.suppress(ImportError):
        from gensim.models.fasttext import FastText, save_facebook_model

        sentences = [["haus", "maus", "haus", "katze"], ["haus", "häuser"], ["katze", "haus"]] * 4
        trained = FastText(sentences, vector_size=4, min_count=1, min_n=2, max_n=3, bucket=20, workers=1, epochs=1)
        save_facebook_model(trained, str(folder / "fasttext.bin"))


def _text(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet
    import zstandard
    from conftest import TEXT

    lines = TEXT[3:9]
    plain = "\n".join(lines) + "\n"
    segments = {
        code: [f"{i}\t{TEXT[(i + shift) % 11]}" for i in range(12)] for code, shift in (("eng", 0), ("deu", 3))
    }
    for code, rows in segments.items():
        (folder / f"{code}.tsv").write_text("\n".join(rows) + "\n")
    (folder / "deu.txt").write_text(plain)
    (folder / "new.txt").write_text("".join(f"zwölf Boxkämpfer jagen {i % 7} quirlige Yaks\n" for i in range(60)))
    (folder / "deu.jsonl").write_text("".join(json.dumps({"text": line, "n": [1]}) + "\n" for line in lines))
    (folder / "deu.txt.gz").write_bytes(gzip.compress(plain.encode(), mtime=0))
    (folder / "deu.txt.zst").write_bytes(zstandard.compress(plain.encode()))
    pyarrow.parquet.write_table(pa.table({"text": lines, "n": list(range(len(lines)))}), folder / "deu.parquet")
    (folder / "deu-eng.tsv").write_text("das Haus\tthe house\nder Fluss\tthe river\ndas Brot\tthe bread\n")
    (folder / "x.deu-eng.deu").write_text("das Haus\nder Fluss\n")
    (folder / "x.deu-eng.eng").write_text("the house\nthe river\n")
    (folder / "ids.txt").write_text("1\n2\n3\n5\n")
    (folder / "de-en.txt").write_text("haus house\nfluss\triver\nbrot bread\nstadt town\n")
    (folder / "weighted.tsv").write_text("deu\thaus\teng\thouse\t2\ndeu\tbrot\teng\tbread\t1.5\n")
    name, texts, label, labels = ROWS["classification"]
    for ending, comma in ((".csv", ","), (".tsv", "\t")):
        rows = "".join(f"{a}{comma}{b}\n" for a, b in zip(labels, texts))
        (folder / f"deu.train{ending}").write_text(f"{label}{comma}{name}\n{rows}")
    (folder / "deu.train.conll").write_text("".join("".join(f"{w} {t}\n" for w, t in zip(ws, ts)) + "\n" for ws, ts in [
        (["Anna", "geht"], ["B-PER", "O"]), (["in", "Rom", "Stadt"], ["O", "B-LOC", "I-LOC"])]))  # fmt: skip
    word = "{}\t{}\t_\t{}\t_\t_\t0\troot\t_\t_\n".format
    sentence = "".join(word(i, w, t) for i, (w, t) in enumerate([("Das", "DET"), ("Haus", "NOUN")], 1))
    empty = "\t_" * 8
    (folder / "deu.train.conllu").write_text(f"# sent_id = 1\n{sentence}\n# text = x\n1-2\tzum{empty}\n{sentence}\n")
    for kind, (name, texts, label, labels) in ROWS.items():
        rows = [{name: text, label: value} for text, value in zip(texts, labels)]
        stem = f"{'deu' if kind == 'classification' else 'rus'}.train"
        (folder / f"{stem}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / f"{stem}.parquet")
    options = {"source": "source", "tokenizer": "tokenizer", "vectors": "vectors", "size": 8, "output": "out"}
    (folder / "adapt.json").write_text(json.dumps({**options, "target_text": ["deu.txt"]}))
    import yaml

    (folder / "adapt.yaml").write_text(yaml.safe_dump({**options, "temperature": 0.2, "source_language": ["eng"]}))


def _models(folder: Path) -> None:
    import sentencepiece
    from adapted_models import make_source
    from conftest import TEXT, build_byte_bpe, build_unigram

    import ofa_transformers as ofa

    source, target = build_byte_bpe(), build_unigram()
    model = make_source("roberta", source)
    model.save_pretrained(folder / "source")
    source.save_pretrained(folder / "source")
    target.save_pretrained(folder / "tokenizer")
    model.save_pretrained(folder / "sharded", max_shard_size="40KB")
    source.save_pretrained(folder / "sharded")
    words = ofa.WordVectors.load(folder / "vectors")
    adapted = ofa.OfaInitializer.from_pretrained(
        model, target_tokenizer=target, source_tokenizer=source, word_vectors=words, embedding_size=8
    )
    adapted.mapping.save(folder / "mapping.safetensors")
    _command("adapt", "source", "-t", "tokenizer", "-v", "vectors", "--size", 8, "-o", "adapted")
    shutil.copy(folder / "adapted" / "ofa_run.yaml", folder)
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 3),
        model_writer=written,
        hard_vocab_limit=False,
        minloglevel=2,
        vocab_size=320,
        pad_id=3,
    )
    (folder / "bare.model").write_bytes(written.getvalue())


def _results(folder: Path) -> None:
    from ofa_transformers.evaluation import Measurement, to_json

    measured = [
        Measurement(model, "retrieval, eng", language, "top-1 to eng", 0.5, 0.4, 0.6, 10, 1, "x.tsv", 8, True, 0.1)
        for model in ("a/m", "b/m")
        for language in ("deu", "rus", "all")
    ]
    (folder / "results.json").write_text(to_json(measured))
    cell = {
        "measured": {"0": [json.loads(to_json(measured[:1]))[0] | {"metric": "bits per character"}]},
        "seconds": 1.0,
    }
    inputs = {"source": "source", "target_tokenizer": "tokenizer", "word_vectors": "vectors", "donor": None,
              "source_languages": None, "files": {"text": ["deu.txt"], "parallel": [], "pivot": "eng"}}  # fmt: skip
    candidates = {"ofa": {"method": "ofa", "embedding_size": None}}
    (folder / "board").mkdir()
    board = {"inputs": inputs, "candidates": candidates, "cells": {"ofa": [cell]}, "best": "ofa"}
    (folder / "board" / "board.json").write_text(json.dumps(board))


def _workspaces(folder: Path) -> None:
    """Folders in which commands go on."""
    _command(*_COMPARE)
    (folder / "route").mkdir()
    (folder / "route" / "vectors.json").write_text('{"settings": {"source": "source", "options": {}}, "done": true}')


def _command(*arguments: Any) -> None:
    """Runs a command among the inputs."""
    from ofa_transformers.cli import app

    with contextlib.redirect_stdout(io.StringIO()):
        assert app(list(map(str, arguments)), standalone_mode=False) in (0, None), arguments


def _checkpoint(folder: Path) -> None:
    """A run that was stopped after two steps."""
    from ofa_transformers.training import DataArguments, ModelArguments, PretrainingArguments, pretrain

    arguments = PretrainingArguments(
        output_dir=str(folder / "run"), max_steps=2, save_steps=2, per_device_train_batch_size=2, use_cpu=True,
        report_to="none", disable_tqdm=True,
    )  # fmt: skip
    data = DataArguments(train=[str(folder / "deu.txt")], streaming=True, max_seq_length=16)
    pretrain(ModelArguments(str(folder / "adapted")), data, arguments)
    for path in list((folder / "run").iterdir()):
        if not path.name.startswith("checkpoint-"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def make_inputs(folder: Path) -> None:
    """Everything that a subject reads, in one folder."""
    os.chdir(folder)
    for make in (_vectors, _text, _models, _results, _workspaces, _checkpoint):
        make(folder)


def _run(*arguments: Any) -> Callable[[Path], list[str]]:
    """A command line; names of inputs are below the folder, in which it runs."""
    return lambda folder: [str(argument) for argument in arguments]


def _word_vectors(name: str, **options: Any) -> Callable[[Path], Any]:
    def read(folder: Path) -> None:
        import ofa_transformers as ofa

        vectors = ofa.WordVectors.load(folder / name, **options)
        vectors.check_finite()  # those of a folder are looked at where they are used
        assert np.isfinite(vectors.vectors).all() and vectors.vectors.ndim == 2
        assert len(list(vectors.words)) == len(vectors.languages) == len(vectors.vectors)
        assert all(isinstance(word, str) for word in vectors.words)
        if vectors.frequencies is not None:
            assert np.isfinite(vectors.frequencies).all() and (vectors.frequencies >= 0).all()

    return read


def _corpus(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> None:
        from ofa_transformers.text.corpus import find_text

        for text in find_text([folder / name]).values():
            assert all(isinstance(line, str) for line in text)
            text.characters()

    return read


def _labelled(name: str, kind: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> None:
        from ofa_transformers.evaluation import read_labelled_files

        read_labelled_files([folder / name], kind)

    return read


def _of(module: str, function: str, *names: str, many: bool = False, **options: Any) -> Callable[[Path], Any]:
    """Calls a function of the library with files."""

    def read(folder: Path) -> None:
        from importlib import import_module

        call = import_module(f"ofa_transformers.{module}")
        for part in function.split("."):
            call = getattr(call, part)
        paths = [folder / name for name in names]
        list(found) if hasattr(found := call(*([paths] if many else paths), **options), "__next__") else found

    return read


def _config(folder: Path) -> None:
    from ofa_transformers.models.checkpoints import load_config

    load_config(folder / "source", {})


def _tokenizer(folder: Path) -> None:
    from ofa_transformers.models.checkpoints import load_tokenizer

    load_tokenizer(folder / "tokenizer", "tokenizer")("das Haus")


def _weights(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> None:
        from ofa_transformers.models.checkpoints import load_config, model_class, take_source

        config = load_config(folder / name, {})
        take_source(folder / name, model_class(folder / name, config), {})

    return read


def _report(folder: Path) -> None:
    from ofa_transformers.report import rewrite_page

    rewrite_page(folder / "adapted")


def _results_table(folder: Path) -> None:
    from ofa_transformers.evaluation import read_json, to_markdown

    to_markdown(read_json(folder / "results.json"))


def _board(folder: Path) -> None:
    from ofa_transformers.workflows.board import Board

    board = Board.load(folder / "board")
    board.view()


_SAVED = ("vectors/vectors.safetensors", "vectors/words.txt", "vectors/metadata.json")
_MODEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_SOURCE = tuple(f"source/{name}" for name in _MODEL)
_ADAPTED = tuple(f"adapted/{name}" for name in _MODEL)

_COMPARE = (
    "compare",
    "source",
    "-t",
    "tokenizer",
    "--text",
    "deu.txt",
    "--methods",
    "mean",
    "--max-texts",
    2,
    "-o",
    "compared",
)
_ADAPT = ("--config", "source", "tokenizer", "vectors", "deu.txt")

SUBJECTS: tuple[Subject, ...] = (
    *(Subject(f"vectors {name}", (name,), _word_vectors(name), 0.6) for name in (
        "w2v.vec", "w2v.vec.gz", "glove.txt", "w2v.bin", "fasttext.bin", "vectors.pt", "vectors.npz", "vectors.npy")),
    Subject("vectors folder", _SAVED, _word_vectors("vectors")),
    Subject("vectors folder, verified", _SAVED, _word_vectors("vectors", verify=True), 0.5),
    Subject("dictionary", ("de-en.txt",), _of("vectors", "Dictionary.load", "de-en.txt"), 0.6),
    Subject("dictionary of languages", ("weighted.tsv",), _of("vectors", "Dictionary.load", "weighted.tsv"), 0.6),
    *(Subject(f"corpus {name}", (name,), _corpus(name), 0.4) for name in (
        "deu.txt", "deu.jsonl", "eng.tsv", "deu.parquet", "deu.txt.gz", "deu.txt.zst")),
    Subject("pairs in a file", ("deu-eng.tsv",), _of("evaluation", "read_pairs", "deu-eng.tsv", many=True)),
    Subject("pairs in two files", ("x.deu-eng.deu", "x.deu-eng.eng"),
            _of("evaluation", "read_pairs", "x.deu-eng.deu", "x.deu-eng.eng", many=True)),
    Subject("segments", ("eng.tsv", "deu.tsv"), _of("evaluation", "read_segments_by_id", "eng.tsv", "deu.tsv", many=True)),
    Subject("ids", ("ids.txt",), _of("text.segments", "read_ids", "ids.txt")),
    *(Subject(f"labelled {name}", (name,), _labelled(name, "tagging"), 0.4) for name in (
        "deu.train.conll", "deu.train.conllu", "rus.train.jsonl", "rus.train.parquet")),
    *(Subject(f"labelled {name}", (name,), _labelled(name, "classification"), 0.4) for name in (
        "deu.train.csv", "deu.train.tsv", "deu.train.jsonl", "deu.train.parquet")),
    Subject("configuration", ("source/config.json",), _config, 0.7),
    Subject("tokenizer", ("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"), _tokenizer, 0.5),
    Subject("tokenizer bare.model", ("bare.model",),
            _of("tokenization.sentencepiece_model", "load_sentencepiece", "bare.model"), 0.5),
    Subject("weights", ("source/model.safetensors", "source/config.json"), _weights("source"), 0.15),
    Subject("weights in shards", ("sharded/model.safetensors.index.json", "sharded/model-00001-of-00003.safetensors"),
            _weights("sharded"), 0.15),
    Subject("weights of a factorized model", ("adapted/model.safetensors", "adapted/config.json"), _weights("adapted"), 0.15),
    Subject("mapping", ("mapping.safetensors",),
            _of("initialization.mapping.token_mapping", "TokenMapping.load", "mapping.safetensors")),
    Subject("report", ("adapted/ofa_report.json", "adapted/report.html"), _report, 0.5),
    Subject("results", ("results.json",), _results_table),
    Subject("board", ("board/board.json",), _board),
    Subject("board, arguments", ("board/board.json",),
            _of("initialization.from_board", "arguments_of", "board", candidate="best"), needs=("deu.txt", "--config")),
    Subject("$ vectors convert", (*_SAVED, "w2v.vec", "w2v.bin", "vectors.pt"), _run("vectors", "convert", "INPUT", "-o", "out")),
    Subject("$ vectors info", _SAVED, _run("vectors", "info", "vectors", "--verify")),
    Subject("$ vectors build", ("eng.tsv", "deu.tsv", "ids.txt"),
            _run("vectors", "build", "eng.tsv", "deu.tsv", "--exclude", "ids.txt", "--dim", 3, "-o", "out")),
    Subject("$ vectors dictionary", ("de-en.txt", *_SAVED),
            _run("vectors", "dictionary", "de-en.txt", "-v", "vectors", "-o", "out")),
    Subject("$ vectors align", (*_SAVED, "w2v.vec", "weighted.tsv"),
            _run("vectors", "align", "w2v.vec", "vectors", "--language", "deu", "-d", "weighted.tsv", "-o", "out"), called="the dictionary"),
    Subject("$ vectors evaluate", (*_SAVED, "deu.tsv", "weighted.tsv"),
            _run("vectors", "evaluate", "vectors", "eng.tsv", "deu.tsv", "-d", "weighted.tsv"), called="the dictionary"),
    Subject("$ tokenizer train", ("deu.txt",), _run("tokenizer", "train", "deu.txt", "-n", 100, "-o", "out"), 0.5),
    Subject("$ tokenizer extend", ("new.txt", "tokenizer/tokenizer.json"),
            _run("tokenizer", "extend", "tokenizer", "deu=new.txt", "-n", 15, "-o", "out"), 0.5),
    Subject("$ tokenizer trim", ("deu.txt", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"),
            _run("tokenizer", "trim", "tokenizer", "deu.txt", "-o", "out"), 0.5),
    Subject("$ tokenizer fertility", ("deu.txt", "deu.jsonl", "tokenizer/tokenizer.json"),
            _run("tokenizer", "fertility", "deu.txt", "deu.jsonl", "-t", "tokenizer")),
    Subject("$ adapt --dry-run", (*_SOURCE, "tokenizer/tokenizer.json", *_SAVED, "adapt.yaml"),
            _run("adapt", "--config", "adapt.yaml", "--dry-run"), needs=_ADAPT),
    Subject("$ adapt", (*_SOURCE, "tokenizer/tokenizer.json", *_SAVED, "adapt.json", "deu.txt"),
            _run("adapt", "--config", "adapt.json", "-o", "out"), 0.5, needs=_ADAPT),
    Subject("$ adapt --config ofa_run.yaml", ("ofa_run.yaml",), _run("adapt", "--config", "ofa_run.yaml", "--dry-run"), needs=_ADAPT),
    Subject("$ compare --dry-run", (*_SOURCE, "tokenizer/tokenizer.json", "deu.txt", "compared/comparison.json"),
            _run(*_COMPARE, "--dry-run"), 0.5, called="compared"),
    Subject("$ compare, gone on with", ("compared/comparison.json", "compared/cells/mean-0.json"), _run(*_COMPARE), 0.5),
    Subject("$ run --dry-run", ("source/config.json", "eng.tsv", "deu.tsv", "route/vectors.json"),
            _run("run", "source", "eng.tsv", "deu.tsv", "-o", "route", "--dry-run")),
    Subject("$ export", _ADAPTED, _run("export", "adapted", "-o", "out"), 0.5),
    Subject("$ convert", _ADAPTED, _run("convert", "adapted", "-o", "out"), 0.5),
    Subject("$ report", ("adapted/ofa_report.json", "adapted/report.html"), _run("report", "adapted")),
    Subject("$ evaluate table", ("results.json",), _run("evaluate", "table", "results.json", "-o", "out")),
    Subject("$ evaluate perplexity", (*_ADAPTED, "deu.txt", "adapted/README.md"),
            _run("evaluate", "perplexity", "adapted", "--text", "deu.txt", "--max-texts", 2, "--cpu", "--card"), 0.5),
    Subject("$ evaluate retrieval", (*_ADAPTED, "deu.tsv"),
            _run("evaluate", "retrieval", "adapted", "--parallel", "eng.tsv", "--parallel", "deu.tsv", "--cpu", "-o", "out"), 0.5),
    Subject("$ pretrain --dry-run", (*_ADAPTED, "deu.txt"),
            _run("pretrain", "adapted", "deu.txt", "-n", 4, "-o", "out", "--streaming", "--cpu", "--dry-run"), 0.5),
    Subject("$ pretrain, resumed", tuple(f"run/checkpoint-2/{name}" for name in (
            "model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json", "data_state.json", "rng_state.pth",
            "config.json", "SHA256SUMS", "training_args.bin")),
            _run("pretrain", "adapted", "deu.txt", "-n", 3, "-o", "run", "--save-steps", 2, "--max-length", 16, "--streaming",
                 "--batch-size", 2, "--cpu"), 0.5),
)  # fmt: skip
