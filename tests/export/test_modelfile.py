"""The prompt of training in the words of llama.cpp and of Ollama."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilift.data.texts.prompt_templates import TEMPLATES, Template
from lilift.export.modelfile import chat_template, modelfile
from lilift.model.snapshot import local_model_folder

EOS = "</s>"
TURNS = [("user", "Maria has 12.\nHow many?"), ("assistant", "There are {{12}}."), ("user", "And now?")]


def own(before: str, after: str, opener: str, separator: str = " ") -> Template:
    return Template("own", before, after, {"respond": opener, "reconstruct": "English:"}, separator)


def in_ollama(text: str, turns: list[tuple[str, str]]) -> str:
    """A Modelfile's template as Ollama fills it in: the few words of Go's text/template that it consists of."""
    found = re.search(r'^TEMPLATE """(.*?)"""$', text, re.DOTALL | re.MULTILINE)
    assert found is not None
    # What does not print is dropped when Ollama reads a Modelfile.
    read = "".join(character for character in found[1] if character.isprintable() or character in "\t\r\n")
    parts = re.split(r"\{\{(.*?)\}\}", read)
    assert [part.strip() for part in (parts[1], *parts[-4::2])] == ["range .Messages", "end", "end"]
    written = ""
    for role, content in turns:
        holds = False
        for index, part in enumerate(parts[2:-4]):
            action = part.strip()
            if index % 2 == 0:
                assert "{" not in part.replace("{{", "")
                written += part if holds else ""
            elif condition := re.fullmatch(r'(?:else )?if eq \.Role "(\w+)"', action):
                holds = condition[1] == role
            elif holds:
                written += content if action == ".Content" else ast.literal_eval(action)
    return written


def in_jinja(text: str, turns: list[tuple[str, str]]) -> str:
    messages = [{"role": role, "content": content} for role, content in turns]
    return jinja2.Environment(keep_trailing_newline=True).from_string(text).render(messages=messages)


def file_of(template: Template, *stops: str) -> str:
    return modelfile("llm-q8_0.gguf", template, stops or (EOS,), context_length=4096, max_new_tokens=64)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_question_and_a_conversation_read_as_in_training(name: str) -> None:
    template = TEMPLATES[name]
    prompts = [template.prompt(text, "soft+text", "respond") for role, text in TURNS if role == "user"]
    whole = f"{prompts[0]}{template.separator}{TURNS[1][1]}{EOS}{prompts[1]}"
    for rendered in (
        lambda turns: in_ollama(file_of(template), turns),
        lambda turns: in_jinja(chat_template(template, EOS), turns),
    ):
        assert rendered(TURNS[:1]) == prompts[0]
        assert rendered(TURNS) == whole


# What a Modelfile, Go or Jinja could take for something else, and what Ollama drops if it stands there as it is.
PIECES = [
    "{",
    "}",
    "{{",
    '"',
    '"""',
    "\\",
    "\\n",
    "\n",
    "\t",
    " ",
    "\u00a0",
    "\u200b",
    "é",
    "ఎ",
    "%}",
    "#",
    "'",
    "`",
    "<|user|>",
]
WORDS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


@given(WORDS, WORDS, WORDS, st.sampled_from(["", " "]))
def test_any_words_around_a_question_arrive(before: str, after: str, opener: str, separator: str) -> None:
    template = own(before, after, opener + ":", separator)
    asked = TURNS[:1]
    expected = template.prompt(asked[0][1], "soft+text", "respond")
    assert in_jinja(chat_template(template, EOS), asked) == expected
    assert in_ollama(file_of(template), asked) == expected
    assert in_ollama(file_of(template), TURNS) == in_jinja(chat_template(template, EOS), TURNS)


def test_stop_texts_stand_as_they_are_and_nothing_changes_the_likeliest_token() -> None:
    lines = file_of(TEMPLATES["plain"], EOS, '<|"end"\\n|>').splitlines()
    # Ollama takes the outer quotes off, and knows no escapes.
    assert 'PARAMETER stop "</s>"' in lines
    assert 'PARAMETER stop "<|"end"\\n|>"' in lines
    assert {"PARAMETER temperature 0", "PARAMETER repeat_penalty 1", "PARAMETER num_predict 64"} <= set(lines)


def test_llama_cpps_engine_takes_letters_of_any_script(
    tmp_path: Path, written: Callable[..., Any], stock_server: Callable[..., Any]
) -> None:
    template = own('Frage »\\"{{é ఎన్ని\u00a0', "\n\tRéponse", " :")
    written(
        local_model_folder("stand-in:llm", None), tmp_path / "model.gguf", "q8_0", chat_template=chat_template(template, EOS)
    )
    found = stock_server(tmp_path / "model.gguf").rendered([{"role": role, "content": text} for role, text in TURNS])
    assert found == in_jinja(chat_template(template, EOS), TURNS)
