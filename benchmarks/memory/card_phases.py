"""Run each phase of a recipe with random weights, and measure its memory and its speed beside its plan."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard, free_memory
from lilift.memory.plan import Plan
from lilift.memory.planned_card import MIB
from lilift.memory.probe import MemoryProbe
from lilift.model.bridge import BridgedModel
from lilift.phases.rehearsals import heaviest_questions, heaviest_rows, plan_recipe, require_plan_fits
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import Recipe
from lilift.train.optimizer import allocate_state, build_optimizer
from lilift.train.step import compute_gradients

STEPS = 3
TOO_LARGE = 1.15  # times the limit


class Stepper:
    """Takes optimizer steps of a stage, like the trainer."""

    def __init__(self, bridge: BridgedModel, recipe: Recipe, stage: str) -> None:
        self.bridge, self.settings = bridge, getattr(recipe, stage)
        if stage == "align":
            bridge.train_only("alignment")
        else:
            bridge.train_only("adapter")
        bridge.train()
        self.trained = {name: weight for name, weight in bridge.named_parameters() if weight.requires_grad}
        self.optimizer = build_optimizer(self.trained, self.settings)
        self.guard = OutOfMemoryGuard(lambda line: print(f"  {line}", flush=True))

    def step(self, rows: Sequence[Row]) -> int:
        """Take one step of two micro-batches of these rows; return its positions."""
        allocate_state(self.optimizer)
        outcome = compute_gradients(
            self.bridge,
            [rows, rows],
            list(self.trained.values()),
            loss_tokens=2 * sum(len(row.response_ids) for row in rows),
            max_grad_norm=1.0,
            guard=self.guard,
        )
        assert outcome.finite
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return outcome.tokens


def measured(work: Any, device: torch.device) -> dict[str, float]:
    """Peaks in MiB and positions a second of a function that returns positions. A first call, not measured, compiles."""
    work()
    free_memory()
    with MemoryProbe(device.type) as probe:
        began = time.perf_counter()
        tokens = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        allocated = torch.cuda.max_memory_allocated() / MIB if device.type == "cuda" else probe.peak_mib
    return {
        "reserved_mib": probe.peak_mib,
        "allocated_mib": round(allocated, 1),
        "tokens_per_second": round(tokens / seconds, 1),
    }


def beside_plan(found: dict[str, float], plan: Plan, phase: str) -> dict[str, float]:
    """The measured figures with the planned ones: of tensors, and of the memory that the allocator reserves for them."""
    parts = plan.of(phase).parts
    tensors = sum(size for name, size in parts.items() if name not in ("context", "overhead"))
    return {
        "planned_mib": round((tensors + parts["overhead"]) / MIB, 1),
        "planned_tensors_mib": round(tensors / MIB, 1),
        **found,
    }


def stage(bridge: BridgedModel, plan: Plan, name: str, device: torch.device) -> dict[str, float]:
    stepper = Stepper(bridge, plan.recipe, name)
    rows = heaviest_rows(plan.recipe, getattr(plan.recipe, name))
    return beside_plan(measured(lambda: sum(stepper.step(rows) for _ in range(STEPS)), device), plan, name)


def evaluation(bridge: BridgedModel, plan: Plan, device: torch.device) -> dict[str, float]:
    bridge.requires_grad_(False)
    settings = plan.recipe.evaluate
    rows = heaviest_questions(plan.recipe)

    def answer() -> int:
        replies = list(bridge.stream(rows, max_new_tokens=settings.max_new_tokens, batch_tokens=settings.tokens_per_batch))
        return sum(reply.tokens for reply in replies)

    return beside_plan(measured(answer, device), plan, "evaluate")


def too_large(bridge: BridgedModel, plan: Plan, device: torch.device) -> dict[str, Any]:
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
    try:
        require_plan_fits(plan_recipe(bold, card=plan.card, strict=True))
    except RecipeError as refusal:
        refused = True
        print(f"  refused: {refusal.line()}", flush=True)
    stepper = Stepper(bridge, bold, "transfer")
    if device.type == "cpu":
        _run_out_beyond(bridge, wanted // 2 * recipe.data.max_tokens)
    tokens_done = stepper.step(heaviest_rows(bold, bold.transfer))
    return {"rows": wanted, "refused": refused, "failures": stepper.guard.failures, "tokens": tokens_done}


def _run_out_beyond(bridge: BridgedModel, positions: int) -> None:
    """Let a rehearsal, which has no card, run out of memory above this many positions."""
    loss = bridge.loss

    def scarce(batch: Any, **keywords: Any) -> Any:
        if batch.mask.numel() > positions:
            raise MemoryError
        return loss(batch, **keywords)

    bridge.loss = scarce  # type: ignore[method-assign]


def plain_step(bridge: BridgedModel, plan: Plan, device: torch.device) -> dict[str, float]:
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

    def step() -> int:
        for _ in range(2 * STEPS):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=compute == torch.bfloat16):
                out = llm(inputs_embeds=inputs.clone(), attention_mask=mask.long(), labels=labels.view(mask.shape))
            out.loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return 2 * STEPS * batch.tokens

    try:
        return measured(step, device)
    except (MemoryError, torch.OutOfMemoryError) as failure:
        return {"failed": 1.0, "reason": str(failure).split(".")[0]}  # type: ignore[dict-item]
