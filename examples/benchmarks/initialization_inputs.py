"""The inputs of the initialisation's benchmark jobs: word vectors, target tokenizers and a source, made once.

Words are real ones: of parallel text (files `LNG_Script.tsv.gz` with `verse_id<TAB>text` lines, such as Bibles) and of a
dictionary (a gzipped table of language name, ISO 639-3 code, word, English word). Vectors of the first come from that
text (`WordVectors.from_parallel`). What there aren't enough real words for is made of them, in the way of ColexNet+,
whose keys are parts of words: `deu:$hau`, `deu:aus$`.
"""

import csv
import gzip
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, XLMRobertaConfig, XLMRobertaForMaskedLM

from ofa_transformers import WordVectors
from ofa_transformers.tokenization import train_tokenizer
from ofa_transformers.tokenization.backend import with_backend
from ofa_transformers.utils.files import new_folder


def text_files(folder: Path) -> list[Path]:
    """The files of text in `folder`, one or more a language."""
    found = sorted(path for path in folder.glob("*.tsv.gz") if path.name[3] == "_")
    if not found:
        raise SystemExit(f"--text: {folder} has no files named like deu_Latn.tsv.gz.")
    return found


def words_of_text(folder: Path, text: Path) -> WordVectors:
    """Every word that occurs twice in its language in `text`, 200 dimensions, the most frequent first."""
    saved = folder / "text_vectors"
    if not saved.exists():
        WordVectors.from_parallel(text_files(text), dim=200, min_count=2, alignment_weight=0).save(saved)
    return WordVectors.load(saved)


def word_vectors(folder: Path, text: Path, number: int) -> Path:
    """The first `number` of them, as a folder that `WordVectors.load` reads."""
    saved = folder / f"words_{number}"
    if not saved.exists():
        known = words_of_text(folder, text)
        if number > len(known):
            raise SystemExit(f"--words: the text has only {len(known):,} words that occur twice.")
        known.subset(np.arange(number)).save(saved)
    return saved


def many_word_vectors(folder: Path, text: Path, dictionary: Path, number: int) -> Path:
    """`number` keys: the words of the text, of the dictionary, and parts of both; every part of a word near to it.

    Of the dictionary, every third word is left out, so that a tokenizer may know words that have no vector. A word of
    the dictionary has the vector of its English word, a part of a word that of the word, both with noise of a third
    of the norm; words whose English isn't in the text have noise alone.
    """
    saved = folder / f"words_{number}"
    if saved.exists():
        return saved
    known = words_of_text(folder, text)
    keys = {f"{language}:{word}": row for row, (language, word) in enumerate(zip(known.languages, known.words))}
    english = {
        word: row for language, word, row in zip(known.languages, known.words, range(len(known))) if language == "eng"
    }
    for position, (language, word, meaning) in enumerate(dictionary_words(dictionary)):
        if position % 3:
            keys.setdefault(f"{language}:{word}", english.get(meaning.lower(), -1))
    for key, row in list(keys.items()):
        if len(keys) >= number:
            break
        language, word = key.split(":", 1)
        marked = f"${word}$"
        for length in (len(marked), len(marked) - 1, len(marked) - 2, 5, 4, 3):
            for start in range(max(len(marked) - length + 1, 0)):
                part = marked[start : start + length]
                if len(part) >= 3 and part.strip("$"):
                    keys.setdefault(f"{language}:{part}", row)
    names = list(keys)[:number]
    rows = np.fromiter(keys.values(), dtype=np.int64)[:number]
    generator = np.random.default_rng(0)
    dimension = known.dimension
    vectors = np.empty((len(names), dimension), dtype=np.float32)
    for start in range(0, len(names), 65_536):
        block = rows[start : start + 65_536]
        noise = generator.standard_normal((len(block), dimension), dtype=np.float32) / (3 * math.sqrt(dimension))
        vectors[start : start + 65_536] = np.where(block[:, None] >= 0, known.vectors[block], 0) + noise
    vectors[: len(known)] = known.vectors[:number]  # words of the text come first, as they are
    WordVectors(
        words=[name[4:] for name in names], languages=np.array([name[:3] for name in names]), vectors=vectors
    ).save(saved)
    return saved


def dictionary_words(path: Path) -> Iterator[tuple[str, str, str]]:
    """(language, word, English word) of every entry with an ISO 639-3 code and a single word."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if len(row) == 4 and len(row[1]) == 3 and row[2] and ":" not in row[2] and " " not in row[2]:
                yield row[1], row[2], row[3]


def trained_tokenizer(folder: Path, text: Path, size: int) -> Path:
    """A Unigram tokenizer of `size` tokens, trained on the text."""
    saved = folder / f"trained_{size}"
    if not saved.exists():
        texts = {}
        for path in text_files(text):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                texts.setdefault(path.name[:3], []).extend(line.partition("\t")[2].strip() for line in file)
        with new_folder(saved) as new:
            train_tokenizer(texts, size).save_pretrained(new)
    return saved


def extended_tokenizer(folder: Path, text: Path, dictionary: Path, source_tokenizer: Path, size: int) -> Path:
    """The source's tokenizer and real words that it cuts into pieces as tokens of their own, up to `size`.

    Words of the text come first, then those of the dictionary. Training so many pieces would take much longer than the
    jobs; the cost of an initialisation depends on their number only. A word's score is the log of its share, as in
    a Unigram model.
    """
    saved = folder / f"extended_{size}"
    if saved.exists():
        return saved
    tokenizer = AutoTokenizer.from_pretrained(source_tokenizer)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    known = words_of_text(folder, text)
    counts: Counter[str] = Counter()
    for word, frequency in zip(known.words, known.frequencies.tolist()):
        counts[word] += int(frequency)
    ranked = [word for word, _ in counts.most_common()]
    ranked += dict.fromkeys(word for _, word, _ in dictionary_words(dictionary) if word not in counts)
    total = sum(counts.values())
    taken = {token for token, _ in vocabulary}
    for word in ranked:
        if len(vocabulary) >= size:
            break
        piece = "▁" + word
        if piece not in taken and " " not in word:
            vocabulary.append([piece, math.log(max(counts[word], 1) / total)])
            taken.add(piece)
    else:
        raise SystemExit(f"Text and dictionary have too few words for {size:,} tokens.")
    with new_folder(saved) as new:
        with_backend(tokenizer, Tokenizer.from_str(json.dumps(state))).save_pretrained(new)
    return saved


def source_model(folder: Path, tokenizer: PreTrainedTokenizerBase, layers: int = 12) -> Path:
    """A masked LM of the size of XLM-R base (Conneau et al., 2020): random-normal, embeddings of decaying spectrum.

    The i-th singular value of the embeddings falls with the square root of i, their standard deviation is 0.1.
    """
    saved = folder / f"source_{len(tokenizer)}_{layers}"
    if saved.exists():
        return saved
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=514,
        type_vocab_size=1,
        num_hidden_layers=layers,
        architectures=["XLMRobertaForMaskedLM"],
    )
    generator = torch.Generator().manual_seed(0)
    size = config.hidden_size
    decay = torch.arange(1, size + 1) ** -0.5
    rotation = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
    embeddings = torch.randn(len(tokenizer), size, generator=generator) @ (decay[:, None] * rotation)
    embeddings *= 0.1 / embeddings.std()
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in XLMRobertaForMaskedLM(config).named_parameters()}
    state = {
        name: torch.randn(shape, generator=generator) * 0.02 + (name.endswith("LayerNorm.weight") * 1.0)
        for name, shape in shapes.items()
        if len(shape) < 2 or shape[0] != len(tokenizer)
    }
    state["roberta.embeddings.word_embeddings.weight"] = embeddings
    with new_folder(saved) as new:
        save_file(state, new / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(new)
        tokenizer.save_pretrained(new)
    return saved


def cut_source(folder: Path, source_tokenizer: Path, size: int) -> Path:
    """A source of the first `size` tokens of a Unigram tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(source_tokenizer)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    if size < len(vocabulary):
        mask = tokenizer.mask_token
        state["model"]["vocab"] = [*(entry for entry in vocabulary[: size - 1] if entry[0] != mask), [mask, 0.0]]
        for token in state["added_tokens"]:
            token["id"] = size - 1 if token["content"] == mask else token["id"]
        tokenizer = with_backend(tokenizer, Tokenizer.from_str(json.dumps(state)))
    return source_model(folder, tokenizer)
