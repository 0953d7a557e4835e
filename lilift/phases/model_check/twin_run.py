"""Runs the whole way of a recipe on a small pair of models: both stages, answers, merge, reload, GGUF in llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilift.data.texts.examples import Row, Task
from lilift.export.bundle import export_bundle
from lilift.export.job import RunParts
from lilift.export.runner.llama_cpp import LlamaDecoder, LlamaEncoder
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge import BridgedModel
from lilift.model.llms.llm import load_llm
from lilift.phases.answering.systems import tokenisation_for
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import ExportSettings, LLMSettings, Recipe
from lilift.train.stages import RunStage, run_stage
from lilift.train.training_progress import NoProgress

TEXTS = (
    "Maria has 12 apples and buys 3 bags with 8 in each. How many does she have?",
    "Omar kanniisa 25 qaba.",
    "Žluťoučký kůň snědl 1/2 jablka, přesně 3,75 g.",
    "У Олі було 12 яблук, і вона з'їла 5.",
    "ሶስት እና አራት ስንት ነው?",
    "कितने सेब बचे? १२ − ५ = ७",
    "গণিত: ১২ × ৩ = ৩৬",
    "كم تفاحة بقيت؟ ١٢ ناقص ٥",
    "小明有12个苹果,吃了5个。還剩幾個?",
    "def f(x):\n    return x ** 2  # two spaces\n\n\ttab",
    "It's  they've I'll; e-mail: a.b@c.org, 1,234.50 €",
)
"""Texts of many scripts on which lilift compares tokens."""
_TASKS = (
    Task("one", "Mary has 3 apples.", "She has 3 apples.", "reconstruct"),
    Task("two", "How many are 2 and 2? Think of apples and of books.", "There are 4.", "respond"),
    Task("three", "Seven?", "The answer is 7, because seven is seven.", "respond"),
)
_NEW_TOKENS = 6
_CLOSE = 1e-3  # differences of log-probabilities that are rounding
_CLOSE_IN_LLAMA_CPP = 2e-2
_UNLIKELY = -40.0  # log-probabilities below it are not compared


class _Rows:
    """The rows of a stage, the same in every epoch."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:  # noqa: ARG002
        return [self._rows[index] for index in indices]

    def row_name(self, index: int) -> str:
        return _TASKS[index].id


class TwinRun:
    """A run of two small models. Call the steps in their order; each says what it found.

    Args:
        llm: the LLM's folder or name.
        encoder: the encoder's.
        folder: an empty folder to work in.

    Raises:
        ModelError: a step of the run fails, or gives something else than it must.
    """

    def __init__(self, llm: str, encoder: str, folder: Path, *, trust_remote_code: bool = False) -> None:
        self.folder = folder
        stage = {"max_steps": 2, "epochs": 9, "learning_rate": 0.001, "optimizer": "adamw", "tokens_per_step": 512}
        self.recipe = Recipe.model_validate(
            {
                "name": "model-check",
                "card": "cpu",
                "languages": ["sw"],
                "encoder": {"model": encoder, "dtype": "float32", "max_tokens": 64},
                "llm": {"model": llm, "dtype": "float32", "quantization": "nf4", "trust_remote_code": trust_remote_code},
                "alignment": {"expansion": 1},
                "data": {"instructions": {"source": "world"}, "lexicons": "world", "template": "plain", "max_tokens": 256},
                "align": {**stage, "tokens_per_micro_batch": 512},
                "transfer": {**stage, "tokens_per_micro_batch": 512, "lora": {"rank": 4}},
            }
        )

    @cached_property
    def bridge(self) -> BridgedModel:
        """Both models and the layer between them."""
        return load_bridge(self.recipe, device="cpu", to_train=True)

    @cached_property
    def rows(self) -> list[Row]:
        """A few short rows of different lengths."""
        found = tokenisation_for(self.bridge, self.recipe, None).rows(list(_TASKS))
        return [row for row in found if row is not None]

    def train(self, stage: RunStage) -> str:
        """Two steps of a stage; its part must change."""
        folder = self.folder / stage
        folder.mkdir()
        result = run_stage(self.bridge, _Rows(self.rows), self.recipe, folder, name=stage, progress=NoProgress())
        if not np.isfinite(result.loss):
            raise ModelError("the loss is not a number", where=self.recipe.llm.model)
        return f"loss {result.loss:.2f} after {result.steps} steps"

    def answer(self) -> str:
        """Answers side by side, which must be those of each question alone."""
        questions = [replace(row, response_ids=()) for row in self.rows]
        together = self.bridge.generate(questions, max_new_tokens=_NEW_TOKENS)
        alone = [self.bridge.generate([row], max_new_tokens=_NEW_TOKENS)[0] for row in questions]
        if together != alone:
            raise ModelError(
                "an answer depends on the questions beside it",
                where=self.recipe.llm.model,
                remedy="choose another LLM, or answer one question at a time (`evaluate.tokens_per_batch: 1`)",
            )
        return f"{len(alone)} questions, the same alone and side by side"

    def merge(self) -> str:
        """Merge the adapter, load the result, and compare it with the model that was trained."""
        export_bundle(self.recipe, ExportSettings(formats=("hf",), dtype="float32"), self._parts, self.folder / "merged")
        live = self._log_probabilities(self.bridge.causal_lm)
        with self.bridge.llm.disable_adapter():
            effect = float((self._log_probabilities(self.bridge.causal_lm) - live).abs().max())
        difference = float((self._log_probabilities(self.merged) - live).abs().max())
        if difference > max(_CLOSE, 0.02 * effect):
            raise ModelError(
                f"the merged model is not the trained one: log-probabilities differ by {difference:.2g}, and the adapter "
                f"changes them by {effect:.2g}",
                where=self.recipe.llm.model,
                remedy="export nothing (`export.formats: []`), and report this model",
            )
        return f"log-probabilities differ by {difference:.0e} from the trained model; the adapter changes them by {effect:.1g}"

    @cached_property
    def merged(self) -> Any:
        """The merged LLM, loaded from its folder."""
        settings = LLMSettings(
            model=str(self.folder / "merged" / "hf"),
            quantization="none",
            dtype="float32",
            trust_remote_code=self.recipe.llm.trust_remote_code,
        )
        return load_llm(settings, device=torch.device("cpu"))[0].eval()

    def write_gguf(self) -> str:
        """Write LLM, encoder and alignment layer as GGUF."""
        settings = ExportSettings(formats=("gguf",), quantisations=("f32",), encoder_quantisation="f32")
        report = export_bundle(self.recipe, settings, self._parts, self.folder / "gguf")
        return f"{len([name for name in report.files if name.endswith('.gguf')])} files"

    def run_llm_in_llama_cpp(self) -> str:
        """Compare the merged LLM in llama.cpp with transformers."""
        llm = LlamaDecoder(self.folder / "gguf" / "llm-f32.gguf", threads=1, exact=True)
        ids = self.bridge.llm_tokenizer(TEXTS[0], add_special_tokens=False).input_ids
        try:
            llm.begin(len(ids))
            llm.read_tokens(ids)
            found = torch.from_numpy(llm.logits()).log_softmax(-1)
        finally:
            llm.close()
        with torch.no_grad():
            expected = self.merged(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        difference = float((found - expected)[expected > _UNLIKELY].abs().max())
        if difference > _CLOSE_IN_LLAMA_CPP:
            raise self._other_in_llama_cpp(f"log-probabilities differ by {difference:.2g}")
        return f"llama.cpp differs by {difference:.0e}"

    def run_encoder_in_llama_cpp(self) -> str:
        """Compare the encoder's states in llama.cpp with transformers."""
        path = next((self.folder / "gguf").glob("encoder-*.gguf"))
        ids = self.bridge.encoder.tokenizer.encode(TEXTS[0], 64)
        llama = LlamaEncoder(path, longest=64, threads=1)
        try:
            found = torch.from_numpy(llama.states(ids))
        finally:
            llama.close()
        expected = self.bridge.encoder(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))[0]
        difference = float((found - expected).norm() / expected.norm())
        if difference > _CLOSE_IN_LLAMA_CPP:
            raise self._other_in_llama_cpp(f"states differ by {difference:.1%}")
        return f"llama.cpp differs by {difference:.0e}"

    def compare_tokens(self) -> tuple[int, int]:
        """How many texts have the same tokens in llama.cpp, and how many were compared."""
        llm = LlamaDecoder(self.folder / "gguf" / "llm-f32.gguf", threads=1, exact=True)
        tokenizer = self.bridge.llm_tokenizer
        try:
            same = [llm.tokenize(text, as_text=True) == tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]
        finally:
            llm.close()
        return sum(same), len(same)

    @property
    def _parts(self) -> RunParts:
        return RunParts(self.folder / "align" / "alignment", self.folder / "transfer" / "adapter", self.folder / "data")

    @torch.no_grad()
    def _log_probabilities(self, llm: Any) -> Tensor:
        """Of every token after each position that carries loss, [N, V]."""
        self.bridge.eval()
        batch = self.bridge.collate(self.rows)
        inputs, mask, positions = self.bridge.embed(batch)
        logits = llm(inputs_embeds=inputs, attention_mask=mask.long(), position_ids=positions, use_cache=False).logits
        found: Tensor = logits.flatten(0, 1).index_select(0, batch.loss_rows).float().log_softmax(-1)
        return found

    def _other_in_llama_cpp(self, difference: str) -> ModelError:
        return ModelError(
            f"llama.cpp computes something else: {difference}",
            where=self.recipe.llm.model,
            remedy="export with --to hf, and report this model",
        )
