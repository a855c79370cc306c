"""Transformers' own example scripts, unchanged, on our checkpoints: with remote code, and on the dense export.

The scripts are no part of Transformers' source distribution. They are read from .venv/transformers-examples, where
`make examples-suite` puts them, or from the folder that TRANSFORMERS_EXAMPLES names (`examples/pytorch` of a clone).
"""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers
from conftest import TEXT, build_byte_bpe, build_unigram
from safetensors.torch import load_file
from tiny_models import LM_HEADS, make_config


FOLDER = Path(os.environ.get("TRANSFORMERS_EXAMPLES", Path(sys.prefix, "transformers-examples")))
TAGS = ("O", "B-PLACE", "I-PLACE")

# `evaluate` reads metrics from the Hub, or from a folder of this name below the current one.
METRIC = """
import datasets
import evaluate


class Metric(evaluate.Metric):
    def _info(self):
        features = datasets.Features({features})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references, **options):
        return {result}
"""
_LABELS = '{"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}'
_TAGS = (
    '{"predictions": datasets.Sequence(datasets.Value("string")), '
    '"references": datasets.Sequence(datasets.Value("string"))}'
)
_ANSWERS = (
    '{"predictions": {"id": datasets.Value("string"), "prediction_text": datasets.Value("string")}, '
    '"references": {"id": datasets.Value("string"), "answers": datasets.Sequence({"text": datasets.Value("string"), '
    '"answer_start": datasets.Value("int32")})}}'
)
METRICS = {
    "accuracy": (_LABELS, '{"accuracy": sum(p == r for p, r in zip(predictions, references)) / len(references)}'),
    "seqeval": (
        _TAGS,
        'dict.fromkeys(("overall_precision", "overall_recall", "overall_f1", "overall_accuracy"), 0.5)',
    ),
    "squad": (_ANSWERS, '{"exact_match": 0.0, "f1": 0.0}'),
}


@dataclass(frozen=True)
class Script:
    """One of the scripts, and what it needs beside the options that all of its kind share."""

    path: str
    head: str  # of the Auto class that loads what it saves
    arguments: tuple[str, ...]
    model: str = "encoder"

    @property
    def name(self) -> str:
        return Path(self.path).stem

    def run(self, root: Path, form: str, steps: int = 2, output: str | None = None) -> dict:
        """As an entry of example_runs.py's list; `output` is another name for the folder that it writes."""
        options = {
            "model_name_or_path": root / f"{self.model}-{form}",
            "output_dir": root / (output or f"{self.name}-{form}"),
            "per_device_train_batch_size": 4,
            "per_device_eval_batch_size": 4,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "constant",
            "seed": 1,
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        if "no_trainer" in self.name:
            arguments += ["--max_train_steps", str(steps)]
        else:
            arguments += ["--do_train", "--do_eval", "--max_steps", str(steps), "--save_steps", "1", "--use_cpu"]
            arguments += ["--report_to", "none"]
        if form == "remote":
            arguments += ["--trust_remote_code"]
            if self.name == "run_glue_no_trainer":  # the one that wants a value
                arguments += ["True"]
        return {"script": str(FOLDER / self.path), "arguments": [*arguments, *self.arguments]}


def _files(kind: str, ending: str) -> tuple[str, ...]:
    return ("--train_file", f"{kind}-train.{ending}", "--validation_file", f"{kind}-validation.{ending}")


LANGUAGE_MODELLING = _files("text", "txt")
TAGGING = (*_files("tags", "json"), "--text_column_name", "tokens", "--label_column_name", "tags")
LABELS = _files("labels", "csv")
ANSWERS = (*_files("answers", "json"), "--max_seq_length", "48", "--doc_stride", "8")
SCRIPTS = (
    Script("language-modeling/run_mlm.py", "MaskedLM", (*LANGUAGE_MODELLING, "--max_seq_length", "32")),
    Script("language-modeling/run_mlm_no_trainer.py", "MaskedLM", (*LANGUAGE_MODELLING, "--max_seq_length", "32")),
    Script("language-modeling/run_clm.py", "CausalLM", (*LANGUAGE_MODELLING, "--block_size", "32"), "decoder"),
    Script(
        "language-modeling/run_clm_no_trainer.py", "CausalLM", (*LANGUAGE_MODELLING, "--block_size", "32"), "decoder"
    ),
    Script("token-classification/run_ner.py", "TokenClassification", TAGGING),
    Script("token-classification/run_ner_no_trainer.py", "TokenClassification", TAGGING),
    Script(
        "text-classification/run_classification.py",
        "SequenceClassification",
        (*LABELS, "--text_column_names", "sentence", "--max_seq_length", "32"),
    ),
    Script("text-classification/run_glue.py", "SequenceClassification", (*LABELS, "--max_seq_length", "32")),
    Script("text-classification/run_glue_no_trainer.py", "SequenceClassification", (*LABELS, "--max_length", "32")),
    Script("question-answering/run_qa.py", "QuestionAnswering", ANSWERS),
    Script("question-answering/run_qa_no_trainer.py", "QuestionAnswering", ANSWERS),
)
FORMS = ("remote", "dense")


def write_inputs(root: Path) -> None:
    """Models in both forms, the metrics, and text, tags, labels and answers in the scripts' formats."""
    for name, family, build in (("encoder", "xlm-roberta", build_unigram), ("decoder", "gpt2", build_byte_bpe)):
        tokenizer = build()
        torch.manual_seed(0)
        special = {"bos_token_id": 0, "eos_token_id": 2} if family == "gpt2" else {}
        model = LM_HEADS[family](make_config(family, vocab_size=len(tokenizer), **special))
        model.save_pretrained(root / f"{name}-remote")
        model.to_dense().save_pretrained(root / f"{name}-dense")
        for form in FORMS:
            tokenizer.save_pretrained(root / f"{name}-{form}")
    for name, (features, result) in METRICS.items():
        (root / name).mkdir()
        (root / name / f"{name}.py").write_text(METRIC.format(features=features, result=result))
    for part in ("train", "validation"):
        (root / f"text-{part}.txt").write_text("\n".join(TEXT) + "\n")
        rows = [{"tokens": line.split(), "tags": [TAGS[len(w) % 3] for w in line.split()]} for line in TEXT]
        (root / f"tags-{part}.json").write_text("\n".join(map(json.dumps, rows)) + "\n")
        with open(root / f"labels-{part}.csv", "w", newline="") as file:
            csv.writer(file).writerows([("sentence", "label"), *((line, len(line) % 2) for line in TEXT)])
        answers = [
            {
                "id": str(number), "title": "", "context": line, "question": line.split()[0],
                "answers": {"text": [line.split()[-1]], "answer_start": [line.rindex(line.split()[-1])]},
            }
            for number, line in enumerate(TEXT[:8])
        ]  # fmt: skip
        (root / f"answers-{part}.json").write_text(json.dumps({"data": answers}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, dict[str, int]]:
    """All scripts on both forms, and run_mlm.py interrupted after a step and not; the last exit code by output folder."""
    if not Path(FOLDER, SCRIPTS[0].path).is_file():
        pytest.skip(f"Transformers' example scripts are not in {FOLDER}; `make examples-suite` fetches them")
    pytest.importorskip("evaluate", reason="Transformers' example scripts need the package evaluate")
    root = tmp_path_factory.mktemp("examples")
    write_inputs(root)
    jobs = {f"{script.name}-{form}": script.run(root, form) for form in FORMS for script in SCRIPTS}
    for form in FORMS:
        jobs[f"stopped-{form}"] = SCRIPTS[0].run(root, form, 1, f"resumed-{form}")
        jobs[f"resumed-{form}"] = SCRIPTS[0].run(root, form, 2, f"resumed-{form}")
    (root / "runs.json").write_text(json.dumps(list(jobs.values())))
    caches = {"HF_HOME": root / "cache", "HF_MODULES_CACHE": root / "modules", "HF_DATASETS_CACHE": root / "datasets"}
    environment = {
        **os.environ, **{name: str(folder) for name, folder in caches.items()}, "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("example_runs.py").resolve()), "runs.json"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    codes = json.loads((root / "runs.json.codes").read_text())
    return root, dict(zip(jobs, codes))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_example_script(runs, script: Script, form: str):
    """It trains every part of the model, evaluates, and saves what loads again in the same form."""
    root, codes = runs
    output = root / f"{script.name}-{form}"
    assert codes[output.name] == 0, (root / "runs.json.log").read_text()[-8000:]
    assert json.loads((output / "all_results.json").read_text())
    auto = getattr(transformers, f"AutoModelFor{script.head}")
    model, info = auto.from_pretrained(output, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    factorized = type(model).__name__.startswith("Ofa")
    assert factorized is (form == "remote")
    assert (output / "modeling_ofa.py").is_file() is (form == "remote")
    start, end = (load_file(root / f"{script.model}-{form}" / "model.safetensors"), model.state_dict())
    embeddings = [name for name in start if "word_embeddings" in name or "wte" in name]
    assert len(embeddings) == (2 if factorized else 1)
    assert all((start[name] != end[name]).any() for name in embeddings)


@pytest.mark.parametrize("form", FORMS)
def test_interrupted_run_goes_on(runs, form: str):
    root, codes = runs
    assert codes[f"stopped-{form}"] == codes[f"resumed-{form}"] == 0, (root / "runs.json.log").read_text()[-8000:]
    state = json.loads((root / f"resumed-{form}" / "trainer_state.json").read_text())
    assert state["global_step"] == 2
    expected = load_file(root / f"run_mlm-{form}" / "model.safetensors")
    resumed = load_file(root / f"resumed-{form}" / "model.safetensors")
    assert expected.keys() == resumed.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(resumed[name], tensor, msg=lambda text, name=name: f"{name}: {text}")
