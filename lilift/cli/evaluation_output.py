"""Printing of what `lilift eval` found: scores of an evaluation, or how to go on after a shard of it."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lilift.cli.console import print_json

if TYPE_CHECKING:
    from lilift.evaluate.dealt.shards import AnsweredShard
    from lilift.evaluate.scores.scores import SystemScores


def print_evaluation(
    scores: SystemScores, output: Path, title: str, arguments: argparse.Namespace, *, longest: int | None
) -> None:
    """Write the page of an evaluation, and print its scores.

    Args:
        scores: those of the system that answered.
        output: the folder of answers and scores.
        title: title of the page.
        arguments: their `scoring` and `json` count.
        longest: the longest response in tokens, if the user has set it.
    """
    from lilift.cli.run_output import print_cut_responses, print_scores, print_scoring_differences
    from lilift.evaluate.scores.response_analysis import read_profiles
    from lilift.evaluate.scores.scores import as_json, by_published_scoring
    from lilift.phases.report.evaluation_pages import write_evaluation_page

    shown = by_published_scoring(scores) if arguments.scoring == "published" else scores
    page = write_evaluation_page(output, title)
    if arguments.json:
        print_json(as_json([shown])["systems"][0] | {"folder": str(output)})
        return
    print_scores([shown])
    print_cut_responses(read_profiles(output)[scores.system][scores.benchmarks[0].benchmark], longest)
    if arguments.scoring == "published":
        print_scoring_differences(scores)
    print(f"answers and scores: {output}")
    print(f"report: {page}")


def print_shard(shard: AnsweredShard, output: Path, *, as_json: bool) -> None:
    """Print that a shard is answered, and what comes next."""
    number, of = shard.share.number, shard.share.of
    if as_json:
        print_json({"shard": number, "of": of, "questions": shard.questions, "folder": str(shard.folder)})
        return
    print(f"shard {number} of {of}: all its {shard.questions} questions are answered, in {shard.folder}")
    print(f"when all {of} are: lilift eval merge {shlex.quote(str(output))}")
