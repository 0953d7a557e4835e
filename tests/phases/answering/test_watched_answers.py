"""Answers to the watched questions during training: the same as in an evaluation, and nothing of the stage is disturbed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lilift.evaluate.evaluator import evaluate
from lilift.evaluate.watched_questions import watched_benchmarks
from lilift.memory.model_configurations import load_models
from lilift.memory.simulation.simulate import simulate
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.phases.answering.systems import responder_for, tokenisation_for
from lilift.phases.answering.watched_answers import WatchedAnswers, watch_plan
from lilift.phases.rehearsals import rehearse
from lilift.recipe.load import load_recipe
from lilift.recipe.storage import JsonLines
from tests.train import tiny_run

WATCH = "evaluate.during={benchmark: sib200, source: sample, rows: 3, languages: [sw], every: 7, keep: best}"


def test_they_are_those_of_an_evaluation_and_leave_states_and_modes_as_they_were(tmp_path: Path) -> None:
    recipe = load_recipe("tiny-cpu", [WATCH, "encoder.placement=cached-ram"])
    benchmarks = watched_benchmarks(recipe)
    bridge = load_bridge(recipe, device="cpu", to_train=True)
    attach_lora(bridge, recipe.transfer.lora)
    bridge.train_only("adapter")
    bridge.train()
    assert bridge.states is not None
    bridge.states.read([(5, 6, 7)])  # a text of the next steps
    generators = torch.get_rng_state()
    plan = watch_plan(bridge, recipe, "transfer", benchmarks, tokenisation_for(bridge, recipe, None))
    assert plan is not None
    found = plan.answer()
    assert (plan.every, plan.keep_best) == (7, True)
    assert bridge.states.store.find((5, 6, 7)) is not None
    assert bridge.training
    assert torch.equal(torch.get_rng_state(), generators)
    responder = responder_for(bridge, recipe, None, recipe.evaluate)
    [scores] = evaluate(responder, benchmarks, tmp_path).benchmarks
    assert {one.language: (one.correct, one.questions) for one in scores.languages} == found.languages
    assert found.interval == (scores.languages[0].low, scores.languages[0].high)
    [kept] = tmp_path.rglob("sw.jsonl")
    answers = [(one["question"], one["response"], one["correct"]) for one in JsonLines(kept).read()]
    assert sorted((one["question"], one["response"], one["correct"]) for one in found.samples) == sorted(answers)
    assert {one["language"] for one in found.samples} == {"sw"}


def test_a_watch_keeps_six_answers_spread_over_the_languages_and_shortens_long_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("tiny-cpu", ["evaluate.during={benchmark: world, rows: 5}"])
    benchmarks = watched_benchmarks(recipe)
    watched = WatchedAnswers(SimpleNamespace(states=None), benchmarks, None, recipe, 64)  # type: ignore[arg-type]
    monkeypatch.setattr(watched, "_responses", lambda _, texts: ["word " * 200 for _ in texts])
    samples = watched.answer().samples
    assert [one["language"] for one in samples] == ["om", "om", "qu", "qu", "ln", "ln"]
    assert {len(one["response"]) for one in samples} == {601}


def test_the_plan_counts_a_watch_beside_the_optimizer(tmp_path: Path) -> None:
    tiny_run.make_models(tmp_path)
    recipe = tiny_run.make_recipe(tmp_path, "evaluate={during: {benchmark: world}, max_new_tokens: 16}")
    transfer = next(one for one in rehearse(recipe) if one.name == "transfer")
    found = simulate(recipe, load_models(recipe), transfer, device="cpu", expandable=False).segments
    assert found["watch, answers"]["kv_cache"] > 0
    assert found["watch, answers"]["optimizer"] > 0
    assert "gradients" not in found["watch, answers"]
