"""An export whose seals are right and whose content is nonsense is refused in one line that names the part."""

from __future__ import annotations

import copy
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from lilift.export.gguf.alignment_gguf import write_alignment
from lilift.export.runner.description import read_description
from lilift.export.runner.soft_tokens import SoftTokens
from lilift.model.alignment_layer import build_alignment
from lilift.model.bridge_files import ALIGNMENT_FILE
from lilift.phases.answering.answerer import AnswerOptions, refuse_template
from lilift.phases.answering.load_answerer import has_gguf
from lilift.recipe import storage
from lilift.recipe.errors import RecipeError, RunFolderError
from lilift.recipe.schema import AlignmentSettings

NONSENSE = (None, 1, -1, 1e300, "x", "", [], {}, [1], [9**9], True, 2**70)


@pytest.fixture(scope="module")
def alignment(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("alignment")
    settings = AlignmentSettings()
    layer = build_alignment(settings, encoder_size=8, llm_size=4, seed=1)
    save_file(layer.state_dict(), folder / ALIGNMENT_FILE)
    write_alignment(folder, settings, folder / "align.gguf")
    return (folder / "align.gguf").read_bytes()


def use(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    layer = SoftTokens(path)
    assert np.isfinite(layer.frame(np.zeros((3, 8), np.float32))).all()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"hidden.weight", b"hidden.\xff\xfe\xfd\xfc\xfb\xfa"),
        (b"hidden.weight", b"hidden.weighs"),
        (b"lilift-alignment.kind", b"lilift-alignment.kinds"),
        (b"lilift-alignment.encoder_size\x04\x00\x00\x00\x08", b"lilift-alignment.encoder_size\x04\x00\x00\x00\x09"),
        (b"ffn", b"f\xffn"),
    ],
)
def test_an_alignment_layer_that_cannot_compute_is_named(alignment: bytes, tmp_path: Path, old: bytes, new: bytes) -> None:
    use(tmp_path / "align.gguf", alignment)
    assert old in alignment
    with pytest.raises(RunFolderError, match=r"align\.gguf"):
        use(tmp_path / "align.gguf", alignment.replace(old, new))


def test_random_bytes_in_the_header_never_end_in_anything_else(alignment: bytes, tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(150):
        content = bytearray(alignment)
        for _ in range(rng.choice((1, 2, 8))):
            content[rng.randrange(1200)] = rng.randrange(256)
        try:
            use(tmp_path / "align.gguf", bytes(content))
        except RunFolderError as error:
            assert "align.gguf" in error.line()  # noqa: PT017 - other tries may be harmless


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, inner in entries for found in [(*place, name), *places(inner, (*place, name))]]


def test_nonsense_in_the_description_is_one_line_that_names_it(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "lilift.json", tmp_path)
    path = tmp_path / "lilift.json"
    content = {name: value for name, value in json.loads(path.read_text("utf-8")).items() if name != "seal"}
    read_description(tmp_path)
    refused = 0
    rng = random.Random(0)
    for place in places({name: value for name, value in content.items() if name != "sha256"}):
        changed = copy.deepcopy(content)
        inner: Any = changed
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = rng.choice(NONSENSE)
        storage.write_json(path, storage.sealed_json(changed))
        has_gguf(tmp_path)
        try:
            read_description(tmp_path).prompt("Vica?")
        except RunFolderError as error:
            assert str(tmp_path) in error.line()  # noqa: PT017 - other tries may be harmless
            refused += 1
        with pytest.raises(RecipeError):
            refuse_template(AnswerOptions(template="plain"), tmp_path)
    assert refused > 20


def test_half_a_character_is_damage(exported: Path, tmp_path: Path) -> None:
    text = (exported / "lilift.json").read_text("utf-8")
    (tmp_path / "lilift.json").write_text(text.replace('"respond": "', '"respond": "\\ud800'), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"lilift\.json: is damaged"):
        read_description(tmp_path)
