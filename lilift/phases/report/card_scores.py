"""What the model card says of a run's evaluation."""

from __future__ import annotations

from pathlib import Path

from lilift.evaluate.benchmarks.benchmark_sources import SOURCES
from lilift.evaluate.evaluator import LIFTED, SCORES, UNTRAINED, read_scores
from lilift.export.model_card import CardScore


def card_scores(run: Path) -> list[CardScore]:
    """The scores of a run's trained model, each beside the model before training where the run evaluated it.

    Raises:
        RunFolderError: the run's scores are damaged.
    """
    systems = {scores.system: scores for scores in read_scores(run / "evaluate" / SCORES)}
    if LIFTED.name not in systems:
        return []
    before = {
        (of_benchmark.benchmark, score.language): score.accuracy
        for of_benchmark in (systems[UNTRAINED.name].benchmarks if UNTRAINED.name in systems else ())
        for score in of_benchmark.languages
    }
    return [
        CardScore(
            benchmark=of_benchmark.benchmark,
            dataset=_dataset(of_benchmark.benchmark),
            language=score.language,
            questions=score.questions,
            accuracy=score.accuracy,
            low=score.low,
            high=score.high,
            untrained=before.get((of_benchmark.benchmark, score.language)),
        )
        for of_benchmark in systems[LIFTED.name].benchmarks
        for score in of_benchmark.languages
    ]


def _dataset(benchmark: str) -> str:
    """The benchmark's name on the hub; its own name if it is not there."""
    source = SOURCES.get(benchmark)
    return source.hub.name if source is not None and source.hub is not None else benchmark
