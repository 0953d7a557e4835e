"""An unchanged LLM without encoder and bridge, to compare a bridged model with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lilift.data.batches.control_tokens import ControlTokens
from lilift.data.batches.tokenization import continuation_ids
from lilift.data.texts.prompt_templates import Template
from lilift.model.decoding.generation import Continuer, Embedded, Reply, evaluating, reply_of
from lilift.model.decoding.likelihood import Likelihood, log_likelihoods
from lilift.model.decoding.sampling import Sampling
from lilift.model.llms.llm import load_llm
from lilift.model.llms.special_tokens import LLMTokens, special_tokens
from lilift.recipe.errors import DataError
from lilift.recipe.schema import LLMSettings


class PlainLLM:
    """A causal LLM that reads prompts as token ids.

    Args:
        llm: a causal LLM of transformers.
        tokenizer: its tokenizer.
        name: the LLM's name in errors.
    """

    def __init__(self, llm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
        self.llm = llm
        self.tokenizer = tokenizer
        self.name = name
        self._control_tokens = ControlTokens(tokenizer)
        self.tokens: LLMTokens = special_tokens(llm, tokenizer, name)

    def prompts(self, questions: Sequence[str], template: Template) -> list[list[int]]:
        """Questions in a template's words as token ids, after the LLM's first token."""
        mark = self._control_tokens.mark
        texts = [template.prompt(mark(question), "soft+text", "respond") for question in questions]
        first = [] if self.tokens.bos is None else [self.tokens.bos]
        return [first + found for found in self._control_tokens.encode(texts)]

    def chat_prompts(self, questions: Sequence[str]) -> list[list[int]]:
        """Questions in the words of the LLM's own chat template as token ids.

        Raises:
            DataError: the LLM has no chat template.
        """
        if not self.tokenizer.chat_template:
            raise DataError("the LLM has no chat template of its own", where=self.name, remedy="choose another with --template")
        mark = self._control_tokens.mark
        turns: list[Any] = [[{"role": "user", "content": mark(question.strip())}] for question in questions]
        texts = [self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
        return self._control_tokens.encode(texts)

    def continuations(self, answers: Sequence[str], template: Template | None) -> list[tuple[int, ...]]:
        """Answers as the token ids that follow a prompt. With a chat template (None), an answer begins without a space."""
        if template is not None:
            return continuation_ids(self._control_tokens, template.openers["respond"], answers, template.separator)
        return [tuple(self._control_tokens.encode_as_text(answer)) for answer in answers]

    def stream(
        self,
        rows: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        batch_tokens: int,
        sampling: Sampling | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Iterator[Reply]:
        """Reply to every prompt, and yield each reply as soon as it is complete; see `BridgedModel.stream`."""
        continuer = Continuer(
            self.llm, stop=self.tokens.stop, max_new_tokens=max_new_tokens, budget=batch_tokens, sampling=sampling
        )

        with evaluating(self.llm):
            for found in continuer.run([len(row) for row in rows], lambda chosen: self._embed(rows, chosen), seeds=seeds):
                yield reply_of(found, self.tokenizer)

    def log_likelihoods(
        self, rows: Sequence[Sequence[int]], continuations: Sequence[Sequence[Sequence[int]]], *, batch_tokens: int
    ) -> list[list[Likelihood]]:
        """How likely each prompt's continuations (token ids) are; see `lilift.model.decoding.likelihood`."""
        lengths = [len(row) for row in rows]
        with evaluating(self.llm), torch.no_grad():
            return log_likelihoods(
                self.llm, lengths, lambda chosen: self._embed(rows, chosen), continuations, batch_tokens=batch_tokens
            )

    def _embed(self, rows: Sequence[Sequence[int]], chosen: Sequence[int]) -> Embedded:
        """Some prompts, padded on the left."""
        longest = max(len(rows[row]) for row in chosen)
        ids = torch.zeros(len(chosen), longest, dtype=torch.long)  # [B, T]
        mask = torch.zeros(len(chosen), longest, dtype=torch.bool)
        for place, row in enumerate(chosen):
            ids[place, longest - len(rows[row]) :] = torch.tensor(rows[row])
            mask[place, longest - len(rows[row]) :] = True
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        device = self.llm.get_input_embeddings().weight.device
        return self.llm.get_input_embeddings()(ids.to(device)), mask.to(device), positions.to(device)


def load_plain_llm(settings: LLMSettings, *, device: torch.device) -> PlainLLM:
    """Load an LLM and its tokenizer.

    Raises:
        ModelError: lilift cannot find or load it.
    """
    llm, tokenizer = load_llm(settings, device=device)
    return PlainLLM(llm, tokenizer, name=settings.model)
