"""`lilift doctor`: what it finds, and what it says when something is wrong."""

from __future__ import annotations

import json

import pytest
import torch

from lilift.cli import app
from lilift.phases import environment
from lilift.phases.environment import describe_environment, examine, four_bit_error


def findings(subject: str) -> list[environment.Finding]:
    return [finding for finding in examine() if finding.subject == subject]


def test_on_a_sound_machine_nothing_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {entry["subject"] for entry in found} >= {
        "Python",
        "GPU",
        "memory",
        "disk",
        "kernels",
        "4-bit training",
        "stand-in models",
    }
    assert app.main(["doctor"]) == 0
    assert "4-bit training" in capsys.readouterr().out


def test_a_missing_package_is_broken_and_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment._version
    monkeypatch.setattr(environment, "_version", lambda name: None if name == "peft" else real(name))
    (found,) = findings("peft")
    assert found.state == "broken"
    assert "pip install 'peft" in found.advice


def test_an_untested_version_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment._version
    monkeypatch.setattr(environment, "_version", lambda name: "99.0" if name == "rich" else real(name))
    (found,) = findings("rich")
    assert found.state == "note"
    assert "not tested with 99.0" in found.found


def test_a_4_bit_layer_without_gradient_is_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: str) -> float:
        raise RuntimeError("no gradient flows through a 4-bit layer")

    monkeypatch.setattr(environment, "four_bit_error", fails)
    assert app.main(["doctor"]) == 7
    assert "BROKEN" in capsys.readouterr().out


def test_nf4_is_near_full_precision_but_not_the_same() -> None:
    torch.manual_seed(0)
    assert 0.02 < four_bit_error("cpu") < 0.2


def test_what_a_run_records_of_its_machine() -> None:
    found = describe_environment()
    assert found["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert found["cores"] >= 1
    assert json.dumps(found)
