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
"""Heads of stock masked language models, as the Ofa models have them. The file travels to the Hub as remote code."""

import torch
from torch import nn
from transformers.models.albert import modeling_albert
from transformers.models.bert import modeling_bert
from transformers.models.deberta_v2 import modeling_deberta_v2
from transformers.models.xlm_roberta import modeling_xlm_roberta


class _BiasOfProjection:
    """A head whose `bias` is that of its projection, rather than a second parameter tied to it.

    One parameter of two modules can't be sharded by FSDP2, and untied it is left without a gradient under DDP.
    """

    @property
    def bias(self) -> torch.Tensor:
        return self.decoder.bias


class _HeadOfTheTable(_BiasOfProjection, modeling_deberta_v2.DebertaV2LMPredictionHead):
    """The head of DeBERTa-v3, which multiplies with the table that it is handed; here that is its own projection."""

    def forward(self, hidden_states: torch.Tensor, word_embeddings: nn.Module) -> torch.Tensor:
        return self.decoder(self.LayerNorm(self.transform_act_fn(self.dense(hidden_states))))


# Stock heads with a bias beside their projection's -> the same with one.
HEADS_WITH_ONE_BIAS: dict[type[nn.Module], type[nn.Module]] = {
    head: type(f"Ofa{head.__name__}", (_BiasOfProjection, head), {"__doc__": f"[`{head.__name__}`] with one bias."})
    for head in (
        modeling_xlm_roberta.XLMRobertaLMHead,
        modeling_bert.BertLMPredictionHead,
        modeling_albert.AlbertMLMHead,
        modeling_deberta_v2.LegacyDebertaV2LMPredictionHead,
    )
} | {modeling_deberta_v2.DebertaV2LMPredictionHead: _HeadOfTheTable}
for _head in HEADS_WITH_ONE_BIAS.values():
    _head.__module__ = __name__
    globals()[_head.__name__] = _head

# The names of heads that have no projection in stock checkpoints, which hold their bias.
HEADS_OF_THE_TABLE = ("lm_predictions.lm_head",)
