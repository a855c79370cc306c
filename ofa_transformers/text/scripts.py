"""Writing systems: their codes, and those of texts."""

from collections.abc import Sequence

import numpy as np
import regex


NO_LETTERS = "Zyyy"  # ISO 15924 for code points common to many scripts: digits, punctuation, symbols

# ISO 15924 codes of the scripts that Unicode text is written in; those that `regex` doesn't know are passed over.
_UNICODE = (
    "Adlm Aghb Ahom Arab Armi Armn Avst Bali Bamu Bass Batk Beng Bhks Bopo Brah Brai Bugi Buhd Cakm Cans Cari Cham "
    "Cher Chrs Copt Cpmn Cprt Cyrl Deva Diak Dogr Dsrt Dupl Egyp Elba Elym Ethi Gara Geor Glag Gong Gonm Goth Gran "
    "Grek Gujr Gukh Guru Hang Hani Hano Hatr Hebr Hira Hluw Hmng Hmnp Hung Ital Java Kali Kana Kawi Khar Khmr Khoj "
    "Kits Knda Krai Kthi Lana Laoo Latn Lepc Limb Lina Linb Lisu Lyci Lydi Mahj Maka Mand Mani Marc Medf Mend Merc "
    "Mero Mlym Modi Mong Mroo Mtei Mult Mymr Nagm Nand Narb Nbat Newa Nkoo Nshu Ogam Olck Onao Orkh Orya Osge Osma "
    "Ougr Palm Pauc Perm Phag Phli Phlp Phnx Plrd Prti Rjng Rohg Runr Samr Sarb Saur Sgnw Shaw Shrd Sidd Sind Sinh "
    "Sogd Sogo Sora Soyo Sund Sunu Sylo Syrc Tagb Takr Tale Talu Taml Tang Tavt Telu Tfng Tglg Thaa Thai Tibt Tirh "
    "Tnsa Todr Tols Toto Tutg Ugar Vaii Vith Wara Wcho Xpeo Xsux Yezi Yiii Zanb"
)
CODES = _UNICODE.split()


def scripts_of(texts: Sequence[str]) -> np.ndarray:
    """The script of each text: that of its first character that belongs to one script alone.

    Returns:
        (N,) ISO 15924 codes as a numpy string array; `Zyyy` for texts without such a character.
    """
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    code_points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    used, inverse = np.unique(code_points, return_inverse=True)
    characters = "".join(map(chr, used))
    script_of_used = np.zeros(len(used), dtype=np.int16)
    for number, code in enumerate(CODES, start=1):
        try:
            pattern = regex.compile(rf"\p{{Script={code}}}")
        except regex.error:
            continue
        found = [match.start() for match in pattern.finditer(characters)]
        script_of_used[found] = number

    scripts = script_of_used[inverse]
    owner = np.repeat(np.arange(len(texts)), lengths)
    with_script = np.flatnonzero(scripts)
    # The first of each owner: np.unique gives the first index of each value.
    owners, first = np.unique(owner[with_script], return_index=True)
    numbers = np.zeros(len(texts), dtype=np.int16)
    numbers[owners] = scripts[with_script[first]]
    return np.array([NO_LETTERS, *CODES])[numbers]
