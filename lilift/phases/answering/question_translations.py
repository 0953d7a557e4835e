"""The translations of all questions of an evaluation, also among several processes, and the model that answers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from lilift.evaluate.benchmarks.benchmark import Benchmark
from lilift.evaluate.evaluator import System
from lilift.evaluate.responders import Responder, StreamsResponses
from lilift.phases.answering.pivot_responder import ENGLISH, Pivot, PivotResponder, Translations, translated_system
from lilift.phases.answering.routed_responder import RoutedResponder, Routes, routed_system
from lilift.recipe.interrupt import Interruption
from lilift.recipe.schema import PivotSettings, Recipe
from lilift.translation.translation_cache import Translation

# This module imports torch, and exports answer on machines without torch.
if TYPE_CHECKING:
    from lilift.processes.joined_processes import Processes


class HeardTranslations:
    """The translations of all questions, in a process that has heard them from the first one.

    Args:
        inputs: what they depend on; see `Pivot.inputs`.
        found: the translations by language and text.
    """

    def __init__(self, inputs: Mapping[str, Any], found: Mapping[str, Mapping[str, Translation]]) -> None:
        self.inputs = dict(inputs)
        self._found = found

    def translations(self, language: str, texts: Sequence[str]) -> list[Translation]:
        """The translation of each text into English; an English text stays as it is."""
        return [Translation(text) if language == ENGLISH else self._found[language][text] for text in texts]


def asked_texts(benchmarks: Sequence[Benchmark], pivot: Translations | None) -> Iterator[tuple[list[str], str]]:
    """The questions of each benchmark as the model is asked them, and the code of their language: English if translated."""
    for benchmark in benchmarks:
        texts = [question.text for question in benchmark.questions]
        if pivot is None:
            yield texts, benchmark.language
        else:
            yield [one.text for one in pivot.translations(benchmark.language, texts)], ENGLISH


def translate_together(
    settings: PivotSettings,
    benchmarks: Sequence[Benchmark],
    note: Callable[[str], None],
    *,
    interruption: Interruption,
    processes: Processes | None = None,
    goes_on: bool = False,
) -> Translations:
    """The translations of the questions of all benchmarks. Of several processes, the first one translates and tells the others.

    Args:
        settings: name the translator.
        benchmarks: all questions.
        note: prints a line for the user.
        interruption: the user's wish to stop.
        processes: those that evaluate together.
        goes_on: whether there is more to translate, such as answers. Then the result is a `Pivot` in every process.

    Raises:
        LiliftError: see `Pivot` and `Pivot.translate_all`.
    """
    if processes is not None and not processes.is_first:
        inputs, languages = processes.hear(), processes.hear()
        found = {language: {text: Translation(*rest) for text, *rest in processes.hear()} for language in languages}
        if not goes_on:
            return HeardTranslations(inputs, found)
        own = Pivot(settings, lambda _: None)
        own.found = found
        return own
    pivot = Pivot(settings, note)
    pivot.translate_all(benchmarks, interruption=interruption)
    if processes is not None and not processes.alone:
        processes.say(pivot.inputs)
        processes.say(list(pivot.found))
        for translations in pivot.found.values():
            processes.say([[text, *astuple(one)] for text, one in translations.items()])
    return pivot


def in_recipes_language(
    recipe: Recipe, responder: Responder, inputs: dict[str, Any], system: System, pivot: Translations
) -> tuple[Responder, dict[str, Any], System]:
    """A recipe's model that answers translated questions, in the language that `evaluate.respond_in` says."""
    assert isinstance(responder, StreamsResponses)  # all models that lilift loads are
    if recipe.evaluate.respond_in == "english":
        return PivotResponder(responder, pivot), {**inputs, **pivot.inputs}, translated_system(system)
    assert isinstance(pivot, Pivot)  # `translate_together` gives one if there is more to translate
    routes = Routes(None, bridged=recipe.has_encoder, reader=None, pivot=pivot, respond_in="asked")
    return RoutedResponder({"pivot": responder}, routes), {**inputs, **routes.inputs}, routed_system(system, routes)
