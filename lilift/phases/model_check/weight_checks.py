"""Checks that the weights in a model's files are those of its configuration, from the headers of the files alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping

from lilift.recipe.errors import ModelError


def check_weights_fit(
    model: Any, shapes: Mapping[str, tuple[int, ...]], name: str, *, what: str, named_alike: Collection[str]
) -> None:
    """Check that a model's files hold its weights, with the sizes that its configuration says.

    lilift compares only weights that transformers loads as they are. It knows that a weight is missing only for classes whose
    files always have the names of the model's own parameters.

    Args:
        model: the model of transformers, without weights.
        shapes: every tensor of the files; nothing is checked if there are none.
        name: the model's name, for errors.
        what: the kind of model, e.g. ``LLM``.
        named_alike: the classes, as in `architectures`, whose files have the names of the model's parameters.

    Raises:
        ModelError: a weight has another size, or is missing.
    """
    if not shapes or get_model_conversion_mapping(model, add_legacy=False):
        return
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for weight, parameter in parameters.items():
        expected, stored = tuple(parameter.shape), shapes.get(weight, tuple(parameter.shape))
        if stored != expected:
            raise ModelError(
                f"the weight {weight!r} has the sizes {list(stored)}, but the {what}'s config.json says {list(expected)}",
                where=name,
                remedy="download config.json and the weights again from the same revision",
            )
    if next(iter(model.config.architectures or []), None) in named_alike:
        missing = _missing(parameters, shapes)
        if missing:
            raise ModelError(
                f"the weights of the {what} are incomplete: {missing[0]} is missing",
                where=name,
                remedy="download it again, or check that the folder holds this model's weights",
            )


def _missing(parameters: Mapping[str, nn.Parameter], shapes: Collection[str]) -> list[str]:
    """The parameters that no file holds under any of their names; tied weights have several."""
    stored = {id(parameter) for weight, parameter in parameters.items() if weight in shapes}
    return [weight for weight, parameter in parameters.items() if id(parameter) not in stored]
