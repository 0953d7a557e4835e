"""Writes the model card: what the files are, how to use them, and what they cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.data.languages import language, languages
from lilift.data.texts.prompt_templates import Template
from lilift.recipe.names.local_paths import local_folder
from lilift.recipe.schema import Recipe

if TYPE_CHECKING:
    from lilift.export.gguf.normalizer import Unnormalized

FILE_NAME = "README.md"


@dataclass(frozen=True)
class CardScore:
    """What the run reached on one benchmark in one language.

    Attributes:
        benchmark: its name in the run.
        dataset: its name on the hub; the benchmark's own name if it is not there.
        language: code.
        questions: number of questions.
        accuracy, low, high: share of right answers and its 95% interval, 0 to 1.
        untrained: the share of the same recipe's model before training; None if the run did not evaluate it.
    """

    benchmark: str
    dataset: str
    language: str
    questions: int
    accuracy: float
    low: float
    high: float
    untrained: float | None = None


def model_card(
    recipe: Recipe,
    template: Template,
    *,
    merge_base: str,
    gguf_files: Sequence[str],
    hf_folder: str | None,
    scores: Sequence[CardScore] = (),
    dictionaries: Sequence[str] = (),
    unnormalized: Unnormalized | None = None,
) -> str:
    """The card in Markdown, with the header that the Hugging Face hub reads.

    Args:
        recipe: of the run.
        template: of the training's prompts.
        merge_base: the weights that the adapter is merged into.
        gguf_files: the LLM's files for llama.cpp.
        hf_folder: where the weights for transformers are, seen from the card: `hf`, or empty beside it; None without them.
        scores: what the run's evaluation found.
        dictionaries: a line for each dictionary: language, source and licence.
        unnormalized: what llama.cpp tokenizes otherwise than training.
    """
    known = languages()
    taught = ", ".join(known[code].name if code in known else code for code in recipe.languages)
    prompt = template.prompt("{question}", "soft+text", "respond")
    body = _bridge(recipe, taught, merge_base) if recipe.has_encoder else _llm_alone(recipe, taught, merge_base)
    prompt_section = f"""
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
    parts = [
        f"---\n{_header(recipe, scores)}\n---\n",
        body,
        _score_section(recipe, scores),
        _data_section(recipe, dictionaries),
    ]
    parts.append(prompt_section)
    if hf_folder is not None:
        parts.append(_transformers(hf_folder))
    if gguf_files:
        parts += [ollama.format(file=gguf_files[0]), _other_tokens(unnormalized)]
    return "".join(parts)


def _llm_alone(recipe: Recipe, taught: str, merge_base: str) -> str:
    """The first sections of the card of an LLM that reads questions itself."""
    llm = _public_name(recipe.llm.model)
    ways = ["English instructions"]
    ways += ["continued pretraining on running text"] if recipe.uses_monolingual else []
    ways += ["translated texts"] if recipe.uses_translations else []
    swapped = (
        " Two LoRA adapters, of the languages and of the task, are combined by layer (layer swapping, arXiv 2410.01335)."
        if recipe.transfer.layer_swap
        else ""
    )
    return f"""
# {recipe.name}

This is `{llm}`. It was trained with lilift to reason in {taught}, with {" and ".join(ways)}.{swapped}
The adapter of the training is merged into the {merge_base} weights.

The licence of `{llm}` applies to these files.

## What the model can do, and in which program
The LLM reads questions in {taught} itself, without an encoder, so that every program that loads it can ask it: transformers,
llama.cpp, Ollama and LM Studio. lilift runs its GGUF files too, without torch (`pip install 'lilift[gguf]'`):

```
hf download OWNER/NAME --local-dir THIS_FOLDER     # if these files are on the Hugging Face hub
lilift chat THIS_FOLDER "…"
lilift serve THIS_FOLDER
```
"""


def _bridge(recipe: Recipe, taught: str, merge_base: str) -> str:
    """The first sections of the card of an LLM with an encoder and an alignment layer."""
    llm, encoder = _public_name(recipe.llm.model), _public_name(recipe.encoder.model)
    adapt = recipe.encoder.adapt
    read = " and ".join(language(code).name for code in recipe.running_text)
    adapted = (
        f"Before the training, the encoder `{encoder}` read running text in {read}: {adapt.steps:,} steps of masked tokens. "
        "The result is part of these files.\n\n"
        if adapt is not None
        else ""
    )
    return f"""
# {recipe.name}

This is `{llm}`. It was trained with lilift to reason in {taught}, with English instructions and dictionaries
(LinguaLIFT, arXiv 2412.12499). The LoRA adapter of the training is merged into the {merge_base} weights.

{adapted}The licence of `{llm}` applies to these files. The licence of the encoder `{encoder}` applies to the encoder's file.

## What the model can do, and in which program
Questions in {taught} need all three parts: an encoder, an alignment layer and the LLM. The encoder and the alignment layer are
next to the LLM's GGUF files. lilift runs all three parts. Install it with `pip install 'lilift[gguf]'`; this does not need
torch:

```
hf download OWNER/NAME --local-dir THIS_FOLDER     # if these files are on the Hugging Face hub
lilift chat THIS_FOLDER "…"
lilift serve THIS_FOLDER
```

Other programs (transformers, llama.cpp, Ollama, LM Studio) load only the merged LLM. It answers questions in English as in its
training. By itself it does not understand {taught} better than `{llm}` does.
"""


def _transformers(folder: str) -> str:
    """The section on transformers."""
    where = f'"THIS_FOLDER", subfolder="{folder}"' if folder else '"THIS_FOLDER"'
    return f"""
## transformers
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({where})
model = AutoModelForCausalLM.from_pretrained({where})
```
"""


def _is_on_hub(model: str) -> bool:
    return model.count("/") == 1 and local_folder(model) is None


def _public_name(model: str) -> str:
    """A model's name without the path of a folder on this machine, which is nobody's concern."""
    return model if _is_on_hub(model) or model.startswith("stand-in:") else Path(model).name


def _header(recipe: Recipe, scores: Sequence[CardScore]) -> str:
    """The metadata block. huggingface_hub writes it, because the hub's format has its own rules (languages `no` and `on`)."""
    from huggingface_hub import EvalResult, ModelCardData

    together = " of encoder, alignment layer and LLM together" if recipe.has_encoder else ""
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=score.dataset,
            dataset_name=score.benchmark,
            dataset_config=score.language,
            metric_type="accuracy",
            metric_value=round(score.accuracy, 4),
            metric_name=f"accuracy{together}, {score.questions} questions",
        )
        for score in scores
    ]
    fields: dict[str, Any] = {
        "language": list(dict.fromkeys(("en", *recipe.languages))),
        "tags": ["lilift", "lingualift"],
        "pipeline_tag": "text-generation",
    }
    if _is_on_hub(recipe.llm.model):
        fields["base_model"] = recipe.llm.model
    if results:
        fields |= {"eval_results": results, "model_name": recipe.name}
    return ModelCardData(**fields).to_yaml()


def _score_section(recipe: Recipe, scores: Sequence[CardScore]) -> str:
    """Accuracy by language, or the plain statement that nobody has measured it."""
    if not scores:
        return "\n## Accuracy\nThe run was not evaluated.\n"
    known = languages()
    before = any(score.untrained is not None for score in scores)
    titles = ["benchmark", "language", "questions", "accuracy, % (95% interval)", *(["before training, %"] if before else [])]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for score in scores:
        name = known[score.language].name if score.language in known else score.language
        cells = [score.benchmark, f"{name} ({score.language})", str(score.questions)]
        cells.append(f"{100 * score.accuracy:.1f} ({100 * score.low:.1f} to {100 * score.high:.1f})")
        if before:
            cells.append("" if score.untrained is None else f"{100 * score.untrained:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    parts = ", with encoder and alignment layer" if recipe.has_encoder else ""
    return (
        f"\n## Accuracy\nlilift measured the model of the run{parts}. Quantised files can differ a little.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _data_section(recipe: Recipe, dictionaries: Sequence[str]) -> str:
    """What the model learned from. The dictionaries' licences may bind whoever shares the model."""
    lines = [
        f"- English instructions: {_public_name(str(recipe.data.instructions.source))}",
        *(f"- {line}" for line in dictionaries),
        *(f"- Running text in {code}: {Path(name).name}" for code, name in _texts(recipe)),
        *(f"- Translations into {code}: {_public_name(name)}" for code, name in _translations(recipe)),
    ]
    return "\n## Training data\n" + "\n".join(lines) + "\n"


def _texts(recipe: Recipe) -> list[tuple[str, str]]:
    """The running text of each language, if the run has read any."""
    return list(recipe.running_text.items())


def _translations(recipe: Recipe) -> list[tuple[str, str]]:
    """The translated texts of each language, if the run has read any."""
    return [(code, recipe.data.translations_of(code) or "") for code in recipe.languages if recipe.uses_translations]


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
