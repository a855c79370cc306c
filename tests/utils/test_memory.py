"""Memory that is free within the limits of a container."""

import psutil
import pytest

from ofa_transformers.utils import memory


V2 = ("0::/pod/app", "", {"memory.max": "3000", "memory.current": "1000", "memory.stat": "inactive_file 200\nanon 5"})
V1 = (
    "4:memory:/app",
    "memory",
    {"memory.limit_in_bytes": "3000", "memory.usage_in_bytes": "1000", "memory.stat": "total_inactive_file 200"},
)


@pytest.mark.parametrize("line, controller, files", [V2, V1])
@pytest.mark.parametrize("group", ["own", "parent"])
def test_limits_of_control_groups(line, controller, files, group, tmp_path):
    own = tmp_path / "own"
    own.write_text(f"9:cpu:/elsewhere\n{line}\n")
    folder = tmp_path / "mounted" / controller / line.rsplit(":", 1)[1].strip("/")
    folder.mkdir(parents=True)
    folder = folder if group == "own" else folder.parent
    for name, text in files.items():
        (folder / name).write_text(text)
    assert list(memory._room_in_groups(tmp_path / "mounted", own)) == [2200]


def test_no_limit(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/\n")
    for name, text in {**V2[2], "memory.max": "max"}.items():
        (tmp_path / name).write_text(text)
    assert list(memory._room_in_groups(tmp_path, own)) == []
    assert list(memory._room_in_groups(tmp_path, tmp_path / "nowhere")) == []
    assert 0 < memory.available_memory() <= psutil.virtual_memory().total
