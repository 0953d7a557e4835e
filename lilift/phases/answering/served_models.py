"""Models behind `lilift serve`: an export that reads each question by its route, and any other model that lilift loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from lilift.data.languages import language as known_language
from lilift.evaluate.described_questions import DescribesQuestions
from lilift.evaluate.responders import CutsQuestions, ReadsLanguages, StreamsResponses, TakesSettings
from lilift.export.runner.answer_batch import Prompt
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.question_reading import WholeAnswer
from lilift.model.decoding.sampling import Sampling
from lilift.model.sources import STAND_IN
from lilift.phases.answering.answerer import DESCRIPTION, Answerer, AnswerOptions
from lilift.phases.answering.pivot_responder import ENGLISH
from lilift.phases.answering.routed_responder import Routes
from lilift.phases.run_folder import recipe_of
from lilift.recipe import sealed_records
from lilift.recipe.errors import ModelError, RecipeError

BASE = "base"
"""`--beside base`: the LLM that a run or an export was trained from."""


MOST_NEW_TOKENS = 4096
"""A request may ask for an answer of this many tokens at most, so that a single one does not fill the memory."""


class RoutedReading:
    """Reads each question of an export by its route, and translates answers; see `ReadsQuestions`.

    Args:
        bridge: the export.
        routes: chooses.
        languages: codes that a request may name.
        default: the language of questions whose request names none.
    """

    def __init__(self, bridge: ExportedBridge, routes: Routes, languages: Sequence[str], default: str) -> None:
        self._bridge, self._routes, self._default = bridge, routes, default
        self.languages = languages
        self.translates = routes.may_translate_back

    def prepare(self, question: str, language: str | None) -> tuple[Prompt, dict[str, Any]]:
        """The prompt of the question's route, and the route with its figures and the translation."""
        asked = language or self._default
        route = self._routes.taken(question, asked).route
        read = self._routes.read_by(route, question, asked)
        prompt = self._bridge.prepare_text(read) if route == "plain" else self._bridge.prepare(read)
        return prompt, self._routes.about(question, asked)

    def answer_for(self, answer: str, question: str, language: str | None) -> tuple[str, dict[str, Any]]:
        """The answer in the language that people want, and beside it the English one."""
        found = self._routes.in_users_language(answer, question, language or self._default)
        return found.text, found.beside


class ServedAnswerer:
    """A run, an export, or an LLM that answers one question after the other; see `AnswersWhole`.

    Args:
        model: the model.
        name: its name for requests.
        languages: codes that a request may name.
        default: the language of questions whose request names none.
    """

    def __init__(self, model: Answerer, name: str, languages: Sequence[str], default: str) -> None:
        self._responder = model.responder
        self._default = default
        self.name = name
        tells = isinstance(self._responder, ReadsLanguages) and self._responder.announces_languages
        self.languages: Sequence[str] = languages if tells else ()

    def answer_whole(
        self, question: str, language: str | None, *, max_new_tokens: int | None, sampling: Sampling | None
    ) -> WholeAnswer:
        """The answer to a question."""
        responder = self._responder
        if isinstance(responder, ReadsLanguages) and responder.announces_languages:
            responder = cast("Any", responder.in_language(language or self._default))
        assert isinstance(responder, TakesSettings)
        most = None if max_new_tokens is None else min(max_new_tokens, MOST_NEW_TOKENS)
        set_up = responder.with_settings(max_new_tokens=most, sampling=sampling)
        cut = isinstance(set_up, CutsQuestions) and set_up.cuts([question])[0]
        about = set_up.about_questions([question])[0] if isinstance(set_up, DescribesQuestions) else {}
        assert isinstance(set_up, StreamsResponses)
        (response,) = set_up.stream([question], samples=1)
        ended = response.ended is not False
        return WholeAnswer(response.text.strip(), response.tokens, ended, cut, {**about, **response.beside})


def name_of(model: str, system: str = "") -> str:
    """The name of a model for requests: the end of its path or hub name, with the system of a run."""
    name = model.removeprefix(STAND_IN).rstrip("/").split("/")[-1] or "model"
    return f"{name}-{system}" if system and (Path(model).expanduser() / "recipe.yaml").is_file() else name


def base_of(model: str, template: str | None) -> tuple[str, AnswerOptions]:
    """The LLM that a run or an export was trained from, in the precision and, without `template`, the prompt of training.

    Merged weights are not the base: they hold the adapter. So the base is always a model of its own.

    Args:
        model: the folder of a run or of an export.
        template: a prompt template, or None.

    Raises:
        RecipeError: `model` is neither.
        RunFolderError: its description is damaged.
    """
    folder = Path(model).expanduser()
    if (folder / "recipe.yaml").is_file():
        recipe = recipe_of(folder)
        llm: dict[str, Any] = recipe.llm.model_dump(mode="json")
        trained: str | None = recipe.data.template if isinstance(recipe.data.template, str) else None
    elif (folder / DESCRIPTION).is_file():
        content = sealed_records.read_record(folder / DESCRIPTION, remedy="export the run again")
        llm, trained = dict(content["llm"]), str(content["template"]["name"])
    else:
        raise RecipeError(
            f"--beside {BASE} needs a run or an export, and {model} is neither",
            remedy=f"name the other model; a folder called {BASE} is ./{BASE}",
        )
    own = template or (trained if trained != "own" else None)
    options = AnswerOptions(template=own, quantization="nf4" if llm.get("quantization") == "nf4" else None)
    return str(llm["model"]), options


def served_languages(
    model: Answerer, routes: Routes | None, chosen: str | None, note: Callable[[str], None]
) -> tuple[list[str], str]:
    """The languages that requests may name, the default first: the chosen one, the model's only language, or English.

    Languages that the translator lacks are left out with a note.

    Raises:
        ModelError: the translator lacks the chosen language.
        DataError: lilift does not know the chosen language.
    """
    found = [ENGLISH]
    code = None if chosen is None else known_language(chosen).code
    for language in dict.fromkeys([*([code] if code else []), *model.languages]):
        try:
            if routes is not None:
                routes.check_language(language)
        except ModelError as error:
            if language == code:
                raise
            note(f"requests cannot name {language}: {error.what}")
        else:
            found.append(language)
    others = [language for language in found if language != ENGLISH]
    default = code or (others[0] if len(set(others)) == 1 else ENGLISH)
    return list(dict.fromkeys([default, *found])), default
