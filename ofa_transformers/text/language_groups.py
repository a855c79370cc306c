"""Languages of the data by name; head and tail: those that a source was pretrained on, and the others."""

from __future__ import annotations

from collections.abc import Iterable

from .languages import macrolanguage, to_iso639_3


# Conneau et al. (2020), appendix A; varieties in other scripts left out.
_XLM_R = (
    "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy "
    "id is it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt ro ru sa "
    "sd si sk sl so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh"
)
XLM_R_LANGUAGES = frozenset(_XLM_R.split())


def is_called(language: str, name: str) -> bool:
    """Whether a language of the data, as deu_Latn, is the one named: in full, or by the code before "_"."""
    return name in (language, language.partition("_")[0])


def called(name: str, languages: Iterable[str]) -> list[str]:
    """Of the languages, the one with exactly this name, or else all that have it as their code."""
    languages = list(languages)
    return [name] if name in languages else [language for language in languages if is_called(language, name)]


def head_languages(codes: Iterable[str]) -> frozenset[str]:
    """ISO 639-3 of language codes of two or three letters; "xlm-r" stands for those of XLM-R.

    Raises:
        ValueError: something that is no code.
    """
    named = [part for code in codes for part in (XLM_R_LANGUAGES if code.lower() == "xlm-r" else [code])]
    return frozenset(to_iso639_3(code.partition("_")[0], "a head language") for code in named)


def is_head(language: str, head: frozenset[str]) -> bool:
    """Whether a language of the data (deu, deu_Latn), or the macrolanguage that it belongs to, is among `head`."""
    try:
        code = to_iso639_3(language.partition("_")[0])
    except ValueError:
        return False
    return code in head or macrolanguage(code) in head
