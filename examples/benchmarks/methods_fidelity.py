"""Rows of our methods beside those of the published packages, on the same inputs.

    python examples/benchmarks/methods_fidelity.py inputs MINILM ../shared/data/bible -o fidelity
    # in an environment of its own: pip install torch deepfocus wechsel gensim mergekit
    python examples/benchmarks/methods_fidelity.py published -o fidelity
    python examples/benchmarks/methods_fidelity.py compare -o fidelity

MINILM is a BERT style encoder with its tokenizer. The packages run unchanged; FOCUS' fastText vectors and WECHSEL's
words are handed to both. `compare` prints, for the rows that both compose, the largest difference, and how the sets of
composed rows differ.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np


LANGUAGES = ["eng", "deu", "swh"]
LINES = 4000
ATOMS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("inputs", "published", "compare"):
        step = steps.add_parser(name)
        step.add_argument("-o", "--output", type=Path, required=True)
        if name == "inputs":
            step.add_argument("source")
            step.add_argument("bible", type=Path)
    args = parser.parse_args()
    if args.step == "inputs":
        make_inputs(args.source, args.bible, args.output)
    elif args.step == "published":
        run_published(args.output)
    else:
        compare(args.output)


def make_inputs(source: str, bible: Path, output: Path) -> None:
    """Source, target tokenizer, text, and vectors of words without regard to language, as WECHSEL knows them."""
    import gzip

    from transformers import AutoModel, AutoTokenizer

    from ofa_transformers import WordVectors
    from ofa_transformers.tokenization import train_tokenizer

    output.mkdir(parents=True, exist_ok=True)
    text = {}
    for language in LANGUAGES:
        path = min(bible.glob(f"{language}_*.tsv.gz"))
        with gzip.open(path, "rt", encoding="utf-8") as file:
            pairs = (line.rstrip("\n").split("\t", 1) for line in file)
            text[language] = [
                (key, verse) for key, verse in pairs if key.startswith("b.MAT") or key.startswith("b.LUK")
            ]
    tokenizer = train_tokenizer({code: [line for _, line in lines] for code, lines in text.items()}, 4000)
    tokenizer.save_pretrained(output / "target")
    model = AutoModel.from_pretrained(source)
    AutoTokenizer.from_pretrained(source).save_pretrained(output / "source")
    embeddings = model.get_input_embeddings().weight.detach().numpy()
    np.save(output / "embeddings.npy", embeddings)
    lines = [line for code in LANGUAGES for _, line in text[code]]
    (output / "text.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines[:LINES]))
    vectors = WordVectors.from_parallel(text, dim=100, min_count=2)
    # One vector and one count for each form, in any language: the mean by frequency.
    forms, index = np.unique([word.strip("$") for word in vectors.words], return_inverse=True)
    counts = np.bincount(index, vectors.frequencies)
    sums = np.zeros((len(forms), vectors.dimension))
    np.add.at(sums, index, vectors.frequencies[:, None] * vectors.vectors)
    order = np.argsort(-counts, kind="stable")
    np.savez(
        output / "words.npz",
        words=forms[order],
        counts=counts[order],
        vectors=(sums / counts[:, None])[order].astype(np.float32),
    )


def run_published(output: Path) -> None:
    """What the packages make; needs them, and not this package."""
    import torch
    from transformers import AutoTokenizer

    source, target = (AutoTokenizer.from_pretrained(output / name) for name in ("source", "target"))
    embeddings = torch.from_numpy(np.load(output / "embeddings.npy"))
    rows: dict[str, np.ndarray] = {}

    import fasttext
    from deepfocus import FOCUS
    from deepfocus.focus import get_overlapping_tokens

    tokenized = output / "tokenized.txt"
    lines = [json.loads(line)["text"] for line in (output / "text.jsonl").read_text().splitlines()]
    tokenized.write_text("\n".join(" ".join(target.tokenize(line)) for line in lines))
    model = fasttext.train_unsupervised(str(tokenized), dim=50, neg=10, model="cbow", epoch=3, minCount=5, thread=1)
    model.save_model(str(output / "fasttext.bin"))
    auxiliary = np.zeros((len(target), 50), dtype=np.float32)
    for token, index in target.get_vocab().items():
        if token in model:
            auxiliary[index] = model[token]
    np.save(output / "auxiliary.npy", auxiliary)
    overlap, _ = get_overlapping_tokens(target, source, False, True, False)
    rows["focus_overlap"] = np.array([(each.target.id, each.source[0].id) for each in overlap.values()])
    rows["focus"] = FOCUS(
        target_tokenizer=target,
        source_tokenizer=source,
        source_embeddings=embeddings,
        fasttext_model_path=str(output / "fasttext.bin"),
    ).numpy()

    from gensim.models import Word2Vec
    from wechsel import WECHSEL

    words = np.load(output / "words.npz")
    keyed = Word2Vec(vector_size=words["vectors"].shape[1])
    keyed.wv.add_vectors(words["words"].tolist(), words["vectors"])
    keyed.wv.expandos["count"] = words["counts"]
    method = WECHSEL(keyed, keyed, align_strategy=None)
    rows["wechsel"], _ = method.apply(source, target, embeddings.numpy(), use_subword_info=False)

    try:
        from mergekit.tokensurgeon.omp import batch_omp
    except ImportError:
        print("mergekit is not installed; its sparse codes are left out")
    else:
        indices, coefficients = batch_omp(embeddings[1000:1064], embeddings[2000:8000], ATOMS)
        rows["omp_indices"], rows["omp_coefficients"] = indices.numpy(), coefficients.numpy()
    np.savez(output / "published.npz", **rows)


def compare(output: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    from ofa_transformers import WordVectors
    from ofa_transformers.initialization.mapping.matches import Matches, MatchKind
    from ofa_transformers.initialization.methods import MethodInputs
    from ofa_transformers.initialization.methods.focus import compose_of_overlap
    from ofa_transformers.initialization.methods.omp import sparse_codes
    from ofa_transformers.initialization.methods.wechsel import wechsel
    from ofa_transformers.initialization.settings import InitializationSettings
    from ofa_transformers.mapping import TokenKind

    published = np.load(output / "published.npz")
    source, target = (AutoTokenizer.from_pretrained(output / name) for name in ("source", "target"))
    embeddings = np.load(output / "embeddings.npy")
    words = np.load(output / "words.npz")
    vectors = WordVectors(
        words["words"].tolist(), np.full(len(words["words"]), "und"), words["vectors"], words["counts"]
    )
    inputs = MethodInputs(
        source, target, len(embeddings), InitializationSettings(fuzzy_match=False), word_vectors=vectors
    )
    auxiliary = np.load(output / "auxiliary.npy")
    same_overlap = MethodInputs(source, target, len(embeddings), inputs.settings)
    source_ids = np.full(len(inputs.target), -1)
    source_ids[published["focus_overlap"][:, 0]] = published["focus_overlap"][:, 1]
    ours = inputs.matches.source_ids
    apart = np.flatnonzero((ours != source_ids) & ~inputs.target.special)
    print(f"focus: {len(apart)} tokens of the overlap differ: {target.convert_ids_to_tokens(apart.tolist())}")
    kinds = np.where(source_ids >= 0, MatchKind.EXACT, MatchKind.NONE).astype(np.uint8)
    vars(same_overlap)["matches"] = Matches(source_ids, kinds)
    for name, mapping in {
        "focus": compose_of_overlap(inputs, auxiliary),
        "focus of the same overlap": compose_of_overlap(same_overlap, auxiliary),
        "wechsel": wechsel(inputs),
    }.items():
        rows, theirs = mapping.apply(embeddings), published[name.split()[0]]
        composed = mapping.kinds == TokenKind.COMPOSED
        difference = np.abs(rows - theirs).max(axis=1)
        close = difference < 1e-5
        if name == "wechsel":  # of neighbours with the same cosine at the last place, each takes another one
            one_more = wechsel(replace(inputs, settings=replace(inputs.settings, num_neighbors=11)))
            cosines = np.sort(one_more.cosines[np.repeat(composed, np.diff(one_more.weights.indptr))].reshape(-1, 11))
            composed[np.flatnonzero(composed)[cosines[:, 1] - cosines[:, 0] < 1e-9]] = False
            print(f"wechsel: {composed.sum():,} rows have no tie at the tenth place")
        print(
            f"{name}: {composed.sum():,} rows composed, {close[composed].mean():.2%} equal to 1e-5 "
            f"(median difference {np.median(difference[composed]):.1e}); others equal: {close[~composed].mean():.2%}"
        )
        for index in np.flatnonzero(~close & composed)[:8].tolist():
            token = target.convert_ids_to_tokens(index)
            print(f"  {token!r}: {difference[index]:.2e}")
    if "omp_indices" in published:
        found, coefficients = sparse_codes(
            torch.from_numpy(embeddings[1000:1064]), torch.from_numpy(embeddings[2000:8000]), ATOMS
        )
        same = (found.numpy() == published["omp_indices"]).all(axis=1)
        apart = np.abs(coefficients.numpy() - published["omp_coefficients"])[same].max()
        print(f"omp: {same.mean():.1%} of the codes have the same tokens; their coefficients differ by {apart:.1e}")


if __name__ == "__main__":
    main()
