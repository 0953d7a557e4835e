"""Which routes are open to a language on a card, which one to try first, and with which commands.

The rule, in this order:

1. An LLM's authors name the language: let the LLM read the questions itself.
2. NLLB-200 knows the language: translate the questions into English, then solve them. Tune on translated data after that.
3. An encoder has read the language, and there is a dictionary: lilift's bridge.
4. There is only a dictionary: the bridge, but with an encoder that has never read the language. Running text lets the encoder
   read it (`encoder.adapt`). Nobody has measured that with real models.
5. None of these: learn from running text, or collect a dictionary first.

Two more routes need running text in the language. lilift cannot know whether you have any, so the rule never puts them first.

A claim of authors is no measurement, so the first route is the first to *measure*. Memory comes from the instant plans of the
shipped recipes. This module imports no heavy package.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from lilift.data.languages import Language, language
from lilift.evaluate.benchmarks.benchmark_fetch import PUBLIC
from lilift.evaluate.benchmarks.benchmark_sources import SOURCES, TRANSLATORS
from lilift.memory.instant_plan import InstantPlan, instant_plan, is_fitted
from lilift.memory.planned_card import CARD_GIB, GIB, PlannedCard, planned_card
from lilift.phases.routes.language_routes import RecipeOnCard, Route, RouteName, Routes
from lilift.phases.routes.language_tables import (
    Dictionary,
    dictionaries_for,
    families_for,
    model_families,
    without_list,
)
from lilift.recipe.load import load_recipe, shipped_recipes
from lilift.recipe.schema import Recipe

_MATH = ("afrimgsm", "mgsm", "polymath-low", "mmwp", "msvamp")
_TUNED = "baseline-translated-sft-7b-24gb"
_FROM_TEXT: dict[RouteName, str] = {
    "continued": "baseline-continued-7b-24gb",
    "layer-swap": "baseline-layer-swap-7b-24gb",
}
_TRANSLATED = "baseline-translate-test-7b-24gb"
_XLM_R = "FacebookAI/xlm-roberta-large"
TRANSLATOR_GIB = 1.3
"""Weights of NLLB's 1.3B models in 8 bits: 1.37 billion parameters, computed from config.json."""


def routes_of(name: str, card: str = "24gb") -> Routes:
    """The routes that are open to a language.

    Args:
        name: code or name of the language, in any spelling.
        card: the card that the models must fit.

    Raises:
        DataError: the text names no language that lilift knows.
        RecipeError: there is no such card.
    """
    known, chosen = language(name), planned_card(card)
    fitting = _recipes_on(card)
    dictionaries = dictionaries_for(known.code)
    benchmarks = _benchmarks(known.code)
    measure = _measuring(known.code, [one for one, _ in benchmarks])
    # Questions with labels mix English lines with the language, and lilift does not translate them.
    without_labels = _measuring(known.code, [one for one, _ in benchmarks if not SOURCES[one].labels])
    bridge, recipes = _bridge(known, chosen, fitting, dictionaries, measure)
    routes = (
        _native(known, chosen, fitting, measure),
        _translate(known, chosen, fitting, without_labels),
        _tune(known, chosen, card),
        bridge,
        _from_text("continued", known, chosen, card),
        _from_text("layer-swap", known, chosen, card),
    )
    first, reason = _rule(known, chosen, routes)
    return Routes(
        known.code, known.name, chosen.name, routes, first, reason, tuple(dictionaries), tuple(benchmarks), tuple(recipes)
    )


def _rule(known: Language, card: PlannedCard, routes: Sequence[Route]) -> tuple[RouteName | None, str]:
    """See the beginning of this file."""
    native, translate, _, bridge, continued, _ = routes
    if native.open:
        return "native", (
            f"The authors of an LLM say that it knows {known.name}. The bridge would add an encoder and training to a model "
            "that reads the language already. Do not begin with the bridge"
        )
    if translate.open:
        return "translate", (
            f"NLLB-200 translates {known.name}. This needs no training, and it is the figure that any other route has to beat. "
            "Train a bridge only if translation loses on your questions, or if the translator is too slow or too large for you"
        )
    if not bridge.open:
        return None, (
            f"lilift knows no LLM, no translator and no dictionary for {known.name} on this card. "
            + ("If you have running text, let an LLM read it first. " if continued.open else "")
            + "If you have none of these either, collect a word list first (docs/lexicons.md)"
        )
    if families_for(known.code, "llm") or families_for(known.code, "translator"):
        return "bridge", f"An LLM or a translator knows {known.name}, but lilift has no plan for one of them on {card.name}"
    if families_for(known.code, "encoder"):
        return "bridge", (
            f"No LLM and no translator of the table knows {known.name}, but an encoder has read it, and there is a dictionary"
        )
    return "bridge", (
        f"No LLM, translator or encoder of the table knows {known.name}. There is only a dictionary. Nobody has measured how "
        "far a dictionary alone goes with real models: measure early, after few steps. If you have a few thousand lines of "
        "text, let the encoder read them first (encoder.adapt)"
    )


def _native(known: Language, card: PlannedCard, fitting: Sequence[RecipeOnCard], measure: str) -> Route:
    families = families_for(known.code, "llm")
    unlisted = " and ".join(f"{one.name} ({one.counted} languages by its authors)" for one in without_list("llm"))
    if not families:
        return Route("native", False, f"no LLM of the table names {known.name}. {unlisted} has no list of languages: try it")
    why = f"the authors of {', '.join(one.name for one in families)} name {known.name}. {unlisted} has no list of languages"
    found = _best_llm(fitting, [one.model for one in families])
    if found is None:
        return Route("native", False, f"{why}. But no shipped recipe with a named LLM fits {card.name}")
    costs = f"at most {found.gib['evaluate']:.1f} GiB, what {found.name} needs to answer, encoder included; no training"
    return Route("native", True, why, costs, (f"lilift eval {found.llm} --template chat --quantization nf4 {measure}",))


def _translate(known: Language, card: PlannedCard, fitting: Sequence[RecipeOnCard], measure: str) -> Route:
    families = families_for(known.code, "translator")
    if not families:
        return Route("translate", False, f"NLLB-200 does not know {known.name}")
    found = _best_llm(fitting, [one.model for one in model_families() if one.role == "llm"])
    if found is None:
        return Route("translate", False, f"NLLB-200 knows {known.name}, but no shipped LLM recipe fits {card.name}")
    pivot = f"--pivot {families[0].model}"
    commands = [f"lilift eval {found.llm} --template chat --quantization nf4 {pivot} {measure}"]
    if card.total_bytes >= CARD_GIB["24gb"] * GIB:
        commands.append(f"lilift recipe run {_TRANSLATED} --set languages=[{known.code}]")
    costs = (
        f"at most {found.gib['evaluate']:.1f} GiB for the LLM as in {found.name}, and {TRANSLATOR_GIB} GiB for the "
        "translator's weights in 8 bits; no training. NLLB's licence, CC BY-NC 4.0, forbids commercial use"
    )
    return Route("translate", True, f"NLLB-200 knows {known.name}", costs, tuple(commands))


def _tune(known: Language, chosen: PlannedCard, card: str) -> Route:
    if not families_for(known.code, "translator"):
        return Route("tune", False, f"NLLB-200 does not know {known.name}, so lilift cannot translate training data")
    found = _on_card(load_recipe(_TUNED), card)
    if found is None:
        return Route("tune", False, f"{_TUNED} does not fit {chosen.name}")
    costs = f"{max(found.gib.values()):.1f} GiB ({_TUNED}), and the time to translate and to train"
    translator = families_for(known.code, "translator")[0].model
    commands = (
        f"lilift data translate meta-math/MetaMathQA --to {known.code} --model {translator} --output translated",
        f"lilift recipe run {_TUNED} --set languages=[{known.code}]",
    )
    return Route("tune", True, f"NLLB-200 can translate English exercises into {known.name}", costs, commands)


def _bridge(
    known: Language, card: PlannedCard, fitting: Sequence[RecipeOnCard], dictionaries: Sequence[Dictionary], measure: str
) -> tuple[Route, list[RecipeOnCard]]:
    encoders = families_for(known.code, "encoder")
    recipes = [one for one in fitting if one.encoder in {family.model for family in encoders}]
    why = f"encoders that have read {known.name}: {', '.join(one.name for one in encoders) or 'none of the table'}"
    if not dictionaries:
        return Route("bridge", False, f"{why}; lilift knows no dictionary to fetch. Bring your own (docs/lexicons.md)"), recipes
    why += f"; dictionaries: {', '.join(_dictionary_in_words(one) for one in dictionaries)}"
    found = next(iter(recipes or fitting), None)
    if found is None:
        return Route("bridge", False, f"{why}. But no shipped recipe fits {card.name}"), recipes
    settings = [f"languages=[{known.code}]"]
    if encoders and not recipes:
        settings += [f"encoder.model={_XLM_R}", "encoder.max_tokens=512", "export.formats=[hf]"]
        why += ". No shipped recipe for this card has such an encoder, so the commands set one"
        costs = "the memory that `lilift recipe plan` predicts, and the time to train"
    else:
        costs = f"{max(found.gib.values()):.1f} GiB ({found.name}), and the time to train"
    given = " ".join(f"--set {one}" for one in settings)
    commands: tuple[str, ...] = (
        f"lilift lexicon fetch {','.join(one.source for one in dictionaries)} --languages {known.code} --into lexicons",
        f"lilift recipe plan {found.name} {given}",
        f"lilift recipe run {found.name} {given}",
        f"lilift eval runs/{found.name} {measure}",
    )
    if not encoders:
        text = f"texts/{known.code}.txt"
        why += f". If you have running text, in a file {text}, the last command lets the encoder read it first"
        adapted = f"--set encoder.adapt.text={text} --run-folder runs/{found.name}-adapted"
        commands = (*commands, f"lilift recipe run {found.name} {given} {adapted}")
    return Route("bridge", True, why, costs, commands), recipes


def _from_text(route: RouteName, known: Language, chosen: PlannedCard, card: str) -> Route:
    """A route that learns from running text."""
    name = _FROM_TEXT[route]
    found = _on_card(load_recipe(name), card)
    if found is None:
        return Route(route, False, f"{name} does not fit {chosen.name}")
    why = f"if you have running text in {known.name}, in a file texts/{known.code}.txt. lilift cannot know whether you have it"
    costs = f"{max(found.gib.values()):.1f} GiB ({name}), and the time to train two stages"
    run = f"lilift recipe run {name} --set languages=[{known.code}]"
    return Route(route, True, why, costs, (f"{run} --until data", f"{run} --resume"))


def _dictionary_in_words(one: Dictionary) -> str:
    if one.pairs is None or one.coverage is None:
        return one.source
    return f"{one.source} ({one.pairs:,} pairs, {one.coverage:.0%} of GSM8K's words)"


def _benchmarks(code: str) -> list[tuple[str, str]]:
    found = [(name, source.translated_by) for name, source in SOURCES.items() if code in source.languages]
    math = list(_MATH)
    order = {name: math.index(name) if name in math else len(math) for name, _ in found}
    return sorted(found, key=lambda one: (TRANSLATORS.index(one[1]), order[one[0]]))


def _measuring(code: str, benchmarks: Sequence[str]) -> str:
    """The options that evaluate a model in this language."""
    if not benchmarks:
        return "--benchmark ./your-questions.csv"
    name = benchmarks[0]
    source = "hub" if SOURCES[name].hub is not None else "fetch" if name in PUBLIC else "files"
    place = {"hub": " --source hub", "fetch": "", "files": " --path FOLDER"}[source]
    return f"--benchmark {name}{place} --languages {code}"


def _best_llm(fitting: Sequence[RecipeOnCard], models: Sequence[str]) -> RecipeOnCard | None:
    """The first family's largest LLM that fits, in the recipe that needs least memory to answer with it."""
    first = next((one for one in fitting if one.llm.startswith(tuple(models)) and "evaluate" in one.gib), None)
    if first is None:
        return None
    return min((one for one in fitting if one.llm == first.llm and "evaluate" in one.gib), key=lambda one: one.gib["evaluate"])


@cache
def _recipes_on(card: str) -> tuple[RecipeOnCard, ...]:
    """The shipped recipes with a bridge that fit a card: families in the order of the table, then the largest first.

    Recipes for a T4 come last on another card, because they compute in float32 and have a small LLM.
    """
    found = [one for recipe in _bridge_recipes() if (one := _on_card(recipe, card)) is not None]
    order = [family.model for family in model_families() if family.role == "llm"]

    def place(one: RecipeOnCard) -> tuple[bool, int, float]:
        family = next((at for at, model in enumerate(order) if one.llm.startswith(model)), len(order))
        return "t4" in one.name and card != "t4", family, -max(one.gib.values())

    return tuple(sorted(found, key=place))


@cache
def _bridge_recipes() -> tuple[Recipe, ...]:
    return tuple(load_recipe(name) for name in shipped_recipes() if not name.startswith("baseline-"))


def _on_card(recipe: Recipe, card: str) -> RecipeOnCard | None:
    """A recipe with its plan for a card; None if lilift has no instant plan for it, or if it does not fit."""
    if not is_fitted(recipe, card):
        return None
    plan: InstantPlan = instant_plan(recipe, card=card)
    if plan.peak_bytes > plan.card.usable_bytes:
        return None
    gib = {phase.phase: round(phase.peak_bytes / GIB, 1) for phase in plan.phases}
    return RecipeOnCard(recipe.name, recipe.llm.model, recipe.encoder.model, gib)
