"""examples/replication on tiny models and texts."""

import gzip
import json
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from adapted_models import make_source
from conftest import REPOSITORY, TEXT
from transformers import AutoModel, AutoModelForMaskedLM

from ofa_transformers.initialization.methods import methods


MODULES = ("initializations", "run", "sources", "states", "summary", "translations", "continued")


@pytest.fixture
def study(monkeypatch):
    """Its modules, which import one another by their bare names."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples" / "replication"))
    modules = {name: __import__(name) for name in MODULES}
    yield modules
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path, tiny_tokenizers):
    ids = [f"b.MAT.1.{number}" for number in range(80)]
    for index, language in enumerate(["eng", "deu", "swh", "rus"]):
        lines = [f"{name}\t{TEXT[(index * 3 + number) % len(TEXT)]} {number}" for number, name in enumerate(ids)]
        (tmp_path / f"{language}_Latn.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    another = "\n".join(f"{name}\tand {TEXT[number % len(TEXT)]} {number}" for number, name in enumerate(ids))
    (tmp_path / "eng_Latn-KJV.tsv.gz").write_bytes(gzip.compress(another.encode()))
    (tmp_path / "train_exclude.txt").write_text("\n".join(ids[:30]))
    for split, some in (("dev", ids[:20]), ("test", ids[20:30])):
        (tmp_path / f"split_{split}.tsv").write_text("verse_id\tn\n" + "\n".join(f"{name}\t44" for name in some))
    pairs = "\n".join(f"Haus {number}\thouse {number}" for number in range(30))
    (tmp_path / "tatoeba").mkdir()
    (tmp_path / "tatoeba" / "deu-eng.tsv.gz").write_bytes(gzip.compress(pairs.encode()))
    source = make_source("bert", tiny_tokenizers["wordpiece"])
    AutoModel.from_config(source.config, add_pooling_layer=False).save_pretrained(tmp_path / "minilm")
    tiny_tokenizers["wordpiece"].save_pretrained(tmp_path / "minilm")
    return tmp_path


def test_cells_tables_and_pictures(study, folder, monkeypatch):
    run = study["run"]
    small = {"steps": 6, "vector_size": 6, "vocab_size": 300, "source_vocab_size": 250, "head_steps": 2}
    monkeypatch.setattr(run, "QUICK_SETTINGS", {**run.QUICK_SETTINGS, **small, "source_steps": 2})
    arms = study["initializations"].INITIALIZATIONS
    for name, arm in arms.items():  # six steps are enough to learn something
        monkeypatch.setitem(arms, name, replace(arm, rate=1e-2))
    out = folder / "out"
    arguments = [
        "--bible",
        folder,
        "--tatoeba",
        folder / "tatoeba",
        "--minilm",
        folder / "minilm",
        "-o",
        out,
        "--quick",
    ]
    names = ["random", "fvt-c", "wechsel-u", "mixture0.4", "offset0.2-c-200"]
    sources = ["minilm", "multilingual"]
    arguments += ["--threads", "1", "--sources", *sources, "--initializations", *names]

    def main(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments), *more])
        run.main()

    main("--measure", "4", "9")
    cells = {path.stem: path.read_bytes() for path in (out / "cells").iterdir()}
    assert set(cells) == {f"{source}-{name}-0" for source in sources for name in names}
    for content in cells.values():
        cell = json.loads(content)
        assert set(cell["loss"]) == {"0", "1", "2", "3", "4", "5", "6"} and set(cell["loss"]["6"]) == {
            "deu",
            "rus",
            "swh",
        }
        tasks = {"Bible", "Tatoeba", "English"}
        assert set(cell["retrieval"]) == {"0", "3", "4", "6"} and set(cell["retrieval"]["6"]) == tasks
        assert set(cell["encoder"]) == set(cell["test"]["encoder"]) == tasks
        assert set(cell["test"]["retrieval"]) == tasks and set(cell["test"]["retrieval"]["Bible"]) == {
            "deu",
            "rus",
            "swh",
        }
        assert cell["test"]["bits_per_character_by_word"] != cell["bits_per_character_by_word"]["6"]  # of other verses
        assert set(cell["english_bits_per_character_by_word"]) == {"0", "4", "6"}
        assert set(cell["source"]["retrieval"]) == {"English"}
        assert sum(cell["loss"]["6"].values()) < sum(cell["loss"]["0"].values()) - 0.01  # it learns
        assert cell["tokens"] > 0
        for kind in ("", "_by_word"):
            bits = cell[f"bits_per_character{kind}"]
            assert (
                set(bits) == {"0", "4", "6"}
                and set(bits["6"]) == {"deu", "rus", "swh"}
                and min(bits["6"].values()) > 0
            )
        for by_language in cell["retrieval"]["6"].values():
            assert all(len(values) == 4 and 0 <= min(values) <= max(values) <= 100 for values in by_language.values())
    parameters = {name: json.loads(cells[f"minilm-{name}-0"])["parameters"] for name in names}
    assert parameters["offset0.2-c-200"] < parameters["random"] == parameters["fvt-c"]
    table = (out / "results.md").read_text(encoding="utf-8")
    assert "| FVT, calibrated bias | 1 |" in table and "source of four languages" in table
    assert (out / "curves-minilm.png").stat().st_size > 10_000
    assert "steps: as sentence encoders" in table
    assert "bits/char. after, words masked | tokens masked" in table and "test, and English" in table
    way = table[table.index("steps: on the way") :].partition("**\n\n")[2].partition("\n\n")[0].splitlines()
    assert [row.split(" | ")[1] for row in way[2:]] == ["4", "6"] * len(names)
    main()  # all there: nothing is computed again
    assert {path.stem: path.read_bytes() for path in (out / "cells").iterdir()} == cells
    with pytest.raises(ValueError, match="choose another output folder"):
        main("--steps", "8")


def break_off_at_the_fourth(monkeypatch, module, name: str) -> list:
    """Lets the fourth call of a module's function be interrupted; the arguments of all calls."""
    function, called = getattr(module, name), []

    def interrupted(*arguments):
        called.append(arguments)
        if len(called) == 4:
            raise KeyboardInterrupt
        return function(*arguments)

    monkeypatch.setattr(module, name, interrupted)
    return called


@pytest.mark.parametrize(
    ("name", "source"),
    [("fvt-c", "base"), ("offset0.4-c-pairs-4e-4-decay", "minilm"), ("offset0.4-c-taught-2e-4", "minilm")],
)
def test_a_training_that_broke_off_goes_on(study, folder, monkeypatch, name, source):
    run, continued = study["run"], study["continued"]
    small = {"steps": 6, "vector_size": 6, "vocab_size": 300, "head_steps": 2, "source_steps": 2, "base_steps": 2}
    monkeypatch.setattr(run, "QUICK_SETTINGS", {**run.QUICK_SETTINGS, **small})
    monkeypatch.setattr(study["states"], "SECONDS_TO_STATE", -1)
    arguments = f"--bible {folder} --tatoeba {folder / 'tatoeba'} -o {folder / 'out'} --sources {source}"
    if source == "minilm":
        arguments += f" --minilm {folder / 'minilm'}"
    monkeypatch.setattr(
        sys, "argv", ["run.py", *arguments.split(), *f"--quick --threads 1 --initializations {name}".split()]
    )
    run.main()
    file = folder / "out" / "cells" / f"{source}-{name}-0.json"
    whole = json.loads(file.read_text())
    file.unlink()
    called = break_off_at_the_fourth(monkeypatch, continued, "held_out_loss")
    with pytest.raises(KeyboardInterrupt):
        run.main()
    assert file.with_suffix(".state").is_file() and not file.exists()
    given = sys.argv
    monkeypatch.setattr(sys, "argv", [*given, "--steps", "12"])
    with pytest.raises(ValueError, match=r"'steps': 6.*remove it"):
        run.main()
    monkeypatch.setattr(sys, "argv", given)
    run.main()
    again = json.loads(file.read_text())
    assert len(called) == 8 and not file.with_suffix(".state").exists()  # steps 3 to 6 after the break
    for cell in (whole, again):
        del cell["curve"], cell["seconds"]
    assert again == whole


def test_trainings_that_begin_alike_begin_once_and_share_a_table(study, folder, monkeypatch):
    run = study["run"]
    small = {"steps": 4, "vector_size": 6, "vocab_size": 300, "head_steps": 2, "source_steps": 2}
    monkeypatch.setattr(run, "QUICK_SETTINGS", {**run.QUICK_SETTINGS, **small})
    monkeypatch.setattr(study["translations"], "TOKENS", 32)  # both sides fit into the positions of the small model
    begun, initialize = [], run.initialize
    monkeypatch.setattr(run, "initialize", lambda *some: begun.append(some) or initialize(*some))

    def cells(output: str, *trainings: str) -> dict[str, dict]:
        names = [f"offset0.4-c-{training}-2e-4" for training in trainings]
        paths = f"--bible {folder} --tatoeba {folder / 'tatoeba'} --minilm {folder / 'minilm'} -o {folder / output}"
        options = ["--quick", "--brief", "--threads", "1", "--initializations", *names]
        monkeypatch.setattr(sys, "argv", ["run.py", *paths.split(), *options])
        run.main()
        return {name: json.loads((folder / output / "cells" / f"minilm-{name}-0.json").read_text()) for name in names}

    together = cells("together", "alone", "joined", "pairs")
    assert len(begun) == 1
    alone, joined, pairs = together.values()
    assert alone["loss"]["0"] == joined["loss"]["0"] == pairs["loss"]["0"] and set(alone["loss"]) == {"0", "4"}
    assert len({cell["loss"]["4"]["deu"] for cell in together.values()}) == 3
    (by_itself,) = cells("apart", "pairs").values()
    for cell in (pairs, by_itself):
        del cell["curve"], cell["seconds"]
    assert by_itself == pairs
    table = (folder / "together" / "results.md").read_text().partition("**All rows on all trainings, equal steps**")[2]
    assert "| masked LM alone | masked LM and translation LM in turn | pairs |" in table
    assert "| all | steps | 4 | 4 | 4 |" in table and "| Bible → X |" in table


def test_a_source_from_nothing_goes_on_where_it_broke_off(study, tmp_path, monkeypatch):
    sources = study["sources"]
    monkeypatch.setattr(study["states"], "SECONDS_TO_STATE", -1)
    texts = {language: {str(i): f"{TEXT[i % len(TEXT)]} {i}" for i in range(40)} for language in ("eng", "deu")}
    make = partial(sources.from_nothing, texts, 300, 2, 64, 6)
    whole = AutoModelForMaskedLM.from_pretrained(make(tmp_path / "whole"))
    called = break_off_at_the_fourth(monkeypatch, sources, "masked_loss")
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "again")
    assert (tmp_path / "again.state").is_file() and not (tmp_path / "again").exists()
    again = AutoModelForMaskedLM.from_pretrained(make(tmp_path / "again"))
    assert len(called) == 7 and not (tmp_path / "again.state").exists()
    assert again.config.num_attention_heads == 1 and again.config.hidden_size == 64
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("trained", "progress", "still"),
    [
        ("all", 0.0, set()),
        ("outer", 0.0, {"layer.2", "layer.3"}),
        ("body", 0.0, {"embeddings.word_embeddings"}),
        ("rows first", 0.1, {*(f"layer.{i}" for i in range(6)), "LayerNorm", "position", "token_type", "transform"}),
        ("rows first", 0.2, set()),
    ],
)
def test_what_learns(study, tiny_tokenizers, trained, progress, still):
    config = make_source("bert", tiny_tokenizers["wordpiece"]).config
    config.num_hidden_layers = 6
    model = AutoModelForMaskedLM.from_config(config)
    study["translations"].let_learn(model, trained, progress)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad is not any(part in name for part in still), name


def test_steps_of_pairs_lie_at_even_distances(study):
    translations = study["translations"].Translations
    some = translations([{"number": i} for i in range(6)], None, 0.5)
    assert [None if (pairs := some.of_step(step)) is None else pairs["number"] for step in range(12)] == [
        None, 0, None, 1, None, 2, None, 3, None, 4, None, 5,
    ]  # fmt: skip
    every = translations([{"number": i} for i in range(6)], None, 1.0)
    assert [every.of_step(step)["number"] for step in range(6)] == list(range(6))
    assert translations([], None, 0.0).of_step(3) is None


def test_norms_of_composed_rows_become_the_sources(study, folder, monkeypatch):
    run, found = study["run"], {}
    small = {"steps": 1, "vector_size": 6, "vocab_size": 300, "head_steps": 2, "source_steps": 2}
    monkeypatch.setattr(run, "QUICK_SETTINGS", {**run.QUICK_SETTINGS, **small})
    monkeypatch.setattr(run, "continue_pretraining", lambda model, *_, **__: found.update(model=model) or {"loss": {1: {"deu": 1.0}}})  # fmt: skip
    monkeypatch.setattr(run, "write_summary", lambda output: None)
    arguments = f"--bible {folder} --tatoeba {folder / 'tatoeba'} -o {folder / 'out'} --minilm {folder / 'minilm'}"
    names = "--quick --threads 1 --initializations offset0.4-c-norms-2e-4"
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments.split(), *names.split()])
    run.main()
    source = AutoModelForMaskedLM.from_pretrained(folder / "out" / "sources" / "minilm")
    wanted = source.get_input_embeddings().weight.norm(dim=1).mean()
    norms = found["model"].get_input_embeddings().weight.norm(dim=1)
    assert (norms - wanted).abs().lt(1e-5).sum() > 20


def test_every_initialization_is_a_method_of_the_package(study):
    known = methods()
    assert {chosen.method for chosen in study["initializations"].INITIALIZATIONS.values()} <= set(known)
    assert {"focus", "wechsel", "fvt"} <= {
        chosen.method for chosen in study["initializations"].INITIALIZATIONS.values()
    }


def test_steps_to_a_loss_are_interpolated(study):
    cell = {"loss": {0: {"deu": 10.0}, 10: {"deu": 8.0}, 20: {"deu": 7.0}}}
    steps_to = study["summary"].steps_to
    assert steps_to(cell, 8.0) == 10 and steps_to(cell, 7.5) == 15 and steps_to(cell, 11.0) == 0
    assert steps_to(cell, 6.9) == float("inf")


def test_energy_is_that_of_the_steps(study):
    pytest.importorskip("codecarbon", reason="needs codecarbon")
    meter = study["continued"].EnergyMeter()
    for _ in range(3):
        meter.go_on()
        sum(number * number for number in range(2_000_000))
        meter.pause()
    assert 0 < meter.stop() < 1


def test_energy_names_the_package_that_it_needs(study, folder, monkeypatch, capsys):
    monkeypatch.setattr(study["run"], "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["run.py", "-o", str(folder / "out"), "--energy"])
    with pytest.raises(SystemExit):
        study["run"].main()
    assert "pip install 'ofa-transformers[codecarbon]'" in capsys.readouterr().err


def test_bits_per_character_of_a_loss(study):
    cell = {"loss": {0: {"deu": 2.0, "rus": 1.0}}, "tokens_per_character": {"deu": 0.25, "rus": 0.5}}
    assert study["summary"].bits_of_loss(cell, 0) == pytest.approx(0.5 / 0.6931472)
    values = {"retrieval": {0: {"Bible": {"deu": [10, 20], "rus": [30, 40]}}}}
    retrieved = study["summary"].retrieved
    assert retrieved(values, "Bible", 0, 0) == 20 and retrieved(values, "Bible", 0, 1) == 30
    assert retrieved(values, "Bible", 0, 2) is None  # not measured
