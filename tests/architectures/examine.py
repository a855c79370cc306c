"""What becomes of one class of models: proven, or refused with which reason; anything else is a fault."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from unittest.mock import patch

import torch
import transformers
from architectures.permuted import (
    SPECIAL_IDS,
    Text,
    fill,
    run_model,
    source_tokenizer,
    target_tokenizer,
    text_of_copied_tokens,
    word_vectors,
)
from architectures.tiny import NOT_TRIED, make_config, make_model, registered_classes
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import ofa_transformers as ofa
from ofa_transformers.initialization import inputs, saving
from ofa_transformers.initialization.assembly import put_together
from ofa_transformers.initialization.calibration import calibrate_head
from ofa_transformers.initialization.head_bias import TargetText, make_bias, read_target_text
from ofa_transformers.initialization.inputs import Source
from ofa_transformers.initialization.planning import plan_adaptation
from ofa_transformers.initialization.rows import make_rows
from ofa_transformers.initialization.run import Run
from ofa_transformers.initialization.settings import InitializationSettings
from ofa_transformers.initialization.special_tokens import plan_special_tokens
from ofa_transformers.mapping import build_mapping
from ofa_transformers.models.embeddings import find_embeddings
from ofa_transformers.models.modeling_ofa import FAMILIES


MOST_PARAMETERS = 20_000_000
TOLERANCE = 1e-4  # relative to the largest value; float32
OLD_PAD, NEW_PAD = SPECIAL_IDS["pad_token_id"], 3


class Fault(AssertionError):
    """A result that isn't what the source gives, or an error that comes too late or says nothing."""


@dataclass
class Finding:
    """What was found for a class.

    Attributes:
        class_name: of the model.
        not_tried: why it could not be tried at all.
        refused: why it is refused, in the words of the error.
        pad_refused: why it is refused where the pad id changes.
        ties: "tied", "untied", as far as the class can be so; each was proven.
    """

    class_name: str
    not_tried: str = ""
    refused: str = ""
    pad_refused: str = ""
    ties: list[str] = field(default_factory=list)

    def row(self) -> str:
        if self.not_tried:
            return f"| {self.class_name} | not tried | {self.not_tried} |"
        if self.refused:
            return f"| {self.class_name} | refused | {self.refused} |"
        note = ""
        if self.pad_refused:
            why = self.pad_refused.split("as the source has it: ")[-1].split(". Give ")[0]
            note = f"only where the pad token keeps its id: {why}"
        return f"| {self.class_name} | proven, {' and '.join(self.ties)} | {note} |"


@cache
def _given() -> tuple:
    return source_tokenizer(), word_vectors()


@cache
def _mapped(pad: int) -> tuple[PreTrainedTokenizerBase, ofa.TokenMapping, Text]:
    """A target tokenizer, the mapping onto it, and text of copied tokens; the same for all classes."""
    tokenizer, vectors = _given()
    target = target_tokenizer(pad)
    mapping = build_mapping(tokenizer, target, vectors)
    return target, mapping, text_of_copied_tokens(mapping, (OLD_PAD, pad))


@cache
def _lines_to_predict(pad: int) -> TargetText:
    return read_target_text(_mapped(pad)[0], [f"the house of my mother is small, {number}" for number in range(24)])


def examine(class_name: str) -> Finding:
    """Adapts a tiny model of the class in all variants.

    Raises:
        Fault: what was found doesn't hold.
    """
    finding = Finding(class_name)
    if class_name in NOT_TRIED:
        finding.not_tried = NOT_TRIED[class_name]
        return finding
    pads = (NEW_PAD, OLD_PAD)
    for tied in (True, False):
        model = _source(class_name, tied)
        if model is None:
            continue
        reasons = {}
        for pad in pads:
            try:
                with _tokenizers_of_any_kind():
                    _prove(_source(class_name, tied), class_name, pad)
                break
            except ValueError as error:
                reasons[pad] = _reason(error, class_name)
        if len(reasons) == len(pads):
            finding.refused = reasons[OLD_PAD]
            return finding
        finding.pad_refused = finding.pad_refused or reasons.get(NEW_PAD, "")
        finding.ties.append("tied" if tied else "untied")
    return finding


def examine_in_memory(class_name: str) -> Finding:
    """The same in a sixth of the time: tied or else untied, without what is alike for all classes.

    From the source's embeddings to the model that its weights and its configuration load as; the mapping is made once,
    and there is no report, no card and no file.

    Raises:
        Fault: as `examine`.
    """
    finding = Finding(class_name)
    if class_name in NOT_TRIED:
        finding.not_tried = NOT_TRIED[class_name]
        return finding
    model = _source(class_name, tied=True)
    finding.ties.append("untied" if model is None else "tied")
    model = model or _source(class_name, tied=False)
    for pad in (NEW_PAD, OLD_PAD):
        target, mapping, text = _mapped(pad)
        try:
            embeddings = find_embeddings(model)
            special = plan_special_tokens(model, embeddings.rows, _given()[0], target)
        except ValueError as error:
            finding.refused = _reason(error, class_name)
            finding.pad_refused = finding.pad_refused or finding.refused
            continue
        finding.refused = ""
        _prove_in_memory(Source(model, embeddings, special, {}), mapping, text, pad)
        return finding
    return finding


def _prove_in_memory(source: Source, mapping: ofa.TokenMapping, text: Text, pad: int) -> None:
    settings = InitializationSettings(fallback="normal", language_offset=0.0)
    expected = run_model(source.model, text.source, text.attention, text.source_columns)
    rows = make_rows(source.embeddings, mapping, None, settings, Run("cpu"))
    bias = make_bias(source.embeddings.bias, mapping, None, settings)
    made, proof = put_together(source, mapping, rows, bias, carried=True)
    _claim(proof.get("difference", 1.0) < TOLERANCE, f"no proof was made: {proof}")
    loaded, info = type(made).from_pretrained(
        None,
        config=type(made.config).from_dict(made.config.to_dict()),
        state_dict=made.state_dict(),
        output_loading_info=True,
    )
    wrong = {name: keys for name, keys in info.items() if keys}
    _claim(not wrong, f"loading found {wrong}")
    _same(expected, run_model(loaded, text.target, text.attention, text.target_columns), "loaded again")
    tokenizer = _mapped(pad)[0]
    calibrate_head(made, tokenizer, _lines_to_predict(pad), mapping, rows, Run("cpu"))
    for name, tensor in made.state_dict().items():
        _claim(not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"calibrated, {name} isn't finite")


@contextmanager
def _tokenizers_of_any_kind() -> Iterator[None]:
    """The tiny tokenizers are none that AutoTokenizer would make for every type of model, which is refused elsewhere."""
    with (
        patch.object(inputs, "check_tokenizer", lambda *_, **__: None),
        patch.object(saving, "save_tokenizer", lambda tokenizer, folder, **_: tokenizer.save_pretrained(folder)),
    ):
        yield


def _source(class_name: str, tied: bool) -> PreTrainedModel | None:
    """None where the class can't be so."""
    torch.manual_seed(0)
    try:
        config = make_config(class_name, **SPECIAL_IDS, tie_word_embeddings=tied)
    except Exception:
        if tied:
            return None
        raise
    model = make_model(class_name, config)
    assert model.num_parameters() < MOST_PARAMETERS
    projection = model.get_output_embeddings()
    is_tied = projection is not None and projection.weight is model.get_input_embeddings().weight
    return fill(model) if is_tied == tied or not tied else None


def _prove(source: PreTrainedModel, class_name: str, pad: int) -> None:
    tokenizer, vectors = _given()
    target = target_tokenizer(pad)
    options = {
        "source_tokenizer": tokenizer,
        "target_tokenizer": target,
        "word_vectors": vectors,
        "word_weighting": "uniform",  # they have no frequencies
    }
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    plan = plan_adaptation(source, **options)
    adapted = ofa.OfaInitializer.from_pretrained(source, **options)
    foreseen, made = plan.parameters, adapted.model.num_parameters()
    _claim(foreseen == (source.num_parameters(), made), f"a dry run foresees {foreseen} parameters, not {made}")
    for name, tensor in source.state_dict().items():
        _claim(torch.equal(tensor, before[name]), f"{name} of the caller's model was changed")
    text = text_of_copied_tokens(adapted.mapping, (OLD_PAD, pad))
    expected = run_model(source, text.source, text.attention, text.source_columns)
    given = (text.target, text.attention, text.target_columns)
    _same(expected, run_model(adapted.model, *given), "in memory")
    _claim(adapted.report.proof.get("difference", 1.0) < TOLERANCE, f"no proof was made: {adapted.report.proof}")
    _reloaded(adapted, expected, given, _loaders(class_name, source))
    if class_name in {name for family in FAMILIES for name in family.classes}:
        try:
            small = ofa.OfaInitializer.from_pretrained(source, embedding_size=8, **options)
        except ValueError as error:  # an encoder's and a decoder's table of their own
            _claim("which aren't tied to them" in str(error), str(error))
            return
        _claim(small.report.proof.get("difference", 1.0) < TOLERANCE, f"no proof was made: {small.report.proof}")
        expected = run_model(small.model, *given)
        _same(expected, run_model(small.model.to_dense(), *given), "to_dense")
        _reloaded(small, expected, given, [type(small.model)])


def _reloaded(adapted: ofa.OfaInitializer, expected: object, given: tuple, loaders: list[type]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_pretrained(folder, report_page=False)
        for loader in loaders:
            model, info = loader.from_pretrained(folder, output_loading_info=True)
            wrong = {name: keys for name, keys in info.items() if keys}
            _claim(not wrong, f"{loader.__name__} found {wrong}")
            _same(expected, run_model(model, *given), f"loaded with {loader.__name__}")


def _loaders(class_name: str, source: PreTrainedModel) -> list[type]:
    """The class itself, and the Auto class where its configuration leads to it."""
    auto = getattr(transformers, registered_classes()[class_name][1])
    found = auto._model_mapping.get(type(source.config), None)
    return [type(source), auto] if found is type(source) else [type(source)]


def _same(expected: object, found: object, where: str) -> None:
    difference = expected.difference(found)
    _claim(difference < TOLERANCE, f"{where}: outputs differ by {difference:.3g} of the largest")


def _claim(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Fault(otherwise)


def _reason(error: ValueError, class_name: str) -> str:
    """The reason in the message of a refusal, without what all refusals begin with."""
    text = " ".join(str(error).split())
    if not text.startswith(("source: ", "target_tokenizer: ")):
        raise Fault(f"an error that isn't a refusal: {text}") from error
    return text.split(": ", 1)[1].replace("|", "\\|")
