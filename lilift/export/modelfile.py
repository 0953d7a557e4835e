"""The prompt of training in the words of other programs: a Jinja template for llama.cpp, a Modelfile for Ollama.

Both render a question as training did, with the question's text where the bridge puts its soft tokens: a program that knows
nothing of encoder and alignment layer has only the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lilift.data.texts.prompt_templates import Template

FILE_NAME = "Modelfile"
# All others stand as they are: llama.cpp's template engine refuses a whole template for an escape that it does not know, such
# as that of a letter by its number.
_JINJA_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def chat_template(template: Template, eos: str) -> str:
    """The Jinja template that goes into the GGUF file.

    It knows no system messages, since training has shown the LLM none; llama.cpp puts one before the question.

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


def modelfile(gguf: str, template: Template, stops: Sequence[str], *, context_length: int, max_new_tokens: int) -> str:
    """What `ollama create NAME -f Modelfile` reads: https://docs.ollama.com/modelfile.

    The BOS token is not in the template: Ollama puts it before the prompt where the GGUF file says that texts begin with one.
    Penalties for repetition are on by default in older versions, and would change how numbers are copied.

    Args:
        gguf: the LLM's file, beside the Modelfile.
        template: the prompt template of training.
        stops: texts of the tokens that end an answer, the one that training teaches first.
        context_length: positions of the LLM to keep memory for.
        max_new_tokens: longest answer.
    """
    lines = [
        "# ollama create my-model -f Modelfile",
        f"FROM ./{gguf}",
        f'TEMPLATE """{go_template(template, stops[0])}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),  # Ollama takes the quotes off and knows no escapes
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_ctx {context_length}",
        f"PARAMETER num_predict {max_new_tokens}",
    ]
    return "\n".join(lines) + "\n"


def go_template(template: Template, eos: str) -> str:
    """The same in the language of Go's text/template, as Ollama fills it in (https://docs.ollama.com/template).

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
    """Words of a template as they stand, but for what Go or Ollama's Modelfile would take for something else.

    Ollama drops characters that do not print, unless they are spaces or ends of lines.
    """

    def quoted(found: re.Match[str]) -> str:
        escaped = "".join(f"\\U{ord(character):08x}" for character in found[0])
        return f'{{{{ "{escaped}" }}}}'

    special = "".join(sorted({character for character in text if not character.isprintable()} - set("\t\r\n")))
    return re.sub(rf'[{{}}{re.escape(special)}]+|"""', quoted, text)


def _after(template: Template) -> str:
    return template.after + template.openers["respond"]
