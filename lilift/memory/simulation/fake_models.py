"""Builds the bridge of a recipe on fake tensors, which have shapes and take no memory.

All parts are the real ones (transformers' modules, bitsandbytes' 4-bit layers, peft's adapters, lilift's bridge), built from
the two configurations. Only code that would read numbers from tensors takes them from the configuration instead.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, masking_utils
from transformers.integrations import moe as transformers_moe
from transformers.pytorch_utils import Conv1D

from lilift.model.alignment_layer import build_alignment
from lilift.model.bridge import BridgedModel
from lilift.model.encoders.encoder import UNQUANTISED, AbsentEncoder, Encoder
from lilift.model.encoders.encoder_architecture import loader_of, text_encoder_in
from lilift.model.encoders.encoder_states import EncoderStates, StatesInMemory, TokenIds
from lilift.model.llms.lean_layers.lean_llm import bind_lean_layers
from lilift.model.llms.llm import enable_gradient_checkpointing, without_dropout
from lilift.model.llms.offloaded_checkpoints import OffloadedCheckpoints, Waiting
from lilift.model.llms.output_head import OutputHead
from lilift.model.llms.special_tokens import LLMTokens
from lilift.model.sources import loading
from lilift.model.training_libraries import bitsandbytes
from lilift.recipe.schema import Recipe

BLOCK, NESTED_BLOCK = (
    64,
    256,
)  # weights that share a scale, and scales that share a second scale, in NF4 with double quantisation
CODES = 16
# The keys of configurations for the number of layers; the encoder of an encoder-decoder comes first.
DEPTH_NAMES = ("encoder_layers", "num_layers", "num_hidden_layers")


class FakeLinear4bit(bitsandbytes.nn.Linear4bit):  # type: ignore[misc]  # bitsandbytes is not typed
    """bitsandbytes' 4-bit layer with fake tensors. Its parameter class cannot hold them, but its own code computes."""

    def __init__(self, replaced: nn.Linear | Conv1D, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        shape = replaced.weight.shape if isinstance(replaced, nn.Linear) else replaced.weight.shape[::-1]
        self.out_features, self.in_features = int(shape[0]), int(shape[1])
        self.weight = _packed_weight(shape, dtype)
        self.bias = replaced.bias
        self.compute_dtype, self.compute_type_is_set = dtype, True
        self.quant_state, self.quant_storage = None, torch.uint8
        self.support_avx512bf16_for_cpu = False


class FakeBridge(BridgedModel):
    """A bridge that reads no numbers from the tensors of its LLM."""

    def _saving(self) -> AbstractContextManager[Any]:
        return FakeOffloadedCheckpoints() if self.offloads else nullcontext()

    def _find_tokens(self, llm: PreTrainedModel, name: str) -> LLMTokens:  # noqa: ARG002
        return LLMTokens(bos=0, eos=0, stop=(0,))

    def _find_head(self, llm: PreTrainedModel) -> OutputHead | None:
        linear = llm.get_output_embeddings()
        if type(linear) is not nn.Linear:
            return None
        return OutputHead(linear, 1.0, getattr(llm.config.get_text_config(), "final_logit_softcapping", None))


class FakeOffloadedCheckpoints(OffloadedCheckpoints):
    """Keeps only the shape of an offloaded tensor, because the tensor has left the card."""

    def _unpack(self, kept: Tensor | Waiting) -> Tensor:
        tensor = super()._unpack(kept)
        if isinstance(kept, Waiting) and kept.place == 0:
            kept.back = self._fetch(kept)  # as in every other layer, because lilift extrapolates from two layers and four
        return tensor

    def _leaves(self, tensor: Tensor) -> bool:  # noqa: ARG002
        return True

    def _send(self, tensor: Tensor) -> Any:
        return tensor.shape, tensor.dtype

    def _fetch(self, waiting: Waiting) -> tuple[Tensor, Any]:
        shape, dtype = waiting.away
        return torch.empty(shape, dtype=dtype), None

    def _await(self, tensor: Tensor, copied: Any) -> None:
        """Nothing is copied."""


class FakeStates(EncoderStates):
    """Encoder states that are kept outside the card. They take memory only while their batch runs."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder, StatesInMemory(0), torch.device("cpu"))

    def padded(self, texts: Sequence[TokenIds]) -> Tensor:
        layers = [] if self.encoder.mixed_layers is None else [self.encoder.mixed_layers]
        shape = len(texts), max(len(text) for text in texts), *layers, self.encoder.hidden_size
        return torch.empty(shape, dtype=next(self.encoder.parameters()).dtype)


def fake_bridge(
    recipe: Recipe, llm_config: PreTrainedConfig, encoder_config: PreTrainedConfig | None, *, device: str
) -> BridgedModel:
    """The recipe's bridge, as `load_bridge` builds it on this kind of device. Call this under `FakeTensorMode`."""
    encoder = fake_encoder(recipe, encoder_config)
    llm = _fake_llm(recipe, llm_config)
    width = llm.get_input_embeddings().weight.shape[1]
    alignment = build_alignment(
        recipe.alignment,
        encoder_size=encoder.hidden_size,
        llm_size=width,
        seed=recipe.seed,
        mixed_layers=encoder.mixed_layers,
    )
    tokenizer: Any = SimpleNamespace()
    # Without a card, the encoder and the checkpoints stay in host memory.
    on_card = device != "cpu"
    return FakeBridge(
        encoder,
        alignment,
        llm,
        tokenizer,
        name=recipe.llm.model,
        seed=recipe.seed,
        states=FakeStates(encoder) if on_card and recipe.encoder.placement != "resident" else None,
        offloads=on_card and recipe.llm.gradient_checkpointing == "offload",
    )


def replace_real_parameters(module: nn.Module) -> None:
    """Make parameters fake that were added outside `FakeTensorMode`. Call this under `FakeTensorMode`."""
    for child in module.modules():
        for name, parameter in child.named_parameters(recurse=False):
            if not isinstance(parameter, FakeTensor):
                fake = nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype), requires_grad=parameter.requires_grad)
                child.register_parameter(name, fake)


@contextmanager
def products_of_any_precision(recipe: Recipe) -> Iterator[None]:
    """Let mixture-of-experts LLMs run on fake tensors in every precision.

    torch's grouped product has only bfloat16 on fake tensors. transformers has another one with the same inputs and outputs.
    """
    moe: Any = transformers_moe
    usable = moe._can_use_grouped_mm
    if recipe.llm.dtype != "bfloat16":
        moe._can_use_grouped_mm = lambda *_: False
    try:
        yield
    finally:
        moe._can_use_grouped_mm = usable


@contextmanager
def one_text_in_a_row() -> Iterator[None]:
    """Let transformers leave out the mask of causal attention on fake tensors too.

    It reads the positions to see whether a row holds several texts. lilift's rows hold one, and fake positions have no values.
    """
    masking: Any = masking_utils
    find = masking.find_packed_sequence_indices
    masking.find_packed_sequence_indices = lambda *_: None
    try:
        yield
    finally:
        masking.find_packed_sequence_indices = find


def with_depth(config: PreTrainedConfig, layers: int) -> PreTrainedConfig:
    """The configuration of the same model with another number of layers."""
    config = copy.deepcopy(config)
    for part in (config, config.get_text_config()):
        name = depth_name(part)
        kinds = getattr(part, "layer_types", None)
        if kinds is not None:
            part.layer_types = kinds[:layers]
        setattr(part, name, layers)
    return config


def depth_of(config: PreTrainedConfig) -> int:
    """The number of layers of the model (for an encoder-decoder: of its encoder)."""
    text = config.get_text_config()
    return int(getattr(text, depth_name(text)))


def depth_name(config: PreTrainedConfig) -> str:
    own = config.to_dict()
    return next((name for name in DEPTH_NAMES if name in own), "num_hidden_layers")


def _fake_llm(recipe: Recipe, config: PreTrainedConfig) -> PreTrainedModel:
    dtype: torch.dtype = getattr(torch, recipe.llm.dtype)
    with loading(recipe.llm.model, what="LLM"):
        llm = AutoModelForCausalLM.from_config(without_dropout(copy.deepcopy(config)), dtype=dtype)
    if recipe.llm.quantization == "nf4":
        quantise(llm, partial(FakeLinear4bit, dtype=dtype), skip=llm.get_output_embeddings())
        llm.is_loaded_in_4bit = True  # peft reads this
    llm.requires_grad_(False).eval()
    # The kernels of Liger cannot run on fake tensors. torch's versions hold the same tensors, and one small chunk more.
    bind_lean_layers(llm, recipe.llm.model_copy(update={"kernels": "torch"}), torch.device("cpu"))
    if recipe.llm.gradient_checkpointing:
        enable_gradient_checkpointing(llm)
    return llm


def fake_encoder(recipe: Recipe, config: PreTrainedConfig | None) -> Encoder:
    """The recipe's encoder. Call this under `FakeTensorMode`."""
    if config is None:
        return AbsentEncoder(torch.device("cpu"))
    dtype: torch.dtype = getattr(torch, recipe.encoder.dtype)
    with loading(recipe.encoder.model, what="encoder"):
        half = text_encoder_in(loader_of(config).from_config(copy.deepcopy(config), dtype=dtype))
    if recipe.encoder.quantization == "nf4":
        quantise(half, partial(FakeLinear4bit, dtype=dtype), skip_names=UNQUANTISED)
    tokenizer: Any = SimpleNamespace(pad_id=0)
    return Encoder(half, tokenizer, add_embeddings=recipe.encoder.add_embeddings, layers=recipe.alignment.layers)


def quantise(
    model: nn.Module, four_bit: Callable[[Any], nn.Module], *, skip: nn.Module | None = None, skip_names: tuple[str, ...] = ()
) -> None:
    """Replace linear layers with 4-bit layers, as bitsandbytes' integration in transformers does.

    Args:
        model: the model, changed in place.
        four_bit: returns the replacement of a layer.
        skip, skip_names: layers that stay as they are.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (nn.Linear, Conv1D)) and child is not skip and name not in skip_names:
                setattr(parent, name, four_bit(child))


def _packed_weight(shape: torch.Size, dtype: torch.dtype) -> nn.Parameter:
    count = shape[0] * shape[1]
    blocks = -(-count // BLOCK)
    scales = bitsandbytes.functional.QuantState(
        absmax=_empty(-(-blocks // NESTED_BLOCK)), code=_empty(256), blocksize=NESTED_BLOCK, dtype=torch.float32
    )
    weight = nn.Parameter(torch.empty((count + 1) // 2, 1, dtype=torch.uint8), requires_grad=False)
    described: Any = weight
    described.quant_state = bitsandbytes.functional.QuantState(
        absmax=_empty(blocks, torch.uint8),
        shape=shape,
        code=_empty(CODES),
        blocksize=BLOCK,
        quant_type="nf4",
        dtype=dtype,
        offset=_empty(()),
        state2=scales,
    )
    described.compress_statistics, described.quant_type = True, "nf4"
    return weight


def _empty(shape: int | tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype)
