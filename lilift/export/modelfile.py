"""The prompt of training in the words of other programs: a Jinja template for llama.cpp, a Modelfile for Ollama.

Both render a question as training did, with the question's text where the bridge puts its soft tokens: a program that knows
nothing of encoder and alignment layer has only the text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from lilift.data.templates import Template

FILE_NAME = "Modelfile"


def chat_template(template: Template, eos: str) -> str:
    """The Jinja template that goes into the GGUF file.

    It knows no system messages, since training has shown the LLM none; llama.cpp puts one before the question.

    Args:
        template: the prompt template of training.
        eos: the text of the token that ends a response.
    """
    before, after, separator, end = map(json.dumps, (template.before, _after(template), template.separator, eos))
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

    Args:
        gguf: the LLM's file, beside the Modelfile.
        template: the prompt template of training.
        stops: texts of the tokens that end an answer.
        context_length: positions of the LLM to keep memory for.
        max_new_tokens: longest answer.
    """
    lines = [
        "# ollama create my-model -f Modelfile",
        f"FROM ./{gguf}",
        f'TEMPLATE """{template.before}{{{{ .Prompt }}}}{_after(template)}"""',
        *(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops),
        "PARAMETER temperature 0",
        f"PARAMETER num_ctx {context_length}",
        f"PARAMETER num_predict {max_new_tokens}",
    ]
    return "\n".join(lines) + "\n"


def _after(template: Template) -> str:
    return template.after + template.openers["respond"]
