"""bitsandbytes comes without torch's compiler, which takes its functions at their first call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lilift.model import bitsandbytes_import


def test_the_compiler_is_not_imported() -> None:
    code = "import sys, lilift.model.llms.lora, bitsandbytes; print('torch._inductor.compile_fx' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]


def test_a_function_is_compiled_once_and_at_its_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[dict[str, Any]] = []

    def compiler(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        compiled.append(options)
        return lambda *arguments, **named: ("compiled", function(*arguments, **named))

    monkeypatch.setattr(bitsandbytes_import, "_compile_now", compiler)
    plain = bitsandbytes_import._compile_later(lambda number: number + 1)
    optioned = bitsandbytes_import._compile_later(dynamic=False)(lambda number, *, factor: number * factor)
    assert not compiled
    assert (plain(1), plain(2), optioned(2, factor=3)) == (("compiled", 2), ("compiled", 3), ("compiled", 6))
    assert compiled == [{}, {"dynamic": False}]


def test_torch_keeps_its_own_compile() -> None:
    assert torch.compile is bitsandbytes_import._compile_now
    assert torch.compile.__module__ == "torch"
