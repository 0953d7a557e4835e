"""Mixture-of-experts LLMs: what an adapter trains, that the merged model answers as the live one, and what a plan tells."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig

from lilift.cli.plan_output import _print_footprint
from lilift.export.hugging_face import HuggingFaceFolder
from lilift.export.merge import MergedWeights
from lilift.memory.footprint import estimate_footprint
from lilift.memory.planned_card import planned_card
from lilift.memory.simulation.simulate import run_traced
from lilift.model.four_bit_loading import keep_autograd_on_cpu, nf4
from lilift.model.llms.experts import expert_parameters, layers_to_adapt
from lilift.model.llms.lora import add_adapter, add_lora
from lilift.phases.rehearsals import rehearse
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import LoraSettings

SIZES: dict[str, Any] = {
    **{"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "head_dim": 16, "num_experts_per_tok": 2, "initializer_range": 0.2},
}
ROUTED = {"num_experts": 4, "moe_intermediate_size": 32}
LINEAR = {
    "shared_expert_intermediate_size": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
MODELS: dict[str, Callable[[], Any]] = {
    "mixtral": lambda: transformers.MixtralConfig(**SIZES, num_local_experts=4),
    "qwen3 moe": lambda: transformers.Qwen3MoeConfig(**SIZES, **ROUTED, mlp_only_layers=[0]),
    "gpt-oss": lambda: transformers.GptOssConfig(**SIZES, num_local_experts=4, layer_types=["sliding_attention"] * 2),
    "qwen3 next": lambda: transformers.Qwen3NextConfig(**SIZES, **ROUTED, **LINEAR),
}
IDS = torch.arange(12).view(2, 6)


def saved(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(MODELS[name]()).save_pretrained(folder)
    return folder


def loaded(folder: Path, *, four_bit: bool = False) -> Any:
    quantised = {"quantization_config": nf4("float32")} if four_bit else {}
    found = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **quantised)
    keep_autograd_on_cpu(found)
    return found.requires_grad_(False).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("four_bit", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_merged_model_answers_as_the_live_one(name: str, four_bit: bool, tmp_path: Path) -> None:
    base = saved(name, tmp_path / "base")
    live = add_lora(loaded(base, four_bit=four_bit), LoraSettings(rank=2, alpha=8, target_modules="all-linear"), seed=0)
    trained = {key: value for key, value in live.named_parameters() if "lora_" in key}
    assert trained
    assert not [key for key in trained if {"experts", "gate", "router"} & set(key.split("."))]
    for key, value in trained.items():
        if "lora_B" in key:
            torch.nn.init.normal_(value, std=0.2)
    live.eval().save_pretrained(tmp_path / "adapter")
    again = add_adapter(loaded(base, four_bit=four_bit), LoraConfig.from_pretrained(tmp_path / "adapter"))
    assert {key for key, _ in again.named_parameters() if "lora_" in key} == trained.keys()
    merged = MergedWeights(base, tmp_path / "adapter", quantized=four_bit, merge_base="dequantised", compute_dtype="float32")
    (tmp_path / "merged").mkdir()
    with ExitStack() as stack:
        files = HuggingFaceFolder(tmp_path / "merged", base, merged.shapes, "float32", merged.whole_numbers).open(stack)
        for weight in merged.shapes:
            for rows in merged.chunks(weight):
                files.write(weight, rows)
    torch.testing.assert_close(logits(loaded(tmp_path / "merged")), logits(live), atol=2e-4, rtol=0)


def test_names_mean_attention_and_shared_parts_only() -> None:
    llm = transformers.AutoModelForCausalLM.from_config(MODELS["qwen3 next"]())
    found = layers_to_adapt(llm, ["q_proj", "up_proj", "gate"])
    assert sorted(name.removeprefix("model.layers.") for name in found) == [
        "0.mlp.shared_expert.up_proj",
        "1.mlp.shared_expert.up_proj",
        "1.self_attn.q_proj",
    ]
    with pytest.raises(RecipeError, match="does not train the experts or the router"):
        layers_to_adapt(transformers.AutoModelForCausalLM.from_config(MODELS["mixtral"]()), ["w1", "gate"])
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    assert layers_to_adapt(plain, "all-linear") == "all-linear"
    assert not expert_parameters(plain)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_plan_runs_and_tells_what_the_experts_cost(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = MODELS["qwen3 moe"]()
    recipe = load_recipe("tiny-cpu", [f"llm.dtype={dtype}"])
    rehearsal = next(one for one in rehearse(recipe) if one.name == "transfer")
    rehearsal = replace(rehearsal, rows=rehearsal.rows[:1])
    encoder = transformers.MT5Config(vocab_size=64, d_model=24, d_kv=8, d_ff=32, num_layers=1, num_heads=3)
    assert run_traced(recipe, (config, encoder), rehearsal, device="cpu").segments
    footprint = estimate_footprint(recipe, (config, encoder), planned_card("cpu"), {})
    llm = transformers.AutoModelForCausalLM.from_config(config)
    experts = sum(parameter.numel() for name, parameter in llm.named_parameters() if ".experts." in name)
    assert footprint.expert_bytes == experts * (4 if dtype == "float32" else 2)
    plan: Any = type("Plan", (), {"footprint": replace(footprint, expert_bytes=3 * 2**30), "trained": {}, "recipe": recipe})
    _print_footprint(plan)
    share = experts / sum(parameter.numel() for parameter in llm.parameters())
    line = f"4 bits do not reach the experts of this LLM: 3.0 GiB, {share:.0%} of its weights, stay in {dtype}"
    assert line in capsys.readouterr().out
