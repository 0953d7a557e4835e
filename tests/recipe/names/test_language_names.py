"""Languages in every usual spelling: read where the spelling is clear, refused with a hint where it is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilift.recipe.language_groups import by_language, expand_languages, known_languages
from lilift.recipe.names import language_names
from lilift.recipe.names.language_names import hint, read_language, spellings


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("sw", "sw SW Sw swa swh swh_Latn swahili Swahili Kiswahili sw-KE sw_TZ"),
        ("qu", "qu que quy quy_Latn QUY Quechua quechua Runasimi"),
        ("zh", "zh zho chi cmn zh_CN zh-Hans zh-Hans-CN zho_Hans Chinese Mandarin 中文 zh-TW zh-Hant"),
        ("pt", "pt por pt-BR pt_PT Portuguese português portugues"),
        ("de", "de ger deu German Deutsch DE"),
        ("nb", "nb no nob nor nb_NO no-NO Norwegian Norsk bokmål Bokmal norwegian_bokmål nob_Latn"),
        ("nn", "nn nno Nynorsk"),
        ("fa", "fa per fas pes Farsi Persian fa_IR"),
        ("fa-AF", "fa-AF fa_AF prs Dari prs_Arab"),
        ("ar-MA", "ar-MA ary Darija ar_MA ary_Arab"),
        ("ar", "ar ara arb ar-EG Arabic arb_Arab"),
        ("pa-Arab", "pa-Arab pa_Arab pnb"),
        ("ks-Deva", "ks-Deva kas_Deva"),
        ("ks", "ks kas kas_Arab"),
        ("he", "he iw heb Hebrew עברית"),
        ("tl", "tl fil tgl Tagalog Filipino"),
        ("ak", "ak aka twi tw Twi twi_Latn"),
        ("ku", "ku kmr kmr_Latn Kurmanji"),
        ("ckb", "ckb ckb_Arab Sorani"),
        ("my", "my mya bur Burmese Myanmar"),
        ("ja", "ja jpn Japanese 日本語 jpn_Jpan"),
        ("ko", "ko kor kor_Hang ko-KR ko-Kore"),
        ("yue", "yue zh-yue yue_Hant Cantonese"),
        ("ht", "ht hat Haitian_Creole"),
        ("hi-Latn", "hi-Latn hin_Latn"),
        ("kr-Arab", "kr-Arab knc_Arab"),
        ("mni-Beng", "mni-Beng mni_Beng"),
        ("cmn-Hant", "cmn-Hant cmn_Hant"),
        ("en", "en eng EN English en-US en_GB eng_Latn"),
    ],
)
def test_every_usual_spelling_is_the_language(code: str, written: str) -> None:
    for text in written.split():
        found = read_language(text)
        assert found is not None, text
        assert found.code == code, text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jp", "country code of Japan; did you mean 'ja', Japanese"),
        ("cn", "'zh', Chinese"),
        ("ua", "'uk' (Ukrainian) or 'ru' (Russian)"),
        ("cz", "'cs', Czech"),
        ("dk", "'da', Danish"),
        ("gr", "'el', Greek"),
        ("tz", "'sw', Swahili"),
        ("Tanzania", "'sw', Swahili"),
        ("Kurdish", "'ku' (Kurmanji Kurdish) or 'ckb' (Sorani Kurdish)"),
        ("sh", "'hr' (Croatian) or 'sr' (Serbian) or 'bs' (Bosnian)"),
        ("Serbo-Croatian", "'hr' (Croatian)"),
        ("in", "'id' (Indonesian) or 'hi' (Hindi)"),
        ("sr-Latn", "Serbian is sr, in Cyrl script"),
        ("uz_Cyrl", "Uzbek is uz, in Latn script"),
        ("mni", "'mni-Beng' (Meiteilon (Bengali)) or 'mni-Mtei' (Meiteilon)"),
        ("fy", "fy is Western Frisian, which lilift does not know"),
        ("Frisian", "lilift does not know"),
        ("la", "la is Latin, which lilift does not know; la is the country code of Laos; did you mean 'lo', Lao"),
        ("Swahilli", "did you mean 'sw', Swahili"),
    ],
)
def test_what_is_no_language_or_several_is_refused_with_a_hint(text: str, said: str) -> None:
    assert read_language(text) is None
    assert said in hint(text)


@pytest.mark.parametrize("text", ["ckv", "qqq", "xx", "my-words", "en-words-sw", "", "-", "_", "zh-Hans-Hant", "de-xx"])
def test_no_language_is_made_of_letters_that_are_near(text: str) -> None:
    assert read_language(text) is None
    assert "did you mean" not in hint(text)


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("kr", "Korean is ko"),
        ("se", "Swedish is sv"),
        ("tw", "Taiwan"),
        ("Norwegian", "Nynorsk is nn"),
        ("zh_TW", "one Chinese"),
    ],
)
def test_a_spelling_that_may_mean_something_else_is_said(text: str, remark: str) -> None:
    found = read_language(text)
    assert found is not None
    assert remark in found.remark


def test_close_codes_name_languages_of_the_table_and_their_reason() -> None:
    for written, close in language_names._close_codes().items():
        assert close.how in ("same", "told", "several"), written
        assert close.reason, written
        assert all(read_language(code) for code in close.codes), written


def test_recipes_take_names_and_keep_what_they_do_not_know() -> None:
    assert expand_languages(["Swahili", "quy_Latn", "tz"]) == ["sw", "qu", "tz"]
    assert expand_languages("Bengali") == ["bn"]
    low = expand_languages(["Swahili", "mmwp-low"])
    assert isinstance(low, list)
    assert low[0] == "sw"
    assert low.count("sw") == 1
    assert by_language({"swahili": "a", "*": "b"}) == {"sw": "a", "*": "b"}
    with pytest.raises(ValueError, match="sw is named twice, the second time as swahili"):
        by_language({"sw": "a", "swahili": "b"})
    assert expand_languages("MMWP_Low") == expand_languages("mmwp-low")
    for mistake in ([False], False):  # what YAML makes of `no`
        with pytest.raises(ValueError, match="write nb"):
            expand_languages(mistake)
    with pytest.raises(ValueError, match="write nb"):
        by_language({False: "no.txt"})


def test_recipes_refuse_what_is_no_language() -> None:
    assert known_languages(["Swahili", "mmwp-low"]) == expand_languages(["Swahili", "mmwp-low"])
    for wrong, meant in (
        ("xx", "write a code"),
        ("", "write a code"),
        ("jp", "did you mean 'ja', Japanese"),
        ("Kurdish", "'ckb'"),
    ):
        with pytest.raises(ValueError, match=f"unknown language '{wrong}' .*{meant}"):
            known_languages(["sw", wrong])
        with pytest.raises(ValueError, match=f"unknown language '{wrong}' .*{meant}"):
            by_language({"*": "a.txt", wrong: "b.txt"})


def test_every_spelling_of_a_language_is_read_as_the_language() -> None:
    for code in ("sw", "zh", "nb", "qu", "fa-AF", "ks"):
        assert spellings(code)[0] == code
        for written in spellings(code):
            assert read_language(written).code == code, written  # type: ignore[union-attr]


@settings(max_examples=200)
@given(st.text(max_size=12))
def test_any_text_is_read_or_not_without_an_error(text: str) -> None:
    found = read_language(text)
    assert found is None or read_language(found.code).code == found.code  # type: ignore[union-attr]
    assert isinstance(hint(text), str)
