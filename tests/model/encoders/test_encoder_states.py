"""States that are kept in place of the encoder: the same as those of one that stays, wherever they are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lilift.data.texts.examples import Row
from lilift.model.bridge import BridgedModel
from lilift.model.encoders.encoder_states import EncoderStates, StatesInMemory, StatesOnDisk, StateStore, TokenIds

TEXTS: list[TokenIds] = [(5, 6, 7, 1), (8, 1), (5, 6, 7, 1), (9, 10, 11, 12, 13, 1)]


@pytest.fixture(scope="module")
def resident(bridge_of: Callable[..., BridgedModel]) -> BridgedModel:
    return bridge_of()


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return StatesInMemory(2**20) if request.param == "memory" else StatesOnDisk(tmp_path / "states", 2**20)


def states_of(bridge: BridgedModel, store: StateStore) -> EncoderStates:
    return EncoderStates(bridge.encoder, store, torch.device("cpu"))


def read(states: EncoderStates, texts: list[TokenIds]) -> None:
    for batch in states.batches(texts):
        states.read(batch)
    states.store.flush()


def expected(bridge: BridgedModel, texts: list[TokenIds]) -> torch.Tensor:
    batch = bridge.collate([Row(text, (), ()) for text in texts])
    states: torch.Tensor = bridge.encoder(batch.encoder_ids, batch.encoder_mask)
    return states


def without_encoder(states: EncoderStates, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise AssertionError("the encoder was asked again")

    monkeypatch.setattr(states.encoder, "forward", gone)


def test_kept_states_are_those_of_the_encoder_beside_it(
    resident: BridgedModel, store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = expected(resident, TEXTS)
    states = states_of(resident, store)
    read(states, TEXTS)
    without_encoder(states, monkeypatch)
    assert torch.allclose(states.padded(TEXTS), wanted, atol=1e-6)
    assert torch.equal(states.padded([TEXTS[1]]), states.padded(TEXTS)[1:2, :2])


def test_a_text_is_read_once(resident: BridgedModel, store: StateStore) -> None:
    batches = states_of(resident, store).batches([*TEXTS, *TEXTS])
    assert sorted(text for batch in batches for text in batch) == sorted(set(TEXTS))


def test_a_text_that_was_not_read_ahead_is_read_when_it_is_needed(resident: BridgedModel, store: StateStore) -> None:
    states = states_of(resident, store)
    read(states, TEXTS[:1])
    assert torch.allclose(states.padded(TEXTS), expected(resident, TEXTS), atol=1e-6)


def test_what_there_is_no_room_for_is_read_when_it_is_needed(resident: BridgedModel, tmp_path: Path) -> None:
    one = expected(resident, TEXTS[:1]).nbytes
    for store in (StatesInMemory(one), StatesOnDisk(tmp_path, one)):
        states = states_of(resident, store)
        read(states, TEXTS)
        kept = [store.find(text) is not None for text in TEXTS]
        assert any(kept)
        assert not all(kept)
        assert torch.allclose(states.padded(TEXTS), expected(resident, TEXTS), atol=1e-6)


def test_in_memory_only_what_was_asked_for_last_is_kept(resident: BridgedModel) -> None:
    states = states_of(resident, StatesInMemory(2**20))
    read(states, TEXTS[:2])
    read(states, TEXTS[3:])
    assert [states.store.find(text) is not None for text in TEXTS] == [False, False, False, True]


def test_on_disk_everything_is_found_again(resident: BridgedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = states_of(resident, StatesOnDisk(tmp_path, 2**20))
    read(first, TEXTS[:2])
    read(first, TEXTS)
    again = states_of(resident, StatesOnDisk(tmp_path, 2**20))
    assert again.batches(TEXTS) == []
    without_encoder(again, monkeypatch)
    assert torch.equal(again.padded(TEXTS), first.padded(TEXTS))


def test_the_room_on_the_disk_counts_what_was_there_before(resident: BridgedModel, tmp_path: Path) -> None:
    read(states_of(resident, StatesOnDisk(tmp_path, 2**20)), TEXTS[:1])
    states = states_of(resident, StatesOnDisk(tmp_path, 16))
    read(states, TEXTS)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists the mapped files of a process")
def test_states_on_disk_are_not_mapped_into_memory(resident: BridgedModel, tmp_path: Path) -> None:
    read(states_of(resident, StatesOnDisk(tmp_path, 2**20)), TEXTS)
    again = states_of(resident, StatesOnDisk(tmp_path, 2**20))
    assert again.store.find(TEXTS[0]) is not None
    assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["cut short", "header", "bits"])
def test_damaged_states_are_read_again(resident: BridgedModel, tmp_path: Path, damage: str) -> None:
    read(states_of(resident, StatesOnDisk(tmp_path, 2**20)), TEXTS)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "cut short":
        content = content[:-20]
    elif damage == "header":
        content[9] ^= 0xFF
    else:
        content[-3] ^= 0xFF  # within the last tensor of the file
        content[-40] ^= 0xFF
    path.write_bytes(content)
    states = states_of(resident, StatesOnDisk(tmp_path, 2**20))
    assert torch.allclose(states.padded(TEXTS), expected(resident, TEXTS), atol=1e-6)


def test_two_processes_fill_one_folder(resident: BridgedModel, tmp_path: Path) -> None:
    """Each computes the other half of the batches. Both lack nothing afterwards, and a third one finds everything."""
    stores = [StatesOnDisk(tmp_path, 2**20) for _ in range(2)]
    for half, store in enumerate(stores):
        states = states_of(resident, store)
        batches = [[text] for text in TEXTS]
        store.leave_to_others(TEXTS)
        for batch in batches[half::2]:
            states.read(batch)
        store.flush()
        assert states.batches(TEXTS) == []
    whole = StatesOnDisk(tmp_path, 2**20)
    assert all(whole.find(text) is not None for text in TEXTS)


@pytest.mark.parametrize("placement", ["cached-ram", "cached-disk"])
@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
def test_loss_and_answers_are_those_of_a_resident_encoder(
    bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]], kind: str, placement: str
) -> None:
    resident = bridge_of(alignment={"kind": kind})
    cached = bridge_of(alignment={"kind": kind}, encoder_settings={"placement": placement})
    rows = rows_of(resident)
    assert cached.states is not None
    cached.load_state_dict(resident.state_dict())
    losses = [bridge.loss(bridge.collate(rows)) for bridge in (resident, cached)]
    assert torch.allclose(*losses, atol=1e-5)
    assert cached.generate(rows, max_new_tokens=8) == resident.generate(rows, max_new_tokens=8)


@given(texts=st.lists(st.lists(st.integers(3, 40), min_size=1, max_size=300).map(tuple), min_size=1, max_size=60))
def test_batches_hold_every_text_once_and_are_no_larger_than_they_may(texts: list[TokenIds]) -> None:
    from lilift.model.encoders.encoder_states import BATCH_TOKENS

    nothing: object = None
    batches = EncoderStates(nothing, StatesInMemory(0), torch.device("cpu")).batches(texts)  # type: ignore[arg-type]
    assert sorted(text for batch in batches for text in batch) == sorted(set(texts))
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= BATCH_TOKENS for batch in batches)
