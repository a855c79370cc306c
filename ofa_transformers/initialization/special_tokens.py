"""Token ids in configurations, as the target tokenizer has them: one rule, with a table of names."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..models.dependents import configurations
from ..models.positions import check_positions, move_positions
from ..tokenization.vocabulary import ROLES, Vocabulary
from .mapping.matches import COUNTERPARTS, match_tokens


# Fields with the id of a token of a role; XLM and Flaubert name them `pad_index`.
_ROLE_FIELDS = {f"{role}_{ending}": role for role in ROLES for ending in ("token_id", "index")}
# Other fields with ids of tokens: endings of their names, and names.
_ENDINGS = ("_token_id", "_token_index", "_token_ids", "_token_indices")
_NAMES = {
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "force_words_ids",
    "sequence_bias",
    "forced_decoder_ids",
    "lang_to_id",
    "task_to_id",
    "im_start_id",
    "im_end_id",
    "im_newline_id",
}
# Ids in a vocabulary of another kind: Seamless' units of speech.
_OTHER_VOCABULARY = ("t2u_",)
# What may be without a token: generation then isn't forced to it.
_OPTIONAL = ("forced_bos_token_id", "forced_eos_token_id")
# Numbers of tokens, or of something for each of them.
_COUNTS = re.compile(r"^(num|n|max|min)_|per_tok|tokens_per|_tokens$|_size$|_length$")


@dataclass(frozen=True)
class SpecialTokens:
    """What becomes of the token ids in a model's configurations.

    Attributes:
        changes: (configuration, field, new value), where the value is another one.
        pad_ids: the model's, before and after.
        old_ids: special tokens of the source.
        notes: what a person should know: ids that the target tokenizer has no token for.
    """

    changes: tuple[tuple[PreTrainedConfig | GenerationConfig, str, Any], ...]
    pad_ids: tuple[int | None, int | None]
    old_ids: frozenset[int]
    notes: tuple[str, ...]

    def apply(self, model: PreTrainedModel) -> None:
        """Sets them in the model that they were planned for, and moves positions that count from the pad id."""
        for config, name, value in self.changes:
            setattr(config, name, value)
        move_positions(model, *self.pad_ids)


def plan_special_tokens(
    model: PreTrainedModel, rows: int, source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> SpecialTokens:
    """Finds the new value of every token id in the configurations of a model, its parts and its generation.

    A field of a role (`pad_token_id`) takes the target's token of this role; any other id is that of the target token
    that is the same as the source's: by role, spelling or form. Ids that stand for no token keep standing for none.

    Args:
        model: the source, unchanged.
        rows: V_s, of its embeddings.
        source, target: the tokenizers.

    Raises:
        ValueError: a token that the model can't do without, and the target lacks; a pad id that its positions can't
            count from.
    """
    ids = _Ids(source, target, rows)
    changes, notes = [], []
    for config, name, old in _id_fields(model, rows):
        new = ids.of_field(name, old)
        where = "generation_config" if isinstance(config, GenerationConfig) else "config"
        if old is not None and new is None and name not in _ROLE_FIELDS:
            lost = f"{where}.{name} of {type(model).__name__} is {_shown(old)} ({ids.spelled(old)})"
            if where == "config" and isinstance(old, int) and name not in _OPTIONAL:
                raise ValueError(
                    f"target_tokenizer: {lost}, which the tokenizer lacks and the model needs. Add it, for example "
                    f"tokenizer.add_tokens([{ids.token(old)!r}], special_tokens=True), and pass the tokenizer."
                )
            notes.append(f"{lost}, which the target tokenizer lacks; it is left out.")
        if new != old:
            changes.append((config, name, new))
    _check_accepted(model, changes)
    notes += _unknown_fields(model, ids, set(source.all_special_ids))
    text_config = model.config.get_text_config()
    old_pad = getattr(text_config, "pad_token_id", None)
    pads = [value for config, name, value in changes if config is text_config and name == "pad_token_id"]
    new_pad = pads[0] if pads else old_pad
    check_positions(model, old_pad, new_pad)
    return SpecialTokens(tuple(changes), (old_pad, new_pad), frozenset(source.all_special_ids), tuple(notes))


class _Ids:
    """Source ids to target ids."""

    def __init__(self, source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase, rows: int) -> None:
        self._source, self._target = source, target
        self._theirs = {index: token for token, index in source.get_vocab().items()}
        self._ours = target.get_vocab()
        self._ends = (max(self._theirs) + 1, max(self._ours.values()) + 1)
        self._rows = rows

    def token(self, old: int) -> str | None:
        return self._theirs.get(old)

    def spelled(self, old: Any) -> str:
        return ", ".join(repr(self.token(index)) for index in _leaves(old))

    def of_field(self, name: str, old: Any) -> Any:
        """The new value of a field: an id, or a structure of ids, without those that the target lacks."""
        role = _ROLE_FIELDS.get(name)
        if role is not None and not isinstance(old, (list, tuple)):
            theirs, ours = (getattr(t, f"{role}_token_id", None) for t in (self._source, self._target))
            found = None if old is None else self.of_token(old)
            is_role = old is None or theirs is None or theirs == old or found is None
            return ours if is_role and ours is not None else found
        new = _map_ids(name, old, self.of_token)
        if not new and isinstance(old, (list, tuple, dict)):
            return getattr(self._target, f"{role}_token_id", None) if role else None
        return new

    def of_token(self, old: int) -> int | None:
        token = self._theirs.get(old)
        if token is None:
            if not 0 <= old < self._ends[1]:
                return old
            # The target has a token of this id.
            return self._ends[1] + old - self._ends[0] if old >= self._ends[0] else None
        for role in ROLES:
            if getattr(self._source, f"{role}_token_id", None) == old:
                for counterpart in COUNTERPARTS[role]:
                    found = getattr(self._target, f"{counterpart}_token_id", None)
                    if found is not None:
                        return found
        if token in self._ours:
            return self._ours[token]
        return self._by_form.get(old)

    @cached_property
    def _by_form(self) -> dict[int, int]:
        """Ordinary tokens by their form; the first of those with the same."""
        source = Vocabulary.from_tokenizer(self._source, "source_tokenizer")
        target = Vocabulary.from_tokenizer(self._target, "target_tokenizer")
        found = match_tokens(source, target, num_source_rows=self._rows).source_ids
        return {int(old): new for new, old in reversed(list(enumerate(found))) if old >= 0}


def _id_fields(model: PreTrainedModel, rows: int) -> Iterator[tuple[PreTrainedConfig | GenerationConfig, str, Any]]:
    """Every field with token ids: of the configurations over this vocabulary, and of the generation's."""
    configs: list[Any] = [config for config in configurations(model) if _is_of_text(model, config, rows)]
    if getattr(model, "generation_config", None) is not None:
        configs.append(model.generation_config)
    for config in configs:
        for name, value in list(vars(config).items()):
            known = name in _ROLE_FIELDS or name in _NAMES or name.endswith(_ENDINGS)
            if not known or name.startswith(_OTHER_VOCABULARY) or isinstance(value, (bool, str, float)):
                continue
            # A decoder without a pad token stays one: batches decide, not we.
            if value is not None or name in ("bos_token_id", "eos_token_id", "pad_token_id"):
                yield config, name, value


def _is_of_text(model: PreTrainedModel, config: PreTrainedConfig, rows: int) -> bool:
    """Whether its ids are of this vocabulary: parts for images and sound may have one of their own, or none."""
    sizes = [value for name, value in vars(config).items() if name.endswith("vocab_size") or name == "n_words"]
    return config is model.config or config is model.config.get_text_config() or rows in sizes


def _map_ids(name: str, value: Any, new_id: Callable[[int], int | None]) -> Any:
    if isinstance(value, int):
        return new_id(value)
    if isinstance(value, dict):  # languages by name; with tuples of ids as keys, the bias of sequences
        if all(isinstance(key, tuple) for key in value):
            pairs = ((_map_ids(name, list(key), new_id), bias) for key, bias in value.items())
            return {tuple(key): bias for (key, bias), old in zip(pairs, value) if len(key) == len(old)}
        return {key: new for key, old in value.items() if (new := new_id(old)) is not None}
    if not isinstance(value, (list, tuple)):
        return value
    if name == "forced_decoder_ids":  # positions and ids
        pairs = [[position, None if old is None else new_id(old)] for position, old in value]
        return [pair for pair, (_, old) in zip(pairs, value) if pair[1] is not None or old is None]
    if name == "sequence_bias":  # sequences and their bias
        pairs = [[_map_ids("", list(sequence), new_id), bias] for sequence, bias in value]
        return [pair for pair, (sequence, _) in zip(pairs, value) if len(pair[0]) == len(sequence)]
    if any(isinstance(inner, (list, tuple)) for inner in value):
        made = [(_map_ids(name, inner, new_id), inner) for inner in value]
        return [new for new, old in made if len(new) == len(old)]
    return [new for new in (new_id(old) for old in value) if new is not None]


def _leaves(value: Any) -> list[int]:
    if isinstance(value, int):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [leaf for part in inner for leaf in _leaves(part)][:8]


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def _check_accepted(model: PreTrainedModel, changes: list[tuple[Any, str, Any]]) -> None:
    """Some configurations must have a token where others may be without."""
    for config, name, value in changes:
        try:
            setattr(copy.copy(config), name, value)
        except Exception as error:  # the checks of strict dataclasses
            role = _ROLE_FIELDS.get(name, name)
            raise ValueError(
                f"target_tokenizer: it has no {role} token, but {type(model).__name__} needs one ({name} was "
                f"{getattr(config, name)}). Set tokenizer.{role}_token, and pass the tokenizer. ({error})"
            ) from error


def _unknown_fields(model: PreTrainedModel, ids: _Ids, special: set[int]) -> list[str]:
    """Integers under names that speak of tokens, aren't in the table, and are a special token's id."""
    found = {}
    for config in configurations(model):
        for name, value in vars(config).items():
            known = name in _ROLE_FIELDS or name in _NAMES or name.endswith(_ENDINGS) or name.startswith("_")
            if known or "token" not in name or _COUNTS.search(name):
                continue
            if isinstance(value, int) and not isinstance(value, bool) and value in special:
                found[name] = value
    return [
        f"config.{name} is {value}, the id of {ids.token(value)!r} in the source's tokenizer, and was kept: if it is a "
        "token's id, set it to that of the target's."
        for name, value in found.items()
    ]
