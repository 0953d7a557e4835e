"""Prompt templates by name, by file, or the LLM's own: the words around a question.

A template has two sides. The encoder reads the question alone. The LLM reads an *opener* that says what is to follow
(`respond`: the answer in English; `reconstruct`: the question in English), and in layout ``soft+text`` the question's own
text before it.
Training, evaluation and the exported bundle all build their prompts here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lilift.recipe.errors import DataError
from lilift.recipe.schema import Layout, Target, TemplateSettings

CHAT = "chat"
"""Stands for the chat template that an LLM brings with it."""
_QUESTION, _ANSWER = "(the question)", "(the answer)"


@dataclass(frozen=True)
class Template:
    """A named prompt template.

    Attributes:
        name: as the recipe names it.
        before: stands before the question where the LLM sees the question's text.
        after: stands between the question's text and the opener.
        openers: the last words before the target, for each kind of target. They end without a space: the space between
            opener and target belongs to the target (see `lilift.data.batches.tokenization.continuation_ids`).
        separator: what stands between opener and target: a space, or nothing in most chat templates.
    """

    name: str
    before: str
    after: str
    openers: Mapping[Target, str]
    separator: str = " "

    def as_dict(self) -> dict[str, Any]:
        """The template as plain JSON types, for `Template(**…)`."""
        return asdict(self) | {"openers": dict(self.openers)}

    def source(self, question: str) -> str:
        """What the encoder reads of a question."""
        return question.strip()

    def prompt(self, question: str, layout: Layout, target: Target) -> str:
        """What the LLM reads between the soft tokens and the target.

        Layout ``soft`` shows it the opener alone. Layout ``soft+text`` shows the question too, but never before the target
        `reconstruct`: the LLM would copy the words that were not swapped from the text, and the alignment layer would learn
        nothing of them. Layout ``text`` shows it always: there is nothing else to read.
        """
        opener = self.openers[target]
        if layout == "soft" or (layout == "soft+text" and target == "reconstruct"):
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


def template_of(setting: str | TemplateSettings, tokenizer: Any) -> Template:
    """The template that a recipe asks for.

    Args:
        setting: a name of `TEMPLATES`, `CHAT`, or a template of the recipe's own.
        tokenizer: of the LLM (transformers); only asked for its chat template.

    Raises:
        DataError: the LLM has no chat template, or one that hides the question.
    """
    if isinstance(setting, TemplateSettings):
        openers: dict[Target, str] = {"respond": setting.respond, "reconstruct": setting.reconstruct}
        return Template("own", setting.before, setting.after, openers)
    return _chat_template(tokenizer) if setting == CHAT else TEMPLATES[setting]


def _chat_template(tokenizer: Any) -> Template:
    """The LLM's own chat template, cut where the question stands.

    In layout ``soft`` the opener is what ends the user's turn and begins the assistant's; soft tokens stand before it.
    """
    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise DataError("the LLM has no chat template of its own", where=name, remedy="choose another data.template")
    asked = [{"role": "user", "content": _QUESTION}]
    try:
        prompt: str = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # whatever a template written by others raises
        raise DataError(f"the LLM's chat template fails ({error})", where=name, remedy="choose another data.template") from None
    before, _, opener = prompt.partition(_QUESTION)
    if not opener.strip() or _QUESTION in opener:
        raise DataError(
            "the LLM's chat template does not show the question once and an opener after it",
            where=name,
            remedy="choose another data.template",
        )
    # The sequence begins with the LLM's BOS anyway.
    before = before.removeprefix(tokenizer.bos_token or "")
    separator = _separator(tokenizer, asked, prompt)
    openers: dict[Target, str] = {"respond": opener, "reconstruct": opener + ("English:" if separator else "English:\n")}
    return Template(CHAT, before, "", openers, separator)


def _separator(tokenizer: Any, asked: list[dict[str, str]], prompt: str) -> str:
    """A space where the template itself puts one before an answer, else nothing; nothing too if it refuses such a turn."""
    try:
        answered: str = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": _ANSWER}], tokenize=False)
    except Exception:  # a template may raise for turns that it does not expect, and nothing here depends on them
        return ""
    between = answered.removeprefix(prompt).partition(_ANSWER)[0]
    return " " if answered.startswith(prompt) and between == " " else ""
