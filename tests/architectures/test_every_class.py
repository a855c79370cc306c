"""Every registered class, one way each and in memory: what docs/architectures.md says of it holds."""

import pytest
import transformers
from architectures.examine import SPECIAL_IDS, examine_in_memory
from architectures.table import PAGE
from architectures.tiny import make_config, make_model, registered_classes


ROWS = {line.split("|")[1].strip(): line for line in PAGE.read_text(encoding="utf-8").splitlines() if "| " in line}
ABOUT_THIS_VERSION = f"Transformers {transformers.__version__} " in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("class_name", registered_classes())
def test_it_is_what_the_table_says(class_name):
    row = ROWS.get(class_name)
    if row is None:
        pytest.skip("not in the table, which is about another version of Transformers; make architectures renews it")
    if not ABOUT_THIS_VERSION:
        try:
            make_model(class_name, make_config(class_name, **SPECIAL_IDS, tie_word_embeddings=True))
        except Exception as error:
            pytest.skip(f"the stock class of Transformers {transformers.__version__} can't be made so: {error!r}")
    found = examine_in_memory(class_name)
    result = "not tried" if found.not_tried else "refused" if found.refused else "proven"
    assert row.startswith(f"| {class_name} | {result}")
    assert found.not_tried in row and found.refused in row
    assert result != "proven" or bool(found.pad_refused) == ("only where the pad token keeps its id" in row)
