"""K-quants, by llama.cpp's own quantiser: the one inside `cyllama`, or the user's `llama-quantize`."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from gguf import GGUFReader, LlamaFileType

from lilift.recipe.errors import EnvironmentUnfit, StorageError

PROGRAM = "llama-quantize"
# In a process of its own: one process cannot hold two builds of llama.cpp, and the one that runs models may be loaded already.
_IN_CYLLAMA = """
import sys
from cyllama.llama.llama_cpp import LlamaModelQuantizeParams, model_quantize
params = LlamaModelQuantizeParams()
params.ftype = int(sys.argv[3])
model_quantize(sys.argv[1], sys.argv[2], params)
"""


def quantiser() -> str:
    """What quantises here: the path of `llama-quantize`, or ``cyllama``.

    Raises:
        EnvironmentUnfit: neither is there.
    """
    program = shutil.which(PROGRAM)
    if program is not None:
        return program
    if importlib.util.find_spec("cyllama") is not None:
        return "cyllama"
    raise EnvironmentUnfit(
        "K-quants need llama.cpp's quantiser, which is not here",
        remedy=f"run `pip install 'lilift[gguf]'`, put {PROGRAM} on PATH, or choose f16, q8_0 or q4_0",
    )


def quantise(source: Path, target: Path, quantisation: str) -> list[str]:
    """Quantise a GGUF file of an LLM.

    Args:
        source: in 16 or 32 bits.
        target: the new file.
        quantisation: such as ``q4_k_m``.

    Returns:
        What the user should know: rows of a K-quant come in blocks of 256 elements, and where a model's are narrower llama.cpp
        takes another type.

    Raises:
        EnvironmentUnfit: there is no quantiser.
        StorageError: it failed.
    """
    tool = quantiser()
    if tool == "cyllama":
        number = int(LlamaFileType[f"MOSTLY_{quantisation.upper()}"])
        command = [sys.executable, "-c", _IN_CYLLAMA, str(source), str(target), str(number)]
    else:
        command = [tool, str(source), str(target), quantisation.upper()]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0 or not target.is_file():
        last = next((line for line in reversed((done.stderr or done.stdout).splitlines()) if line.strip()), "no message")
        raise StorageError(f"llama.cpp's quantiser failed ({last.strip()[:200]})", where=target, remedy="is the disk full?")
    return fallback_notes(target, quantisation)


def fallback_notes(path: Path, quantisation: str) -> list[str]:
    """Which of a K-quant's weights could not be stored as such."""
    matrices = [tensor for tensor in GGUFReader(str(path)).tensors if len(tensor.shape) > 1]
    others = Counter(tensor.tensor_type.name.lower() for tensor in matrices if not tensor.tensor_type.name.endswith("_K"))
    if not others:
        return []
    kinds = " and ".join(f"{count} as {kind}" for kind, count in sorted(others.items()))
    return [
        f"{path.name}: {sum(others.values())} of {len(matrices)} matrices have rows that are no multiple of 256, so that "
        f"llama.cpp stores {kinds} instead of {quantisation}"
    ]
