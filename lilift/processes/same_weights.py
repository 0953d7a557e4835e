"""A digest of a model's weights, so that processes can prove that they hold the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from lilift.processes.joined_processes import Processes
from lilift.recipe.errors import TrainingError

_CHUNK_BYTES = 64 << 20


def require_same_weights(processes: Processes, tensors: Iterable[tuple[str, Tensor]], what: str) -> None:
    """Compare the weights of all processes.

    Args:
        processes: the processes of the run.
        tensors: the weights by name, in the same order everywhere.
        what: the place in errors, for example `align, step 12`.

    Raises:
        TrainingError: the weights of a process differ from those of the first one.
    """
    if processes.alone:
        return
    digests = processes.gather(digest_of(tensors))
    different = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if different:
        raise TrainingError(
            f"process {different[0]} holds other weights than process 0",
            where=what,
            remedy="use the same model files and the same versions of lilift, torch and bitsandbytes on every machine",
        )


def weights_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer of a model by name, with the scales and codes of 4-bit weights."""
    for name, parameter in model.named_parameters():
        yield name, parameter
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            details: Mapping[str, object] = state.as_dict()
            yield from ((f"{name}.{key}", value) for key, value in details.items() if isinstance(value, Tensor))
    yield from model.named_buffers()


def digest_of(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """A digest of names, types, shapes and bits."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        for start in range(0, flat.numel(), _CHUNK_BYTES):
            digest.update(flat[start : start + _CHUNK_BYTES].cpu().numpy().data)
    return digest.hexdigest()
