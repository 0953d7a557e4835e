"""Translates the prompt of training for other programs: a Jinja template for llama.cpp, and a Modelfile for Ollama.

Both render a question as in training, with the text of the question where the bridge puts its soft tokens. These programs have
no encoder and no alignment layer, so they only have the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lilift.data.texts.prompt_templates import Template

FILE_NAME = "Modelfile"
# All other characters stay as they are: llama.cpp's template engine refuses a whole template because of one escape that it does
# not know, such as the escape of a character by its number.
_JINJA_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def chat_template(template: Template, eos: str) -> str:
    """The Jinja template that goes into the GGUF file.

    It has no place for system messages, because training has none; llama.cpp puts a system message before the question.

    Args:
        template: the prompt template of training.
        eos: the text of the token that ends a response.
    """
    words = (template.before, _after(template), template.separator, eos)
    before, after, separator, end = (f'"{text.translate(_JINJA_ESCAPES)}"' for text in words)
    return (
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'user' -%}"
        f"{{{{- {before} + (message['content'] | trim) + {after} -}}}}"
        "{%- elif message['role'] == 'assistant' -%}"
        f"{{{{- {separator} + (message['content'] | trim) + {end} -}}}}"
        "{%- endif -%}{%- endfor -%}"
    )


def modelfile(
    gguf: str,
    template: Template,
    stops: Sequence[str],
    *,
    context_length: int,
    max_new_tokens: int,
    comments: Sequence[str] = (),
) -> str:
    """The Modelfile for `ollama create NAME -f Modelfile`: https://docs.ollama.com/modelfile.

    The BOS token is not in the template: Ollama adds it if the GGUF file says that texts begin with one. Older versions have a
    repetition penalty by default, which would change how the model copies numbers, so the Modelfile turns it off.

    Args:
        gguf: the LLM's file, in the same folder as the Modelfile.
        template: the prompt template of training.
        stops: texts of the tokens that end an answer; the one that training uses comes first.
        context_length: number of positions that Ollama reserves memory for.
        max_new_tokens: longest answer.
        comments: what a user should know, a line each.
    """
    lines = [
        "# To use this file, run: ollama create my-model -f Modelfile",
        *(f"# {comment}" for comment in comments),
        f"FROM ./{gguf}",
        f'TEMPLATE """{go_template(template, stops[0])}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),  # Ollama removes the quotes and does not know escapes
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_ctx {context_length}",
        f"PARAMETER num_predict {max_new_tokens}",
    ]
    return "\n".join(lines) + "\n"


def go_template(template: Template, eos: str) -> str:
    """The prompt in the language of Go's text/template, as Ollama uses it (https://docs.ollama.com/template).

    Args:
        template: the prompt template of training.
        eos: the text of the token that ends a response.
    """
    before, after, separator, end = map(_in_go, (template.before, _after(template), template.separator, eos))
    return (
        "{{ range .Messages }}"
        f'{{{{ if eq .Role "user" }}}}{before}{{{{ .Content }}}}{after}'
        f'{{{{ else if eq .Role "assistant" }}}}{separator}{{{{ .Content }}}}{end}'
        "{{ end }}{{ end }}"
    )


def _in_go(text: str) -> str:
    """The text of a template, with an escape for everything that has a meaning for Go or for Ollama's Modelfile.

    Unprintable characters are escaped too, because Ollama drops them, except for tabs and line ends.
    """

    def quoted(found: re.Match[str]) -> str:
        escaped = "".join(f"\\U{ord(character):08x}" for character in found[0])
        return f'{{{{ "{escaped}" }}}}'

    special = "".join(sorted({character for character in text if not character.isprintable()} - set("\t\r\n")))
    return re.sub(rf'[{{}}{re.escape(special)}]+|"""', quoted, text)


def _after(template: Template) -> str:
    return template.after + template.openers["respond"]
