"""Makes a small random twin of a model: the same architecture, tokenizer and special settings, with few and narrow layers.

A twin trains, answers and exports in seconds on a CPU, and everything that depends on the architecture happens as with the
model itself. A model that is small already is its own twin.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from lilift.model.llms.llm import text_part
from lilift.model.seeding import seeded
from lilift.model.sources import loading
from lilift.phases.model_check.small_files import ModelFiles
from lilift.recipe.errors import ModelError

SMALL = 4_000_000
"""A model with at most this many weights is its own twin."""
LARGEST_TWIN = 200_000_000
_HEAD = 16  # size of an attention head
_GROUPS = 2  # heads of keys and values
_SPREAD = 0.1  # of the weights, so that what a token attends to makes a visible difference
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
_HEADS = ("num_attention_heads", "num_heads", "encoder_attention_heads", "decoder_attention_heads", "n_head")
_LAYERS = (
    "num_hidden_layers",
    "num_layers",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
    "n_layer",
)
_WIDTHS = ("hidden_size", "d_model", "n_embd")
_INNER_WIDTHS = ("intermediate_size", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "n_inner")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_PER_TOKEN = ("num_experts_per_tok", "moe_top_k", "top_k_experts")
_EXPERT_WIDTHS = ("moe_intermediate_size", "expert_intermediate_size", "shared_expert_intermediate_size")


def twin_of_llm(files: ModelFiles, folder: Path, *, trust_remote_code: bool = False) -> Path:
    """The folder of an LLM's twin: a new one in `folder`, or the model's own folder if the model is small.

    Raises:
        ModelError: transformers does not know the model, or cannot build a small one of its kind.
    """
    if _is_small(files):
        return files.folder
    with loading(files.name, what="LLM"):
        config = text_part(AutoConfig.from_pretrained(files.folder, trust_remote_code=trust_remote_code))
    return _written(files, folder, config, AutoModelForCausalLM)


def twin_of_encoder(files: ModelFiles, folder: Path) -> Path:
    """The folder of an encoder's twin: a new one in `folder`, or the model's own folder if the model is small.

    Raises:
        ModelError: transformers does not know the model, or cannot build a small one of its kind.
    """
    if _is_small(files):
        return files.folder
    with loading(files.name, what="encoder"):
        config = AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
    named = next(iter(config.architectures or []), "")
    return _written(files, folder, config, getattr(transformers, named, None) or AutoModel)


def shrunk(config: PreTrainedConfig) -> PreTrainedConfig:
    """A configuration of the same kind with few and narrow layers. The vocabulary keeps its size.

    The proportions that architectures differ in stay: queries per key, layers of each kind, whether heads are as wide as the
    hidden state together.
    """
    content = config.to_dict()
    for name, part in content.items():
        if isinstance(part, dict) and ("hidden_size" in part or "d_model" in part):
            content[name] = _shrunk_part(part)
    small = _shrunk_part(content) if any(name in content for name in _WIDTHS) else content
    small["dtype"] = "float32"
    small.pop("quantization_config", None)
    return type(config)(**{name: value for name, value in small.items() if name != "torch_dtype"})


def _is_small(files: ModelFiles) -> bool:
    on_disk = any(files.folder.glob("*.safetensors"))
    return on_disk and files.shapes is not None and sum(map(math.prod, files.shapes.values())) <= SMALL


def _written(files: ModelFiles, folder: Path, config: PreTrainedConfig, kind: Any) -> Path:
    try:
        model = _random_model(shrunk(config), kind)
    except (ValueError, RuntimeError, TypeError, AttributeError, AssertionError, KeyError, IndexError, ZeroDivisionError) as e:
        reason = " ".join(str(e).split())[:160]
        raise ModelError(
            f"lilift cannot build a small model of the kind {config.model_type!r} ({reason})",
            where=files.name,
            remedy="try the model in a run with `align.max_steps: 2` and `transfer.max_steps: 2`",
        ) from e
    folder.mkdir(parents=True, exist_ok=True)
    for path in files.folder.iterdir():
        is_weight = path.suffix in _WEIGHTS or path.name.endswith(".index.json")
        if path.is_file() and not is_weight and path.name != "config.json":
            shutil.copyfile(path, folder / path.name)
    kept = folder / "generation_config.json"
    stops = kept.read_bytes() if kept.is_file() else None
    with loading(files.name, what="model"):  # it hides the bars of transformers
        model.save_pretrained(folder)
    if stops is not None:
        kept.write_bytes(stops)
    return folder


def _random_model(config: PreTrainedConfig, kind: Any) -> PreTrainedModel:
    with torch.device("meta"):
        empty = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
    size = sum(parameter.numel() for parameter in empty.parameters())
    if size > LARGEST_TWIN:
        raise ValueError(f"it would still have {size / 1e6:.0f} million weights")
    with seeded(0):
        model: PreTrainedModel = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 1 and "norm" in name:  # norms as a trained model has them
                    parameter.add_(0.2 * torch.randn_like(parameter))
    return model.float()


def _shrunk_part(content: Mapping[str, Any]) -> dict[str, Any]:
    small = dict(content)
    heads = next((content[name] for name in _HEADS if content.get(name)), 1)
    width = next((content[name] for name in _WIDTHS if content.get(name)), heads * _HEAD)
    groups = content.get("num_key_value_heads") or heads
    own_head = content.get("head_dim") or content.get("d_kv") or width // heads
    few = _few_layers(content)
    per_group = max(1, heads // groups)
    new_groups = min(groups, _GROUPS if per_group > 1 else 4)
    new_heads = new_groups * per_group
    new_head = _HEAD if new_heads <= 8 else _HEAD // 2
    new_width = max(64, new_heads * new_head) if own_head * heads == width else 64
    if own_head * heads == width and new_heads * new_head < new_width:
        new_head = new_width // new_heads
    changes: dict[str, int] = {
        **dict.fromkeys(_HEADS, new_heads),
        **dict.fromkeys(_WIDTHS, new_width),
        **dict.fromkeys(_INNER_WIDTHS, 2 * new_width),
        **dict.fromkeys(_EXPERTS, 4),
        **dict.fromkeys(_PER_TOKEN, 2),
        **dict.fromkeys(_EXPERT_WIDTHS, 32),
        "num_key_value_heads": new_groups,
        "num_global_key_value_heads": new_groups,
        "d_kv": new_head,
        "hidden_size_per_layer_input": 8,
        "head_dim": new_head,
        "global_head_dim": new_head * max(1, (content.get("global_head_dim") or own_head) // own_head),
        "embedding_size": new_width,
    }
    small |= {name: value for name, value in changes.items() if content.get(name)}
    for name in _LAYERS:
        if content.get(name):
            small[name] = few
    if content.get("num_kv_shared_layers"):
        small["num_kv_shared_layers"] = few // 2
    if content.get("query_pre_attn_scalar"):  # Gemma: the size of a head, or the width for each head
        small["query_pre_attn_scalar"] = {own_head: new_head, width // heads: new_width // new_heads}.get(
            content["query_pre_attn_scalar"], content["query_pre_attn_scalar"]
        )
    if content.get("initializer_range"):
        small["initializer_range"] = _SPREAD
    if content.get("per_layer_config"):  # Gemma 4: settings of single layers by their numbers
        small["per_layer_config"] = {
            layer: {name: new_head * value // own_head if name == "head_dim" else value for name, value in own.items()}
            for layer, own in content["per_layer_config"].items()
            if int(layer) < few
        }
    layers = next((content[name] for name in _LAYERS if content.get(name)), None)
    return {name: _fewer(value, layers, few, own_head // 2, new_head // 2) for name, value in small.items()}


def _few_layers(content: Mapping[str, Any]) -> int:
    """As many layers as show every kind of layer; twice as many where later layers share the keys of earlier ones."""
    kinds = content.get("layer_types") or []
    first = [kinds.index(kind) + 1 for kind in set(kinds)]
    few = max([2, *first])
    return 2 * few if content.get("num_kv_shared_layers") else few


def _fewer(value: Any, layers: int | None, few: int, half_head: int, new_half_head: int) -> Any:
    """Cut lists that have an entry for each layer, or for each pair of a head's features (the factors of LongRoPE)."""
    if isinstance(value, dict):
        return {name: _fewer(part, layers, few, half_head, new_half_head) for name, part in value.items()}
    if isinstance(value, list) and len(value) == layers:
        return value[:few]
    if isinstance(value, list) and len(value) == half_head and all(isinstance(one, int | float) for one in value):
        return value[:new_half_head]
    return value
