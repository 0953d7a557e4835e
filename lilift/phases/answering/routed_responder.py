"""Answers each question by a route of its own, and in the user's language if the user wants that.

The three routes of a question: the LLM reads its text (`plain`), reads its English translation (`pivot`), or reads it over the
bridge (`bridge`). With `respond_in: asked`, English answers are translated back, and the LLM is asked to answer in the language
of a question that it reads as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from lilift.data.languages import language as known_language
from lilift.evaluate.evaluator import System
from lilift.evaluate.responders import CutsQuestions, ReadsLanguages, StreamsResponses, TakesSettings
from lilift.evaluate.response_stream import Response, StreamingResponder
from lilift.model.decoding.sampling import Sampling
from lilift.phases.answering.answerer import Answerer
from lilift.phases.answering.pivot_responder import ENGLISH, REMEMBERED, Pivot, Translations, through, translated_system
from lilift.phases.answering.route_rule import Reading, Route, RouteSettings, RouteTaken, TextReader, choose_route
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import RespondIn
from lilift.translation.translation_cache import Translation

_ASKED_FOR = "{question}\n\nAnswer in {language}."


@dataclass(frozen=True)
class AnswerInLanguage:
    """An answer as the user reads it.

    Attributes:
        text: the answer.
        beside: what to keep beside it, as plain JSON values: nothing, or what lilift has translated.
    """

    text: str
    beside: dict[str, Any]


class Routes:
    """The routes of one model: it chooses one for each question, says what the LLM reads, and translates answers back.

    Args:
        settings: the user's choice; None takes the model's only route (`pivot` with a translator).
        bridged: whether the model has a bridge.
        reader: its LLM as a reader of text; only `auto` and `plain` need it.
        pivot: the translator, if there is one.
        respond_in: the language of the answers.

    Raises:
        RecipeError: the model lacks the chosen route, or answers cannot come in the language of the question.
    """

    def __init__(
        self,
        settings: RouteSettings | None,
        *,
        bridged: bool,
        reader: TextReader | None,
        pivot: Pivot | None,
        respond_in: RespondIn = "english",
    ) -> None:
        self.settings = settings or RouteSettings("pivot" if pivot is not None else "bridge" if bridged else "plain")
        self._explained = settings is not None
        self.open: list[Route] = ["plain"]
        if pivot is not None:
            self.open.append("pivot")
        if bridged:
            self.open.append("bridge")
        self._reader = reader
        self._pivot = pivot
        self._respond_in = respond_in
        self._taken: dict[tuple[str, str], RouteTaken] = {}
        _check(self.settings, self.open, pivot, respond_in)
        if pivot is not None and respond_in == "asked":
            pivot.check_back()

    @property
    def announces_languages(self) -> bool:
        """Whether answers depend on the language of the question beyond what the model itself does with it."""
        return self._pivot is not None or self._respond_in == "asked"

    @property
    def inputs(self) -> dict[str, Any]:
        """What answers depend on, for the record of an evaluation."""
        found = dict(self._pivot.inputs) if self._pivot is not None else {}
        if self._explained:
            limits = [self.settings.tokens_per_word, self.settings.bits_per_word]
            found["route"] = {"choice": self.settings.choice, **({"limits": limits} if self.settings.choice == "auto" else {})}
        if self._respond_in == "asked":
            found["respond_in"] = "asked"
        return found

    def check_language(self, language: str) -> None:
        """Look the language of the questions up in the translator, in both directions that are needed.

        Raises:
            ModelError: the translator lacks it.
        """
        if self._pivot is not None and language != ENGLISH:
            if self.settings.choice in ("auto", "pivot"):
                self._pivot.check_languages([language])
            if self._respond_in == "asked":
                self._pivot.check_back(language)

    def taken(self, question: str, language: str) -> RouteTaken:
        """The route of a question."""
        key = (language, question)
        if key not in self._taken:
            if len(self._taken) >= REMEMBERED:  # a server may run for months
                self._taken.clear()
            # English needs no translation into English.
            open_routes = [route for route in self.open if route != "pivot" or language != ENGLISH]
            self._taken[key] = choose_route(
                self.settings,
                open_routes,
                lambda: self._reading(question),
                lambda: self.translation(question, language),
            )
        return self._taken[key]

    def _reading(self, question: str) -> Reading:
        assert self._reader is not None
        return self._reader.reading(question)

    def translation(self, question: str, language: str) -> Translation:
        """The question in English."""
        assert self._pivot is not None
        return self._pivot.translations(language, [question])[0]

    def read_by(self, route: Route, question: str, language: str) -> str:
        """What the model reads of a question on a route."""
        if route == "pivot":
            return self.translation(question, language).text
        if route == "plain" and self._respond_in == "asked" and language != ENGLISH:
            return _ASKED_FOR.format(question=question.strip(), language=known_language(language).name)
        return question

    def about(self, question: str, language: str) -> dict[str, Any]:
        """What a user should know about how lilift reads a question, as plain JSON values."""
        taken = self.taken(question, language)
        found = taken.as_dict() if self._explained else {}
        if taken.route == "pivot" and language != ENGLISH:
            one = self.translation(question, language)
            found |= {"translated": one.text, "numbers_kept": one.numbers_kept, "translation_complete": one.complete}
        return found

    def in_users_language(self, answer: str, question: str, language: str) -> AnswerInLanguage:
        """The answer as the user reads it."""
        if not self.translates_back(question, language):
            return AnswerInLanguage(answer, {})
        assert self._pivot is not None
        back = self._pivot.translated_back(language, answer)
        lost = not back.text.strip() and bool(answer.strip())  # an empty translation: the English is better than nothing
        kept = {"response_numbers_kept": back.numbers_kept, "response_complete": back.complete and not lost}
        return AnswerInLanguage(answer if lost else back.text, {"untranslated": answer, **kept})

    @property
    def may_translate_back(self) -> bool:
        """Whether lilift translates the answers to some questions."""
        return self._respond_in == "asked" and self._pivot is not None

    def translates_back(self, question: str, language: str) -> bool:
        """Whether lilift translates the answer to a question."""
        return self._respond_in == "asked" and language != ENGLISH and self.taken(question, language).route != "plain"


def _check(settings: RouteSettings, open_routes: Sequence[Route], pivot: Pivot | None, respond_in: RespondIn) -> None:
    choice = settings.choice
    if choice == "pivot" and pivot is None:
        raise RecipeError("--route pivot needs a translator", remedy="name one with --pivot MODEL")
    if choice == "bridge" and "bridge" not in open_routes:
        raise RecipeError(
            "--route bridge needs a bridge, and this model has none", remedy="give a run or an export, or --route plain"
        )
    if pivot is not None and (choice == "plain" or (choice == "bridge" and respond_in == "english")):
        raise RecipeError(f"--pivot has no effect with --route {choice}", remedy="leave out one of them")
    over_bridge = choice == "bridge" or (choice == "auto" and "bridge" in open_routes)
    if respond_in == "asked" and pivot is None and over_bridge:
        raise RecipeError(
            "--respond-in asked needs a translator: over the bridge this model answers in English",
            remedy="name one with --pivot MODEL, or let the LLM read and answer in the language with --route plain",
        )


class RoutedResponder(StreamingResponder):
    """Answers each question by its route; see `Routes`.

    Args:
        ways: what answers on each route. The responder of `pivot` is given English.
        routes: chooses.
        language: the language of the questions.
    """

    announces_languages = True

    def __init__(self, ways: dict[Route, StreamsResponses], routes: Routes, language: str = ENGLISH) -> None:
        self._ways = ways
        self._routes = routes
        self._language = language
        if not routes.announces_languages:
            own = [way for way in ways.values() if isinstance(way, ReadsLanguages)]
            self.announces_languages = any(way.announces_languages for way in own)

    def in_language(self, language: str | None) -> RoutedResponder:
        """The same model for questions in a language; see `ReadsLanguages`."""
        found = language or ENGLISH
        self._routes.check_language(found)
        ways = {
            route: cast("StreamsResponses", way.in_language(ENGLISH if route == "pivot" else found))
            if isinstance(way, ReadsLanguages)
            else way
            for route, way in self._ways.items()
        }
        return RoutedResponder(ways, self._routes, found)

    def with_settings(self, *, max_new_tokens: int | None, sampling: Sampling | None) -> RoutedResponder:
        """The same model with other generation settings; see `TakesSettings`."""
        ways: dict[Route, StreamsResponses] = {}
        for route, way in self._ways.items():
            assert isinstance(way, TakesSettings)
            ways[route] = way.with_settings(max_new_tokens=max_new_tokens, sampling=sampling)
        return RoutedResponder(ways, self._routes, self._language)

    def stream(self, questions: Sequence[str], *, samples: int = 1) -> Iterator[Response]:
        """`samples` responses to each question, one route after the other, each as soon as it is complete."""
        for route, places in self._by_route(questions).items():
            read = [self._routes.read_by(route, questions[place], self._language) for place in places]
            for response in self._ways[route].stream(read, samples=samples):
                place = places[response.question]
                answer = self._routes.in_users_language(response.text, questions[place], self._language)
                yield replace(response, question=place, text=answer.text, beside=answer.beside)

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether what the model reads of it is too long."""
        found = [False] * len(questions)
        for route, places in self._by_route(questions).items():
            way = self._ways[route]
            if isinstance(way, CutsQuestions):
                read = [self._routes.read_by(route, questions[place], self._language) for place in places]
                for place, cut in zip(places, way.cuts(read), strict=True):
                    found[place] = cut
        return found

    def about_questions(self, questions: Sequence[str]) -> list[dict[str, Any]]:
        """For each question its route and, if there is one, its translation; see `DescribesQuestions`."""
        return [self._routes.about(question, self._language) for question in questions]

    def _by_route(self, questions: Sequence[str]) -> dict[Route, list[int]]:
        found: dict[Route, list[int]] = {}
        for place, question in enumerate(questions):
            found.setdefault(self._routes.taken(question, self._language).route, []).append(place)
        return found


def routed(
    model: Answerer, settings: RouteSettings | None, pivot: Translations | None, respond_in: RespondIn = "english"
) -> Answerer:
    """A model whose questions take the route that the settings choose, and whose answers come in the wanted language.

    Without settings and with `respond_in` `english`, this is the model itself, or `PivotResponder` with a translator.

    Raises:
        RecipeError: the model lacks the route, or cannot answer in the language of the question.
    """
    if settings is None and respond_in == "english":
        return model if pivot is None else through(pivot, model)
    assert isinstance(model.responder, StreamsResponses)  # all models that lilift loads are
    assert model.text_reader is not None
    assert pivot is None or isinstance(pivot, Pivot)  # `translate_together` gives one if there is more to translate
    routes = routes_of(model, settings, pivot, respond_in)
    ways: dict[Route, StreamsResponses] = {"plain": model.text_reader.responder}
    if model.bridged:
        ways["bridge"] = model.responder
    if pivot is not None:
        ways["pivot"] = model.responder
    responder = RoutedResponder(ways, routes)
    return replace(
        model, responder=responder, system=routed_system(model.system, routes), inputs={**model.inputs, **routes.inputs}
    )


def routes_of(model: Answerer, settings: RouteSettings | None, pivot: Pivot | None, respond_in: RespondIn) -> Routes:
    """The routes of a loaded model; see `Routes`."""
    assert model.text_reader is not None
    return Routes(settings, bridged=model.bridged, reader=model.text_reader, pivot=pivot, respond_in=respond_in)


def routed_system(system: System, routes: Routes) -> System:
    """The name of a system in results, and its title with the route of its questions and the language of its answers."""
    choice = routes.settings.choice
    if choice == "pivot":
        system = translated_system(system)
    elif choice == "auto":
        system = System(system.name, f"{system.title}, each question by its route")
    elif choice == "plain" and "bridge" in routes.open:
        system = System(system.name, f"{system.title}, questions as text without the bridge")
    back = ", answers in the language of the question" if "respond_in" in routes.inputs else ""
    return System(system.name, f"{system.title}{back}")
