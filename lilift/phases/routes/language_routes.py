"""What `lilift routes` says about a language: its routes, and the recipes that fit the card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lilift.phases.routes.language_tables import Dictionary

RouteName = Literal["native", "translate", "tune", "bridge", "continued", "layer-swap"]
TITLES: dict[RouteName, str] = {
    "native": "a model that knows the language",
    "translate": "translate, then solve",
    "tune": "tune on translated data",
    "bridge": "lilift's bridge",
    "continued": "read running text first",
    "layer-swap": "combine two adapters",
}


@dataclass(frozen=True)
class RecipeOnCard:
    """A shipped recipe whose plan fits the card.

    Attributes:
        name, llm, encoder: the recipe and its models.
        gib: predicted peak of each phase in GiB.
    """

    name: str
    llm: str
    encoder: str
    gib: dict[str, float]


@dataclass(frozen=True)
class Route:
    """One route.

    Attributes:
        route: its name.
        open: whether it is open to this language on this card.
        why: what it rests on, or what is missing.
        costs: memory, and what else it needs.
        commands: what to type.
    """

    route: RouteName
    open: bool
    why: str
    costs: str = ""
    commands: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return TITLES[self.route]


@dataclass(frozen=True)
class Routes:
    """All routes of a language.

    Attributes:
        code, name: the language.
        card: name of the card.
        routes: all routes, in the order of `TITLES`.
        first: the route to try first; None if none is open.
        reason: the part of the rule that decided.
        dictionaries: what `lilift lexicon fetch` can get.
        benchmarks: benchmarks with the language, and who translated them; the most trustworthy first.
        recipes: recipes that fit the card and whose encoder has read the language.
    """

    code: str
    name: str
    card: str
    routes: tuple[Route, ...]
    first: RouteName | None
    reason: str
    dictionaries: tuple[Dictionary, ...]
    benchmarks: tuple[tuple[str, str], ...]
    recipes: tuple[RecipeOnCard, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        found = asdict(self)
        found["routes"] = [{"title": route.title} | asdict(route) for route in self.routes]
        found["benchmarks"] = [{"name": name, "translated_by": who} for name, who in self.benchmarks]
        return found
