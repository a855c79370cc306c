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
"""What all Ofa models share: a stock class of Transformers with its embeddings factorized (OFA, section 3.1).

The embeddings, and the output projection where there is one, are replaced by `FactorizedEmbedding` and `FactorizedLinear`
before the weights are initialised or loaded. Nothing of the stock forward passes is copied. The file travels to the Hub
as remote code, and imports only torch, transformers and the other `*_ofa.py` files.
"""

import re
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from .heads_ofa import HEADS_OF_THE_TABLE, HEADS_WITH_ONE_BIAS
from .loss_ofa import OutputProjection
from .modules_ofa import (
    Factorized,
    FactorizedEmbedding,
    FactorizedLinear,
    Primitives,
    TablesOnMeta,
    factorized_like,
    materialize,
    settle,
)


# Names in the checkpoints that the authors published -> ours; see `OfaPreTrainedMixin.from_pretrained`.
AUTHORS_KEY_MAPPING = {
    r"embeddings\.target_coordinates\.weight$": "embeddings.word_embeddings.weight",
    r"embeddings\.primitive_embeddings\.weight$": "embeddings.word_embeddings.primitives.weight",
    r"lm_head\.vocab_project\.weight$": "lm_head.decoder.weight",
    r"lm_head\.vocab_project\.bias$": "lm_head.decoder.bias",
    r"lm_head\.down_project\.weight$": "lm_head.decoder.primitives.weight",
}


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    return next(name for name, module in model.named_modules(remove_duplicate=False) if module is wanted)


def _primitives_of(weight: str) -> str:
    """The name of a table's weight as a pattern for that of its primitives."""
    return re.escape(f"{weight.removesuffix('.weight')}.primitives.weight")


def swap_prefix(state_dict: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    """The same weights, with the base model's under another name."""
    if old == new:
        return state_dict
    return {
        f"{new}.{key.removeprefix(f'{old}.')}" if key.startswith(f"{old}.") else key: value
        for key, value in state_dict.items()
    }


class FactorizedResizing:
    """Stock models with factorized modules, however these came there: a resized head keeps its module, and new rows the
    deviation of the product."""

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


class OfaPreTrainedMixin(FactorizedResizing):
    """Factorizes the embeddings of the stock class that it is mixed into; the whole behaviour of the Ofa models."""

    _tied_weights_keys: dict[str, str] | None
    # Set for every class that is made from the table of families.
    family: Any
    dense_class: type[PreTrainedModel]
    base_class: type[PreTrainedModel]

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        # Stock heads of decoders construct their base model through AutoModel. In remote code the configuration's class
        # may be a second copy of the one that ours import, hence its own registration.
        AutoModel.register(type(config), self.base_class, exist_ok=True)
        factorized = config.num_primitive is not None and not is_deepspeed_zero3_enabled()
        with TablesOnMeta(config.vocab_size, config.table_width) if factorized else nullcontext():
            super().__init__(config, *args, **kwargs)

    def post_init(self) -> None:
        # The stock constructor calls this last: all modules exist, none is loaded or tied yet.
        self._factorize_modules()
        if hasattr(self, "sparse_prediction"):
            self.sparse_prediction = False  # stock ModernBERT's own, from the field that has another meaning here
        super().post_init()

    def _factorize_modules(self) -> None:
        if hasattr(self, "_table_names"):
            return  # called once more by somebody
        self._adopt_base_models()
        self._unite_biases()
        ties = {k: v for k, v in (self._tied_weights_keys or {}).items() if not k.endswith(".bias")}
        size = self.config.num_primitive
        # The table and those that are tied to it: an encoder and a decoder may have one each.
        names = [_name_of(self, self.get_input_embeddings())]
        names += [key.rpartition(".")[0] for pair in ties.items() for key in pair]
        self._table_names = tuple(n for n in dict.fromkeys(names) if isinstance(self.get_submodule(n), nn.Embedding))
        self._projection_name = None
        if (projection := self.get_output_embeddings()) is not None:
            self._projection_name = _name_of(self, projection)
            if not isinstance(projection, OutputProjection):
                self._replace(projection, factorized_like(projection, size))
        if size is not None:
            for name in self._table_names:
                table = self.get_submodule(name)
                if not isinstance(table, FactorizedEmbedding):
                    self._replace(table, factorized_like(table, size))
            materialize(self, (self.config.vocab_size, self.config.table_width))
            # The coordinates are tied by the stock keys, under the stock names; the primitives come with them. Their
            # names are patterns, which Transformers expands: PEFT would take plain ones for further modules to adapt.
            ties |= {_primitives_of(target): _primitives_of(source) for target, source in ties.items()}
        if self._tied_weights_keys is not None:
            self._tied_weights_keys = ties

    def _adopt_base_models(self) -> None:
        """Stock heads construct the stock base model by name; ours is the same but for its embeddings."""
        for child in self.children():
            own = self.family.classes.get(type(child).__name__)
            if own is None or not isinstance(child, PreTrainedModel):
                continue
            child.__class__ = own
            # Transformers notes by class, where it constructs one, which outputs can be recorded.
            PreTrainedModel.__init__(own.__new__(own), child.config)
            child._factorize_modules()
            child.all_tied_weights_keys = child.get_expanded_tied_weights_keys(all_submodels=False)

    def _unite_biases(self) -> None:
        for head in self.modules():
            if (own := HEADS_WITH_ONE_BIAS.get(type(head))) is None:
                continue
            head.__class__ = own
            del head._parameters["bias"]
            if not hasattr(head, "decoder"):
                # The stock head multiplies with the table that it is handed, whatever the configuration says of ties.
                head.decoder = nn.Linear(head.dense.out_features, self.config.vocab_size, device="meta")
                self.config.tie_word_embeddings = True
                table, decoder = _name_of(self, self.get_input_embeddings()), _name_of(self, head.decoder)
                self._tied_weights_keys = {f"{decoder}.weight": f"{table}.weight"}
            # Untied, stock checkpoints hold it as well, without a use.
            ignored = [*(self._keys_to_ignore_on_load_unexpected or ()), rf"{re.escape(_name_of(self, head))}\.bias$"]
            self._keys_to_ignore_on_load_unexpected = ignored

    def head_modules(self) -> list[nn.Module]:
        """The modules between the model and its output projection, which lies in them."""
        parts = self._projection_name.split(".")[:-1]
        return [self.get_submodule(".".join(parts[: i + 1])) for i in range(len(parts))]

    def settle_embeddings(self) -> None:
        """Makes PEFT's adapters of the embeddings work with factors; done before each forward pass and saving.

        Raises:
            ValueError: what stands in place of the embeddings, or of the output projection, can't work with factors.
        """
        if self.config.num_primitive is None:
            return
        for child in self.children():
            if isinstance(child, OfaPreTrainedMixin):
                child.settle_embeddings()
        for module, kind in self._embedding_modules():
            self._replace(module, settle(module, self.get_input_embeddings(), kind))

    def _embedding_modules(self) -> list[tuple[nn.Module, type[Factorized]]]:
        """What stands in the places of the tables and of the projection, and what is to stand there."""
        modules = [(self.get_submodule(name), FactorizedEmbedding) for name in self._table_names]
        return (
            modules if self._projection_name is None else [*modules, (self.get_output_embeddings(), FactorizedLinear)]
        )

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        # Stock code may hand a bias on to the head, which has none of its own.
        self._replace(self.get_output_embeddings(), new_embeddings)

    def _replace(self, old: nn.Module, new: nn.Module) -> None:
        if old is new:
            return
        for parent in list(self.modules()):
            for name, child in list(parent.named_children()):
                if child is old:
                    setattr(parent, name, new)
                    # Stock code may initialise a child from its parent (ModernBERT and T5 do).
                    parent._is_hf_initialized = False

    @classmethod
    def is_custom_code(cls) -> bool:
        """Always False: weights are drawn by stock code, or through `transformers.initialization` as there.

        Of custom code Transformers fears that it draws loaded weights anew, and so leaves out modules without weights of
        their own. T5 and others initialise those of their parts.
        """
        return False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Primitives):
            init.normal_(module.weight, std=module.hidden_size**-0.5)
        factorized = [child for child in (module, *module.children()) if isinstance(child, Factorized)]
        versions = [child.weight._version for child in factorized]
        super()._init_weights(module)
        for child, version in zip(factorized, versions):
            if child.weight._version == version or child.weight.is_meta:
                continue  # loaded, not of this module's concern, or elsewhere
            # F P then has the standard deviation that the stock class has just given to F: D' products of two factors
            # whose standard deviations multiply to it, and the scale in P, as after an SVD.
            std = child.weight.float().std().item()
            init.normal_(child.weight, mean=0.0, std=child.embedding_size**-0.5)
            init.normal_(child.primitives.weight, mean=0.0, std=std)
            if getattr(child, "padding_idx", None) is not None:
                init.zeros_(child.weight[child.padding_idx])

    def _resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        self.settle_embeddings()
        return super()._resize_token_embeddings(*args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`; also reads the checkpoints that the authors of OFA published.

        Those carry `num_primitive` in their configuration, and the factors under names of their own. They are renamed
        at load, and saving writes our layout. Stock checkpoints of the same family load unfactorized, and of a head's
        two tied biases the projection's is kept.
        """
        own_mapping = dict(AUTHORS_KEY_MAPPING)
        if cls._is_tied(pretrained_model_name_or_path, kwargs):
            ties = cls.dense_class._tied_weights_keys or {}
            own_mapping |= {rf"{re.escape(bias)}$": kept for kept, bias in ties.items() if kept.endswith(".bias")}
        own_mapping |= {rf"{re.escape(name)}\.bias$": f"{name}.decoder.bias" for name in HEADS_OF_THE_TABLE}
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
            self.config.auto_map = self.family.auto_map
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process and not adapters_only:
            code = sys.modules[self.base_class.__module__].__file__
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
        if self.config.num_primitive is not None and not all(
            isinstance(module, kind) for module, kind in self._embedding_modules()
        ):
            raise ValueError("to_dense: adapters stand in place of the embeddings; merge or unload them first.")
        own_fields = {"model_type", "auto_map", "architectures", "transformers_version", *self.config.ofa_fields()}
        config_class = self.dense_class.config_class
        config = config_class(**{k: v for k, v in self.config.to_dict().items() if k not in own_fields})

        products: dict[int, torch.Tensor] = {}  # tied tables share one
        state_dict = {}
        for name, module in self.named_modules(remove_duplicate=False):
            if isinstance(module, Factorized):
                if (key := id(module.weight)) not in products:
                    products[key] = module.to_dense()
                state_dict[f"{name}.weight"] = products[key]
        for name, tensor in self.state_dict().items():
            if name not in state_dict and ".primitives." not in name:
                state_dict[name] = tensor.clone()
        for target, bias in (self.dense_class._tied_weights_keys or {}).items():
            if target.endswith(".bias") and target in state_dict:
                state_dict[bias] = state_dict[target].clone()
        for name in HEADS_OF_THE_TABLE:
            if f"{name}.decoder.bias" in state_dict:
                state_dict[f"{name}.bias"] = state_dict.pop(f"{name}.decoder.bias")
                del state_dict[f"{name}.decoder.weight"]
        state_dict = swap_prefix(state_dict, self.base_model_prefix, self.dense_class.base_model_prefix)
        options = {"dtype": self.dtype, "attn_implementation": self.config._attn_implementation}
        dense = self.dense_class.from_pretrained(None, config=config, state_dict=state_dict, **options)
        if self.can_generate():
            dense.generation_config = type(self.generation_config).from_dict(self.generation_config.to_dict())
        return dense.to(self.device).train(self.training)
