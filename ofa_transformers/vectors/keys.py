"""Keys of vector files, `lng:word` or bare words, as words and languages."""

import re
from collections.abc import Callable

import numpy as np

from ..text.languages import is_iso639_3, nearest_codes, to_iso639_3
from .words import CodedLanguages


_PREFIX = re.compile(r"([a-z]{2,3}):(?=.)", re.DOTALL)


def split_keys(
    keys: list[str],
    *,
    path: object,
    place: Callable[[int], str],
    language: str | None = None,
    language_of_file: str | None = None,
    default_language: str = "eng",
) -> tuple[list[str], CodedLanguages]:
    """Words without prefix, and their languages: as the caller says, else the keys, else the file's name.

    Only the first colon counts (`deu:a:b` is the German word `a:b`), and `deu:` alone is a word, not a prefix. Where
    more than half of the keys look like `lng:word`, all that do have to name a language; where fewer do, only codes of
    ISO 639-3 are taken for one, since words of running text have colons, too (`re:invent`).

    Args:
        keys: N keys.
        path: of the file, for errors.
        place: where the key at an index stands in the file, for errors (`line 7`).
        language: of all words.
        language_of_file: what the name of the file says, for files whose keys name no languages.
        default_language: of words without a prefix.

    Raises:
        ValueError: `language` is given for keys that name their languages, or a key names what is none.
    """
    prefixes = [match[1] if (match := _PREFIX.match(key)) else "" for key in keys]
    found, ids = np.unique(np.array(prefixes, dtype=np.str_), return_inverse=True)
    ids = ids.reshape(-1)
    is_keyed = 2 * int((found != "")[ids].sum()) > len(keys)
    if language is not None and is_keyed:
        i = next(i for i, prefix in enumerate(prefixes) if prefix)
        raise ValueError(
            f"language is {language!r}, but {len(keys) - prefixes.count('')} of {len(keys)} words in {path} name their "
            f"language themselves, as {keys[i]!r:.80} in {place(i)}; leave language out, and select the words of a "
            "language afterwards."
        )
    if not is_keyed and (language or language_of_file) is not None:
        # A file of one language; what looks like a prefix is part of the word.
        return keys, CodedLanguages([language or language_of_file], np.zeros(len(keys), dtype=np.int32))
    codes: dict[str, str] = {}
    for prefix in found.tolist():
        if not prefix:
            codes[prefix] = default_language
        elif is_keyed:
            i = prefixes.index(prefix)
            try:
                codes[prefix] = to_iso639_3(prefix)
            except ValueError:
                raise ValueError(
                    f"{path}, {place(i)}: the key {keys[i]!r:.80} names the language {prefix!r:.80}, which is not an ISO 639 "
                    f"code{nearest_codes(prefix)}. Correct the keys; codes of your own can begin with qaa to qtz."
                ) from None
        else:
            codes[prefix] = prefix if is_iso639_3(prefix) else ""
    words = [key[len(prefix) + 1 :] if prefix and codes[prefix] else key for key, prefix in zip(keys, prefixes)]
    of_prefix = np.array([code or default_language for code in codes.values()])
    names, of_prefix = np.unique(of_prefix, return_inverse=True)
    return words, CodedLanguages(names, of_prefix.reshape(-1)[ids].astype(np.int32))
