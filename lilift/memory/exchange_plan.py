"""What several processes change in a memory plan: memory of each card, bytes between the cards, and work of each process."""

from __future__ import annotations

import math
from typing import Any

from lilift.memory.plan import Plan
from lilift.memory.planned_card import GIB, MIB
from lilift.processes.step_exchange import buffer_bytes, exchange_bytes
from lilift.recipe.errors import RecipeError

# Bytes a second between two machines and between two cards, for a feeling of the time; nothing here is measured.
LINKS = {"1 Gbit/s Ethernet": 0.11e9, "PCIe 3.0 x16": 10e9}
_NETWORK = "1 Gbit/s Ethernet"


def exchange_plan(plan: Plan, processes: int) -> dict[str, Any]:
    """The figures of each training stage with `processes` processes, as plain values.

    Raises:
        RecipeError: the number is wrong, or a stage does not fit with the buffer for the sum of gradients.
    """
    if processes < 1:
        raise RecipeError(f"a run needs at least one process, not {processes}", where="--processes")
    stages = {}
    for name, trained in plan.trained.items():
        phase = plan.of(name)
        peak = phase.peak_bytes + (buffer_bytes(trained) if processes > 1 else 0)
        if phase.peak_bytes <= plan.limit_bytes < peak and plan.card.kind != "cpu":
            raise RecipeError(
                f"phase {name!r} fits {plan.card.name} with one process, but not with the "
                f"{buffer_bytes(trained) / MIB:.0f} MiB in which several processes sum their gradients",
                where=plan.recipe.name,
                remedy=f"lower {name}.tokens_per_micro_batch",
            )
        sent = exchange_bytes(trained, processes)
        stages[name] = {
            "peak_mib": round(peak / MIB, 1),
            "sent_mib_a_step": round(sent / MIB, 2),
            "seconds_a_step": {link: round(sent / speed, 4) for link, speed in LINKS.items()},
            "micro_batches_a_step": phase.accumulation,
            "micro_batches_of_a_process": math.ceil(phase.accumulation / processes),
        }
    return {"count": processes, "stages": stages}


def exchange_lines(plan: Plan, processes: int) -> list[str]:
    """The same for the user; nothing for one process."""
    figures = exchange_plan(plan, processes)
    if processes == 1:
        return []
    lines = []
    if plan.card.kind == "cpu":
        together = processes * max(stage["peak_mib"] for stage in figures["stages"].values()) / 1024
        lines.append(f"with {processes} processes: together they need {together:.1f} GiB of memory while they train")
        if together * GIB > plan.limit_bytes:
            lines.append(f"  that is more than the {plan.limit_bytes / GIB:.1f} GiB of this machine; use fewer processes")
    else:
        lines.append(
            f"with {processes} processes: each needs a card of its own that holds the whole recipe, because lilift does not "
            "split a model over cards; NCCL's own buffers come on top, and are not measured"
        )
    on_cpu = plan.card.kind == "cpu"
    for name, stage in figures["stages"].items():
        total, own = stage["micro_batches_a_step"], stage["micro_batches_of_a_process"]
        splits = processes > total
        times = ", ".join(
            f"{seconds:.3g} s over {link}"
            for link, seconds in stage["seconds_a_step"].items()
            if link == _NETWORK or not on_cpu
        )
        share = f"about 1/{processes} of the rows" if splits else f"about {own} of {total} micro-batches"
        sent = f"and sends {stage['sent_mib_a_step']:,.1f} MiB"
        lines.append(
            f"  {name}: peak {stage['peak_mib']:,.0f} MiB each; a process computes {share} of a step, {sent} ({times})"
        )
        if splits:
            only = "one micro-batch, so lilift splits it" if total == 1 else f"{total} micro-batches, so lilift splits them"
            busy = "each core" if on_cpu else "a card"
            lines.append(
                f"  {name}: a step has only {only}, and {busy} is less busy; set {name}.tokens_per_step higher to gain more"
            )
    hours = plan.footprint.hours
    less = "" if hours is None or hours < 2 * processes else f" (training: about {hours / processes:.0f} of {hours:.0f} hours)"
    lines.append(
        f"  training and evaluation take at best 1/{processes} of the time{less}; the first process alone does the rest"
    )
    return lines
