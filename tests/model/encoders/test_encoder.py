"""The encoder: whatever family it is of, frozen, and its states are a text's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lilift.model.encoders.encoder import Encoder, load_encoder
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import EncoderSettings

FAMILIES = ("mt5", "umt5", "byt5", "nllb", "xlmr")
CPU = torch.device("cpu")


@pytest.fixture
def encoder_of(encoder_folder: Callable[[str], Path]) -> Callable[..., Encoder]:
    def encoder(name: str, **settings: object) -> Encoder:
        defaults = {"model": str(encoder_folder(name)), "dtype": "float32", "max_tokens": 64}
        return load_encoder(EncoderSettings.model_validate({**defaults, **settings}), device=CPU)

    return encoder


@pytest.mark.parametrize("add_embeddings", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_states_do_not_depend_on_padding(name: str, add_embeddings: bool, encoder_of: Callable[..., Encoder]) -> None:
    encoder = encoder_of(name, add_embeddings=add_embeddings)
    ids = torch.tensor([encoder.tokenizer.encode("mary has apples")])
    alone = encoder(ids, torch.ones_like(ids, dtype=torch.bool))
    length = ids.shape[1]
    # Padding spelled with an ordinary token: it must not matter what stands there.
    padded = torch.cat([ids, torch.full((1, 5), int(ids[0, 1]))], dim=1).repeat(2, 1)
    mask = torch.arange(length + 5)[None] < torch.tensor([[length], [length + 5]])
    states = encoder(padded, mask)
    assert states.shape == (2, length + 5, encoder.hidden_size)
    torch.testing.assert_close(states[0, :length], alone[0], rtol=1e-5, atol=1e-5)
    assert not states[0, length:].any()
    assert (states[1, :length] - alone[0]).abs().max() > 1e-3, "more text changes the states"


@pytest.mark.parametrize("name", FAMILIES)
def test_only_the_encoder_is_kept_and_it_is_frozen(name: str, encoder_of: Callable[..., Encoder]) -> None:
    encoder = encoder_of(name).train()
    assert not any("decoder" in part for part, _ in encoder.named_modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(module.training for module in encoder.modules()), "no dropout while the rest trains"
    ids = torch.tensor([encoder.tokenizer.encode("mary")])
    assert not encoder(ids, torch.ones_like(ids, dtype=torch.bool)).requires_grad


@pytest.mark.parametrize("name", FAMILIES)
def test_added_embeddings_have_the_size_of_the_states(name: str, encoder_of: Callable[..., Encoder]) -> None:
    plain, added = encoder_of(name), encoder_of(name, add_embeddings=True)
    ids = torch.tensor([plain.tokenizer.encode("mary has apples")])
    mask = torch.ones_like(ids, dtype=torch.bool)
    states, sums = plain(ids, mask), added(ids, mask)
    embeddings = plain.model.get_input_embeddings()(ids)
    part = sums - states
    cosine = torch.nn.functional.cosine_similarity(part, embeddings, dim=-1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(part.norm(dim=-1), states.norm(dim=-1), rtol=1e-4, atol=1e-4)


def test_a_text_longer_than_the_positions_is_refused_when_loading(encoder_of: Callable[..., Encoder]) -> None:
    assert encoder_of("xlmr").max_positions == 64  # 66 rows, of which two are never used
    with pytest.raises(ModelError, match=r"at most 64 tokens.*encoder\.max_tokens to 64"):
        encoder_of("xlmr", max_tokens=65)
    assert encoder_of("mt5", max_tokens=4096).max_positions is None
    assert encoder_of("nllb", max_tokens=4096).max_positions is None, "computed positions have no end"


def test_a_model_that_lacks_weights_is_refused(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    weights = load_file(encoder_folder("mt5") / "model.safetensors")
    del weights["encoder.block.1.layer.0.SelfAttention.q.weight"]
    for path in encoder_folder("mt5").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="incomplete: 1 tensor"):
        load_encoder(EncoderSettings(model=str(tmp_path), dtype="float32"), device=CPU)


def test_a_model_without_a_pooler_is_as_good(encoder_folder: Callable[[str], Path], encoder_of: Callable[..., Encoder]) -> None:
    assert not any("pooler" in name for name in load_file(encoder_folder("xlmr") / "model.safetensors"))
    encoder_of("xlmr")
