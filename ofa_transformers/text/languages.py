"""Language codes as people and vector files write them, as ISO 639-3 codes."""

import difflib
import re
from functools import lru_cache


# Codes for local use, which ISO 639-3 leaves to everyone.
_PRIVATE = re.compile(r"q[a-t][a-z]")

# Names of Wikipedias, and so of fastText's files, that mean another language in ISO 639 or none.
_WIKIPEDIAS = {"als": "gsw", "simple": "eng"}

# MUSE (wiki.multi.de.vec), fastText (wiki.de.vec, wiki.de.align.vec, cc.de.300.vec; facebook/fasttext-de-vectors/... on
# the Hub), MUSE's own exports (vectors-de.txt), ConceptNet Numberbatch (numberbatch-en.txt).
_FILE_NAME = re.compile(
    r"(?:wiki(?:\.multi)?\.(?P<wiki>[a-z]{2,3}|simple)(?:\.align)?|cc\.(?P<cc>[a-z]{2,3})\.\d+|"
    r"(?:vectors|numberbatch)-(?P<other>[a-z]{2,3}))\.(?:vec|txt|bin|pth)|"
    r"facebook/fasttext-(?P<hub>[a-z]{2,3})-vectors/.*",
)


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


def to_iso639_3(code: str, name: str = "language") -> str:
    """The ISO 639-3 code of a code of two letters (ISO 639-1) or three (ISO 639-3, or ISO 639-2's other names).

    Macrolanguages stay themselves (`sw` is `swa`, not `swh`), and so do retired codes and those for local use (qaa to
    qtz).

    Args:
        code: in lower case.
        name: of the argument that it came from, for the error.

    Raises:
        ValueError: no such code; the nearest ones are named.
    """
    if isinstance(code, str):
        if _PRIVATE.fullmatch(code):
            return code
        codes, _, _ = _languages()
        if code in codes:
            return codes[code]
    raise ValueError(
        f"{name} is {code!r}, which is not an ISO 639 code in lower case (like 'deu' or 'de'){nearest_codes(code)}."
    )


def is_iso639_3(code: str) -> bool:
    """Whether a code is one of ISO 639-3 itself, in use, retired or for local use."""
    return _PRIVATE.fullmatch(code) is not None or _languages()[0].get(code) == code


def nearest_codes(code: object, limit: int = 3) -> str:
    """`; nearest: deu (German), ...` for what was meant as a language, or an empty string."""
    codes, names, _ = _languages()
    text = str(code).strip().lower()
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


def language_name(language: str) -> str:
    """The English name of an ISO 639 code without additions in brackets, or the code itself where it has none."""
    codes, names, _ = _languages()
    return names.get(codes.get(language, language), language).partition(" (")[0]


def language_of_file(name: str) -> str | None:
    """The language that a file's name (without .gz or .zst) states in a way that publishers use, or None."""
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return None
    if match["wiki"] in _WIKIPEDIAS:
        return _WIKIPEDIAS[match["wiki"]]
    return _languages()[0].get(match["wiki"] or match["cc"] or match["other"] or match["hub"])
