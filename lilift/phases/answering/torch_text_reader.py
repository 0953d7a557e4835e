"""The LLM of a run, an export's `hf/` or a Hugging Face folder as a reader of questions, with torch."""

from __future__ import annotations

import math

from lilift.evaluate.responders import PlainResponder
from lilift.model.llms.plain_llm import PlainLLM
from lilift.phases.answering.route_rule import Reading, reading_of


class TorchTextReader:
    """Reads questions as text; see `TextReader`.

    Args:
        llm: the LLM; it may carry the adapter of a run.
        responder: answers questions that it reads as text.
    """

    def __init__(self, llm: PlainLLM, responder: PlainResponder) -> None:
        self._llm = llm
        self.responder = responder

    def reading(self, text: str) -> Reading:
        """How well the LLM reads a text, after its BOS token or, without one, the token that ends a text (as in lm-eval)."""
        (ids,) = self._llm.continuations([text.strip()], None)
        tokens = self._llm.tokens
        first = tokens.eos if tokens.bos is None else tokens.bos
        ((found,),) = self._llm.log_likelihoods([[first]], [[ids]], batch_tokens=len(ids) + 1)
        return reading_of(text, len(ids), -found.log_probability / math.log(2))
