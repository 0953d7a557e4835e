"""`alignment.layers: mix`: the alignment layer reads a learned mean of all layers of the encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lilift.data.texts.examples import Row
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import load_part, save_part
from lilift.model.encoders.encoder import load_encoder
from lilift.model.encoders.encoder_states import EncoderStates, StatesInMemory, StatesOnDisk
from lilift.model.pooling import pooled_soft_tokens
from lilift.recipe.errors import ModelError
from lilift.recipe.load import fingerprint
from lilift.recipe.schema import AlignmentSettings, Recipe

CPU = torch.device("cpu")
MIX = {"layers": "mix"}
WITHOUT_ALIGN = {
    "align": {"skip": True},
    "transfer": {"control": False},
    "evaluate": {"alignment": None},
    "export": {"formats": []},
}


@pytest.fixture(scope="module")
def mixing(bridge_of: Callable[..., BridgedModel]) -> BridgedModel:
    return bridge_of("llama", "xlmr", alignment=MIX)


@pytest.mark.parametrize("name", ["mt5", "nllb", "xlmr"])
def test_the_encoder_gives_every_layer_at_the_same_size(name: str, recipe_of: Callable[..., Recipe]) -> None:
    encoder = load_encoder(recipe_of("llama", name).encoder, device=CPU, layers="mix")
    ids = torch.tensor([encoder.tokenizer.encode("mary has apples")] * 2)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, -2:] = False
    states = encoder(ids, mask)
    assert states.shape == (*ids.shape, 3, encoder.hidden_size), "two layers and the token embeddings"
    sizes = states.square().mean(-1).sqrt()
    torch.testing.assert_close(sizes[mask], torch.ones_like(sizes[mask]))
    assert not states[~mask].any()
    last = encoder.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    cosine = torch.nn.functional.cosine_similarity(states[:, :, -1][mask], last[mask], dim=-1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
def test_the_layer_reads_the_weighted_mean(kind: str, bridge_of: Callable[..., BridgedModel]) -> None:
    bridge = bridge_of("llama", "xlmr", alignment={**MIX, "kind": kind})
    plain = bridge_of("llama", "xlmr", alignment={"kind": kind})
    assert bridge.alignment.mix is not None
    assert bridge.alignment.mixing_weights.tolist() == pytest.approx([1 / 3] * 3), "no layer is preferred at the start"
    plain.alignment.load_state_dict({key: value for key, value in bridge.alignment.state_dict().items() if key != "mix"})
    with torch.no_grad():
        bridge.alignment.mix.copy_(torch.tensor([0.0, 0.1, 0.2]))
    rows = [Row((5, 6, 7, 1), (8,), (9, 1)), Row((10, 11, 1), (8,), (12, 1))]
    batch = bridge.collate(rows)
    states = bridge.encoder(batch.encoder_ids, batch.encoder_mask)
    weights = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    mean = sum(weight * states[:, :, place] for place, weight in enumerate(weights))
    size = batch.mask.numel(), bridge.alignment.llm_size
    torch.testing.assert_close(
        bridge.alignment.write_into(torch.zeros(size), states, batch),
        plain.alignment.write_into(torch.zeros(size), mean, batch),
    )
    bridge.train_only("alignment")
    bridge.loss(batch).backward()
    assert bridge.alignment.mix.grad is not None
    assert bridge.alignment.mix.grad.abs().min() > 0


def test_kept_states_give_the_loss_of_a_resident_encoder(mixing: BridgedModel, tmp_path: Path) -> None:
    rows = [Row((5, 6, 7, 1), (8,), (9, 1)), Row((10, 1), (8,), (12, 1))]
    wanted = mixing.loss(mixing.collate(rows)).item()
    for store in (StatesInMemory(2**20), StatesOnDisk(tmp_path, 2**20)):
        mixing.states = EncoderStates(mixing.encoder, store, CPU)
        for texts in mixing.states.batches([row.encoder_ids for row in rows]):
            mixing.states.read(texts)
        store.flush()
        assert all(store.find(row.encoder_ids) is not None for row in rows)
        assert mixing.loss(mixing.collate(rows)).item() == pytest.approx(wanted, rel=1e-5)
    mixing.states = None


def test_the_weights_of_the_layers_are_saved_and_loaded(
    mixing: BridgedModel, bridge_of: Callable[..., BridgedModel], tmp_path: Path
) -> None:
    assert mixing.alignment.mix is not None
    with torch.no_grad():
        mixing.alignment.mix.copy_(torch.tensor([0.3, 0.0, -0.2]))
    save_part(mixing, "alignment", tmp_path)
    other = bridge_of("llama", "xlmr", alignment=MIX)
    before = pooled_soft_tokens(other, ["mary has apples"])
    load_part(other, "alignment", tmp_path)
    torch.testing.assert_close(pooled_soft_tokens(other, ["mary has apples"]), pooled_soft_tokens(mixing, ["mary has apples"]))
    assert (pooled_soft_tokens(other, ["mary has apples"]) - before).abs().max() > 1e-4
    with pytest.raises(ModelError, match="mix"):
        load_part(bridge_of("llama", "xlmr"), "alignment", tmp_path)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"encoder_settings": {"add_embeddings": True}}, r"add_embeddings: .*set add_embeddings to false"),
        ({"export": {"formats": ["hf", "gguf"]}}, r"export\.formats: llama\.cpp gives only the last states"),
        ({"encoder_settings": {"model": "none"}, "alignment": {**MIX, "layout": "text"}, **WITHOUT_ALIGN}, "no layers to mix"),
    ],
)
def test_a_recipe_that_cannot_mix_is_refused(
    sections: dict[str, object], message: str, recipe_of: Callable[..., Recipe]
) -> None:
    with pytest.raises(ValueError, match=message):
        recipe_of("llama", "xlmr", **{"alignment": MIX, "export": {"formats": ["hf"]}, **sections})


def test_recipes_without_the_setting_keep_their_fingerprint() -> None:
    assert "layers" not in AlignmentSettings().model_dump()
    assert fingerprint(AlignmentSettings(layers="last").model_dump()) == fingerprint(AlignmentSettings().model_dump())
    assert AlignmentSettings(layers="mix").model_dump()["layers"] == "mix"
