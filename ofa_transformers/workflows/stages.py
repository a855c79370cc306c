"""`adapt_and_train`: from a model and files of text to a trained model with report and card, stage by stage."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.utils import logging

from ..evaluation import evaluate_perplexity, evaluate_retrieval, write_card_results
from ..evaluation.results import Measurement
from ..evaluation.subjects import load_language_model
from ..initialization.initializer import OfaInitializer
from ..models.checkpoints import language_model_loader, load_config, load_tokenizer, model_class
from ..report import PAGE_FILE, REPORT_FILE, card_of_folder
from ..text.segments import read_ids
from ..tokenization import extend_tokenizer, save_tokenizer, train_tokenizer
from ..tokenization.sizing import choose_size, judge_service
from ..training import DataArguments, ModelArguments, PretrainingArguments, pretrain
from ..utils.files import new_file, new_folder, reserved
from ..utils.hub import CARD_FILE
from ..utils.strict_json import dumps, write
from ..utils.targets import check_workspace
from ..vectors import WordVectors
from .export.sentences import save_sentence_encoder, sentence_encoder
from .route import Route, digest
from .route_plan import plan_route, read_record
from .route_results import Outcome, read_measurements
from .route_settings import (
    MASKED_IN_PAIRS,
    METHOD_OF_DECODERS,
    OFFSET_WITH_PAIRS,
    OVERRIDES,
    SAMPLES,
    Stage,
    default_learning_rate,
    default_steps,
    sample_tokens,
)


logger = logging.get_logger(__name__)

_FIRST_SIZE, _FIRST_EXTENSION = 6000, 1000


def adapt_and_train(
    source: str | os.PathLike,
    texts: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    *,
    say: Callable[[str], object] | None = None,
    display: TrainerCallback | None = None,
    **options: Any,
) -> Outcome:
    """From a pretrained model and text of new languages to a trained model, its report and card.

    Word vectors, tokenizer, adaptation, evaluation, training, evaluation: each a folder of `output`. A stage whose
    output is there and was made with the same settings is not repeated, so that a run that broke off goes on. A masked
    language model that was trained on translations is written as a sentence encoder, too.

        outcome = adapt_and_train("xlm-roberta-base", ["bible/"], "out")
        outcome.model, outcome.table

    Args:
        source: a folder or a Hub id.
        texts: see [`Route`].
        output: the folder.
        say: called with a line when a stage begins, and with what was chosen and why; by default the log.
        display: shows the training.
        **options: the other arguments of [`Route`].

    Raises:
        FileNotFoundError, ValueError: see [`Route`], and what the stages raise.
        OSError: the folder can't be written, or the disk has too little room; before the work.
        Busy: another process writes there.
    """
    folder = check_workspace(output)
    with reserved(folder):
        route = Route(str(source), list(texts), **options)
        plan_route(route, folder, timed=False)
        folder.mkdir(parents=True, exist_ok=True)
        return _Run(route, folder, say or logger.info, display).run()


@dataclass
class _Run:
    route: Route
    folder: Path
    say: Callable[[str], object]
    display: TrainerCallback | None

    def run(self) -> Outcome:
        route, started = self.route, time.monotonic()
        with new_file(self.folder / "held_out.tsv") as temporary:
            temporary.write_text("".join(f"{key}\n" for key in route.held_out_ids), encoding="utf-8")
        unused = sorted({*route.held_out_ids, *read_ids(route.held_out), *read_ids(route.exclude)})
        with new_file(self.folder / "unused.tsv") as temporary:
            temporary.write_text("".join(f"{key}\n" for key in unused), encoding="utf-8")
        common = {"source": route.source, "files": route.files_state, "held_out": digest(unused)}
        stages = [
            Stage("vectors", self.vectors, {**common, "given": route.word_vectors}),
            Stage("tokenizer", self.tokenizer, {**common, "kind": route.tokenizer, "sizes": [route.vocab_size, route.num_new_tokens]}),
            Stage("adapted", self.adapt, {"seed": route.seed}),
            Stage("before", self.before, {}),
            Stage("trained", self.train, {"steps": self.steps, "learning_rate": self.learning_rate, "seed": route.seed}),
            *([Stage("encoder", self.encoder, {})] if route.contrasts else []),
            Stage("after", self.after, {}),
        ]  # fmt: skip
        above: list[Any] = []
        for stage in stages:
            settings = {
                **stage.settings,
                "options": dict(route.overrides.get(OVERRIDES[stage.name], {})),
                "above": digest(above),
            }
            above.append(settings)
            self._stage(stage, json.loads(dumps(settings)))
        outcome = Outcome(
            self.folder / "trained",
            read_measurements(self.folder / "before") + read_measurements(self.folder / "after"),
            time.monotonic() - started,
            self.encoder_folder,
        )
        outcome.save(self.folder)
        return outcome

    def _stage(self, stage: Stage, settings: dict[str, Any]) -> None:
        record, place = self.folder / f"{stage.name}.json", self.folder / stage.name
        known = read_record(record)
        if known is not None and known["settings"] == settings and known["done"]:
            self.say(f"{stage.name}: there already, made with the same settings")
            return
        if known is not None and known["settings"] != settings and place.exists():
            shutil.rmtree(place)  # made by an earlier run of this, with other settings
        self._note(record, settings, done=False)
        start = time.monotonic()
        stage.make(place)
        self._note(record, settings, done=True)
        self.say(f"{stage.name}: {time.monotonic() - start:,.0f} s")

    def _note(self, record: Path, settings: dict[str, Any], done: bool) -> None:
        write(record, {"settings": settings, "done": done}, indent=1)

    # -------------------------------------------------------------------------------------------------------- stages

    def options(self, name: str) -> dict[str, Any]:
        return dict(self.route.overrides.get(name, {}))

    def vectors(self, place: Path) -> None:
        if self.route.word_vectors is not None:
            self.say(f"vectors: those of {self.route.word_vectors}")
            return
        made = WordVectors.from_parallel(
            {language: list(lines.items()) for language, lines in self.route.translations.items()},
            exclude=self.folder / "unused.tsv",
            **self.options("vectors"),
        )
        made.save(place, overwrite=True)
        self.say(f"vectors: {len(made):,} words of {len(made.language_counts())} languages")

    def tokenizer(self, place: Path) -> None:
        route = self.route
        if route.tokenizer not in (None, "train", "extend"):
            found = load_tokenizer(route.tokenizer, "tokenizer")
        else:
            found = self._made_tokenizer(load_tokenizer(route.source, "source"))
        with new_folder(place, overwrite=True) as folder:
            save_tokenizer(found, folder, text=route.lines)

    def _made_tokenizer(self, original: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
        route, options = self.route, self.options("tokenizer")
        kind = route.tokenizer
        if kind is None and (route.num_new_tokens or route.vocab_size):
            kind = "extend" if route.num_new_tokens else "train"
        if kind is None:
            service = judge_service(original, route.lines, route.pivot, parallel=bool(route.translations))
            kind = "extend" if service.extend else "train"
            self.say(f"tokenizer: {service}")
        if kind == "extend":
            others = {language: lines for language, lines in route.lines.items() if language != route.pivot}

            def extend(texts: Mapping[str, Sequence[str]], size: int) -> PreTrainedTokenizerBase:
                return extend_tokenizer(original, texts, size, **options)

            size = route.num_new_tokens
            if size is None:
                choice = choose_size(extend, others, start=_FIRST_EXTENSION, most=len(original) // 4)
                self.say(f"tokenizer: adds {choice}")
                size = choice.size
            return extend(others, size)

        def train(texts: Mapping[str, Sequence[str]], size: int) -> PreTrainedTokenizerBase:
            return train_tokenizer(texts, size, **{"like": original, "seed": route.seed, **options})

        size = route.vocab_size
        if size is None:
            choice = choose_size(train, route.lines, start=_FIRST_SIZE, most=100_000)
            self.say(f"tokenizer: {choice}")
            size = choice.size
        return train(route.lines, size)

    def adapt(self, place: Path) -> None:
        route = self.route
        chosen: dict[str, Any] = {
            "source_languages": [route.pivot] if route.pivot else None,
            "target_text": route.lines,
            "seed": route.seed,
        }
        free = not {"method", "authors_compatible"} & self.options("adapt").keys()
        if route.contrasts and free:
            chosen["language_offset"] = OFFSET_WITH_PAIRS
        if route.is_causal and free:
            chosen["method"] = METHOD_OF_DECODERS
            self.say(
                f"adapt: rows by {METHOD_OF_DECODERS}, which gives decoders fewer bits, with training as well; "
                "--set adapt.method=ofa retrieves translations better"
            )
        chosen.update(self.options("adapt"))
        vectors = route.word_vectors or str(self.folder / "vectors")
        tokenizer = str(self.folder / "tokenizer")
        adapted = OfaInitializer.from_pretrained(
            route.source, target_tokenizer=tokenizer, word_vectors=vectors, **chosen
        )
        adapted.save_pretrained(place, overwrite=True)
        for warning in adapted.report.warnings:
            self.say(f"Note: {warning}")

    def before(self, place: Path) -> None:
        self._measure([self.route.source, str(self.folder / "adapted")], place)

    def encoder(self, place: Path) -> None:
        """The trained masked language model as a sentence encoder, as far as its architecture can be cut."""
        route = self.route
        trained = load_language_model(str(self.folder / "trained"), device="cpu" if route.cpu else None)
        try:
            encoder, modules = sentence_encoder(trained.model, trained.tokenizer, route.lines)
        except ValueError as error:
            self.say(f"Note: no sentence encoder is made: {error}")
            return
        save_sentence_encoder(encoder, trained.tokenizer, modules, place, overwrite=True)
        self.say(
            f"encoder: the lower {encoder.config.num_hidden_layers} layers, less what tells {len(route.lines)} languages "
            "apart"
        )

    @property
    def encoder_folder(self) -> Path | None:
        """That of the sentence encoder, where one was made."""
        place = self.folder / "encoder"
        return place if self.route.contrasts and place.is_dir() else None

    def after(self, place: Path) -> None:
        trained, adapted = self.folder / "trained", self.folder / "adapted"
        made = [trained] if self.encoder_folder is None else [trained, self.encoder_folder]
        found = self._measure([str(path) for path in made], place)
        for name in (REPORT_FILE, PAGE_FILE):
            shutil.copyfile(adapted / name, trained / name)
        card_of_folder(trained).save(trained / CARD_FILE)
        write_card_results(trained, [each for each in found if each.model == str(trained)])

    def _measure(self, models: list[str], place: Path) -> list[Measurement]:
        route = self.route
        found: list[Measurement] = []
        device = "cpu" if route.cpu else None
        if route.translations:
            from ..evaluation import read_segments_by_id

            texts = read_segments_by_id(route.parallel_files, pivot=route.pivot, ids=route.held_out_ids)
            found += evaluate_retrieval(
                models,
                texts,
                name="held out",
                pivot=route.pivot,
                top=[1],
                layer=route.layer,
                center=False,
                device=device,
            )
        heads = [name for name in models if language_model_loader(model_class(name, load_config(name, {})).__name__)]
        if heads and route.translations and not route.distills:
            held = {
                language: [lines[key] for key in route.held_out_ids[:16]]
                for language, lines in route.translations.items()
            }
            found += evaluate_perplexity(heads, held, name="held out", device=device)
        with new_folder(place, overwrite=True) as folder:
            text = dumps([vars(measurement) for measurement in found], indent=1, ensure_ascii=False)
            (folder / "results.json").write_text(text + "\n", encoding="utf-8")
        return found

    @property
    def steps(self) -> int:
        return self.route.steps or default_steps(self.route.lines)

    @property
    def learning_rate(self) -> float:
        return self.route.learning_rate or default_learning_rate(self.route.source, self.route.distills)

    def train(self, place: Path) -> None:
        route, options = self.route, self.options("train")
        data = {name: options.pop(name) for name in list(options) if name in DataArguments.__dataclass_fields__}
        every = options.get("eval_steps") or options.get("save_steps") or max(1, self.steps // 4)
        pairs = {}
        if route.translations:
            pairs = {
                "parallel": route.parallel_files,
                "parallel_exclude": str(self.folder / "unused.tsv"),
                "parallel_validation": str(self.folder / "held_out.tsv"),
                "validation_lines": 50,
            }
        if route.is_causal:
            pairs["joined_pairs"] = True
        if route.distills:
            pairs["teacher"] = route.source
        elif route.contrasts and route.all_parallel:
            pairs["mlm_probability"] = MASKED_IN_PAIRS
            pairs["parallel_share"] = 1.0  # both sides are masked: nothing is left for batches of lines alone
        measured = bool(route.translations) and not route.is_causal  # whose retrieval nothing trains
        texts = None if route.distills else [str(path) for path in route.texts]
        settings = {
            "max_steps": self.steps,
            "learning_rate": self.learning_rate,
            "warmup_steps": 0.1,
            "per_device_train_batch_size": SAMPLES,
            "eval_strategy": "steps" if route.translations else "no",
            "eval_steps": every,
            "save_steps": every,
            "save_total_limit": 1,
            "load_best_model_at_end": measured,
            "metric_for_best_model": "retrieval" if measured else None,
            "early_stopping_patience": 3 if measured else 0,
            "report_to": "none",
            "disable_tqdm": not logging.is_progress_bar_enabled(),
            "use_cpu": route.cpu,
            "bf16": route.in_bfloat16,
            "seed": route.seed,
            **options,
        }
        if settings["max_steps"] % settings["eval_steps"]:
            settings["max_steps"] -= settings["max_steps"] % settings["eval_steps"]  # the last one is measured, too
        low = " in bfloat16" if settings["bf16"] else ""
        self.say(f"train: {settings['max_steps']:,} steps at {settings['learning_rate']:g}{low}")
        pretrain(
            ModelArguments(str(self.folder / "adapted")),
            DataArguments(**{"train": texts, "max_seq_length": sample_tokens(route.source), **pairs, **data}),
            PretrainingArguments(output_dir=str(place), **settings),
            causal=route.is_causal,
            display=self.display,
        )
