"""Rows of tokens: one rule for the border of prompt and target, and an honest count of what was too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.control_tokens import ControlTokens
from lilift.data.batches.token_cache import TokenCache
from lilift.data.batches.tokenization import Limits, Task, Tokenisation, continuation_ids, unknown_by_script
from lilift.data.texts.examples import Row
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.recipe.errors import DataError, ModelError

TEXT = ["Tom has 3 apples. Answer: 3 + 4 = 7. The answer is 7.", "English: ### Response: Let's think step by step. 12 apples"]
SHAPE = SequenceShape(has_bos=True, has_eos=True, latents=None)
END = 1


class WordTokenizer:
    """An encoder's tokenizer with a token a word, known words alone, and an end mark."""

    unknown_id: int | None = 2

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        ids = [10 + sum(word.encode()) if word.isascii() else 2 for word in text.split()]
        return [*(ids if max_tokens is None else ids[: max_tokens - 1]), END]


def trained(pre_tokenizer: Any, decoder: Any, normalizer: Any = None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoder
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT * 4, trainers.BpeTrainer(special_tokens=["</s>"], initial_alphabet=alphabet, vocab_size=500)
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


BYTE_LEVEL = trained(pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel())
# As Llama 2's does, a space of its own before every text, even one that begins with a space.
SPACE_FIRST = trained(
    pre_tokenizers.Split("▁", "merged_with_next"),
    decoders.Metaspace(),
    normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
)
# Words are not kept apart, so that pieces span the border of prompt and target.
SPANNING = trained(pre_tokenizers.Split("\n", "isolated"), decoders.Fuse())


def tokenisation(
    llm: Any = BYTE_LEVEL, policy: str = "drop", source: int = 50, sequence: int = 100, **more: Any
) -> Tokenisation:
    parts: dict[str, Any] = {"template": TEMPLATES["plain"], "layout": "soft", "shape": SHAPE, "has_llm_bos": True} | more
    return Tokenisation(encoder=WordTokenizer(), llm=llm, limits=Limits(source, sequence, policy), **parts)  # type: ignore[arg-type]


def text_of(llm: Any, ids: Sequence[int]) -> str:
    text: str = llm.decode(list(ids), clean_up_tokenization_spaces=False)
    return text


@pytest.mark.parametrize("llm", [BYTE_LEVEL, SPACE_FIRST], ids=["byte-level", "space-first"])
@pytest.mark.parametrize("opener", ["Answer:", "### Response: Let's think step by step."])
def test_prompt_and_target_are_the_tokens_of_their_joint_text(llm: Any, opener: str) -> None:
    targets = ["3 + 4 = 7. The answer is 7.", "  apples\n", "x"]
    opener_ids = llm([opener], add_special_tokens=False)["input_ids"][0]
    for target, ids in zip(targets, continuation_ids(ControlTokens(llm), opener, targets), strict=True):
        joint = llm([f"{opener} {target.strip()}"], add_special_tokens=False)["input_ids"][0]
        assert [*opener_ids, *ids] == joint


def test_a_target_whose_first_token_spans_the_border_is_still_the_whole_target() -> None:
    opener = "Answer:"
    joint = SPANNING(["Answer: 3 + 4"], add_special_tokens=False)["input_ids"][0]
    assert (
        joint[: len(SPANNING([opener], add_special_tokens=False)["input_ids"][0])]
        != SPANNING([opener], add_special_tokens=False)["input_ids"][0]
    ), "the tokenizer of this test must merge across the border"
    assert text_of(SPANNING, continuation_ids(ControlTokens(SPANNING), opener, ["3 + 4"])[0]) == " 3 + 4"


def test_a_row_reads_the_question_and_says_the_target_and_the_end() -> None:
    found = tokenisation().rows(
        [Task("a", " Tom mbwa ", "3 apples", "respond"), Task("b", "Tom mbwa", "Tom dog", "reconstruct")]
    )
    respond, reconstruct = found
    assert respond is not None
    assert reconstruct is not None
    assert list(respond.encoder_ids) == WordTokenizer().encode("Tom mbwa")
    assert text_of(BYTE_LEVEL, respond.prompt_ids) == "Answer:"
    assert text_of(BYTE_LEVEL, respond.response_ids) == " 3 apples</s>"
    assert text_of(BYTE_LEVEL, reconstruct.prompt_ids) == "English:"
    assert text_of(BYTE_LEVEL, reconstruct.response_ids) == " Tom dog</s>"


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_generation_starts_with_exactly_the_prompt_of_training(template: str) -> None:
    for layout in ("soft", "soft+text"):
        maker = tokenisation(template=TEMPLATES[template], layout=layout, sequence=1000)
        (trained_row,) = maker.rows([Task("a", "Tom has 3", "7", "respond")])
        (asked,) = maker.prompts(["Tom has 3"])
        assert trained_row is not None
        assert (asked.encoder_ids, asked.prompt_ids) == (trained_row.encoder_ids, trained_row.prompt_ids)
        assert asked.response_ids == ()
        assert ("Tom has 3" in text_of(BYTE_LEVEL, asked.prompt_ids)) == (layout == "soft+text")


def test_the_question_is_never_shown_before_it_is_to_be_reconstructed() -> None:
    (row,) = tokenisation(layout="soft+text").rows([Task("a", "Tom mbwa", "Tom dog", "reconstruct")])
    assert row is not None
    assert text_of(BYTE_LEVEL, row.prompt_ids) == "English:"


LONG_SOURCE = Task("long.jsonl:3", "a b c d e f g h", "x", "respond")
LONG_TARGET = Task("long.jsonl:4", "a b", "apples and apples and 12 apples " * 3, "respond")
SHORT = Task("long.jsonl:5", "a b", "x", "respond")


def packed(row: Row) -> int:
    return SHAPE.packed_length(row, has_llm_bos=True)


def test_drop_leaves_out_and_counts_by_reason() -> None:
    maker = tokenisation(policy="drop", source=5, sequence=20)
    assert [row is not None for row in maker.rows([LONG_SOURCE, LONG_TARGET, SHORT])] == [False, False, True]
    report = maker.report
    assert (report.read, report.kept, report.dropped_source, report.dropped_sequence) == (3, 1, 1, 1)
    assert report.longest_source == 9
    assert report.longest_sequence > 20


def test_truncate_cuts_to_the_limit_and_counts() -> None:
    maker = tokenisation(policy="truncate", source=5, sequence=20)
    source, target, short = maker.rows([LONG_SOURCE, LONG_TARGET, SHORT])
    assert source is not None
    assert target is not None
    assert short is not None
    assert list(source.encoder_ids) == [*WordTokenizer().encode("a b c d")]
    assert packed(target) == 20
    assert BYTE_LEVEL.eos_token_id not in target.response_ids  # cut short, it is not to be learned as an end
    assert short.response_ids[-1] == BYTE_LEVEL.eos_token_id
    assert (maker.report.truncated_source, maker.report.truncated_response, maker.report.kept) == (1, 1, 3)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (LONG_SOURCE, r"long\.jsonl:3: the source text has 9 tokens, more than the 5 of encoder\.max_tokens"),
        (LONG_TARGET, r"long\.jsonl:4: the whole sequence has \d+ tokens, more than the 20 of data\.max_tokens"),
    ],
)
def test_error_names_the_row(task: Task, message: str) -> None:
    with pytest.raises(DataError, match=message):
        tokenisation(policy="error", source=5, sequence=20).rows([SHORT, task])


def test_a_row_that_keeps_no_label_is_an_error_and_not_silence() -> None:
    task = Task("long.jsonl:9", "a b c d e f g h i j k l m n o p q", "x", "respond")
    with pytest.raises(DataError, match=r"long\.jsonl:9: .*no response token is left"):
        tokenisation(policy="truncate", source=30, sequence=20).rows([task])


@pytest.mark.parametrize(("source", "target", "part"), [("a", " \n", "response"), ("  ", "x", "question")])
def test_an_empty_text_is_an_error_that_names_the_row(source: str, target: str, part: str) -> None:
    with pytest.raises(DataError, match=f"row 8: the {part} is empty"):
        tokenisation().rows([Task("row 8", source, target, "respond")])


def test_a_question_too_long_to_read_is_asked_all_the_same() -> None:
    maker = tokenisation(policy="error", source=5)
    (row,) = maker.prompts(["a b c d e f g h"])
    assert list(row.encoder_ids) == WordTokenizer().encode("a b c d")
    assert maker.report.truncated_source == 1


def test_an_llm_without_end_of_sequence_is_refused() -> None:
    endless = PreTrainedTokenizerFast(tokenizer_object=BYTE_LEVEL.backend_tokenizer)
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        tokenisation(endless).rows([SHORT])


def test_unknown_tokens_are_counted_by_script() -> None:
    assert unknown_by_script(WordTokenizer(), ["the dog कुत्ता", "12 dog кот кот"]) == {
        "Cyrl": (2, 2),
        "Deva": (1, 1),
        "Latn": (3, 0),
        "Zyyy": (1, 0),
    }


class AnnouncingTokenizer(WordTokenizer):
    """A tokenizer that announces the language of a text by a token before it."""

    source_languages = ("en", "sw")

    def __init__(self, language: str | None = "en") -> None:
        self.language = language
        self.identity = f"announces {language}"

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        return super().encode(f"{self.language}: {text}", max_tokens)

    def in_language(self, language: str | None) -> AnnouncingTokenizer:
        return AnnouncingTokenizer(language)


def test_each_row_is_read_in_its_own_language(tmp_path: Path) -> None:
    """Also where a cache knows the same text in another language, and where the text is cut."""
    encoder = AnnouncingTokenizer()
    tasks = [Task(code, "3 apples", "3", "respond", code) for code in ("sw", "en", "sw")]
    cache = TokenCache(tmp_path / "tokens")
    for _ in range(2):
        made = replace(tokenisation(), encoder=encoder, cache=cache)
        assert made.announces_languages
        rows = made.rows(tasks)
        assert [row.encoder_ids for row in rows if row] == [
            tuple(encoder.in_language(task.language).encode("3 apples")) for task in tasks
        ]
    cut = replace(tokenisation(policy="truncate", source=3), encoder=encoder)
    (row,) = cut.rows(tasks[:1])
    assert row is not None
    assert row.encoder_ids == tuple(encoder.in_language("sw").encode("3 apples", 3))
    assert cut.prompts(["3 apples"], "sw")[0].encoder_ids == row.encoder_ids
    assert not tokenisation().announces_languages
