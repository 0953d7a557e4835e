"""What `pip install lilift` alone can do: no torch, no transformers, no llama.cpp; and a source tree that nobody installed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Runs commands in one new Python that finds none of the packages of lilift's extras.
SCRIPT = """
import contextlib, io, json, sys
from importlib import metadata

extras = {"torch", "transformers", "bitsandbytes", "peft", "accelerate", "safetensors", "datasets", "pyarrow", "tokenizers",
          "huggingface_hub", "gguf", "xllamacpp", "cyllama", "starlette", "uvicorn", "triton", "lm_eval"}
hidden = set(extras)

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in hidden else self.finder.find_spec(name, path, target)

    def find_distributions(self, context=metadata.DistributionFinder.Context()):
        found = getattr(self.finder, "find_distributions", lambda _: ())(context)
        return [one for one in found if one.metadata["Name"].lower() not in hidden]

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from lilift.cli.app import main

found = {}
for command in json.loads(sys.argv[1]):
    if command == ["hide lilift"]:
        hidden.add("lilift")
        continue
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(command)
    found[" ".join(command) + (" uninstalled" if "lilift" in hidden else "")] = [code, out.getvalue(), err.getvalue()]
print(json.dumps({"found": found, "imported": sorted(extras & set(sys.modules))}))
"""
COMMANDS = [
    ["doctor"],
    ["doctor", "--json"],
    ["recipe", "plan", "tiny-cpu"],
    ["recipe", "plan", "nope"],
    ["recipe", "plan", "tiny-cpu", "--set", "encoder.max_tokens=77"],
    ["recipe", "run", "nope"],
    ["recipe", "run", "tiny-cpu"],
    ["export", "nope", "--to", "hf"],
    ["eval", "alignment", "nope"],
    ["chat", "./nope"],
    ["serve", "nope"],
    ["hide lilift"],
    ["doctor"],
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    started = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(COMMANDS)],
        capture_output=True, text=True, check=True, cwd=tmp_path_factory.mktemp("empty"),
    )  # fmt: skip
    content = json.loads(started.stdout)
    assert content["imported"] == []
    return content["found"]


def test_doctor_says_what_is_missing_and_how_to_get_it(found: dict[str, list[str]]) -> None:
    code, out, _ = found["doctor"]
    assert code == 7
    assert "BROKEN   training" in out
    assert "pip install 'lilift[train]'" in out
    assert "lilift[gguf]" in out  # brackets are no markup
    states = {entry["subject"]: entry["state"] for entry in json.loads(found["doctor --json"][1])}
    assert states["training"] == "broken"
    assert states["exports"] == "note"
    assert states["stand-in models"] == "works"
    assert "4-bit training" not in states


def test_doctor_runs_from_a_source_tree(found: dict[str, list[str]]) -> None:
    code, out, _ = found["doctor uninstalled"]
    assert code == 7
    assert "training" in out


def test_plan_without_torch_is_the_instant_plan_and_says_so(found: dict[str, list[str]]) -> None:
    code, out, err = found["recipe plan tiny-cpu"]
    assert code == 0
    assert "predicted memory in MiB (fitted)" in out
    assert "torch is not installed" in err
    assert "pip install 'lilift[train]'" in err
    code, _, err = found["recipe plan tiny-cpu --set encoder.max_tokens=77"]
    assert code == 7
    assert len(err.splitlines()) == 1
    assert "pip install 'lilift[train]'" in err


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("recipe plan nope", 2, "has no recipe 'nope'"),
        ("recipe run nope", 2, "has no recipe 'nope'"),
        ("recipe run tiny-cpu", 7, "pip install 'lilift[train]'"),
        ("export nope --to hf", 5, "has no recipe.yaml"),
        ("eval alignment nope", 5, "has no recipe.yaml"),
        ("chat ./nope", 4, "no such model folder"),
        ("serve nope", 5, "there is no such folder"),
    ],
)
def test_names_are_looked_up_before_anything_heavy_is_imported(
    found: dict[str, list[str]], command: str, code: int, words: str
) -> None:
    assert found[command][0] == code
    assert found[command][1] == ""
    assert words in found[command][2]
    assert len(found[command][2].splitlines()) == 1
