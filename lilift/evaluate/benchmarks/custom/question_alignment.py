"""Checks that the languages of your benchmark have the same questions with the same right answers."""

from __future__ import annotations

from collections.abc import Sequence

from lilift.evaluate.answers.number_formats import plain_number
from lilift.evaluate.benchmarks.custom.custom_benchmark import CustomBenchmark, CustomQuestion
from lilift.recipe.errors import DataError


def check_same_questions(benchmark: CustomBenchmark, languages: Sequence[str]) -> None:
    """Check that these languages have the same questions with the same right answers.

    If the languages have different words as labels, each label of one must always stand beside the same label of the other.

    Raises:
        DataError: a language lacks a question that another one has, or two right answers differ.
    """
    if benchmark.by_row:
        together = "write the questions of every language in the same order, or add a column `id`"
    else:
        together = "give a question the same id in every language"
    first, *further = languages
    ours = {one.id: one for one in benchmark.languages[first]}
    for language in further:
        theirs = {one.id: one for one in benchmark.languages[language]}
        for some, others, has, lacks in ((ours, theirs, first, language), (theirs, ours, language, first)):
            lacking = [id for id in some if id not in others]
            if lacking:
                more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
                raise DataError(
                    f"the language {lacks!r} lacks question {', '.join(lacking[:3])}{more}, which {has!r} has",
                    where=benchmark.path,
                    remedy=f"{together}, or evaluate one language at a time",
                )
        if _own_labels(benchmark, first, language):
            _check_pairs_of_labels(benchmark, first, language, [(one, theirs[id]) for id, one in ours.items()], together)
            continue
        for id, one in ours.items():
            if one.gold != theirs[id].gold:
                golds = [gold if isinstance(gold, str) else plain_number(gold) for gold in (one.gold, theirs[id].gold)]
                raise DataError(
                    f"the right answer to question {id} is {golds[0]} in {first!r} and {golds[1]} in {language!r}",
                    where=benchmark.path,
                    remedy=f"write the same answer in both languages, labels too, and {together}",
                )


def _own_labels(benchmark: CustomBenchmark, one: str, other: str) -> bool:
    """Whether two languages have different words as labels."""
    labels, others = (benchmark.languages[code][0].labels for code in (one, other))
    return benchmark.kind == "labels" and labels != others


def _check_pairs_of_labels(
    benchmark: CustomBenchmark,
    first: str,
    language: str,
    pairs: Sequence[tuple[CustomQuestion, CustomQuestion]],
    together: str,
) -> None:
    """Check that each label of one language belongs to one label of the other: yes to ndiyo in every question."""
    for places in ((0, 1), (1, 0)):
        partners: dict[object, tuple[object, str]] = {}
        for pair in pairs:
            one, other = (pair[place] for place in places)
            partner, id = partners.setdefault(one.gold, (other.gold, one.id))
            if partner != other.gold:
                ours, theirs = (str(question.gold) for question in pair)
                raise DataError(
                    f"the right answer to question {one.id} is {ours} in {first!r} and {theirs} in {language!r}, but question "
                    f"{id} shows that {one.gold} means {partner}",
                    where=benchmark.path,
                    remedy=f"correct one of the answers, and {together}",
                )
