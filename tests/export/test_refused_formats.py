"""An export of which one format cannot be written: the other one is whole, and the reason is told at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lilift.export.bundle import export_bundle
from lilift.export.gguf import gguf_part, quantise
from lilift.export.job import RunParts
from lilift.recipe import sealed_folders
from lilift.recipe.errors import EnvironmentUnfit, ModelError
from lilift.recipe.schema import ExportSettings, Recipe
from tests.export.exported_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, RunParts]:
    folder = tmp_path_factory.mktemp("run")
    recipe, _ = make_run(folder)
    return recipe, RunParts.of(folder, recipe)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


FAILURES = {  # where it fails, and with what
    "at once": ("llm_vocabulary", ModelError("llama.cpp does not support the tokenizer")),
    "by a bug": ("llm_vocabulary", KeyError("vocab_size")),
    "at the end": ("write_alignment", ModelError("the layer cannot be written")),
}


@pytest.mark.parametrize("formats", [("hf", "gguf"), ("gguf", "hf")])
@pytest.mark.parametrize("failure", FAILURES)
def test_hf_is_written_where_gguf_is_refused(
    failure: str, formats: tuple[Any, ...], run: tuple[Recipe, RunParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, parts = run
    function, error = FAILURES[failure]
    monkeypatch.setattr(gguf_part, function, failing(error))
    report = export_bundle(recipe, ExportSettings(formats=formats), parts, tmp_path / "export")
    assert dict(report.refused) == {"gguf": error}
    assert {path.name for path in (tmp_path / "export").iterdir()} == {"hf", "alignment", "README.md", "lilift.json"}
    sealed_folders.verify_sealed_folder(tmp_path / "export" / "hf")
    described = json.loads((tmp_path / "export" / "lilift.json").read_text())
    assert "files" not in described["llm"]
    assert "file" not in described["alignment"]
    assert f"lilift could not write gguf: {error}" in report.lines()
    assert report.as_dict()["refused"] == {"gguf": str(error)}
    with pytest.raises(type(error)):
        report.raise_refusal()


def test_a_missing_quantiser_does_not_cost_the_other_format(
    run: tuple[Recipe, RunParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise.shutil, "which", lambda _: None)
    monkeypatch.setattr(quantise.importlib.util, "find_spec", lambda _: None)
    settings = ExportSettings(formats=("hf", "gguf"), quantisations=("q8_0", "q4_k_m"))
    report = export_bundle(*(run[0], settings, run[1]), tmp_path / "export")
    assert isinstance(report.refused["gguf"], EnvironmentUnfit)
    assert not list((tmp_path / "export").rglob("*.gguf"))


def test_a_half_written_hf_folder_does_not_pass_for_a_whole_one(
    run: tuple[Recipe, RunParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lilift.export import hugging_face

    recipe, parts = run
    monkeypatch.setattr(hugging_face, "_copy_other_files", failing(ModelError("config.json is damaged")))
    report = export_bundle(recipe, ExportSettings(formats=("hf", "gguf"), quantisations=("q8_0",)), parts, tmp_path / "export")
    assert list(report.refused) == ["hf"]
    assert (tmp_path / "export" / "llm-q8_0.gguf").is_file()
    assert not (tmp_path / "export" / "hf").exists()
    assert not list((tmp_path / "export").glob(".*"))
