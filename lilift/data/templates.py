"""Prompt templates by name: the words around a question.

A template has two sides. The encoder reads the question alone. The LLM reads an *opener* that says what is to follow
(`respond`: the answer in English; `reconstruct`: the question in English), and in layout ``soft+text`` the question's own
text before it.
Training, evaluation and the exported bundle all build their prompts here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lilift.recipe.schema import Layout, Target


@dataclass(frozen=True)
class Template:
    """A named prompt template.

    Attributes:
        name: as the recipe names it.
        before: stands before the question where the LLM sees the question's text.
        after: stands between the question's text and the opener.
        openers: the last words before the target, for each kind of target. They end without a space: the space between
            opener and target belongs to the target (see `lilift.data.tokenization.continuation_ids`).
    """

    name: str
    before: str
    after: str
    openers: Mapping[Target, str]

    def source(self, question: str) -> str:
        """What the encoder reads of a question."""
        return question.strip()

    def prompt(self, question: str, layout: Layout, target: Target) -> str:
        """What the LLM reads between the soft tokens and the target.

        Layout ``soft`` shows it the opener alone. Layout ``soft+text`` shows the question too, but never before the target
        `reconstruct`: the LLM would copy the words that were not swapped from the text, and the alignment layer would learn
        nothing of them.
        """
        opener = self.openers[target]
        if layout == "soft" or target == "reconstruct":
            return opener
        return f"{self.before}{question.strip()}{self.after}{opener}"


# `metamath` and `alpaca` are the prompts that MetaMath and Stanford Alpaca models were trained with.
_INSTRUCTION = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
TEMPLATES: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template("plain", before="", after="\n", openers={"respond": "Answer:", "reconstruct": "English:"}),
        Template(
            "metamath",
            before=_INSTRUCTION,
            after="\n\n",
            openers={"respond": "### Response: Let's think step by step.", "reconstruct": "### English:"},
        ),
        Template(
            "alpaca",
            before=_INSTRUCTION,
            after="\n\n",
            openers={"respond": "### Response:", "reconstruct": "### English:"},
        ),
    )
}
