"""Write a bridge's trained parts to files and read them back: the alignment layer and the LoRA adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from lilift.model.bridge import BridgedModel
from lilift.model.llms.lora import add_adapter
from lilift.model.saved_weights import check_same_weights, read_adapter_config, read_weights
from lilift.model.training_libraries import peft
from lilift.recipe import storage
from lilift.recipe.schema import TrainedPart

ALIGNMENT_FILE = "alignment.safetensors"
ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


def save_part(bridge: BridgedModel, part: TrainedPart, folder: Path) -> None:
    """Write the weights of one trained part into a folder that exists.

    The alignment layer becomes ``alignment.safetensors``. The adapter becomes ``adapter_model.safetensors`` and
    ``adapter_config.json``, which is peft's own format, without the network look-ups and the model card of peft's own saving.
    """
    if part == "alignment":
        _write(bridge.alignment.state_dict(), folder / ALIGNMENT_FILE)
        return
    _write(_adapter_weights(bridge), folder / ADAPTER_FILE)
    _write_adapter_config(bridge.llm.peft_config["default"], folder)


def load_part(bridge: BridgedModel, part: TrainedPart, folder: Path) -> None:
    """Read the weights that `save_part` wrote. If the LLM carries no adapter yet, `load_part` attaches one first.

    Raises:
        ModelError: a file is missing or damaged, or the weights belong to another layer or another LLM.
    """
    path = folder / (ALIGNMENT_FILE if part == "alignment" else ADAPTER_FILE)
    weights = read_weights(path)
    if part == "alignment":
        check_same_weights(weights, bridge.alignment.state_dict(), path)
        bridge.alignment.load_state_dict(weights)
        return
    if not bridge.has_adapter:
        bridge.attach_adapter(add_adapter(bridge.causal_lm, read_adapter_config(folder / ADAPTER_CONFIG)))
    check_same_weights(weights, _adapter_weights(bridge), path)
    peft.set_peft_model_state_dict(bridge.llm, weights)


def _write_adapter_config(config: peft.PeftConfig, folder: Path) -> None:
    """Write the adapter's settings with sorted names, so that equal runs write equal bytes.

    peft keeps the names of layers in sets and writes these in the order of Python's hashes, which differs between processes.
    """
    config.save_pretrained(str(folder))
    path = folder / ADAPTER_CONFIG
    sets = {name for name, value in config.to_dict().items() if isinstance(value, set)}
    content = storage.read_json(path)
    storage.write_json(path, {name: sorted(value) if name in sets else value for name, value in content.items()})


def _adapter_weights(bridge: BridgedModel) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = peft.get_peft_model_state_dict(bridge.llm, save_embedding_layers=False)
    return weights


def _write(weights: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, path)
