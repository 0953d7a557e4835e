"""The questions that lilift watches while a stage trains, and the evaluation after training without them."""

from __future__ import annotations

import pytest

from lilift.evaluate.watched_questions import evaluated_benchmarks, watched_benchmarks
from lilift.phases.run_folder import phase_fingerprint
from lilift.recipe.errors import DataError, RecipeError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe
from lilift.train.stages import stage_fingerprint

NO_STAGE_1 = ("transfer.control=false", "evaluate.alignment=null", "export.formats=[]")
DURING = "evaluate.during={benchmark: world, rows: 20}"


def recipe(*overrides: str) -> Recipe:
    return load_recipe("tiny-cpu", overrides)


def ids(benchmarks: list) -> list[tuple[str, ...]]:
    return [tuple(question.id for question in one.questions) for one in benchmarks]


def test_every_language_gets_the_same_rows_and_the_evaluation_leaves_them_out() -> None:
    wanted = recipe(DURING)
    watched = watched_benchmarks(wanted)
    assert [one.language for one in watched] == list(wanted.languages)
    assert len(set(ids(watched))) == 1
    assert len(ids(watched)[0]) == 20
    evaluated = evaluated_benchmarks(wanted)
    assert [one.language for one in evaluated] == ["en", *wanted.languages]
    assert {len(found) for found in ids(evaluated)} == {100}  # the limit of the recipe
    assert not set(ids(watched)[0]) & set(ids(evaluated)[0])
    assert set(ids(evaluated)[0]) | set(ids(watched)[0]) >= set(ids(evaluated_benchmarks(recipe()))[0])


def test_another_benchmark_leaves_the_evaluation_as_it_is_and_must_have_more_rows_than_lilift_watches() -> None:
    other = recipe("evaluate.during={benchmark: sib200, source: sample, rows: 50, languages: [sw]}", "evaluate.benchmarks=[]")
    assert evaluated_benchmarks(other) == []
    with pytest.raises(DataError, match=r"sib200-sample-likelihood has \d+ questions.*cannot watch 50"):
        watched_benchmarks(other)
    few = [
        recipe("evaluate.during={benchmark: sib200, source: sample, rows: 3, languages: [sw]}", f"seed={n}") for n in (0, 0, 1)
    ]
    first, again, another = (ids(watched_benchmarks(one)) for one in few)
    assert first == again != another


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["evaluate.during={benchmark: world, languages: [en, om]}"], "foreign languages"),
        (["evaluate.during={benchmark: custom}"], r"evaluate\.during\.path: custom needs it"),
        ([DURING, "llm.backend=unsloth"], r"evaluate\.during: an LLM that unsloth trains"),
        (
            ["evaluate.during={benchmark: world, stages: [align]}", "align.skip=true", *NO_STAGE_1],
            r"evaluate\.during\.stages: the recipe skips align",
        ),
        (["evaluate.during={benchmark: sib200, source: hub, path: ./x}"], "the questions come from hub"),
    ],
)
def test_contradictions_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe(*overrides)


def test_only_a_watch_that_chooses_weights_counts_as_an_input_of_its_stage() -> None:
    plain, last = recipe(), recipe(DURING)
    best = recipe("evaluate.during={benchmark: world, rows: 20, keep: best}")
    assert "during" not in plain.as_dict()["evaluate"]
    for stage in ("align", "transfer"):
        assert phase_fingerprint(plain, stage) == phase_fingerprint(last, stage)
        assert stage_fingerprint(plain, stage) == stage_fingerprint(last, stage)
    assert phase_fingerprint(plain, "align") == phase_fingerprint(best, "align")
    assert phase_fingerprint(plain, "transfer") != phase_fingerprint(best, "transfer")
    assert stage_fingerprint(plain, "transfer") != stage_fingerprint(best, "transfer")
    assert phase_fingerprint(plain, "evaluate") != phase_fingerprint(last, "evaluate")
