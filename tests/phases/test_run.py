"""A whole run, small, and what its results are good for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lilift.cli import app
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.load_answerer import load_answerer
from lilift.phases.answering.systems import SYSTEMS, load_system
from lilift.phases.run import FinishedRun
from tests.phases.small_run import arguments, metrics


def test_a_run_leaves_everything_that_its_folder_promises(finished_run: FinishedRun) -> None:
    there = {path.name for path in finished_run.path.iterdir()}
    assert there >= {
        "recipe.yaml", "environment.json", "plan.json", "measured.json", "report.html",
        "data", "align", "transfer", "control", "evaluate", "export",
    }  # fmt: skip
    assert [system.system for system in finished_run.scores] == ["untrained", "control", "lifted"]
    world, labels = finished_run.scores[0].benchmarks
    assert [score.language for score in world.languages] == ["en", "om", "fj"]
    assert labels.benchmark == "xnli-sample-likelihood"
    assert [(score.language, score.missing) for score in labels.languages] == [("en", 0), ("sw", 0)]
    measured = finished_run.measured
    assert set(measured) == {"data", "align", "transfer", "control", "evaluate", "export"}
    assert all(figures["peak_mib"] > 50 for figures in measured.values())
    assert len(metrics(finished_run.path)["align/metrics.jsonl"]) == 5
    for phase in ("align", "transfer", "control"):
        counted = json.loads((finished_run.path / phase / "rows.json").read_text())
        assert counted["read"] == counted["kept"] == 120
    assert not list(finished_run.path.rglob("*.partial*"))
    assert not list(finished_run.path.rglob("checkpoints/step-*")), "a finished stage needs its checkpoints no more"
    assert not [path for path in finished_run.path.rglob("*") if path.suffix in (".pt", ".bin", ".pkl")]


def test_stage_1_makes_all_the_difference_between_the_control_and_the_lifted_model(finished_run: FinishedRun) -> None:
    """The control is stage 2 on the layer as it was made: nothing of stage 1 may leak into it, and nothing else may differ."""
    untouched = load_system(finished_run.recipe, finished_run.path, SYSTEMS["control"], device=torch.device("cpu"))
    fresh = load_system(finished_run.recipe, finished_run.path, SYSTEMS["untrained"], device=torch.device("cpu"))
    lifted = load_system(finished_run.recipe, finished_run.path, SYSTEMS["lifted"], device=torch.device("cpu"))
    layers = [dict(system.alignment.named_parameters()) for system in (untouched, fresh, lifted)]
    assert all(torch.equal(layers[0][name], layers[1][name]) for name in layers[0])
    assert not all(torch.equal(layers[0][name], layers[2][name]) for name in layers[0])
    steps = [
        [line["step"] for line in metrics(finished_run.path)[f"{phase}/metrics.jsonl"]] for phase in ("transfer", "control")
    ]
    assert steps[0] == steps[1]


def test_the_exported_llm_is_the_one_that_was_trained(finished_run: FinishedRun) -> None:
    """The merged weights in place of the 4-bit LLM with its adapter give the same logits."""
    from transformers import AutoModelForCausalLM

    lifted = load_system(finished_run.recipe, finished_run.path, SYSTEMS["lifted"], device=torch.device("cpu"))
    merged = AutoModelForCausalLM.from_pretrained(finished_run.path / "export" / "hf").eval()
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        torch.testing.assert_close(merged(input_ids=ids).logits, lifted.llm(input_ids=ids).logits, atol=1e-3, rtol=1e-4)
    base = Path(str(app.__file__)).parents[1] / "stand_ins" / "llm"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (finished_run.path / "export" / "hf" / name).read_bytes() == (base / name).read_bytes()


def test_the_hf_part_of_an_export_that_has_gguf_files_too_answers_as_the_run_did(finished_run: FinishedRun) -> None:
    lines = [
        json.loads(line) for line in (finished_run.path / "evaluate/lifted/world/om.jsonl").read_text("utf-8").splitlines()
    ]
    exported = load_answerer(str(finished_run.path / "export"), AnswerOptions(dtype="float32"))
    assert exported.responder.generate([line["question"] for line in lines]) == [line["response"] for line in lines]


def test_a_second_call_does_nothing_twice(finished_run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.path.glob("*/done.json")}
    assert app.main(arguments(finished_run.path, "--json")) == 0
    assert {path: path.stat().st_mtime_ns for path in finished_run.path.glob("*/done.json")} == before
    printed = json.loads(capsys.readouterr().out)
    assert [system["system"] for system in printed["scores"]] == ["untrained", "control", "lifted"]


def test_chat_answers_as_the_evaluation_did(finished_run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    kept = json.loads((finished_run.path / "evaluate" / "lifted" / "world" / "om.jsonl").read_text("utf-8").splitlines()[0])
    assert app.main(["chat", str(finished_run.path), kept["question"]]) == 0
    assert capsys.readouterr().out.strip() == kept["response"].strip()


def test_chat_reads_questions_line_by_line(
    finished_run: FinishedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "questions.txt").write_text("How many?\n\nVica?\n", encoding="utf-8")
    with (tmp_path / "questions.txt").open(encoding="utf-8") as questions:
        monkeypatch.setattr("sys.stdin", questions)
        assert app.main(["chat", str(finished_run.path), "--max-new-tokens", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_export_by_hand_writes_the_same_as_the_run(
    finished_run: FinishedRun, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert app.main(["export", str(finished_run.path), "--output", str(tmp_path / "model"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["merged_layers"] > 0
    assert [drift["name"] for drift in printed["drift"]] == [
        "dequantised base, float32", "original base, float32", "llm-f16.gguf", "llm-q8_0.gguf",
    ]  # fmt: skip
    assert printed["drift"][0]["divergence"] < 1e-4 < printed["drift"][1]["divergence"]
    one, other = (
        load_file(folder / "hf" / "model.safetensors") for folder in (finished_run.path / "export", tmp_path / "model")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    described = json.loads((tmp_path / "model" / "lilift.json").read_text())
    assert described["template"]["openers"]["respond"] == "Answer:"
    assert described["sha256"].keys() >= {"hf/model.safetensors", "alignment/alignment.safetensors", "llm-q8_0.gguf"}
    assert (finished_run.path / "transfer" / "base_model.json").is_file()


def test_real_benchmark_files_are_read_asked_and_counted(
    finished_run: FinishedRun, shared_data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["eval", str(finished_run.path), "--benchmark", "mmwp", "--path", str(shared_data / "mmwp")]
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
