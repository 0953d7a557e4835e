"""The frozen 4-bit LLM, its conventions found by asking it, and its adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
import transformers
from peft import LoraConfig
from torch import nn

from lilift.model.llms.llm import load_llm, without_dropout
from lilift.model.llms.lora import add_adapter, add_lora
from lilift.model.llms.output_head import backbone_of, check_reads_embeddings, find_output_head
from lilift.model.llms.special_tokens import special_tokens
from lilift.recipe.errors import ModelError, RecipeError
from lilift.recipe.schema import LLMSettings, LoraSettings

CPU = torch.device("cpu")
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "cohere", "granite")


@pytest.fixture
def llm_of(llm_folder: Callable[[str], Path]) -> Callable[..., tuple[Any, Any]]:
    def llm(name: str, **settings: Any) -> tuple[Any, Any]:
        defaults = {"model": str(llm_folder(name)), "dtype": "float32", "quantization": "none"}
        return load_llm(LLMSettings.model_validate({**defaults, **settings}), device=CPU)

    return llm


@pytest.mark.parametrize("name", FAMILIES)
def test_the_head_is_found_with_its_scale_and_cap(name: str, llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of(name)
    head = find_output_head(llm)
    assert head is not None
    assert head.scale == {"cohere": 0.25, "granite": 0.25}.get(name, 1.0)
    assert head.softcap == {"gemma2": 2.0, "gemma3": 3.0}.get(name)
    ids = torch.tensor([[5, 9, 200, 31]])
    with torch.no_grad():
        hidden = backbone_of(llm)(inputs_embeds=llm.get_input_embeddings()(ids)).last_hidden_state
        torch.testing.assert_close(head.logits(hidden), llm(input_ids=ids).logits)


def test_an_unusual_head_is_left_to_the_model(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama")

    class Normalised(nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(hidden, nn.functional.normalize(self.weight))

    plain = llm.lm_head
    llm.lm_head = Normalised(plain.in_features, plain.out_features, bias=False)
    assert find_output_head(llm) is None
    llm.lm_head = plain
    forward = llm.forward
    llm.forward = lambda *args, **kwargs: _with_logits(forward(*args, **kwargs), lambda logits: logits / 7)
    assert find_output_head(llm) is None, "a convention that nothing declares"


def test_a_model_that_reads_more_than_embeddings_is_refused(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama")
    check_reads_embeddings(llm, "some model")
    forward = llm.forward

    def reads_ids(*args: Any, input_ids: torch.Tensor | None = None, **kwargs: Any) -> Any:
        outputs = forward(*args, input_ids=input_ids, **kwargs)
        return outputs if input_ids is None else _with_logits(outputs, lambda logits: logits + input_ids[..., None])

    llm.forward = reads_ids
    with pytest.raises(ModelError, match="some model: the LLM reads more than its input embeddings"):
        check_reads_embeddings(llm, "some model")


def test_nf4_with_double_quantisation(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama", quantization="nf4", dtype="bfloat16")
    layers = [module for module in llm.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14, "all linear layers of two blocks"
    for layer in layers:
        assert layer.weight.dtype == torch.uint8
        assert layer.weight.quant_state.quant_type == "nf4"
        assert layer.weight.quant_state.nested
        assert layer.compute_dtype == torch.bfloat16
    assert type(llm.get_output_embeddings()) is nn.Linear
    assert not any(parameter.requires_grad for parameter in llm.parameters())


def test_gradients_reach_the_input_after_an_evaluation(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    """bitsandbytes repacks weights at an evaluation on some CPUs; the gradient then vanishes without a word."""
    llm, _ = llm_of("llama", quantization="nf4")
    inputs = torch.randn(1, 3, 32)
    llm.eval()
    with torch.no_grad():
        before = llm(inputs_embeds=inputs).logits
    assert not any(
        module.support_avx512bf16_for_cpu for module in llm.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)
    ), "also on a CPU that cannot show the trap"
    for mode in (True, False):
        llm.train(mode)
        learning = inputs.clone().requires_grad_()
        logits = llm(inputs_embeds=learning, use_cache=False).logits
        torch.testing.assert_close(logits.detach(), before)
        logits.square().sum().backward()
        assert learning.grad is not None
        assert learning.grad.abs().max() > 0


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


def test_special_tokens(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, tokenizer = llm_of("llama")
    tokens = special_tokens(llm, tokenizer, "x")
    assert (tokens.bos, tokens.eos, tokens.stop) == (0, 1, (1,))
    llm.generation_config.eos_token_id = [7, 1]
    assert special_tokens(llm, tokenizer, "x").stop == (1, 7), "what the model declares ends an answer too"
    llm, tokenizer = llm_of("qwen3")
    assert tokenizer.bos_token_id == 0
    assert special_tokens(llm, tokenizer, "x").bos is None, "a BOS token that the tokenizer never uses"
    tokenizer.eos_token = None
    assert special_tokens(llm, tokenizer, "x").eos == 1, "from the generation settings"
    llm.generation_config.eos_token_id = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        special_tokens(llm, tokenizer, "x")


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


def test_lora_starts_from_its_seed_and_touches_nothing_else(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    def adapter(seed: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.dtype]]:
        llm, _ = llm_of("llama", quantization="nf4", dtype="bfloat16")
        types = {name: parameter.dtype for name, parameter in llm.named_parameters()}
        torch.rand(seed + 3)  # what ran before must not matter
        weights = dict(add_lora(llm, LoraSettings(rank=4), seed=seed).named_parameters())
        after = {
            name.replace("base_model.model.", "").replace("base_layer.", ""): value.dtype for name, value in weights.items()
        }
        assert {name: after[name] for name in types} == types, "nothing is widened to float32"
        return {name: value for name, value in weights.items() if "lora_" in name}, types

    first, again, other = adapter(1)[0], adapter(1)[0], adapter(2)[0]
    assert {weight.dtype for weight in first.values()} == {torch.float32}
    assert len(first) == 28, "two matrices for each of 14 layers, and none for the head"
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert any(not torch.equal(weight, other[name]) for name, weight in first.items())


def test_lora_on_layers_that_are_not_there_is_one_line(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama")
    with pytest.raises(RecipeError, match=r"transfer\.lora\.target_modules: LoRA cannot be added"):
        add_lora(llm, LoraSettings(target_modules=("no_such_layer",)), seed=0)


def test_an_adapted_head_is_left_to_the_model(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama")
    adapted = add_adapter(llm, LoraConfig(target_modules=["lm_head"], task_type="CAUSAL_LM"))
    assert find_output_head(adapted.get_base_model()) is None


def _with_logits(outputs: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    outputs.logits = change(outputs.logits)
    return outputs
