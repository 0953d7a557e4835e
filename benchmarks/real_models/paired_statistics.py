"""Macro accuracies with intervals, and paired tests, over sentences that every language and system shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

DRAWS = 10_000
Verdicts = Mapping[str, str]
"""By language: 1 for a right answer, 0 for a wrong one, in the order of the sentences."""


def by_sentence(runs: Sequence[Verdicts], codes: Sequence[str]) -> np.ndarray:
    """The share of right answers to each sentence, over languages and seeds: [sentences]."""
    table = np.array([[[int(mark) for mark in run[code]] for code in codes] for run in runs])  # [seeds, languages, sentences]
    shares: np.ndarray = table.mean((0, 1))
    return shares


def interval(shares: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean, by drawing sentences.

    The same sentence in 21 languages is no 21 independent questions, so whole sentences are drawn.
    """
    rng = np.random.default_rng(0)
    means = shares[rng.integers(0, len(shares), (DRAWS, len(shares)))].mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def paired(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """The mean difference of two systems over the same sentences, its 95% interval, and a sign-flip test."""
    difference = first - second
    low, high = interval(difference)
    signs = np.random.default_rng(1).choice((-1, 1), (DRAWS, len(difference)))
    extreme = np.abs((signs * difference).mean(1)) >= abs(difference.mean()) - 1e-12
    return {
        "points": 100 * float(difference.mean()),
        "low": 100 * low,
        "high": 100 * high,
        "p": (1 + int(extreme.sum())) / (1 + DRAWS),
    }
