"""Finds the steps of a tokenizer's normalizer that llama.cpp leaves out, and how many texts they change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lilift.data.languages import language
from lilift.export.gguf.converted_sentencepiece import is_step_of_sentencepiece, steps_of
from lilift.export.gguf.gguf_vocabulary import REMEDY
from lilift.export.runner.text_normalization import FORMS, Step, can_normalize
from lilift.recipe.errors import ModelError


@dataclass(frozen=True)
class OtherTokens:
    """How many texts of one language get other tokens if nobody normalizes them.

    Attributes:
        kind: what the texts are, such as ``questions``.
        texts: number of texts.
        differ: number of texts with other tokens.
    """

    kind: str
    texts: int
    differ: int

    @property
    def share(self) -> str:
        """The share of texts with other tokens, such as ``61%``."""
        percent = 100 * self.differ / self.texts
        return f"{percent:.0f}%" if percent >= 1 or not self.differ else "less than 1%"


@dataclass(frozen=True)
class Unnormalized:
    """What llama.cpp tokenizes otherwise than training, unless lilift normalizes the text first.

    Attributes:
        steps: the steps of the normalizer that llama.cpp leaves out.
        found: the result by language code.
    """

    steps: Sequence[Step]
    found: Mapping[str, OtherTokens]

    @property
    def names(self) -> str:
        """The steps by name."""
        return ", ".join(dict.fromkeys(str(step["type"]) for step in self.steps))

    @property
    def code(self) -> str | None:
        """Python code that normalizes a `text`, if the steps are a single Unicode form."""
        return f'unicodedata.normalize("{self.names}", text)' if len(self.steps) == 1 and self.names in FORMS else None

    def by_language(self) -> list[str]:
        """One phrase for each language, such as ``Bengali: 61% of 250 questions``."""
        return [
            f"{language(code).name}: {'none' if not each.differ else each.share} of {each.texts:,} {each.kind}"
            for code, each in self.found.items()
        ]

    def line(self) -> str:
        """The result as one line for the user."""
        changed = [phrase for phrase, each in zip(self.by_language(), self.found.values(), strict=True) if each.differ]
        if changed:
            effect = f"; there, texts get other tokens than in training ({'; '.join(changed)})"
        else:
            effect = ", but this changes none of the measured texts" if self.found else ""
        return f"the LLM's tokenizer normalizes texts ({self.names}); lilift does this too, llama.cpp and Ollama do not{effect}"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {code: asdict(each) for code, each in self.found.items()}


def steps_beyond_llama_cpp(tokenizer: Any, model: str, where: Path) -> list[Step]:
    """The steps of the normalizer that lilift has to do before llama.cpp tokenizes a text.

    llama.cpp's SentencePiece tokenizer (``llama``) writes spaces as `▁` and may put one before a text. Its byte-level BPE
    (``gpt2``) changes nothing.

    Args:
        tokenizer: the LLM's tokenizer, as training uses it.
        model: llama.cpp's name of the algorithm.
        where: names the tokenizer in errors.

    Raises:
        ModelError: lilift cannot do a step, or cannot do it before those of llama.cpp.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    steps = steps_of(json.loads(backend.to_str()).get("normalizer"), "normalizers") if backend is not None else []
    done = [is_step_of_sentencepiece(step) and model == "llama" for step in steps]
    rest = [step for step, by_llama in zip(steps, done, strict=True) if not by_llama]
    unfit = next((step for step in rest if not can_normalize(step)), None)
    if unfit is None and any(by_llama and index < len(steps) - sum(done) for index, by_llama in enumerate(done)):
        unfit = rest[-1]
    if unfit is not None:
        raise ModelError(
            f"neither llama.cpp nor lilift's runner supports the tokenizer's step {unfit['type']}", where=where, remedy=REMEDY
        )
    return rest


def has_space_at_start_only(tokenizer: Any) -> bool:
    """Whether a tokenizer puts a space before a text that does not begin with one, and nowhere else.

    transformers reads SentencePiece files of the Llama family so. llama.cpp also puts a space after every control token.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    steps = steps_of(json.loads(backend.to_str()).get("pre_tokenizer"), "pretokenizers") if backend is not None else []
    return any(step["type"] == "Metaspace" and step.get("prepend_scheme") == "first" for step in steps)


def measure_unnormalized(tokenizer: Any, steps: Sequence[Step], texts: Mapping[str, tuple[str, Sequence[str]]]) -> Unnormalized:
    """How many texts of each language have other tokens without the steps that llama.cpp leaves out.

    Args:
        tokenizer: the LLM's tokenizer, as training uses it.
        steps: the result of `steps_beyond_llama_cpp` for it.
        texts: by language, what the texts are and the texts.
    """
    from tokenizers import Tokenizer

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    bare = content | {"normalizer": _of_sentencepiece(content["normalizer"])}
    both = [Tokenizer.from_str(json.dumps(each)) for each in (content, bare)]
    found = {}
    for code, (kind, some) in texts.items():
        ids = [[text.ids for text in each.encode_batch(list(some), add_special_tokens=False)] for each in both]
        found[code] = OtherTokens(kind, len(some), sum(one != other for one, other in zip(*ids, strict=True)))
    return Unnormalized(steps, found)


def _of_sentencepiece(normalizer: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The part of a normalizer that llama.cpp has too."""
    kept = [step for step in steps_of(normalizer, "normalizers") if is_step_of_sentencepiece(step)]
    return {"type": "Sequence", "normalizers": kept} if kept else None
