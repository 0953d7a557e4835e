"""A whole run, small: its results, its interruptions, and what it refuses."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lilift.cli import app
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.load_answerer import load_answerer
from lilift.phases.answering.systems import SYSTEMS, load_system
from lilift.phases.run import FinishedRun, RunOptions, run_recipe
from lilift.recipe.load import load_recipe

# Every phase does its real work on the real stand-ins, only less of it.
SMALL = (
    "data.instructions.limit=120",
    "align.max_steps=10",
    "align.checkpoint_every=3",
    "align.log_every=2",
    "transfer.max_steps=8",
    "transfer.checkpoint_every=3",
    "transfer.log_every=2",
    "evaluate.benchmarks=[{name: world, limit: 4}, {name: xnli, source: sample, languages: [en, sw], labels: likelihood}]",
    "evaluate.max_new_tokens=12",
    "languages=[om, fj]",
)
TIMES = ("seconds", "tokens_per_second", "memory_mib")


def arguments(folder: Path, *more: str, small: tuple[str, ...] = SMALL) -> list[str]:
    settings = [part for text in small for part in ("--set", text)]
    return ["recipe", "run", "tiny-cpu", "--run-folder", str(folder), *settings, *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    return run_recipe(load_recipe("tiny-cpu", SMALL), folder, RunOptions(quiet=True))


def weights(run: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(run.glob("*/*/*.safetensors")):
        found |= {f"{path.relative_to(run)}:{name}": tensor for name, tensor in load_file(path).items()}
    return found


def metrics(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Every line of metrics but for what depends on the clock."""
    return {
        str(path.relative_to(run)): [
            {key: value for key, value in json.loads(line).items() if key not in TIMES}
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in sorted(run.glob("*/metrics.jsonl"))
    }


def answers(run: Path) -> dict[str, list[str]]:
    return {
        str(path.relative_to(run)): sorted(path.read_text("utf-8").splitlines()) for path in run.glob("evaluate/*/*/*.jsonl")
    }


def assert_same_run(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    assert answers(one) == answers(other)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    scores = [json.loads((run / "evaluate" / "scores.json").read_text()) for run in (one, other)]
    assert scores[0] == scores[1]


def test_a_run_leaves_everything_that_its_folder_promises(finished: FinishedRun) -> None:
    there = {path.name for path in finished.path.iterdir()}
    assert there >= {
        "recipe.yaml", "environment.json", "plan.json", "measured.json", "report.html",
        "data", "align", "transfer", "control", "evaluate", "export",
    }  # fmt: skip
    assert [system.system for system in finished.scores] == ["untrained", "control", "lifted"]
    world, labels = finished.scores[0].benchmarks
    assert [score.language for score in world.languages] == ["en", "om", "fj"]
    assert labels.benchmark == "xnli-sample-likelihood"
    assert [(score.language, score.missing) for score in labels.languages] == [("en", 0), ("sw", 0)]
    measured = finished.measured
    assert set(measured) == {"data", "align", "transfer", "control", "evaluate", "export"}
    assert all(figures["peak_mib"] > 50 for figures in measured.values())
    assert len(metrics(finished.path)["align/metrics.jsonl"]) == 5
    for phase in ("align", "transfer", "control"):
        counted = json.loads((finished.path / phase / "rows.json").read_text())
        assert counted["read"] == counted["kept"] == 120
    assert not list(finished.path.rglob("*.partial*"))
    assert not list(finished.path.rglob("checkpoints/step-*")), "a finished stage needs its checkpoints no more"
    assert not [path for path in finished.path.rglob("*") if path.suffix in (".pt", ".bin", ".pkl")]


def test_stage_1_makes_all_the_difference_between_the_control_and_the_lifted_model(finished: FinishedRun) -> None:
    """The control is stage 2 on the layer as it was made: nothing of stage 1 may leak into it, and nothing else may differ."""
    untouched = load_system(finished.recipe, finished.path, SYSTEMS["control"], device=torch.device("cpu"))
    fresh = load_system(finished.recipe, finished.path, SYSTEMS["untrained"], device=torch.device("cpu"))
    lifted = load_system(finished.recipe, finished.path, SYSTEMS["lifted"], device=torch.device("cpu"))
    layers = [dict(system.alignment.named_parameters()) for system in (untouched, fresh, lifted)]
    assert all(torch.equal(layers[0][name], layers[1][name]) for name in layers[0])
    assert not all(torch.equal(layers[0][name], layers[2][name]) for name in layers[0])
    steps = [[line["step"] for line in metrics(finished.path)[f"{phase}/metrics.jsonl"]] for phase in ("transfer", "control")]
    assert steps[0] == steps[1]


def test_the_exported_llm_is_the_one_that_was_trained(finished: FinishedRun) -> None:
    """The merged weights in place of the 4-bit LLM with its adapter give the same logits."""
    from transformers import AutoModelForCausalLM

    lifted = load_system(finished.recipe, finished.path, SYSTEMS["lifted"], device=torch.device("cpu"))
    merged = AutoModelForCausalLM.from_pretrained(finished.path / "export" / "hf").eval()
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        torch.testing.assert_close(merged(input_ids=ids).logits, lifted.llm(input_ids=ids).logits, atol=1e-3, rtol=1e-4)
    base = Path(str(app.__file__)).parents[1] / "stand_ins" / "llm"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (finished.path / "export" / "hf" / name).read_bytes() == (base / name).read_bytes()


def test_the_hf_part_of_an_export_that_has_gguf_files_too_answers_as_the_run_did(finished: FinishedRun) -> None:
    lines = [json.loads(line) for line in (finished.path / "evaluate/lifted/world/om.jsonl").read_text("utf-8").splitlines()]
    exported = load_answerer(str(finished.path / "export"), AnswerOptions(dtype="float32"))
    assert exported.responder.generate([line["question"] for line in lines]) == [line["response"] for line in lines]


def test_a_second_call_does_nothing_twice(finished: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.path.glob("*/done.json")}
    assert app.main(arguments(finished.path, "--json")) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.path.glob("*/done.json")} == before
    printed = json.loads(capsys.readouterr().out)
    assert [system["system"] for system in printed["scores"]] == ["untrained", "control", "lifted"]


def test_chat_answers_as_the_evaluation_did(finished: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    kept = json.loads((finished.path / "evaluate" / "lifted" / "world" / "om.jsonl").read_text("utf-8").splitlines()[0])
    assert app.main(["chat", str(finished.path), kept["question"]]) == 0
    assert capsys.readouterr().out.strip() == kept["response"].strip()


def test_chat_reads_questions_line_by_line(
    finished: FinishedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "questions.txt").write_text("How many?\n\nVica?\n", encoding="utf-8")
    with (tmp_path / "questions.txt").open(encoding="utf-8") as questions:
        monkeypatch.setattr("sys.stdin", questions)
        assert app.main(["chat", str(finished.path), "--max-new-tokens", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_export_by_hand_writes_the_same_as_the_run(
    finished: FinishedRun, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert app.main(["export", str(finished.path), "--output", str(tmp_path / "model"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["merged_layers"] > 0
    assert [drift["name"] for drift in printed["drift"]] == [
        "dequantised base, float32", "original base, float32", "llm-f16.gguf", "llm-q8_0.gguf",
    ]  # fmt: skip
    assert printed["drift"][0]["divergence"] < 1e-4 < printed["drift"][1]["divergence"]
    one, other = (load_file(folder / "hf" / "model.safetensors") for folder in (finished.path / "export", tmp_path / "model"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    described = json.loads((tmp_path / "model" / "lilift.json").read_text())
    assert described["template"]["openers"]["respond"] == "Answer:"
    assert described["sha256"].keys() >= {"hf/model.safetensors", "alignment/alignment.safetensors", "llm-q8_0.gguf"}
    assert (finished.path / "transfer" / "base_model.json").is_file()


def test_real_benchmark_files_are_read_asked_and_counted(
    finished: FinishedRun, shared_data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["eval", str(finished.path), "--benchmark", "mmwp", "--path", str(shared_data / "mmwp")]
    more = ["--languages", "sw,bn,th", "--limit", "3", "--output", str(tmp_path / "scores")]
    assert app.main([*command, *more]) == 0
    printed = capsys.readouterr().out
    assert "mmwp: 811 rows read, 3 questions to answer in each of 3 languages: sw, bn, th" in printed
    for code in ("sw", "bn", "th"):
        assert len((tmp_path / "scores" / "lifted" / "mmwp" / f"{code}.jsonl").read_text("utf-8").splitlines()) == 3
    assert app.main([*command, *more, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["benchmarks"][0]["languages"][0]["rows_read"] == 811


def test_real_instructions_and_a_real_dictionary(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GSM8K's English problems and AfroMT's Swahili dictionary through every phase."""
    small = (
        f"data.instructions.source={shared_data / 'gsm8k' / 'test.jsonl.gz'}",
        "data.instructions.limit=40",
        f"data.lexicons={shared_data / 'lexicon_afromt'}/en-{{language}}.txt.gz",
        "languages=[sw]",
        "data.max_tokens=1024",
        "encoder.max_tokens=512",
        "align.max_steps=3",
        "transfer.max_steps=3",
        "evaluate.benchmarks=[{name: mgsm, path: " + str(shared_data / "mgsm") + ", limit: 2}]",
        "evaluate.max_new_tokens=8",
    )
    assert app.main(arguments(tmp_path / "run", small=small)) == 0
    printed = capsys.readouterr().out
    assert "40 of " in printed
    report = json.loads((tmp_path / "run" / "data" / "report.json").read_text("utf-8"))
    assert report["instructions"]["kept"] == 40
    assert report["lexicons"]["sw"]["coverage"] > 0.3
    scores = json.loads((tmp_path / "run" / "evaluate" / "scores.json").read_text("utf-8"))
    assert {entry["language"] for entry in scores["systems"][-1]["benchmarks"][0]["languages"]} == {"en", "sw"}


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lilift", *arguments(folder, *more)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def kill_in(folder: Path, phase: str, delay: float) -> None:
    """Run until `phase` has begun, wait a little, and kill."""
    process = start(folder, "--resume")
    for line in lines_of(process):
        if line.startswith(f"{phase}:") and "already done" not in line:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()


def test_killed_at_random_moments_of_every_phase_a_resumed_run_ends_the_same(finished: FinishedRun, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    moments = random.Random(20)
    for phase in ("data", "align", "transfer", "evaluate"):
        kill_in(folder, phase, moments.uniform(0.0, 2.0))
    process = start(folder, "--resume")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert_same_run(finished.path, folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_a_run_saves_first_and_goes_on_the_same(
    finished: FinishedRun, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "stopped"
    process = start(folder)
    for line in lines_of(process):
        if line.startswith("align: step"):
            process.send_signal(number)
            break
    _, errors = process.communicate()
    assert process.returncode == code
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert list(folder.glob("align/checkpoints/step-*")) or (folder / "align" / "alignment").exists()
    process = start(folder, "--resume", "--until", "align")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    one, other = (weights(run) for run in (folder, finished.path))
    assert one
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert metrics(folder)["align/metrics.jsonl"] == metrics(finished.path)["align/metrics.jsonl"]


def refused(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str]:
    """Exit code and the one line of a refusal."""
    code = app.main(given)
    err = capsys.readouterr().err.strip()
    assert err.count("\n") == 0, err
    assert "Traceback" not in err
    return code, err


def test_a_damaged_result_is_named_with_its_remedy(
    finished: FinishedRun, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import shutil

    run = tmp_path / "damaged"
    shutil.copytree(finished.path, run)
    path = run / "transfer" / "adapter" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for command in (["chat", str(run), "How many?"], ["export", str(run), "--output", str(tmp_path / "out")]):
        code, line = refused(capsys, *command)
        assert code == 5
        assert "adapter" in line
        assert "changed since it was written" in line
    assert not (tmp_path / "out" / "hf").exists()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("data.instructions.source=./nowhere.jsonl", 3, "nowhere.jsonl"),
        ("languages=[om, xx]", 3, "xx"),
        ("data.lexicons={om: ./latin.tsv, fj: world}", 3, "latin.tsv"),
        ("data.lexicons={om: ./foreign.tsv, fj: world}", 3, "none of the words"),
        ("data.instructions.source=./empty.jsonl", 3, "empty.jsonl"),
        ("data.instructions.source=./columns.jsonl", 3, "data.instructions.columns"),
        ("data.max_tokens=16", 3, "data.max_tokens"),
        ("transfer.lora.target_modules=[no_such_layer]", 2, "transfer.lora.target_modules"),
        ("encoder.model=./nowhere", 4, "no such model folder"),
    ],
)
def test_bad_input_is_one_line_naming_place_and_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str, code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin.tsv").write_bytes("water\tagua\nyear\ta\xf1o\n".encode("latin-1"))
    Path("foreign.tsv").write_text("zzyzx\tfoo\n", encoding="utf-8")
    Path("empty.jsonl").write_text("", encoding="utf-8")
    Path("columns.jsonl").write_text('{"alpha": "1", "beta": "2"}\n', encoding="utf-8")
    given = arguments(tmp_path / "run", "--set", change, "--set", "align.max_steps=1", "--set", "transfer.max_steps=1")
    found, line = refused(capsys, *given)
    assert found == code, line
    assert words in line


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_what_was_saved(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = (*SMALL, "align.learning_rate=1e30", "align.warmup_ratio=0", "align.max_grad_norm=1e30", "align.checkpoint_every=1")
    code, line = refused(capsys, *arguments(tmp_path / "run", "--json", small=small))
    assert code == 6
    assert "align.learning_rate" in line


def test_a_full_disk_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    """The process may write files of at most 100 kB: the first checkpoint does not fit."""
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from lilift.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", limited, *arguments(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 8, done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert "Traceback" not in done.stderr
    process = start(tmp_path / "run", "--resume", "--until", "align")
    assert process.wait() == 0


def test_until_stops_after_a_phase_and_resume_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert app.main(arguments(tmp_path / "run", "--until", "data")) == 0
    assert (tmp_path / "run" / "data" / "done.json").exists()
    assert not (tmp_path / "run" / "align").exists()
    capsys.readouterr()
    code, line = refused(capsys, *arguments(tmp_path / "run"))
    assert code == 5
    assert "--resume" in line
