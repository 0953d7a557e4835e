"""Translates segments with CTranslate2, in batches of similar length.

No limit of a translation depends on the texts beside it. In 8 bits its words do, rarely, by rounding
(``findings/ctranslate2-neighbours-in-8-bits.sh``).
Neither torch nor transformers is needed. The weights are 8-bit: on a GPU the products are float16, on a CPU float32.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lilift.data.composed_text import composed
from lilift.processes.torchrun_environment import started_by_torchrun
from lilift.recipe.errors import EnvironmentUnfit, ModelError, TrainingError
from lilift.train.processor_threads import machine_cores
from lilift.translation.text_segments import Segments, split_text
from lilift.translation.translator_files import POSITIONS, TranslatorFiles
from lilift.translation.translator_languages import TranslatorLanguage

TranslatorDevice = Literal["auto", "cpu"]
SEGMENT_TOKENS = 200
"""Most tokens of a segment. The models learned from single sentences, and read 512 or 1,024 tokens at most."""
BATCH_TOKENS = 4096
"""Tokens of a batch, padding included; of all batches that CPU cores translate side by side together."""
MOST_WORKERS = 16
"""CPU cores that translate batches side by side. With more, their batches would be too small."""
ARITHMETIC = {"cpu": "int8", "cuda": "int8_float16"}
"""By device. CTranslate2 refuses float16 on a CPU."""
SHORTEST_BUCKET = 16
GROWTH = 3
"""How many times longer than its text a translation may become, before lilift stops it."""
_UNLOADED_WITHIN_SECONDS = 5.0
_END, _UNKNOWN = "</s>", "<unk>"
_SPECIAL = frozenset(("<s>", _END, "<pad>", _UNKNOWN))
_METHOD = 1
"""Raise this number when a change of lilift's code changes translations, so that no cache mixes both."""


@dataclass(frozen=True)
class TranslatedSegment:
    """The translation of a segment.

    Attributes:
        text: the translation.
        complete: whether the translator ended it; False if it was stopped at its longest length.
    """

    text: str
    complete: bool


class Translator:
    """A loaded translator.

    Args:
        files: the model.
        device: `auto` takes the GPUs that CTranslate2 can use.
        threads: CPU cores; 0 takes all for many texts, and up to four for a few, which CTranslate2 divides among them.

    Raises:
        EnvironmentUnfit: CTranslate2 is not installed.
        ModelError: it cannot load the model.
    """

    def __init__(self, files: TranslatorFiles, *, device: TranslatorDevice = "auto", threads: int = 0) -> None:
        self.files = files
        self.notes: list[str] = []
        self._pieces = files.pieces()
        self._special = _SPECIAL.union(files.codes)
        self._ctranslate2 = require_library()
        kind = "cuda" if device == "auto" and self._ctranslate2.get_cuda_device_count() else "cpu"
        self._model = self._load(kind, threads)
        self._workers = min(MOST_WORKERS, threads or machine_cores()) if self.device == "cpu" else 1
        self._side_by_side: Any = None  # the same model, with a batch for each core

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        return str(self._model.device)

    @cached_property
    def digest(self) -> str:
        """Names everything that a translation depends on except languages and beams: files, arithmetic, lilift's method."""
        return f"{self.files.digest[:32]}-{self._model.compute_type}-{_METHOD}"

    def free(self) -> None:
        """Free the memory of the weights; translating again loads them again."""
        _unload(self._model)
        self._side_by_side = None

    def split(self, text: str, *, by_sentence: bool = False) -> Segments:
        """Split a text into segments that the model can read."""
        return split_text(composed(text), self._count, SEGMENT_TOKENS, by_sentence=by_sentence)

    def translate(
        self, segments: Sequence[str], source: TranslatorLanguage, target: TranslatorLanguage, *, beam_size: int
    ) -> list[TranslatedSegment]:
        """Translate segments; see `split`.

        Args:
            segments: texts of at most `SEGMENT_TOKENS` tokens.
            source: their language.
            target: the language to translate into.
            beam_size: hypotheses that compete; 1 always takes the most likely token.

        Raises:
            TrainingError: memory runs out.
        """
        framed = [self._framed(text, source, target) for text in segments]
        self._model_for(sum(map(len, framed)))
        results: list[TranslatedSegment] = [TranslatedSegment("", True)] * len(segments)
        buckets: defaultdict[int, list[int]] = defaultdict(list)
        for place, tokens in enumerate(framed):
            buckets[_bucket(len(tokens))].append(place)
        for bucket, places in sorted(buckets.items(), reverse=True):
            longest = min(GROWTH * bucket, POSITIONS[self.files.family] - 2)
            found = self._run([framed[place] for place in places], target.token, beam_size, longest)
            for place, tokens in zip(places, found, strict=True):
                results[place] = self._text_of(tokens, longest)
        return results

    def _model_for(self, tokens: int = 0) -> Any:
        """The loaded model for texts of so many tokens; the one that it was before, for none.

        Cores that share each product wait for each other, and CTranslate2 takes four at most. So many texts are translated in
        a batch for each core. The weights are in memory once.
        """
        if self._workers > 1 and self._side_by_side is None and tokens >= BATCH_TOKENS:
            _unload(self._model)
            self._side_by_side = self._model_on("cpu", [0], 1, workers=self._workers)
        if self._side_by_side is not None:
            return self._side_by_side
        if not self._model.model_is_loaded:
            self._model.load_model()
        return self._model

    def _run(self, framed: list[list[str]], token: str, beam_size: int, longest: int) -> list[list[str]]:
        # One prefix for each text: CTranslate2 refuses a single prefix for several texts.
        prefix = [[token]] * len(framed) if token and self.files.family != "marian" else None
        model = self._model_for()
        try:
            results = model.translate_batch(
                framed,
                target_prefix=prefix,
                beam_size=beam_size,
                max_batch_size=BATCH_TOKENS if model is self._model else BATCH_TOKENS // self._workers,
                batch_type="tokens",
                max_input_length=0,  # it would cut longer texts without a word
                max_decoding_length=longest,
            )
        except RuntimeError as error:
            if "out of memory" not in str(error).lower():
                raise
            raise TrainingError(
                "memory runs out while lilift translates", where=self.files.folder, remedy="let the translator run on the CPU"
            ) from None
        return [list(result.hypotheses[0]) for result in results]

    def _framed(self, text: str, source: TranslatorLanguage, target: TranslatorLanguage) -> list[str]:
        """The tokens that the model reads: Marian's code is the target's, the other families' is the source's."""
        code = target.token if self.files.family == "marian" else source.token
        return [*([code] if code else []), *self._pieces.split(text), _END]

    def _text_of(self, tokens: list[str], longest: int) -> TranslatedSegment:
        """The text of a hypothesis, which begins with the target's code."""
        kept = [token for token in tokens if token not in self._special]
        return TranslatedSegment(self._pieces.joined(kept), len(tokens) < longest)

    def _count(self, text: str) -> int:
        return len(self._pieces.split(text)) + 2

    def _load(self, kind: str, threads: int) -> Any:
        gpus = self._gpus() if kind == "cuda" else []
        try:
            return self._model_on(kind, gpus or [0], threads)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
        if len(gpus) > 1:
            try:
                model = self._model_on(kind, gpus[:1], threads)
            except (RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
            else:
                self.notes.append(f"CTranslate2 cannot use all {len(gpus)} GPUs ({reason}), so lilift translates on the first")
                return model
        if kind == "cuda":
            self.notes.append(f"CTranslate2 cannot use the GPU ({reason}), so lilift translates on the CPU")
            return self._load("cpu", threads)
        raise ModelError(
            f"CTranslate2 cannot load the translator ({reason})", where=self.files.folder, remedy="convert it again"
        )

    def _model_on(self, kind: str, devices: list[int], threads: int, *, workers: int = 1) -> Any:
        how = {"compute_type": ARITHMETIC[kind], "intra_threads": threads, "inter_threads": workers}
        model = self._ctranslate2.Translator(str(self.files.folder), device=kind, device_index=devices, **how)
        if kind == "cuda":  # its libraries are loaded when they are first used
            model.translate_batch([[_END]] * len(devices), max_batch_size=1, max_decoding_length=2)
        return model

    def _gpus(self) -> list[int]:
        """All GPUs, to which CTranslate2 deals its batches; one of several processes takes its own GPU."""
        started = started_by_torchrun()
        return list(range(self._ctranslate2.get_cuda_device_count())) if started is None else [started.local_rank]


def _bucket(length: int) -> int:
    """The power of two from 16 on that a text fits into. It sets the longest translation, whatever stands beside the text."""
    return max(SHORTEST_BUCKET, 1 << (length - 1).bit_length())


def _unload(model: Any) -> None:
    """Free a model's weights. CTranslate2 keeps them while a thread is still at the end of a translation."""
    until = time.monotonic() + _UNLOADED_WITHIN_SECONDS
    model.unload_model()
    while model.model_is_loaded and time.monotonic() < until:
        time.sleep(0.01)
        model.unload_model()


def require_library() -> Any:
    """The module of CTranslate2.

    Raises:
        EnvironmentUnfit: it is not installed.
    """
    try:
        import ctranslate2
    except ImportError as error:
        raise EnvironmentUnfit(
            "lilift translates with ctranslate2, which is not installed", remedy="run `pip install 'lilift[pivot]'`"
        ) from error
    return ctranslate2
