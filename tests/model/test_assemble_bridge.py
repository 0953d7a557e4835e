"""A fresh bridge: what its initial weights depend on, and how large its soft tokens are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.recipe.schema import LoraSettings
from tests.model.trained_bridge import weights_of

BridgeOf = Callable[..., BridgedModel]
RowsOf = Callable[..., list[Row]]
LORA = LoraSettings(rank=2)


def test_the_start_depends_on_the_recipe_alone(bridge_of: BridgeOf) -> None:
    def start(seed: int) -> dict[str, torch.Tensor]:
        torch.rand(seed + 1)
        bridge = bridge_of(seed=seed)
        attach_lora(bridge, LORA)
        return weights_of(bridge)

    first, again, other = start(3), start(3), start(4)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    differs = {name for name, value in first.items() if not torch.equal(value, other[name])}
    drawn = {name for name in first if name.startswith("alignment.") or "lora_A" in name}
    assert differs == drawn - {"alignment.size"}, "the size is the LLM's"


@pytest.mark.parametrize("llm", ["llama", "gemma3"])
def test_soft_tokens_start_as_large_as_embeddings(llm: str, bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    """Gemma's embedding layer multiplies its rows; the soft tokens must be measured against what it gives."""
    bridge = bridge_of(llm)
    batch = bridge.collate(rows_of(bridge))
    inputs = bridge.embed(batch)[0].flatten(0, 1)
    soft, text = (inputs[slots].square().mean().sqrt().item() for slots in (batch.state_slots, batch.text_slots))
    assert 0.5 < soft / text < 2.0


@pytest.mark.parametrize(("llm", "begins"), [("qwen2", True), ("llama", False)])
def test_the_first_vector_begins_as_a_real_token_where_the_llm_has_no_bos(llm: str, begins: bool, bridge_of: BridgeOf) -> None:
    bridge = bridge_of(llm)
    token = bridge.llm_tokenizer.bos_token_id
    token = bridge.tokens.eos if token is None else token
    embedding = bridge.causal_lm.get_input_embeddings().weight[token]
    vector = bridge.alignment.bos
    assert vector is not None
    alike = torch.nn.functional.cosine_similarity(vector, embedding, dim=0)
    assert (alike > 0.9999) == begins
    assert 0.5 < vector.square().mean().sqrt() < 2, "its size stays that of a drawn vector"
