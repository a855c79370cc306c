"""A few rows of the table of tokenizer classes; `make tokenizer-classes` makes all of them."""

import random

import pytest
import transformers
from tokenization import class_table
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES


# Where the class that a type maps to would make another tokenizer, where spaces were lost, and others by chance.
TYPES = ["qwen2", "code_llama", "nllb", "bert", "gemma"]
TYPES += random.Random(0).sample(sorted(set(TOKENIZER_MAPPING_NAMES) - set(TYPES)), 5)


def test_the_page_is_of_this_release_and_has_every_type():
    text = class_table.PAGE.read_text(encoding="utf-8")
    listed = {name for line in text.splitlines() if line.startswith("| ") for name in line.split(" | ")[1].split(", ")}
    if f"Transformers {transformers.__version__} " not in text:
        pytest.skip(f"the page is of another release than {transformers.__version__}: make tokenizer-classes")
    assert not set(TOKENIZER_MAPPING_NAMES) - listed


@pytest.mark.parametrize("model_type", TYPES)
def test_what_is_saved_is_what_was_passed(model_type):
    columns = class_table.examine(model_type)  # raises where AutoTokenizer reads another tokenizer
    rows = class_table.rows({model_type: columns})
    assert set(columns) == {"own", *class_table.KINDS} and len(rows) == 1
    assert class_table.RIGHT in rows[0] or class_table.GENERIC in rows[0]
    page = class_table.PAGE.read_text(encoding="utf-8")
    name, _, *cells = map(str.strip, rows[0].strip("| ").split(" | "))
    same = [line for line in page.splitlines() if line.startswith(f"| {name} ") and model_type in line]
    assert any(line.rstrip("| ").endswith(" | ".join(cells)) for line in same), rows
