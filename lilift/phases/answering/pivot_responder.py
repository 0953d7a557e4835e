"""Translates questions into English before a model answers them: the baseline "translate, then solve".

lilift translates all questions of an evaluation first and then frees the translator, so that it and the LLM are never in memory
together. In a chat the translator stays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from lilift.data.languages import language as known_language
from lilift.evaluate.benchmarks.benchmark import Benchmark
from lilift.evaluate.evaluator import System
from lilift.evaluate.responders import CutsQuestions, ReadsLanguages, StreamsResponses, TakesSettings
from lilift.evaluate.response_stream import Response, StreamingResponder
from lilift.model.decoding.sampling import Sampling
from lilift.phases.answering.answerer import Answerer
from lilift.recipe.errors import RecipeError
from lilift.recipe.interrupt import Interruption
from lilift.recipe.schema import PivotSettings
from lilift.translation.find_translator import find_translator
from lilift.translation.translate_texts import Translating, TranslationCounts
from lilift.translation.translation_cache import Translation
from lilift.translation.translator import Translator
from lilift.translation.translator_languages import translator_language

ENGLISH = "en"
REMEMBERED = 20_000
"""Questions that stay in memory: with their translations, for each language, and with the routes that they took."""


class Pivot:
    """A translator into English, and the questions that it has translated.

    Args:
        settings: `evaluate.pivot` of a recipe, or the options of a command.
        note: prints a line for the user.

    Attributes:
        found: the translations so far, by language and text.

    Raises:
        ModelError: the translator cannot be found or loaded.
        EnvironmentUnfit: CTranslate2 is not installed.
    """

    def __init__(self, settings: PivotSettings, note: Callable[[str], None]) -> None:
        self._settings = settings
        self._note = note
        self._files = find_translator(settings.model, settings.revision, note=note)
        self._translator = Translator(self._files, device=settings.device)
        self._work: dict[str, Translating] = {}
        self.found: dict[str, dict[str, Translation]] = {}
        self._back: dict[str, Translating] = {}
        self._back_translator: Translator | None = None
        place = "GPU" if self._translator.device == "cuda" else "CPU"
        note(f"translator: {self._files.bytes / 2**30:.2f} GiB of weights on the {place}")
        for line in self._translator.notes:
            note(line)

    @property
    def inputs(self) -> dict[str, Any]:
        """What the translations depend on, for the record of an evaluation."""
        chosen = dict(sorted(self._settings.language_codes.items()))
        found = {"translator": self._translator.digest, "beam_size": self._settings.beam_size, "codes": chosen}
        return {"pivot": found | ({"back": self._settings.back} if self._settings.back else {})}

    def check_languages(self, languages: Sequence[str]) -> None:
        """Look up every language before the first text is translated.

        Raises:
            ModelError: the translator lacks one.
        """
        for language in languages:
            if language != ENGLISH:
                self._working(language)

    def translate_all(self, benchmarks: Sequence[Benchmark], *, interruption: Interruption | None = None) -> None:
        """Translate the questions of all benchmarks, print how many lost a number, and free the translator.

        Raises:
            RecipeError: the questions of a benchmark have labels.
            ModelError: the translator lacks a language.
            StoppedBySignal: the user asked to stop; the translations so far are kept.
        """
        for benchmark in benchmarks:
            if any(question.labels for question in benchmark.questions):
                raise RecipeError(
                    "lilift does not translate these questions, because they mix English lines and labels with the language",
                    where=benchmark.name,
                    remedy="choose a benchmark whose answers are numbers, such as afrimgsm or mgsm",
                )
        self.check_languages([benchmark.language for benchmark in benchmarks])
        for benchmark in benchmarks:
            if benchmark.language == ENGLISH:
                continue
            texts = [question.text for question in benchmark.questions]
            before = copy.copy(self._working(benchmark.language).counts)
            self.translations(benchmark.language, texts, interruption=interruption)
            counts = _since(before, self._working(benchmark.language).counts)
            self._note(f"{benchmark.name}, {known_language(benchmark.language).name} into English: {counts.line()}")
        self._translator.free()

    def translations(
        self, language: str, texts: Sequence[str], *, interruption: Interruption | None = None
    ) -> list[Translation]:
        """The translation of each text into English; an English text stays as it is."""
        if language == ENGLISH:
            return [Translation(text) for text in texts]
        if len(self.found.get(language, ())) >= REMEMBERED:  # the cache on the disk still has them
            del self.found[language]
        found = self.found.setdefault(language, {})
        missing = [text for text in texts if text not in found]
        if missing:
            found |= self._working(language).translations(missing, interruption=interruption)
        return [found[text] for text in texts]

    def check_back(self, language: str | None = None) -> None:
        """Check that answers can be translated into other languages or, if given, into this one.

        Raises:
            RecipeError: the translator knows one direction alone, and the settings name no other for the way back.
            ModelError: the translator for the way back cannot be found or loaded, or lacks the language.
            EnvironmentUnfit: see `Pivot`.
        """
        if self._settings.back is None and self._files.family == "marian":
            raise RecipeError(
                "this translator knows one direction alone, so it cannot translate answers back",
                where=self._settings.model,
                remedy="name the translator for the way back with --pivot-back (evaluate.pivot.back), or give NLLB or M2M100",
            )
        self._translator_back()
        if language is not None and language != ENGLISH:
            self._working_back(language)

    def translated_back(self, language: str, answer: str) -> Translation:
        """An English answer in a language; the number guard compares the two."""
        return self._working_back(language).translations([answer])[answer]

    def _translator_back(self) -> Translator:
        if self._back_translator is None:
            if self._settings.back is None:
                self._back_translator = self._translator
            else:
                files = find_translator(self._settings.back, note=self._note)
                self._back_translator = Translator(files, device=self._settings.device)
                self._note(f"translator for answers: {files.bytes / 2**30:.2f} GiB of weights")
        return self._back_translator

    def _working_back(self, language: str) -> Translating:
        if language not in self._back:
            translator, chosen = self._translator_back(), self._settings.language_codes
            source = translator_language(translator.files, ENGLISH, is_target=False, chosen=chosen)
            target = translator_language(translator.files, language, is_target=True, chosen=chosen)
            self._back[language] = Translating(translator, source, target, self._settings.beam_size)
        return self._back[language]

    def _working(self, language: str) -> Translating:
        if language not in self._work:
            chosen = self._settings.language_codes
            source = translator_language(self._files, language, is_target=False, chosen=chosen)
            target = translator_language(self._files, ENGLISH, is_target=True, chosen=chosen)
            self._work[language] = Translating(self._translator, source, target, self._settings.beam_size)
        return self._work[language]


class Translations(Protocol):
    """Gives the translations of questions into English."""

    @property
    def inputs(self) -> dict[str, Any]:
        """What the translations depend on, for the record of an evaluation."""

    def translations(self, language: str, texts: Sequence[str]) -> list[Translation]:
        """The translation of each text into English; an English text stays as it is."""


class PivotResponder(StreamingResponder):
    """Answers the English translation of each question.

    Args:
        responder: the model that answers.
        pivot: the translator.
        language: the language of the questions.
    """

    announces_languages = True

    def __init__(self, responder: StreamsResponses, pivot: Translations, language: str = ENGLISH) -> None:
        if isinstance(responder, ReadsLanguages):
            responder = responder.in_language(ENGLISH)  # type: ignore[assignment]  # the same kind of responder
        self._responder = responder
        self._pivot = pivot
        self._language = language

    def in_language(self, language: str | None) -> PivotResponder:
        """The same model for questions in a language; see `ReadsLanguages`."""
        return PivotResponder(self._responder, self._pivot, language or ENGLISH)

    def with_settings(self, *, max_new_tokens: int | None, sampling: Sampling | None) -> PivotResponder:
        """The same model with other generation settings; see `TakesSettings`."""
        assert isinstance(self._responder, TakesSettings)
        changed = self._responder.with_settings(max_new_tokens=max_new_tokens, sampling=sampling)
        return PivotResponder(changed, self._pivot, self._language)

    def stream(self, questions: Sequence[str], *, samples: int = 1) -> Iterator[Response]:
        """`samples` responses to each question, in the order in which they are complete."""
        return self._responder.stream(self._english(questions), samples=samples)

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether its translation is too long for the model."""
        texts = self._english(questions)
        return self._responder.cuts(texts) if isinstance(self._responder, CutsQuestions) else [False] * len(texts)

    def about_questions(self, questions: Sequence[str]) -> list[dict[str, Any]]:
        """For each question its translation, and whether that has all numbers and is complete; see `DescribesQuestions`."""
        if self._language == ENGLISH:
            return [{} for _ in questions]
        return [
            {"translated": one.text, "numbers_kept": one.numbers_kept, "translation_complete": one.complete}
            for one in self._pivot.translations(self._language, questions)
        ]

    def _english(self, questions: Sequence[str]) -> list[str]:
        return [one.text for one in self._pivot.translations(self._language, questions)]


def through(pivot: Translations, model: Answerer) -> Answerer:
    """A model that answers translated questions."""
    assert isinstance(model.responder, StreamsResponses)  # all models that lilift loads are
    return replace(
        model,
        responder=PivotResponder(model.responder, pivot),
        system=translated_system(model.system),
        inputs={**model.inputs, **pivot.inputs},
    )


def translated_system(system: System) -> System:
    """The name of a system in results, and its title with what happens to its questions."""
    return System(system.name, f"{system.title}, questions translated into English")


def _since(before: TranslationCounts, now: TranslationCounts) -> TranslationCounts:
    return TranslationCounts(**{name: value - getattr(before, name) for name, value in vars(now).items()})
