"""Answers with the GGUF files of an export, without importing torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lilift.evaluate.evaluator import System
from lilift.evaluate.responders import seed_of
from lilift.evaluate.response_stream import Response
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.model.decoding.sampling import Sampling
from lilift.phases.answering.answerer import EXPORTED, Answerer, AnswerOptions, drawing, refuse, refuse_template
from lilift.phases.answering.route_rule import Reading, reading_of


class ExportResponder:
    """Answers with an exported bridge, one question at a time.

    Args:
        bridge: the export.
        max_new_tokens: longest response, in tokens.
        sampling: None takes the likeliest token.
        as_text: the LLM reads the question's text alone, without encoder and alignment layer.
    """

    def __init__(
        self, bridge: ExportedBridge, *, max_new_tokens: int, sampling: Sampling | None, as_text: bool = False
    ) -> None:
        self._bridge = bridge
        self._as_text = as_text
        self._max_new_tokens = max_new_tokens
        self._sampling = sampling

    def with_settings(self, *, max_new_tokens: int | None, sampling: Sampling | None) -> ExportResponder:
        """A responder of the same export with other settings; see `TakesSettings`."""
        longest = max_new_tokens or self._max_new_tokens
        return ExportResponder(self._bridge, max_new_tokens=longest, sampling=sampling, as_text=self._as_text)

    def generate(self, questions: Sequence[str]) -> list[str]:
        """One response for each question, in the same order."""
        return [response.text for response in self.stream(questions)]

    def stream(self, questions: Sequence[str], *, samples: int = 1) -> Iterator[Response]:
        """Yield `samples` responses for each question, in the order of the questions."""
        for place, question in enumerate(questions):
            prompt = self._bridge.prepare_text(question) if self._as_text else self._bridge.prepare(question)
            for sample in range(samples):
                seed = seed_of(question, sample)
                pieces = list(
                    self._bridge.stream(prompt, max_new_tokens=self._max_new_tokens, sampling=self._sampling, seed=seed)
                )
                text = "".join(piece.text for piece in pieces).strip()
                yield Response(place, text, pieces[-1].tokens, pieces[-1].ending == "stop")

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether it has more tokens than the encoder reads."""
        return [False] * len(questions) if self._as_text else self._bridge.cuts(questions)


class ExportTextReader:
    """The merged LLM of an export as a reader of questions; see `TextReader`.

    Args:
        bridge: the export.
        responder: answers questions that the LLM reads as text.
    """

    def __init__(self, bridge: ExportedBridge, responder: ExportResponder) -> None:
        self._bridge = bridge
        self.responder = responder

    def reading(self, text: str) -> Reading:
        """How well the LLM reads a text."""
        return reading_of(text, *self._bridge.text_bits(text))


def load_exported(folder: Path, options: AnswerOptions) -> Answerer:
    """Load an export with GGUF files; see `load_answerer`.

    Raises:
        EnvironmentUnfit: llama.cpp is not installed.
        RunFolderError: a part is missing, has changed, or belongs to another export.
        RecipeError: an option does not fit an export.
    """
    refuse_template(options, folder)
    refuse(options, ("batch_tokens",), "llama.cpp answers one question at a time")
    return answerer_of(ExportedBridge(folder, quantisation=options.gguf, threads=options.threads), options)


def answerer_of(bridge: ExportedBridge, options: AnswerOptions) -> Answerer:
    """A loaded export as a model that answers questions."""
    most_new = options.max_new_tokens or bridge.description.max_new_tokens
    # Each GGUF file is a system of its own, so that the answers of several files do not replace each other.
    system = System(f"{EXPORTED.name}-{bridge.quantisation}", f"{EXPORTED.title}, {bridge.quantisation}")
    inputs = {"parts": bridge.sums, "max_new_tokens": most_new}
    return Answerer(
        ExportResponder(bridge, max_new_tokens=most_new, sampling=options.sampling),
        system,
        tuple(bridge.description.languages),
        bridge.description.seed,
        inputs | drawing(options),
        bridge.folder / "evaluations",
        text_reader=text_reader(bridge, most_new, options.sampling),
    )


def text_reader(bridge: ExportedBridge, max_new_tokens: int, sampling: Sampling | None) -> ExportTextReader:
    """The merged LLM of an export as a reader of questions."""
    responder = ExportResponder(bridge, max_new_tokens=max_new_tokens, sampling=sampling, as_text=True)
    return ExportTextReader(bridge, responder)
