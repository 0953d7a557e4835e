"""bitsandbytes and peft, imported without torch's compiler. All modules of lilift take both from here.

bitsandbytes 0.50 gives four functions to `torch.compile` while it is imported, and peft imports bitsandbytes. That imports
all of dynamo and inductor, takes longer than the rest of bitsandbytes, and compiles nothing yet. lilift hardly ever calls these
functions. Here each function goes to `torch.compile` at its first call instead, and computes the same.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch

_compile_now = torch.compile


def _compile_later(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
    """`torch.compile`, except that the first call of the result does the work."""
    if function is None:
        return partial(_compile_later, **options)
    compiled = cache(partial(_compile_now, function, **options))

    def call(*arguments: Any, **named: Any) -> Any:
        return compiled()(*arguments, **named)

    return call


# On some CPUs (AVX512-BF16) bitsandbytes looks for a package that downloads compiled code from the hub, and logs that the
# package is missing. lilift does not need it, because that path has no backward pass (see `keep_autograd_on_cpu` in
# `lilift.model.four_bit_loading`).
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
if "bitsandbytes" not in sys.modules:
    torch.compile = _compile_later  # type: ignore[assignment]
try:
    import bitsandbytes
    import peft.utils.transformers_weight_conversion
finally:
    torch.compile = _compile_now

__all__ = ["bitsandbytes", "peft"]
