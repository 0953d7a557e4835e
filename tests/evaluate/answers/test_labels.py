"""The label that a response names."""

from __future__ import annotations

import pytest

from lilift.evaluate.answers.labels import extract_label
from lilift.evaluate.benchmarks.benchmark_rows import LETTERS, NLI_LABELS, TOPICS

CHOICES = ("shelf", "oven", "refrigerator", "garden", "a drawer")


@pytest.mark.parametrize(
    ("response", "label"),
    [
        ("Entailment", "Entailment"),
        ("entailment.", "Entailment"),
        ("The answer is neutral, because contradiction is too strong.", "Neutral"),
        ("Answer: CONTRADICTION", "Contradiction"),
        ("Jibu: Neutral", "Neutral"),
        ("It is not a contradiction, so it is neutral.", "Neutral"),
        ("Neutral. There is neither entailment nor contradiction.", "Neutral"),
        ("First I thought entailment. In the end: contradiction", "Contradiction"),
        ("The answer is unclear. I say neutral", "Neutral"),
        ("They contradict each other", None),
        ("Neutral\n\nQuestion: Premise … Answer: Entailment", "Neutral"),
        ("The answer is neutral.</s>The answer is entailment.", "Neutral"),
        ("It is neutral.\n\nUser: And this? Entailment", "Neutral"),
        ("Jibu: Neutral\n\nSwali: …\nJibu: Entailment", "Neutral"),
        ("Question: entailment or neutral?\nAnswer: Neutral", "Neutral"),
        ("First entailment, then not.\n\n### Answer\n\n**Neutral**\n\nNot contradiction.", "Neutral"),
        ("The answer should be neutral, as entailment fails.", "Neutral"),
        ("Neutral is the answer, and not entailment.", "Neutral"),
        ("#### Neutral", "Neutral"),
        ("", None),
        ("I cannot tell.", None),
    ],
)
def test_words(response: str, label: str | None) -> None:
    assert extract_label(response, NLI_LABELS) == label


@pytest.mark.parametrize(
    ("response", "label"),
    [
        ("C", "C"),
        ("C.", "C"),
        ("(C) refrigerator", "C"),
        ("C. refrigerator, for A. and B. are warm", "C"),
        ("Choice D.", "D"),
        ("The answer is C", "C"),
        ("The answer is C because it is cold. A. is wrong", "C"),
        ("Answer: (E)", "E"),
        ("\\boxed{B}", "B"),
        ("A shelf is warm, so it has to be C.", "C"),
        ("You keep it in the Refrigerator of the house", "C"),
        ("a drawer", "E"),
        ("in the oven or in the garden", None),
        ("A good question that I cannot answer", None),
        ("F.", None),
        ("The answer is C.\n\nQuestion: … A. B. C. D. E.\nThe answer is A.", "C"),
        ("Question: Where? A. shelf B. oven C. refrigerator D. garden E. a drawer\nAnswer: C", "C"),
        ("A: shelf is warm. B: oven is hot. The answer is C.", "C"),
        ("### Final Answer\nC\n\nA. is wrong", "C"),
        ("So C is the correct answer. A. is warm", "C"),
        ("#### A. shelf\nwarm\n#### C. refrigerator\ncold\n\nAnswer: C", "C"),
        ("C.<|im_end|>\n<|im_start|>user\nA. or B.", "C"),
        ("", None),
    ],
)
def test_letters(response: str, label: str | None) -> None:
    assert extract_label(response, LETTERS, CHOICES) == label


@pytest.mark.parametrize(
    ("response", "label"),
    [
        ("science/technology", "science/technology"),
        ("Topic: Science and technology.", "science/technology"),
        ("The text is about technology", "science/technology"),
        ("Travel", "travel"),
        ("The answer is politics, although sports are named", "politics"),
        ("weather", None),
    ],
)
def test_topics(response: str, label: str | None) -> None:
    assert extract_label(response, TOPICS) == label


def test_four_letters_do_not_know_a_fifth() -> None:
    assert extract_label("E.", LETTERS[:4], CHOICES[:4]) is None
    assert extract_label("(D) garden", LETTERS[:4], CHOICES[:4]) == "D"
