"""Makes K-quants with llama.cpp's own quantiser: the user's `llama-quantize`, or the one in the package `cyllama`."""

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
# It runs in a separate process: one process cannot load two builds of llama.cpp, and the one that runs models may be loaded.
_IN_CYLLAMA = """
import sys
from cyllama.llama.llama_cpp import LlamaModelQuantizeParams, model_quantize
params = LlamaModelQuantizeParams()
params.ftype = int(sys.argv[3])
model_quantize(sys.argv[1], sys.argv[2], params)
"""


def quantiser() -> str:
    """The quantiser on this machine: the path of `llama-quantize`, or ``cyllama``.

    Raises:
        EnvironmentUnfit: neither is installed.
    """
    program = shutil.which(PROGRAM)
    if program is not None:
        return program
    if importlib.util.find_spec("cyllama") is not None:
        return "cyllama"
    raise EnvironmentUnfit(
        "K-quants need llama.cpp's quantiser, which is not installed",
        remedy=f"run `pip install 'lilift[gguf]'`, put {PROGRAM} on PATH, or choose f16, q8_0 or q4_0",
    )


def quantise(source: Path, target: Path, quantisation: str) -> list[str]:
    """Quantise a GGUF file of an LLM.

    Args:
        source: in 16 or 32 bits.
        target: the new file.
        quantisation: such as ``q4_k_m``.

    Returns:
        Notes for the user: K-quants have blocks of 256 elements, and llama.cpp uses another type for rows that are not a
        multiple of 256.

    Raises:
        EnvironmentUnfit: there is no quantiser.
        StorageError: the quantiser failed.
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
        raise StorageError(
            f"llama.cpp's quantiser failed ({last.strip()[:200]})",
            where=target,
            remedy="check that the disk is not full, or choose another type",
        )
    return fallback_notes(target, quantisation)


def fallback_notes(path: Path, quantisation: str) -> list[str]:
    """Notes about the weights of a K-quant file that llama.cpp stored as another type."""
    matrices = [tensor for tensor in GGUFReader(str(path)).tensors if len(tensor.shape) > 1]
    others = Counter(tensor.tensor_type.name.lower() for tensor in matrices if not tensor.tensor_type.name.endswith("_K"))
    if not others:
        return []
    kinds = " and ".join(f"{count} as {kind}" for kind, count in sorted(others.items()))
    return [
        f"{path.name}: {sum(others.values())} of {len(matrices)} matrices have rows that are not a multiple of 256, so "
        f"llama.cpp stores {kinds} instead of {quantisation}"
    ]
