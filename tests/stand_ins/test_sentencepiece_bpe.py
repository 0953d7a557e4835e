"""The two forms of one tokenizer are one tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lilift.data import world
from lilift.stand_ins import sentencepiece_bpe


@dataclass(repr=False)
class Pair:
    """One model in both forms."""

    processor: sentencepiece.SentencePieceProcessor
    tokenizer: Tokenizer


def pair(normalization: str) -> Pair:
    text = [*world.monolingual_text("to", 300, 0), *world.monolingual_text("en", 300, 0)]
    special = {"pad": 0, "eos": 1, "unk": 2, "bos": -1}
    model = sentencepiece_bpe.train(text, vocabulary=700, normalization=normalization, special=special)
    return Pair(sentencepiece.SentencePieceProcessor(model_proto=model), sentencepiece_bpe.as_tokenizer(model, end=["</s>"]))


@pytest.fixture(scope="module")
def folding() -> Pair:
    return pair("nmt_nfkc_cf")


@pytest.fixture(scope="module")
def verbatim() -> Pair:
    return pair("identity")


@given(text=st.text(max_size=40))
@settings(max_examples=150)
def test_any_text_has_the_same_tokens_in_both_forms(folding: Pair, verbatim: Pair, text: str) -> None:
    text = text.replace("\0", "").replace(sentencepiece_bpe.SPACE, " ")
    for form in (folding, verbatim):
        ids, expected = form.tokenizer.encode(text).ids, [*form.processor.encode(text), 1]
        assert ids == expected


@pytest.mark.parametrize("language", ["to", "en"])
def test_questions_have_the_same_tokens_in_both_forms(folding: Pair, language: str) -> None:
    for example in world.test_problems(language, 100, 0):
        assert folding.tokenizer.encode(example.question).ids == [*folding.processor.encode(example.question), 1]


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@settings(max_examples=150)
def test_bytes_bring_any_text_back_unchanged(verbatim: Pair, text: str) -> None:
    """No character is unknown: what is not in the vocabulary is spelled in bytes."""
    text = text.replace(sentencepiece_bpe.SPACE, " ").replace("\0", "")
    for special in ("<pad>", "</s>", "<unk>"):
        text = text.replace(special, "")
    encoding = verbatim.tokenizer.encode(text)
    assert 2 not in encoding.ids
    decoded = verbatim.tokenizer.decode(encoding.ids)
    assert decoded == text


def test_numbers_are_split_into_digits(folding: Pair) -> None:
    tokens = folding.tokenizer.encode("Tom has 48 apples").tokens
    assert "4" in tokens
    assert "8" in tokens
    assert not any(token.strip("▁").isdigit() and len(token.strip("▁")) > 1 for token in tokens)
