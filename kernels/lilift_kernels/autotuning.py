"""Time the cuts of the loss on this machine's card instead of trusting the static rule; off by default.

Set ``LILIFT_KERNELS_AUTOTUNE=1`` to switch it on. The first call with a new shape then times a few cuts on its own arguments,
which takes a second. It stores the fastest in ``kernels.json`` in ``~/.cache/lilift`` (or
``$XDG_CACHE_HOME/lilift``), or in the file that ``LILIFT_KERNELS_CACHE`` names. Without the setting nothing reads the file.
Results repeat to the bit as long as the file does not change, because another configuration sums in another order.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from lilift_kernels.tiles import LossCut

SETTING = "LILIFT_KERNELS_AUTOTUNE"
PLACE = "LILIFT_KERNELS_CACHE"
FORMAT = 2
REPEATS = 3

_known: dict[Path, dict[str, LossCut]] = {}


def enabled() -> bool:
    """True if ``LILIFT_KERNELS_AUTOTUNE`` switches autotuning on."""
    return os.environ.get(SETTING, "0") not in ("", "0")


def cache_file() -> Path:
    """The file that stores the fastest configurations."""
    named = os.environ.get(PLACE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lilift" / "kernels.json"


def fastest(
    kernel: str,
    shape: Sequence[int],
    device: torch.device,
    table: LossCut,
    candidates: Sequence[LossCut],
    run: Callable[[LossCut], object],
) -> LossCut:
    """The fastest configuration, from the cache or timed now; ``table`` if autotuning is off.

    Args:
        kernel, shape: the key of the choice, together with the card and Triton's version.
        table: the static table's choice.
        candidates: the others to time. One that does not compile or does not fit is skipped.
        run: does the kernel's work with a configuration. It is called several times, so it must not change its own input.
    """
    if not enabled():
        return table
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return table
    place = cache_file()
    if place not in _known:
        _known[place] = _read(place)
    key = _key(kernel, shape, device)
    if key not in _known[place]:
        _known[place][key] = _timed(device, (table, *(item for item in candidates if item != table)), run)
        _write(place)
    return _known[place][key]


def _timed(device: torch.device, candidates: Sequence[LossCut], run: Callable[[LossCut], object]) -> LossCut:
    """The fastest of ``candidates``; the first if none of them runs."""
    best, least = candidates[0], float("inf")
    for candidate in candidates:
        try:
            run(candidate)  # compiles
            taken = min(_seconds(device, run, candidate) for _ in range(REPEATS))
        except Exception:
            # Triton's errors have no common base class. An error in the call itself shows when the caller makes it.
            continue
        if taken < least:
            best, least = candidate, taken
    return best


def _seconds(device: torch.device, run: Callable[[LossCut], object], candidate: LossCut) -> float:
    if device.type == "cuda":
        before = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        after = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        before.record()
        run(candidate)
        after.record()
        after.synchronize()
        return float(before.elapsed_time(after)) / 1000
    started = time.perf_counter()
    run(candidate)
    return time.perf_counter() - started


def _key(kernel: str, shape: Sequence[int], device: torch.device) -> str:
    import triton

    card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{kernel} {'x'.join(map(str, shape))} on {card}, triton {triton.__version__}"


def _read(place: Path) -> dict[str, LossCut]:
    """The contents of the file. If it cannot be read, warn and return nothing."""
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return {}
        return {key: LossCut(**entry) for key, entry in content["fastest"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as failure:
        warnings.warn(f"lilift cannot read {place} ({failure}); it times the kernels again", stacklevel=4)
        return {}


def _write(place: Path) -> None:
    """Store all choices, with those that another process has written meanwhile. If the file cannot be written, warn."""
    _known[place] = _read(place) | _known[place]
    content = {"format": FORMAT, "fastest": {key: asdict(blocks) for key, blocks in sorted(_known[place].items())}}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        Path(file.name).replace(place)
    except OSError as failure:
        warnings.warn(f"lilift cannot write {place} ({failure}); it times the kernels again next time", stacklevel=4)
