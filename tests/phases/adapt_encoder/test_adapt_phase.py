"""A whole run with an adapted encoder: every later phase reads with it, and it travels with the run and the export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file

from lilift.cli.app import main
from lilift.data.prepare import gather
from lilift.data.world import monolingual_text
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.model.encoders.run_encoder import states_folder, with_encoder_of_run
from lilift.model.sources import model_folder_or_hub
from lilift.phases import rehearsals
from lilift.phases import run as phases
from lilift.phases.answering.systems import SYSTEMS, answers_depend_on, load_system
from lilift.phases.held_out import held_out_questions
from lilift.phases.readiness import missing_for
from lilift.phases.rehearsals import rehearse
from lilift.phases.report import write_report
from lilift.phases.run import FinishedRun, RunOptions, run_recipe
from lilift.phases.run_folder import RunFolder, phases_from, recipe_of, wanted_phases
from lilift.recipe.errors import RunFolderError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import BenchmarkSettings

SMALL = (
    "languages=[fj]",
    "data.instructions.limit=60",
    "align.max_steps=1",
    "transfer.max_steps=1",
    "transfer.control=false",
    "encoder.placement=cached-disk",
    "evaluate.benchmarks=[{name: world, limit: 1}]",
    "evaluate.max_new_tokens=4",
    "evaluate.untrained=false",
    "evaluate.alignment=none",
    "export.formats=[hf, gguf]",
    "export.quantisations=[f16]",
    "export.drift=false",
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("adapted")
    text = folder / "fj.txt"
    text.write_text("\n".join(monolingual_text("fj", 60, 5)), encoding="utf-8")
    adapt = f"encoder.adapt={{text: {{fj: {text}}}, steps: 2, learning_rate: 0.01}}"
    recipe = load_recipe("tiny-cpu", [*SMALL, adapt])
    with pytest.MonkeyPatch.context() as patch:  # the plans of the other phases and six reports take longest
        patch.setattr(rehearsals, "rehearse", lambda recipe: rehearse(recipe)[-1:])
        patch.setattr(phases, "_write_report_so_far", lambda _: None)
        return run_recipe(recipe, folder / "run", RunOptions(quiet=True))


def adapted(run: FinishedRun) -> dict[str, torch.Tensor]:
    return load_file(run.path / "adapt" / "encoder" / "model.safetensors")


def test_the_phase_comes_before_stage_1_and_is_not_repeated(run: FinishedRun) -> None:
    assert wanted_phases(run.recipe) == ("data", "adapt", "align", "transfer", "evaluate", "export")
    assert run.measured["adapt"]["predicted_mib"] > 0
    found = json.loads((run.path / "adapt" / "adaptation.json").read_text(encoding="utf-8"))
    assert found["steps"] == 2
    assert found["texts"].keys() == {"fj", "en"}
    assert found["before"].keys() == found["after"].keys() == {"fj", "en"}
    with RunFolder.opened(run.path, recipe_of(run.path), resume=True, restart_from=None) as folder:
        assert folder.is_done("adapt")
        folder.check_finished("adapt")
    other = recipe_of(run.path)
    more = other.encoder.adapt.model_copy(update={"steps": 3})  # type: ignore[union-attr]
    other = other.model_copy(update={"encoder": other.encoder.model_copy(update={"adapt": more})})
    changed = RunFolder.opened(run.path, other, resume=True, restart_from=None)
    with pytest.raises(RunFolderError, match="steps was 2 and is now 3"), changed:
        pass


def test_the_run_reads_with_the_adapted_encoder(run: FinishedRun) -> None:
    base = load_file(Path(model_folder_or_hub("stand-in:encoder")) / "model.safetensors")
    changed = [name for name, tensor in adapted(run).items() if not torch.equal(tensor.float(), base[name].float())]
    assert changed
    assert all(name.startswith("encoder.block") for name in changed), "LoRA is on the layers alone"
    loaded = load_system(recipe_of(run.path), run.path, SYSTEMS["lifted"], device=CPU)
    own = loaded.encoder.model.state_dict()
    assert all(torch.equal(own[name], adapted(run)[name].to(own[name].dtype)) for name in changed)


def test_the_export_holds_the_adapted_encoder_and_no_path(run: FinishedRun) -> None:
    export = run.path / "export"
    assert (export / "encoder" / "model.safetensors").read_bytes() == (
        run.path / "adapt" / "encoder" / "model.safetensors"
    ).read_bytes()
    file = GGUFReader(next(export.glob("encoder-*.gguf")))
    written = next(tensor for tensor in file.tensors if tensor.name == "enc.blk.0.attn_q.weight")
    expected = adapted(run)["encoder.block.0.layer.0.SelfAttention.q.weight"]
    torch.testing.assert_close(torch.from_numpy(written.data.copy()).float(), expected.float(), rtol=1e-2, atol=1e-3)
    description = (export / "lilift.json").read_text(encoding="utf-8")
    assert json.loads(description)["encoder"]["adapted_to"] == ["fj"]
    assert str(run.path) not in description
    card = (export / "README.md").read_text(encoding="utf-8")
    assert "read running text in Fijian: 2 steps of masked tokens" in card
    assert "Running text in fj: fj.txt" in card


def test_answers_and_kept_states_depend_on_the_encoder(run: FinishedRun, tmp_path: Path) -> None:
    before = answers_depend_on(run.recipe, run.path, SYSTEMS["lifted"])
    copy = tmp_path / "moved"
    shutil.copytree(run.path, copy)
    assert answers_depend_on(run.recipe, copy, SYSTEMS["lifted"]) == before
    assert states_folder(run.recipe, copy, Path("states")) == states_folder(run.recipe, run.path, Path("states"))
    manifest = copy / "adapt" / "encoder" / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"seal": "', '"seal": "0'), encoding="utf-8")
    assert answers_depend_on(run.recipe, copy, SYSTEMS["lifted"]) != before
    assert states_folder(run.recipe, copy, Path("states")) != states_folder(run.recipe, run.path, Path("states"))
    plain = load_recipe("tiny-cpu")
    assert states_folder(plain, run.path, Path("states")) == Path("states")
    assert with_encoder_of_run(plain, run.path) is plain


def test_a_changed_encoder_stops_the_run_with_the_way_out(run: FinishedRun, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    weights = copy / "adapt" / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    with pytest.raises(RunFolderError, match="has changed") as caught:
        load_system(recipe_of(copy), copy, SYSTEMS["lifted"], device=CPU)
    assert "--restart-from adapt" in str(caught.value)
    with pytest.raises(RunFolderError, match="has changed"):
        RunFolder(copy, run.recipe).check_finished("adapt")
    with pytest.raises(RunFolderError, match="not finished"):
        with_encoder_of_run(run.recipe, tmp_path / "empty")


def test_what_learned_on_the_old_encoder_goes_with_it() -> None:
    assert set(phases_from("adapt")) == {"adapt", "align", "transfer", "control", "evaluate", "export"}


def test_until_stops_there_also_if_the_recipe_lacks_the_phase() -> None:
    plain = load_recipe("tiny-cpu", ["transfer.control=false"])
    assert phases._phases_until("adapt", plain) == ("data",)
    assert phases._phases_until("control", plain) == ("data", "align", "transfer")
    assert phases._phases_until(None, plain) == wanted_phases(plain)


def test_the_report_shows_what_the_encoder_read(run: FinishedRun) -> None:
    page = write_report(run.path)
    shown = (page if isinstance(page, Path) else run.path / "report.html").read_text(encoding="utf-8")
    assert "The encoder read running text" in shown
    assert "Adaptation of the encoder: loss" in shown


@pytest.mark.parametrize(
    ("recipe", "setting"),
    [("tiny-cpu", "encoder.adapt.text"), ("baseline-continued-7b-24gb", "data.monolingual.files")],
)
def test_a_missing_text_is_one_line_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, setting: str
) -> None:
    settings = ("languages=[fj]", f"{setting}={tmp_path / 'none.txt'}")
    assert main(["recipe", "validate", recipe, "--set", settings[0], "--set", settings[1]]) == 3
    missing = missing_for(load_recipe(recipe, [*settings, f"data.lexicons={tmp_path}"]), ("data",))
    for said in (capsys.readouterr().err, "\n".join(map(str, missing))):
        assert "there is no text file of Fijian (fj)" in said
        assert setting in said


def test_questions_of_benchmarks_are_left_out_of_the_text(tmp_path: Path) -> None:
    question = load_benchmark(BenchmarkSettings(name="mgsm", source="sample"), "sw").questions[0].text
    text = tmp_path / "sw.txt"
    text.write_text(f"Habari za asubuhi rafiki yangu.\n{question}\n", encoding="utf-8")
    benchmarks = "evaluate.benchmarks=[{name: mgsm, source: sample, languages: [sw]}]"
    adapting = [
        "languages=[sw]",
        f"encoder.adapt.text={text}",
        "align.texts=[english]",
        benchmarks,
        "data.instructions.limit=20",
    ]
    recipe = load_recipe("tiny-cpu", adapting)
    _, report = gather(recipe, held_out_questions(recipe))
    assert report.monolingual["sw"].dropped == {"in mgsm": 1}
