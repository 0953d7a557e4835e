"""Says what is known of a language before a recipe is written for it: who claims to know it, and whether a text is English."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lilift.data.languages import Language, language
from lilift.phases.routes.language_tables import families_for, model_families
from lilift.recipe.load import load_recipe, shipped_recipes
from lilift.recipe.schema import Recipe

# Frequent words of English that are rare in other languages' texts.
_ENGLISH = frozenset(
    ("the", "of", "and", "how", "many", "what", "with", "from", "she", "they", "each", "which", "this", "that", "there", "was")
)
_WORD = re.compile(r"[^\W\d_]+")
_LEAST_WORDS = 30
_SURELY_ENGLISH, _SURELY_NOT = 0.1, 0.03
"""Shares of these words. In GSM8K's and MMWP's English questions they are a fifth, in MMWP's other languages below 1%."""


def share_of_english(texts: Iterable[str]) -> float | None:
    """The share of words that hardly any language but English has; None if the texts are too short to tell."""
    words = [word.casefold() for text in texts for word in _WORD.findall(text)]
    return sum(word in _ENGLISH for word in words) / len(words) if len(words) >= _LEAST_WORDS else None


def warn_if_not_english(texts: Iterable[str]) -> list[str]:
    """A warning if exercises are not English, which both stages need."""
    share = share_of_english(texts)
    if share is None or share > _SURELY_NOT:
        return []
    why = "lilift learns the task from English, and the language from the dictionary"
    return [f"warning: these exercises do not look like English; {why}"]


def warn_if_english(texts: Iterable[str], known: Language) -> list[str]:
    """A warning if questions of a benchmark are English and not the language."""
    share = share_of_english(texts)
    return [f"warning: these questions look like English, not {known.name}"] if share and share > _SURELY_ENGLISH else []


def about_language(known: Language) -> list[str]:
    """What to try before a bridge, if the authors of an LLM name the language."""
    llms = ", ".join(family.name for family in families_for(known.code, "llm"))
    if not llms:
        return []
    claim = f"the authors of {llms} say that it knows {known.name}"
    return [f"note: {claim}, so try it without training first; `lilift routes {known.code}` shows how"]


def about_encoder(known: Language, recipe: Recipe) -> list[str]:
    """A warning if the encoder of a recipe has not read the language."""
    encoder = recipe.encoder.model
    if encoder == "stand-in:encoder":
        read = load_recipe("tiny-cpu").languages
        if known.code in read:
            return []
        names = ", ".join(language(code).name for code in read)
        return [f"note: the stand-in encoder has read only {names}; with {known.name}, a run only shows that every step works"]
    family = next((family for family in model_families() if family.role == "encoder" and family.model == encoder), None)
    if family is None or known.code in family.languages:
        return []
    models = {family.model for family in families_for(known.code, "encoder")}
    others = [name for name in shipped_recipes() if load_recipe(name).encoder.model in models]
    offer = f"; these recipes have an encoder that has: {', '.join(others)}" if others else ""
    what = f"{family.name}, the encoder of {recipe.name}, has not read {known.name}, so training may teach little"
    return [f"warning: {what}{offer}; `lilift routes {known.code}` shows every route"]
