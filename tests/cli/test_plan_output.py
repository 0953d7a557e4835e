"""What `lilift recipe plan --explain` prints: where the memory goes, and which settings free most of it at which cost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lilift.cli.plan_output import EXPLAINED, print_explanation
from lilift.memory.planned_card import GIB, planned_card
from lilift.phases.rehearsals import fullest_phase, largest_savings, plan_recipe
from tests.memory import tiny_models

# So many tokens at once that even a tiny LLM takes GiB. On fake tensors they take none.
BATCHES = [f"{stage}.tokens_per_micro_batch={tokens}" for stage, tokens in (("align", 384), ("transfer", 1_536_000))]


def test_an_explanation_is_ten_lines_with_categories_and_three_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_models.make_models(tmp_path)
    recipe = tiny_models.make_recipe(
        folder, "card=24gb", "evaluate.tokens_per_batch=64", "transfer.tokens_per_step=1536000", *BATCHES
    )
    plan = plan_recipe(recipe, card=planned_card("24gb"), strict=True)
    savings = largest_savings(plan)
    print_explanation(plan, savings)
    lines = capsys.readouterr().out.strip().splitlines()

    fullest = fullest_phase(plan)
    assert fullest.phase == "transfer"
    assert len(lines) == 10
    assert lines[0] == (
        f"The fullest phase is transfer: {fullest.peak_bytes / GIB:.2f} GiB, with {fullest.rows} rows of "
        f"{fullest.row_tokens} tokens at once."
    )
    parts = [re.fullmatch(r" +([\d.]+) GiB +(\d+)%  (.+)", line) for line in lines[1:6]]
    assert all(part is not None and part[3] in EXPLAINED.values() for part in parts)
    sizes = [float(part[1]) for part in parts if part]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == pytest.approx(fullest.peak_bytes / GIB, rel=0.02)

    assert lines[6] == "These settings would free most of it:"
    settings = [re.fullmatch(r" +([\d.]+) GiB  ([a-z_.]+)=(\S+) \(now (\S+)\): (.+)", line) for line in lines[7:]]
    found = [(float(one[1]), one[2]) for one in settings if one]
    assert [setting for _, setting in found] == [change.setting for change in savings]
    assert [saved for saved, _ in found] == sorted((saved for saved, _ in found), reverse=True)
    assert {setting for _, setting in found} >= {"transfer.tokens_per_micro_batch", "llm.gradient_checkpointing"}
    assert found[0][0] > 0.5
    assert [one[5] for one in settings if one] == [change.cost for change in savings], "each says what it costs"
    assert "step" in savings[0].cost
