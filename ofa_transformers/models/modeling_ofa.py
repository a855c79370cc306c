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
"""Models whose token embeddings are factorized, E ≈ F P (OFA, Liu et al., 2024, section 3.1).

Each Ofa class is a stock Transformers class with its input embeddings, and its output projection where it has one,
replaced by `FactorizedEmbedding` and `FactorizedLinear` before the weights are initialised or loaded. Nothing of the
stock forward passes is copied. The file travels to the Hub as remote code, and imports only torch, transformers and the
other `*_ofa.py` files.
"""

import functools
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.models.auto import modeling_auto
from transformers.models.bert import modeling_bert
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral
from transformers.models.modernbert import modeling_modernbert
from transformers.models.qwen3 import modeling_qwen3
from transformers.models.xlm_roberta import modeling_xlm_roberta

from .configuration_ofa import (
    OFA_FIELDS,
    OfaBertConfig,
    OfaConfig,
    OfaGPT2Config,
    OfaLlamaConfig,
    OfaMistralConfig,
    OfaModernBertConfig,
    OfaQwen3Config,
)
from .loss_ofa import OutputProjection, blocked_cross_entropy, with_language_modelling_loss
from .modules_ofa import Factorized, FactorizedEmbedding, FactorizedLinear, TablesOnMeta, materialize, settle


# Names in the checkpoints that the authors published -> ours; see `OfaPreTrainedMixin.from_pretrained`.
AUTHORS_KEY_MAPPING = {
    r"embeddings\.target_coordinates\.weight$": "embeddings.word_embeddings.weight",
    r"embeddings\.primitive_embeddings\.weight$": "embeddings.word_embeddings.primitives.weight",
    r"lm_head\.vocab_project\.weight$": "lm_head.decoder.weight",
    r"lm_head\.vocab_project\.bias$": "lm_head.decoder.bias",
    r"lm_head\.down_project\.weight$": "lm_head.decoder.primitives.weight",
}


class _BiasOfProjection:
    """A head whose `bias` is that of its projection, rather than a second parameter tied to it.

    One parameter of two modules can't be sharded by FSDP2, and untied it is left without a gradient under DDP.
    """

    @property
    def bias(self) -> torch.Tensor:
        return self.decoder.bias


class OfaLMHead(_BiasOfProjection, modeling_xlm_roberta.XLMRobertaLMHead):
    """[`XLMRobertaLMHead`] with one bias."""


class OfaBertLMPredictionHead(_BiasOfProjection, modeling_bert.BertLMPredictionHead):
    """[`BertLMPredictionHead`] with one bias."""


_HEADS_WITH_TWO_BIASES = {
    modeling_xlm_roberta.XLMRobertaLMHead: OfaLMHead,
    modeling_bert.BertLMPredictionHead: OfaBertLMPredictionHead,
}
# The name of the second bias in stock checkpoints -> the one that we keep.
_BIAS_KEY_MAPPING = {
    r"lm_head\.bias$": "lm_head.decoder.bias",
    r"predictions\.bias$": "predictions.decoder.bias",
}


def _place_of(module: nn.Module) -> dict[str, Any]:
    """Device and dtype for what takes a module's place, whose weight `TablesOnMeta` may have made."""
    weight = module.weight
    return {"device": torch.empty(0).device if weight.is_meta else weight.device, "dtype": weight.dtype}


def swap_prefix(state_dict: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    """The same weights, with the base model's under another name."""
    if old == new:
        return state_dict
    return {
        f"{new}.{key.removeprefix(f'{old}.')}" if key.startswith(f"{old}.") else key: value
        for key, value in state_dict.items()
    }


class OfaPreTrainedMixin:
    """Factorizes the embeddings of the stock class that it is mixed into; the whole behaviour of the Ofa models."""

    _tied_weights_keys: dict[str, str] | None
    # Set for every class of the table below.
    family: "Family"
    dense_class: type[PreTrainedModel]
    base_class: type[PreTrainedModel]

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        # Stock heads of decoders construct their base model through AutoModel. In remote code the configuration's class
        # may be a second copy of the one imported above, hence its own registration.
        AutoModel.register(type(config), self.base_class, exist_ok=True)
        factorized = config.embedding_size is not None and not is_deepspeed_zero3_enabled()
        with TablesOnMeta(config.vocab_size, config.hidden_size) if factorized else nullcontext():
            super().__init__(config, *args, **kwargs)

    def post_init(self) -> None:
        # The stock constructor calls this last: all modules exist, none is loaded or tied yet.
        self._factorize_modules()
        if hasattr(self, "sparse_prediction"):
            self.sparse_prediction = False  # stock ModernBERT's own, from the field that has another meaning here
        super().post_init()

    def _factorize_modules(self) -> None:
        base_model = getattr(self, self.base_model_prefix, None)
        if base_model is not None and not isinstance(base_model, OfaPreTrainedMixin):
            # Stock heads construct the stock base model by name; ours is the same but for what follows.
            base_model.__class__ = self.base_class
            # Transformers notes by class, where it constructs one, which outputs can be recorded.
            PreTrainedModel.__init__(self.base_class.__new__(self.base_class), self.config)
        size = self.config.embedding_size
        embeddings = self.get_input_embeddings()
        if size is not None and not isinstance(embeddings, FactorizedEmbedding):
            self._replace(
                embeddings,
                # Sizes from the modules: ZeRO-3 has already scattered their weights.
                FactorizedEmbedding(
                    embeddings.num_embeddings,
                    embeddings.embedding_dim,
                    embedding_size=size,
                    padding_idx=embeddings.padding_idx,
                    **_place_of(embeddings),
                ),
            )
        projection = self.get_output_embeddings()
        if projection is not None:
            self._factorize_head(projection)
        if size is not None:
            materialize(self, (self.config.vocab_size, self.config.hidden_size))

    def _factorize_head(self, projection: nn.Module) -> None:
        size = self.config.embedding_size
        if not isinstance(projection, OutputProjection):
            kind = OutputProjection if size is None else functools.partial(FactorizedLinear, embedding_size=size)
            has_bias = projection.bias is not None
            sizes = (projection.in_features, projection.out_features)
            self._replace(projection, kind(*sizes, bias=has_bias, **_place_of(projection)))
        projection_name = next(n for n, module in self.named_modules() if isinstance(module, OutputProjection))
        parts = projection_name.split(".")
        self._head_names = tuple(".".join(parts[: i + 1]) for i in range(len(parts) - 1))
        ties = {k: v for k, v in self._tied_weights_keys.items() if not k.endswith(".bias")}
        for head in self.modules():
            if type(head) in _HEADS_WITH_TWO_BIASES:
                del head._parameters["bias"]
                # Untied, stock checkpoints hold it as well, without a use.
                self._keys_to_ignore_on_load_unexpected = [r"(lm_head|predictions)\.bias$"]
                head.__class__ = _HEADS_WITH_TWO_BIASES[type(head)]
        if size is not None:
            # The coordinates are tied by the stock keys, under the stock names; the primitives come with them. Their
            # names are patterns, which Transformers expands: PEFT would take plain ones for further heads to adapt.
            ties |= {
                re.escape(output_key.replace(".weight", ".primitives.weight")): re.escape(
                    input_key.replace(".weight", ".primitives.weight")
                )
                for output_key, input_key in ties.items()
            }
        self._tied_weights_keys = ties

    def head_modules(self) -> list[nn.Module]:
        """The modules between the model and its output projection, which lies in them."""
        return [self.get_submodule(name) for name in self._head_names]

    def settle_embeddings(self) -> None:
        """Makes PEFT's adapters of the embeddings work with factors; done before each forward pass and saving.

        Raises:
            ValueError: what stands in place of the embeddings, or of the output projection, can't work with factors.
        """
        if self.config.embedding_size is None:
            return
        table = self.get_input_embeddings()
        self._replace(table, settle(table, table))
        projection = self.get_output_embeddings()
        if projection is not None:
            self._replace(projection, settle(projection, table))

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        # Stock code may hand a bias on to the head, which has none of its own.
        self._replace(self.get_output_embeddings(), new_embeddings)

    def _replace(self, old: nn.Module, new: nn.Module) -> None:
        if old is new:
            return
        parent, name = next((m, n) for m in self.modules() for n, child in m.named_children() if child is old)
        setattr(parent, name, new)
        parent._is_hf_initialized = False  # stock code may initialise a child from its parent (ModernBERT does)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        # From its parent, too, see `_replace`.
        for child in (module, *module.children()):
            if not isinstance(child, Factorized):
                continue
            # F P then has the standard deviation that the stock class gives to E: D' products of two factors whose
            # standard deviations multiply to it, and the scale in P, as after an SVD.
            init.normal_(child.weight, mean=0.0, std=child.embedding_size**-0.5)
            init.normal_(child.primitives.weight, mean=0.0, std=self.config.initializer_range)
            padding_idx = getattr(child, "padding_idx", None)
            if padding_idx is not None and not getattr(child.weight, "_is_hf_initialized", False):
                init.zeros_(child.weight[padding_idx])

    def _resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        self.settle_embeddings()
        return super()._resize_token_embeddings(*args, **kwargs)

    def _get_resized_embeddings(
        self,
        old_embeddings: nn.Embedding,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Embedding:
        old_num_tokens = old_embeddings.weight.shape[0]
        embeddings = super()._get_resized_embeddings(old_embeddings, new_num_tokens, pad_to_multiple_of, mean_resizing)
        if not mean_resizing:
            self._reinit_added_rows(embeddings, old_num_tokens)
        return embeddings

    def _get_resized_lm_head(
        self,
        old_lm_head: nn.Linear,
        new_num_tokens: int | None = None,
        transposed: bool = False,
        mean_resizing: bool = True,
    ) -> nn.Linear:
        old_num_tokens = old_lm_head.weight.shape[0]
        resized = super()._get_resized_lm_head(old_lm_head, new_num_tokens, transposed, mean_resizing)
        if resized is old_lm_head or not isinstance(old_lm_head, OutputProjection):
            return resized
        # Stock code builds a plain nn.Linear; keep our module, with its primitives, and take over the new rows.
        old_lm_head.weight = resized.weight
        old_lm_head.bias = resized.bias
        old_lm_head.out_features = resized.out_features
        old_lm_head._is_hf_initialized = True
        if not mean_resizing:
            self._reinit_added_rows(old_lm_head, old_num_tokens)
        return old_lm_head

    @torch.no_grad()
    def _reinit_added_rows(self, module: nn.Module, old_num_tokens: int) -> None:
        """Scale the rows that stock code drew for a dense matrix so that their products with P have its deviation."""
        if isinstance(module, Factorized) and module.weight.shape[0] > old_num_tokens:
            scale = module.primitives.weight.float().square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
            module.weight.data[old_num_tokens:] /= scale.to(module.weight.dtype)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`; also reads the checkpoints that the authors of OFA published.

        Those carry `num_primitive` in their configuration, and the factors under names of their own. They are renamed
        at load, and saving writes our layout. Stock checkpoints of the same family load unfactorized, and of a head's
        two tied biases the projection's is kept.
        """
        own_mapping = dict(AUTHORS_KEY_MAPPING)
        if cls._is_tied(pretrained_model_name_or_path, kwargs):
            own_mapping |= _BIAS_KEY_MAPPING
        key_mapping = {**own_mapping, **(kwargs.pop("key_mapping", None) or {})}
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs, key_mapping=key_mapping)
        # `save_pretrained` would undo the renamings, and a resumed run then miss its embeddings.
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        others = [c for c in model._weight_conversions or () if c.source_patterns[0] not in own_mapping]
        model._weight_conversions = others or None
        return loaded

    @classmethod
    def _is_tied(cls, pretrained_model_name_or_path: Any, kwargs: dict[str, Any]) -> bool:
        """Whether a checkpoint says that its embeddings, and with them the biases of a stock head, are tied."""
        config = kwargs.get("config")
        if isinstance(config, PreTrainedConfig):
            return config.tie_word_embeddings
        if pretrained_model_name_or_path is None:
            return True
        names = ("revision", "token", "cache_dir", "subfolder", "local_files_only", "force_download", "proxies")
        access = {name: kwargs[name] for name in names if name in kwargs}
        config_dict, _ = cls.config_class.get_config_dict(config or pretrained_model_name_or_path, **access)
        return config_dict.get("tie_word_embeddings", cls.config_class().tie_word_embeddings)

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, **kwargs: Any) -> None:
        """As `PreTrainedModel.save_pretrained`; the code goes along, with an `auto_map` of all heads of the family.

        `AutoModelFor*.from_pretrained(save_directory, trust_remote_code=True)` then works where this package is not
        installed. Stock code does this through `_auto_class`, for one head, and copies the wrong file under FSDP2.
        """
        self.settle_embeddings()
        names = (
            "repo_id",
            "commit_message",
            "commit_description",
            "private",
            "token",
            "revision",
            "create_pr",
            "tags",
        )
        upload = (
            {name: kwargs.pop(name) for name in names if name in kwargs} if kwargs.pop("push_to_hub", False) else None
        )
        adapters_only = getattr(self, "_hf_peft_config_loaded", False)
        if not adapters_only:
            self.config.auto_map = self.family.auto_map()
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process and not adapters_only:
            code = sys.modules[OfaPreTrainedMixin.__module__].__file__
            for file in (code, *get_relative_import_files(code)):
                shutil.copy(file, save_directory)
        if is_main_process and upload is not None:
            # Stock code would upload before the code is there.
            self.push_to_hub(upload.pop("repo_id", Path(save_directory).name), **upload)

    def push_to_hub(self, repo_id: str, *, tags: list[str] | None = None, **kwargs: Any) -> str:
        """As `PreTrainedModel.push_to_hub`; the card that the repository has is kept, and gets the tag `ofa`."""
        return super().push_to_hub(repo_id, tags=list(dict.fromkeys([*(tags or ()), "ofa"])), **kwargs)

    @torch.no_grad()
    def to_dense(self) -> PreTrainedModel:
        """The plain Transformers model with E = F P multiplied out: the same outputs, loadable without this package.

        Returns:
            [`~transformers.PreTrainedModel`]: a new model of the stock class, on this model's device and in its dtype,
            sharing no memory with it.

        Raises:
            ValueError: adapters or dense modules stand in place of the embeddings.
        """
        self.settle_embeddings()
        tables = [self.get_input_embeddings(), self.get_output_embeddings()]
        if self.config.embedding_size is not None and not all(m is None or isinstance(m, Factorized) for m in tables):
            raise ValueError("to_dense: adapters stand in place of the embeddings; merge or unload them first.")
        own_fields = {"model_type", "auto_map", "architectures", "transformers_version", *OFA_FIELDS}
        config = self.dense_class.config_class(
            **{k: v for k, v in self.config.to_dict().items() if k not in own_fields}
        )

        state_dict = {}
        for name, module in self.named_modules(remove_duplicate=False):
            if isinstance(module, Factorized):
                state_dict[f"{name}.weight"] = module.to_dense()
        for name, tensor in self.state_dict().items():
            if name not in state_dict and ".primitives." not in name:
                state_dict[name] = tensor.clone()
        for target, bias in (self.dense_class._tied_weights_keys or {}).items():
            if target.endswith(".bias"):
                state_dict[bias] = state_dict[target].clone()
        state_dict = swap_prefix(state_dict, self.base_model_prefix, self.dense_class.base_model_prefix)
        dense = self.dense_class.from_pretrained(
            None,
            config=config,
            state_dict=state_dict,
            dtype=self.dtype,
            attn_implementation=self.config._attn_implementation,
        )
        if self.can_generate():
            dense.generation_config = type(self.generation_config).from_dict(self.generation_config.to_dict())
        return dense.to(self.device).train(self.training)


@dataclass(frozen=True)
class Family:
    """A row of the table: a stock family of models that can be factorized."""

    prefix: str  # of the Ofa class names: Ofa<prefix><head>
    stock_prefix: str  # of the stock class names: <stock prefix><head>
    config_class: type
    module: ModuleType
    heads: tuple[str, ...]  # the first is the base model
    aliases: tuple[str, ...] = ()  # stock prefixes of families with the same modules under the same names

    @property
    def classes(self) -> dict[str, type[PreTrainedModel]]:
        """Stock class name -> Ofa class, for all stock names that lead to this family."""
        return {
            stock_prefix + head: globals()[f"Ofa{self.prefix}{head}"]
            for stock_prefix in (self.stock_prefix, *self.aliases)
            for head in self.heads
        }

    @property
    def auto_classes(self) -> dict[str, type[PreTrainedModel]]:
        """Name of an Auto class -> the Ofa class that it gives, as the stock family is mapped."""
        stock_config_class = self.config_class.__mro__[2]
        pairs = {}
        for name in modeling_auto.__all__:
            mapping = getattr(getattr(modeling_auto, name), "_model_mapping", None)
            stock_class = mapping.get(stock_config_class, None) if mapping is not None else None
            if (stock_class := getattr(stock_class, "__name__", None)) in self.classes:
                pairs[name] = self.classes[stock_class]
        return pairs

    def auto_map(self) -> dict[str, str]:
        """The `auto_map` of a configuration whose code lies beside it: Auto class -> file and class."""
        named = {"AutoConfig": self.config_class, **self.auto_classes}
        return {name: f"{cls.__module__.rsplit('.', 1)[-1]}.{cls.__name__}" for name, cls in named.items()}


_ENCODER_HEADS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)
_DECODER_HEADS = (
    "Model",
    "ForCausalLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)

FAMILIES: tuple[Family, ...] = (
    Family("", "XLMRoberta", OfaConfig, modeling_xlm_roberta, (*_ENCODER_HEADS, "ForCausalLM"), aliases=("Roberta",)),
    Family(
        "Bert",
        "Bert",
        OfaBertConfig,
        modeling_bert,
        (*_ENCODER_HEADS, "LMHeadModel", "ForPreTraining", "ForNextSentencePrediction"),
    ),
    Family("ModernBert", "ModernBert", OfaModernBertConfig, modeling_modernbert, _ENCODER_HEADS),
    Family(
        "GPT2",
        "GPT2",
        OfaGPT2Config,
        modeling_gpt2,
        ("Model", "LMHeadModel", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"),
    ),
    Family("Llama", "Llama", OfaLlamaConfig, modeling_llama, _DECODER_HEADS),
    Family("Mistral", "Mistral", OfaMistralConfig, modeling_mistral, _DECODER_HEADS),
    Family("Qwen3", "Qwen3", OfaQwen3Config, modeling_qwen3, _DECODER_HEADS),
)


# Heads with a language-modelling loss -> whether a position predicts the next token.
_LANGUAGE_MODELLING_HEADS = {"ForMaskedLM": False, "ForPreTraining": False, "ForCausalLM": True, "LMHeadModel": True}


def _on_settled_embeddings(forward: Callable) -> Callable:
    @functools.wraps(forward)
    def settled_forward(self: OfaPreTrainedMixin, *args: Any, **kwargs: Any) -> Any:
        self.settle_embeddings()
        return forward(self, *args, **kwargs)

    return settled_forward


def _make_class(family: Family, head: str) -> type[PreTrainedModel]:
    stock_class = getattr(family.module, family.stock_prefix + head)
    name = f"Ofa{family.prefix}{head}"
    namespace = {
        "__module__": __name__,
        "__qualname__": name,
        "__doc__": f"[`{stock_class.__name__}`] with factorized token embeddings; see [`{family.config_class.__name__}`].",
        "config_class": family.config_class,
        # Some stock heads have a prefix of their own, and then lose the body of a language model when they load it.
        "base_model_prefix": getattr(family.module, f"{family.stock_prefix}PreTrainedModel").base_model_prefix,
        "family": family,
        "dense_class": stock_class,
    }
    forward = stock_class.forward
    if head in _LANGUAGE_MODELLING_HEADS:
        forward = with_language_modelling_loss(forward, shifted=_LANGUAGE_MODELLING_HEADS[head])
    namespace["forward"] = _on_settled_embeddings(forward)
    if head not in _LANGUAGE_MODELLING_HEADS or head == "ForPreTraining":
        # Stock losses of these heads ignore `num_items_in_batch`; Trainer then divides by the accumulation steps itself.
        namespace["accepts_loss_kwargs"] = False
    return type(name, (OfaPreTrainedMixin, stock_class), namespace)


__all__ = ["FAMILIES", "FactorizedEmbedding", "FactorizedLinear", "blocked_cross_entropy"]

for _family in FAMILIES:
    for _head in _family.heads:
        _class = _make_class(_family, _head)
        _class.base_class = globals()[f"Ofa{_family.prefix}Model"] if _head != "Model" else _class
        globals()[_class.__name__] = _class
        __all__.append(_class.__name__)
