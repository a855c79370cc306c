"""Fine-tune a checkpoint for extractive question answering, with Trainer.

    python examples/question_answering.py --model adapted --train train.json --test dev.json --output_dir reader

The files are SQuAD's JSON (data > paragraphs > qas; also XQuAD, MLQA, TyDi QA's gold passages); questions without
answers are left out. An encoder with a fast tokenizer. Needs `pip install 'ofa-transformers[training]'`.
"""

import argparse
import json
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

import ofa_transformers  # noqa: F401 (registers the factorized models)


def read_squad(path: str) -> Dataset:
    articles = json.loads(Path(path).read_text(encoding="utf-8"))["data"]
    rows = [
        {"question": question["question"], "context": paragraph["context"], "answers": question["answers"]}
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
        if question["answers"]
    ]
    if not rows:
        raise SystemExit(f"{path} has no question with an answer.")
    return Dataset.from_list(rows)


def best_span(start: np.ndarray, end: np.ndarray, offsets: list, max_tokens: int = 30) -> tuple[float, slice]:
    """The score and the characters of the best span of at most `max_tokens` tokens within the context."""
    context = np.array([i for i, offset in enumerate(offsets) if offset is not None])
    scores = start[context, None] + end[None, context]
    distance = context[None, :] - context[:, None]
    scores = np.where((distance >= 0) & (distance < max_tokens), scores, -np.inf)
    first, last = np.unravel_index(scores.argmax(), scores.shape)
    return scores.max(), slice(offsets[context[first]][0], offsets[context[last]][1])


def words(text: str) -> list[str]:
    """As SQuAD compares answers: no case, punctuation, nor English articles."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(predicted: str, gold: str) -> float:
    ours, theirs = words(predicted), words(gold)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs)) if shared else float(ours == theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint: a folder or a Hub id")
    parser.add_argument("--train", required=True, help="SQuAD's JSON")
    parser.add_argument("--test", required=True, help="SQuAD's JSON, of another language if you like")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--batch_size", type=int, default=16, help="windows of a context")
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--max_length", type=int, default=384, help="tokens of question and window")
    parser.add_argument("--stride", type=int, default=128, help="tokens that neighbouring windows share")
    arguments = parser.parse_args()
    train, test = read_squad(arguments.train), read_squad(arguments.test)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    # Checkpoints may be in half precision, in which small steps are lost.
    model = AutoModelForQuestionAnswering.from_pretrained(arguments.model, dtype="float32")

    max_length = min(arguments.max_length, tokenizer.model_max_length)

    def encode(batch: dict) -> dict:
        encoded = tokenizer(
            batch["question"], batch["context"], truncation="only_second", return_overflowing_tokens=True,
            max_length=max_length, stride=min(arguments.stride, max_length // 3),
            return_offsets_mapping=True,
        )  # fmt: skip
        encoded["row"] = encoded.pop("overflow_to_sample_mapping")
        encoded["start_positions"], encoded["end_positions"], windows = [], [], []
        for window, (row, offsets) in enumerate(zip(encoded["row"], encoded.pop("offset_mapping"))):
            offsets = [o if part == 1 else None for o, part in zip(offsets, encoded.sequence_ids(window))]
            answer = batch["answers"][row][0]
            start, stop = answer["answer_start"], answer["answer_start"] + len(answer["text"])
            first = [i for i, o in enumerate(offsets) if o and o[0] <= start < o[1]]
            last = [i for i, o in enumerate(offsets) if o and o[0] < stop <= o[1]]
            # A window without the whole answer points at its first token.
            encoded["start_positions"].append(first[0] if first and last else 0)
            encoded["end_positions"].append(last[0] if first and last else 0)
            windows.append(offsets)
        return {**encoded, "offsets": windows}

    # One batch: `row` then counts from the first question.
    columns = train.column_names
    train = train.map(encode, batched=True, batch_size=None, remove_columns=columns)
    windows = test.map(encode, batched=True, batch_size=None, remove_columns=columns)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=arguments.output_dir, num_train_epochs=arguments.epochs,
            per_device_train_batch_size=arguments.batch_size, learning_rate=arguments.learning_rate,
            save_strategy="no", report_to="none",
        ),
        train_dataset=train.remove_columns(["row", "offsets"]),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
    )  # fmt: skip
    trainer.train()
    trainer.save_model()

    start, end = trainer.predict(windows.remove_columns(["row", "offsets"])).predictions[:2]
    best: dict[int, tuple[float, slice]] = {}
    for number, (row, offsets) in enumerate(zip(windows["row"], windows["offsets"])):
        best[row] = max(
            best.get(row, (-np.inf, slice(0))), best_span(start[number], end[number], offsets), key=lambda b: b[0]
        )
    answers = [test[row]["context"][span] for row, (_, span) in sorted(best.items())]
    golds = [[answer["text"] for answer in answers] for answers in test["answers"]]
    trainer.log_metrics(
        "test",
        {
            "exact_match": np.mean(
                [any(words(a) == words(g) for g in gold) for a, gold in zip(answers, golds)]
            ).item(),
            "f1": np.mean([max(f1(a, g) for g in gold) for a, gold in zip(answers, golds)]).item(),
        },
    )


if __name__ == "__main__":
    main()
