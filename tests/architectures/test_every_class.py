"""Every registered class, one way each and in memory: what docs/architectures.md says of it holds."""

import pytest
from architectures.examine import examine_in_memory
from architectures.table import PAGE
from architectures.tiny import registered_classes


ROWS = {line.split("|")[1].strip(): line for line in PAGE.read_text(encoding="utf-8").splitlines() if "| " in line}


@pytest.mark.parametrize("class_name", registered_classes())
def test_it_is_what_the_table_says(class_name):
    row = ROWS.get(class_name)
    if row is None:
        pytest.skip("not in the table, which is about another version of Transformers; make architectures renews it")
    found = examine_in_memory(class_name)
    result = "not tried" if found.not_tried else "refused" if found.refused else "proven"
    assert row.startswith(f"| {class_name} | {result}")
    assert found.not_tried in row and found.refused in row
    assert result != "proven" or bool(found.pad_refused) == ("only where the pad token keeps its id" in row)
