"""Train a bilingual retriever from an adapted encoder in minutes, with sentence-transformers.

    python examples/sentence_retriever.py --model adapted --output_dir retriever
    python examples/sentence_retriever.py --model adapted --train pairs.tsv --test heldout.tsv --output_dir retriever

The files hold a sentence, a tab, and its translation a line; without them, the demo's parallel text of --language is
taken. Prints how many held-out translations are found, of all test sentences, before and after training. Needs
`pip install 'ofa-transformers[sentence-transformers,training]'`.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

import ofa_transformers  # noqa: F401 (registers the factorized models)
from ofa_transformers.demo.data import load_parallel_text


Pairs = list[tuple[str, str]]


def read_pairs(path: str) -> Pairs:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [(source, target) for source, target in (line.split("\t")[:2] for line in lines if "\t" in line)]


def demo_pairs(language: str) -> tuple[Pairs, Pairs]:
    text = load_parallel_text([language])
    parts = [(part["eng_Latn"], part[language]) for part in (text.train, text.heldout)]
    train, heldout = [[(english[key], other[key]) for key in other if key in english] for english, other in parts]
    return train, heldout


def retrieval(model: SentenceTransformer, pairs: Pairs) -> float:
    """The share of sentences whose nearest neighbour is their translation."""
    sources, targets = (model.encode(list(side), convert_to_tensor=True) for side in zip(*pairs))
    nearest = model.similarity(sources, targets).argmax(dim=1).cpu()
    return (nearest == torch.arange(len(pairs))).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint: a folder or a Hub id")
    parser.add_argument("--train", help="tab-separated pairs")
    parser.add_argument("--test", help="tab-separated pairs")
    parser.add_argument("--language", default="deu_Latn", help="of the demo's text, where no files are given")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--batch_size", type=int, default=16, help="pairs; the others of a batch are the negatives")
    parser.add_argument("--learning_rate", type=float, default=2e-4)
    arguments = parser.parse_args()
    if bool(arguments.train) != bool(arguments.test):
        parser.error("give both --train and --test, or neither")

    train, test = demo_pairs(arguments.language)
    if arguments.train:
        train, test = read_pairs(arguments.train), read_pairs(arguments.test)
    # Checkpoints may be in half precision, in which small steps are lost.
    body = Transformer(arguments.model, model_kwargs={"dtype": "float32"})
    model = SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension(), pooling_mode="mean")])
    before = retrieval(model, test)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=scratch,
                num_train_epochs=arguments.epochs,
                per_device_train_batch_size=arguments.batch_size,
                learning_rate=arguments.learning_rate,
                warmup_steps=0.1,
                save_strategy="no",
                report_to="none",
            ),
            train_dataset=Dataset.from_dict(dict(zip(("anchor", "positive"), map(list, zip(*train))))),
            loss=MultipleNegativesRankingLoss(model),
        )
        trainer.train()
    model.save_pretrained(arguments.output_dir)
    # As whoever uses it will:
    after = retrieval(SentenceTransformer(arguments.output_dir), test)
    print(f"translations found among {len(test)}: {before:.1%} before, {after:.1%} after training")


if __name__ == "__main__":
    main()
