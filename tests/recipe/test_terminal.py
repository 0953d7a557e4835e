"""What counts as a terminal: somebody who can answer sits there, and a page of a notebook is none."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from lilift.cli import app
from lilift.recipe.terminal import is_terminal

pytestmark = pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")


@pytest.fixture
def pseudo_terminal() -> Iterator[IO[str]]:
    """What a `!` line of a notebook gets as standard input."""
    ours, theirs = os.openpty()
    with open(theirs, encoding="utf-8") as stream:  # noqa: PTH123 (a descriptor, no path)
        yield stream
    os.close(ours)


def test_a_pseudo_terminal_of_a_notebook_is_no_terminal(pseudo_terminal: IO[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert is_terminal(pseudo_terminal)
    assert not is_terminal(io.StringIO())
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not is_terminal(pseudo_terminal)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["chat", "runs/none"], "write the question behind the model"),
        (["recipe", "new", "--language", "ln", "--dictionary", "world", "--benchmark", "none"], "needs --card"),
        (["lexicon", "fetch", "gatitos", "--languages", "ln"], "give --yes"),
    ],
)
def test_in_a_notebook_no_command_waits_for_an_answer(
    command: list[str],
    says: str,
    pseudo_terminal: IO[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setattr(sys, "stdin", pseudo_terminal)
    assert app.main(command) == 2
    assert says in capsys.readouterr().err
