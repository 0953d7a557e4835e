"""What every test stands on: one core, no network, and the folder with the real data files."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

# Before torch, tokenizers and datasets are imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)

# Slow or shared machines must not make a test of behaviour fail, and a failure must come back on the next run.
settings.register_profile("lilift", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lilift")


@pytest.fixture
def few_objects() -> Iterator[None]:
    """The garbage collection that follows each failure of memory passes over what is there already, which makes it quick."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with public data files (benchmarks, dictionaries); tests that need it are skipped where it is absent.

    It is ``$LILIFT_SHARED_DATA``, or ``shared/data`` beside the repository.
    """
    named = os.environ.get("LILIFT_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no public data files at {folder}; set LILIFT_SHARED_DATA to the folder that holds them")
    return folder
