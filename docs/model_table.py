"""`python -m docs.model_table`: check a tiny model of every family, and write `docs/models.md` from what came out.

It takes a minute or two. `tests/phases/model_check/test_families.py` compares the committed page with the same checks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from lilift.phases.model_check.check_model import ANSWERS, GGUF, MERGES, STAGE_1, STAGE_2, ModelReport, check_model
from tests.phases.model_check.tiny_families import FAMILIES, Family, saved

PAGE = Path(__file__).parent / "models.md"
_INTRODUCTION = """\
# Models

This page helps you to choose an LLM and an encoder that work with lilift. It lists families of models. To check any
other model, or one of these with its own tokenizer and settings, run

```
lilift model check Qwen/Qwen2.5-1.5B
lilift model check models/my-encoder --as encoder
```

The command downloads configuration and tokenizer, but no weights. It builds a small random twin of the model, with few
and narrow layers, and a stand-in takes the other part. It trains both stages for two steps, answers questions, merges
the adapter, loads the result again, writes GGUF files, and runs them in llama.cpp. This takes about 20 seconds on a
CPU. The exit code is 0 if everything works, and 4 if something does not.

`lilift recipe validate`, `plan` and `run` make the same checks on the files of a recipe's models, without a twin. So a
run stops in its first seconds, and not after days of training, if one of its models cannot be trained, answer, be
merged or be written as GGUF. If only GGUF is missing, set `export.formats` to `[hf]`.

lilift quantises weights itself while it loads them. So it cannot train an LLM in 4 bits if the LLM's files are already
quantised with GPTQ, AWQ, FP8 or MXFP4: choose the original model or a copy with 16-bit weights (gpt-oss is released in
MXFP4). A LoRA adapter must first be merged into its base model. A GGUF file cannot be trained.

lilift made the tables below from tiny random models of each family, with transformers {transformers}, peft {peft} and
bitsandbytes {bitsandbytes} (`python -m docs.model_table`). They show that the way through lilift works. They do not
show how well a model learns.
"""
_COLUMNS = {
    "llm": {"trains": (STAGE_1, STAGE_2), "answers": (ANSWERS,), "merges": (MERGES,), "GGUF": (GGUF,)},
    "encoder": {"trains": (STAGE_1, STAGE_2), "answers": (ANSWERS,), "GGUF": (GGUF,)},
}
_MEANING = {
    "llm": """\
- **trains**: stage 1 and stage 2 take steps, in 4 bits (NF4).
- **answers**: the LLM answers several questions side by side as it answers each of them alone.
- **merges**: the merged model, loaded from its folder, computes the same as the trained one.
- **GGUF**: llama.cpp loads the file and computes the same. The tiny models have the tokenizer of the stand-in LLM. lilift
  must also be able to write the tokenizer of the real model: SentencePiece, or byte-level BPE with the splitting rule of
  GPT-2, Llama 3 or Qwen 2.
""",
    "encoder": """\
- **trains** and **answers**: as for LLMs, with the stand-in LLM.
- **GGUF**: llama.cpp computes the same states. It needs a T5 encoder with a SentencePiece file.
""",
}

_SETTINGS = """\
## Settings for an encoder

- **Words before every text**: some encoders were trained with a few words before every text, and read a text without them
  less well. Models of the E5 family need `encoder.prefix: "query: "`. The -instruct models of this family have an
  instruction of their own; their model cards name it. lilift prints a line if the encoder is of this family and the recipe
  has no prefix. lilift puts the prefix before every text in training, evaluation, alignment measures, `chat`, `serve` and
  exports. It never swaps words of the prefix.
- **All layers**: `alignment.layers: mix` lets the alignment layer read a weighted mean of the token embeddings and the
  states after every layer, instead of the states after the last layer alone. The weights are learned with the layer, as in
  ELMo (arXiv 1802.05365). Layers differ in size, so lilift first scales each state to a root mean square of 1. All layers
  begin with the same weight. The states need as many times more memory as there are layers, plus one. lilift does not
  combine mix with `encoder.add_embeddings`, because mix already contains the token embeddings, nor with GGUF exports,
  because llama.cpp gives only the last states.
- **Long texts**: BERT and XLM-R have positions for at most 512 tokens. lilift refuses a larger `encoder.max_tokens` before
  the run begins. `data.over_length` decides about longer texts in training. In evaluation, `chat` and `serve`, the model
  reads the first `encoder.max_tokens` tokens, and lilift counts and reports the questions that it cuts. It cuts the text,
  never the prefix or the encoder's own tokens.
- **Letters with marks**: many tokenizers read `ậ` as another letter if it is written as `a` with two marks behind it. lilift
  writes every text in Unicode's form NFC before an encoder, an LLM behind a bridge or a dictionary reads it. Texts that are
  in this form already keep their tokens. An LLM without a bridge (`lilift eval` of a plain LLM) reads texts as
  they are.
"""


def page(reports: Mapping[str, ModelReport]) -> str:
    """The whole page.

    Args:
        reports: one for each family, by its name.
    """
    packages = {name: version(name) for name in ("transformers", "peft", "bitsandbytes")}
    parts = [_INTRODUCTION.format(**packages)]
    for kind, title in (("llm", "LLMs"), ("encoder", "Encoders")):
        names = ["family", "class", *_COLUMNS[kind], "examples", "what is missing"]
        rows = [row(family, reports[family.name]) for family in FAMILIES if family.kind == kind]
        table = "\n".join([f"| {' | '.join(names)} |", "|---" * len(names) + "|", *rows])
        parts.append(f"## {title}\n\n{_MEANING[kind]}\n{table}\n")
    parts.append(_SETTINGS)
    return "\n".join(parts)


def row(family: Family, report: ModelReport) -> str:
    """The line of a family in its table. That lilift does not write an architecture as GGUF needs no words beside the `no`."""
    reasons = dict.fromkeys(finding.found for finding in report.findings if finding.verdict == "no")
    shown = "; ".join(reason.replace("|", "\\|") for reason in reasons if not reason.startswith("lilift cannot write"))
    return f"{outcome(family, report)} {family.examples} | {shown} |"


def outcome(family: Family, report: ModelReport) -> str:
    """The part of a family's line that says what works."""
    cells = [family.name, f"`{report.architecture}`"]
    for questions in _COLUMNS[family.kind].values():
        verdicts = {report.verdict(question) for question in questions}
        cells.append("yes" if verdicts == {"yes"} else "no" if "no" in verdicts else "–")
    return f"| {' | '.join(cells)} |"


def check_families() -> dict[str, ModelReport]:
    """Check a tiny model of every family."""
    reports = {}
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            reports[family.name] = check_model(str(saved(family, Path(folder) / "model")), kind=family.kind)
        print(outcome(family, reports[family.name]), flush=True)
    return reports


if __name__ == "__main__":
    PAGE.write_text(page(check_families()), encoding="utf-8")
