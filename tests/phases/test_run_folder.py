"""The run folder: what may be reopened, what is skipped, what is never lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.phases.run_folder import PHASES, Phase, RunFolder, phase_fingerprint, phases_from, wanted_phases
from lilift.recipe.errors import RunFolderError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe


def recipe_with(*overrides: str) -> Recipe:
    return load_recipe("tiny-cpu", overrides)


def work_on(path: Path, recipe: Recipe, *phases: Phase, finish: bool = True, restart_from: Phase | None = None) -> None:
    """Do phases the way a run does, each leaving a file of its own."""
    with RunFolder.opened(path, recipe, resume=True, restart_from=restart_from) as folder:
        for phase in phases:
            (folder.begin(phase) / "result").write_text(phase)
            if finish:
                folder.finish(phase, {"seconds": 1.0})


def refusal(path: Path, recipe: Recipe, *, resume: bool = True, restart_from: Phase | None = None) -> str:
    with pytest.raises(RunFolderError) as caught, RunFolder.opened(path, recipe, resume=resume, restart_from=restart_from):
        pass
    return str(caught.value)


def test_a_finished_phase_is_skipped_and_an_unfinished_one_is_not(tmp_path: Path) -> None:
    recipe = recipe_with()
    work_on(tmp_path, recipe, "data")
    work_on(tmp_path, recipe, "align", finish=False)
    with RunFolder.opened(tmp_path, recipe, resume=True, restart_from=None) as folder:
        assert folder.is_done("data")
        assert not folder.is_done("align")
        folder.begin("align")
        assert (folder / "align" / "result").exists(), "what an interrupted phase has saved must survive"


def test_an_unfinished_run_is_only_reopened_on_request(tmp_path: Path) -> None:
    work_on(tmp_path, recipe_with(), "data")
    assert "--resume" in refusal(tmp_path, recipe_with(), resume=False)


def test_a_finished_run_may_be_opened_again_without_asking(tmp_path: Path) -> None:
    recipe = recipe_with()
    work_on(tmp_path, recipe, *wanted_phases(recipe))
    with RunFolder.opened(tmp_path, recipe, resume=False, restart_from=None) as folder:
        assert all(folder.is_done(phase) for phase in wanted_phases(recipe))


def test_another_recipes_folder_is_refused(tmp_path: Path) -> None:
    work_on(tmp_path, recipe_with(), "data")
    other = recipe_with().model_copy(update={"name": "other"})
    line = refusal(tmp_path, other)
    assert "'tiny-cpu'" in line
    assert "--run-folder" in line


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "other files and no run" in refusal(tmp_path, recipe_with())
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("change", ["align.learning_rate=0.5", "seed=7", "data.template=alpaca", "encoder.max_tokens=64"])
def test_trained_work_is_never_redone_for_a_changed_setting_without_being_asked(tmp_path: Path, change: str) -> None:
    work_on(tmp_path, recipe_with(), "data", "align")
    line = refusal(tmp_path, recipe_with(change))
    assert change.split("=")[0] in line
    assert "--restart-from" in line
    assert (tmp_path / "align" / "result").exists()


def test_restarting_from_a_phase_redoes_it_and_what_follows_alone(tmp_path: Path) -> None:
    work_on(tmp_path, recipe_with(), "data", "align", "transfer", "evaluate")
    changed = recipe_with("transfer.learning_rate=0.5")
    with RunFolder.opened(tmp_path, changed, resume=True, restart_from="transfer") as folder:
        assert folder.is_done("data")
        assert folder.is_done("align")
        assert not folder.is_done("transfer")
        assert not folder.phase_folder("transfer").exists()
        assert not folder.is_done("evaluate")


def test_a_changed_evaluation_is_redone_by_itself(tmp_path: Path) -> None:
    work_on(tmp_path, recipe_with(), "data", "align", "transfer", "evaluate")
    changed = recipe_with("evaluate.max_new_tokens=5")
    with RunFolder.opened(tmp_path, changed, resume=True, restart_from=None) as folder:
        assert folder.is_done("transfer")
        assert not folder.is_done("evaluate")
        assert not (folder.begin("evaluate") / "result").exists(), "answers of other settings must not be mixed in"


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with RunFolder.opened(tmp_path, recipe_with(), resume=False, restart_from=None):
        assert "another lilift process" in refusal(tmp_path, recipe_with())


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    work_on(tmp_path, recipe_with(), "data")
    (tmp_path / "data" / "done.json").write_text('{"fingerp')
    with (
        RunFolder.opened(tmp_path, recipe_with(), resume=True, restart_from=None) as folder,
        pytest.raises(RunFolderError, match=r"done\.json"),
    ):
        folder.is_done("data")


def test_measurements_of_all_phases_are_kept(tmp_path: Path) -> None:
    work_on(tmp_path, recipe_with(), "data", "align")
    with RunFolder.opened(tmp_path, recipe_with(), resume=True, restart_from=None) as folder:
        assert set(folder.measured()) == {"data", "align"}


def test_each_phase_depends_on_what_it_is_made_from() -> None:
    before, after = recipe_with(), recipe_with("align.epochs=1")
    changed = {phase for phase in PHASES if phase_fingerprint(before, phase) != phase_fingerprint(after, phase)}
    assert changed == {"align", "transfer", "evaluate", "export"}
    assert phases_from("transfer") == ("transfer", "evaluate", "export")
    assert set(phases_from("data")) == set(PHASES)


@pytest.mark.parametrize("change", ["align.log_every=1", "transfer.checkpoint_every=7", "align.keep_checkpoints=5"])
def test_how_often_something_is_written_down_may_change_in_the_middle(tmp_path: Path, change: str) -> None:
    work_on(tmp_path, recipe_with(), "data", "align", "transfer")
    with RunFolder.opened(tmp_path, recipe_with(change), resume=True, restart_from=None) as folder:
        assert folder.is_done("align")
        assert folder.is_done("transfer")


def test_a_control_asked_for_later_is_added_and_evaluated(tmp_path: Path) -> None:
    without = recipe_with("transfer.control=false")
    work_on(tmp_path, without, *wanted_phases(without))
    with RunFolder.opened(tmp_path, recipe_with("transfer.control=true"), resume=True, restart_from=None) as folder:
        assert folder.is_done("transfer")
        assert not folder.is_done("control")
        assert not folder.is_done("evaluate")


def test_phases_that_a_recipe_does_not_want_are_left_out() -> None:
    assert wanted_phases(recipe_with("transfer.control=false", "evaluate.benchmarks=[]", "export.formats=[]")) == (
        "data",
        "align",
        "transfer",
    )


def test_new_settings_leave_the_fingerprints_of_old_runs_as_they_are() -> None:
    """Runs of the last version resume with this one. Change these only with a line in the CHANGELOG."""
    recipe = load_recipe("tiny-cpu")
    assert {phase: phase_fingerprint(recipe, phase) for phase in ("data", "align", "transfer", "evaluate")} == {
        "data": "d1e2243c0542e1b5",
        "align": "148530533b0a4b54",
        "transfer": "fdcf9cdc6db7618d",
        "evaluate": "0639a012ac9058b7",
    }
