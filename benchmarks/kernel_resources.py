"""What every Triton kernel takes on every card: registers, spills, shared memory. Compiles for the cards, needs none of them.

python benchmarks/kernel_resources.py --check
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import triton
from results import keep

from lilift_kernels.compilation import SHARED_MEMORY, Resources, loss_resources, projection_resources

TABLE = Path(__file__).parents[1] / "docs" / "kernel_resources.md"
# Element type and rows: many rows take the large blocks, few the small ones.
CONFIGURATIONS = (("bf16", 4096), ("fp16", 4096), ("fp32", 4096), ("bf16", 100))


def measured(element: str, rows: int, capabilities: list[int]) -> list[Resources]:
    return [
        resources
        for capability in capabilities
        for compute in (loss_resources, projection_resources)
        for resources in compute(capability, element=element, rows=rows)
    ]


def table(element: str, rows: int, found: list[Resources]) -> str:
    """One Markdown table."""
    lines = [
        f"## {element}, {rows} rows",
        "",
        "| kernel | card | registers | spills | shared memory, KiB | of | async copies | matrix instructions |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for item in found:
        limit = SHARED_MEMORY[item.capability] / 1024
        lines.append(
            f"| `{item.kernel}` | sm_{item.capability} | {item.registers} | {item.spills} | {item.shared / 1024:.1f} "
            f"| {limit:.0f} | {item.copies} | {item.products} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="What every Triton kernel takes on every card.")
    parser.add_argument("--capabilities", type=int, nargs="+", default=sorted(SHARED_MEMORY), choices=sorted(SHARED_MEMORY))
    parser.add_argument("--output", type=Path, help="where the JSON goes; the table in docs is then left alone")
    parser.add_argument("--check", action="store_true", help="exit 1 where a kernel spills or does not fit")
    arguments = parser.parse_args()
    found = {
        configuration: measured(*configuration, arguments.capabilities)
        for configuration in (CONFIGURATIONS if arguments.output is None else CONFIGURATIONS[:1])
    }
    tables = [
        {"element": element, "rows": rows, "kernels": [asdict(item) for item in items]}
        for (element, rows), items in found.items()
    ]
    keep("kernel_resources", {"triton": triton.__version__, "tables": tables}, arguments.output)
    text = "\n\n".join(table(*configuration, items) for configuration, items in found.items())
    print(text)
    if arguments.output is None:
        TABLE.write_text(
            "# What the Triton kernels take\n\n"
            f"Compiled without a GPU, with triton {triton.__version__}, by `benchmarks/kernel_resources.py`, for a head of\n"
            "128,256 x 4,096 and a projection 2,048 -> 4,096 -> 4,096. `tests/kernels/test_triton.py` compiles the first\n"
            f"table anew.\n\n{text}\n",
            encoding="utf-8",
        )
    misfits = [item for items in found.values() for item in items if not item.fits]
    for item in misfits:
        print(f"NOT MET  {item.kernel} on sm_{item.capability} spills or does not fit")
    return 1 if misfits and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
