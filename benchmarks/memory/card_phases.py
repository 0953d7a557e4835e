"""Run each phase of a recipe with random weights, and measure its memory and its speed beside its plan."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard, free_memory
from lilift.memory.phase_plan import PhasePlan
from lilift.memory.plan import Plan, make_plan, require_fit
from lilift.memory.planned_card import MIB
from lilift.memory.probe import MemoryProbe
from lilift.memory.simulation.simulate import Rehearsal
from lilift.model.bridge import BridgedModel
from lilift.phases.rehearsals import heaviest_questions, heaviest_rows
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import Recipe
from lilift.train.optimizer import allocate_state, build_optimizer
from lilift.train.stage_rehearsal import rehearsal as rehearse_stage
from lilift.train.step import compute_gradients

STEPS = 2
UNEQUAL_STEPS = 6  # with rows of many lengths, as in a run: they leave holes between tensors
SHORTEST = 0.2  # of the longest row
TOO_LARGE = 1.15  # times the limit
Say = Callable[[str], None]


class Stepper:
    """Takes optimizer steps of a stage, like the trainer."""

    def __init__(self, bridge: BridgedModel, recipe: Recipe, stage: str, say: Say) -> None:
        self.bridge, self.settings = bridge, getattr(recipe, stage)
        if stage == "align":
            bridge.train_only("alignment")
        else:
            bridge.train_only("adapter")
        bridge.train()
        self.trained = {name: weight for name, weight in bridge.named_parameters() if weight.requires_grad}
        self.optimizer = build_optimizer(self.trained, self.settings)
        self.guard = OutOfMemoryGuard(say)

    def step(self, *micro_batches: Sequence[Row]) -> int:
        """Take one step of these micro-batches; return its positions."""
        allocate_state(self.optimizer)
        outcome = compute_gradients(
            self.bridge,
            micro_batches,
            list(self.trained.values()),
            loss_tokens=sum(len(row.response_ids) for rows in micro_batches for row in rows),
            max_grad_norm=1.0,
            guard=self.guard,
        )
        assert outcome.finite
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return outcome.tokens


@dataclass(frozen=True)
class Measured:
    """Peaks in MiB, positions a second, and what the process holds on the card besides torch's allocator, in MiB."""

    reserved_mib: float
    allocated_mib: float
    tokens_per_second: float
    outside_mib: float


def measured(work: Callable[[], int], device: torch.device) -> Measured:
    """Measure a function that returns positions. Whatever compiles must have run before."""
    free_memory()
    with MemoryProbe(device.type) as probe:
        began = time.perf_counter()
        tokens = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        allocated = torch.cuda.max_memory_allocated() / MIB if device.type == "cuda" else probe.peak_mib
    return Measured(probe.peak_mib, round(allocated, 1), round(tokens / seconds, 1), outside_mib(device))


def outside_mib(device: torch.device) -> float:
    """What the card's memory holds besides torch's allocator: the context, kernels, and other processes."""
    if device.type != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info()
    return round((total - free - torch.cuda.memory_reserved()) / MIB, 1)


def beside_plan(found: Measured, phase: PhasePlan) -> dict[str, Any]:
    """The measured figures with the planned ones: of tensors, of what torch reserves, and of that before lilift raises it."""
    parts = phase.parts
    tensors = sum(size for name, size in parts.items() if name not in ("context", "overhead"))
    return {
        "rows": phase.rows,
        "row_tokens": phase.row_tokens,
        "planned_mib": round((tensors + parts["overhead"]) / MIB, 1),
        "simulated_mib": round((tensors + parts["overhead"] - phase.raised_bytes) / MIB, 1),
        "planned_tensors_mib": round(tensors / MIB, 1),
        "planned_parts_mib": {name: round(size / MIB, 1) for name, size in parts.items() if size},
        **vars(found),
    }


def stage(bridge: BridgedModel, plan: Plan, name: str, device: torch.device, say: Say) -> dict[str, Any]:
    """Steps of a stage with its heaviest micro-batches, then with unequal ones."""
    stepper = Stepper(bridge, plan.recipe, name, say)
    rows = heaviest_rows(plan.recipe, getattr(plan.recipe, name))
    say(f"{name}: one micro-batch of {len(rows)} rows, which compiles")
    stepper.step(rows)
    say(f"{name}: {STEPS} steps of two such micro-batches")
    found = measured(lambda: sum(stepper.step(rows, rows) for _ in range(STEPS)), device)
    say(f"{name}: {UNEQUAL_STEPS} steps of unequal micro-batches")
    before = found.reserved_mib
    with MemoryProbe(device.type) as probe:
        for step in range(UNEQUAL_STEPS):
            stepper.step(*unequal(rows, seed=step))
    found = replace(found, reserved_mib=max(before, probe.peak_mib))
    return beside_plan(found, plan.of(name)) | {"reserved_by_equal_batches_mib": before}


def unequal(rows: Sequence[Row], *, seed: int) -> list[list[Row]]:
    """Two micro-batches, each of rows of similar lengths, that take about as many positions as `rows`."""
    chance = random.Random(seed)
    whole = len(rows) * (len(rows[0].encoder_ids) + len(rows[0].response_ids))
    found = []
    for _ in range(2):
        share = chance.uniform(SHORTEST, 1)
        batch: list[Row] = []
        taken = 0
        while not batch or taken < 0.9 * whole:
            row = rows[0]
            near = share * chance.uniform(0.9, 1)
            row = Row(
                row.encoder_ids[: max(1, int(near * len(row.encoder_ids)))],
                row.prompt_ids,
                row.response_ids[: max(1, int(near * len(row.response_ids)))],
            )
            length = len(row.encoder_ids) + len(row.response_ids)
            if batch and taken + length > whole:
                break
            batch.append(row)
            taken += length
        found.append(batch)
    return found


def evaluation(bridge: BridgedModel, plan: Plan, device: torch.device, say: Say) -> dict[str, Any]:
    """Answers to the heaviest questions."""
    bridge.requires_grad_(False)
    settings = plan.recipe.evaluate
    rows = heaviest_questions(plan.recipe)

    def answer(tokens: int) -> int:
        replies = bridge.stream(rows, max_new_tokens=tokens, batch_tokens=settings.tokens_per_batch)
        return sum(reply.tokens for reply in replies)

    say(f"evaluate: {len(rows)} answers of 2 tokens, which compiles")
    answer(2)
    say(f"evaluate: {len(rows)} answers of {settings.max_new_tokens} tokens")
    return beside_plan(measured(lambda: answer(settings.max_new_tokens), device), plan.of("evaluate"))


def too_large(bridge: BridgedModel, plan: Plan, device: torch.device, say: Say) -> dict[str, Any]:
    """A micro-batch whose plan is 15% above the limit: lilift must refuse it, and must split it if it runs all the same."""
    recipe, rows = plan.recipe, plan.of("transfer").rows
    phase = plan.of("transfer")
    lasting = sum(size for name, size in phase.parts.items() if name not in ("activations", "temporaries", "overhead"))
    wanted = math.ceil(rows * (TOO_LARGE * plan.limit_bytes - lasting) / (phase.peak_bytes - lasting))
    tokens = wanted * recipe.data.max_tokens
    larger = {"tokens_per_micro_batch": tokens, "tokens_per_step": max(tokens, recipe.transfer.tokens_per_step)}
    settings = recipe.as_dict()
    bold = Recipe.model_validate({**settings, "transfer": settings["transfer"] | larger})
    refused = False
    say(f"too large: the plan of {wanted} rows in stage 2")
    try:
        require_fit(make_plan(bold, _stage_2, card=plan.card, strict=True), _stage_2)
    except RecipeError as refusal:
        refused = True
        say(f"too large: refused: {refusal.line()}")
    stepper = Stepper(bridge, bold, "transfer", say)
    if device.type == "cpu":
        _run_out_beyond(bridge, wanted // 2 * recipe.data.max_tokens)
    say("too large: run all the same")
    tokens_done = stepper.step(heaviest_rows(bold, bold.transfer))
    return {"rows": wanted, "refused": refused, "failures": stepper.guard.failures, "tokens": tokens_done}


def _stage_2(recipe: Recipe) -> list[Rehearsal]:
    """Only the phase that is too large, so that its plan takes seconds."""
    return [rehearse_stage(recipe, "transfer", heaviest_rows(recipe, recipe.transfer))]


def _run_out_beyond(bridge: BridgedModel, positions: int) -> None:
    """Let a rehearsal, which has no card, run out of memory above this many positions."""
    loss = bridge.loss

    def scarce(batch: Any, **keywords: Any) -> Any:
        if batch.mask.numel() > positions:
            raise MemoryError
        return loss(batch, **keywords)

    bridge.loss = scarce  # type: ignore[method-assign]


def plain_step(bridge: BridgedModel, plan: Plan, device: torch.device, say: Say) -> dict[str, Any]:
    """The same micro-batch with transformers, peft and bitsandbytes as their documentation shows; changes the LLM for good."""
    from bitsandbytes.optim import AdamW8bit
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    settings = plan.recipe.transfer
    rows = heaviest_rows(plan.recipe, settings)
    llm: Any = bridge.llm
    if bridge.has_adapter:
        llm = llm.unload()
    bridge.requires_grad_(False)
    with torch.no_grad():
        batch = bridge.collate(rows).to(device)
        inputs, mask, _ = bridge.embed(batch)
    labels = torch.full(mask.shape, -100, device=device).view(-1)
    labels[batch.loss_rows + 1] = batch.loss_labels
    llm = prepare_model_for_kbit_training(llm, gradient_checkpointing_kwargs={"use_reentrant": False})
    config = LoraConfig(
        r=settings.lora.rank, lora_alpha=settings.lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    llm = get_peft_model(llm, config).train()
    optimizer = AdamW8bit([weight for weight in llm.parameters() if weight.requires_grad], lr=1e-4)
    compute: torch.dtype = getattr(torch, plan.recipe.llm.dtype)

    def step(times: int) -> int:
        for _ in range(times):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=compute == torch.bfloat16):
                out = llm(inputs_embeds=inputs.clone(), attention_mask=mask.long(), labels=labels.view(mask.shape))
            out.loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return times * batch.tokens

    say("plain: transformers, peft and bitsandbytes")
    try:
        step(1)
        return vars(measured(lambda: step(2 * STEPS), device))
    except (MemoryError, torch.OutOfMemoryError) as failure:
        return {"failed": 1.0, "reason": str(failure).split(".")[0]}
