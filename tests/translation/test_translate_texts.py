"""Many texts: the cache, the guard, the second try, and the counts. A translator of the test's own stands in for a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lilift.recipe.interrupt import Interruption, StoppedBySignal
from lilift.translation import translate_texts
from lilift.translation.text_segments import Segments, split_text
from lilift.translation.translate_texts import Translating
from lilift.translation.translation_cache import TranslationCache
from lilift.translation.translator import TranslatedSegment
from lilift.translation.translator_languages import TranslatorLanguage

SWAHILI, ENGLISH = TranslatorLanguage("sw", "swh_Latn"), TranslatorLanguage("en", "eng_Latn")


class Echo:
    """Writes texts in capitals. Of several sentences it drops the last one, and with `forgets` it drops every 7."""

    digest = "echo"

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def split(self, text: str, *, by_sentence: bool = False) -> Segments:
        return split_text(text, lambda part: len(part.split()), 100, by_sentence=by_sentence)

    def translate(self, segments: Sequence[str], *_languages: object, beam_size: int) -> list[TranslatedSegment]:
        self.seen += [(segment, beam_size) for segment in segments]
        return [TranslatedSegment(self._one(segment), "endless" not in segment) for segment in segments]

    @staticmethod
    def _one(segment: str) -> str:
        sentences = segment.split(". ")
        return ". ".join(sentences[:-1] or sentences).upper().replace("7", "")


def translating(path: Path, model: Echo) -> Translating:
    return Translating(model, SWAHILI, ENGLISH, 2, TranslationCache(path / "sw-en.sqlite"))  # type: ignore[arg-type]


def test_a_lost_number_is_tried_again_by_sentence_with_more_beams(tmp_path: Path) -> None:
    model = Echo()
    work = translating(tmp_path, model)
    texts = ["ana 3", "ana 3. na 4", "ana 7", "endless", "", "  ", "12 + 5", "ana 3"]
    found = work.translations(texts)
    assert {text: one.text for text, one in found.items()} == {
        "ana 3": "ANA 3",
        "ana 3. na 4": "ANA 3. NA 4",
        "ana 7": "ANA ",
        "endless": "ENDLESS",
        "": "",
        "  ": "  ",
        "12 + 5": "12 + 5",
    }
    assert [found[text].tried_again for text in texts[:4]] == [False, True, True, True]
    assert [found[text].numbers_kept for text in texts[:4]] == [True, True, False, True]
    assert [found[text].complete for text in texts[:4]] == [True, True, True, False]
    assert ("ana 3.", 4) in model.seen
    assert work.counts.line() == "5 texts; 3 translated twice, 1 of them then right; 1 lost a number, 1 were cut"


def test_the_cache_answers_the_second_time(tmp_path: Path) -> None:
    first = translating(tmp_path, Echo())
    texts = [f"ana {number}. na {number}" for number in range(30)]
    found = first.translations(texts)
    model = Echo()
    again = translating(tmp_path, model)
    assert again.translations([*texts, "mpya"]) == found | again.translations(["mpya"])
    assert [segment for segment, _ in model.seen] == ["mpya"]
    assert again.counts.from_cache == 31  # `mpya` too, when it is asked for again


def test_a_stop_keeps_what_is_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate_texts, "_GROUP_TOKENS", 20)
    texts = [f"maneno {number}" for number in range(40)]
    interruption = Interruption()
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done >= 10:
            monkeypatch.setattr(Interruption, "requested", True)

    with pytest.raises(StoppedBySignal, match="of 40 translations, which are kept"):
        translating(tmp_path, Echo()).translations(texts, progress=progress, interruption=interruption)
    assert 10 <= seen[-1][0] < 40
    model = Echo()
    translating(tmp_path, model).translations(texts)
    assert len({segment for segment, _ in model.seen}) == 40 - seen[-1][0]
