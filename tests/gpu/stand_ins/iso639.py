"""What the package uses of python-iso639: every code of three letters is a language, in no macrolanguage."""

from itertools import product
from string import ascii_lowercase
from types import SimpleNamespace


LanguageNotFoundError = KeyError
ALL_LANGUAGES = [
    SimpleNamespace(part3=code, part2b="", part1="", name=code)
    for code in map("".join, product(ascii_lowercase, repeat=3))
]


class Language:
    @staticmethod
    def from_part3(code: str) -> SimpleNamespace:
        return SimpleNamespace(macrolanguage=None)
