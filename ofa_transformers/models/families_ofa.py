# Copyright 2026 The ofa_transformers authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The table of the families of models that can be factorized: a new one is a row.

Configurations, classes, public names, Auto classes and the parametrised tests follow from it. The file travels to the Hub
as remote code, and imports nothing: the names are known before torch and Transformers are imported.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A row of the table: a stock family of models, as Transformers names it.

    Args:
        stock: what the names of its classes begin with.
        module: its folder in `transformers.models`.
        heads: what the names of its classes end with; the first is the base model.
        config: what the name of its configuration ends with.
        prefix: what our names begin with, in place of `stock`, after "Ofa".
        aliases: families with the same modules under the same names, as `stock` -> model type.
        own_size: whether its configuration has an `embedding_size` of its own, the width of its table. Ours is then
            `num_primitive`.
    """

    stock: str
    module: str
    heads: tuple[str, ...]
    config: str = "Config"
    prefix: str | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    own_size: bool = False

    def name(self, ending: str) -> str:
        """Our name of a class, from the ending of the stock name."""
        return f"Ofa{self.stock if self.prefix is None else self.prefix}{ending}"

    @property
    def names(self) -> tuple[str, ...]:
        """Our names of the configuration and of all classes."""
        return tuple(map(self.name, (self.config, *self.heads)))


_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification")
_TASKS = (*_CLASSIFIERS, "ForQuestionAnswering")
_ENCODER = ("Model", "ForMaskedLM", *_TASKS, "ForMultipleChoice")
_DECODER = ("Model", "ForCausalLM", *_TASKS)
_T5 = ("Model", "ForConditionalGeneration", *_TASKS, "EncoderModel")

FAMILIES: tuple[Family, ...] = (
    Family("XLMRoberta", "xlm_roberta", (*_ENCODER, "ForCausalLM"), prefix="", aliases=(("Roberta", "roberta"),)),
    Family("Bert", "bert", (*_ENCODER, "LMHeadModel", "ForPreTraining", "ForNextSentencePrediction")),
    Family("ModernBert", "modernbert", _ENCODER),
    Family("DistilBert", "distilbert", _ENCODER),
    Family("DebertaV2", "deberta_v2", _ENCODER, own_size=True),
    Family("EuroBert", "eurobert", ("Model", "ForMaskedLM", *_CLASSIFIERS)),
    Family("Electra", "electra", (*_ENCODER, "ForCausalLM", "ForPreTraining"), own_size=True),
    Family("Albert", "albert", (*_ENCODER, "ForPreTraining"), own_size=True),
    Family("GPT2", "gpt2", ("Model", "LMHeadModel", *_TASKS)),
    Family("Llama", "llama", _DECODER),
    Family("Mistral", "mistral", _DECODER),
    Family("Qwen2", "qwen2", _DECODER),
    Family("Qwen3", "qwen3", _DECODER),
    Family("Gemma2", "gemma2", ("Model", "ForCausalLM", *_CLASSIFIERS)),
    Family("Gemma3", "gemma3", ("TextModel", "ForCausalLM", "TextForSequenceClassification"), config="TextConfig"),
    Family("Phi3", "phi3", ("Model", "ForCausalLM", *_CLASSIFIERS)),
    Family("Olmo2", "olmo2", ("Model", "ForCausalLM", "ForSequenceClassification")),
    Family("SmolLM3", "smollm3", _DECODER),
    Family("Granite", "granite", ("Model", "ForCausalLM")),
    Family("T5", "t5", _T5),
    Family("MT5", "mt5", _T5),
    Family("UMT5", "umt5", _T5),
    Family(
        "MBart", "mbart", ("Model", "ForConditionalGeneration", "ForSequenceClassification", "ForQuestionAnswering")
    ),
    Family("M2M100", "m2m_100", ("Model", "ForConditionalGeneration")),
)
