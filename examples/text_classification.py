"""Fine-tune a checkpoint for classification of texts, with Trainer.

    python examples/text_classification.py --model adapted --train train.csv --test test.csv --output_dir classifier
    python examples/text_classification.py --model adapted --dataset Davlan/sib200 --config deu_Latn \
        --label_column category --output_dir classifier

Files are CSV or JSON (.json, .jsonl) with a text and a label a row; the labels are read as they stand. Needs
`pip install 'ofa-transformers[training]'`.
"""

import argparse
from pathlib import Path

import numpy as np
from datasets import DatasetDict, load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainingArguments,
)

import ofa_transformers  # noqa: F401 (registers the factorized models)


def load(arguments: argparse.Namespace) -> DatasetDict:
    if arguments.dataset:
        return load_dataset(arguments.dataset, arguments.config)
    kind = "csv" if Path(arguments.train).suffix == ".csv" else "json"
    return load_dataset(kind, data_files={"train": arguments.train, "test": arguments.test})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint: a folder or a Hub id")
    parser.add_argument("--dataset", help="on the Hub, with splits train and test; or --train and --test")
    parser.add_argument("--config", help="of the dataset, often a language")
    parser.add_argument("--train", help="CSV or JSON file")
    parser.add_argument("--test", help="CSV or JSON file, of another language if you like")
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--label_column", default="label")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--batch_size", type=int, default=16, help="texts")
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    arguments = parser.parse_args()
    if not arguments.dataset and not (arguments.train and arguments.test):
        parser.error("give --dataset, or --train and --test")

    data = load(arguments).select_columns([arguments.text_column, arguments.label_column])
    data = data.rename_columns({arguments.text_column: "text", arguments.label_column: "label"})
    labels = getattr(data["train"].features["label"], "names", None)
    if labels is None:
        # Words, or numbers that may start anywhere; a split may lack some of them.
        values = sorted({value for part in data.values() for value in part.unique("label")})
        labels, numbers = [str(value) for value in values], {value: number for number, value in enumerate(values)}
        data = data.map(lambda row: {"labels": numbers[row["label"]]}, remove_columns="label")
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    # Checkpoints may be in half precision, in which small steps are lost.
    model = AutoModelForSequenceClassification.from_pretrained(
        arguments.model,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        dtype="float32",
    )

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.argmax(prediction.predictions, axis=-1) == prediction.label_ids))}

    data = data.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True, remove_columns=["text"])
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=arguments.output_dir,
            num_train_epochs=arguments.epochs,
            per_device_train_batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=data["train"],
        eval_dataset=data["test"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    trainer.log_metrics("test", trainer.evaluate())
    trainer.save_model()


if __name__ == "__main__":
    main()
