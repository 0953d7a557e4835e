"""The systems that a run compares, and how each one is built from the parts that the run has trained."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from lilift.data.batches.token_cache import TokenCache
from lilift.data.batches.tokenization import Tokenisation
from lilift.evaluate.evaluator import CONTROL, LIFTED, UNTRAINED, System
from lilift.evaluate.responders import BridgeResponder
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import load_part
from lilift.model.decoding.sampling import Sampling
from lilift.model.encoders.run_encoder import adapted_encoder, with_encoder_of_run
from lilift.phases.answering.dequantising import dequantise_if_it_fits, free_dequantised
from lilift.phases.data_tokenizers import tokenisation_of
from lilift.phases.run_folder import phase_fingerprint
from lilift.recipe import sealed_folders, storage
from lilift.recipe.errors import ModelError
from lilift.recipe.load import fingerprint
from lilift.recipe.schema import EvaluateSettings, Recipe, TrainedPart

SYSTEMS = {system.name: system for system in (UNTRAINED, CONTROL, LIFTED)}


def evaluated_systems(recipe: Recipe) -> tuple[System, ...]:
    """The systems that the recipe's evaluation compares, in the order of the table."""
    trained = LIFTED if len(recipe.stages) > 1 else replace(LIFTED, title="after training")
    wanted = {UNTRAINED: recipe.evaluate.untrained, CONTROL: recipe.transfer.control, trained: True}
    return tuple(system for system, asked in wanted.items() if asked)


def load_system(
    recipe: Recipe, run: Path, system: System, *, device: torch.device, states_folder: Path | None = None
) -> BridgedModel:
    """Load one of a run's systems; arguments as for `load_bridge`.

    Raises:
        RunFolderError: the run has not trained it yet, or one of its files is damaged.
        ModelError: one of the two models cannot be loaded.
    """
    parts = _trained_parts(recipe, run, system)
    for part in parts.values():
        check_trained_part(part)
    bridge = load_bridge(with_encoder_of_run(recipe, run), device=device, states_folder=states_folder)
    if "alignment" in parts:
        load_part(bridge, "alignment", parts["alignment"])
    if "adapter" in parts:
        if recipe.transfer.layer_swap is None:  # a combined adapter has ranks of its own, which its files say
            attach_lora(bridge, recipe.transfer.lora)
        load_part(bridge, "adapter", parts["adapter"])
    return bridge


def tokenisation_for(bridge: BridgedModel, recipe: Recipe, run: Path | None, cache: TokenCache | None = None) -> Tokenisation:
    """How texts become rows for this bridge: the same in training (which may use a cache), evaluation and chat.

    Raises:
        ModelError: the prompt template has a token for which the LLM has no embedding.
    """
    found = tokenisation_of(recipe, run, bridge.encoder.tokenizer, bridge.llm_tokenizer, cache)
    rows = bridge.causal_lm.get_input_embeddings().num_embeddings
    template = found.template
    for kind in template.openers:
        [ids] = found.control_tokens.encode([template.prompt("a", found.layout, kind)])
        if max(ids, default=0) >= rows:
            raise ModelError(
                f"the prompt template has the token {bridge.llm_tokenizer.convert_ids_to_tokens(max(ids))!r}, but the LLM's "
                f"embeddings have only {rows} rows",
                where=recipe.llm.model,
                remedy="choose another `data.template`, or resize the model's embeddings",
            )
    return found


def answers_depend_on(recipe: Recipe, run: Path, system: System) -> dict[str, str]:
    """What a system's answers depend on: its weights and the recipe's settings, as fingerprints."""
    parts = _trained_parts(recipe, run, system)
    encoder = adapted_encoder(recipe, run)
    parts |= {} if encoder is None else {"encoder": encoder}
    weights = {name: storage.read_json(part / sealed_folders.MANIFEST)["seal"] for name, part in parts.items()}
    return {"settings": phase_fingerprint(recipe, "transfer"), "limits": fingerprint(recipe.evaluate.max_new_tokens)} | weights


def responder_for(
    bridge: BridgedModel, recipe: Recipe, run: Path | None, settings: EvaluateSettings, *, sampling: Sampling | None = None
) -> BridgeResponder:
    """A responder for evaluation and chat, with the template and the limits of training.

    The bridge's LLM has dequantised weights afterwards, if `settings.dequantize` allows it.
    """
    dequantise_if_it_fits(bridge.causal_lm, settings.dequantize, batch_tokens=settings.tokens_per_batch)
    return BridgeResponder(
        bridge,
        tokenisation_for(bridge, recipe, run),
        max_new_tokens=settings.max_new_tokens,
        batch_tokens=settings.tokens_per_batch,
        sampling=sampling,
        spare=partial(free_dequantised, bridge.causal_lm),
    )


def _trained_parts(recipe: Recipe, run: Path, system: System) -> dict[str, Path]:
    """The parts of the bridge that a system takes from the run's stages."""
    if system.name == LIFTED.name:
        parts: tuple[TrainedPart, ...] = ("alignment", "adapter")
        return {part: run / stage / part for part in parts if (stage := recipe.trained_by(part)) is not None}
    if system.name == CONTROL.name:
        return {"adapter": run / "control" / "adapter"}
    return {}


def check_trained_part(part: Path) -> None:
    """Check that a stage of the run has finished a part, and that nobody has changed the part since.

    Raises:
        RunFolderError: the sealed folder `part` is missing or damaged. The error names the stage to finish or to repeat.
    """
    sealed_folders.verify_part(
        part,
        if_unfinished=sealed_folders.remedy_to_finish(part.parent.parent),
        if_damaged=sealed_folders.remedy_to_train_again(part.parent),
    )
