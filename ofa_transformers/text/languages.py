"""Languages: their codes as people and files write them, names, and the macrolanguages that they belong to."""

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

from transformers.utils import logging

from .scripts import CODES


logger = logging.get_logger(__name__)

# Codes for local use, which ISO 639-3 leaves to everyone.
_PRIVATE = re.compile(r"q[a-t][a-z]")

# deu, de, deu_Latn, zh-Hant
_CODE = re.compile(r"([a-z]{2,3})(?:[_-]([A-Z][a-z]{3}))?")

# Codes of ISO 15924 for what Unicode has no script of its own: varieties, and scripts together.
_VARIETIES = {"Aran", "Cyrs", "Geok", "Hanb", "Hans", "Hant", "Jpan", "Kore", "Latf", "Latg", "Syre", "Syrj", "Syrn"}


@lru_cache
def _languages() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Every code of ISO 639-1, 639-2 and 639-3 -> ISO 639-3; and of these, English names and codes of two letters."""
    import iso639  # reads its tables when imported

    codes: dict[str, str] = {}
    names: dict[str, str] = {}
    short: dict[str, str] = {}
    for language in iso639.ALL_LANGUAGES:  # retired ones too: texts still go by them
        codes.update({code: language.part3 for code in (language.part3, language.part2b, language.part1) if code})
        names[language.part3] = language.name
        if language.part1:
            short[language.part3] = language.part1
    return codes, names, short


def iso639_3(code: object) -> str | None:
    """The ISO 639-3 code of a language code with or without script (deu_Latn), or None; see `to_iso639_3`."""
    match = _CODE.fullmatch(code) if isinstance(code, str) else None
    if match is None or (match[2] is not None and match[2] not in _VARIETIES and match[2] not in CODES):
        return None
    return match[1] if _PRIVATE.fullmatch(match[1]) else _languages()[0].get(match[1])


def to_iso639_3(code: str, name: str = "language") -> str:
    """The ISO 639-3 code of a code of two letters (ISO 639-1) or three (ISO 639-3, or ISO 639-2's other names).

    Macrolanguages stay themselves (`sw` is `swa`, not `swh`), and so do retired codes and those for local use (qaa to
    qtz). A script after it, as in `deu_Latn`, is left out.

    Args:
        code: in lower case.
        name: of the argument that it came from, for the error.

    Raises:
        ValueError: no such code; the nearest ones are named.
    """
    found = iso639_3(code)
    if found is None:
        raise ValueError(
            f"{name} is {code!r:.80}, which is not an ISO 639 code in lower case (like 'deu' or 'de'){nearest_codes(code)}."
        )
    return found


def is_iso639_3(code: str) -> bool:
    """Whether a code is one of ISO 639-3 itself, in use, retired or for local use."""
    return _PRIVATE.fullmatch(code) is not None or _languages()[0].get(code) == code


def nearest_codes(code: object, limit: int = 3) -> str:
    """`; nearest: deu (German), ...` for what was meant as a language, or an empty string."""
    codes, names, _ = _languages()
    text = str(code)[:80].strip().lower()  # longer ones are none, and take long to compare
    found = [codes[part] for part in (text, *re.split(r"[-_.]", text)[:1]) if part in codes]
    if len(text) <= 4:
        near = difflib.get_close_matches(text, names, n=len(names), cutoff=0.6)
        # First letters count most in codes.
        found += sorted(near, key=lambda part3: (part3[:1] != text[:1], part3[:2] != text[:2], part3))
    elif not found:
        by_name: dict[str, list[str]] = {}
        for part3, full in sorted(names.items()):
            by_name.setdefault(full.partition(" (")[0].lower(), []).append(part3)
        for name in [text] if text in by_name else difflib.get_close_matches(text, by_name, n=limit, cutoff=0.75):
            found += by_name[name]
    shown = [f"{part3!r} ({names[part3]})" for part3 in list(dict.fromkeys(found))[:limit]]
    return f"; nearest: {', '.join(shown)}" if shown else ""


def short_code(language: str) -> str | None:
    """The code that the Hub and others prefer: two letters where there are two, else three; None if it is no code."""
    codes, _, short = _languages()
    return short.get(codes[language], codes[language]) if language in codes else None


def macrolanguage(language: str) -> str | None:
    """The macrolanguage that a language belongs to, as ISO 639-3 has it (`swa` of `swh`, `zho` of `cmn`), or None."""
    import iso639

    try:
        return iso639.Language.from_part3(language).macrolanguage
    except iso639.LanguageNotFoundError:
        return None


def counterparts(language: str, available: Iterable[str]) -> list[str]:
    """What a language goes by among others: itself, or else its macrolanguage, or the languages that belong to it.

    `cmn` is found as `zho`, and `zho` as `cmn` and `yue`, but `yue` not as `cmn`; with a warning.

    Args:
        language: a code, with or without script.
        available: ISO 639-3 codes.
    """
    available = set(available)
    code = language.partition("_")[0] if iso639_3(language) else language
    for name in (language, code):
        if name in available:
            return [name]
    found = [name for name in sorted(available) if macrolanguage(name) == code or macrolanguage(code) == name]
    if found:
        logger.warning_once(f"{code} is taken for {', '.join(found)}, as ISO 639-3 has one within the other.")
    return found


def language_name(language: str) -> str:
    """The English name of an ISO 639 code without additions in brackets, or the code itself where it has none."""
    codes, names, _ = _languages()
    return names.get(codes.get(language, language), language).partition(" (")[0]
