"""Both training stages from a recipe to their sealed results."""

from __future__ import annotations

from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge import BridgedModel
from lilift.recipe.errors import RunFolderError
from lilift.recipe.sealed_folders import verify_sealed_folder
from lilift.recipe.storage import JsonLines
from lilift.train.stages import run_stage, stage_fingerprint
from lilift.train.training_progress import NoProgress
from tests.train import tiny_run

LONGER = [
    f"{stage}.{setting}"
    for stage in ("align", "transfer")
    for setting in ("max_steps=50", "tokens_per_micro_batch=150", "schedule=constant", "log_every=5")
]


def every_tensor(bridge: BridgedModel) -> dict[str, Tensor]:
    """All parameters and buffers, and what 4-bit weights keep beside them: scales, their own scales, maps."""
    found = {name: tensor.detach().clone() for name, tensor in bridge.state_dict(keep_vars=True).items()}
    found |= {f"buffer {name}": buffer.clone() for name, buffer in bridge.named_buffers()}
    for name, module in bridge.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            state = module.weight.quant_state
            found |= {f"{name} {key}": value.clone() for key, value in state.as_dict(packed=True).items()}
    return found


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Names of what is not bit for bit the same; what is new counts too."""
    same = {
        name
        for name, tensor in before.items()
        if name in after
        and tensor.dtype == after[name].dtype
        and torch.equal(tensor.reshape(-1).view(torch.uint8), after[name].reshape(-1).view(torch.uint8))
    }
    return (before.keys() | after.keys()) - same


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in JsonLines(folder / "metrics.jsonl").read()]


def test_each_stage_trains_its_part_and_leaves_the_rest_bit_for_bit(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models, *LONGER)
    bridge = load_bridge(recipe, device="cpu")
    quantised = [module for module in bridge.modules() if isinstance(module, bnb.nn.Linear4bit)]
    assert len(quantised) == 14
    assert all(module.weight.dtype == torch.uint8 and module.weight.quant_state.nested for module in quantised)

    for parameter in bridge.parameters():  # whatever could learn wants to: the stages must freeze it
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    start = every_tensor(bridge)
    aligned = run_stage(bridge, tiny_run.TinySource(), recipe, tmp_path / "align", name="align", progress=NoProgress())
    middle = every_tensor(bridge)
    assert changed(start, middle) == {f"alignment.{name}" for name, _ in bridge.alignment.named_parameters()}
    assert {"alignment.bos", "alignment.eos"} <= changed(start, middle)

    attach_lora(bridge, recipe.transfer.lora)
    middle = every_tensor(bridge)
    transferred = run_stage(
        bridge, tiny_run.TinySource(), recipe, tmp_path / "transfer", name="transfer", progress=NoProgress()
    )
    end = every_tensor(bridge)
    adapter = {name for name in end if "lora_" in name}
    assert len(adapter) == 2 * len(quantised)
    assert changed(middle, end) == adapter

    # The method learns: far below where it began, and the second stage goes on from the first.
    assert losses(tmp_path / "align")[0] - aligned.loss > 1.0
    assert aligned.loss - transferred.loss > 0.1


def test_the_control_learns_on_an_untrained_alignment_layer(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models)
    bridge = load_bridge(recipe, device="cpu")
    before = {name: tensor.clone() for name, tensor in bridge.alignment.state_dict().items()}
    run_stage(bridge, tiny_run.TinySource(), recipe, tmp_path, name="control", progress=NoProgress())
    assert changed(before, dict(bridge.alignment.state_dict())) == set()
    assert verify_sealed_folder(tmp_path / "adapter")["stage"] == "control"


@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
def test_the_result_of_stage_1_is_what_was_trained(models: Path, tmp_path: Path, kind: str) -> None:
    recipe = tiny_run.make_recipe(models, f"alignment.kind={kind}", "alignment.latents=4")
    bridge, result = tiny_run.train(recipe, tmp_path, "align", NoProgress())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alignment", "metrics.jsonl"]
    saved = load_file(tmp_path / "alignment" / "alignment.safetensors")
    assert changed(saved, dict(bridge.alignment.state_dict())) == set()
    details = verify_sealed_folder(tmp_path / "alignment")
    assert (details["stage"], details["steps"], details["loss"]) == ("align", 12, result.loss)


@pytest.mark.parametrize("stage", ["align", "transfer"])
def test_a_finished_stage_is_loaded_not_trained(models: Path, tmp_path: Path, stage: str) -> None:
    recipe = tiny_run.make_recipe(models)
    bridge, result = tiny_run.train(recipe, tmp_path, stage, NoProgress())
    written = (tmp_path / "metrics.jsonl").stat().st_mtime_ns
    again, loaded = tiny_run.train(recipe, tmp_path, stage, NoProgress())
    assert loaded == result
    assert (tmp_path / "metrics.jsonl").stat().st_mtime_ns == written
    assert changed(every_tensor(bridge), every_tensor(again)) == set()


@pytest.mark.parametrize("stage", ["align", "transfer"])
def test_gradient_checkpointing_changes_nothing_but_rounding(models: Path, tmp_path: Path, stage: str) -> None:
    """Dropout draws the same again when activations are computed again; frozen inputs do not cut the gradient off."""
    for checkpointing in ("true", "false"):
        recipe = tiny_run.make_recipe(models, f"llm.gradient_checkpointing={checkpointing}")
        tiny_run.train(recipe, tmp_path / checkpointing, stage, NoProgress())
    assert losses(tmp_path / "true") == pytest.approx(losses(tmp_path / "false"), rel=1e-5)


def test_it_learns_in_bfloat16_with_8_bit_moments(models: Path, tmp_path: Path) -> None:
    half = [f"{model}.dtype=bfloat16" for model in ("encoder", "llm")]
    eight = [f"{stage}.optimizer=paged_adamw_8bit" for stage in ("align", "transfer")]
    recipe = tiny_run.make_recipe(models, *LONGER, *half, *eight)
    _, result = tiny_run.train(recipe, tmp_path, "align", NoProgress())
    assert losses(tmp_path)[0] - result.loss > 1.0


def test_a_damaged_or_foreign_result_is_refused(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models)
    tiny_run.train(recipe, tmp_path, "align", NoProgress())
    with pytest.raises(RunFolderError, match="made with other settings"):
        tiny_run.train(tiny_run.make_recipe(models, "align.learning_rate=0.02"), tmp_path, "align", NoProgress())
    weights = tmp_path / "alignment" / "alignment.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RunFolderError, match=r"alignment.safetensors has \d+ bytes instead of \d+; restore it from a copy, or"):
        tiny_run.train(recipe, tmp_path, "align", NoProgress())


def test_the_fingerprint_covers_what_the_result_depends_on(models: Path) -> None:
    def fingerprints(*overrides: str) -> list[str]:
        recipe = tiny_run.make_recipe(models, *overrides)
        return [stage_fingerprint(recipe, name) for name in ("align", "transfer", "control")]

    plain = fingerprints()
    assert len(set(plain)) == 3
    assert fingerprints("align.checkpoint_every=7", "transfer.log_every=3", "transfer.control=true") == plain
    assert [a == b for a, b in zip(fingerprints("align.epochs=7"), plain, strict=True)] == [False, False, True]
    assert [a == b for a, b in zip(fingerprints("transfer.lora.rank=8"), plain, strict=True)] == [True, False, False]
    assert not set(fingerprints("seed=6")) & set(plain)
    assert not set(fingerprints("data.max_tokens=33")) & set(plain)


def test_the_frozen_encoder_is_never_in_training_mode_and_the_adapters_dropout_is(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    loss = BridgedModel.loss

    def watched(self: BridgedModel, *arguments: object, **keywords: object) -> Tensor:
        dropouts = [module for name, module in self.llm.named_modules() if isinstance(module, nn.Dropout) and "lora_" in name]
        assert dropouts
        seen.append((any(module.training for module in self.encoder.modules()), all(module.training for module in dropouts)))
        return loss(self, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(BridgedModel, "loss", watched)
    bridge, _ = tiny_run.train(tiny_run.make_recipe(models), tmp_path, "transfer", NoProgress())
    assert set(seen) == {(False, True)}
    assert not any(module.training for module in bridge.modules())
