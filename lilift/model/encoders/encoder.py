"""The frozen multilingual encoder: any text encoder that transformers can load. It gives one state per token.

transformers' own mappings find encoders, and the encoder half of encoder-decoders. A row's states are the same alone and in any
batch, because padding is masked and stands on the right, where it moves no position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from lilift.model.encoders.encoder_architecture import loader_of, mixed_layers, text_encoder_in
from lilift.model.encoders.encoder_tokenizer import AbsentTokenizer, EncoderTokenizer, load_encoder_tokenizer
from lilift.model.four_bit_loading import keep_autograd_on_cpu, nf4
from lilift.model.sources import loading, model_folder_or_hub
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import EncoderLayers, EncoderSettings

# T5's second feed-forward layer has outliers that 4 bits cannot represent; transformers does not quantise it either.
UNQUANTISED = ("wo",)
PROBE = "one two 3"  # a text of several tokens in every tokenizer
SMALL = 1e-6  # keeps a division by the size of an all-zero embedding finite


class Encoder(nn.Module):
    """A frozen encoder with its tokenizer.

    Args:
        model: takes ``input_ids`` and ``attention_mask`` and gives ``last_hidden_state``. `Encoder` freezes its parameters.
        tokenizer: gives the model's ids.
        add_embeddings: see `EncoderSettings`.
        layers: see `AlignmentSettings`.

    Attributes:
        mixed_layers: L + 1, the number of states of each token, if the alignment layer mixes the encoder's layers.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: EncoderTokenizer,
        *,
        add_embeddings: bool = False,
        layers: EncoderLayers = "last",
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.add_embeddings = add_embeddings
        self.mixed_layers = mixed_layers(model.config, layers)
        self.hidden_size: int = model.config.get_text_config().hidden_size

    @property
    def device(self) -> torch.device:
        """The encoder's device."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def max_positions(self) -> int | None:
        """The longest text that the model has positions for, in tokens; None if there is no limit."""
        return longest_text(self.model)

    def train(self, mode: bool = True) -> Encoder:  # noqa: ARG002
        """Stay in evaluation mode: a frozen encoder has no dropout, also while the rest of the bridge trains."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode texts.

        Args:
            ids: [B, S] token ids, padded on the right with any token.
            mask: [B, S] bool, True on real tokens.

        Returns:
            [B, S, E] states in the encoder's precision, zero at padding. With `mixed_layers`, [B, S, L + 1, E]: the token
            embeddings and the states after each layer, each scaled to a root mean square of 1. Some encoders' states, such as
            T5's, grow from layer to layer, so that the largest would hide the others in a mean.

        Raises:
            ModelError: the model does not give the states of every layer.
        """
        if self.mixed_layers is not None:
            return self._all_layers(ids, mask)
        states: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if self.add_embeddings:
            # The layer itself runs, not only its table, because some embedding layers scale their rows. Each token's embedding
            # then gets the size of its state, because mT5's embeddings are many times larger and would hide the states.
            embeddings: Tensor = self.model.get_input_embeddings()(ids)
            states = states + embeddings * (_size(states) / _size(embeddings).clamp_min(SMALL)).to(states.dtype)
        return states.masked_fill(~mask[..., None], 0)

    def _all_layers(self, ids: Tensor, mask: Tensor) -> Tensor:
        """[B, S, L + 1, E]; see `forward`. It scales one layer at a time, so that no second copy of all states is made."""
        output: Any = self.model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
        found: Sequence[Tensor] = output.hidden_states or ()
        if len(found) != self.mixed_layers:
            raise ModelError(
                f"the encoder gives the states of {len(found)} layers, not of the {self.mixed_layers} in its configuration",
                where=self.model.name_or_path or None,
                remedy="set alignment.layers to last",
            )
        states: Tensor = found[-1].new_empty(*ids.shape, len(found), self.hidden_size)
        for place, layer in enumerate(found):
            states[:, :, place] = (layer / _size(layer).clamp_min(SMALL).to(layer.dtype)).masked_fill(~mask[..., None], 0)
        return states


class AbsentEncoder(Encoder):
    """No encoder: the LLM reads questions itself."""

    def __init__(self, device: torch.device) -> None:
        nn.Module.__init__(self)
        self.tokenizer = AbsentTokenizer()
        self.hidden_size = 0
        self.add_embeddings = False
        self.mixed_layers = None
        self._device = device

    @property
    def device(self) -> torch.device:
        """The device of its states, which have no elements."""
        return self._device

    @property
    def max_positions(self) -> int | None:
        """None: there is no limit."""
        return None

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002
        """[B, 0, 0]."""
        return torch.empty(ids.shape[0], 0, 0, device=ids.device)


def load_encoder(settings: EncoderSettings, *, device: torch.device, layers: EncoderLayers = "last") -> Encoder:
    """Load the frozen encoder of a recipe, or an `AbsentEncoder` if the recipe names none.

    Args:
        settings: the recipe's section `encoder`.
        device: gets the encoder.
        layers: the recipe's setting `alignment.layers`.

    Raises:
        ModelError: lilift cannot find it, load it or use it as an encoder, or it has no positions for `settings.max_tokens`.
    """
    if settings.model == "none":
        return AbsentEncoder(device)
    if settings.adapt is not None:  # what the recipe names is not what the run reads with
        raise ValueError("load the adapted encoder of the run; see `lilift.model.encoders.run_encoder`")
    location = model_folder_or_hub(settings.model)
    with loading(settings.model, what="encoder"):
        config = AutoConfig.from_pretrained(location, revision=settings.revision, trust_remote_code=False)
        model, report = loader_of(config).from_pretrained(
            location,
            config=config,
            revision=settings.revision,
            dtype=getattr(torch, settings.dtype),
            use_safetensors=True,
            output_loading_info=True,
            **_quantised(settings, device),
        )
        keep_autograd_on_cpu(model)
        tokenizer = load_encoder_tokenizer(
            location, settings.revision, config, settings.language_codes, text_prefix=settings.prefix
        )
        missing = [parameter for name, parameter in model.named_parameters() if name in report["missing_keys"]]
        half = text_encoder_in(model)  # the rest is dropped before anything moves to the device
        _check_states(half, missing, tokenizer, settings)
        encoder = Encoder(half.to(device), tokenizer, add_embeddings=settings.add_embeddings, layers=layers)
    check_prefix(settings, tokenizer)
    check_positions(settings, encoder.max_positions)
    if encoder.mixed_layers is not None:
        ids = torch.tensor([tokenizer.encode(PROBE)], device=device)
        encoder(ids, torch.ones_like(ids, dtype=torch.bool))  # raises its error now, before the long work
    return encoder


def longest_text(model: nn.Module) -> int | None:
    """The longest text that a text encoder has positions for, in tokens; None if there is no limit."""
    tables = (module for name, module in model.named_modules() if "position" in name.rpartition(".")[2])
    # If a table has a padding row, positions start after it.
    return min(
        (
            table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
            for table in tables
            if isinstance(table, nn.Embedding)
        ),
        default=None,
    )


def check_positions(settings: EncoderSettings, limit: int | None) -> None:
    """Check that an encoder has positions for texts of `encoder.max_tokens`.

    Raises:
        ModelError: it has fewer.
    """
    if limit is not None and settings.max_tokens > limit:
        raise ModelError(
            f"the encoder reads at most {limit} tokens, not encoder.max_tokens = {settings.max_tokens}",
            where=settings.model,
            remedy=f"set encoder.max_tokens to {limit} or less",
        )


def check_prefix(settings: EncoderSettings, tokenizer: EncoderTokenizer) -> None:
    """Check that `encoder.prefix` leaves room for a text.

    Raises:
        ModelError: it fills `encoder.max_tokens`.
    """
    frame = len(tokenizer.encode(""))
    if settings.prefix and frame >= settings.max_tokens:
        raise ModelError(
            f"encoder.prefix takes {frame} tokens of encoder.max_tokens = {settings.max_tokens}, so no text fits after it",
            where=settings.model,
            remedy="set encoder.prefix shorter, or encoder.max_tokens higher",
        )


def _quantised(settings: EncoderSettings, device: torch.device) -> dict[str, Any]:
    """Further arguments for loading in 4 bits. A quantised model loads directly onto its device."""
    if settings.quantization == "none":
        return {}
    return {"quantization_config": nf4(settings.dtype, skip=list(UNQUANTISED)), "device_map": {"": device}}


def _check_states(
    model: PreTrainedModel, missing: list[nn.Parameter], tokenizer: EncoderTokenizer, settings: EncoderSettings
) -> None:
    """Check that the model gives states that know the whole text, and that none of the weights behind them is random.

    A checkpoint may lack a pooler, but not an encoder layer. transformers only warns of both.
    """
    incomplete = ModelError(
        f"the weights of the encoder are incomplete: {len(missing)} tensors are missing",
        where=settings.model,
        remedy="download it again, or check that the folder holds this model's weights",
    )
    ids = torch.tensor([tokenizer.encode(PROBE)], device=model.device)
    try:
        outputs = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    except AssertionError:  # bitsandbytes runs no 4-bit layer without weights
        if missing:
            raise incomplete from None
        raise
    states = getattr(outputs, "last_hidden_state", None)
    if not isinstance(states, Tensor) or states.shape[:2] != ids.shape:
        raise ModelError("the model gives no state for each token", where=settings.model, remedy="choose a text encoder")
    floats = [parameter for parameter in missing if parameter.is_floating_point()]
    if floats and any(
        gradient is not None for gradient in torch.autograd.grad(states.float().square().sum(), floats, allow_unused=True)
    ):
        raise incomplete
    others = ids.clone()
    others[0, -1] = ids[0, 0] if ids[0, -1] != ids[0, 0] else ids[0, ids.shape[1] // 2]
    with torch.no_grad():
        changed = model(input_ids=others, attention_mask=torch.ones_like(ids)).last_hidden_state
    if torch.equal(changed[:, :-1], states[:, :-1]):
        raise left_to_right(settings.model)


def left_to_right(name: str) -> ModelError:
    """The error for an LLM in the place of the encoder."""
    return ModelError(
        "the model reads a text from left to right, so that its first states do not know how the text ends",
        where=name,
        remedy="choose a text encoder, such as mT5 or XLM-R, or a model with bidirectional attention",
    )


def _size(vectors: Tensor) -> Tensor:
    """Root mean square of each vector: [..., D] to [..., 1]."""
    return vectors.float().square().mean(-1, keepdim=True).sqrt()
