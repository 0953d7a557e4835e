"""Makes `tiny_run` importable by the tests beside it, which also run it as a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train import tiny_run


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random encoder and a tiny random LLM."""
    folder = tmp_path_factory.mktemp("models")
    tiny_run.make_models(folder)
    return folder
