"""Languages of the data by name; head and tail: those that a source was pretrained on, and the others."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .languages import macrolanguage, to_iso639_3


# The 100 of Conneau et al. (2020), table 6: Burmese in two encodings, Chinese in two scripts, Bengali, Hindi, Tamil,
# Telugu and Urdu also romanised. Each as the macrolanguage and as the one of its languages that is written (of Kurdish
# Kurmanji, as fairseq's list says); Serbo-Croatian as a whole, too; Tagalog there is called Filipino.
_XLM_R = {
    "Arab": "ara arb fas pes pbt pbu pst pus snd uig urd",
    "Armn": "hye",
    "Beng": "asm ben",
    "Cyrl": "bel bul hbs kaz khk kir mkd mon rus srp ukr",
    "Deva": "hin mar nep npi san",
    "Ethi": "amh",
    "Geor": "kat",
    "Grek": "ell",
    "Gujr": "guj",
    "Guru": "pan",
    "Hang": "kor",
    "Hani": "cmn zho",
    "Hans": "cmn zho",
    "Hant": "cmn zho",
    "Hebr": "heb ydd yid",
    "Jpan": "jpn",
    "Khmr": "khm",
    "Knda": "kan",
    "Kore": "kor",
    "Laoo": "lao",
    "Latn": (
        "afr als aze azj ben bos bre cat ces cym dan deu ekk eng epo est eus fil fin fra fry gaz gla gle glg hau hbs "
        "hin hrv hun ind isl ita jav kmr kur lat lav lit lvs mlg msa nld nob nor orm plt pol por ron slk slv som spa "
        "sqi srp sun swa swe swh tam tel tgl tur urd uzb uzn vie xho zlm zsm"
    ),
    "Mlym": "mal",
    "Mymr": "mya",
    "Orya": "ori ory",
    "Sinh": "sin",
    "Taml": "tam",
    "Telu": "tel",
    "Thai": "tha",
}
XLM_R_LANGUAGES = frozenset(f"{code}_{script}" for script, codes in _XLM_R.items() for code in codes.split())


def is_called(language: str, name: str) -> bool:
    """Whether a language of the data, as deu_Latn, is the one named: in full, or by the code before "_"."""
    return name in (language, language.partition("_")[0])


def called(name: str, languages: Iterable[str]) -> list[str]:
    """Of the languages, the one with exactly this name, or else all that have it as their code."""
    languages = list(languages)
    return [name] if name in languages else [language for language in languages if is_called(language, name)]


def head_languages(codes: Iterable[str]) -> frozenset[str]:
    """ISO 639-3 of language codes of two or three letters, with their scripts where they have any.

    "xlm-r" stands for XLM-R's 100.

    Raises:
        ValueError: something that is no code.
    """
    found: set[str] = set()
    for named in codes:
        found |= XLM_R_LANGUAGES if named.lower() == "xlm-r" else {_name(named)}
    return frozenset(found)


def is_head(language: str, head: frozenset[str]) -> bool:
    """Whether a language of the data (deu, deu_Latn) is among `head`.

    A head language without script is meant in all, and a macrolanguage without script means all that belong to it. A
    language of the data without script is in the script that the head language has.
    """
    try:
        name = _name(language)
    except ValueError:
        return False
    code, _, script = name.partition("_")
    if not script and any(other.partition("_")[0] == code for other in head):
        return True
    return name in head or code in head or macrolanguage(code) in head


def _name(language: str) -> str:
    """deu_Latn of de_Latn; deu of de_gsd, whose second part is no script."""
    code, _, rest = language.partition("_")
    script = re.match(r"[A-Z][a-z]{3}(?![A-Za-z])", rest)
    return to_iso639_3(code, "a head language") + (f"_{script[0]}" if script else "")
