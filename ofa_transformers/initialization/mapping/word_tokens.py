"""Which tokens occur in which words: words tokenized in the forms of the published code, in large batches."""

import itertools

import numpy as np
import regex

from ...tokenization.vocabulary import Vocabulary


# Words that a tokenizer which cuts at spaces gets in one line: enough that the cost of a call doesn't count.
_LINE_WORDS = 128

# Letters, digits and marks, not beginning with a mark, which would join a character before it; without characters that
# normalisation turns into nothing, or into several words (U+FDFA is a sentence).
_ODD = r"[\p{Default_Ignorable_Code_Point}\u037A\uFC5E-\uFC63\uFDFA\uFDFB\uFE70-\uFE7F]"
_PLAIN = regex.compile(rf"(?V1)[\p{{L}}\p{{N}}--{_ODD}][\p{{L}}\p{{M}}\p{{N}}--{_ODD}]*").fullmatch


def count_subwords(
    vocabulary: Vocabulary, words: list[str], *, per_form: bool = False, capitalised: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a subword and the position of a word that contains it, sorted, each pair once.

    A word is tokenized as it is, after a space, and capitalised. Where the tokenizer cuts at spaces and begins a line
    with one, the first two forms are the same, and many words go through it in one line.

    Args:
        vocabulary: of the tokenizer.
        words: as in `WordVectors`, with `$` for a word boundary.
        per_form: count the forms of a word that contain the subword, and count bare boundaries as the published code
            does.
        capitalised: whether the third form counts.

    Returns:
        Subword ids, positions in `words`, and counts (1 for all, unless `per_form`).
    """
    forms: dict[str, None] = {}  # many words share forms across languages and markings; each is tokenized once
    parts: list[tuple[np.ndarray, np.ndarray]] = []  # positions in `words`, and their forms
    joinable = 0
    others: list[int] | range = range(len(words))
    if vocabulary.cuts_at_spaces and not per_form:
        stripped = [word.strip("$") for word in words]
        is_plain = [_PLAIN(word) is not None for word in stripped]
        plain = list(itertools.compress(stripped, is_plain))
        texts_of = [plain, [word[0].upper() + word[1:] for word in plain]] if capitalised else [plain]
        forms = dict.fromkeys(itertools.chain.from_iterable(texts_of))
        joinable = len(forms)
        positions = np.flatnonzero(is_plain)
        index = dict(zip(forms, range(joinable)))
        for texts in texts_of:
            parts.append((positions, np.fromiter(map(index.__getitem__, texts), dtype=np.int64, count=len(texts))))
        others = np.flatnonzero(np.logical_not(is_plain)).tolist()

    owners = [position for position in others if words[position].strip("$") or len(words[position]) > 1]
    count = 3 if capitalised else 2
    variants = [variant for position in owners for variant in _word_forms(words[position])[:count]]
    index = {form: joinable + number for number, form in enumerate(dict.fromkeys(variants))}
    parts.append(
        (
            np.repeat(np.asarray(owners, dtype=np.int64), count),
            np.fromiter(map(index.__getitem__, variants), dtype=np.int64),
        )
    )
    tokens, lengths = _tokenize(vocabulary, list(forms), list(index))

    owner_of, form_of = (np.concatenate(arrays) for arrays in zip(*parts))
    starts = np.cumsum(lengths) - lengths
    repeats = lengths[form_of]
    offsets = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    subwords = tokens[np.repeat(starts[form_of], repeats) + offsets]
    pairs = subwords * len(words) + np.repeat(owner_of, repeats)
    if per_form:
        variant_of = np.tile(np.arange(count), len(form_of) // count)
        pairs, counts = _distinct(_distinct(pairs * count + np.repeat(variant_of, repeats))[0] // count)
    else:
        pairs = _distinct(pairs)[0]
        counts = np.ones(len(pairs), dtype=np.int64)
    return pairs // len(words), pairs % len(words), counts


def _word_forms(word: str) -> tuple[str, str, str]:
    """A word, which is more than a boundary mark, as it is, after a space, and capitalised."""
    text = word.replace("$", " ")
    if word.startswith("$"):
        return text, " " + text, text[1].upper() + text[2:]
    return text, " " + text, " " + text[0].upper() + text[1:]


def _tokenize(vocabulary: Vocabulary, joinable: list[str], others: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of all texts, one after the other, and how many each text has.

    `joinable` texts are plain words, tokenized after a space.
    """
    starts = range(0, len(joinable), _LINE_WORDS)
    lines = [" " + " ".join(joinable[start : start + _LINE_WORDS]) for start in starts]
    encodings = vocabulary.encoder.encode_batch_fast(lines, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    tokens = _flat(ids)
    # Where the first token of every word, and no other, begins with the mark, the words can be told apart.
    begins = vocabulary.begins_word[tokens]
    line_of = np.repeat(np.arange(len(lines)), list(map(len, ids)))
    words_found = np.bincount(line_of[begins], minlength=len(lines))
    expected = np.array([min(_LINE_WORDS, len(joinable) - start) for start in starts], dtype=np.int64)
    if not (words_found == expected).all():
        return _tokenize_each(vocabulary, [" " + word for word in joinable] + others)
    lengths = np.bincount(np.cumsum(begins) - 1, minlength=len(joinable))
    other_tokens, other_lengths = _tokenize_each(vocabulary, others)
    return np.concatenate([tokens, other_tokens]), np.concatenate([lengths, other_lengths])


def _tokenize_each(vocabulary: Vocabulary, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encodings = vocabulary.encoder.encode_batch_fast(texts, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    return _flat(ids), np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values without repetition, sorted, and how often each is there. Sorting beats the hashing of np.unique here."""
    values = np.sort(values)
    first = np.flatnonzero(np.diff(values, prepend=-1))
    return values[first], np.diff(first, append=len(values))


def _flat(lists: list[list[int]]) -> np.ndarray:
    return np.fromiter(itertools.chain.from_iterable(lists), dtype=np.int64)
