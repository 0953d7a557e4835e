"""Encoders that are told the language of a text: NLLB, M2M100 and mBART, each with its own codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lilift.export.bundle import _encoder_languages
from lilift.model.bridge import BridgedModel
from lilift.model.encoders.encoder_tokenizer import EncoderTokenizer, load_encoder_tokenizer
from lilift.model.encoders.source_languages import SourceLanguages, missing_languages, source_languages_of
from lilift.model.pooling import pooled_soft_tokens
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import Recipe

TEXT = "mary has 3 apples"


def tokenizer_in(folder: Path, **codes: str) -> EncoderTokenizer:
    return load_encoder_tokenizer(str(folder), None, transformers.AutoConfig.from_pretrained(folder), codes)


def nllb(folder: Path, source: str, **options: Any) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder, src_lang=source, **options)


@pytest.mark.parametrize(
    ("language", "code"), [("sw", "swh_Latn"), ("om", "gaz_Latn"), ("zh", "zho_Hans"), ("sat", "sat_Beng")]
)
def test_a_text_is_announced_in_its_language(language: str, code: str, encoder_folder: Callable[[str], Path]) -> None:
    folder = encoder_folder("nllb")
    english = tokenizer_in(folder)
    foreign = english.in_language(language)
    assert foreign.encode(TEXT) == nllb(folder, code)(TEXT).input_ids
    assert foreign.encode(TEXT, 4) == [*foreign.encode(TEXT)[:3], foreign.encode(TEXT)[-1]]
    assert foreign.encode(TEXT)[1:] == english.encode(TEXT)[1:]
    assert foreign.encode(TEXT)[0] != english.encode(TEXT)[0]
    assert foreign.identity not in (None, english.identity), "a cache keeps their tokens apart"


def test_english_and_a_text_without_language_are_as_before(encoder_folder: Callable[[str], Path]) -> None:
    tokenizer = tokenizer_in(encoder_folder("nllb"))
    tokenizer.in_language("sw")
    expected = nllb(encoder_folder("nllb"), "eng_Latn")(TEXT).input_ids
    for language in ("en", None):
        assert tokenizer.in_language(language).encode(TEXT) == expected
        assert tokenizer.in_language(language).identity == tokenizer.identity
    assert tokenizer.in_language("sw").in_language("en").encode(TEXT) == expected
    mt5 = tokenizer_in(encoder_folder("mt5"))
    assert mt5.source_languages is None
    assert mt5.in_language("sw") is mt5


def test_a_language_that_the_encoder_lacks_is_named_and_announced_as_english(encoder_folder: Callable[[str], Path]) -> None:
    folder = encoder_folder("nllb")
    tokenizer = tokenizer_in(folder)
    assert tokenizer.in_language("ach").encode(TEXT) == tokenizer.encode(TEXT)
    assert missing_languages(tokenizer.source_languages, ["sw", "ach"]) == [
        "the encoder's tokenizer has no code for Acholi (ach), so it announces such texts as English; to announce a related "
        "language, set encoder.language_codes.ach to its code"
    ]
    related = tokenizer_in(folder, ach="luo_Latn")
    assert related.in_language("ach").encode(TEXT) == nllb(folder, "luo_Latn")(TEXT).input_ids
    assert missing_languages(related.source_languages, ["ach"]) == []
    assert missing_languages(None, ["ach"]) == []


def test_codes_that_mean_nothing_are_refused(encoder_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=r"no language code 'swa_Latn'; .* such as .*swh_Latn"):
        tokenizer_in(encoder_folder("nllb"), sw="swa_Latn")
    with pytest.raises(ModelError, match="announces no languages; leave it out"):
        tokenizer_in(encoder_folder("mt5"), sw="swh_Latn")


def test_the_code_may_stand_behind_the_text(encoder_folder: Callable[[str], Path]) -> None:
    legacy = nllb(encoder_folder("nllb"), "eng_Latn", legacy_behaviour=True)
    languages = source_languages_of(legacy, {}, "here")
    assert languages is not None
    code = legacy.convert_tokens_to_ids("swh_Latn")
    assert languages.frame(languages.code("sw")) == ([], [legacy.eos_token_id, code])
    assert legacy.src_lang == "eng_Latn", "the tokenizer itself stays as it was"


def test_other_families_have_other_codes(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0), ("a", -3.0)]
    mbart = SourceLanguages(transformers.MBart50Tokenizer(vocab=pieces), {})
    assert [mbart.code(language) for language in ("en", "sw", "zh", "ja")] == ["en_XX", "sw_KE", "zh_CN", "ja_XX"]
    assert mbart.lacks("bg")
    spelled = encoder_folder("xlmr") / "sentencepiece.bpe.model"
    (tmp_path / "vocab.json").write_text(json.dumps({piece: index for index, (piece, _) in enumerate(pieces)}))
    m2m100 = transformers.M2M100Tokenizer(str(tmp_path / "vocab.json"), str(spelled))
    languages = SourceLanguages(m2m100, {})
    assert languages.code("sw") == "sw"
    assert languages.frame("sw") == ([m2m100.get_lang_id("sw")], [m2m100.eos_token_id])


def test_sentences_are_pooled_in_their_language(bridge_of: Callable[..., BridgedModel]) -> None:
    bridge = bridge_of("llama", "nllb", encoder_settings={"max_tokens": 30})
    together = pooled_soft_tokens(bridge, [TEXT, TEXT], languages=["en", "sw"])
    assert torch.equal(together[0], pooled_soft_tokens(bridge, [TEXT])[0])
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_an_export_says_how_the_encoder_calls_the_languages(recipe_of: Callable[..., Recipe]) -> None:
    assert _encoder_languages(recipe_of("llama", "nllb")) == {"en": "eng_Latn", "sw": "swh_Latn"}
    assert _encoder_languages(recipe_of("llama", "mt5")) == {}
