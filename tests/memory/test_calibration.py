"""What a machine took is remembered, for this machine and these versions alone, and never makes a simulated peak smaller."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.memory import calibration


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_until_a_gpu_has_confirmed_a_plan_the_plan_has_what_another_gpu_took_beyond_it() -> None:
    assert calibration.ratio("a GPU", "align") == calibration.ratio(None, "align") == calibration.UNCONFIRMED > 1.06
    assert not calibration.measured_ratios("a GPU", "align")
    calibration.record("a GPU", "align", predicted_mib=100, measured_mib=101)
    assert calibration.ratio("a GPU", "align") == 1.01  # its own figure replaces the other one, although it is smaller
    assert calibration.ratio(None, "align") == calibration.UNCONFIRMED


def test_the_largest_of_the_last_few_counts() -> None:
    for measured in (150, *[101] * (calibration.KEPT - 1)):
        calibration.record("a GPU", "align", predicted_mib=100, measured_mib=measured)
    assert calibration.ratio("a GPU", "align") == 1.5
    calibration.record("a GPU", "align", predicted_mib=100, measured_mib=102)
    assert calibration.ratio("a GPU", "align") == 1.02  # the first one is forgotten


def test_a_phase_that_took_less_does_not_lower_a_plan() -> None:
    calibration.record("a GPU", "align", predicted_mib=100, measured_mib=60)
    assert calibration.ratio("a GPU", "align") == 1.0


def test_other_phases_cards_and_versions_are_not_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration.record("a GPU", "align", predicted_mib=100, measured_mib=120)
    assert calibration.ratio("a GPU", "transfer") == calibration.UNCONFIRMED
    assert calibration.ratio("another GPU", "align") == calibration.UNCONFIRMED
    monkeypatch.setattr(calibration.metadata, "version", lambda _name: "99")
    assert calibration.ratio("a GPU", "align") == calibration.UNCONFIRMED


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_damaged_file_is_as_none_and_is_replaced(content: str) -> None:
    path = calibration.calibration_file()
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    assert calibration.ratio("a GPU", "align") == calibration.UNCONFIRMED
    calibration.record("a GPU", "align", predicted_mib=100, measured_mib=110)
    assert calibration.ratio("a GPU", "align") == 1.1


def test_a_folder_that_cannot_be_written_stops_nothing(cache: Path) -> None:
    (cache / "lilift").write_text("a file where the folder should be", encoding="utf-8")
    calibration.record("a GPU", "align", predicted_mib=100, measured_mib=110)
    assert calibration.ratio("a GPU", "align") == calibration.UNCONFIRMED
