"""The model card (README.md) of an adapted model."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled
from jinja2 import Environment, PackageLoader, StrictUndefined

from ..models import modeling_ofa
from ..models.sentence_modules import MODULES_FILE
from ..text.languages import short_code
from ..utils.hub import CARD_FILE, PLACEHOLDER
from ..utils.markdown import plain
from .html import KIND_NAMES, input_facts, millions, named, parameter_counts, short_name
from .report import REPORT_FILE, OfaReport


_MOST_LANGUAGES = 40

# Ending of a model class -> (Auto class, pipeline on the Hub).
_TASKS = {
    "ForMaskedLM": ("AutoModelForMaskedLM", "fill-mask"),
    "ForCausalLM": ("AutoModelForCausalLM", "text-generation"),
    "LMHeadModel": ("AutoModelForCausalLM", "text-generation"),
    "ForConditionalGeneration": ("AutoModelForSeq2SeqLM", "text-generation"),
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "ForTokenClassification": ("AutoModelForTokenClassification", "token-classification"),
    "ForQuestionAnswering": ("AutoModelForQuestionAnswering", "question-answering"),
    "ForMultipleChoice": ("AutoModelForMultipleChoice", None),
    "ForPreTraining": ("AutoModelForPreTraining", None),
    "Model": ("AutoModel", "feature-extraction"),
}
_LICENSE_FIELDS = ("license", "license_name", "license_link")


def model_card(
    report: OfaReport,
    *,
    repo_id: str | None = None,
    eval_results: Sequence[EvalResult] | None = None,
    sentences: bool = False,
) -> ModelCard:
    """The card of an adapted model.

    Args:
        report: of the adaptation.
        repo_id: where the model will lie, for title and code.
        eval_results: what was measured, for the Hub's `model-index` and a table.
        sentences: the modules of a sentence encoder lie beside the model.

    Returns:
        A card with base model, languages, the source's licence, tags and pipeline as metadata; its text says how to
        load the model, how it was made, and what its vocabulary covers.
    """
    source, target = report.source, report.target
    title = short_name(repo_id or f"{short_name(source['name'])}-ofa").rsplit("/", 1)[-1]
    size = target.get("embedding_size")
    base = source["name"] if is_hub_id(source["name"], source["class"]) else None
    languages = target_languages(report)
    license_fields = source.get("license") or {}
    data = ModelCardData(
        base_model=base,
        language=sorted({code for language in languages if (code := short_code(language))}) or None,
        **_kind(target["class"], sentences),
        tags=["ofa", "multilingual"] if len(languages) > 1 else ["ofa"],
        model_name=title,
        eval_results=list(eval_results) if eval_results else None,
        **license_fields,
    )
    covered = {
        code: sum(counts.values()) for code, counts in report.tokens_by_language.items() if sum(counts.values())
    }
    rows = [
        (named(code), tokens, report.use_by_language.get(code))
        for code, tokens in list(covered.items())[:_MOST_LANGUAGES]
    ]
    text = _environment().get_template("card.md").render(
        title=title,
        report=report,
        size=size,
        source_link=f"[{base}](https://huggingface.co/{base})" if base else _cell(short_name(source["name"])),
        tokenizer=_cell(short_name(target["name"])) if target["name"] else "a new tokenizer",
        languages=languages,
        parameters=parameter_counts(report),
        millions=millions,
        **_loading(target["class"], size, repo_id, sentences),
        made=_made(report),
        total=sum(report.tokens.values()),
        everything={kind: report.tokens[kind] for kind in KIND_NAMES},
        coverage=rows,
        left_out=max(0, len(covered) - _MOST_LANGUAGES),
        results=eval_results or (),
        license=license_fields.get("license_name") or license_fields.get("license"),
    )  # fmt: skip
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}", ignore_metadata_errors=False)


def card_of_folder(folder: str | os.PathLike) -> ModelCard:
    """A card for a checkpoint without one: what its report says, or else what its configuration does.

    A training with a plain Trainer writes a model and a tokenizer, and neither report nor card.

    Raises:
        FileNotFoundError: the folder has no config.json.
    """
    folder = Path(folder)
    sentences = (folder / MODULES_FILE).is_file()
    if (folder / REPORT_FILE).is_file():
        return model_card(OfaReport.load(folder), sentences=sentences)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    class_name = (config.get("architectures") or ["AutoModel"])[0]
    size, base = config.get("embedding_size"), str(config.get("_name_or_path") or "")
    factorized = size if hasattr(modeling_ofa, class_name) else None
    base = base if "/" in base and is_hub_id(base) else None
    title = folder.resolve().name
    data = ModelCardData(
        base_model=base,
        **_kind(class_name, sentences),
        tags=["ofa"],
        model_name=title,
    )
    text = _environment().get_template("trained.md").render(
        title=title,
        source_link=f"[{base}](https://huggingface.co/{base})" if base else None,
        size=factorized,
        tokens=config.get("vocab_size", 0),
        **_loading(class_name, factorized, None, sentences),
    )  # fmt: skip
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}", ignore_metadata_errors=False)


def _task(class_name: str) -> tuple[str, str | None]:
    """Auto class and pipeline of a model class."""
    return next((task for ending, task in _TASKS.items() if class_name.endswith(ending)), ("AutoModel", None))


def _kind(class_name: str, sentences: bool) -> dict[str, str | None]:
    """What the Hub goes by: the library that loads a model, and what it is for."""
    if sentences:
        return {"library_name": "sentence-transformers", "pipeline_tag": "sentence-similarity"}
    return {"library_name": "transformers", "pipeline_tag": _task(class_name)[1]}


def _loading(class_name: str, size: int | None, repo_id: str | None, sentences: bool) -> dict[str, Any]:
    """What `load.md` shows."""
    return {
        "sentences": sentences,
        "class_name": class_name,
        "auto_class": _task(class_name)[0],
        "dense_class": getattr(modeling_ofa, class_name).dense_class.__name__ if size else None,
        "bare_id": repo_id or PLACEHOLDER,
        "repo_id": json.dumps(repo_id or PLACEHOLDER),
    }


def target_languages(report: OfaReport) -> list[str]:
    """ISO 639-3 codes of the languages that the target's tokens occur in, those with most tokens first."""
    chosen = report.settings.get("target_languages")
    return [
        code
        for code, counts in report.tokens_by_language.items()
        if sum(counts.values()) and (chosen is None or code in chosen)
    ]


def source_license(source: Any, name: str, access: Mapping[str, Any]) -> dict[str, str]:
    """The licence fields of a source's card, empty where there is no card or it names none.

    Args:
        source: a folder, a Hub id or a model, of which `name` says where it came from.
        name: of the source.
        access: `revision`, `token`, `cache_dir` for a Hub id. Of a loaded model only a card in the cache is read.
    """
    folder = Path(name)
    try:
        if folder.is_dir():
            path = folder / CARD_FILE
        elif is_hub_id(name):
            loaded = not isinstance(source, (str, os.PathLike))
            path = Path(hf_hub_download(name, CARD_FILE, local_files_only=loaded, **access))
        else:
            return {}
        content = path.read_text(encoding="utf-8")
        data = ModelCard(content, ignore_metadata_errors=True).data.to_dict()
    except (EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError, yaml.YAMLError):
        return {}  # a model is worth adapting without a card
    return {field: str(data[field]) for field in _LICENSE_FIELDS if isinstance(data.get(field), str)}


def is_hub_id(name: str, class_name: str = "") -> bool:
    """Whether a model's name can be a repository on the Hub; one without a name goes by its class."""
    looks = re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, flags=re.ASCII) is not None
    return looks and name != class_name and not os.path.exists(name)


def _made(report: OfaReport) -> list[tuple[str, str]]:
    facts = input_facts(report)
    rows = [("Source", short_name(report.source["name"])), ("Source class", report.source["class"])]
    rows += [row for row in facts["target"] if row[0] not in ("Parameters", "Tokens")]
    rows += [(f"Word vectors: {name.lower()}", value) for name, value in facts["vectors"]]
    rows += facts["settings"]
    return [*rows, ("Versions", ", ".join(f"{name} {number}" for name, number in report.versions.items()))]


def _environment() -> Environment:
    loader = PackageLoader("ofa_transformers.report", "templates")
    # Markdown, so that nothing is escaped but what stands in cells.
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = _cell
    return environment


def _cell(value: Any) -> str:
    """Text that stays in its cell, and is no HTML and no link."""
    return plain(f"{value:.4g}" if isinstance(value, float) else str(value))
