"""Language codes as vector files name them, as ISO 639-3 codes."""

import difflib
import re


def _pairs(table: str) -> dict[str, str]:
    codes = table.split()
    return dict(zip(codes[::2], codes[1::2], strict=True))


# ISO 639-1 -> ISO 639-3, as the registration authority (iso639-3.sil.org) lists them; macrolanguages stay themselves.
# `sh` was withdrawn in 2000, but Wikipedia, and so fastText, still uses it.
_ISO_639_1 = """
aa aar ab abk ae ave af afr ak aka am amh an arg ar ara as asm av ava ay aym az aze ba bak be bel bg bul bi bis bm bam
bn ben bo bod br bre bs bos ca cat ce che ch cha co cos cr cre cs ces cu chu cv chv cy cym da dan de deu dv div dz dzo
ee ewe el ell en eng eo epo es spa et est eu eus fa fas ff ful fi fin fj fij fo fao fr fra fy fry ga gle gd gla gl glg
gn grn gu guj gv glv ha hau he heb hi hin ho hmo hr hrv ht hat hu hun hy hye hz her ia ina id ind ie ile ig ibo ii iii
ik ipk io ido is isl it ita iu iku ja jpn jv jav ka kat kg kon ki kik kj kua kk kaz kl kal km khm kn kan ko kor kr kau
ks kas ku kur kv kom kw cor ky kir la lat lb ltz lg lug li lim ln lin lo lao lt lit lu lub lv lav mg mlg mh mah mi mri
mk mkd ml mal mn mon mr mar ms msa mt mlt my mya na nau nb nob nd nde ne nep ng ndo nl nld nn nno no nor nr nbl nv nav
ny nya oc oci oj oji om orm or ori os oss pa pan pi pli pl pol ps pus pt por qu que rm roh rn run ro ron ru rus rw kin
sa san sc srd sd snd se sme sg sag sh hbs si sin sk slk sl slv sm smo sn sna so som sq sqi sr srp ss ssw st sot su sun
sv swe sw swa ta tam te tel tg tgk th tha ti tir tk tuk tl tgl tn tsn to ton tr tur ts tso tt tat tw twi ty tah ug uig
uk ukr ur urd uz uzb ve ven vi vie vo vol wa wln wo wol xh xho yi yid yo yor za zha zh zho zu zul
"""
_TWO_LETTERS = _pairs(_ISO_639_1)

# The bibliographic codes of ISO 639-2 that differ from ISO 639-3.
_ISO_639_2B = """
alb sqi arm hye baq eus bur mya chi zho cze ces dut nld fre fra geo kat ger deu gre ell ice isl mac mkd mao mri may msa
per fas rum ron slo slk tib bod wel cym
"""
_BIBLIOGRAPHIC = _pairs(_ISO_639_2B)

# Names of Wikipedias, and so of fastText's files, that mean another language in ISO 639 or none.
_WIKIPEDIAS = {"als": "gsw", "simple": "eng"}

# MUSE (wiki.multi.de.vec), fastText (wiki.de.vec, wiki.de.align.vec, cc.de.300.vec), MUSE's own exports
# (vectors-de.txt), ConceptNet Numberbatch (numberbatch-en.txt).
_FILE_NAME = re.compile(
    r"(?:wiki(?:\.multi)?\.(?P<wiki>[a-z]{2,3}|simple)(?:\.align)?|cc\.(?P<cc>[a-z]{2,3})\.\d+|"
    r"(?:vectors|numberbatch)-(?P<other>[a-z]{2,3}))\.(?:vec|txt|bin)",
)


def to_iso639_3(code: str) -> str:
    """The ISO 639-3 code of a code of two letters (ISO 639-1) or three (ISO 639-3, or ISO 639-2's other names).

    Codes of three letters are checked by their form only.

    Raises:
        ValueError: not such a code; the nearest ones are named.
    """
    if isinstance(code, str):
        if code in _TWO_LETTERS:
            return _TWO_LETTERS[code]
        if re.fullmatch(r"[a-z]{3}", code):
            return _BIBLIOGRAPHIC.get(code, code)
    known = sorted({*_TWO_LETTERS, *_TWO_LETTERS.values()})
    near = difflib.get_close_matches(str(code).lower(), known, n=3, cutoff=0.5)
    raise ValueError(
        f"language is {code!r}, which is not an ISO 639 code in lower case (like 'deu' or 'de')"
        + (f"; nearest: {', '.join(near)}." if near else ".")
    )


def language_of_file(name: str) -> str | None:
    """The language that a file's name (without .gz or .zst) states in a way that publishers use, or None."""
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return None
    if match["wiki"] in _WIKIPEDIAS:
        return _WIKIPEDIAS[match["wiki"]]
    code = match["wiki"] or match["cc"] or match["other"]
    return None if len(code) == 2 and code not in _TWO_LETTERS else to_iso639_3(code)
