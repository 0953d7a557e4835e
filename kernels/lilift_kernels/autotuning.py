"""Opt-in: time a kernel's configurations on the card at hand, instead of trusting the static table.

``LILIFT_KERNELS_AUTOTUNE=1`` switches it on. The first call of a kernel with a new shape then times a handful of
configurations on its own arguments, which takes seconds, and keeps the fastest in a file: ``kernels.json`` in
``~/.cache/lilift`` (or ``$XDG_CACHE_HOME/lilift``), or where ``LILIFT_KERNELS_CACHE`` says. Without the setting the file is not
read. Results stay repeatable to the bit as long as the file stays as it is; another configuration sums in another order.
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

from lilift_kernels.tiles import Blocks

SETTING = "LILIFT_KERNELS_AUTOTUNE"
PLACE = "LILIFT_KERNELS_CACHE"
FORMAT = 1
REPEATS = 3

_known: dict[Path, dict[str, Blocks]] = {}


def enabled() -> bool:
    """Whether configurations are to be timed."""
    return os.environ.get(SETTING, "0") not in ("", "0")


def cache_file() -> Path:
    """Where the fastest configurations are kept."""
    named = os.environ.get(PLACE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lilift" / "kernels.json"


def fastest(
    kernel: str,
    shape: Sequence[int],
    device: torch.device,
    table: Blocks,
    candidates: Sequence[Blocks],
    run: Callable[[Blocks], object],
) -> Blocks:
    """The fastest configuration: known from the cache, or timed now; ``table`` where autotuning is off.

    Args:
        kernel, shape: with the card and Triton's version, what the choice is kept under.
        table: the static table's choice.
        candidates: what to time beside it. One that does not compile or does not fit is passed over.
        run: does the kernel's work with a configuration; called several times, so it must not change its own input.
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


def _timed(device: torch.device, candidates: Sequence[Blocks], run: Callable[[Blocks], object]) -> Blocks:
    """The fastest of ``candidates``; the first if none of them runs."""
    best, least = candidates[0], float("inf")
    for candidate in candidates:
        try:
            run(candidate)  # compiles
            taken = min(_seconds(device, run, candidate) for _ in range(REPEATS))
        except Exception:
            # Triton's errors have no common base. What is wrong with the call itself shows when it is made.
            continue
        if taken < least:
            best, least = candidate, taken
    return best


def _seconds(device: torch.device, run: Callable[[Blocks], object], candidate: Blocks) -> float:
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


def _read(place: Path) -> dict[str, Blocks]:
    """What the file holds; nothing, with a warning, if it cannot be read."""
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return {}
        return {key: Blocks(**entry) for key, entry in content["fastest"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as failure:
        warnings.warn(f"{place} cannot be read ({failure}); the kernels are timed anew", stacklevel=4)
        return {}


def _write(place: Path) -> None:
    """Keep what is known, with what another process has written meanwhile; a file that cannot be written costs a warning."""
    _known[place] = _read(place) | _known[place]
    content = {"format": FORMAT, "fastest": {key: asdict(blocks) for key, blocks in sorted(_known[place].items())}}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        Path(file.name).replace(place)
    except OSError as failure:
        warnings.warn(f"{place} cannot be written ({failure}); the kernels are timed again next time", stacklevel=4)
