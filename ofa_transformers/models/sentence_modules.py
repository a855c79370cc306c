"""What a sentence encoder does with the hidden states: the modules that sentence-transformers keeps beside a model.

Read without that package, carried along when a model gets another vocabulary, and followed when sentences are compared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from transformers.utils import cached_file, logging


logger = logging.get_logger(__name__)

MODULES_FILE = "modules.json"
# Beside the folders of the modules.
_OWN_FILES = ("config_sentence_transformers.json", "sentence_bert_config.json")
_PACKAGE = "sentence_transformers."
# Of a folder, what is read; weights in pickles aren't.
_MODULE_FILES = ("config.json", "model.safetensors")
# Ours among the folders: a projection that `with_projection` put there.
_PROJECTION = "LanguageRemoval"
_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class SentenceModules:
    """The modules after the Transformer, from hidden states to a sentence's vector.

    Attributes:
        entries: of modules.json, but for the first, which is the Transformer.
        files: path -> content, of the modules and beside them.
        pooling: "mean", "cls", "max" or "lasttoken".
    """

    entries: tuple[Mapping[str, Any], ...]
    files: Mapping[str, bytes] = field(repr=False)
    pooling: str = "mean"

    @classmethod
    def read(cls, source: str | os.PathLike, hub_kwargs: Mapping[str, Any] | None = None) -> SentenceModules | None:
        """Those of a folder or Hub id; None where there is no modules.json.

        A warning says which modules can't be followed (code of their own, weights in a pickle, another pooling); then
        the result is None, too.

        Raises:
            ValueError: a modules.json that is damaged.
        """
        access = {
            name: value
            for name, value in (hub_kwargs or {}).items()
            if name in ("revision", "token", "cache_dir", "local_files_only") and value is not None
        }

        def content(path: str) -> bytes | None:
            found = cached_file(
                str(source),
                path,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_gated_repo=False,
                _raise_exceptions_for_connection_errors=False,
                **access,
            )
            return None if found is None else Path(found).read_bytes()

        listed = content(MODULES_FILE)
        if listed is None:
            return None
        try:
            first, *entries = json.loads(listed)
            kinds = [entry["type"].rpartition(".")[2] for entry in entries]
            own = [entry["type"] for entry in (first, *entries) if not entry["type"].startswith(_PACKAGE)]
            if first["path"] or own or kinds[:1] != ["Pooling"] or set(kinds[1:]) - {"Dense", "Normalize"}:
                return _not_followed(source, ", ".join(own or kinds) or "no pooling")
            files = {
                path: found
                for path in (*_OWN_FILES, *(f"{entry['path']}/{name}" for entry in entries for name in _MODULE_FILES))
                if (found := content(path)) is not None
            }
            pooling = json.loads(files[f"{entries[0]['path']}/config.json"])
            modes = [name for name, value in pooling.items() if name.startswith("pooling_mode") and value is True]
            chosen = [_POOLINGS.get(mode) for mode in modes] or [pooling.get("pooling_mode")]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{source}: {MODULES_FILE}, or what it names, is damaged ({type(error).__name__}: {error}). Fetch the "
                "checkpoint again."
            ) from error
        if len(chosen) != 1 or chosen[0] not in _POOLINGS.values():
            return _not_followed(source, f"pooling {', '.join(modes) or chosen[0]}")
        found = cls(tuple(entries), files, chosen[0])
        dense = [entry["path"] for entry, kind in zip(entries, kinds) if kind == "Dense"]
        if lost := [path for path in dense if f"{path}/model.safetensors" not in files]:
            return _not_followed(source, f"{lost[0]} without model.safetensors")
        return found

    @classmethod
    def of_means(cls, size: int, max_length: int | None) -> SentenceModules:
        """Those of a new sentence encoder: the mean over the tokens' states (L, `size`), then length 1.

        Args:
            size: of the hidden states.
            max_length: tokens of the longest sentence; None where nothing bounds it.
        """
        pooling = {"word_embedding_dimension": size, **{mode: kind == "mean" for mode, kind in _POOLINGS.items()}}
        limits = {"max_seq_length": max_length, "do_lower_case": False}
        entries = (
            {"path": "1_Pooling", "type": f"{_PACKAGE}models.Pooling"},
            {
                "path": "2_Normalize",
                "type": f"{_PACKAGE}models.Normalize",
            },
        )
        files = {
            "1_Pooling/config.json": json.dumps(pooling, indent=2).encode(),
            "sentence_bert_config.json": json.dumps(limits, indent=2).encode(),
        }
        return cls(entries, files)

    def save(self, folder: str | os.PathLike, max_length: int | None = None) -> None:
        """Writes them beside a model.

        Args:
            folder: of the model.
            max_length: tokens that model and tokenizer take; a longer limit is cut to it.
        """
        folder = Path(folder)
        transformer = {"idx": 0, "name": "0", "path": "", "type": f"{_PACKAGE}models.Transformer"}
        entries = [transformer, *({**e, "idx": n, "name": str(n)} for n, e in enumerate(self.entries, 1))]
        (folder / MODULES_FILE).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        for entry in self.entries:  # one of normalisation has no files
            (folder / entry["path"]).mkdir(parents=True, exist_ok=True)
        for path, content in self.files.items():
            if path == "sentence_bert_config.json":
                config = json.loads(content)
                limit = config.get("max_seq_length")
                if limit and max_length:
                    config["max_seq_length"] = min(limit, max_length)
                config["do_lower_case"] = False  # the tokenizer's business, which may be another one now
                content = (json.dumps(config, indent=2) + "\n").encode()
            (folder / path).write_bytes(content)

    def after_pooling(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, D'): what the modules after the pooling make of (N, D)."""
        for entry in self.entries[1:]:
            if entry["type"].endswith(".Normalize"):
                vectors = nn.functional.normalize(vectors, dim=-1)
                continue
            config = json.loads(self.files[f"{entry['path']}/config.json"])
            tensors = load_tensors(self.files[f"{entry['path']}/model.safetensors"])
            weight, bias = tensors["linear.weight"], tensors.get("linear.bias")
            vectors = nn.functional.linear(vectors, weight.to(vectors), None if bias is None else bias.to(vectors))
            activation = config.get("activation_function", "").rpartition(".")[2]
            vectors = getattr(nn, activation)()(vectors) if activation not in ("", "Identity") else vectors
        return vectors

    def with_projection(self, directions: torch.Tensor) -> SentenceModules:
        """With one more module after the pooling, which takes directions (R, D), orthonormal rows, out of the vectors.

        It is a Dense layer without activation, weight I - V^T V, so that sentence-transformers needs nothing of ours.
        """
        plain = self.without_projection()
        size = directions.shape[1]
        weight = torch.eye(size) - directions.T.float() @ directions.float()
        path = f"{len(plain.entries) + 1}_{_PROJECTION}"
        config = {
            "in_features": size,
            "out_features": size,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
        files = {
            f"{path}/config.json": json.dumps(config, indent=2).encode(),
            f"{path}/model.safetensors": save_tensors({"linear.weight": weight.contiguous()}),
        }
        entry = {"path": path, "type": f"{_PACKAGE}models.Dense"}
        pooling, *others = plain.entries
        return replace(plain, entries=(pooling, entry, *others), files={**plain.files, **files})

    def without_projection(self) -> SentenceModules:
        """Without what `with_projection` put there."""
        entries = tuple(entry for entry in self.entries if not entry["path"].endswith(_PROJECTION))
        files = {path: content for path, content in self.files.items() if f"_{_PROJECTION}/" not in path}
        return replace(self, entries=entries, files=files)

    def without_normalization(self) -> SentenceModules:
        """With the length that vectors have."""
        return replace(self, entries=tuple(e for e in self.entries if not e["type"].endswith(".Normalize")))

    def only_pooling(self) -> SentenceModules:
        """Without what comes after the pooling."""
        return replace(self, entries=self.entries[:1])

    @property
    def has_projection(self) -> bool:
        return any(entry["path"].endswith(_PROJECTION) for entry in self.entries)


def pooled(states: torch.Tensor, attention: torch.Tensor, pooling: str) -> torch.Tensor:
    """(B, D) float32: hidden states (B, L, D) of each row as one vector; special tokens count, as in the package."""
    states, mask = states.float(), attention.to(torch.bool)
    if pooling == "cls":
        first = mask.int().argmax(dim=1)
        return states[torch.arange(len(states), device=states.device), first]
    if pooling == "lasttoken":
        last = states.shape[1] - 1 - mask.flip(1).int().argmax(dim=1)
        return states[torch.arange(len(states), device=states.device), last]
    if pooling == "max":
        return states.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
    weights = mask[..., None].float()
    return states.masked_fill(~mask[..., None], 0).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def _not_followed(source: str | os.PathLike, what: str) -> None:
    logger.warning(
        f"{source} is a sentence encoder with modules that can't be carried along or followed ({what}): the result is a "
        "plain Transformers model, and its sentences are compared by means of hidden states."
    )
