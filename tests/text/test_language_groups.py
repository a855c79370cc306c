"""Which languages a source was pretrained on."""

import pytest

from ofa_transformers.text.language_groups import XLM_R_LANGUAGES, head_languages, is_head


def test_head_languages_of_xlm_r():
    """The 100 of its paper, by script: neither other members of their macrolanguages, nor other scripts."""
    head = head_languages(["xlm-r"])
    assert head == XLM_R_LANGUAGES
    # As many as in the paper's table: its 93 codes, and seven in a second script or encoding.
    codes = (
        "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id is "
        "it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt ro ru sa sd si sk sl "
        "so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh"
    )
    paper, again = codes.split(), ["bn-Latn", "hi-Latn", "ta-Latn", "te-Latn", "ur-Latn", "my-zawgyi", "zh-Hant"]
    assert len(paper) + len(again) == 100
    assert all(is_head(code, head) for code in paper)
    written = (
        "deu_Latn swh_Latn cmn_Hans cmn_Hant pes_Arab arb_Arab azj_Latn kmr_Latn fil_Latn hbs_Latn hbs_Cyrl hin_Latn"
    )
    assert all(
        is_head(name, head) for name in (*written.split(), "swh", "cmn", "fil", "hbs", "de_gsd", "ara", "kor_Hang")
    )
    others = "arz arz_Arab azb_Arab aze_Arab ckb_Arab yue yue_Hant lzh min nno_Latn deu_Cyrl ltg prs_Arab pnb_Arab swc chr_Cher zul"
    assert not any(is_head(name, head) for name in (*others.split(), "nonsense"))


def test_head_languages_by_name():
    assert head_languages(["zul_Latn", "de"]) == {"zul_Latn", "deu"}
    head = head_languages(["zul_Latn", "de", "ara"])
    assert is_head("deu_Latn", head) and is_head("de_gsd", head) and is_head("zul", head) and is_head("arz_Arab", head)
    assert not is_head("zul_Arab", head) and not is_head("xho", head)
    with pytest.raises(ValueError, match="a head language is 'klingonic'"):
        head_languages(["klingonic"])
