"""Tokenizers with more tokens than the model has rows: an unused padding token is left out, every other token is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader

from lilift.export.gguf.gguf_part import llm_vocabulary
from lilift.export.gguf.tokenizer_files import read_vocabulary
from lilift.export.hugging_face import _copy_other_files
from lilift.model.llms.llm import load_llm
from lilift.model.snapshot import local_model_folder
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import LLMSettings

PAD = "[PADDING]"
STAND_IN = local_model_folder("stand-in:llm", None)
ROWS: int = json.loads((STAND_IN / "config.json").read_text())["vocab_size"]


def edited(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values, ensure_ascii=False))


def with_token(folder: Path, *, special: bool = True, role: str | None = "pad_token", in_vocabulary: bool = False) -> Path:
    """A copy of the stand-in whose tokenizer has one token more than the model has rows."""
    shutil.copytree(STAND_IN, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    token = {"id": ROWS, "content": PAD, "special": special}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    if in_vocabulary:
        content["model"]["vocab"][PAD] = ROWS
    edited(folder / "tokenizer.json", added_tokens=[*content["added_tokens"], token | flags], model=content["model"])
    if role is not None:
        edited(folder / "tokenizer_config.json", **{role: PAD})
    return folder


def loaded(folder: Path) -> Any:
    settings = LLMSettings(model=str(folder), quantization="none", dtype="float32")
    return load_llm(settings, device=torch.device("cpu"))[0]


@pytest.mark.parametrize(
    "more", [{}, {"in_vocabulary": True}, {"special": False}], ids=["", "in the vocabulary", "by its role"]
)
def test_a_padding_token_without_row_is_left_out(more: dict[str, Any], tmp_path: Path, written: Callable[..., Any]) -> None:
    folder = with_token(tmp_path / "llm", **more)
    edited(folder / "config.json", pad_token_id=ROWS)  # transformers builds no model with it
    assert loaded(folder).get_input_embeddings().num_embeddings == ROWS
    written(folder, tmp_path / "model.gguf")
    fields = GGUFReader(str(tmp_path / "model.gguf")).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert len(tokens) == ROWS
    assert PAD not in tokens
    assert fields["tokenizer.ggml.padding_token_id"].contents() == fields["tokenizer.ggml.eos_token_id"].contents() < ROWS
    assert tokens == [token.decode() for token in read_vocabulary(STAND_IN, ROWS).tokens]
    (tmp_path / "hf").mkdir()
    _copy_other_files(folder, tmp_path / "hf", "float32")
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["pad_token_id"] is None


@pytest.mark.parametrize(
    "more", [{"special": False, "role": None}, {"role": "unk_token"}, {"role": "eos_token"}], ids=["in texts", "unknown", "end"]
)
def test_a_token_that_texts_can_contain_is_refused_before_training(more: dict[str, Any], tmp_path: Path) -> None:
    folder = with_token(tmp_path / "llm", **more)
    with pytest.raises(ModelError, match=rf"token '\[PADDING\]' with the number {ROWS}, .* only {ROWS} rows"):
        loaded(folder)
    with pytest.raises(ModelError, match=r"no row|more than the model's|only .* rows"):
        llm_vocabulary(folder, ROWS)


def test_rows_without_token_stay_placeholders() -> None:
    _, vocabulary = llm_vocabulary(STAND_IN, ROWS + 24)
    assert len(vocabulary.tokens) == ROWS + 24
    assert vocabulary.tokens[-1] == f"[PAD{ROWS + 23}]".encode()


def test_added_tokens_json_knows_no_roles_and_the_settings_beside_it_do(tmp_path: Path) -> None:
    """Many copies of Llama 2 name their padding token only there."""
    from sentencepiece import SentencePieceTrainer

    (tmp_path / "text").write_text("Mary has apples and buys more\n" * 50)
    SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "tokenizer"), vocab_size=40, model_type="bpe", minloglevel=2
    )
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<pad>": 40}))
    with pytest.raises(ModelError, match="no row for the token '<pad>'"):
        read_vocabulary(tmp_path, 40)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))
    assert len(read_vocabulary(tmp_path, 40).tokens) == 40
