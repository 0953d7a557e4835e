"""A letter and its marks are one spelling, however a file or a question writes them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.composed_text import composed
from lilift.data.induction.word_vectors import read_embeddings
from lilift.data.languages import language
from lilift.data.lexicons.coverage import words_of
from lilift.data.lexicons.dictionary_files import read_dictionary
from lilift.data.lexicons.lexicon import build_lexicon
from lilift.data.texts.instructions import load_instructions
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.data.texts.translations import load_translations
from lilift.evaluate.responders import seed_of
from lilift.recipe.schema import InstructionSettings

VIETNAMESE = "Cậu bé có 3 quả táo."
NFD = unicodedata.normalize("NFD", VIETNAMESE)


class Spelling:
    """A tokenizer that gives a number a character, so that every difference of spelling shows."""

    unknown_id = None
    eos_token_id = 0

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        return list(map(ord, text))[:max_tokens]

    def __call__(self, texts: list[str], **_: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [list(map(ord, text)) for text in texts]}


@pytest.mark.parametrize("text", ["", "two apples", VIETNAMESE, "ঘড়ি", "각", "a\u0301\u0302", "\ufb01"])
def test_a_composed_text_stays_as_it_is(text: str) -> None:
    nfc = unicodedata.normalize("NFC", text)
    assert composed(nfc) == nfc
    assert composed(unicodedata.normalize("NFD", text)) == nfc


def test_rows_are_composed_where_they_are_read(tmp_path: Path) -> None:
    assert NFD != VIETNAMESE
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"question": f"Say {NFD}", "response": NFD}) + "\n", encoding="utf-8")
    [example], _ = load_instructions(InstructionSettings(source=str(path)), seed=0)
    assert (example.question, example.response) == (f"Say {VIETNAMESE}", VIETNAMESE)
    path = tmp_path / "vi.tsv"
    path.write_text(f"The boy has 3 apples.\t{NFD}\n", encoding="utf-8")
    [translated], _ = load_translations(str(path), "vi", needs_response=False)
    assert translated.text == VIETNAMESE
    for name, text in (("train.en", "The boy has 3 apples."), ("train.vi", NFD)):
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    [aligned], _ = load_translations(str(tmp_path / "train.vi"), "vi", needs_response=False)
    assert aligned.text == VIETNAMESE


def test_dictionaries_and_vectors_and_counted_words_are_composed(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", "cậu bé")
    path = tmp_path / "vi.tsv"
    path.write_text(f"boy\t{nfd}\nboy\tcậu bé\napple\ttáo\n", encoding="utf-8")
    lexicon = build_lexicon(read_dictionary(path, "vi").pairs, language("vi"), str(path))
    assert [item.text for item in lexicon.find("boy")] == ["cậu bé"], "two spellings are one translation"
    path = tmp_path / "vectors.vec"
    path.write_text("".join(f"{word} 0.1 0.2 0.3\n" for word in (unicodedata.normalize("NFD", "bé"), "bé", "có")))
    found = read_embeddings(path, 10)
    assert list(found.words) == ["bé", "có"]
    assert found.left_out == {"word that comes twice": 1}
    path = tmp_path / "text.txt"
    path.write_text(unicodedata.normalize("NFD", "they like cafés and apples") + "\n", encoding="utf-8")
    counts = words_of(str(path))
    path.write_text("they like cafés and apples\n", encoding="utf-8")
    assert counts == words_of(str(path))


@pytest.mark.parametrize("layout", ["soft+text", "text"])
def test_an_llm_reads_composed_questions(layout: str) -> None:
    tokenisation = Tokenisation(
        encoder=Spelling(),
        llm=Spelling(),
        template=TEMPLATES["plain"],
        layout=layout,  # type: ignore[arg-type]
        shape=SequenceShape(has_bos=True, has_eos=True, latents=None),
        has_llm_bos=False,
        limits=Limits(100, 100, "truncate"),
    )
    one, other = tokenisation.prompts([VIETNAMESE, NFD])
    assert one.prompt_ids == other.prompt_ids
    assert VIETNAMESE in "".join(map(chr, one.prompt_ids))


def test_both_spellings_of_a_question_are_sampled_alike() -> None:
    assert seed_of(NFD, 2) == seed_of(VIETNAMESE, 2)
