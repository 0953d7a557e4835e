"""Encoder, alignment layer and LLM as one model.

The LLM reads ``[BOS][alignment bos][soft tokens][alignment eos][prompt][response]``, packed without holes. So a row's loss and
its answer never depend on the rows beside it. `lilift.data.batches.batching` computes where everything goes; this file puts it
there. `lilift.model.assemble_bridge` loads a bridge; `lilift.model.bridge_files` writes and reads its trained parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lilift.data.batches.batching import Batch, collate
from lilift.data.texts.examples import Row
from lilift.model.alignment_layer import AlignmentLayer
from lilift.model.decoding.generation import Continuer, Embedded, Reply, evaluating, reply_of
from lilift.model.decoding.likelihood import Likelihood, log_likelihoods
from lilift.model.decoding.sampling import Sampling
from lilift.model.encoders.encoder import Encoder
from lilift.model.encoders.encoder_states import EncoderStates
from lilift.model.llms.offloaded_checkpoints import OffloadedCheckpoints
from lilift.model.llms.output_head import OutputHead, backbone_of, find_output_head
from lilift.model.llms.special_tokens import LLMTokens, special_tokens
from lilift.model.training_libraries import peft
from lilift.recipe.schema import TrainedPart
from lilift_kernels import linear_cross_entropy


class BridgedModel(nn.Module):
    """A frozen encoder, an alignment layer and a frozen LLM, which may carry a LoRA adapter.

    Args:
        encoder: reads the question.
        alignment: turns its states into soft tokens.
        llm: a causal LLM of transformers.
        llm_tokenizer: its tokenizer.
        name: the LLM's name in errors.
        seed: draws an adapter's initial weights.
        states: keeps the encoder's states where the encoder does not stay on the card; None where it stays.
        offloads: keep in host memory what gradient checkpointing saves of a forward pass.
    """

    def __init__(
        self,
        encoder: Encoder,
        alignment: AlignmentLayer,
        llm: PreTrainedModel,
        llm_tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "LLM",
        seed: int = 0,
        states: EncoderStates | None = None,
        offloads: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.alignment = alignment
        self.llm: PreTrainedModel | peft.PeftModel = llm
        self.llm_tokenizer = llm_tokenizer
        self.seed = seed
        self.states = states
        self.offloads = offloads
        self.tokens = self._find_tokens(llm, name)
        self._head = self._find_head(llm)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The LLM as an object of transformers; an adapter's layers are inside it."""
        return self.llm.get_base_model() if self.has_adapter else self.llm

    @property
    def has_adapter(self) -> bool:
        """Whether the LLM carries a LoRA adapter."""
        return isinstance(self.llm, peft.PeftModel)

    @property
    def device(self) -> torch.device:
        """The device of the LLM and the alignment layer."""
        device: torch.device = self.causal_lm.get_input_embeddings().weight.device
        return device

    def collate(self, rows: Sequence[Row], *, left_pad: bool = False, row_ids: Sequence[int] | None = None) -> Batch:
        """Pack rows for this model; see `lilift.data.batches.batching.collate`. The batch is on the CPU."""
        batch = collate(
            rows,
            self.alignment.shape,
            llm_bos=self.tokens.bos,
            encoder_pad=self.encoder.tokenizer.pad_id,
            left_pad=left_pad,
            row_ids=row_ids,
        )
        if self.states is None:
            return batch
        return replace(batch, encoder_states=self.states.padded([row.encoder_ids for row in rows]))

    @contextmanager
    def encoder_on_card(self) -> Iterator[None]:
        """Keep the encoder on the bridge's device while the block runs."""
        with nullcontext() if self.states is None else self.states.encoder_on_card():
            yield

    def padded_tokens(self, rows: Sequence[Row]) -> int:
        """Positions of these rows side by side in the LLM, padding included."""
        return len(rows) * max(self.packed_length(row) for row in rows)

    def packed_length(self, row: Row) -> int:
        """How many positions a row takes in the LLM's sequence."""
        return self.alignment.shape.packed_length(row, has_llm_bos=self.tokens.bos is not None)

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The embeddings that the LLM reads.

        Returns:
            inputs_embeds [B, T, D] in the LLM's precision, zero at padding; mask [B, T] bool; position ids [B, T], which count
            only real positions.
        """
        states = batch.encoder_states  # [B, S, E], or [B, S, L + 1, E] for an alignment layer that mixes the encoder's layers
        if states is None:
            states = self.encoder(batch.encoder_ids, batch.encoder_mask)
        # The layer itself runs, not only its table, because some embedding layers scale their rows.
        text: Tensor = self.causal_lm.get_input_embeddings()(batch.text_ids)  # [N_text, D]
        rows, longest = batch.mask.shape
        inputs = text.new_zeros(rows * longest, text.shape[-1])  # [B * T, D]
        inputs.index_copy_(0, batch.text_slots, text)
        inputs = self.alignment.write_into(inputs, states, batch)
        return inputs.view(rows, longest, -1), batch.mask, batch.positions

    def forward(self, batch: Batch, num_items: int | None = None) -> Tensor:
        """See `loss`."""
        return self.loss(batch, num_items=num_items)

    def loss(self, batch: Batch, *, num_items: int | None = None) -> Tensor:
        """Cross-entropy of the responses: the sum over a batch's tokens, divided by `num_items`.

        Args:
            batch: on the model's device.
            num_items: tokens with loss in the whole optimizer step, so that every token weighs the same in any
                micro-batch; by default the batch's own number.

        Returns:
            A scalar in float32; 0 for a batch in which no token carries loss.
        """
        inputs, mask, positions = self.embed(batch)
        arguments = {"inputs_embeds": inputs, "attention_mask": mask.long(), "position_ids": positions, "use_cache": False}
        if not batch.left_pad and _attends_fast_without_mask(inputs.device):
            # Causal attention does not see padding on the right. Without a mask it is faster, and does not repeat the keys of
            # grouped heads. Positions go on in the padding, because transformers takes a jump for a new text.
            arguments["attention_mask"] = None
            arguments["position_ids"] = torch.arange(inputs.shape[1], device=inputs.device)[None]  # [1, T]
        items = max(1, batch.loss_tokens if num_items is None else num_items)
        head = self._head
        if head is None:
            with self._saving():
                logits = self.causal_lm(**arguments).logits
            logits = logits.flatten(0, 1).index_select(0, batch.loss_rows)  # [N, V]
            return functional.cross_entropy(logits.float(), batch.loss_labels, reduction="sum") / items
        with self._saving():
            hidden = backbone_of(self.causal_lm)(**arguments).last_hidden_state  # [B, T, D]
        return linear_cross_entropy(
            hidden.flatten(0, 1),
            head.linear.weight,
            batch.loss_labels,
            rows=batch.loss_rows,
            bias=head.linear.bias,
            softcap=head.softcap,
            logit_scale=head.scale,
            num_items=items,
        )

    def generate(
        self, rows: Sequence[Row], *, max_new_tokens: int, batch_tokens: int = 8192, batch_rows: int | None = None
    ) -> list[str]:
        """Greedy answers in the order of `rows`. The batch does not change an answer; see `stream`."""
        answers = [""] * len(rows)
        for reply in self.stream(rows, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens, batch_rows=batch_rows):
            answers[reply.row] = reply.text
        return answers

    def stream(
        self,
        rows: Sequence[Row],
        *,
        max_new_tokens: int,
        batch_tokens: int = 8192,
        batch_rows: int | None = None,
        sampling: Sampling | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Iterator[Reply]:
        """Answer rows. Each answer comes as soon as it is complete, and the batch does not change it.

        Args:
            rows: the questions; lilift ignores their responses.
            max_new_tokens: the longest answer in tokens; an answer ends earlier at a stop token.
            batch_tokens: positions of prompts and answers side by side, padding included; a longer row runs alone.
            batch_rows: the largest number of rows side by side.
            sampling: how lilift draws tokens; None takes the likeliest.
            seeds: one for each row; needed with `sampling`.

        Raises:
            ModelError: the LLM cannot generate in batches.
        """
        prompts = [replace(row, response_ids=()) for row in rows]
        continuer = Continuer(
            self.causal_lm,
            stop=self.tokens.stop,
            max_new_tokens=max_new_tokens,
            budget=batch_tokens,
            most_rows=batch_rows,
            sampling=sampling,
        )

        def embed(chosen: Sequence[int]) -> Embedded:
            return self.embed(self.collate([prompts[row] for row in chosen], left_pad=True, row_ids=chosen).to(self.device))

        with evaluating(self):
            for found in continuer.run([self.packed_length(row) for row in prompts], embed, seeds=seeds):
                yield reply_of(found, self.llm_tokenizer)

    def log_likelihoods(
        self, rows: Sequence[Row], continuations: Sequence[Sequence[Sequence[int]]], *, batch_tokens: int = 8192
    ) -> list[list[Likelihood]]:
        """How likely each row's continuations (token ids) are as its answer; see `lilift.model.decoding.likelihood`."""
        prompts = [replace(row, response_ids=()) for row in rows]

        def embed(chosen: Sequence[int]) -> Embedded:
            return self.embed(self.collate([prompts[row] for row in chosen], left_pad=True, row_ids=chosen).to(self.device))

        lengths = [self.packed_length(row) for row in prompts]
        with evaluating(self), torch.no_grad():
            return log_likelihoods(self.causal_lm, lengths, embed, continuations, batch_tokens=batch_tokens)

    def train_only(self, part: TrainedPart) -> None:
        """Train the alignment layer or the LoRA adapter, and nothing else."""
        self.requires_grad_(False)
        if part == "alignment":
            self.alignment.requires_grad_(True)
            return
        if not self.has_adapter:
            raise ValueError("attach a LoRA adapter before you train it")
        for name, parameter in self.llm.named_parameters():
            if "lora_" in name:
                parameter.requires_grad_(True)

    def attach_adapter(self, llm: peft.PeftModel) -> None:
        """Use the LLM with the adapter that `add_adapter` or `add_lora` put on it."""
        self.llm = llm
        if self._head is not None:
            self._head = self._find_head(self.causal_lm)  # the adapter may be on the head itself

    def _saving(self) -> AbstractContextManager[Any]:
        """Where autograd keeps what the LLM's forward pass saves for the backward pass."""
        return OffloadedCheckpoints() if self.offloads and self.training else nullcontext()

    def _find_tokens(self, llm: PreTrainedModel, name: str) -> LLMTokens:
        return special_tokens(llm, self.llm_tokenizer, name)

    def _find_head(self, llm: PreTrainedModel) -> OutputHead | None:
        return find_output_head(llm)


def _attends_fast_without_mask(device: torch.device) -> bool:
    """Whether torch has a fast kernel for causal attention with grouped heads; on GPUs before Ampere it has not."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
