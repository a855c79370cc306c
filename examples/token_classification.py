"""Fine-tune a checkpoint for tagging (named entities, parts of speech), with Trainer.

    python examples/token_classification.py --model adapted --train train.conll --test dev.conll --output_dir tagger

The files are CoNLL: one word a line, its tag in the last column, an empty line between sentences. Needs
`pip install 'ofa-transformers[training,evaluation]'`.
"""

import argparse
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict
from seqeval.metrics import accuracy_score, f1_score
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    EvalPrediction,
    Trainer,
    TrainingArguments,
)

import ofa_transformers  # noqa: F401 (registers the factorized models)
from ofa_transformers.evaluation.tagging import word_prefix


def read_conll(path: str) -> Dataset:
    """Sentences as lists of words and of tags."""
    blocks = Path(path).read_text(encoding="utf-8").strip().split("\n\n")
    columns = [[line.split() for line in block.splitlines() if not line.startswith("#")] for block in blocks]
    columns = [sentence for block in columns if (sentence := [line for line in block if line])]
    return Dataset.from_dict(
        {
            "words": [[line[0] for line in sentence] for sentence in columns],
            "tags": [[line[-1] for line in sentence] for sentence in columns],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint: a folder or a Hub id")
    parser.add_argument("--train", required=True, help="CoNLL file")
    parser.add_argument("--test", required=True, help="CoNLL file, of another language if you like")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--batch_size", type=int, default=16, help="sentences")
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    arguments = parser.parse_args()

    data = DatasetDict(train=read_conll(arguments.train), test=read_conll(arguments.test))
    labels = sorted({tag for part in data.values() for tags in part["tags"] for tag in tags})
    ids = {label: number for number, label in enumerate(labels)}
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    space = word_prefix(tokenizer)  # by which RoBERTa's and Gemma's tokenizers know where a word begins
    # Checkpoints may be in half precision, in which small steps are lost.
    model = AutoModelForTokenClassification.from_pretrained(
        arguments.model, id2label=dict(enumerate(labels)), label2id=ids, dtype="float32"
    )

    def encode(batch: dict) -> dict:
        words = [[space + word for word in sentence] for sentence in batch["words"]]
        encoded = tokenizer(words, is_split_into_words=True, truncation=True)
        encoded["labels"] = []
        for number, tags in enumerate(batch["tags"]):
            places = encoded.word_ids(number)
            # The first token of a word carries its tag.
            first = [word is not None and word != before for word, before in zip(places, [None, *places])]
            encoded["labels"].append([ids[tags[word]] if keep else -100 for word, keep in zip(places, first)])
        return encoded

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        predicted, gold = np.argmax(prediction.predictions, axis=-1), prediction.label_ids
        predicted = [[labels[p] for p, g in zip(*rows) if g != -100] for rows in zip(predicted, gold)]
        gold = [[labels[g] for g in row if g != -100] for row in gold]
        scores = {"accuracy": accuracy_score(gold, predicted)}
        # Parts of speech are no spans.
        return scores if "O" not in ids else {**scores, "f1": f1_score(gold, predicted)}

    data = data.map(encode, batched=True, remove_columns=["words", "tags"])
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
        data_collator=DataCollatorForTokenClassification(tokenizer),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    trainer.log_metrics("test", trainer.evaluate())
    trainer.save_model()


if __name__ == "__main__":
    main()
