"""Stock llama.cpp, and small models for it to load."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lilift.export.gguf.bundle import llm_vocabulary
from lilift.export.gguf.llm import LLMFile
from lilift.export.llm_folder import llm_weights, read_config
from lilift.export.weights import row_chunks


class StockServer:
    """llama.cpp's own server, as anybody runs it, on the loopback interface."""

    def __init__(self, path: Path) -> None:
        xllamacpp = pytest.importorskip("xllamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_gpu_layers, params.warmup, params.verbosity = 1024, 0, False, -1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        # As exact as it gets: by default the cache is float16.
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._server = xllamacpp.Server(params)

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids; with `special` the BOS token and special tokens within the text are read too."""
        body = {"content": text, "add_special": special, "parse_special": special}
        found: list[int] = self._post("/tokenize", body)["tokens"]
        return found

    def rendered(self, messages: list[dict[str, str]]) -> str:
        """Messages as llama.cpp's template engine writes them."""
        found: str = self._post("/apply-template", {"messages": messages})["prompt"]
        return found

    def greedy(
        self, prompt: Sequence[int], steps: int, *, never: Sequence[int] = ()
    ) -> tuple[list[int], list[dict[int, float]]]:
        """The next tokens but for those of `never`, and at each step the log-probability of every token.

        The server tells no probabilities of a byte that is no whole letter.
        """
        body = {"prompt": list(prompt), "n_predict": steps, "temperature": 0, "n_probs": 100_000, "cache_prompt": False}
        found = self._post("/completion", body | {"return_tokens": True, "logit_bias": [[token, False] for token in never]})
        steps_found = found["completion_probabilities"]
        return found["tokens"], [{top["id"]: top["logprob"] for top in step["top_logprobs"]} for step in steps_found]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self._server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture
def stock_server() -> type[StockServer]:
    """Starts a server for a GGUF file."""
    return StockServer


def write_gguf(folder: Path, path: Path, quantisation: str = "f32", *, chat_template: str | None = None) -> LLMFile:
    """A model folder as one GGUF file, without any merging."""
    config = read_config(folder)
    weights = llm_weights(folder)
    _, vocabulary = llm_vocabulary(folder, config["vocab_size"])
    vocabulary.chat_template = chat_template
    shapes = {name: stored.shape for name, stored in weights.tensors.items()}
    file = LLMFile(config, shapes, vocabulary, quantisation, name="tiny", where=folder)
    with file.open(path).opened():
        file.begin()
        for name, shape in shapes.items():
            for start, stop in row_chunks(shape, file.config.head_size):
                file.write(name, weights.rows(name, start, stop))
    return file


@pytest.fixture
def written() -> Any:
    """`write_gguf`."""
    return write_gguf
