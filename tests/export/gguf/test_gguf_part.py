"""What no GGUF export can hold is refused before anything is written."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from lilift.export.gguf.gguf_part import begin_gguf
from lilift.recipe.errors import ModelError


def test_a_layer_that_mixes_the_encoders_layers_is_refused() -> None:
    recipe = SimpleNamespace(name="mixing", alignment=SimpleNamespace(layers="mix"))
    export: Any = SimpleNamespace(recipe=recipe)
    with ExitStack() as stack, pytest.raises(ModelError, match=r"mixing: .*alignment\.layers: mix.*--to hf"):
        begin_gguf(export, stack)
