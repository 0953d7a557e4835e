"""Control tokens that a text spells out are text; those that a template writes are control tokens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lilift.data.batches.control_tokens import ControlTokens
from lilift.data.batches.tokenization import Task
from lilift.data.texts.prompt_templates import Template
from lilift.model.encoders.encoder_tokenizer import HuggingFaceTokenizer
from tests.data.batches.test_tokenization import BYTE_LEVEL, SPACE_FIRST, tokenisation

END = BYTE_LEVEL.convert_tokens_to_ids("</s>")
TURN = Template("turns", "</s>[user] ", "", {"respond": "</s>[assistant]", "reconstruct": "</s>English:"}, separator="")


def unigram() -> PreTrainedTokenizerFast:
    """As XLM-R's: a Unigram model whose vocabulary holds the control tokens themselves."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁is", -3.0), ("It", -3.0)]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((letter, -5.0) for letter in "</>snuk")], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", pad_token="<pad>")


class PythonTokenizer:
    """A tokenizer without a backend, as some models bring one: a token a letter, 1 for ``</s>``."""

    all_special_tokens = ("</s>",)

    def __call__(self, text: Any, *, split_special_tokens: bool = False, **_: Any) -> dict[str, Any]:
        if isinstance(text, list):
            return {"input_ids": [self(one, split_special_tokens=split_special_tokens)["input_ids"] for one in text]}
        whole = text if split_special_tokens else text.replace("</s>", "\x01")
        return {"input_ids": [ord(letter) for letter in whole]}

    def convert_tokens_to_ids(self, token: str) -> int:
        return {"</s>": 1}[token]


@pytest.mark.parametrize("llm", [BYTE_LEVEL, SPACE_FIRST], ids=["byte-level", "space-first"])
def test_a_response_that_spells_the_end_does_not_end(llm: Any) -> None:
    task = Task("row 1", "Which tag ends </s> text?", "It is </s> in HTML 4. </s>", "respond")
    for template, written in ((TURN, 2), (None, 0)):
        settings = {"template": template} if template else {}
        (row,) = tokenisation(llm, layout="soft+text", **settings).rows([task])
        assert row is not None
        end = llm.eos_token_id
        assert row.response_ids.count(end) == 1
        assert row.response_ids[-1] == end
        assert row.prompt_ids.count(end) == written  # the template's own, and not the question's
        assert "</s>" in llm.decode(row.response_ids[:-1])


@pytest.mark.parametrize("llm", [BYTE_LEVEL, SPACE_FIRST, unigram()], ids=["byte-level", "space-first", "unigram"])
@given(text=st.lists(st.sampled_from(["</s>", "<s>", "<unk>", "<", "/s>", "It", " is ", "s", "\ufdd0", "n"]), max_size=8))
def test_no_text_makes_a_control_token(llm: Any, text: list[str]) -> None:
    tokens = ControlTokens(llm)
    joined = "".join(text)
    ids = tokens.encode([tokens.mark(joined)])[0]
    control = {llm.convert_tokens_to_ids(spelling) for spelling in tokens.spellings} - {llm.unk_token_id}
    assert not control & set(ids)


@pytest.mark.parametrize("llm", [BYTE_LEVEL, SPACE_FIRST], ids=["byte-level", "space-first"])
@given(text=st.text(alphabet="</>sunk Tom has 3 apples.|", max_size=40))
def test_letters_stay_and_other_texts_are_tokenised_as_ever(llm: Any, text: str) -> None:
    tokens = ControlTokens(llm)
    marked = tokens.mark(text)
    (ids,) = tokens.encode([marked])
    if not tokens.found_in(text):
        assert marked == text
        assert ids == llm([text], add_special_tokens=False)["input_ids"][0]
    if llm is BYTE_LEVEL:
        assert llm.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_tokenizer_written_in_python_does_the_same() -> None:
    tokens = ControlTokens(PythonTokenizer())
    (ids,) = tokens.encode(["</s>Q: " + tokens.mark("is </s> text?") + "</s>A:"])
    assert ids == [1, *map(ord, "Q: is </s> text?"), 1, *map(ord, "A:")]


def test_the_encoder_reads_text_too() -> None:
    llm = unigram()
    encoder = HuggingFaceTokenizer(llm, 1)
    assert llm.eos_token_id not in encoder.encode("It is </s>")
    assert len(encoder.encode("It is </s>")) > len(encoder.encode("It is"))


def test_what_a_text_spells_is_named() -> None:
    tokens = ControlTokens(BYTE_LEVEL)
    assert tokens.found_in("It is </s>, twice: </s>") == ["</s>", "</s>"]
    assert tokens.found_in("It is < /s>") == []
