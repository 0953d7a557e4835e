"""Printing of a memory plan: a bar for each phase, a table of MiB, and the changes that made the recipe fit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lilift.cli.console import console, print_table
from lilift.memory.phase_plan import CATEGORIES, CATEGORY_COLOURS, CATEGORY_LETTERS, category_title
from lilift.recipe.terminal import is_terminal

if TYPE_CHECKING:
    from rich.text import Text

    from lilift.memory.changes import Change
    from lilift.memory.instant_plan import InstantPlan
    from lilift.memory.phase_plan import PhasePlan
    from lilift.memory.plan import Plan
    from lilift.recipe.errors import LiliftError

EXPLAINED_PARTS = 5
PROCESS_ON_CPU = "Python, its libraries and the prepared data: settings do not change it"
# What each category of a plan is, in a few words.
EXPLAINED = {
    "context": "the CUDA context, and a desktop: settings do not change it",
    "llm": "the LLM's weights (llm.quantization, llm.dtype, a smaller LLM)",
    "encoder": "the encoder's weights (encoder.placement, encoder.quantization)",
    "alignment": "the alignment layer's weights (alignment.expansion)",
    "adapter": "the LoRA adapter's weights (transfer.lora.rank; of an adaptation encoder.adapt.rank, and its new head)",
    "translator": "the translator's weights, in 8 bits (evaluate.pivot.model, evaluate.pivot.device)",
    "gradients": "gradients, in float32, of what is trained",
    "optimizer": "the optimizer's moments (optimizer: adamw_8bit or paged_adamw_8bit)",
    "activations": "hidden states of the batch (tokens_per_micro_batch, llm.gradient_checkpointing)",
    "temporaries": "logits, temporary tensors, and files while they are read (tokens_per_micro_batch)",
    "kv_cache": "keys and values of the answers (evaluate.tokens_per_batch, evaluate.max_new_tokens) or of "
    "translations (evaluate.pivot.beam_size)",
    "overhead": "what the allocator keeps beyond the tensors, and what GPUs took beyond earlier plans",
}
BAR_WIDTH, LEAST_BAR = 64, 12
BESIDE_BAR = 24  # the phase before a bar, and its peak behind it
LEGEND_ENTRIES = 6


def print_plan(plan: Plan, missing: Sequence[LiliftError] = ()) -> None:
    """Print bars, a table of MiB by category and phase, changes, and what else the recipe needs; name what is missing."""
    from lilift.memory.planned_card import GIB, MIB

    shown = [name for name in CATEGORIES if any(phase.parts.get(name, 0) >= MIB / 2 for phase in plan.phases)]
    out = console()
    widest = max(LEAST_BAR, min(BAR_WIDTH, out.width - BESIDE_BAR))
    out.print(f"{plan.recipe.name} on {plan.card.name}: predicted memory of each phase, GiB")
    width = widest / max(plan.card.total_bytes, plan.peak_bytes)
    for phase in plan.phases:
        out.print(_bar(plan, phase, shown, width))
    entries = LEGEND_ENTRIES if widest == BAR_WIDTH else LEGEND_ENTRIES // 2
    for first in range(0, len(shown), entries):
        out.print(_legend(plan, shown[first : first + entries]))
    rows = [
        (
            category_title(name, on_cpu=plan.card.kind == "cpu"),
            *(f"{phase.parts.get(name, 0) / MIB:,.0f}" if name in phase.parts else "–" for phase in plan.phases),
        )
        for name in shown
    ]
    rows.append(("predicted peak", *(f"{phase.peak_bytes / MIB:,.0f}" for phase in plan.phases)))
    rows.append(("rows × tokens", *(f"{phase.rows} × {phase.row_tokens}" if phase.rows else "–" for phase in plan.phases)))
    rows.append(("micro-batches a step", *(str(phase.accumulation or "–") for phase in plan.phases)))
    columns = ("MiB", *(phase.phase for phase in plan.phases))
    print_table(None, columns, rows, right=range(1, len(columns)))
    if plan.margin >= 0:
        print(f"free at the peak: {plan.margin:.0%} of {plan.card.total_bytes / GIB:.1f} GiB")
    else:
        print(f"the peak is {-plan.margin:.0%} above the {plan.card.total_bytes / GIB:.1f} GiB of {plan.card.name}")
    for change in plan.changes:
        if change.setting in ("llm.dtype", "encoder.dtype"):
            print(f"changed for this card: {change.setting} {change.before} → {change.after} ({change.cost})")
            continue
        saved = f"{change.saved_bytes / GIB:.1f} GiB less"
        print(f"changed to make it fit: {change.setting} {change.before} → {change.after} ({saved}; {change.cost})")
    if plan.emulates_bfloat16:
        print("this card only emulates bfloat16, many times slower; set llm.dtype=float16 encoder.dtype=float32")
    if plan.unconfirmed:
        print(unconfirmed_line(plan.unconfirmed))
    _print_footprint(plan)
    from lilift.phases.translator_plan import translator_line

    line = translator_line(plan.recipe, plan.card)
    if line is not None:
        print(line)
    for error in missing:
        print(f"missing: {error}")


def print_explanation(plan: Plan, savings: Sequence[Change]) -> None:
    """Print where the memory of the fullest phase goes, and the changes that would free most of it, with their cost."""
    from lilift.memory.planned_card import GIB
    from lilift.phases.rehearsals import fullest_phase

    phase = fullest_phase(plan)
    batch = f", with {phase.rows} rows of {phase.row_tokens} tokens at once" if phase.rows else ""
    print(f"\nThe fullest phase is {phase.phase}: {phase.peak_bytes / GIB:.2f} GiB{batch}.")
    largest = sorted(phase.parts.items(), key=lambda part: -part[1])[:EXPLAINED_PARTS]
    for name, size in largest:
        what = PROCESS_ON_CPU if name == "context" and plan.card.kind == "cpu" else EXPLAINED[name]
        print(f"  {size / GIB:6.2f} GiB  {size / phase.peak_bytes:4.0%}  {what}")
    print("These settings would free most of it:" if savings else "No setting would free any of it.")
    for change in savings:
        setting = f"{change.setting}={change.after}"
        print(f"  {change.saved_bytes / GIB:6.2f} GiB  {setting} (now {change.before}): {change.cost}")


def unconfirmed_line(phases: Sequence[str]) -> str:
    """The line about the share that a plan adds until the GPU of this machine has finished these phases."""
    from lilift.memory.calibration import UNCONFIRMED

    share = f"{UNCONFIRMED - 1:.0%}"
    return f"the plan adds {share} ({', '.join(phases)}) until a run on your GPU measures it; the first GPU took {share} more"


def print_instant_plan(plan: InstantPlan) -> None:
    """Print one line for each phase: its peak and its parts in MiB."""
    from lilift.memory.planned_card import MIB

    rows = [
        (
            phase.phase,
            f"{phase.peak_bytes / MIB:,.0f}",
            ", ".join(
                f"{category_title(name, on_cpu=plan.card.kind == 'cpu')} {size / MIB:,.0f}"
                for name, size in phase.parts.items()
                if size >= MIB / 2
            ),
        )
        for phase in plan.phases
    ]
    total = f"{plan.card.total_bytes / MIB:,.0f}"
    title = f"{plan.recipe} on {plan.card.name}: predicted memory in MiB (fitted); the card has {total}"
    print_table(title, ("", "peak", "parts"), rows, right=(1,), prose=(2,))
    unconfirmed = [phase.phase for phase in plan.phases if not phase.confirmed]
    if unconfirmed:
        print(unconfirmed_line(unconfirmed))


def _print_footprint(plan: Plan) -> None:
    from lilift.memory.planned_card import GIB

    footprint = plan.footprint
    trained = ", ".join(f"{stage} {count:,}" for stage, count in plan.trained.items())
    print(f"trained parameters: {trained}")
    print(
        f"download {footprint.download_bytes / GIB:.1f} GiB, disk {footprint.disk_bytes / GIB:.1f} GiB, "
        f"host memory {footprint.host_bytes / GIB:.1f} GiB"
    )
    if footprint.expert_bytes:
        print(
            f"4 bits do not reach the experts of this LLM: {footprint.expert_bytes / GIB:.1f} GiB, "
            f"{footprint.expert_share:.0%} of its weights, stay in {plan.recipe.llm.dtype}"
        )
    if footprint.hours is not None:
        print(f"training takes about {_duration(footprint.hours)}: {footprint.time_basis}")


def _duration(hours: float) -> str:
    """An estimated time, no more precise than the estimate."""
    if hours < 1.75:
        minutes = max(round(hours * 60, -1), 5 if hours * 60 >= 2.5 else 1)
        return f"{minutes:.0f} minutes" if minutes > 1 else "a minute"
    return f"{hours:.0f} hours"


def _bar(plan: Plan, phase: PhasePlan, shown: list[str], width: float) -> Text:
    from rich.text import Text

    from lilift.memory.planned_card import GIB

    bar = Text(f"{phase.phase:<9} ")
    filled = 0
    total = 0
    for name in shown:
        total += phase.parts.get(name, 0)
        cells = round(total * width) - filled
        filled += cells
        bar.append(_cells(name, cells), style=CATEGORY_COLOURS[name])
    limit = max(round(plan.limit_bytes * width), filled)
    bar.append("·" * (limit - filled), style="dim")
    where = " (host)" if phase not in plan.on_card else ""
    return bar.append(f"▏ {phase.peak_bytes / GIB:.1f}{where}")


def _legend(plan: Plan, shown: list[str]) -> Text:
    from rich.text import Text

    legend = Text(" " * 10)
    for name in shown:
        legend.append(_cells(name, 1), style=CATEGORY_COLOURS[name]).append(
            f" {category_title(name, on_cpu=plan.card.kind == 'cpu')}  "
        )
    return legend


def _cells(name: str, count: int) -> str:
    return ("█" if is_terminal(sys.stdout) else CATEGORY_LETTERS[name]) * max(0, count)
