"""A small random NLLB model, converted once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a converted NLLB model whose weights are float32, so that results compare with transformers."""
    pytest.importorskip("ctranslate2", reason="lilift translates with ctranslate2 (extra `pivot`)")
    from lilift.translation import find_translator
    from tests.translation.tiny_translators import save_nllb

    folder = tmp_path_factory.mktemp("translators") / "nllb"
    save_nllb(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        patch.setattr(find_translator, "_QUANTISATION", None)
        return find_translator.find_translator(str(folder)).folder
