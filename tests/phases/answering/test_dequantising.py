"""When a model answers with dequantised weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lilift.model.decoding.dequantised_weights import dequantised, dequantised_bytes
from lilift.phases.answering import dequantising
from lilift.phases.answering.dequantising import answer_bytes, dequantise_if_it_fits, free_dequantised
from tests.model import conftest as tiny_models

corpus, llm_folder, llm_of = tiny_models.corpus, tiny_models.llm_folder, tiny_models.llm_of  # fixtures


def test_weights_are_dequantised_where_there_is_room(llm_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    llm, _ = llm_of("llama", quantization="nf4")
    needed = dequantised_bytes(llm) + 1.25 * answer_bytes(llm, 1000)
    # Two layers, two heads of 8 numbers for keys and for values, 6 times the width and 3 times the inner width, in float32.
    assert answer_bytes(llm, 1000) == 1000 * (2 * 2 * 2 * 8 + 6 * 32 + 3 * 48) * 4

    for free, fits in ((needed - 1, False), (needed, True)):
        monkeypatch.setattr(dequantising, "free_bytes", lambda _device, free=free: free)
        assert dequantise_if_it_fits(llm, "auto", batch_tokens=1000) == fits
        assert bool(dequantised(llm)) == fits
    assert free_dequantised(llm)
    assert not free_dequantised(llm)
    monkeypatch.setattr(dequantising, "free_bytes", lambda _device: 0)
    assert dequantise_if_it_fits(llm, True, batch_tokens=1000), "it is wanted whatever is free"
    free_dequantised(llm)
    assert not dequantise_if_it_fits(llm, False, batch_tokens=1)


def test_memory_that_runs_out_after_all_is_no_error(llm_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(_llm: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    llm, _ = llm_of("llama", quantization="nf4")
    monkeypatch.setattr(dequantising, "dequantise", out_of_memory)
    assert not dequantise_if_it_fits(llm, "auto", batch_tokens=10)
