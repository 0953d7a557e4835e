"""The other implementations of the loss, which lilift's is compared with."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.shared.measuring import first_line
from lilift_kernels import linear_cross_entropy

IGNORED = -100
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # hidden [N, D], weight [V, D], labels [N] -> mean loss


def huggingface(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The loss of a causal language model of transformers: all logits, in fp32."""
    return functional.cross_entropy((hidden @ weight.T).float(), labels, ignore_index=IGNORED)


def on_valid_rows(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    kept = (labels != IGNORED).nonzero().squeeze(1)
    return functional.cross_entropy((hidden[kept] @ weight.T).float(), labels[kept])


def ours(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return linear_cross_entropy(hidden, weight, labels)


def torchs_own() -> Loss:
    function = getattr(functional, "linear_cross_entropy", None)
    if function is None:
        raise ImportError(f"torch {torch.__version__} has no F.linear_cross_entropy")
    options = torch.nn.LinearCrossEntropyOptions()  # without options it builds all logits
    return lambda hidden, weight, labels: function(hidden, weight, labels, ignore_index=IGNORED, options=options)


def quack() -> Loss:
    """QuACK's loss, in CuTe for Hopper and newer cards; it multiplies ignored rows too."""
    from quack import linear_cross_entropy as module

    loss = module.chunked_linear_cross_entropy
    return lambda hidden, weight, labels: loss(hidden, weight, labels, ignore_index=IGNORED)


def liger() -> Loss:
    """Liger's loss in the backend that ``LIGER_KERNEL_IMPL`` chooses when Liger is imported: Triton, cutedsl or cutile."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss = LigerFusedLinearCrossEntropyLoss(ignore_index=IGNORED)
    return lambda hidden, weight, labels: loss(weight, hidden, labels)


def cut_cross_entropy(**options: Any) -> Loss:
    from cut_cross_entropy import linear_cross_entropy as peer

    return lambda hidden, weight, labels: peer(hidden, weight, labels, ignore_index=IGNORED, impl="cce", **options)


def unsloth() -> Loss:
    os.environ.setdefault("UNSLOTH_IS_PRESENT", "1")  # as `import unsloth` does, which would also load its trainers
    from unsloth_zoo.fused_losses import unsloth_fused_ce_loss

    return lambda hidden, weight, labels: unsloth_fused_ce_loss(None, hidden, weight, None, labels, shift_labels=False)


def rivals(device: torch.device, backend: str) -> tuple[dict[str, Loss], dict[str, str]]:
    """The losses that this machine can run, and the reason for each that it cannot."""
    found: dict[str, Loss] = {"lilift": ours, "eager": huggingface, "eager on valid rows": on_valid_rows}
    absent: dict[str, str] = {}
    if device.type == "cuda" or backend != "inductor":  # inductor needs a C++ compiler on a CPU
        # torch compiles every shape; beyond a limit of eight it would silently run in eager.
        torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 10_000
        found["compiled"] = torch.compile(huggingface, backend=backend, dynamic=False)
        found["compiled, on valid rows"] = torch.compile(on_valid_rows, backend=backend, dynamic=True)
    # Each with the packages that it needs. unsloth_zoo cannot be imported without unsloth.
    makers: dict[str, tuple[tuple[str, ...], Callable[[], Loss]]] = {
        "torch": ((), torchs_own),
        "liger": (("liger_kernel",), liger),
        "quack": (("quack",), quack),
        "cut-cross-entropy": (("cut_cross_entropy",), cut_cross_entropy),
        "cut-cross-entropy, exact": (("cut_cross_entropy",), lambda: cut_cross_entropy(filter_eps=None)),
        "unsloth": (("unsloth", "unsloth_zoo"), unsloth),
    }
    for name, (packages, make) in makers.items():
        if lacking := [package for package in packages if importlib.util.find_spec(package) is None]:
            absent[name] = f"{' and '.join(lacking)} not installed"
        elif packages and device.type != "cuda":
            absent[name] = "needs a GPU"
        else:
            try:
                found[name] = make()
            except Exception as failure:  # another package can raise any error on import
                absent[name] = first_line(failure)
    return found, absent


def peer_versions() -> dict[str, str]:
    """The versions of the other packages that are installed."""
    names = ("liger-kernel", "quack-kernels", "cut-cross-entropy", "unsloth", "unsloth-zoo", "torch", "triton")
    chosen = {"LIGER_KERNEL_IMPL": value} if (value := os.environ.get("LIGER_KERNEL_IMPL")) else {}
    installed = {name.lower().replace("_", "-") for distribution in metadata.distributions() if (name := distribution.name)}
    return chosen | {name: metadata.version(name) for name in names if name in installed}
