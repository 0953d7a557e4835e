"""Writes `report.html` from the files of a run folder: one self-contained page about the run.

The page says which files are missing, so lilift can write it after any phase, of a finished run or a broken one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lilift.evaluate.scores.paired_comparison import p_value
from lilift.memory.phase_plan import CATEGORY_COLOURS, category_title
from lilift.phases.report.adaptation_section import adaptation_section
from lilift.phases.report.charts import LineChart, Series, line_chart
from lilift.phases.report.data_section import data_section
from lilift.phases.report.export_section import export_section
from lilift.phases.report.report_files import RunFiles
from lilift.phases.report.results_section import benchmark_sections
from lilift.phases.report.watch_section import watch_section
from lilift.recipe.durations import duration_text
from lilift.recipe.errors import RunFolderError
from lilift.recipe.storage import write_text

REPORT = "report.html"
_TEMPLATE = "report.html.j2"
_PHASES = ("data", "adapt", "align", "transfer", "control", "evaluate", "export")
_PHASE_TITLES = {
    "data": "data",
    "adapt": "adaptation of the encoder",
    "align": "stage 1, align",
    "transfer": "stage 2, transfer",
    "control": "stage 2 without stage 1",
    "evaluate": "evaluate",
    "export": "export",
}


@dataclass(frozen=True)
class PhaseState:
    """One phase and its state: done, unfinished, not started, or not in the recipe."""

    title: str
    state: str


@dataclass(frozen=True)
class MemoryRow:
    """Predicted and measured peak of one phase in MiB, and its duration in seconds; None where lilift does not know it."""

    title: str
    predicted: float | None
    measured: float | None
    seconds: float | None

    @property
    def difference(self) -> float | None:
        """Measured peak minus predicted peak, as a share of the predicted one."""
        if not self.predicted or self.measured is None:
            return None
        return self.measured / self.predicted - 1


@dataclass(frozen=True)
class MemoryBar:
    """A phase's predicted memory as a stacked bar.

    Attributes:
        title: the phase.
        parts: category, colour and width in percent of the card.
        peak_mib: the sum of all parts, in MiB.
    """

    title: str
    parts: tuple[tuple[str, str, float], ...]
    peak_mib: float


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder.

    Args:
        run: the run folder.

    Returns:
        The report's path.

    Raises:
        RunFolderError: there is no such folder.
        StorageError: the report cannot be written.
    """
    if not run.is_dir():
        raise RunFolderError(
            "this run folder does not exist", where=run, remedy="give the folder of a run, such as runs/tiny-cpu"
        )
    write_text(run / REPORT, report_page(run))
    return run / REPORT


def report_page(run: Path) -> str:
    """The report of what a run folder holds now, as HTML. Damaged and missing files are notes in it."""
    return render(_TEMPLATE, _contents(run))


def render(template: str, contents: Mapping[str, Any]) -> str:
    """A page from one of this folder's templates."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number, "duration": duration, "p_value": p_value}
    return environment.get_template(template).render(contents)


def percent(share: float | None) -> str:
    """A share in whole percent; with one decimal if it would round to 0 or 100."""
    if share is None:
        return "–"
    rounded = round(100 * share)
    exact = rounded not in (0, 100) or math.isclose(100 * share, rounded, abs_tol=1e-9)
    return f"{rounded}%" if exact else f"{100 * share:.1f}%"


def number(value: object) -> str:
    """A number with thousand separators; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.3g}"


def duration(seconds: float | None) -> str:
    """Seconds as a text such as ``5 min 07 s``."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 10 else duration_text(seconds)


def _loss(value: float) -> str:
    return f"{value:.3g}"


def _rate(value: float) -> str:
    """A learning rate without superfluous zeros: 3e-3."""
    digits, _, power = f"{value:.1e}".partition("e")
    return "0" if value == 0 else f"{digits.removesuffix('.0')}e{int(power)}"


_CURVES: tuple[tuple[str, str, str, Callable[[float], str], Callable[[Sequence[float]], str]], ...] = (
    ("loss", "loss", "nats per token", _loss, lambda values: f"{_loss(values[-1])} at the end"),
    ("learning_rate", "learning rate", "", _rate, lambda values: f"at most {_rate(max(values))}"),
    (
        "tokens_per_second",
        "speed",
        "tokens per second",
        number,
        lambda values: f"{number(sum(values) / len(values))} on average",
    ),
)


def _contents(run: Path) -> dict[str, Any]:
    """Everything that the template shows."""
    files = RunFiles(run)
    recipe = files.recipe()
    measured = files.mapping("measured.json")
    plan = files.mapping("plan.json")
    scores = files.scores()
    states = [_state(run, phase, recipe) for phase in _PHASES]
    return {
        "name": recipe.get("name", run.name),
        "description": recipe.get("description", ""),
        "states": states,
        "finished": all(state.state in ("done", "not in the recipe") for state in states),
        "facts": _facts(recipe, files.mapping("environment.json"), measured),
        "benchmarks": benchmark_sections(scores, files.responses, files.profiles()),
        "alignments": files.alignment_qualities(),
        "curves": _curves(files),
        "adaptation": adaptation_section(files),
        "watch": watch_section(files, recipe, _PHASE_TITLES),
        "memory": _memory(plan, measured),
        "plan": plan,
        "memory_bars": _memory_bars(plan),
        "category_colours": {_category(name, plan): colour for name, colour in CATEGORY_COLOURS.items()},
        "data": data_section(files, {stage: _PHASE_TITLES[stage] for stage in ("align", "transfer", "control")}),
        "export": export_section(files),
        "uses_world": "world" in str(recipe.get("data", "")),
        "recipe_text": files.text("recipe.yaml"),
        "notes": files.notes,
    }


def _state(run: Path, phase: str, recipe: Mapping[str, Any]) -> PhaseState:
    wanted = {
        "adapt": recipe.get("encoder", {}).get("adapt"),
        "align": not recipe.get("align", {}).get("skip"),
        "transfer": not recipe.get("transfer", {}).get("skip"),
        "control": recipe.get("transfer", {}).get("control"),
        "evaluate": recipe.get("evaluate", {}).get("benchmarks"),
        "export": recipe.get("export", {}).get("formats"),
    }.get(phase, True)
    if (run / phase / "done.json").exists():
        state = "done"
    elif (run / phase).exists():
        state = "unfinished"
    else:
        state = "not started" if wanted else "not in the recipe"
    return PhaseState(_PHASE_TITLES[phase], state)


def _facts(
    recipe: Mapping[str, Any], environment: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Models, machine, versions and duration of the run, as name and value."""
    seconds = [float(figures["seconds"]) for figures in measured.values() if "seconds" in figures]
    alignment = recipe.get("alignment", {})
    machine = [
        environment.get("gpu") or ("no GPU" if environment else None),
        f"{environment['cores']} cores" if environment.get("cores") else None,
        f"{number(environment['memory_gib'])} GiB memory" if environment.get("memory_gib") else None,
        environment.get("platform"),
    ]
    packages = environment.get("packages", {})
    versions = {"lilift": environment.get("lilift"), "Python": environment.get("python"), **packages}
    found = [
        ("Languages", ", ".join(recipe.get("languages", ()))),
        ("LLM", _model(recipe.get("llm", {}))),
        ("Encoder", str(recipe.get("encoder", {}).get("model", ""))),
        ("Alignment", ", ".join(str(alignment[key]) for key in ("kind", "layout") if key in alignment)),
        ("Seed", str(recipe.get("seed", ""))),
        ("Duration", duration(sum(seconds)) if seconds else ""),
        ("Machine", ", ".join(str(part) for part in machine if part)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
    ]
    return [(name, value) for name, value in found if value]


def _model(llm: Mapping[str, Any]) -> str:
    kept = llm.get("quantization")
    return f"{llm.get('model', '')}" + (f", {kept}" if kept and kept != "none" else "")


def _curves(files: RunFiles) -> list[LineChart]:
    """Loss, learning rate and speed of adaptation and stages; the control in the chart of stage 2, which it repeats."""
    metrics = {stage: files.lines(f"{stage}/metrics.jsonl") for stage in ("adapt", "align", "transfer", "control")}
    stages = [
        ("Adaptation of the encoder", [("encoder", "c", "adapt")]),
        ("Stage 1, align", [("both stages", "c", "align")]),
        ("Stage 2, transfer", [("both stages", "c", "transfer"), ("without stage 1", "b", "control")]),
    ]
    charts = []
    for field, title, unit, show, remark in _CURVES:
        for stage, members in stages:
            series = [Series(name, style, _points(metrics[source], field)) for name, style, source in members]
            chart = line_chart(f"{stage}: {title}", unit, series, show=show, remark=remark, may_log=field == "loss")
            charts += [chart] if chart else []
    return charts


def _points(lines: Sequence[Mapping[str, Any]], field: str) -> list[tuple[float, float]]:
    return [
        (float(line["step"]), float(line[field]))
        for line in lines
        if isinstance(line.get(field), (int, float)) and "step" in line
    ]


def _memory(plan: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]]) -> list[MemoryRow]:
    planned = {phase: figures.get("peak_mib") for phase, figures in plan.get("phases", {}).items()}
    return [
        MemoryRow(
            _PHASE_TITLES[phase],
            measured.get(phase, {}).get("predicted_mib", planned.get(phase)),
            measured.get(phase, {}).get("peak_mib"),
            measured.get(phase, {}).get("seconds"),
        )
        for phase in _PHASES
        if phase in planned or phase in measured
    ]


def _category(name: str, plan: Mapping[str, Any]) -> str:
    return category_title(name, on_cpu=plan.get("card") == "cpu")


def _memory_bars(plan: Mapping[str, Any]) -> list[MemoryBar]:
    phases: Mapping[str, Any] = plan.get("phases", {})
    # On a host with far more memory than a run needs, the bars are scaled to the highest peak instead.
    peaks = [float(figures.get("peak_mib") or 0) for figures in phases.values()]
    whole = min(float(plan.get("card_mib") or 0), 4 * max(peaks, default=0.0))
    if not whole:
        return []
    return [
        MemoryBar(
            _PHASE_TITLES.get(phase, phase),
            tuple(
                (_category(name, plan), colour, 100 * figures["parts_mib"][name] / whole)
                for name, colour in CATEGORY_COLOURS.items()
                if figures.get("parts_mib", {}).get(name)
            ),
            figures["peak_mib"],
        )
        for phase, figures in phases.items()
    ]
