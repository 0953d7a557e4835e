"""The memory of a translator: its 8-bit weights, and what translating a batch takes, before it is downloaded or loaded.

The shape of a model comes from its files, or for a few names on the hub from their published configurations. Then

- weights: one byte for each weight, as CTranslate2 keeps them (the size of its file, if it is on this machine);
- keys and values: two vectors for each layer, hypothesis and position of a batch's translations, twice, and once for each
  position of its texts;
- logits: one number for each hypothesis and token of the vocabulary, twice, in the batch with the most rows.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lilift.recipe.names.local_paths import local_folder
from lilift.recipe.schema import PivotSettings
from lilift.translation.translator import BATCH_TOKENS, GROWTH, SHORTEST_BUCKET
from lilift.translation.translator_files import MODEL, configuration_of, is_converted

USUAL_GROWTH = 1.5
"""How many times longer than its text the plan takes a translation to be. One that runs on is stopped at `GROWTH` times."""
_BYTES = {"cpu": 4, "cuda": 2}
_COPIES_OF_HYPOTHESES = 2
"""Each step of the beam search writes the keys and values of the best hypotheses into a new place."""
_LOGIT_BYTES = 4
_COPIES_OF_LOGITS = 2


@dataclass(frozen=True)
class TranslatorShape:
    """What memory depends on.

    Attributes:
        vocabulary: tokens.
        width: the size of a hidden state.
        encoder_layers, decoder_layers: layers.
        inner: the size between the two products of a layer's feed-forward part.
    """

    vocabulary: int
    width: int
    encoder_layers: int
    decoder_layers: int
    inner: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of the 8-bit weights; embeddings and output head share theirs."""
        layer = 4 * self.width**2 + 2 * self.width * self.inner
        more = self.decoder_layers * 4 * self.width**2  # the decoder's attention to the encoder
        return self.vocabulary * self.width + (self.encoder_layers + self.decoder_layers) * layer + more


_NLLB = 256_206
PUBLISHED: Mapping[str, TranslatorShape] = {
    "nllb-200-distilled-600m": TranslatorShape(_NLLB, 1024, 12, 12, 4096),
    "nllb-200-distilled-1.3b": TranslatorShape(_NLLB, 1024, 24, 24, 8192),
    "nllb-200-1.3b": TranslatorShape(_NLLB, 1024, 24, 24, 8192),
    "nllb-200-3.3b": TranslatorShape(_NLLB, 2048, 24, 24, 8192),
    "m2m100_418m": TranslatorShape(128_112, 1024, 12, 12, 4096),
    "m2m100_1.2b": TranslatorShape(128_112, 1024, 24, 24, 8192),
}
"""The shapes of published models, by the beginning of their names without the owner, in small letters."""


@dataclass(frozen=True)
class TranslatorMemory:
    """The memory of a translator, in bytes.

    Attributes:
        weights: the weights.
        keys_and_values: of a batch.
        logits: of a batch.
    """

    weights: int
    keys_and_values: int
    logits: int

    @property
    def total(self) -> int:
        """Everything at once."""
        return self.weights + self.keys_and_values + self.logits


def translator_memory(settings: PivotSettings, *, on_gpu: bool, growth: float = USUAL_GROWTH) -> TranslatorMemory | None:
    """The memory of a translator; None if lilift does not know its shape.

    Args:
        settings: names it, and says how many hypotheses compete.
        on_gpu: on a GPU CTranslate2 keeps keys and values in float16, on a CPU in float32.
        growth: how many times longer than its text a translation is.
    """
    found = _shape_of(settings.model)
    if found is None:
        return None
    shape, weights = found
    vectors = 2 * shape.width * shape.decoder_layers * _BYTES["cuda" if on_gpu else "cpu"]
    rows = BATCH_TOKENS // SHORTEST_BUCKET
    return TranslatorMemory(
        weights,
        int(BATCH_TOKENS * (1 + _COPIES_OF_HYPOTHESES * settings.beam_size * min(growth, GROWTH)) * vectors),
        _COPIES_OF_LOGITS * rows * settings.beam_size * shape.vocabulary * _LOGIT_BYTES,
    )


def _shape_of(name: str) -> tuple[TranslatorShape, int] | None:
    """The shape of a translator and the bytes of its weights."""
    folder = local_folder(name)
    if folder is None:
        last = name.split("/")[-1].lower()
        known = max((start for start in PUBLISHED if last.startswith(start)), key=len, default=None)
        return None if known is None else (PUBLISHED[known], PUBLISHED[known].weight_bytes)
    if not folder.is_dir():
        return None
    if is_converted(folder):
        shape = shape_in(folder / MODEL)
        return None if shape is None else (shape, (folder / MODEL).stat().st_size)
    config = configuration_of(folder)
    try:
        shape = TranslatorShape(
            *(int(config[key]) for key in ("vocab_size", "d_model", "encoder_layers", "decoder_layers", "decoder_ffn_dim"))
        )
    except (KeyError, TypeError, ValueError):
        return None
    return shape, shape.weight_bytes


def shape_in(path: Path) -> TranslatorShape | None:
    """The shape of the model in a file of CTranslate2; None if it is no such file.

    The file holds a version, the model's kind and revision, then for each variable its name, dimensions, type and content,
    and then second names (`ctranslate2.specs.model_spec`). Only names and dimensions are read.
    """
    try:
        with path.open("rb") as file:
            found = _dimensions(file, path.stat().st_size)
    except (OSError, struct.error, KeyError, ValueError):
        return None
    embeddings = found.get("decoder/embeddings/weight")
    inner = found.get("decoder/layer_0/ffn/linear_0/weight")
    if embeddings is None or inner is None or len(embeddings) != 2:
        return None
    layers = [_layers(found, part) for part in ("encoder", "decoder")]
    return TranslatorShape(embeddings[0], embeddings[1], layers[0], layers[1], inner[0])


def _layers(found: Mapping[str, tuple[int, ...]], part: str) -> int:
    layer = re.compile(rf"{part}/layer_(\d+)/")
    return len({match[1] for name in found if (match := layer.match(name))})


def _dimensions(file: BinaryIO, size: int) -> dict[str, tuple[int, ...]]:
    def number(kind: str) -> int:
        return int(struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0])

    def text() -> str:
        length = number("H")
        return file.read(length).rstrip(b"\0").decode("ascii")

    if not 3 <= number("I") <= 6:  # versions of the format
        raise ValueError("not a model of CTranslate2")
    text()
    number("I")
    found = {}
    for _ in range(min(number("I"), 100_000)):
        name = text()
        dimensions = tuple(number("I") for _ in range(number("B")))
        number("B")
        content = number("I")
        if file.tell() + content > size:
            raise ValueError("the file is cut short")
        file.seek(content, 1)
        found[name] = dimensions
    for _ in range(min(number("I"), 100_000)):  # variables that stand under two names
        alias = text()
        found[alias] = found[text()]
    return found
