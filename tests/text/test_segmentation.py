import sys

import pytest

from ofa_transformers.text import segmentation
from ofa_transformers.text.segmentation import WordSplitter, lowercase, method_of, normalized


@pytest.fixture
def characters():
    return WordSplitter("characters")


def test_words_between_spaces(characters):
    assert characters("Don't stop, l'été: 12,000 in co-op (U.S.)!") == [
        "Don't",
        "stop",
        "l'été",
        "12,000",
        "in",
        "co",
        "op",
        "U.S",
    ]
    assert characters("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert characters("e\u0301te\u0301") == ["e\u0301te\u0301"]
    assert characters("。、 ...") == []
    assert not characters.met_unspaced


def test_n_grams_of_characters(characters):
    assert characters("水和面包 ok") == ["水", "和", "面", "包", "水和", "和面", "面包", "ok"]
    assert characters("ひらカナ") == ["ひ", "ら", "カ", "ナ", "ひら", "らカ", "カナ"]
    assert characters("สวัสดี")[:4] == ["ส", "วั", "ส", "ดี"]
    assert characters.met_unspaced and characters.method == "characters"


def test_tibetan_has_syllables_and_pairs(characters):
    assert characters("བོད་ཀྱི་སྐད།") == ["བོད", "ཀྱི", "སྐད", "བོད་ཀྱི", "ཀྱི་སྐད"]
    assert not characters.met_unspaced  # its syllables are marked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("大卫的子孙，耶稣基督的家谱 ok", ["大卫", "的", "子孙", "耶稣基督", "的", "家谱", "ok"]),
        ("吾輩は猫である。", ["吾輩", "は", "猫", "で", "ある"]),
        ("สวัสดีครับ ผมชื่อสมชาย", ["สวัสดี", "ครับ", "ผม", "ชื่อ", "สมชาย"]),
        ("ສະບາຍດີທ່ານ", ["ສະບາຍດີ", "ທ່ານ"]),
        ("ព្រះយេស៊ូវគ្រីស្ទជាព្រះរាជបុត្រា", ["ព្រះយេស៊ូវគ្រីស្ទ", "ជា", "ព្រះរាជបុត្រា"]),
        ("ကျွန်တော်မြန်မာနိုင်ငံမှာ", ["ကျွန်တော်", "မြန်မာနိုင်ငံ", "မှာ"]),
        ("a b、c", ["a", "b", "c"]),
    ],
    ids=["Han", "Kana", "Thai", "Lao", "Khmer", "Myanmar", "none"],
)
def test_words_by_dictionary(text, words):
    pytest.importorskip("icu4py", reason="the extra `segmentation` is not installed")
    splitter = WordSplitter("words")
    assert splitter(text) == words
    assert splitter.version.startswith("ICU ")
    automatic = WordSplitter()
    assert automatic.method == "words" and automatic(text) == words


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "icu4py", None)
    with pytest.raises(ImportError, match=r"ofa-transformers\[segmentation\]"):
        WordSplitter("words")
    warnings = []
    monkeypatch.setattr(segmentation.logger, "warning", lambda message, *args: warnings.append(message % args))
    splitter = WordSplitter()
    assert splitter("no need") == ["no", "need"] and not warnings
    assert splitter("面包 面包") == ["面", "包", "面包"] * 2
    assert len(warnings) == 1 and "ofa-transformers[segmentation]" in warnings[0] and "面包" in warnings[0]
    assert WordSplitter("characters")("面包") and len(warnings) == 1


def test_unknown_segmentation():
    with pytest.raises(ValueError, match="'auto', 'words', 'characters'"):
        WordSplitter("letters")


def test_method_of_metadata():
    assert method_of({"segmentation": {"method": "characters"}}) == "characters"
    for said in ({}, {"segmentation": {"method": "spaces"}}, {"segmentation": "other"}):
        assert method_of(said) == "auto"


def test_lower_case_leaves_cherokee_as_it_is_written():
    assert lowercase("ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ Haus ΣΟΦΟΣ") == "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ haus σοφος"
    assert lowercase("ᏸᏽ") == "ᏸᏽ".upper()
    assert lowercase("ꭰꭱ") == "ᎠᎡ"


@pytest.mark.parametrize(
    "word",
    ["c'hoar", "п'ять", "п’ять", "ie'i", "o‘zbek", "ශ්‍රී", "می‌خواهم", "col·lega", "צה״ל", "Ինչո՞ւ", "हिन्दी"],
)
def test_words_with_apostrophes_joiners_and_marks_stay_whole(word, characters):
    assert characters(f"({word}), {word}' \u200c{word}\u200c") == [word] * 3
    assert characters.units(word) == [word]


def test_french_and_italian_clitics_are_words(characters):
    assert characters("l'été qu’il", "fra") == ["l", "été", "qu", "il"]
    assert characters("dell’abisso", "ita") == ["dell", "abisso"]
    assert characters("l'été") == ["l'été"] and characters("c'hoar", "bre") == ["c'hoar"]


def test_units_count_each_character_once(characters):
    assert characters.units("水和面包 ok") == ["水", "和", "面", "包", "ok"]
    assert characters.units("ひらカナー") == ["ひ", "ら", "カ", "ナ", "ー"]
    assert characters.units("བོད་ཀྱི") == ["བོད", "ཀྱི"]


def test_text_is_composed_and_without_what_is_not_seen():
    assert normalized("cafe\u0301 co\u00adop\ufeff") == "café coop"
    assert normalized("می‌خواهم") == "می‌خواهم"


def test_lower_case_of_turkish_and_azeri():
    assert lowercase("İSTANBUL IŞIK", "tur") == "istanbul ışık"
    assert lowercase("BAKI", "azj") == "bakı"
    assert lowercase("İSTANBUL IN") == "istanbul in"
