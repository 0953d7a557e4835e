"""Stock llama.cpp with small models for it to load, and a run with its export, made once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lilift.export.gguf.gguf_part import llm_vocabulary
from lilift.export.gguf.llm_gguf import LLMFile
from lilift.export.llm_folder import llm_weights, read_config
from lilift.export.safetensors_rows import row_chunks
from lilift.model.bridge import BridgedModel
from lilift.recipe.schema import Recipe
from tests.export.exported_run import export, make_run

SERVE = """
import sys
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_gpu_layers, params.warmup, params.verbosity = 1024, 0, False, -1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
# As exact as it gets: by default the cache is float16.
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
sys.stdin.read()
"""


class StockServer:
    """llama.cpp's own server, as anybody runs it, on the loopback interface.

    It is a process of its own: xllamacpp's server, when it ends, now and then waits for its own threads for ever.
    """

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", SERVE, str(path)]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `stop` closes it
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        if not said.startswith("listening on "):
            self.process.wait()
            self.errors.seek(0)
            raise AssertionError(f"llama.cpp does not load {path.name}: {self.errors.read()[-2000:]}")
        self.address = said.removeprefix("listening on ").strip()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

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
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture
def stock_server() -> Iterator[Callable[[Path], StockServer]]:
    """Starts servers for GGUF files, which run until the test is over."""
    pytest.importorskip("xllamacpp")
    with ExitStack() as stack:

        def start(path: Path) -> StockServer:
            server = StockServer(path)
            stack.callback(server.stop)
            return server

        yield start


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


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, BridgedModel, Path]:
    """Recipe, live model, and the folder of its run."""
    pytest.importorskip("xllamacpp")
    folder = tmp_path_factory.mktemp("made") / "run"
    return *make_run(folder), folder


@pytest.fixture(scope="session")
def exported(made: tuple[Recipe, BridgedModel, Path]) -> Path:
    """Its export in `f32` and `q8_0`; look, but change nothing."""
    recipe, _, run = made
    return export(recipe, run, run.parent / "exported", "f32", "q8_0")
