"""The report on the foreign questions that lilift watched while a stage trained."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from lilift.phases.report import write_report


def words_of(run: Path) -> str:
    body = write_report(run).read_text(encoding="utf-8").split("</head>")[1]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_watched_questions_are_shown_with_the_step_whose_weights_stay(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    assert "Foreign questions during training" not in words_of(run)
    recipe = (run / "recipe.yaml").read_text(encoding="utf-8")
    during = "  during: {benchmark: world, rows: 10, every: 20, keep: best}\nexport:\n"
    (run / "recipe.yaml").write_text(recipe.replace("export:\n", during, 1), encoding="utf-8")
    languages = {"om": {"right": 0, "questions": 10}, "qu": {"right": 0, "questions": 10}}
    with (run / "transfer" / "during.jsonl").open("w", encoding="utf-8") as file:
        for step, right in ((0, 6), (20, 14), (40, 4), (60, 3)):
            line = {"step": step, "right": right, "questions": 20, "accuracy": right / 20, "low": 0.1, "high": 0.9}
            answer = {"response": f"the answer is {step}", "extracted": str(step), "correct": step == 20}
            sample = {"language": "om", "question": "Omar <b>kanniisa</b> 25 qaba?", "gold": "20"} | answer
            samples = {} if step == 0 else {"samples": [sample]}  # as an earlier version wrote it
            file.write(json.dumps(line | {"languages": languages, "seconds": 1.0} | samples) + "\n")
    words = words_of(run)
    assert "lilift watched 10 questions of world in each of 2 languages while it trained. The results here leave" in words
    assert "Stage 2, transfer: foreign questions right" in words
    assert "stage 2, transfer 4 30% 10% to 90%, step 0 70% 10% to 90%, step 20 15% 10% to 90%, step 60 20" in words
    assert "share of right answers by language, in the first and in the last watch language step 0 step 60 om 0% 0%" in words
    assert "answers to 1 of the questions in the first, the best and the last watch" in words
    assert (
        "Omar &lt;b&gt;kanniisa&lt;/b&gt; 25 qaba? om, right answer: 20 step 20 the answer is 20 ✓ right step 60 the" in words
    )
    assert "began to fall at step 40: two watches in a row" in words
