"""Finds the shipped recipe that a new recipe extends, from the card and the LLM, and checks that the LLM fits the card."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from lilift.memory.instant_plan import TOKEN_SETTINGS, InstantPlan, instant_plan, is_fitted
from lilift.memory.planned_card import CARD_GIB, CARD_NAMES, GIB, card_gib, card_key, unknown_card
from lilift.recipe.errors import ModelError, RecipeError
from lilift.recipe.load import load_recipe, shipped_recipes
from lilift.recipe.names.local_paths import local_path
from lilift.recipe.schema import Card, Recipe

CARDS: tuple[str, ...] = get_args(Card)
_SIZE = re.compile(r"(?<![a-z\d.])(\d+(?:\.\d+)?)(b|m)(?![a-z\d])")
_UNKNOWN_SIZE = 1000.0
"""Distance of a model whose name has no size: farther than any known size."""


@dataclass(frozen=True)
class LLMAnswer:
    """The LLM of the new recipe.

    Attributes:
        base: the shipped recipe to extend.
        model: the LLM, if it is not the one of `base`.
        tokens: settings of batches that make the recipe fit the card.
        lines: what lilift found.
    """

    base: Recipe
    model: Path | str | None
    tokens: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def check_card(text: str) -> str:
    """The card of a recipe for a card's size or name: the largest one that is no larger.

    Raises:
        RecipeError: lilift does not know the card, or it is too small.
    """
    key = card_key(text)
    if key in CARDS:
        return key
    gib = card_gib(key)
    if not gib:
        raise unknown_card(text, ["cpu", "t4", *CARD_NAMES])
    fitting = [card for card in CARDS if card in CARD_GIB and CARD_GIB[card] <= gib]
    if not fitting:
        smallest = min((card for card in CARDS if card in CARD_GIB), key=lambda card: CARD_GIB[card])
        raise RecipeError(
            f"no shipped recipe is for a card of less than {smallest.replace('gb', ' GB')}",
            where=text,
            remedy="give cpu for a try without the GPU, or rent a larger card",
        )
    return max(fitting, key=lambda card: CARD_GIB[card])


def recipes_for(card: str) -> list[str]:
    """The shipped recipes that are made for a card, without baselines."""
    return [name for name in shipped_recipes() if name.endswith(f"-{card}") and not name.startswith("baseline-")]


def check_llm(text: str, card: str) -> LLMAnswer:
    """Find the shipped recipe for an LLM and a card, and check that the LLM fits.

    Args:
        text: a shipped recipe, the name of an LLM on the Hugging Face hub, or a folder with one.
        card: as `check_card` returns it.

    Raises:
        ModelError: there is no such recipe, and the text is neither a folder with a model nor a name on the hub.
        RecipeError: the LLM does not fit the card, even with the smallest batches.
    """
    offered = recipes_for(card)
    shipped = [name for name in shipped_recipes() if not name.startswith("baseline-")]
    if text in shipped:
        named = load_recipe(text)
        movable = card not in ("cpu", "t4") and named.card not in ("cpu", "t4")
        if named.card == card or movable:
            return _on_card(named, card)
        return _other_llm(named.llm.model, offered)
    path = local_path(text)
    if path is not None and not (path / "config.json").is_file():
        raise ModelError("no folder with a model, because it has no config.json", where=text, remedy=_remedy(offered))
    if path is None and text.count("/") != 1:
        raise ModelError("neither a shipped recipe, a folder, nor a name on the hub", where=text, remedy=_remedy(offered))
    if path is None:
        same = next((recipe for name in offered if (recipe := load_recipe(name)).llm.model == text), None)
        if same is not None:
            return _on_card(same, card)
    return _other_llm(path or text, offered)


def _remedy(offered: list[str]) -> str:
    return f"give a name such as Qwen/Qwen3-4B, a folder, or a shipped recipe: {', '.join(offered)}"


def _other_llm(model: Path | str, offered: list[str]) -> LLMAnswer:
    """Another LLM in the shipped recipe for this card whose LLM is nearest in size and family."""
    real = [recipe for name in offered if not (recipe := load_recipe(name)).llm.model.startswith("stand-in:")]
    base = min(real, key=lambda recipe: _distance(str(model), recipe.llm.model))
    lines = [f"lilift has no instant plan for {model}; `lilift recipe plan` plans it, and needs only its small files"]
    if is_fitted(base):
        lines.append(f"for comparison, {_peak(instant_plan(base), base)}")
    return LLMAnswer(base, model, lines=tuple(lines))


def _distance(model: str, other: str) -> tuple[float, bool]:
    """How far two LLMs are from each other, by the sizes and families in their names."""
    sizes = [_billions(name) for name in (model, other)]
    family = [re.match(r"[a-z]*", name.rpartition("/")[2].lower()) for name in (model, other)]
    far = abs(math.log(sizes[0] / sizes[1])) if sizes[0] and sizes[1] else _UNKNOWN_SIZE
    return far, not (family[0] and family[1] and family[0][0] == family[1][0])


def _billions(model: str) -> float | None:
    found = _SIZE.search(Path(model).name.lower())
    return None if found is None else float(found[1]) / (1 if found[2] == "b" else 1000)


def _on_card(base: Recipe, card: str) -> LLMAnswer:
    """A shipped recipe on a card, with smaller batches if it needs them."""
    if not is_fitted(base, card):
        return LLMAnswer(base, None, lines=(f"lilift has no instant plan for {base.name}; `lilift recipe plan` plans it",))
    tokens: dict[str, int] = {}
    while True:
        recipe = load_recipe(base.name, [f"{setting}={count}" for setting, count in tokens.items()])
        plan = instant_plan(recipe, card=card)
        worst = max(plan.phases, key=lambda phase: phase.peak_bytes)
        if worst.peak_bytes <= plan.card.usable_bytes:
            break
        setting = f"{worst.phase}.{TOKEN_SETTINGS[worst.phase]}"
        halved = getattr(getattr(recipe, worst.phase), TOKEN_SETTINGS[worst.phase]) // 2
        if halved < worst.row_tokens:
            raise RecipeError(
                f"it needs {worst.peak_bytes / GIB:.1f} GiB even with one row at a time, and {card} has only "
                f"{plan.card.usable_bytes / GIB:.1f} GiB for it",
                where=base.name,
                remedy=f"choose a smaller LLM, such as {', '.join(recipes_for(card))}",
            )
        tokens[setting] = halved
    lines = [f"{_peak(plan, recipe)}"]
    if tokens:
        smaller = ", ".join(f"{setting}={count}" for setting, count in tokens.items())
        lines.append(f"smaller batches make it fit {card}: {smaller}; this takes a little longer")
    return LLMAnswer(base, None, tokens, tuple(lines))


def _peak(plan: InstantPlan, recipe: Recipe) -> str:
    usable = f"{plan.card.usable_bytes / GIB:.1f} GiB on {plan.card.name}"
    return f"{recipe.name} ({recipe.llm.model}): at most {plan.peak_bytes / GIB:.1f} of {usable} (predicted)"
