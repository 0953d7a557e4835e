"""Write docs/gpu.md from the results of `make gpu`: tables, and plots as SVG files beside it.

python -m benchmarks gpu_report benchmarks/results/<gpu>-<date>.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.shared.measuring import markdown
from benchmarks.shared.result_files import goal_met
from benchmarks.shared.svg import bars

DOCS = Path(__file__).parents[1] / "docs"
LILIFT = "lilift"
MEMORY_COLUMNS = ("planned_tensors_mib", "allocated_mib", "planned_mib", "reserved_mib", "tokens_per_second")


def render(paths: Sequence[Path], docs: Path = DOCS) -> Path:
    """Write ``gpu.md`` and its plots into `docs` for these result files; return the page."""
    parts = [
        "# Measured on GPUs",
        "Made by `benchmarks/gpu_report.py` from the result files named below, which `make gpu` writes. Times are medians of\n"
        "CUDA events with the L2 cache overwritten before each call, forward and gradient together, head frozen, bf16; peak\n"
        "memory is beyond arguments and gradient; the error is the gradient's relative L2 against float64.",
    ]
    for path in paths:
        parts += _section(path, json.loads(path.read_text(encoding="utf-8")), docs)
    docs.mkdir(parents=True, exist_ok=True)
    page = docs / "gpu.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


def _section(path: Path, found: dict[str, Any], docs: Path) -> list[str]:
    """The section of one run of `make gpu`; an interrupted run has a part of it."""
    environment = found["environment"]
    measured = {name: part for name, part in found.items() if isinstance(part, dict) and "goals" in part}
    versions = dict(environment["packages"])
    for part in measured.values():
        versions |= part.get("peers", {})
    listed = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    absent = {name: reason for part in measured.values() for name, reason in part.get("skipped", {}).items()}
    parts = [
        f"## {environment['gpu'] or 'CPU (a rehearsal: these figures say nothing)'}, {found['date']}",
        f"`{path.name}`; Python {environment['python']}, {listed}.",
        *([f"Build: {found['build']}."] if "build" in found else []),
        _tests(found["tests"]),
        *(f"`{name}` was not measured: {part['reason']}." for name, part in found.items() if "reason" in part),
        "### Goals",
        _goals(measured),
        "Ratios are those of the shape where lilift does worst. Peers that were not here: "
        + ("; ".join(f"{name} ({reason})" for name, reason in absent.items()) or "none")
        + f". Shapes that there was no time for: {sum(len(part.get('left_out', [])) for part in measured.values())}.",
    ]
    for name, part in found.items():
        parts += DETAILS[name](part, path.stem, docs) if name in DETAILS and "reason" not in part else []
    return parts


def _loss(part: dict[str, Any], stem: str, docs: Path) -> list[str]:
    shapes, parts = part["shapes"], []
    for shape in _shown(shapes):
        parts += [f"### Loss, {_title(shape)}", _figures(shape["figures"]), *_plots(stem, shape, docs)]
    if shapes:
        parts += ["### Loss, every shape: ms, and how many times slower the others are", _ratios(shapes)]
    return parts


def _projection(part: dict[str, Any], _stem: str, _docs: Path) -> list[str]:
    parts = []
    for shape in part["shapes"]:
        title = f"{shape['rows']} x {shape['states']} states, {shape['width']} -> {shape['hidden']} -> {shape['out']}"
        parts += [f"### Projection, {title}, {shape['valid']:.0%} valid", _figures(shape["figures"])]
    return parts


def _memory(part: dict[str, Any], _stem: str, _docs: Path) -> list[str]:
    rows: list[dict[str, object]] = []
    for recipe, phases in part["recipes"].items():
        for phase in ("align", "transfer", "evaluate", "plain"):
            if phase in phases:
                rows.append({"recipe": recipe, "phase": phase} | {name: phases[phase].get(name, "") for name in MEMORY_COLUMNS})
    return ["### Memory, random weights, MiB; `plain`: transformers, peft and bitsandbytes", markdown(rows)] if rows else []


def _loss_design(part: dict[str, Any], _stem: str, _docs: Path) -> list[str]:
    parts = [f"### Loss, a trial of its design\n\n{part['what']}."]
    for shape in part["shapes"]:
        floor = shape["two products, ms"]
        rows = [{**cut, "beside the two products": f"{cut['ms'] / floor:.2f}"} for cut in shape["cuts"]]
        parts += [f"{_title(shape)}: the two products take {floor:.2f} ms.", markdown(rows)]
    return parts


def _eight_layers(part: dict[str, Any], _stem: str, _docs: Path) -> list[str]:
    return [f"### Memory, planned and measured\n\n{part['what']}.", markdown(part["phases"])]


def _profile(part: dict[str, Any], _stem: str, _docs: Path) -> list[str]:
    shares = [{"kind of work": kind, "% of device time": share} for kind, share in part["share of device time, %"].items()]
    return [f"### Where a step goes\n\n{part['what']}: {part['tokens_per_second']:,.0f} tokens/s.", markdown(shares)]


# Tables and plots of each part of `make gpu`, beside its goals.
DETAILS: dict[str, Callable[[dict[str, Any], str, Path], list[str]]] = {
    "linear_cross_entropy": _loss,
    "alignment_projection": _projection,
    "card_memory": _memory,
    "loss_design": _loss_design,
    "run_of_8_layers": _eight_layers,
    "profile_of_stage_1": _profile,
}


def _tests(tests: dict[str, Any]) -> str:
    if not tests:
        return "Tests marked `gpu`: not run."
    text = f"Tests marked `gpu`: {tests.get('passed', 0)} passed, {len(tests.get('failed', []))} failed"
    text += f", {len(tests.get('skipped', {}))} skipped" if tests.get("skipped") else ""
    text += f" (exit code {tests['exit_code']})" if tests["exit_code"] else ""
    named = "".join(f"\n- failed: `{name}`" for name in tests.get("failed", []))
    return text + "." + named


def _goals(measured: dict[str, dict[str, Any]]) -> str:
    words = {True: "met", False: "**not met**", None: "not measured"}
    rows: list[dict[str, object]] = []
    for part, found in measured.items():
        summary = found["summary"]
        for name, (kind, limit) in found["goals"].items():
            value = f"{summary[name]:.3g}" if name in summary else ""
            met = words[goal_met(summary, name, kind, limit)]
            rows.append({"": part, "goal": name, "wanted": f"{kind} {limit:.3g}", "found": value, " ": met})
    return markdown(rows) or "Nothing was measured."


def _shown(shapes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each vocabulary the widest shape with a quarter valid, which is measured first; the long table has the others."""
    chosen: dict[int, dict[str, Any]] = {}
    for shape in shapes:
        known = chosen.get(shape["vocabulary"])
        if shape["valid"] == 0.25 and (known is None or (shape["rows"] == known["rows"] and shape["width"] > known["width"])):
            chosen[shape["vocabulary"]] = shape
    return list(chosen.values())


def _title(shape: dict[str, Any]) -> str:
    return f"N={shape['rows']}, V={shape['vocabulary']}, D={shape['width']}, {shape['valid']:.0%} valid"


def _figures(figures: dict[str, Any]) -> str:
    rows: list[dict[str, object]] = []
    for name, figure in figures.items():
        if isinstance(figure, str):
            rows.append({"": name, "ms": f"failed: {figure}"})
            continue
        error = "" if name.startswith("two products") else f"{figure['error']:.1e}"
        peak = f"{figure['peak_mebibytes']:.1f}"
        rows.append({"": name, "ms": f"{figure['milliseconds']:.3f}", "peak MiB": peak, "error": error})
    return markdown([dict.fromkeys(("", "ms", "peak MiB", "error"), "") | row for row in rows])


def _ratios(shapes: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for shape in shapes for name in shape["figures"] if name != LILIFT))
    rows: list[dict[str, object]] = []
    for shape in shapes:
        mine = shape["figures"][LILIFT]
        row: dict[str, object] = {
            "N, V, D, valid": f"{shape['rows']}, {shape['vocabulary']}, {shape['width']}, {shape['valid']:.0%}"
        }
        row[LILIFT] = "failed" if isinstance(mine, str) else f"{mine['milliseconds']:.2f} ms"
        for name in names:
            theirs = shape["figures"].get(name)
            known = isinstance(theirs, dict) and isinstance(mine, dict)
            row[name] = f"{theirs['milliseconds'] / mine['milliseconds']:.2f}" if known else "-"
        rows.append(row)
    return markdown(rows)


def _plots(stem: str, shape: dict[str, Any], docs: Path) -> list[str]:
    figures = {name: figure for name, figure in shape["figures"].items() if isinstance(figure, dict)}
    lines = []
    for field, unit, logarithmic in (("milliseconds", "ms", False), ("peak_mebibytes", "MiB beyond the gradient", True)):
        values = {name: figure[field] for name, figure in figures.items()}
        picture = docs / "gpu" / f"{stem}-v{shape['vocabulary']}-{field.split('_')[0]}.svg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(bars(f"{_title(shape)}: {unit}", values, accent=LILIFT, logarithmic=logarithmic), encoding="utf-8")
        lines.append(f"![{unit} by competitor](gpu/{picture.name})")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Write tables and plots of the results of `make gpu`.")
    parser.add_argument("results", type=Path, nargs="+", help="benchmarks/results/<gpu>-<date>.json")
    parser.add_argument("--docs", type=Path, default=DOCS)
    arguments = parser.parse_args()
    print(render(arguments.results, arguments.docs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
