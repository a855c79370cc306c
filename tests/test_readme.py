"""The README's code runs as it stands."""

import re
from pathlib import Path

from transformers import RobertaForMaskedLM, XLMRobertaForMaskedLM

import ofa_transformers as ofa


README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert type(names["model"]) is ofa.OfaForMaskedLM and names["model"].config.embedding_size == 64
    assert type(names["dense"]) in (XLMRobertaForMaskedLM, RobertaForMaskedLM)
    assert "composed" in capsys.readouterr().out
    assert names["adapted"].report.explain("▁mtu").id == names["tokenizer"].convert_tokens_to_ids("▁mtu")
