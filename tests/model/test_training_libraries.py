"""bitsandbytes and peft come without torch's compiler, which takes its functions at their first call."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lilift
from lilift.model import training_libraries


def test_the_compiler_is_not_imported() -> None:
    code = (
        "import sys, lilift.model.llms.lora; print('bitsandbytes' in sys.modules, 'torch._inductor.compile_fx' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False"]


def test_a_function_is_compiled_once_and_at_its_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[dict[str, Any]] = []

    def compiler(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        compiled.append(options)
        return lambda *arguments, **named: ("compiled", function(*arguments, **named))

    monkeypatch.setattr(training_libraries, "_compile_now", compiler)
    plain = training_libraries._compile_later(lambda number: number + 1)
    optioned = training_libraries._compile_later(dynamic=False)(lambda number, *, factor: number * factor)
    assert not compiled
    assert (plain(1), plain(2), optioned(2, factor=3)) == (("compiled", 2), ("compiled", 3), ("compiled", 6))
    assert compiled == [{}, {"dynamic": False}]


def test_all_modules_take_both_from_there() -> None:
    package = Path(lilift.__file__).parent
    own = Path(training_libraries.__file__)
    imports = re.compile(r"^\s*(?:import|from) (?:bitsandbytes|peft)\b", re.MULTILINE)
    assert [path for path in package.rglob("*.py") if path != own and imports.search(path.read_text(encoding="utf-8"))] == []


def test_torch_keeps_its_own_compile() -> None:
    assert torch.compile is training_libraries._compile_now
    assert torch.compile.__module__ == "torch"
