"""Writes the model card: what the files are, how to use them, and what they cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lilift.data.languages import languages
from lilift.data.texts.prompt_templates import Template
from lilift.recipe.schema import Recipe

if TYPE_CHECKING:
    from lilift.export.gguf.normalizer import Unnormalized

FILE_NAME = "README.md"


def model_card(
    recipe: Recipe,
    template: Template,
    *,
    merge_base: str,
    gguf_files: Sequence[str],
    unnormalized: Unnormalized | None = None,
) -> str:
    """The card in Markdown, with the header that the Hugging Face hub reads."""
    known = languages()
    taught = ", ".join(known[code].name if code in known else code for code in recipe.languages)
    is_on_hub = "/" in recipe.llm.model and not recipe.llm.model.startswith((".", "/", "~"))
    header = [
        "---",
        *([f"base_model: {recipe.llm.model}"] if is_on_hub else []),
        "language:",
        *(f"- {code}" for code in ("en", *recipe.languages)),
        "tags:",
        "- lilift",
        "---",
    ]
    prompt = template.prompt("{question}", "soft+text", "respond")
    body = f"""
# {recipe.name}

This is `{recipe.llm.model}`. It was trained with lilift to reason in {taught}, with English instructions and dictionaries
(LinguaLIFT, arXiv 2412.12499). The LoRA adapter of the training is merged into the {merge_base} weights.

The licence of `{recipe.llm.model}` applies to these files. The licence of the encoder `{recipe.encoder.model}` applies to the
encoder's file.

## What the model can do, and in which program
Questions in {taught} need all three parts: an encoder, an alignment layer and the LLM. The encoder and the alignment layer are
next to the LLM's GGUF files. lilift runs all three parts. Install it with `pip install 'lilift[gguf]'`; this does not need
torch:

```
lilift chat THIS_FOLDER "…"
lilift serve THIS_FOLDER
```

Other programs (transformers, llama.cpp, Ollama, LM Studio) load only the merged LLM. It answers questions in English as in its
training. By itself it does not understand {taught} better than `{recipe.llm.model}` does.

## The prompt for the LLM alone
The answer comes after a space and ends with the end-of-sequence token:

```
{prompt}
```
"""
    ollama = """
## Ollama and llama.cpp
```
ollama create my-model -f Modelfile
ollama run my-model "…"
```

`llama-server -m {file} --jinja` uses the prompt template that is in the GGUF file.
"""
    parts = ["\n".join(header) + "\n", body]
    if gguf_files:
        parts += [ollama.format(file=gguf_files[0]), _other_tokens(unnormalized)]
    return "".join(parts)


def _other_tokens(unnormalized: Unnormalized | None) -> str:
    """The section on texts that llama.cpp tokenizes otherwise than training; empty if there are none."""
    if unnormalized is None:
        return ""
    first = (
        f"First normalize your texts with Python's `{unnormalized.code}`."
        if unnormalized.code
        else "Use lilift for such texts."
    )
    rows = "".join(f"- {phrase}\n" for phrase in unnormalized.by_language())
    return f"""
## Other tokens than in training
The LLM's tokenizer normalizes a text ({unnormalized.names}) before it splits the text into tokens. lilift does this too.
llama.cpp and programs that use it (Ollama, LM Studio) do not, so some texts get other tokens than in training. {first}
These texts change:

{rows}"""
