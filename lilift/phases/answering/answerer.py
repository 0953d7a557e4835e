"""A model that is ready to be asked, and how it is to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lilift.evaluate.evaluator import System
from lilift.evaluate.responders import Responder
from lilift.model.decoding.sampling import Sampling
from lilift.recipe import storage
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import Dtype

EXPORTED = System("exported", "as exported")
DESCRIPTION = "lilift.json"


@dataclass(frozen=True)
class AnswerOptions:
    """How a model is to answer; what is None is as the model was trained or exported.

    Attributes:
        max_new_tokens: longest response.
        batch_tokens: tokens of prompts and responses side by side.
        sampling: None takes the likeliest token.
        samples: responses to each question.
        template: prompt template of an LLM without a bridge, by name or `CHAT`.
        quantization, dtype: of the Hugging Face part of an export, or of an LLM without a bridge.
        gguf: which of an export's GGUF files.
        threads: cores for llama.cpp.
    """

    max_new_tokens: int | None = None
    batch_tokens: int | None = None
    sampling: Sampling | None = None
    samples: int = 1
    template: str | None = None
    quantization: Literal["nf4", "none"] | None = None
    dtype: Dtype | None = None
    gguf: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Answerer:
    """A model that is ready to be asked.

    Attributes:
        responder: answers.
        system: what it is called in results.
        languages: asked beside English where no others are named.
        seed: draws the questions of `world`.
        inputs: what its answers depend on, as plain JSON values.
        folder: where its evaluations are kept if nothing else is said.
        notes: what whoever reads its results should know, a line each.
    """

    responder: Responder
    system: System
    languages: tuple[str, ...]
    seed: int
    inputs: Mapping[str, Any]
    folder: Path
    notes: tuple[str, ...] = ()


def drawing(options: AnswerOptions) -> dict[str, Any]:
    """What is drawn and how often, as far as anything is."""
    return {} if options.sampling is None else {"sampling": asdict(options.sampling), "samples": options.samples}


def refuse(options: AnswerOptions, names: tuple[str, ...], reason: str) -> None:
    """Say no to options that would have no effect.

    Raises:
        RecipeError: one of `names` is set.
    """
    for name in names:
        if getattr(options, name) is not None:
            option = {"gguf": "quant"}.get(name, name).replace("_", "-")
            raise RecipeError(f"--{option} is for other models: {reason}", remedy="leave it out")


def refuse_template(options: AnswerOptions, export: Path) -> None:
    """Say no to a prompt template for an export: it has its own.

    Raises:
        RecipeError: one is set.
    """
    if options.template is not None:
        own = storage.read_json(export / DESCRIPTION).get("template", {}).get("name")
        refuse(options, ("template",), f"an export answers in the prompt template that it was trained with ({own})")
