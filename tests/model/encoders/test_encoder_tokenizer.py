"""Letters that the vocabulary lacks must reach the encoder as bytes, and ids must be the model's own."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import torch
import transformers

from lilift.model.encoders.encoder import load_encoder
from lilift.model.encoders.encoder_tokenizer import (
    EncoderTokenizer,
    HuggingFaceTokenizer,
    SentencePieceTokenizer,
    load_encoder_tokenizer,
)
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import EncoderSettings

RARE = "mary has Żółta ఎన్ని apples"


def tokenizer_in(folder: Path) -> EncoderTokenizer:
    return load_encoder_tokenizer(str(folder), None, transformers.AutoConfig.from_pretrained(folder))


@pytest.mark.parametrize("name", ["mt5", "umt5"])
def test_rare_letters_become_bytes(name: str, encoder_folder: Callable[[str], Path], sentencepiece_file: Path) -> None:
    tokenizer = tokenizer_in(encoder_folder(name))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_file))
    assert isinstance(tokenizer, SentencePieceTokenizer)
    assert tokenizer.encode(RARE) == [*processor.encode(RARE), processor.eos_id()]
    assert tokenizer.unknown_id not in tokenizer.encode(RARE)
    assert tokenizer.pad_id == 0


def test_transformers_alone_would_lose_them(encoder_folder: Callable[[str], Path]) -> None:
    """The reason for all this; when it fails, transformers has learnt byte fallback and the detour may go."""
    converted = transformers.AutoTokenizer.from_pretrained(encoder_folder("mt5"))
    assert converted.unk_token_id in converted(RARE).input_ids


def test_a_sentencepiece_file_with_other_ids_is_not_used(encoder_folder: Callable[[str], Path]) -> None:
    """XLM-R's file lies beside its model, but the model's ids are the file's plus one."""
    folder = encoder_folder("xlmr")
    assert (folder / "sentencepiece.bpe.model").is_file()
    tokenizer = tokenizer_in(folder)
    assert isinstance(tokenizer, HuggingFaceTokenizer)
    converted = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.encode("mary has apples") == converted("mary has apples").input_ids


@pytest.mark.parametrize("name", ["byt5", "nllb", "xlmr"])
def test_tokens_are_those_that_the_model_was_trained_with(name: str, encoder_folder: Callable[[str], Path]) -> None:
    tokenizer = tokenizer_in(encoder_folder(name))
    converted = transformers.AutoTokenizer.from_pretrained(encoder_folder(name))
    for text in ("mary has 3 apples", "", "a" * 40):
        assert tokenizer.encode(text) == converted(text).input_ids
    assert tokenizer.pad_id == converted.pad_token_id


@pytest.mark.parametrize("name", ["mt5", "umt5", "byt5", "nllb", "xlmr"])
def test_a_long_text_is_cut_between_its_special_tokens(name: str, encoder_folder: Callable[[str], Path]) -> None:
    tokenizer = tokenizer_in(encoder_folder(name))
    frame = tokenizer.encode("")
    whole = tokenizer.encode("mary has apples and buys more")
    cut = tokenizer.encode("mary has apples and buys more", 6)
    assert len(cut) == 6
    assert cut[-1] == whole[-1]
    assert cut[: 6 - len(frame)] == whole[: 6 - len(frame)]
    assert tokenizer.encode("mary has apples and buys more", len(whole)) == whole


def test_a_folder_without_tokenizer_is_one_line(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((encoder_folder("mt5") / "config.json").read_bytes())
    with pytest.raises(ModelError, match="tokenizer") as caught:
        tokenizer_in(tmp_path)
    assert "\n" not in caught.value.line()
    assert len(caught.value.line()) < 400


def test_a_shifted_file_alone_never_gives_shifted_ids(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """XLM-R's SentencePiece file alone: the model's own ids where transformers can convert it, a refusal where it cannot."""
    for name in ("config.json", "sentencepiece.bpe.model"):
        (tmp_path / name).write_bytes((encoder_folder("xlmr") / name).read_bytes())
    try:
        alone = tokenizer_in(tmp_path)
    except ModelError:
        return
    assert alone.encode("two red apples") == tokenizer_in(encoder_folder("xlmr")).encode("two red apples")


def test_padding_without_row_in_the_embeddings_is_not_used(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """A tokenizer with an added padding token, and one with an added word."""
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(encoder_folder("nllb"))
    for special in (True, False):
        tokenizer = AutoTokenizer.from_pretrained(encoder_folder("nllb"))
        added = tokenizer.add_special_tokens({"pad_token": "[PADDING]"}) if special else tokenizer.add_tokens(["mary"])
        assert added == 1
        tokenizer.save_pretrained(tmp_path / str(special))
    loaded = load_encoder_tokenizer(str(tmp_path / "True"), None, config)
    assert loaded.pad_id == config.pad_token_id
    with pytest.raises(ModelError, match="token 'mary' with the number"):
        load_encoder_tokenizer(str(tmp_path / "False"), None, config)


@pytest.mark.parametrize("name", ["mt5", "byt5", "xlmr", "nllb"])
def test_a_prefix_is_kept_and_the_text_is_cut(name: str, encoder_folder: Callable[[str], Path]) -> None:
    folder = encoder_folder(name)
    config = transformers.AutoConfig.from_pretrained(folder)
    plain = load_encoder_tokenizer(str(folder), None, config)
    prefixed = load_encoder_tokenizer(str(folder), None, config, text_prefix="query: ")
    text = "mary has apples and buys more"
    assert prefixed.encode(text) == plain.encode("query: " + text)
    assert prefixed.in_language("sw").encode(text) == plain.in_language("sw").encode("query: " + text)
    frame, whole = prefixed.encode(""), prefixed.encode(text)
    assert frame == plain.encode("query:")
    suffix = plain.encode("")[len(plain.prefix) :]
    limit = len(frame) + 2
    cut = prefixed.encode(text, limit)
    assert len(cut) == limit
    assert cut == [*whole[: limit - len(suffix)], *suffix], "the end of the text is cut, not the prefix"
    if name == "byt5":
        assert prefixed.identity is plain.identity is None, "lilift keeps no tokens of this tokenizer"
        return
    assert prefixed.identity != plain.identity
    assert prefixed.in_language("sw").identity != plain.in_language("sw").identity
    other = load_encoder_tokenizer(str(folder), None, config, text_prefix="passage: ")
    assert other.identity != prefixed.identity, "kept tokens of another prefix are not taken"


def test_a_prefix_that_leaves_no_room_is_refused(encoder_folder: Callable[[str], Path]) -> None:
    settings = EncoderSettings(
        model=str(encoder_folder("xlmr")), dtype="float32", max_tokens=8, prefix="mary has apples and buys "
    )
    with pytest.raises(ModelError, match=r"encoder\.prefix takes \d+ tokens of encoder\.max_tokens = 8"):
        load_encoder(settings, device=torch.device("cpu"))


def test_recipes_without_a_prefix_keep_their_fingerprint() -> None:
    assert "prefix" not in EncoderSettings(model="a").model_dump()
    assert EncoderSettings(model="a", prefix="query: ").model_dump()["prefix"] == "query: "


@pytest.mark.parametrize("name", ["mt5", "byt5"])
def test_a_decomposed_text_is_read_as_the_composed_one(name: str, encoder_folder: Callable[[str], Path]) -> None:
    tokenizer = tokenizer_in(encoder_folder(name))
    text = "mary has cậu bé"
    assert tokenizer.encode(unicodedata.normalize("NFD", text)) == tokenizer.encode(text)
    bytes_of_text = text.encode()
    if name == "byt5":
        assert [token - 3 for token in tokenizer.encode(text)[:-1]] == list(bytes_of_text), "a composed text keeps its bytes"
