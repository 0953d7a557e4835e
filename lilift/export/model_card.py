"""The model card: what the files are, how to use them, and what they cannot do."""

from __future__ import annotations

from collections.abc import Sequence

from lilift.data.languages import languages
from lilift.data.texts.prompt_templates import Template
from lilift.recipe.schema import Recipe

FILE_NAME = "README.md"


def model_card(recipe: Recipe, template: Template, *, merge_base: str, gguf_files: Sequence[str]) -> str:
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

`{recipe.llm.model}`, taught with lilift to reason in {taught} from English instructions and dictionaries
(LinguaLIFT, arXiv 2412.12499). A LoRA adapter is merged into the {merge_base} weights.

The licence of `{recipe.llm.model}` applies, and that of the encoder `{recipe.encoder.model}` to the encoder's file.

## What it can do, and with which program
The path from {taught} leads through an encoder and an alignment layer, which travel with the LLM's GGUF files. lilift runs all
three (`pip install 'lilift[gguf]'`, no torch):

```
lilift chat THIS_FOLDER "…"
lilift serve THIS_FOLDER
```

Programs that know nothing of lilift (transformers, llama.cpp, Ollama, LM Studio) load the merged LLM alone. It answers
questions in English as it was trained to, and has no better access to {taught} than `{recipe.llm.model}` had.

## Prompt of the LLM alone
The answer follows after a space and ends with the end-of-sequence token:

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

`llama-server -m {file} --jinja` uses the template that the file carries.
"""
    return "\n".join(header) + "\n" + body + (ollama.format(file=gguf_files[0]) if gguf_files else "")
