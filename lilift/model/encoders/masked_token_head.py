"""The head that names masked tokens from an encoder's states: the encoder's own, or a new one.

Checkpoints of XLM-R and BERT bring the head of their pretraining. T5 encoders have none, and neither have encoders that were
trained on for retrieval, such as E5. They get one linear layer over the tokens of the text at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

from lilift.model.encoders.encoder_tokenizer import EncoderTokenizer, SentencePieceTokenizer
from lilift.model.seeding import seeded
from lilift.model.sources import loading
from lilift.recipe.errors import ModelError

MOST_CLASSES = 16_384
"""A new head knows at most so many tokens, the most frequent ones; the encoder is not asked for the others."""
SENTINEL = "<extra_id_0>"  # T5 puts it in the place of masked words


class MaskedTokenHead(Protocol):
    """Names tokens from states. It is a module of torch."""

    def __call__(self, states: Tensor) -> Tensor:
        """[N, E] states to [N, C] scores in float32."""

    def classes(self, tokens: Tensor) -> Tensor:
        """[N] tokens to the places [N] of their scores, on the CPU."""


class NewHead(nn.Module):
    """One linear layer in float32.

    Args:
        width: E, the size of the states.
        tokens: the tokens that it knows, in the order of their numbers.
        seed: of its first weights.
    """

    def __init__(self, width: int, tokens: Sequence[int], *, seed: int) -> None:
        super().__init__()
        self._tokens = torch.tensor(tokens)
        with seeded(seed):
            self.linear = nn.Linear(width, len(tokens))

    def forward(self, states: Tensor) -> Tensor:
        """See `MaskedTokenHead`."""
        scores: Tensor = self.linear(states.float())
        return scores

    def classes(self, tokens: Tensor) -> Tensor:
        """See `MaskedTokenHead`."""
        return torch.searchsorted(self._tokens, tokens)


class OwnHead(nn.Module):
    """The frozen head of a masked language model, without its body.

    Args:
        model: the whole model. Its body is taken out of it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        setattr(model, model.base_model_prefix, _GivenStates())
        self.model = model.requires_grad_(False).eval()

    def forward(self, states: Tensor) -> Tensor:
        """See `MaskedTokenHead`."""
        dtype = next(self.model.parameters()).dtype
        scores: Tensor = self.model(inputs_embeds=states[None].to(dtype)).logits[0]
        return scores.float()

    def classes(self, tokens: Tensor) -> Tensor:
        """The tokens themselves: it knows all."""
        return tokens

    def share_embeddings(self, encoder: PreTrainedModel) -> None:
        """Use the encoder's token embeddings in place of an equal copy of them."""
        scores, embeddings = self.model.get_output_embeddings(), encoder.get_input_embeddings()
        if scores is not None and torch.equal(scores.weight, embeddings.weight):
            scores.weight = embeddings.weight


class _GivenStates(nn.Module):
    """In the place of the body: gives the states that it is given."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=inputs_embeds)


def brings_head(config: PreTrainedConfig) -> bool:
    """Whether a model's configuration says that its files hold the head of a masked language model."""
    named = any(name.endswith("ForMaskedLM") for name in getattr(config, "architectures", None) or ())
    return named and type(config) in MODEL_FOR_MASKED_LM_MAPPING and not config.is_encoder_decoder


@torch.no_grad()
def load_own_head(
    location: str, revision: str | None, config: PreTrainedConfig, probe: Sequence[int], *, dtype: torch.dtype
) -> OwnHead | None:
    """The head in an encoder's files; None if there is none, or if it cannot work on states alone.

    Args:
        location: a folder or hub name from `model_folder_or_hub`.
        revision: commit, tag or branch on the hub.
        config: the encoder's configuration.
        probe: the tokens of a text, on which the head alone must give the same scores as the whole model.
        dtype: of the weights.

    Raises:
        ModelError: the files cannot be read.
    """
    if not brings_head(config):
        return None
    with loading(location, what="encoder"):
        model, report = AutoModelForMaskedLM.from_pretrained(
            location, config=config, revision=revision, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    if any("pooler" not in name for name in report["missing_keys"]):
        return None
    ids = torch.tensor([list(probe)])
    # Families differ in how their heads are called. The comparison says whether this one can be called alone.
    with suppress(TypeError, AttributeError, RuntimeError, KeyError, ValueError):
        expected = model.eval()(input_ids=ids).logits[0].float()
        states = getattr(model, model.base_model_prefix)(input_ids=ids).last_hidden_state[0]
        head = OwnHead(model)
        if torch.allclose(head(states), expected, rtol=1e-3, atol=1e-3):
            return head
    return None


def mask_token(location: str, revision: str | None, tokenizer: EncoderTokenizer, rows: int) -> int | None:
    """The token that an encoder has learned to fill in: its mask token, T5's first sentinel, or else its unknown token.

    Args:
        location, revision: of the encoder; transformers' own tokenizer knows which token is the mask.
        tokenizer: the one that lilift uses.
        rows: how many tokens the encoder has embeddings for.
    """
    candidates: list[int | None] = []
    try:
        with loading(location, what="encoder's tokenizer"):
            converted = AutoTokenizer.from_pretrained(location, revision=revision, trust_remote_code=False)
        sentinel = converted.convert_tokens_to_ids(SENTINEL)
        candidates += [converted.mask_token_id, None if sentinel == converted.unk_token_id else sentinel]
    except ModelError:  # only the SentencePiece file can be used
        pass
    if isinstance(tokenizer, SentencePieceTokenizer):
        piece = tokenizer.processor.piece_to_id(SENTINEL)
        candidates.append(None if piece == tokenizer.unknown_id else piece)
    return next((token for token in (*candidates, tokenizer.unknown_id) if token is not None and 0 <= token < rows), None)
