"""The report: complete for a whole run, honest about what is missing, harmless whatever the run's files hold."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest

from lilift.evaluate.evaluator import evaluate, load_benchmarks
from lilift.model.decoding.likelihood import Likelihood
from lilift.phases.report import write_report
from lilift.phases.report.charts import MOST_POINTS, Series, line_chart, linear_ticks
from lilift.phases.report.evaluation_pages import write_evaluation_page
from lilift.phases.report.page import duration, number, percent
from lilift.phases.report.sample_questions import samples_of
from lilift.recipe.errors import RunFolderError
from lilift.recipe.schema import BenchmarkSettings

LABELS: tuple[Literal["generation", "likelihood"], ...] = ("generation", "likelihood")
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Outline(HTMLParser):
    """Text, tags and attributes of a page; fails on tags that are closed in the wrong order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def report_of(run: Path) -> tuple[str, Outline]:
    page = write_report(run).read_text(encoding="utf-8")
    return page, Outline(page)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_finished_run_is_told_whole(finished: Path) -> None:
    _, outline = report_of(finished)
    words = outline.words()
    scores = json.loads((finished / "evaluate/scores.json").read_text(encoding="utf-8"))
    for system in scores["systems"]:
        world = system["benchmarks"][0]
        assert f"{percent(world['macro'])} {system['title']}" in words
        for language in world["languages"]:
            assert language["name"] in words
            assert f"{percent(language['low'])} to {percent(language['high'])}" in words
    for said in (
        "tiny-cpu", "stand-in:llm, nf4", "torch 2.13.0", "2 cores", "Duration 7 min 18 s", "mean, low tier", "4 languages",
        "Stage 1, align: loss", "without stage 1: 1.2 at the end", "at most 2.9e-3", "tokens per second",
        "stage 1, align 980 934 -5% 4 min 31 s", "5,987 of 6,000", "Left out: no number: 13",
        "Oromo om 410 452 98% the same word: 7", "source text too long: 8, whole sequence too long: 2", "GATITOS",
    ):  # fmt: skip
        assert said in words, said
    assert "not finished" not in words
    assert "No results yet" not in words


def test_the_page_asks_nothing_of_the_network_and_runs_no_script(finished: Path) -> None:
    page, outline = report_of(finished)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(outline.tags)
    assert not [value for _, name, value in outline.attributes if name in ("src", "srcset", "action")]
    assert all(value.startswith("#") for _, name, value in outline.attributes if name == "href")
    assert not re.search(r"https?://|url\(|@import", page)


def test_each_languages_questions_are_a_click_away(finished: Path) -> None:
    """A link to what stands inside a closed `details` opens it, without any script."""
    page, outline = report_of(finished)
    links = [value[1:] for tag, name, value in outline.attributes if (tag, name) == ("a", "href")]
    assert "world-om" in links
    for target in links:
        before = page[: page.index(f'id="{target}"')]
        assert before.count("<details") == before.count("</details") + 1


def test_the_page_is_accessible_in_outline(finished: Path) -> None:
    _, outline = report_of(finished)
    assert outline.tags["h1"] == 1
    assert outline.tags["h2"] >= 5
    assert ("html", "lang", "en") in outline.attributes
    labels = [value for tag, name, value in outline.attributes if name == "aria-label" and tag in ("svg", "div")]
    assert sum(label.startswith("Oromo: before training") for label in labels) == 1
    assert sum("loss: both stages from" in label for label in labels) == 2
    scopes = [value for tag, name, value in outline.attributes if tag == "th" and name == "scope"]
    assert len(scopes) == outline.tags["th"]
    described = [pair for pair in outline.attributes if pair[:2] in (("svg", "aria-hidden"), ("svg", "aria-label"))]
    assert len(described) == outline.tags["svg"]
    hues = re.findall(r"prefers-color-scheme: dark", write_report(finished).read_text(encoding="utf-8"))
    assert len(hues) == 1


def test_writing_twice_gives_the_same_page(finished: Path) -> None:
    assert report_of(finished)[0] == report_of(finished)[0]


def test_what_models_and_files_say_is_escaped(run: Path) -> None:
    path = run / "evaluate/lifted/world/om.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["response"] = "<script>alert(1)</script> & </dd></details>"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8") + "\n# </pre><img src=x>\n", encoding="utf-8")
    page, outline = report_of(run)
    assert "<script" not in page
    assert "img" not in outline.tags
    assert "<script>alert(1)</script> & </dd></details>" in outline.words()


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ("evaluate", "No results yet. The evaluate phase is not started"),
        ("measured.json", "stage 1, align 980 – –"),
        ("plan.json", "stage 1, align 980 934 -5%"),
        ("data", "The data phase has not written a report yet"),
        ("control", "stage 2 without stage 1: not started"),
        ("align", "stage 1, align: not started"),
        ("environment.json", "Seed 0"),
        ("recipe.yaml", "The folder has no recipe"),
        ("export/done.json", "export: unfinished"),
        ("evaluate/control", "without stage 1"),
    ],
)
def test_a_missing_piece_is_said_and_survived(run: Path, absent: str, said: str) -> None:
    path = run / absent
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    _, outline = report_of(run)
    assert said in outline.words()
    if absent in ("evaluate", "control", "align", "export/done.json"):
        assert "This run is not finished" in outline.words()


def test_an_empty_folder_gets_a_report_that_says_so(tmp_path: Path) -> None:
    _, outline = report_of(tmp_path)
    words = outline.words()
    for said in (
        "This run is not finished",
        "No results yet",
        "No stage has trained yet",
        "There is no memory plan and no measurement yet",
    ):
        assert said in words


def test_a_phase_that_the_recipe_leaves_out_is_not_missed(run: Path) -> None:
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("control: true", "control: false"), encoding="utf-8")
    shutil.rmtree(run / "control")
    _, outline = report_of(run)
    assert "This run is not finished" not in outline.words()


@pytest.mark.parametrize(
    "name",
    ["plan.json", "measured.json", "environment.json", "data/report.json", "evaluate/scores.json", "align/metrics.jsonl"],
)
def test_a_damaged_file_is_a_note_and_not_an_error(run: Path, name: str) -> None:
    (run / name).write_text("{ not JSON\n", encoding="utf-8")
    _, outline = report_of(run)
    assert f"lilift cannot show a file of this run: {name} is damaged" in outline.words()


def test_a_metrics_line_cut_short_by_a_crash_is_left_out(run: Path) -> None:
    path = run / "align/metrics.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"step": 1510, "lo', encoding="utf-8")
    _, outline = report_of(run)
    assert "cannot show" not in outline.words()


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="this run folder does not exist"):
        write_report(tmp_path / "absent")


def line(identity: str, *, right: bool) -> dict[str, object]:
    return {"id": identity, "question": f"Q {identity}", "gold": "1", "response": "1", "extracted": "1", "correct": right}


def test_samples_are_half_right_and_half_wrong_in_the_order_of_the_benchmark() -> None:
    lifted = [line(f"p/{n}", right=n % 2 == 0) for n in (10, 9, 3, 2, 1, 0, 5, 4)]
    before = [line(f"p/{n}", right=False) for n in range(11)]
    found = samples_of([("before", before), ("after", lifted)])
    assert [sample.question for sample in found] == ["Q p/0", "Q p/2", "Q p/1", "Q p/3"]
    assert [(reply.title, reply.right) for reply in found[0].replies] == [("before", False), ("after", True)]


def test_samples_of_a_system_that_is_always_right_or_wrong() -> None:
    assert len(samples_of([("after", [line(str(n), right=True) for n in range(9)])])) == 4
    assert len(samples_of([("after", [line(str(n), right=False) for n in range(9)])])) == 4
    assert samples_of([("after", [])]) == ()


def test_a_chart_spans_its_values_and_steps() -> None:
    chart = line_chart(
        "loss", "nats", [Series("one", "c", [(10, 8.0), (100, 0.1)])], show=str, remark=lambda v: str(v[-1]), may_log=True
    )
    assert chart is not None
    assert chart.log
    assert chart.y_ticks[0].place == 100
    assert chart.y_ticks[-1].place == pytest.approx(0)
    places = [tuple(map(float, place.split(","))) for place in re.findall(r"[\d.]+,[\d.]+", chart.curves[0].path)]
    assert places[0][0] == 10
    assert places[1][0] == 100
    assert 0 <= places[0][1] < places[1][1] <= 100


def test_a_chart_leaves_out_what_is_not_finite_and_thins_long_curves() -> None:
    points = [(float(step), 1.0 + step % 2) for step in range(10_000)] + [(10_000.0, float("nan"))]
    chart = line_chart("loss", "", [Series("one", "c", points)], show=str, remark=lambda v: f"{min(v)}-{max(v)}")
    assert chart is not None
    assert chart.curves[0].path.count("L") < MOST_POINTS
    assert "nan" not in chart.curves[0].path
    assert line_chart("loss", "", [Series("one", "c", [(1, float("inf"))])], show=str, remark=str) is None


def test_a_single_point_and_a_constant_curve_are_drawn() -> None:
    for points in ([(1.0, 0.0)], [(1.0, 5.0), (2.0, 5.0)], [(0.0, 0.0)]):
        chart = line_chart("loss", "", [Series("one", "c", points)], show=str, remark=str, may_log=True)
        assert chart is not None
        assert "nan" not in chart.curves[0].path


@pytest.mark.parametrize(
    ("low", "high", "ticks"), [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 0.7, [0, 0.2, 0.4, 0.6, 0.8]), (0, 1500, [0, 500, 1000, 1500])]
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, ticks: list[float]) -> None:
    assert linear_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (1, "100%"), (0.614, "61%"), (0.004, "0.4%"), (0.996, "99.6%"), (None, "–"), (0.29, "29%")]
)
def test_shares_never_round_to_nothing_or_everything(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_numbers_and_durations_as_people_write_them() -> None:
    assert [number(value) for value in (1234567, 0.98123, 1043.04, None, "sw", True)] == [
        "1,234,567",
        "0.981",
        "1,043",
        "–",
        "sw",
        "True",
    ]
    assert [duration(value) for value in (3.2, 271, 7325, None)] == ["3.2 s", "4 min 31 s", "2 h 02 min", "–"]


def test_benchmarks_of_labels_are_told_in_their_own_words(tmp_path: Path) -> None:
    class Silent:
        def generate(self, questions: Sequence[str]) -> list[str]:
            return ["I cannot tell." for _ in questions]

        def likelihoods(self, _: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
            return [[Likelihood(-float(place), greedy=False) for place in range(len(given))] for given in answers]

    settings = [BenchmarkSettings(name="xnli", source="sample", languages=("en", "sw"), labels=how) for how in LABELS]
    evaluate(Silent(), load_benchmarks(settings, (), seed=0), tmp_path)
    words = Outline(write_evaluation_page(tmp_path, "page").read_text(encoding="utf-8")).words()
    written, ranked = words[: words.index("XNLI, likeliest label")], words[words.index("XNLI, likeliest label") :]
    assert "the number of responses without a label" in written
    assert "✗ no label" in written
    assert "About the responses" in written
    assert "The model writes no response: the answer is the label with the highest likelihood" in ranked
    assert "About the responses" not in ranked, "a label that was chosen has no language"
    assert "a number" not in words
