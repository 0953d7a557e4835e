"""The memory of a translator, from its files: CTranslate2's or Hugging Face's."""

from __future__ import annotations

from pathlib import Path

from lilift.recipe.schema import PivotSettings
from lilift.translation.translator_memory import PUBLISHED, TranslatorShape, shape_in, translator_memory
from tests.translation.tiny_translators import save_nllb


def test_the_shape_stands_in_the_converted_file_and_in_the_configuration(nllb: Path, tmp_path: Path) -> None:
    shape = shape_in(nllb / "model.bin")
    assert shape is not None
    assert (shape.width, shape.encoder_layers, shape.decoder_layers, shape.inner) == (24, 1, 1, 32)
    save_nllb(tmp_path / "huggingface")
    converted, source = (
        translator_memory(PivotSettings(model=str(folder)), on_gpu=False) for folder in (nllb, tmp_path / "huggingface")
    )
    assert converted is not None
    assert source is not None
    assert converted.weights == (nllb / "model.bin").stat().st_size
    assert source.weights == shape.weight_bytes
    assert (converted.keys_and_values, converted.logits) == (source.keys_and_values, source.logits)


def test_a_batch_takes_what_hypotheses_and_the_vocabulary_ask_for() -> None:
    four, eight = (
        translator_memory(PivotSettings(model="facebook/nllb-200-3.3B", beam_size=beams), on_gpu=True) for beams in (4, 8)
    )
    assert four is not None
    assert eight is not None
    assert eight.logits == 2 * four.logits == 2 * 2 * (4096 // 16) * 4 * 256_206 * 4
    # Two vectors of 2,048 numbers in float16 for each of 24 layers: of the text, and twice of each hypothesis.
    assert four.keys_and_values == 4096 * (1 + 2 * 4 * 1.5) * 2 * 2048 * 24 * 2
    assert PUBLISHED["nllb-200-3.3b"].weight_bytes == four.weights


def test_what_is_no_model_has_no_shape(tmp_path: Path) -> None:
    for content in (b"", b"\x06\x00\x00\x00", b"\x06\x00\x00\x00\x02\x00a\x00" + b"\xff" * 40, b"x" * 100):
        (tmp_path / "model.bin").write_bytes(content)
        assert shape_in(tmp_path / "model.bin") is None
    assert translator_memory(PivotSettings(model="nobody/translator"), on_gpu=False) is None
    assert TranslatorShape(100, 8, 1, 1, 16).weight_bytes == 100 * 8 + 2 * (4 * 64 + 2 * 8 * 16) + 4 * 64
