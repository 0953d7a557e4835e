"""`lilift chat` and `lilift eval` on an export, in a process where the packages of the extra `train` cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.phases.answering.gguf_answerer import ExportResponder
from tests.export.exported_run import QUESTIONS

# What an environment with the extra `gguf` alone lacks; see pyproject.toml.
_WITHOUT = """
import sys

if "--llama-cpp-python" in sys.argv:
    sys.argv.remove("--llama-cpp-python")
    from lilift.export.runner import llama_library
    llama_library.TESTED_VERSION = "one that nobody has"

ABSENT = {
    "torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "datasets", "pyarrow", "pandas", "tokenizers",
    "huggingface_hub", "google.protobuf",
}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT or name in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from lilift.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


def lilift(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WITHOUT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == code, done.stderr
    return done


def test_chat_and_eval_run_an_export(exported: Path, tmp_path: Path) -> None:
    expected = ExportResponder(ExportedBridge(exported, threads=1), max_new_tokens=16, sampling=None).generate(QUESTIONS)
    assert lilift("chat", str(exported), QUESTIONS[0], "--threads", "1").stdout.strip() == expected[0]
    common = ("eval", str(exported), "--benchmark", "world", "--languages", "om", "--limit", "2", "--threads", "1", "--json")
    for quantisation in ("f32", "q8_0"):
        done = lilift(*common, "--quant", quantisation, "--output", str(tmp_path))
        scores = json.loads(done.stdout)
        assert scores["system"] == f"exported-{quantisation}"
        assert scores["benchmarks"][0]["languages"][0]["questions"] == 2
    kept = (tmp_path / "exported-q8_0" / "world" / "om.jsonl").read_text("utf-8").splitlines()
    assert len(kept) == 2
    assert all(json.loads(line)["tokens"] > 0 for line in kept)


def test_llama_cpp_python_answers_the_same(exported: Path) -> None:
    """The way out where the pinned wheel does not exist; another build of llama.cpp, so that last digits may differ."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: it would have to be compiled here")
    for question in QUESTIONS:
        asked = ("chat", str(exported), question, "--threads", "1")
        assert lilift("--llama-cpp-python", *asked).stdout == lilift(*asked).stdout


@pytest.mark.parametrize("option", [("--quant", "q4_0"), ("--system", "control"), ("--threads", "0")])
def test_an_option_that_does_not_fit_is_one_line(exported: Path, option: tuple[str, str]) -> None:
    done = lilift("chat", str(exported), "Omar", *option, code=2)
    assert done.stderr.count("\n") == 1
    assert option[1] in done.stderr


def test_what_needs_torch_says_which_extra_brings_it(made: tuple[object, object, Path]) -> None:
    done = lilift("chat", str(made[2]), "Omar", code=7)
    assert done.stderr.count("\n") == 1
    assert "pip install 'lilift[train]'" in done.stderr
