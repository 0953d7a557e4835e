"""Steps of a fixed shape, as a CUDA graph records them: the same answers as ordinary steps, and what happens without them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lilift.model.decoding.generation import Continuer
from lilift.model.decoding.key_value_cache import KeyValueCache
from lilift.model.decoding.sampling import Sampling
from lilift.model.decoding.step_graphs import (
    StepGraphs,
    StepGraphWarning,
    StepInputs,
    forget_step_graphs,
    static_logits,
    step_graphs_of,
)
from tests.model.conftest import LLMS, VOCABULARY
from tests.model.decoding.test_generation import embedder

STOPS = range(3, VOCABULARY, 12)  # many, so that random models end some of their answers


class Replayed:
    """A graph without a GPU: it computes the step anew, into the same memory."""

    def __init__(self, llm: Any, inputs: StepInputs, cache: KeyValueCache, logits: torch.Tensor) -> None:
        self.layers = [(layer.keys, layer.values) for layer in cache.layers]
        self.llm, self.inputs, self.logits = llm, inputs, logits

    def replay(self) -> None:
        cache = KeyValueCache()
        for place, (keys, values) in enumerate(self.layers):
            layer = cache.layer_class_to_replicate()
            layer.keys, layer.values, layer.is_initialized, layer.columns = keys, values, True, keys.shape[2]
            assert place == len(cache.layers)
            cache.layers.append(layer)
        cache.write_to(self.inputs.column)
        self.logits.copy_(static_logits(self.llm, self.inputs, cache))


class GraphsOnCPU(StepGraphs):
    """Everything but the recording itself."""

    def _captured(self, inputs: StepInputs, cache: KeyValueCache) -> Any:
        cache.write_to(inputs.column)
        logits = static_logits(self._llm, inputs, cache)
        cache.write_to(None)
        return Replayed(self._llm, inputs, cache, logits), logits


def texts(count: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 24, (count,), generator=generator).tolist()
    return [torch.randint(2, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


def answers(llm: Any, prompts: list[list[int]], graphs: StepGraphs | None, **options: Any) -> list[tuple[int, ...]]:
    continuer = Continuer(llm, **{"stop": STOPS, "max_new_tokens": 40, "budget": 700, **options})
    continuer._graphs = graphs
    seeds = list(range(len(prompts)))
    found = list(continuer.run([len(one) for one in prompts], embedder(llm, prompts), seeds=seeds))
    return [one.ids for one in sorted(found, key=lambda one: one.row)]


@pytest.mark.parametrize("family", LLMS)
def test_steps_of_a_fixed_shape_give_the_same_answers(
    family: str, llm_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows leave and join, caches are rebuilt in the middle of answers, and windows are shorter than the rows."""
    monkeypatch.setattr("lilift.model.decoding.step_graphs.BLOCK", 24)
    monkeypatch.setattr("lilift.model.decoding.step_graphs._LEAST_ROOM", 5)
    llm, _ = llm_of(family)
    prompts = texts(14)
    graphs = GraphsOnCPU(llm)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StepGraphWarning)
        found = answers(llm, prompts, graphs)
        drawn = answers(llm, prompts, graphs, sampling=Sampling(seed=3))
    assert found == answers(llm, prompts, None)
    assert drawn == answers(llm, prompts, None, sampling=Sampling(seed=3))
    assert len({len(ids) for ids in found}) > 2, "answers of different lengths"
    assert 2 <= graphs.recorded <= 24, "several shapes, each used again"


def test_a_model_that_cannot_be_recorded_answers_all_the_same(llm_of: Callable[..., Any]) -> None:
    class Failing(StepGraphs):
        def _captured(self, inputs: StepInputs, cache: KeyValueCache) -> Any:
            cache.write_to(inputs.column)
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    llm, _ = llm_of("llama")
    prompts, graphs = texts(9), Failing(llm)
    with pytest.warns(StepGraphWarning, match=r"cannot record.*operation not permitted when stream is capturing\)") as told:
        found = answers(llm, prompts, graphs)
    assert len(told) == 1, "once, not at every step"
    assert found == answers(llm, prompts, None)


def test_logits_that_differ_are_not_used(llm_of: Callable[..., Any]) -> None:
    class Wrong(GraphsOnCPU):
        def _captured(self, inputs: StepInputs, cache: KeyValueCache) -> Any:
            inputs.mask.zero_()
            inputs.mask[:, 0] = True
            return super()._captured(inputs, cache)

    llm, _ = llm_of("llama")
    prompts, graphs = texts(9), Wrong(llm)
    with pytest.warns(StepGraphWarning, match="differ by"):
        found = answers(llm, prompts, graphs)
    assert found == answers(llm, prompts, None)
    assert graphs.refused


def test_moved_weights_are_recorded_anew(llm_of: Callable[..., Any]) -> None:
    llm, _ = llm_of("llama")
    prompts, graphs = texts(6), GraphsOnCPU(llm)
    answers(llm, prompts, graphs)
    first = graphs.recorded
    answers(llm, prompts, graphs)
    assert graphs.recorded == first
    head = llm.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach() * torch.linspace(-1, 1, VOCABULARY)[:, None])
    assert answers(llm, prompts, graphs) == answers(llm, prompts, None)
    assert graphs.recorded > first


def test_without_a_gpu_nothing_is_recorded(llm_of: Callable[..., Any]) -> None:
    assert step_graphs_of(llm_of("llama")[0]) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_recorded_steps_give_the_same_answers(family: str, quantization: str, llm_of: Callable[..., Any]) -> None:
    llm, _ = llm_of(family, quantization=quantization)
    llm.to("cuda")
    prompts = texts(14)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StepGraphWarning)
        graphs = step_graphs_of(llm)
        assert graphs is not None
        found = [answers(llm, prompts, graphs) for _ in range(2)]
    assert found[0] == found[1] == answers(llm, prompts, None)
    assert graphs.recorded
    forget_step_graphs(llm)
    assert step_graphs_of(llm) is not graphs
