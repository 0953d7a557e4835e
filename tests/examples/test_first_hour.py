"""The notebook of the first hour: its own cells run from top to bottom, on the stand-ins and with few steps."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lilift.cli import app
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe
from tests.examples.few_steps import FEW_STEPS

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "first_hour.ipynb"
SHORT = ("data.instructions.limit=100", *FEW_STEPS)
# A `!` line does not stop a notebook when its command fails. Here it does.
IN_A_SHELL = """
def run_command(command, shell=get_ipython(), run=get_ipython().system):
    run(command)
    assert shell.user_ns["_exit_code"] == 0, command
"""
# Each command that starts Python anew imports torch once more.
IN_THE_KERNEL = """
import shlex
from lilift.cli.app import main

def run_command(command):
    command = get_ipython().var_expand(command, depth=1)
    assert main(shlex.split(command)[1:]) == 0, command
"""


def cells(kind: str) -> list[dict[str, Any]]:
    """The notebook's cells of one kind, as they are in the file."""
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def settings() -> str:
    """The cell that the reader changes."""
    (found,) = ["".join(cell["source"]) for cell in cells("code") if "parameters" in cell["metadata"].get("tags", [])]
    return found


def executed(folder: Path, runs_commands: str) -> list[str]:
    """Execute the notebook in a folder, with the few steps set behind its settings; returns what each code cell printed."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient executes notebooks")
    pytest.importorskip("ipykernel", reason="a notebook runs in ipykernel")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    changes = " ".join(f"--set {shlex.quote(setting)}" for setting in SHORT)
    hook = f"CHANGES = {changes!r}\n{runs_commands}\nget_ipython().system = run_command"
    place = next(place for place, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(hook))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    packages = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PATH": path, "PYTHONPATH": packages, "IPYTHONDIR": str(folder / "ipython")}
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=600, startup_timeout=200, resources=resources).execute(env=environment)
    return [
        "".join(str(output.get("text", output.get("data"))) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def check(folder: Path, printed: list[str]) -> None:
    """The notebook wrote a recipe, trained with it, asked the model, and packed its export."""
    recipe = (folder / "my-language.yaml").read_text(encoding="utf-8")
    assert "extends: tiny-cpu" in recipe
    assert "languages: [ln]" in recipe
    _, _, installed, new, preview, plan, run, report, chat, export = printed
    assert "lilift" in installed
    assert "written: my-language.yaml" in new
    assert "→ reconstruct: " in preview
    assert "predicted peak" in plan
    assert "Lingala" in run.split("right answers")[1]
    assert "srcdoc" in report
    assert chat.strip()
    assert "written to my-model" in export
    with zipfile.ZipFile(folder / "my-model.zip") as archive:
        assert "lilift.json" in archive.namelist()


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="the notebook would train the model for a GPU")
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    check(tmp_path, executed(tmp_path, IN_THE_KERNEL))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="the notebook would train the model for a GPU")
def test_the_notebook_runs_with_each_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    check(tmp_path, executed(tmp_path, IN_A_SHELL))


def test_the_settings_for_a_gpu_make_a_valid_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    chosen: dict[str, str] = {}
    exec(settings(), chosen)
    answers = {"language": "LANGUAGE", "dictionary": "DICTIONARY", "benchmark": "QUESTIONS", "card": "CARD", "llm": "MODEL"}
    options = [word for option, name in answers.items() for word in (f"--{option}", chosen[name])]
    assert app.main(["recipe", "new", "my-language.yaml", *options]) == 0
    overrides = [word for word in shlex.split(chosen["CHANGES"]) if word != "--set"]
    recipe: Recipe = load_recipe("my-language.yaml", overrides)
    assert (recipe.card, recipe.languages) == ("t4", ("sw",))
    assert recipe.data.instructions.limit == 4000
    assert [(one.name, one.source) for one in recipe.evaluate.benchmarks] == [("afrimgsm", "hub")]
    assert chosen["FORMAT"] in ("hf", "gguf")


def test_the_notebook_carries_no_output_and_nothing_of_the_machine_that_wrote_it() -> None:
    for cell in cells("code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert set(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["metadata"]) == {"accelerator", "kernelspec", "language_info"}
