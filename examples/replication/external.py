"""Embeddings made by the packages of other methods, for `run.py --initializations focus-c wechsel-c`.

    pip install deepfocus wechsel gensim     # beside ofa-transformers; an environment of their own keeps versions apart
    python examples/replication/external.py focus --bible BIBLE -o results
    python examples/replication/external.py wechsel --bible BIBLE -o results

RESULTS is the folder of run.py, which has made sources, tokenizer and word vectors there. FOCUS (Dobler and de Melo,
2023) trains fastText on the training text, cut by the target tokenizer. WECHSEL (Minixhofer et al., 2022) takes word
vectors that are aligned already: ours, those of the source's languages on one side and all of them on the other.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from other_study import read_bible, read_ids, training_text
from run import LANGUAGES, SOURCE_LANGUAGES
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerBase

from ofa_transformers import WordVectors
from ofa_transformers.utils.files import new_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["focus", "wechsel"])
    parser.add_argument("--bible", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder of run.py")
    parser.add_argument("--source", choices=SOURCE_LANGUAGES, default="minilm")
    args = parser.parse_args()
    path = args.output / "sources" / args.source
    source, target = AutoTokenizer.from_pretrained(path), AutoTokenizer.from_pretrained(args.output / "tokenizer")
    embeddings = AutoModelForMaskedLM.from_pretrained(path).get_input_embeddings().weight.detach()
    if args.method == "focus":
        text = training_text(read_bible(args.bible, LANGUAGES), set(read_ids(args.bible / "train_exclude.txt")))
        rows = focus(source, target, embeddings, [line for verses in text.values() for line in verses.values()])
    else:
        vectors = WordVectors.load(args.output / "vectors")
        rows = wechsel(source, target, embeddings, vectors, SOURCE_LANGUAGES[args.source])
    folder = args.output / "external" / args.source
    folder.mkdir(parents=True, exist_ok=True)
    with new_file(folder / f"{args.method}.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, rows.astype(np.float32))
    print(f"{rows.shape[0]:,} rows are in {folder / args.method}.npy")


def focus(
    source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase, embeddings: torch.Tensor, lines: list[str]
) -> np.ndarray:
    from deepfocus import FOCUS

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text.jsonl")
        path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
        rows = FOCUS(
            target_tokenizer=target,
            source_tokenizer=source,
            source_embeddings=embeddings,
            target_training_data_path=str(path),
            processes=1,
            seed=0,
        )
    return rows.detach().numpy()


def wechsel(
    source: PreTrainedTokenizerBase,
    target: PreTrainedTokenizerBase,
    embeddings: torch.Tensor,
    vectors: WordVectors,
    source_languages: list[str],
) -> np.ndarray:
    from wechsel import WECHSEL

    known = np.isin(vectors.languages, source_languages)
    method = WECHSEL(_gensim(vectors, known), _gensim(vectors, np.ones(len(vectors), bool)), align_strategy=None)
    rows, _ = method.apply(source, target, embeddings.numpy(), use_subword_info=False)
    return rows


def _gensim(vectors: WordVectors, chosen: np.ndarray):
    """As gensim keeps them, which WECHSEL reads: one vector for each form, the mean over languages by frequency."""
    from gensim.models import Word2Vec

    forms, index = np.unique([word.strip("$") for word in np.array(vectors.words)[chosen]], return_inverse=True)
    counts = np.asarray(vectors.frequencies[chosen], dtype=np.float64)
    totals = np.bincount(index, counts)
    means = np.zeros((len(forms), vectors.dimension))
    np.add.at(means, index, counts[:, None] * vectors.vectors[chosen])
    means /= totals[:, None]
    order = np.argsort(-totals, kind="stable")
    model = Word2Vec(vector_size=vectors.dimension)
    model.wv.add_vectors(forms[order].tolist(), means[order].astype(np.float32))
    model.wv.expandos["count"] = totals[order]
    return model


if __name__ == "__main__":
    main()
