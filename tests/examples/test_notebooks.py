"""The notebooks run from top to bottom, and are committed with the outputs of such a run."""

import json

import pytest
from conftest import REPOSITORY


NOTEBOOKS = sorted((REPOSITORY / "examples" / "notebooks").glob("*.ipynb"))


def code_cells(path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run_in_order(path, tmp_path, monkeypatch, capsys):
    # Plain Python runs the cells: a Jupyter kernel would bring forty packages and show nothing more.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(path), start=1):
        capsys.readouterr()
        exec(compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec"), names)
        printed = capsys.readouterr().out
        shown = "".join(line for output in cell["outputs"] for line in output.get("text", ()))
        # Numbers differ between machines, and with the versions of libraries; what prints doesn't.
        assert bool(printed) == bool(shown), f"code cell {number} prints {printed!r}, the notebook shows {shown!r}"
    assert set(names["after"]) == set(names["before"]) == set(names["text"].targets)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_as_run(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
