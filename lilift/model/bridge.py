"""Encoder, alignment layer and LLM as one model.

The LLM reads ``[BOS][alignment bos][soft tokens][alignment eos][prompt][response]``, packed without holes, so that a row's
loss and its answer never depend on the rows beside it. `lilift.data.batches.batching` works out where everything goes; this
file puts it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lilift.data.batches.batching import Batch, collate
from lilift.data.texts.examples import Row
from lilift.model.alignment_layer import AlignmentLayer, build_alignment
from lilift.model.decoding.generation import Continuer, Embedded, Reply, evaluating, reply_of
from lilift.model.decoding.likelihood import Likelihood, log_likelihoods
from lilift.model.decoding.sampling import Sampling
from lilift.model.encoders.encoder import Encoder, load_encoder
from lilift.model.encoders.encoder_states import EncoderStates, load_encoder_states
from lilift.model.llms import unsloth_backend
from lilift.model.llms.llm import (
    LLMTokens,
    OutputHead,
    add_adapter,
    add_lora,
    backbone_of,
    find_output_head,
    load_llm,
    special_tokens,
)
from lilift.model.saved_weights import check_same_weights, read_adapter_config, read_weights
from lilift.recipe.schema import AlignmentSettings, EncoderSettings, LLMSettings, LoraSettings, Recipe, TrainedPart
from lilift_kernels import linear_cross_entropy

ALIGNMENT_FILE = "alignment.safetensors"
ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
# An ordinary text, on which the size of encoder states and LLM embeddings is measured when a layer is made.
SAMPLE_TEXT = "Maria has 12 apples and buys 3 bags with 8 in each. She gives half of them to her sister. How many are left?"


class BridgedModel(nn.Module):
    """A frozen encoder, an alignment layer and a frozen LLM, which may carry a LoRA adapter.

    Args:
        encoder: reads the question.
        alignment: turns its states into soft tokens.
        llm: a causal LLM of transformers.
        llm_tokenizer: its tokenizer.
        name: the LLM's name in errors.
        seed: what the start of an adapter is drawn from.
        states: where the encoder's states are kept if it is not to stay on the card; None if it does.
        offloads: what gradient checkpointing keeps of a forward pass waits in host memory.
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
        self.llm: PreTrainedModel | PeftModel = llm
        self.llm_tokenizer = llm_tokenizer
        self.seed = seed
        self.states = states
        self.offloads = offloads
        self.tokens = self._find_tokens(llm, name)
        self._head = self._find_head(llm)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The LLM as transformers knows it; an adapter's layers are inside it."""
        return self.llm.get_base_model() if self.has_adapter else self.llm

    @property
    def has_adapter(self) -> bool:
        """Whether the LLM carries a LoRA adapter."""
        return isinstance(self.llm, PeftModel)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
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
        """The encoder is where the bridge is, for as long as the block runs."""
        with nullcontext() if self.states is None else self.states.encoder_on_card():
            yield

    def padded_tokens(self, rows: Sequence[Row]) -> int:
        """Positions of these rows side by side in the LLM, padding included."""
        return len(rows) * max(self.packed_length(row) for row in rows)

    def packed_length(self, row: Row) -> int:
        """How many positions of the LLM's sequence a row takes."""
        return self.alignment.shape.packed_length(row, has_llm_bos=self.tokens.bos is not None)

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """What the LLM reads.

        Returns:
            inputs_embeds [B, T, D] in the LLM's precision, zero at padding; mask [B, T] bool; position ids [B, T], which count
            real positions only.
        """
        states = batch.encoder_states  # [B, S, E]
        if states is None:
            states = self.encoder(batch.encoder_ids, batch.encoder_mask)
        # Called as a module, because some embedding layers scale their rows.
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
            num_items: tokens with loss in the whole optimizer step, so that every token weighs the same in whatever
                micro-batch it comes; the batch's own number if left out.

        Returns:
            A scalar in float32. 0 for a batch without any token that carries loss.
        """
        inputs, mask, positions = self.embed(batch)
        arguments = {"inputs_embeds": inputs, "attention_mask": mask.long(), "position_ids": positions, "use_cache": False}
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
        """Greedy answers in the order of `rows`, each the same in whatever batch it was made; see `stream`."""
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
        """Answers, each as soon as it is complete and the same in whatever batch it was made.

        Args:
            rows: what is to be answered; responses in them are not looked at.
            max_new_tokens: an answer ends here at the latest, or at a stop token.
            batch_tokens: positions of prompts and answers side by side, padding included; a row that is longer runs alone.
            batch_rows: at most so many rows side by side.
            sampling: how tokens are drawn; None takes the likeliest.
            seeds: one for each row, where tokens are drawn.

        Raises:
            ModelError: the LLM cannot be continued in batches.
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
        """How likely the LLM finds each row's continuations (token ids) as its answer; see `log_likelihoods`."""
        prompts = [replace(row, response_ids=()) for row in rows]

        def embed(chosen: Sequence[int]) -> Embedded:
            return self.embed(self.collate([prompts[row] for row in chosen], left_pad=True, row_ids=chosen).to(self.device))

        lengths = [self.packed_length(row) for row in prompts]
        with evaluating(self), torch.no_grad():
            return log_likelihoods(self.causal_lm, lengths, embed, continuations, batch_tokens=batch_tokens)

    def train_only(self, part: TrainedPart) -> None:
        """The alignment layer or the LoRA adapter is to learn, and nothing else."""
        self.requires_grad_(False)
        if part == "alignment":
            self.alignment.requires_grad_(True)
            return
        if not self.has_adapter:
            raise ValueError("attach a LoRA adapter before it is to be trained")
        for name, parameter in self.llm.named_parameters():
            if "lora_" in name:
                parameter.requires_grad_(True)

    def save_part(self, part: TrainedPart, folder: Path) -> None:
        """Write the alignment layer's or the adapter's weights."""
        (self.save_alignment if part == "alignment" else self.save_adapter)(folder)

    def load_part(self, part: TrainedPart, folder: Path) -> None:
        """Read the alignment layer's or the adapter's weights; raises as `load_alignment` and `load_adapter` do."""
        (self.load_alignment if part == "alignment" else self.load_adapter)(folder)

    def attach_adapter(self, llm: PeftModel) -> None:
        """Take over the LLM with the adapter that was added to it."""
        self.llm = llm
        if self._head is not None:
            self._head = self._find_head(self.causal_lm)  # an adapter may have been put on the head itself

    def save_alignment(self, folder: Path) -> None:
        """Write the alignment layer's weights to ``alignment.safetensors``."""
        weights = {name: weight.detach().cpu().contiguous() for name, weight in self.alignment.state_dict().items()}
        save_file(weights, folder / ALIGNMENT_FILE)

    def load_alignment(self, folder: Path) -> None:
        """Read the alignment layer's weights.

        Raises:
            ModelError: the file is missing or damaged, or belongs to another layer.
        """
        path = folder / ALIGNMENT_FILE
        weights = read_weights(path)
        check_same_weights(weights, self.alignment.state_dict(), path)
        self.alignment.load_state_dict(weights)

    def save_adapter(self, folder: Path) -> None:
        """Write the LoRA adapter in peft's own format, without the network lookups and the model card of peft's own saving."""
        weights = get_peft_model_state_dict(self.llm, save_embedding_layers=False)
        save_file({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, folder / ADAPTER_FILE)
        self.llm.peft_config["default"].save_pretrained(str(folder))

    def load_adapter(self, folder: Path) -> None:
        """Read a LoRA adapter; it is attached first if the LLM carries none.

        Raises:
            ModelError: a file is missing or damaged, or the adapter belongs to another LLM.
        """
        path = folder / ADAPTER_FILE
        weights = read_weights(path)
        if not self.has_adapter:
            self.attach_adapter(add_adapter(self.causal_lm, read_adapter_config(folder / ADAPTER_CONFIG)))
        check_same_weights(weights, get_peft_model_state_dict(self.llm, save_embedding_layers=False), path)
        set_peft_model_state_dict(self.llm, weights)

    def _saving(self) -> AbstractContextManager[Any]:
        """How autograd keeps what the LLM's forward pass leaves for the backward pass."""
        return save_on_cpu(pin_memory=True) if self.offloads and self.training else nullcontext()

    def _find_tokens(self, llm: PreTrainedModel, name: str) -> LLMTokens:
        return special_tokens(llm, self.llm_tokenizer, name)

    def _find_head(self, llm: PreTrainedModel) -> OutputHead | None:
        return find_output_head(llm)


def load_bridge(
    recipe: Recipe, *, device: torch.device | str, states_folder: Path | None = None, to_train: bool = False
) -> BridgedModel:
    """Load a recipe's encoder and LLM and join them by a fresh alignment layer.

    The layer's start depends on the recipe's seed and on the two models alone.

    Args:
        recipe: what to load.
        device: where to.
        states_folder: where encoder states are kept if the recipe wants them on the disk; without it they are in host memory.
        to_train: load the LLM through `llm.backend`; otherwise it is transformers' own, which alone can generate.

    Raises:
        ModelError: a model cannot be found, loaded or used.
        EnvironmentUnfit: the backend cannot be used here.
    """
    return join_models(
        recipe.encoder,
        recipe.llm,
        recipe.alignment,
        seed=recipe.seed,
        device=device,
        states_folder=states_folder,
        longest_trained=recipe.data.max_tokens if to_train else None,
    )


def join_models(
    encoder_settings: EncoderSettings,
    llm_settings: LLMSettings,
    alignment_settings: AlignmentSettings,
    *,
    seed: int,
    device: torch.device | str,
    states_folder: Path | None = None,
    longest_trained: int | None = None,
) -> BridgedModel:
    """Load an encoder and an LLM and join them by a fresh alignment layer; see `load_bridge`.

    `longest_trained` is the number of positions of the longest row to train on, if the bridge is to be trained.
    """
    device = torch.device(device)
    states = None
    if encoder_settings.placement == "resident":
        encoder = load_encoder(encoder_settings, device=device)
    else:
        states = load_encoder_states(encoder_settings, device=device, folder=states_folder)
        encoder = states.encoder
    llm, tokenizer = load_llm(llm_settings, device=device, longest_trained=longest_trained)
    llm_size = llm.get_input_embeddings().embedding_dim
    alignment = build_alignment(alignment_settings, encoder_size=encoder.hidden_size, llm_size=llm_size, seed=seed)
    bridge = BridgedModel(
        encoder,
        alignment.to(device),
        llm,
        tokenizer,
        name=llm_settings.model,
        seed=seed,
        states=states,
        offloads=llm_settings.gradient_checkpointing == "offload",
    )
    _start_at_size_of_embeddings(bridge)
    return bridge


def attach_lora(bridge: BridgedModel, settings: LoraSettings) -> None:
    """Add a fresh LoRA adapter to the bridge's LLM; its start depends on the recipe's seed alone.

    Raises:
        RecipeError: no layer of the LLM fits `settings.target_modules`.
    """
    add = unsloth_backend.add_lora if unsloth_backend.trains(bridge.causal_lm) else add_lora
    bridge.attach_adapter(add(bridge.causal_lm, settings, seed=bridge.seed))


@torch.no_grad()
def _start_at_size_of_embeddings(bridge: BridgedModel) -> None:
    """Make soft tokens of an ordinary text as large as the LLM's own embeddings of it."""
    if not bridge.alignment.shape.reads_states:
        return
    encoder, device = bridge.encoder, bridge.device
    ids = torch.tensor([encoder.tokenizer.encode(SAMPLE_TEXT, encoder.max_positions)], device=encoder.device)
    states = encoder(ids, torch.ones_like(ids, dtype=torch.bool)).to(device)
    mask = torch.ones(ids.shape, dtype=torch.bool, device=device)
    text = torch.tensor(bridge.llm_tokenizer(SAMPLE_TEXT, add_special_tokens=False).input_ids, device=device)
    embeddings: Tensor = bridge.causal_lm.get_input_embeddings()(text)
    bridge.alignment.start_at_size(states, mask, float(embeddings.float().square().mean().sqrt()))
