"""A loaded model that answers questions, and the options of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from lilift.data.languages import language as known_language
from lilift.evaluate.described_questions import DescribesQuestions
from lilift.evaluate.evaluator import System
from lilift.evaluate.responders import ReadsLanguages, Responder
from lilift.model.decoding.sampling import Sampling
from lilift.phases.answering.route_rule import TextReader
from lilift.recipe import storage
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import Dtype

EXPORTED = System("exported", "as exported")
DESCRIPTION = "lilift.json"


@dataclass(frozen=True)
class AnswerOptions:
    """How a model answers. Where an option is None, the model answers as it was trained or exported.

    Attributes:
        max_new_tokens: longest response, in tokens.
        batch_tokens: tokens of prompts and responses in a batch.
        sampling: None takes the likeliest token.
        samples: responses to each question.
        template: prompt template of an LLM without a bridge, by name or `CHAT`.
        quantization, dtype: of the Hugging Face part of an export, or of an LLM without a bridge.
        gguf: type of the GGUF file of an export to use.
        threads: CPU cores for llama.cpp.
        processes: processes of this machine that answer together and share its cores.
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
    processes: int = 1


@dataclass(frozen=True)
class Answerer:
    """A loaded model that answers questions.

    Attributes:
        responder: writes the answers.
        system: its name in results.
        languages: languages of an evaluation besides English, unless the user names others.
        seed: seed for the questions of `world`.
        inputs: everything that its answers depend on, as plain JSON values.
        folder: default folder of its evaluations.
        notes: what a reader of its results should know, one line each.
        text_reader: the same LLM as a reader of questions as text.
        bridged: whether `responder` reads questions through an encoder and an alignment layer.
    """

    responder: Responder
    system: System
    languages: tuple[str, ...]
    seed: int
    inputs: Mapping[str, Any]
    folder: Path
    notes: tuple[str, ...] = ()
    text_reader: TextReader | None = None
    bridged: bool = True


def asked_in(model: Answerer, language: str | None) -> tuple[Responder, str | None]:
    """The responder for questions in a language, and a note for the user if lilift had to choose the language.

    Only translators and some encoders (NLLB, M2M100, mBART) are told the language. Without a choice, it is the language of the
    run if it has only one besides English, and English otherwise.

    Raises:
        RecipeError: a language is given, and the encoder is not told any.
        DataError: lilift does not know the language.
    """
    responder = model.responder
    if not isinstance(responder, ReadsLanguages) or not responder.announces_languages:
        if language is not None:
            raise RecipeError(
                "--language has no effect on this model: its encoder is not told the language of a text", remedy="leave it out"
            )
        return responder, None
    others = [code for code in model.languages if code != "en"]
    chosen = known_language(language or (others[0] if len(others) == 1 else "en"))
    reader = "the translator" if isinstance(responder, DescribesQuestions) else "the encoder"
    note = f"{reader} is told that the questions are in {chosen.name}; to change this, give --language"
    return cast("Responder", responder.in_language(chosen.code)), None if language else note


def drawing(options: AnswerOptions) -> dict[str, Any]:
    """The sampling settings and the number of samples; empty if nothing is drawn."""
    return {} if options.sampling is None else {"sampling": asdict(options.sampling), "samples": options.samples}


def refuse(options: AnswerOptions, names: tuple[str, ...], reason: str) -> None:
    """Refuse options that would have no effect on this model.

    Raises:
        RecipeError: one of `names` is set.
    """
    for name in names:
        if getattr(options, name) is not None:
            option = {"gguf": "quant"}.get(name, name).replace("_", "-")
            raise RecipeError(f"--{option} has no effect on this model: {reason}", remedy="leave it out")


def refuse_template(options: AnswerOptions, export: Path) -> None:
    """Refuse a prompt template for an export, because an export has its own.

    Raises:
        RecipeError: `options.template` is set.
    """
    if options.template is not None:
        content = storage.read_json(export / DESCRIPTION)
        template = content.get("template") if isinstance(content, dict) else None
        own = template.get("name") if isinstance(template, dict) else None
        refuse(options, ("template",), f"an export always uses the prompt template of its training ({own})")
