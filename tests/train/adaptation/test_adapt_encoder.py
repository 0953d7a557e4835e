"""An adaptation learns the unseen language, goes on to the same bits where it was stopped, and is read once it is done."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from lilift.model.encoders.encoder import load_encoder
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.interrupt import StoppedBySignal
from lilift.recipe.schema import EncoderSettings
from lilift.recipe.sealed_folders import verify_sealed_folder
from lilift.train.adaptation import adapt_encoder as module
from lilift.train.adaptation.adapt_encoder import AdaptationResult, adapt_encoder
from tests.train.test_loop import Recorder
from tests.train.tiny_run import WORDS

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def short_steps() -> Iterator[None]:
    """Steps of a few texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TOKENS_PER_STEP", 192)
        yield


def lines(first: int, count: int = 120) -> list[str]:
    """Texts in which each word follows from the one before it, so that a masked one can be told."""
    draw = random.Random(first)
    found = []
    for _ in range(count):
        start = draw.randrange(6)
        found.append(" ".join(f"w{1 + first + (start + place) % 6}" for place in range(10)))
    return found


FOREIGN, ENGLISH = lines(0), lines(12)
assert WORDS > 18, "all words are in the tiny vocabulary"


def settings_of(models: Path, **adapt: object) -> EncoderSettings:
    chosen = {"text": {"sw": "sw.txt"}, "steps": 12, "rank": 4, "learning_rate": 0.02} | adapt
    return EncoderSettings.model_validate({"model": str(models / "encoder"), "dtype": "float32", "adapt": chosen})


def adapted(settings: EncoderSettings, where: Path, *, foreign: Sequence[str] = FOREIGN, seed: int = 1) -> AdaptationResult:
    return adapt_encoder(settings, {"sw": foreign}, ENGLISH, where, fingerprint="f", seed=seed, device=CPU, progress=Recorder())


@pytest.fixture(scope="module")
def undisturbed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AdaptationResult]:
    where = tmp_path_factory.mktemp("adapt")
    return where, adapted(settings_of(models), where)


def weights(where: Path) -> bytes:
    return (where / "encoder" / "model.safetensors").read_bytes()


def test_the_loss_falls_in_both_languages(undisturbed: tuple[Path, AdaptationResult], models: Path) -> None:
    where, result = undisturbed
    assert result.new_head
    assert result.texts == {"sw": 108, "en": 108}
    assert result.unseen == {"sw": 12, "en": 12}
    assert result.after["sw"] < result.before["sw"] - 0.02
    assert result.after["en"] < result.before["en"]
    details = verify_sealed_folder(where / "encoder")
    assert details["result"] == dataclasses.asdict(result)
    assert sorted(path.name for path in where.iterdir()) == ["encoder", "metrics.jsonl"], "no checkpoint is left"
    found = load_encoder(EncoderSettings(model=str(where / "encoder"), dtype="float32"), device=CPU)
    base = load_encoder(EncoderSettings(model=str(models / "encoder"), dtype="float32"), device=CPU)
    ids = torch.tensor([found.tokenizer.encode(FOREIGN[0])])
    mask = torch.ones_like(ids, dtype=torch.bool)
    assert not torch.allclose(found(ids, mask), base(ids, mask), atol=1e-3)


@pytest.mark.parametrize("at", [("adapt, new head", 7), ("adapt", 8)])
def test_a_stopped_adaptation_ends_with_the_same_bits(
    at: tuple[str, int],
    undisturbed: tuple[Path, AdaptationResult],
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = module.train_stage

    def stopping(model, job, _):  # type: ignore[no-untyped-def]
        class Stop(Recorder):
            def step(self, report):  # type: ignore[no-untyped-def]
                if (job.name, report.step) == at:
                    raise StoppedBySignal("stopped", 130)

        return real(model, dataclasses.replace(job, settings=job.settings.model_copy(update={"checkpoint_every": 3})), Stop())

    monkeypatch.setattr(module, "train_stage", stopping)
    with pytest.raises(StoppedBySignal):
        adapted(settings_of(models), tmp_path)
    monkeypatch.undo()
    assert adapted(settings_of(models), tmp_path) == undisturbed[1]
    assert weights(tmp_path) == weights(undisturbed[0])


def test_a_finished_adaptation_is_read_and_not_repeated(
    undisturbed: tuple[Path, AdaptationResult], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_adaptable", None)
    assert adapted(settings_of(models), undisturbed[0]) == undisturbed[1]


def test_a_damaged_encoder_is_named(models: Path, tmp_path: Path) -> None:
    adapted(settings_of(models, steps=2), tmp_path)
    with (tmp_path / "encoder" / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"oops")
    with pytest.raises(RunFolderError, match=r"model\.safetensors has changed"):
        adapted(settings_of(models, steps=2), tmp_path)


def test_too_little_text_is_an_error_with_the_number(models: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 5 texts"):
        adapted(settings_of(models), tmp_path, foreign=FOREIGN[:5])
    assert not (tmp_path / "encoder").exists()


def test_the_user_hears_of_a_loss_that_has_not_fallen() -> None:
    counts, before = {"sw": 90, "en": 90}, {"sw": 1.0, "en": 1.0}
    result = AdaptationResult(counts, {"sw": 10, "en": 10}, 3, 1234, True, before, {"sw": 1.0, "en": 1.1})
    found = result.lines()
    assert any(line.startswith("warning: the loss in sw has not fallen") for line in found)
    assert not any("in en has" in line for line in found)
