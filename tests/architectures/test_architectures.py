"""One architecture of each kind is what docs/architectures.md says of it; `make architectures` tries all."""

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
    "CpmAntForCausalLM": "rows beyond the vocabulary",
    "DebertaV2ForMaskedLM": "one of two heads",
    "DeepseekV4ForCausalLM": "experts by token",
    "EncoderDecoderModel": "two models with a vocabulary each",
    "EsmForMaskedLM": "a bias outside the projection",
    "Gemma3nForCausalLM": "embeddings of the layers",
    "IBertForMaskedLM": "an embedding of its own kind, with buffers",
    "LlamaForCausalLM": "factorizes, untied",
    "LongformerForMaskedLM": "modules that keep the pad id",
    "LukeForMaskedLM": "a second vocabulary",
    "M2M100ForConditionalGeneration": "positions computed from the pad id",
    "MPNetForMaskedLM": "the pad id in its code",
    "MarianMTModel": "tables of encoder and decoder",
    "MobileBertForMaskedLM": "a part of the output embeddings with tokens in columns",
    "ProphetNetForConditionalGeneration": "positions that count from the pad id, in a table of their own",
    "Qwen2ForCausalLM": "a tokenizer of its own kind",
    "RemBertForMaskedLM": "output embeddings of another width",
    "RobertaForMaskedLM": "positions that count from the pad id",
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
