"""The export that the tests of the server answer with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.export.runner.exported_bridge import ExportedBridge


@pytest.fixture(scope="module")
def bridge(exported: Path) -> ExportedBridge:
    return ExportedBridge(exported, quantisation="f32", threads=1)
