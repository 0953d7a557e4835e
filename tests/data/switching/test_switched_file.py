"""Files of code-switched examples: one line each, the same with any number of processes, gone on with after an interruption."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from lilift.data.align_tasks import AlignTasks, align_tasks
from lilift.data.prepare import gather
from lilift.data.prepared_data import PreparedData
from lilift.data.switching import switched_file
from lilift.data.switching.switched_file import write_switched
from lilift.recipe.errors import DataError
from lilift.recipe.load import load_recipe


@cache
def made(*overrides: str) -> tuple[AlignTasks, PreparedData]:
    recipe = load_recipe("tiny-cpu", ["languages=[om, qu]", "data.instructions.limit=600", *overrides])
    data, _ = gather(recipe)
    return align_tasks(data, recipe), data


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two epochs, written by one process without interruption."""
    path = tmp_path_factory.mktemp("switched") / "whole.jsonl"
    tasks, data = made()
    assert write_switched(path, tasks, data.examples, epochs=2) == (2 * len(data.examples), 0)
    return path.read_bytes()


def test_every_example_of_every_epoch_is_as_stage_1_reads_it(whole: bytes) -> None:
    tasks, data = made()
    lines = [json.loads(line) for line in whole.decode("utf-8").splitlines()]
    assert len(lines) == 2 * len(data.examples)
    for number in (0, 5, len(data.examples), 2 * len(data.examples) - 1):
        epoch, index = divmod(number, len(data.examples))
        task, found = tasks.task(data.examples[index], epoch, index)
        line = lines[number]
        assert (line["id"], line["epoch"], line["source"], line["target"]) == (task.id, epoch, task.source, task.target)
        assert line["swaps"] == [[swap.start, swap.end, swap.original, swap.language] for swap in found.swaps]


def test_more_processes_write_the_same_bytes(tmp_path: Path, whole: bytes) -> None:
    tasks, data = made()
    write_switched(tmp_path / "two.jsonl", tasks, data.examples, epochs=2, workers=2)
    assert (tmp_path / "two.jsonl").read_bytes() == whole


@pytest.mark.parametrize("left", [0, 1, 10_000, -1, -20])
def test_an_interrupted_call_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, whole: bytes, left: int) -> None:
    tasks, data = made()
    (tmp_path / ".partial-out.jsonl").write_bytes(whole[:left])
    lines, before = write_switched(tmp_path / "out.jsonl", tasks, data.examples, epochs=2)
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    assert (lines, before) == (2 * len(data.examples), whole[:left].count(b"\n"))
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_what_other_settings_left_is_not_gone_on_with(tmp_path: Path, whole: bytes) -> None:
    tasks, data = made("seed=1")
    partial = tmp_path / ".partial-out.jsonl"
    partial.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"\.partial-out\.jsonl: an interrupted call has left lines that were made from other"):
        write_switched(tmp_path / "out.jsonl", tasks, data.examples, epochs=2)
    assert partial.exists()


def test_lines_are_there_before_all_of_them_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream: a process that dies in the middle leaves what it had written."""
    tasks, data = made()
    calls = []

    def dies(*arguments: object) -> bytes:
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        return original(*arguments)

    original = switched_file._lines
    monkeypatch.setattr(switched_file, "_lines", dies)
    with pytest.raises(KeyboardInterrupt):
        write_switched(tmp_path / "out.jsonl", tasks, data.examples)
    monkeypatch.undo()
    assert write_switched(tmp_path / "out.jsonl", tasks, data.examples) == (len(data.examples), 512)
