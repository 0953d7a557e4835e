"""A run that took no time (the real stand-ins, with weights that no training has seen), and its export."""

from __future__ import annotations

from pathlib import Path

import torch

from lilift.export.bundle import export_bundle
from lilift.export.job import RunParts
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import save_part
from lilift.recipe import sealed_folders, storage
from lilift.recipe.load import dump_recipe, load_recipe
from lilift.recipe.schema import ExportSettings, Recipe

SETTINGS = ("alignment.expansion=1", "evaluate.max_new_tokens=16", "languages=[om, fj]")
QUESTIONS = ("Omar kanniisa 25 qaba.", "E lima na manumanu", "żółta ఎన్ని 12 + 30?")


def make_run(folder: Path, *settings: str) -> tuple[Recipe, BridgedModel]:
    """A run folder with an alignment layer and an adapter that both change what the LLM says."""
    recipe = load_recipe("tiny-cpu", [*SETTINGS, *settings])
    bridge = load_bridge(recipe, device="cpu")
    attach_lora(bridge, recipe.transfer.lora)
    torch.manual_seed(3)
    for name, parameter in bridge.llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    storage.write_text(folder / "recipe.yaml", dump_recipe(recipe))
    with sealed_folders.sealed_folder(folder / "align" / "alignment") as part:
        save_part(bridge, "alignment", part)
    with sealed_folders.sealed_folder(folder / "transfer" / "adapter") as part:
        save_part(bridge, "adapter", part)
    return recipe, bridge.eval()


def export(recipe: Recipe, run: Path, output: Path, *quantisations: str) -> Path:
    settings = ExportSettings(formats=("gguf",), quantisations=quantisations)
    export_bundle(recipe, settings, RunParts.of(run, recipe), output)
    return output
