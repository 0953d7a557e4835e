"""Compile every launch of the Triton kernels, without a GPU, and report its registers, stack and shared memory on each card.

python -m benchmarks kernel_resources --check      # about ten minutes of processor time
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import triton

from benchmarks.shared.measuring import markdown
from benchmarks.shared.result_files import keep
from lilift_kernels.compilation import SHARED_MEMORY, Launch, Resources, compile_launch, faults, launches
from lilift_kernels.launch_configurations import ROWS, LossCall, every

TABLE = Path(__file__).parents[2] / "docs" / "kernel_resources.md"
USUAL = (LossCall(), LossCall(training=False))
Found = dict[Launch, dict[int, Resources]]  # by card


def compiled(calls: Iterable[LossCall], capabilities: list[int], processes: int) -> Found:
    """The launches of the calls, each compiled once for each card."""
    distinct = dict.fromkeys(launch for call in calls for launch in launches(call))
    work = list(itertools.product(distinct, capabilities))
    found: Found = {}
    started = time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        made = pool.map(compile_launch, *zip(*work, strict=True), chunksize=8)
        for number, ((launch, capability), resources) in enumerate(zip(work, made, strict=True), 1):
            found.setdefault(launch, {})[capability] = resources
            if number % 100 == 0:
                print(f"{number} of {len(work)} compiled in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return found


def usual(found: Found, capabilities: list[int]) -> str:
    """Each launch of the usual calls, with its resources on each card."""
    rows: dict[tuple[str, ...], dict[str, object]] = {}
    for call, capability in itertools.product(USUAL, capabilities):
        for launch in launches(call):
            key = launch.kernel, launch.columns, ", ".join(launch.switches)
            row = rows.setdefault(key, {"kernel": f"`{launch.kernel}`", "columns": key[1], "with": key[2]})
            if capability in found.get(launch, {}):
                row[f"sm_{capability}"] = _cell([found[launch][capability]])
    return markdown(_filled(rows.values(), capabilities))


def all_launches(found: Found, capabilities: list[int]) -> str:
    """The least and the most over all launches of one kernel, element type and number of columns."""
    groups: dict[tuple[str, str, int], dict[int, list[Resources]]] = {}
    for launch, by_card in found.items():
        group = groups.setdefault((launch.kernel, launch.element, launch.columns), {})
        for capability, resources in by_card.items():
            group.setdefault(capability, []).append(resources)
    rows = []
    for (kernel, element, columns), group in sorted(groups.items()):
        row: dict[str, object] = {
            "kernel": f"`{kernel}`",
            "type": element,
            "columns": columns,
            "launches": max(map(len, group.values())),
        }
        row |= {f"sm_{capability}": _cell(items) for capability, items in group.items()}
        rows.append(row)
    return markdown(_filled(rows, capabilities))


def _cell(items: list[Resources]) -> str:
    """Registers and KiB of shared memory, least to most."""
    registers, shared = [item.registers for item in items], [item.shared / 1024 for item in items]
    return f"{_range(registers, 'd')} / {_range(shared, '.0f')}"


def _range(values: list[Any], form: str) -> str:
    least, most = format(min(values), form), format(max(values), form)
    return least if least == most else f"{least}–{most}"


def _filled(rows: Iterable[dict[str, object]], capabilities: list[int]) -> list[dict[str, object]]:
    return [
        {**row, **{name: row.get(name, "") for name in (f"sm_{capability}" for capability in capabilities)}} for row in rows
    ]


def page(found: Found, capabilities: list[int]) -> str:
    limits = ", ".join(f"{SHARED_MEMORY[capability] // 1024} on sm_{capability}" for capability in capabilities)
    count = sum(map(len, found.values()))
    faulty = sum(bool(faults(launch, item, card)) for launch, cards in found.items() for card, item in cards.items())
    verdict = (
        f"{faulty} of them are at fault: they spill or do not fit."
        if faulty
        else f"No launch spills registers. All stay within the card's shared memory ({limits}; KiB)."
    )
    return f"""# What the Triton kernels take

`python -m benchmarks kernel_resources` compiles, without a GPU, every launch that the options of the loss and its cut lead to
(`launch_configurations.py`). With triton {triton.__version__} these are {count} launches for {len(capabilities)} cards.
{verdict}
`make test` compiles a sample anew, in which every two choices (card, type, size, option) occur together, and compares it
with `benchmarks/results/kernel_resources.json`.

Each cell holds the registers of a thread / the KiB of shared memory of a block of threads. "Columns" are those that one program
holds in its registers. The column "with" says what a launch does: `stores` computes the gradient, `cap` applies a softcap,
`smooths` applies label smoothing, `odd columns` is the last, narrower slice of a vocabulary that 16 does not divide.

## The usual case: bf16, a head of 128,256 x 4,096, {ROWS:,} rows, with and without a gradient

{usual(found, capabilities)}

## All launches

Each cell holds the least and the most over all launches of a kernel with so many columns: with and without bias, softcap,
smoothing and gradient, for sizes that are powers of two and for others.

{all_launches(found, capabilities)}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Report the registers and memory that each launch of a kernel takes.")
    parser.add_argument("--capabilities", type=int, nargs="+", default=sorted(SHARED_MEMORY), choices=sorted(SHARED_MEMORY))
    parser.add_argument("--usual", action="store_true", help="compile the usual calls alone; needs --output")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, help="write the JSON here, and leave the page in docs as it is")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a kernel spills or does not fit")
    arguments = parser.parse_args()
    if arguments.output is None and (arguments.usual or len(arguments.capabilities) < len(SHARED_MEMORY)):
        parser.error("--usual and --capabilities compile only a part of the launches; add --output FILE")
    calls = USUAL if arguments.usual else every()
    found = compiled(calls, arguments.capabilities, arguments.processes)
    kernels = {str(launch): {str(card): item.line() for card, item in cards.items()} for launch, cards in found.items()}
    order = "registers, bytes of stack, bytes of shared memory"
    keep("kernel_resources", {"triton": triton.__version__, "order": order, "kernels": kernels}, arguments.output)
    text = page(found, arguments.capabilities)
    print(text)
    if arguments.output is None:
        TABLE.write_text(text, encoding="utf-8")
    wrong = [fault for launch, cards in found.items() for card, item in cards.items() for fault in faults(launch, item, card)]
    for fault in wrong:
        print(f"NOT MET  {fault}")
    return 1 if wrong and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
