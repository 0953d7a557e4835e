"""The command line without a run: help, mistakes, exit codes, JSON."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from lilift.cli import app
from lilift.recipe.load import shipped_recipes


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    try:
        code = app.main(arguments)
    except SystemExit as leaving:  # argparse leaves by itself after --help and --version
        code = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    "verb",
    [
        [],
        ["doctor"],
        ["eval"],
        ["eval", "compare"],
        ["eval", "alignment"],
        ["eval", "benchmarks"],
        ["eval", "fetch"],
        ["routes"],
        ["export"],
        ["chat"],
        ["serve"],
        ["watch"],
        ["recipe"],
        ["recipe", "run"],
        ["recipe", "new"],
        ["recipe", "plan"],
        ["data", "preview"],
    ],
)
def test_every_verb_has_help_with_examples(capsys: pytest.CaptureFixture[str], verb: list[str]) -> None:
    code, out, _ = call(capsys, *verb, "--help")
    assert code == 0
    assert "usage: lilift" in out
    if verb != ["recipe"]:
        assert "example" in out


def test_eval_benchmarks_lists_those_first_that_people_translated(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "eval", "benchmarks", "--json")
    assert code == 0
    found = {one["name"]: one for one in json.loads(out)}
    who = [one["translated_by"] for one in found.values()]
    assert who == sorted(who, key=("people", "machine, corrected by people", "machine", "generated").index)
    assert found["mmwp"]["translated_by"] == "machine"
    assert (found["belebele"]["languages"]["sw"], found["belebele"]["get"]) == ("swh_Latn", ["fetch", "hub", "path"])
    assert found["afrimgsm"]["get"] == ["hub", "path"]
    code, out, _ = call(capsys, "eval", "benchmarks", "--languages")
    assert "global-mmlu-lite: ar, bn, cs, cy" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["recpe"], 2, "invalid choice: 'recpe'"),
        (["recipe", "run"], 2, "RECIPE"),
        (["recipe", "run", "tiny-gpu"], 2, "did you mean 'tiny-cpu'"),
        (["recipe", "run", "tiny-cpu", "--restart-from", "nowhere"], 2, "nowhere"),
        (["recipe", "plan", "tiny-cpu", "--set", "llm.modell=x"], 2, "did you mean 'model'"),
        (["recipe", "plan", "tiny-cpu", "--set", "llm.model=./nowhere"], 4, "no such model folder"),
        (["recipe", "plan", "tiny-cpu", "--set", "llm.model=nobody/nothing"], 4, "hub cannot be reached"),
        (
            ["eval", "stand-in:llm", "--benchmark", "world", "--labels", "likelihood", "--languages", "en"],
            2,
            "needs a benchmark with labels (belebele, sib200, xnli, global-mmlu-lite, xcsqa), and world has none",
        ),
        (["eval", "fetch", "world"], 2, "choose from"),
        (["eval", "stand-in:llm", "--benchmark", "world", "--languages", "xx"], 3, "unknown language 'xx'"),
        (["eval", "stand-in:llm", "--benchmark", "mmwp", "--source", "hub"], 3, "mmwp is not on the Hugging Face hub"),
        (["eval", "nowhere", "--benchmark", "world"], 4, "no file or folder of that name in "),
        (["eval", "stand-in:llm", "--benchmark", "world", "--template", "chatty"], 2, "choose from plain"),
        (["eval", "stand-in:llm", "--benchmark", "world", "--template", "chat", "--dtype", "float32"], 3, "no chat template"),
        (["eval", "stand-in:llm", "--benchmark", "world", "--top-p", "2"], 2, "out of range"),
        (["eval", "stand-in:llm", "--benchmark", "world", "--samples", "0"], 2, "give 1 or more"),
        (["data", "preview", "tiny-cpu", "--language", "sw"], 2, "choose from om, qu, ln, fj"),
        (["data", "preview", "tiny-cpu", "--count", "0"], 2, "not a whole number of 1 or more"),
        (["eval", "alignment", "nowhere"], 5, "this folder holds no run"),
        (["eval", "compare", "nowhere", "nowhere:lifted"], 5, "holds no evaluation"),
        (["export", "nowhere"], 5, "this folder holds no run"),
        (["chat", "nowhere", "hello"], 4, "no file or folder of that name in "),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    found, out, err = call(capsys, *arguments)
    assert found == code
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


def test_debug_shows_where_an_error_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "recipe", "show", "tiny-gpu", "--debug")
    assert code == 2
    assert "Traceback" in err


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(_: object) -> int:
        raise error

    monkeypatch.setattr("lilift.cli.recipe.run_list", run)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device"), 8, "free some disk space"),
        (ZeroDivisionError("oops"), 1, "a bug in lilift: ZeroDivisionError: oops"),
    ],
)
def test_what_nobody_foresaw_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    raising(monkeypatch, error)
    found, _, err = call(capsys, "recipe", "list")
    assert found == code
    assert words in err
    assert err.count("\n") == 1


def test_list_and_show_know_every_shipped_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "recipe", "list", "--json")
    assert {entry["name"] for entry in json.loads(out)} == set(shipped_recipes())
    _, out, _ = call(capsys, "recipe", "show", "tiny-cpu")
    assert out == shipped_recipes()["tiny-cpu"].read_text(encoding="utf-8")


def test_a_resolved_recipe_can_be_started_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = call(capsys, "recipe", "show", "tiny-cpu", "--set", "seed=5")
    (tmp_path / "mine.yaml").write_text(out, encoding="utf-8")
    code, out, _ = call(capsys, "recipe", "validate", str(tmp_path / "mine.yaml"))
    assert code == 0
    assert "valid" in out


def test_a_recipe_for_a_gpu_says_so_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "recipe", "run", "llama-7b-24gb")
    assert code == 7
    assert "needs a CUDA GPU (card 24gb), and lilift found none" in err
    assert not list(tmp_path.iterdir()), "nothing may be written for a run that cannot start"


def test_a_recipe_whose_models_are_nowhere_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--set", "card=cpu", "--run-folder", str(tmp_path / "run")]
    lexicon = tmp_path / "en-sw.txt"
    lexicon.write_text("how vipi\nmany nyingi\nhas ana\n", encoding="utf-8")
    overrides = [f"data.lexicons={lexicon}", "languages=[sw]", "data.instructions.source=world", "data.instructions.limit=8"]
    overrides.append("evaluate.benchmarks=[]")
    code, out, err = call(
        capsys, "recipe", "run", "llama-7b-24gb", *arguments, *[part for text in overrides for part in ("--set", text)]
    )
    assert code == 4
    assert "meta-llama/Llama-2-7b-hf" in err
    assert err.strip().count("\n") == 0
    assert out.startswith("missing: DKYoon/mt5-xl-lm-adapt"), "all that is missing is told, and before the plan"


def test_a_plan_that_cannot_fit_is_refused_naming_the_largest_part(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "recipe", "plan", "llama-7b-24gb", "--card", "rtx4060", "--instant", "--json")
    assert code == 2
    assert json.loads(out)["phases"]["evaluate"]["peak_mib"] > 8192
    assert "rtx4060 has only 7.8 GiB for it; the largest part is" in err


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["chat", "runs/mine", "--route", "plain", "Who?"], "question", "Who?"),
        (["chat", "runs/mine", "--json", "Who?", "--language", "sw"], "question", "Who?"),
        (["chat", "--json", "runs/mine"], "question", None),
        (["eval compare", "a", "b", "--html", "page.html", "c", "d"], "more", ["c", "d"]),
        (["recipe", "new", "--language", "sw", "mine.yaml"], "file", Path("mine.yaml")),
    ],
)
def test_arguments_that_may_be_left_out_may_stand_behind_options(words: list[str], name: str, value: object) -> None:
    assert getattr(app.build_parser().parse_args(words), name) == value


def test_what_is_too_much_behind_an_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "chat", "runs/mine", "--json", "Who?", "What?")
    assert (code, err) == (2, "lilift: unknown: What?; see `lilift chat --help`\n")
