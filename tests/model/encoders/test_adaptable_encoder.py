"""An encoder of any family learns through a LoRA adapter, and its merged copy loads like any encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from lilift.model.encoders.adaptable_encoder import (
    AdaptableEncoder,
    check_adaptable,
    load_adaptable,
    save_encoder,
    token_ids,
    with_lora,
)
from lilift.model.encoders.encoder import load_encoder
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import EncoderSettings
from tests.model.conftest import ENCODERS

CPU = torch.device("cpu")
TEXT = "mary has apples and buys more"


def settings_of(folder: Path) -> EncoderSettings:
    return EncoderSettings(model=str(folder), dtype="float32", max_tokens=32)


def states(encoder: AdaptableEncoder) -> torch.Tensor:
    ids = torch.tensor([encoder.tokenizer.encode(TEXT)])
    with torch.no_grad():
        return encoder.states(ids, torch.ones_like(ids, dtype=torch.bool))


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_the_merged_copy_of_every_family_loads_with_the_states_of_the_adapter(
    name: str, encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = settings_of(encoder_folder(name))
    encoder = load_adaptable(settings, device=CPU)
    before = states(encoder)
    adapted = with_lora(encoder.half, 4, seed=0)
    assert torch.equal(states(encoder), before), "a fresh adapter changes nothing"
    learned = {name: one for name, one in encoder.half.named_parameters() if one.requires_grad}
    assert learned
    assert all("lora_" in name for name in learned)
    with torch.no_grad():
        for one in learned.values():
            one.add_(0.05)
    changed = states(encoder)
    assert not torch.allclose(changed, before, atol=1e-3)
    adapted.merge_and_unload()
    save_encoder(encoder, settings, tmp_path / "adapted")
    loaded = load_encoder(settings_of(tmp_path / "adapted"), device=CPU)
    ids = torch.tensor([loaded.tokenizer.encode(TEXT)])
    assert loaded.tokenizer.encode(TEXT) == encoder.tokenizer.encode(TEXT)
    found = loaded(ids, torch.ones_like(ids, dtype=torch.bool))
    torch.testing.assert_close(found, changed, rtol=1e-4, atol=1e-4)


def test_texts_without_a_token_to_ask_for_are_left_out(encoder_folder: Callable[[str], Path]) -> None:
    encoder = load_adaptable(settings_of(encoder_folder("mt5")), device=CPU)
    found = token_ids(encoder, {"sw": [TEXT, "", TEXT]}, 8)
    assert len(found) == 2
    assert all(len(ids) <= 8 for ids in found)


def test_an_encoder_without_a_vocabulary_is_refused() -> None:
    with pytest.raises(ModelError, match="no vocabulary"):
        check_adaptable(transformers.CanineConfig(), "google/canine-s")


def test_no_phase_loads_the_encoder_as_it_was_by_mistake(encoder_folder: Callable[[str], Path]) -> None:
    settings = settings_of(encoder_folder("mt5"))
    forgotten = EncoderSettings.model_validate(settings.model_dump() | {"adapt": {"text": {"sw": "sw.txt"}}})
    with pytest.raises(ValueError, match="load the adapted encoder"):
        load_encoder(forgotten, device=CPU)
