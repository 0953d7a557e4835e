"""Loading an LLM: its dropout, its defaults, its checkpointing, and incomplete weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lilift.model.llms.llm import without_dropout
from lilift.recipe.errors import ModelError


@pytest.mark.parametrize("name", ["qwen2", "phi3"])
def test_there_is_no_dropout_in_what_is_frozen(name: str, llm_of: Callable[..., tuple[Any, Any]]) -> None:
    """Both models were saved with a dropout of one half."""
    llm, _ = llm_of(name)
    llm.train()
    ids = torch.tensor([[5, 9, 200, 31]])
    torch.testing.assert_close(llm(input_ids=ids).logits, llm(input_ids=ids).logits, rtol=0, atol=0)


def test_dropout_is_found_under_its_many_names() -> None:
    config = without_dropout(transformers.GPT2Config(resid_pdrop=0.3, embd_pdrop=0.2, attn_pdrop=0.1, layer_norm_epsilon=1e-5))
    assert (config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) == (0.0, 0.0, 0.0)
    assert config.layer_norm_epsilon == 1e-5


def test_sampling_defaults_of_a_model_are_dropped(
    llm_folder: Callable[[str], Path], llm_of: Callable[..., tuple[Any, Any]], tmp_path: Path
) -> None:
    for path in llm_folder("llama").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    wild = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "eos_token_id": [1, 9]}
    (tmp_path / "generation_config.json").write_text(json.dumps(wild), encoding="utf-8")
    llm, _ = llm_of("llama", model=str(tmp_path))
    config = llm.generation_config
    assert not config.do_sample
    assert config.repetition_penalty in (None, 1.0)
    assert config.no_repeat_ngram_size in (None, 0)
    assert config.eos_token_id == [1, 9]


def test_checkpointing_is_as_set(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    for wanted in (True, False):
        llm, _ = llm_of("llama", gradient_checkpointing=wanted)
        assert any(getattr(module, "gradient_checkpointing", False) for module in llm.modules()) == wanted


def test_missing_weights_are_refused(
    llm_folder: Callable[[str], Path], llm_of: Callable[..., tuple[Any, Any]], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    for path in llm_folder("llama").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"incomplete: model\.layers\.1\.mlp\.up_proj\.weight is missing"):
        llm_of("llama", model=str(tmp_path))
