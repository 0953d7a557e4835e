"""Loads what `lilift serve` serves: the model, its routes, and the model beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lilift.evaluate.evaluator import LIFTED
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.question_reading import AnswersWhole, ReadsQuestions
from lilift.phases.answering.answerer import Answerer, AnswerOptions
from lilift.phases.answering.gguf_answerer import answerer_of
from lilift.phases.answering.load_answerer import has_gguf, load_answerer
from lilift.phases.answering.pivot_responder import Pivot
from lilift.phases.answering.route_rule import RouteSettings
from lilift.phases.answering.routed_responder import routed, routes_of
from lilift.phases.answering.served_models import BASE, RoutedReading, ServedAnswerer, base_of, name_of, served_languages
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import PivotSettings, RespondIn


@dataclass(frozen=True)
class Served:
    """A model that is ready to be served.

    Attributes:
        given: as the user named it.
        model: the model.
        reading: how an export reads questions; None for its bridge, and for other models.
        respond_in: the language of its answers.
        languages: codes that a request may name.
        language: the language of questions whose request names none.
        threads: CPU cores for llama.cpp.
    """

    given: str
    model: ExportedBridge | ServedAnswerer
    reading: ReadsQuestions | None
    respond_in: RespondIn
    languages: list[str]
    language: str
    threads: int | None


def load_served(
    given: str,
    *,
    quantisation: str | None,
    threads: int | None,
    translator: PivotSettings | None,
    route: RouteSettings | None,
    respond_in: RespondIn,
    language: str | None,
    note: Callable[[str], None],
) -> Served:
    """Load the model to serve.

    Args:
        given: an export, a run or an LLM; exports with GGUF files run in llama.cpp.
        quantisation, threads: the GGUF file of an export, and CPU cores for it.
        translator: translates questions, and answers with `respond_in` `asked`.
        route: how questions reach the LLM.
        respond_in: the language of answers.
        language: the language of questions whose request names none.
        note: prints a line for the user.

    Raises:
        LiliftError: see `load_answerer`, `Routes` and `Pivot`.
    """
    folder = Path(given).expanduser()
    bridge: ExportedBridge | None = None
    if has_gguf(folder):
        bridge = ExportedBridge(folder, quantisation=quantisation, threads=threads)
        model = answerer_of(bridge, AnswerOptions())
    else:
        model = load_answerer(given, AnswerOptions(gguf=quantisation, threads=threads))
    for line in model.notes:
        note(line)
    pivot = None if translator is None else Pivot(translator, note)
    takes_routes = pivot is not None or route is not None or respond_in != "english"
    routes = routes_of(model, route, pivot, respond_in) if takes_routes else None
    languages, default = served_languages(model, routes, language, note)
    if bridge is None:
        served = ServedAnswerer(routed(model, route, pivot, respond_in), name_of(given, LIFTED.name), languages, default)
        if language is not None and not served.languages:
            raise _without_effect()
        return Served(given, served, None, respond_in, languages, default, threads)
    tells = routes is not None and routes.announces_languages
    if language is not None and not tells:
        raise _without_effect()
    reading = None if routes is None else RoutedReading(bridge, routes, languages if tells else (), default)
    return Served(given, bridge, reading, respond_in, languages, default, threads)


def load_beside(given: str, served: Served, *, template: str | None, note: Callable[[str], None]) -> AnswersWhole:
    """Load the model beside the first one. It reads questions in its own way, and an LLM is asked for the same language.

    Args:
        given: `base`, or a run, an export or an LLM.
        served: the first model.
        template: the prompt template of an LLM; for `base`, that of training if left out.
        note: prints a line for the user.

    Raises:
        RecipeError: `base` needs a run or an export; or the template does not fit the model.
        LiliftError: see `load_answerer`.
    """
    name, options = base_of(served.given, template) if given == BASE else (given, AnswerOptions(template=template))
    if has_gguf(Path(name).expanduser()):
        options = replace(options, threads=served.threads)
    model: Answerer = load_answerer(name, options)
    for line in model.notes:
        note(f"beside: {line}")
    if not model.bridged:
        model = routed(model, None, None, served.respond_in)
    elif served.respond_in != "english":
        note("beside: this model answers in English, because --respond-in asked reaches only the first model and plain LLMs")
    shown = f"{name_of(name)} (base)" if given == BASE else name_of(name, LIFTED.name)
    unique = f"{shown} (beside)" if shown == served.model.name else shown
    return ServedAnswerer(model, unique, served.languages, served.language)


def _without_effect() -> RecipeError:
    return RecipeError(
        "--language has no effect: nothing here depends on the language of a question", remedy="leave it out, or give --pivot"
    )
