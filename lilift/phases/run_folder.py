"""The run folder: one run on disk, with a folder and a fingerprint for each phase.

    runs/tiny-cpu/
      recipe.yaml        the resolved recipe            environment.json   machine and versions
      plan.json          predicted memory by phase      measured.json      time and memory of each phase
      data/              instructions.jsonl, report.json
      adapt/             metrics.jsonl, adaptation.json, encoder/ (sealed), if the recipe adapts the encoder
      align/             checkpoints/, metrics.jsonl, during.jsonl, alignment/ (sealed)
      transfer/          checkpoints/, metrics.jsonl, during.jsonl, adapter/ (sealed), task-adapter/ if two are combined
      control/           stage 2 without stage 1, if the recipe sets it
      evaluate/          answers by system, benchmark and language; scores.json
      export/            hf/ (merged weights), alignment/, GGUF files, lilift.json
      report.html

Each phase's folder holds `inputs.json`, written when the phase starts: the fingerprint of everything that it depends on. A
complete phase also has `done.json`, with the sums of the phase's files. lilift skips a phase if its `done.json` has the
fingerprint of the current recipe. Damaged records never cost checkpoints: these say themselves which settings they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from lilift.recipe import finished_phases, sealed_folders, sealed_records, storage
from lilift.recipe.errors import RunFolderError, StorageError
from lilift.recipe.finished_phases import DONE, INPUTS, REMEDY_FOR_MEASURED, recorded_fingerprint
from lilift.recipe.load import dump_recipe, fingerprint, load_recipe
from lilift.recipe.schema import WITHOUT_EFFECT_ON_RESULT, Recipe
from lilift.recipe.yaml_text import read_yaml

Phase = Literal["data", "adapt", "align", "transfer", "control", "evaluate", "export"]
PHASES: tuple[Phase, ...] = get_args(Phase)
_DEPENDS_ON: dict[Phase, tuple[Phase, ...]] = {
    "data": (),
    "adapt": ("data",),
    "align": ("adapt",),
    "transfer": ("align",),
    "control": ("adapt",),
    "evaluate": ("transfer", "control"),
    "export": ("transfer",),
}
# The sections of the recipe that a phase itself reads. The sections of the phases that it depends on are added.
_SECTIONS: dict[Phase, tuple[str, ...]] = {
    "data": ("data", "languages", "seed", "encoder", "llm", "alignment"),
    "adapt": (),  # its settings are in `encoder`, which the data phase reads too
    "align": ("align",),
    "transfer": ("transfer",),
    "control": ("transfer",),
    "evaluate": ("evaluate",),
    "export": ("export",),
}
# lilift never repeats these phases unless the user asks for it, because they may take hours. It repeats the others.
_PRECIOUS: tuple[Phase, ...] = ("data", "adapt", "align", "transfer", "control")


def recipe_of(run: Path) -> Recipe:
    """The resolved recipe of a run folder.

    Raises:
        RunFolderError: the folder holds no run.
    """
    kept = run / "recipe.yaml"
    if not kept.is_file():
        raise RunFolderError(
            "this folder holds no run, because it has no recipe.yaml", where=run, remedy="give the folder of a run"
        )
    if not sealed_records.text_is_intact(kept.read_bytes()):
        raise RunFolderError(
            "has been changed since lilift wrote it",
            where=kept,
            remedy="restore it from a copy, or delete its last line if you changed it on purpose",
        )
    return load_recipe(str(kept))


def phase_fingerprint(recipe: Recipe, phase: Phase) -> str:
    """A digest of all settings that the result of a phase depends on."""
    settings = recipe.as_dict()
    parts = {name: _effective(settings[name]) for name in _sections_behind(phase)}
    if phase == "evaluate":
        parts["control"] = recipe.transfer.control  # one more system to evaluate
    if _depends_on_watch(phase, settings):
        parts["during"] = settings["evaluate"]["during"]
    return fingerprint(parts)


def _effective(section: Any) -> Any:
    """A section without the settings that its result does not depend on."""
    if not isinstance(section, dict):
        return section
    return {name: value for name, value in section.items() if name not in WITHOUT_EFFECT_ON_RESULT}


def _sections_behind(phase: Phase) -> set[str]:
    sections = set(_SECTIONS[phase])
    for earlier in _DEPENDS_ON[phase]:
        sections |= _sections_behind(earlier)
    return sections


class RunFolder:
    """A run folder that this process has locked.

    Open one with `RunFolder.opened`.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe

    @classmethod
    @contextmanager
    def opened(cls, path: Path, recipe: Recipe, *, resume: bool, restart_from: Phase | None) -> Iterator[RunFolder]:
        """Create or reopen a run folder, and lock it.

        Raises:
            RunFolderError: it is in use, holds an unfinished run and `resume` is false, or belongs to another recipe.
            StorageError: it cannot be written.
        """
        from filelock import FileLock, Timeout  # only a run locks its folder; others ask about recipes and phases

        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path / "run.lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise RunFolderError(
                "another lilift process uses this run folder",
                where=path,
                remedy="wait for it, stop it, or choose another folder with --run-folder",
            ) from None
        except OSError as error:
            raise StorageError(
                f"cannot write the run folder ({error.strerror})", where=path, remedy="choose another folder with --run-folder"
            ) from None
        try:
            folder = cls(path, recipe)
            folder._admit(resume=resume, restart_from=restart_from)
            yield folder
        finally:
            lock.release()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def phase_folder(self, phase: Phase) -> Path:
        return self.path / phase

    def is_done(self, phase: Phase) -> bool:
        """Whether the phase is complete, with the settings of the current recipe."""
        return recorded_fingerprint(self.phase_folder(phase), DONE) == phase_fingerprint(self.recipe, phase)

    def begin(self, phase: Phase) -> Path:
        """The phase's folder. lilift empties it first if the phase began with other settings and has trained nothing yet.

        Checkpoints and trained parts stay in any case: they record their own settings, and the stage refuses other ones.
        """
        folder = self.phase_folder(phase)
        wanted = phase_fingerprint(self.recipe, phase)
        try:
            recorded = recorded_fingerprint(folder, INPUTS)
        except RunFolderError:
            recorded = None
        if recorded not in (None, wanted) and (phase == "export" or not finished_phases.holds_training(folder)):
            sealed_folders.clear_folder(folder)
        with storage.storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        finished_phases.begin_record(folder, wanted)
        return folder

    def finish(self, phase: Phase, measured: Mapping[str, Any]) -> None:
        """Record that the phase is complete, with its time and memory."""
        known = self.measured() | {phase: dict(measured)}
        storage.write_json(self.path / "measured.json", known)
        finished_phases.finish_record(self.phase_folder(phase), phase_fingerprint(self.recipe, phase), measured)

    def check_finished(self, phase: Phase) -> None:
        """Check that nobody has changed the files of a finished phase since.

        Raises:
            RunFolderError: a file has changed; the message names it.
        """
        finished_phases.check_finished(self.phase_folder(phase), self.measured().get(phase))

    def measured(self) -> dict[str, Any]:
        """Seconds and peak MiB of the finished phases."""
        path = self.path / "measured.json"
        return sealed_records.read_record(path, remedy=REMEDY_FOR_MEASURED) if path.exists() else {}

    def _admit(self, *, resume: bool, restart_from: Phase | None) -> None:
        kept = self.path / "recipe.yaml"
        if kept.exists():
            try:
                earlier = _read_kept(kept)
            except RunFolderError:
                if not self._began_with_this_recipe():
                    raise
            else:
                self._check_same_recipe(earlier, restart_from)
            if not resume and restart_from is None and self._holds_results() and not self._all_done():
                raise RunFolderError(
                    "this folder holds an unfinished run",
                    where=self.path,
                    remedy="add --resume to continue it, or choose another folder with --run-folder",
                )
        elif any(entry.name != "run.lock" for entry in self.path.iterdir()):
            raise RunFolderError(
                "this folder holds other files and no run", where=self.path, remedy="choose another folder with --run-folder"
            )
        if restart_from is not None:
            for phase in phases_from(restart_from):
                sealed_folders.clear_folder(self.phase_folder(phase))
        storage.write_text(kept, sealed_records.sealed_text(dump_recipe(self.recipe)))

    def _began_with_this_recipe(self) -> bool:
        """Whether every phase that has begun has begun with this recipe, by the phases' own records."""
        folders = {phase: self.phase_folder(phase) for phase in PHASES if (self.phase_folder(phase) / INPUTS).exists()}
        return bool(folders) and all(
            recorded_fingerprint(folder, INPUTS) == phase_fingerprint(self.recipe, phase) for phase, folder in folders.items()
        )

    def _holds_results(self) -> bool:
        """Whether any phase is done. No other phase begins before the data phase is done."""
        return any((self.phase_folder(phase) / DONE).exists() for phase in PHASES)

    def _all_done(self) -> bool:
        return all(self.is_done(phase) for phase in wanted_phases(self.recipe))

    def _check_same_recipe(self, kept: Mapping[str, Any], restart_from: Phase | None) -> None:
        if kept.get("name") != self.recipe.name:
            raise RunFolderError(
                f"this folder holds a run of the recipe {kept.get('name')!r}, not of {self.recipe.name!r}",
                where=self.path,
                remedy="choose another folder with --run-folder",
            )
        changed = _changed_settings(kept, self.recipe.as_dict())
        redone = set(phases_from(restart_from)) if restart_from else set()
        for phase in _PRECIOUS:
            # An unfinished data phase cost no time. An unfinished stage may have.
            if phase in redone or not (self.phase_folder(phase) / (DONE if phase == "data" else INPUTS)).exists():
                continue
            watched = any(_depends_on_watch(phase, one) for one in (kept, self.recipe.as_dict()))
            touched = sorted(name for name in changed if _is_behind(name, phase, watched=watched))
            if touched:
                raise RunFolderError(
                    f"{touched[0]} {changed[touched[0]]}, and phase {phase!r} of this run depends on it",
                    where=self.path,
                    remedy=f"choose another folder with --run-folder, or repeat the phase with --restart-from {phase}",
                )


def _is_behind(name: str, phase: Phase, *, watched: bool) -> bool:
    """Whether the result of a phase depends on a setting."""
    return name.split(".")[0] in _sections_behind(phase) or (watched and name.startswith("evaluate.during"))


def _depends_on_watch(phase: Phase, settings: Mapping[str, Any]) -> bool:
    """Whether a watch during training chooses the weights of a phase, or of one before it."""
    during = settings.get("evaluate", {}).get("during") or {}
    return during.get("keep") == "best" and bool(_sections_behind(phase) & set(during.get("stages", ())))


def phases_from(first: Phase) -> tuple[Phase, ...]:
    """`first` and every phase that needs its result."""
    found: list[Phase] = [first]
    for phase in PHASES:
        if phase not in found and any(earlier in found for earlier in _DEPENDS_ON[phase]):
            found.append(phase)
    return tuple(found)


def wanted_phases(recipe: Recipe) -> tuple[Phase, ...]:
    """The phases that this recipe asks for, in order."""
    wanted: dict[Phase, bool] = {
        "adapt": recipe.encoder.adapt is not None,
        "align": "align" in recipe.stages,
        "transfer": "transfer" in recipe.stages,
        "control": recipe.transfer.control,
        "evaluate": bool(recipe.evaluate.benchmarks),
        "export": bool(recipe.export.formats),
    }
    return tuple(phase for phase in PHASES if wanted.get(phase, True))


def _read_kept(path: Path) -> Mapping[str, Any]:
    content = path.read_bytes()
    try:
        kept = read_yaml(content.decode("utf-8"))[0] if sealed_records.text_is_intact(content) else None
    except (yaml.YAMLError, UnicodeDecodeError):
        kept = None
    if not isinstance(kept, dict):
        raise RunFolderError(
            "the recipe of this run has been changed since lilift wrote it",
            where=path,
            remedy="restore it from a copy, or run the recipe with the settings that the run began with",
        )
    return kept


def _changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Every setting that differs, as ``{"align.epochs": "was 1.0 and is now 2.0"}``."""
    before, after = dict(_flat(old)), dict(_flat(new))
    names = sorted(name for name in before.keys() | after.keys() if name.split(".")[-1] not in WITHOUT_EFFECT_ON_RESULT)
    return {
        name: f"was {before.get(name)} and is now {after.get(name)}" for name in names if before.get(name) != after.get(name)
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
