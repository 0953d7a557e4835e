"""Autotuning: off unless asked for, the fastest that works is taken and kept, and a bad file costs nothing but time."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import pytest
import torch

from lilift_kernels import autotuning
from lilift_kernels.tiles import LossCut

pytest.importorskip("triton", reason="triton is not installed")

CPU = torch.device("cpu")
TABLE, SLOW, FAST, BROKEN = (LossCut(256 * size, 4096) for size in (1, 2, 3, 4))


class Work:
    """A kernel whose configurations take known times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[LossCut] = []
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def run(self, cut: LossCut) -> None:
        self.calls.append(cut)
        if cut == BROKEN:
            raise RuntimeError("out of shared memory")
        self.now += {TABLE: 2.0, SLOW: 3.0, FAST: 1.0}[cut]

    def fastest(self, *candidates: LossCut, shape: tuple[int, ...] = (2, 32_000)) -> LossCut:
        return autotuning.fastest("some kernel", shape, CPU, TABLE, candidates, self.run)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(autotuning, "_known", {})
    monkeypatch.setenv(autotuning.SETTING, "1")
    monkeypatch.setenv(autotuning.PLACE, str(tmp_path / "made" / "kernels.json"))
    return tmp_path / "made" / "kernels.json"


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def forget() -> None:
    """As another process would begin."""
    autotuning._known.clear()


def test_off_unless_asked_for(place: Path, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    assert work.fastest(FAST) == FAST
    for value in ("0", ""):
        monkeypatch.setenv(autotuning.SETTING, value)
        assert work.fastest(FAST) == TABLE
    assert place.exists()


def test_the_fastest_that_works_is_kept_for_the_next_process(place: Path, work: Work) -> None:
    assert work.fastest(SLOW, BROKEN, FAST) == FAST
    assert work.calls.count(BROKEN) == 1
    assert set(work.calls) == {TABLE, SLOW, BROKEN, FAST}
    timed = len(work.calls)
    forget()
    assert work.fastest(SLOW, BROKEN, FAST) == FAST
    assert len(work.calls) == timed, "timed a second time"
    assert work.fastest(SLOW, shape=(4, 32_000)) == TABLE, "another shape has its own answer"
    assert len(json.loads(place.read_text(encoding="utf-8"))["fastest"]) == 2
    assert list(place.parent.iterdir()) == [place]


def test_two_processes_keep_each_others_findings(place: Path, work: Work) -> None:
    work.fastest(FAST, shape=(1,))
    ours = dict(autotuning._known[place])
    forget()
    work.fastest(SLOW, shape=(2,))  # the other process
    autotuning._known[place] = ours
    work.fastest(SLOW, shape=(3,))
    assert len(json.loads(place.read_text(encoding="utf-8"))["fastest"]) == 3


def test_if_nothing_works_the_table_is_taken(place: Path, work: Work) -> None:
    assert autotuning.fastest("kernel", (1,), CPU, BROKEN, (BROKEN,), work.run) == BROKEN
    assert place.exists()


@pytest.mark.parametrize("content", ["{", '{"format": 2, "fastest": {"a": {"rows": 1}}}', "[]", '{"format": 0}'])
def test_a_bad_file_is_written_anew(content: str, place: Path, work: Work) -> None:
    place.parent.mkdir()
    place.write_text(content, encoding="utf-8")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert work.fastest(FAST) == FAST
    assert bool(told) == ('format": 0' not in content)
    forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert work.fastest(FAST) == FAST


def test_a_file_that_cannot_be_written_costs_a_warning(tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotuning, "_known", {})
    (tmp_path / "file").touch()
    monkeypatch.setenv(autotuning.SETTING, "1")
    monkeypatch.setenv(autotuning.PLACE, str(tmp_path / "file" / "kernels.json"))
    with pytest.warns(UserWarning, match="lilift cannot write"):
        assert work.fastest(FAST) == FAST


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(autotuning.PLACE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert autotuning.cache_file() == tmp_path / "lilift" / "kernels.json"
