"""`lilift chat`: the texts that it reads."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from lilift.cli import app
from lilift.phases.answering import answerer, load_answerer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that a model gets; it repeats them."""
    found: list[str] = []

    def generate(questions: list[str]) -> list[str]:
        found.extend(questions)
        return questions

    responder = SimpleNamespace(generate=generate)
    monkeypatch.setattr(load_answerer, "load_answerer", lambda *_, **__: SimpleNamespace(notes=[]))
    monkeypatch.setattr(answerer, "asked_in", lambda *_: (responder, None))
    return found


def standard_input(content: bytes, errors: str) -> Any:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors=errors)


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_broken_byte_in_the_input_is_one_line_with_code_2(
    errors: str, asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b"Vica?\nviti\n", errors))
    assert app.main(["chat", "model"]) == 0
    assert asked == ["Vica?", "viti"]
    monkeypatch.setattr("sys.stdin", standard_input(b"Vi\xffca?\n", errors))
    assert app.main(["chat", "model"]) == 2
    error = capsys.readouterr().err
    assert "line 1 of the input" in error
    assert "not valid UTF-8" in error
    assert error.count("\n") == 1
    assert asked == ["Vica?", "viti"]


def test_a_broken_byte_in_a_question_on_the_command_line_is_refused(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["chat", "model", "Vi\udcffca?"]) == 2
    assert "the question: the text is not valid UTF-8" in capsys.readouterr().err
    assert asked == []


def test_a_question_that_is_cut_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    responder = SimpleNamespace(generate=lambda questions: questions, cuts=lambda questions: [len(questions[0]) > 50])
    monkeypatch.setattr(load_answerer, "load_answerer", lambda *_, **__: SimpleNamespace(notes=[]))
    monkeypatch.setattr(answerer, "asked_in", lambda *_: (responder, None))
    assert app.main(["chat", "model", "vica?"]) == 0
    assert not capsys.readouterr().err
    assert app.main(["chat", "model", "vica " * 20]) == 0
    printed = capsys.readouterr()
    shown = "vica " * 8 + "…"
    assert printed.err == (
        f"note: the question {shown!r} is longer than the encoder's limit, so the model reads only its beginning\n"
    )
    assert printed.out.startswith("vica vica"), "the note stands apart from the answer"
