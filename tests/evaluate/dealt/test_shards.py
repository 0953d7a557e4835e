"""An array of jobs: merged shards are to the byte what one process writes, and what cannot be merged is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lilift.cli.app import main
from lilift.evaluate.answering_cost import COST, read_costs
from lilift.evaluate.dealt.question_shares import Share
from lilift.evaluate.dealt.shards import Evaluation, answer_shard, merge_shards
from lilift.evaluate.evaluator import LIFTED, evaluate
from lilift.recipe.errors import LiliftError
from lilift.recipe.interrupt import Interruption
from lilift.recipe.schema import BenchmarkSettings

LANGUAGES = ("en", "om", "fj")
WHOLE = Evaluation(BenchmarkSettings(name="world", limit=9), LANGUAGES, 3, "mine: world")
INPUTS = {"llm": "abc", "max_new_tokens": 64}


class Counts:
    """Answers with the number of letters of the question."""

    def generate(self, questions: Sequence[str]) -> list[str]:
        return [f"The answer is {len(question) % 60}." for question in questions]


def shard(folder: Path, number: int, of: int = 3, **changed: Any) -> int:
    how = {"system": LIFTED, "inputs": INPUTS} | changed
    return answer_shard(Counts(), WHOLE.benchmarks(), folder, Share(number, of), WHOLE, **how).questions


def content(folder: Path) -> dict[str, bytes]:
    kept = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != COST)
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept if "shards" not in path.parts}


def test_merged_shards_are_what_one_process_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = evaluate(Counts(), WHOLE.benchmarks(), tmp_path / "one", inputs=INPUTS)
    assert sum(shard(tmp_path / "many", number, 4) for number in (3, 1, 4, 2)) == 27
    assert merge_shards(tmp_path / "many") == (expected, "mine: world")
    whole = content(tmp_path / "one")
    assert content(tmp_path / "many") == whole
    assert len(whole) == 3 + 5, "answers; inputs.json, scores.json, scores.csv, scores.md, analysis.json"
    [cost] = read_costs(tmp_path / "many" / "lifted").values()
    assert cost.questions == 27
    assert main(["eval", "merge", str(tmp_path / "many"), "--json"]) == 0, "again, with the same result"
    assert json.loads(capsys.readouterr().out)["benchmarks"][0]["macro"] == expected.benchmarks[0].macro
    assert content(tmp_path / "many").items() >= whole.items()
    assert read_costs(tmp_path / "many" / "lifted") == {"world": cost}


def test_more_jobs_than_questions(tmp_path: Path) -> None:
    assert [shard(tmp_path, number, 30) for number in (1, 27, 28, 30)] == [1, 1, 0, 0]


def test_an_interrupted_job_continues(tmp_path: Path) -> None:
    interruption = Interruption()
    interruption.request(15)
    with pytest.raises(LiliftError, match="stopped after 0 of 14 questions"):
        shard(tmp_path, 1, 2, interruption=interruption)
    shard(tmp_path, 2, 2)
    with pytest.raises(LiliftError, match=r"shard 1 of 2 has answered 0 of its 14 questions; run .* --shard 1/2` again"):
        merge_shards(tmp_path)
    shard(tmp_path, 1, 2)
    assert merge_shards(tmp_path)[0].benchmarks[0].languages[0].questions == 9


def test_what_cannot_be_merged(tmp_path: Path) -> None:
    def line() -> str:
        with pytest.raises(LiliftError) as caught:
            merge_shards(tmp_path)
        assert caught.value.exit_code == 5
        return str(caught.value)

    assert line() == f"{tmp_path}: this folder holds no shards of an evaluation; give the --output of `lilift eval … --shard`"
    shard(tmp_path, 2)
    places = tmp_path / "shards"
    assert line() == f"{places}: shards 1, 3 of 3 are missing; run `lilift eval … --shard 1/3` first"
    shard(tmp_path, 1)
    shard(tmp_path, 3, inputs=INPUTS | {"llm": "another"})
    assert line().startswith(f"{places}/3-of-3: its answers are of another model or with other settings than those of shard 1")
    with pytest.raises(LiliftError, match="this folder holds responses of another model"):
        shard(tmp_path, 3)
    (places / "3-of-3").rename(tmp_path / "away")
    shard(tmp_path, 3)
    shard(tmp_path, 1, 2)
    assert line().startswith(f"{places}: the shards are parts of 2 and of 3; delete the folders")
    (places / "1-of-2").rename(tmp_path / "away too")
    record = places / "3-of-3" / "shard.json"
    kept = record.read_text(encoding="utf-8")
    record.write_text(kept.replace('"seed": 3', '"seed": 4'), encoding="utf-8")
    assert line().startswith(f"{record}: ")
    assert "damaged" in line() or "changed" in line()
    record.write_text(kept, encoding="utf-8")
    inputs = places / "2-of-3" / "lifted" / "inputs.json"
    inputs.rename(tmp_path / "inputs")
    assert line().startswith(f"{inputs.parent}: nothing says which model gave these answers; delete the folder of this shard")
    (tmp_path / "inputs").rename(inputs)
    assert merge_shards(tmp_path)[0].benchmarks[0].languages[0].questions == 9
