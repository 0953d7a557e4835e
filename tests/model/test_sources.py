"""Every way in which a model is not there is one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from lilift.model import sources
from lilift.model.encoders.encoder import load_encoder
from lilift.model.llms.llm import load_llm
from lilift.model.sources import loading, model_folder_or_hub
from lilift.recipe.errors import DataError, ModelError
from lilift.recipe.schema import EncoderSettings, LLMSettings

RESPONSE: Any = SimpleNamespace(headers={}, request=None)  # all that the hub's errors ask of one


def copy(source: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_a_folder_and_a_hub_name_are_told_apart(llm_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = llm_folder("llama")
    assert model_folder_or_hub(str(folder)) == str(folder)
    monkeypatch.chdir(folder.parent)
    assert Path(model_folder_or_hub(f"./{folder.name}")).resolve() == folder.resolve()
    assert model_folder_or_hub("google/mt5-xl") == "google/mt5-xl"
    assert model_folder_or_hub("gpt2") == "gpt2"
    for text in ("a/b/c", "no spaces please", ""):
        with pytest.raises(ModelError, match=r"is neither a folder in /.* nor a name on the hub"):
            model_folder_or_hub(text)


def test_stand_ins_lie_in_the_package(
    tmp_path: Path, llm_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.resources, "files", lambda package: tmp_path if package == "lilift" else None)
    (tmp_path / "stand_ins").mkdir()
    copy(llm_folder("llama"), tmp_path / "stand_ins" / "llm")
    assert model_folder_or_hub("stand-in:llm") == str(tmp_path / "stand_ins" / "llm")
    with pytest.raises(ModelError, match="no such model folder"):
        model_folder_or_hub("stand-in:encoder")
    with pytest.raises(ModelError, match="use stand-in:encoder or stand-in:llm"):
        model_folder_or_hub("stand-in:lmm")


def test_what_a_folder_lacks_is_named(llm_folder: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        model_folder_or_hub(str(tmp_path / "nowhere"))
    folder = copy(llm_folder("llama"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        model_folder_or_hub(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelError, match="pickled"):
        model_folder_or_hub(str(folder))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}), encoding="utf-8")
    (folder / "one.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"missing: two\.safetensors"):
        model_folder_or_hub(str(folder))
    index.write_text('{"weight_map"', encoding="utf-8")
    with pytest.raises(ModelError, match="index of the weights is damaged"):
        model_folder_or_hub(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        model_folder_or_hub(str(folder))


@pytest.mark.parametrize("damage", ["truncated", "no header", "unknown architecture", "configuration is not JSON"])
def test_damaged_models_are_one_line(damage: str, llm_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy(llm_folder("llama"), tmp_path / "model")
    weights = folder / "model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "no header":
        weights.write_bytes(b"\xff" * 64)
    elif damage == "unknown architecture":
        (folder / "config.json").write_text('{"model_type": "never-heard-of"}', encoding="utf-8")
    else:
        (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_llm(LLMSettings(model=str(folder), dtype="float32", quantization="none"), device="cpu")  # type: ignore[arg-type]
    line = caught.value.line()
    assert str(folder) in line
    assert len(line) < 400
    assert ("weights are damaged" in line) == (damage in ("truncated", "no header"))


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_an_llm_without_tokenizer_is_refused(family: str, llm_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """For some families transformers makes an empty tokenizer and says nothing."""
    folder = copy(llm_folder(family), tmp_path / "model")
    for path in folder.glob("token*"):
        path.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load_llm(LLMSettings(model=str(folder), dtype="float32", quantization="none"), device="cpu")  # type: ignore[arg-type]


def test_a_hub_model_that_is_not_here_is_one_line() -> None:
    """The tests run without the hub, as a user may."""
    with pytest.raises(
        ModelError,
        match=r"nobody/nothing: no file or folder of that name in /.*, and the encoder is not in the hub's cache",
    ):
        load_encoder(EncoderSettings(model="nobody/nothing"), device="cpu")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="hub cannot be reached"):
        load_llm(LLMSettings(model="nobody/nothing"), device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (
            GatedRepoError("gated", response=RESPONSE),
            "gated on the hub; accept its licence at https://huggingface.co/owner/name",
        ),
        (RepositoryNotFoundError("none", response=RESPONSE), "not on the hub, or it is private"),
        (RevisionNotFoundError("none", response=RESPONSE), "no such revision"),
        (LocalEntryNotFoundError("offline"), "hub cannot be reached"),
        (ConnectionError("refused"), "hub cannot be reached"),
        (EntryNotFoundError("none"), "a file of the LLM is missing on the hub"),
        (SafetensorError("header too large"), r"damaged \(header too large\)"),
        (
            ValueError("owner/name does not appear to have a file named model.safetensors or model.safetensors.index.json"),
            r"pickled, which lilift never loads; convert them at .* `revision`",
        ),
        (ValueError("please pass trust_remote_code=True"), "llm.trust_remote_code"),
        (RuntimeError("CUDA out of memory. Tried"), "does not fit into memory"),
        (ValueError("Odd thing. And\nmore lines."), r"cannot load the LLM \(Odd thing\)"),
    ],
)
def test_each_cause_has_its_remedy(cause: Exception, words: str) -> None:
    """Transformers wraps what the hub raised, so the cause counts, not the wrapper."""
    outer = OSError("We could not connect to the hub, or it is something else")
    outer.__cause__ = cause
    with pytest.raises(ModelError, match=words) as caught, loading("owner/name", what="LLM"):
        raise cause if isinstance(cause, ValueError | RuntimeError) else outer
    assert caught.value.line().startswith("owner/name: ")
    assert caught.value.exit_code == 4


def test_lilifts_own_errors_pass_and_transformers_speaks_again_afterwards() -> None:
    transformers_logging.set_verbosity_warning()
    with pytest.raises(DataError, match="other"), loading("x", what="LLM"):
        raise DataError("other" if transformers_logging.get_verbosity() == transformers_logging.ERROR else "loud")
    assert transformers_logging.get_verbosity() == transformers_logging.WARNING
    transformers_logging.set_verbosity_error()
