"""One architecture of each kind whose files matter is what docs/architectures.md says of it, tied and untied, saved and
loaded; test_every_class.py has all of them in memory, `make architectures` tries all whole.
"""

import pytest
import transformers
from architectures.examine import examine
from architectures.tiny import NOT_TRIED, registered_classes
from conftest import REPOSITORY


PAGE = (REPOSITORY / "docs" / "architectures.md").read_text(encoding="utf-8")
# What each of them has that others haven't.
KINDS = {
    "AlbertForMaskedLM": "two biases of a head, tied only where its rows are",
    "BartForConditionalGeneration": "a bias beside the model's last layer",
    "BertForMaskedLM": "factorizes",
    "DebertaV2ForMaskedLM": "one of two heads",
    "EncoderDecoderModel": "two models with a vocabulary each",
    "Gemma3nForCausalLM": "embeddings of the layers",
    "LlamaForCausalLM": "factorizes, untied",
    "LongformerForMaskedLM": "modules that keep the pad id",
    "LukeForMaskedLM": "a second vocabulary",
    "MarianMTModel": "tables of encoder and decoder",
    "RemBertForMaskedLM": "output embeddings of another width",
    "T5GemmaForConditionalGeneration": "configurations of the parts",
}


@pytest.mark.parametrize("class_name", KINDS)
def test_a_class_of_each_kind(class_name):
    assert examine(class_name).row() in PAGE.splitlines()


def test_the_page_has_every_registered_class():
    if f"Transformers {transformers.__version__} " not in PAGE:
        pytest.skip(f"the page is about another version than {transformers.__version__}; make architectures renews it")
    listed = {line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")} - {"class", "---"}
    assert listed == set(registered_classes()) and listed >= set(NOT_TRIED)
