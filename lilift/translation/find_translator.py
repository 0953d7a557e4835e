"""Finds the translator that a user names, downloads it, and converts a Hugging Face model once into the user's cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lilift.model.sources import check_model_folder, loading, model_folder_or_hub
from lilift.recipe import sealed_folders
from lilift.recipe.errors import EnvironmentUnfit, ModelError
from lilift.recipe.names.local_paths import local_folder
from lilift.translation.translator_files import (
    MODEL,
    TOKENIZERS,
    TranslatorFiles,
    configuration_of,
    is_converted,
    read_translator,
)
from lilift.translation.translator_languages import translator_language

# What lilift downloads: CTranslate2's files, or those of a Hugging Face model. Never pickled weights.
_WANTED = (MODEL, "*.safetensors", "*.json", "*vocabulary.txt", "*.model", "*.spm", "*.md", "LICENSE*")
_CONVERTED = ("m2m_100", "marian")  # NLLB is m2m_100
_REFUSED = {
    **dict.fromkeys(
        ("t5", "mt5"), "transformers 5 changes the scores of T5 models, MADLAD among them, so their conversion is not exact"
    ),
    "umt5": "transformers 5 computes umT5's decoder wrongly",
}
_QUANTISATION = "int8"
_REMEDY = "give an NLLB, M2M100 or Marian (opus-mt) model"


def find_translator(
    name: str, revision: str | None = None, *, note: Callable[[str], None] = lambda _line: None
) -> TranslatorFiles:
    """The files of a translator; a Hugging Face model is converted to 8 bits first, once for each version of its files.

    Args:
        name: a folder, or a name on the hub.
        revision: of a name on the hub.
        note: prints a line for the user.

    Raises:
        ModelError: the model cannot be found, downloaded or converted, or is no translator that lilift knows.
        EnvironmentUnfit: the conversion needs packages that are not installed.
    """
    folder = local_folder(name)
    on_hub = folder is None
    if folder is None:
        folder = _downloaded(model_folder_or_hub(name), revision)
    if not folder.is_dir():
        raise _no_folder(folder)
    if is_converted(folder):
        return read_translator(folder)
    if on_hub and not any(folder.glob("*.safetensors")):
        raise ModelError(
            "the translator's weights on the hub are pickled, which lilift never loads",
            where=name,
            remedy="give a CTranslate2 conversion of it, such as OpenNMT/nllb-200-distilled-1.3B-ct2-int8",
        )
    return read_translator(_converted(folder, note))


def check_translator(name: str, languages: Iterable[str], chosen: Mapping[str, str]) -> None:
    """Check a translator without loading, downloading or converting it, as far as its files are on this machine.

    Args:
        name: a folder, or a name on the hub.
        languages: what it translates from or into, by lilift's codes.
        chosen: the user's choice of codes.

    Raises:
        ModelError: the folder does not exist or holds no translator that lilift knows, or the translator lacks a language.
    """
    folder = local_folder(name)
    if folder is None:
        model_folder_or_hub(name)
        return
    if not folder.is_dir():
        raise _no_folder(folder)
    if not is_converted(folder):
        _require_known_family(folder)
        check_model_folder(folder)
        folder = converted_folder(folder)
    if is_converted(folder):
        files = read_translator(folder)
        for language in languages:
            translator_language(files, language, is_target=language == "en", chosen=chosen)


def converted_folder(folder: Path) -> Path:
    """Where lilift keeps the conversion of a Hugging Face folder: a name for its place, files, their sizes and times."""
    lines = [str(folder.resolve())]
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".safetensors", ".json", ".model", ".spm"):
            status = path.stat()
            lines.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    cache = os.environ.get("XDG_CACHE_HOME")
    base = Path(cache) if cache else Path.home() / ".cache"
    return base / "lilift" / "translators" / hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24]


def _downloaded(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_WANTED), local_files_only=True))
    except Exception:  # not in the cache; the next call says why it cannot be downloaded
        pass
    from lilift.model.sources import loading_error

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_WANTED)))
    except Exception as error:  # the HTTP library's errors have no common class with the hub's
        raise loading_error(error, name, "translator") from error


def _converted(folder: Path, note: Callable[[str], None]) -> Path:
    """The conversion of a Hugging Face folder, made now if it is not there."""
    _require_known_family(folder)
    check_model_folder(folder)
    place = converted_folder(folder)
    if place.is_dir():
        return place
    note(f"converting {folder} for CTranslate2, in 8 bits; lilift keeps the result in {place}")
    tokenizers = [folder / name for name in TOKENIZERS if (folder / name).is_file()]
    with sealed_folders.sealed_folder(place, {"source": str(folder)}) as partial:
        _convert(folder, partial)
        for path in tokenizers:
            (partial / path.name).write_bytes(path.read_bytes())
    return place


def _require_known_family(folder: Path) -> None:
    kind = str(configuration_of(folder).get("model_type"))
    if kind not in _CONVERTED:
        why = _REFUSED.get(kind, f"lilift translates with NLLB, M2M100 and Marian models, and this one is of the type {kind!r}")
        raise ModelError(f"lilift does not translate with this model: {why}", where=folder, remedy=_REMEDY)


def _no_folder(folder: Path) -> ModelError:
    return ModelError("no such folder with a translator", where=folder, remedy="check the path, or give a name on the hub")


class _WithCodes:
    """A tokenizer that names its language codes where CTranslate2 4.8 looks for them.

    A tokenizer of M2M100 that was made from its vocabulary files alone has its codes neither in the vocabulary nor among the
    special tokens (transformers 5.23), and the conversion would fail.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        ids = getattr(self._tokenizer, "lang_token_to_id", None) or {}
        codes = {"additional_special_tokens": sorted(ids, key=ids.__getitem__)} if ids else {}
        return dict(self._tokenizer.special_tokens_map) | codes


def _convert(folder: Path, target: Path) -> None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise EnvironmentUnfit(
            "the conversion of a Hugging Face translator needs torch and transformers, which are not installed",
            where=folder,
            remedy="run `pip install 'lilift[train,pivot]'`, or give a folder that CTranslate2's converter wrote",
        ) from error
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):  # type: ignore[misc]
        def load_model(self, model_class: Any, model_name_or_path: str, **kwargs: Any) -> Any:
            """Load the model, and refuse one whose files lack weights: transformers gives those random values."""
            model, found = model_class.from_pretrained(model_name_or_path, output_loading_info=True, **kwargs)
            missing = sorted(found["missing_keys"])
            if missing:
                raise ModelError(
                    f"the model's files lack {len(missing)} weights of a translator, {missing[0]} among them",
                    where=folder,
                    remedy="give the whole model, encoder and decoder",
                )
            return model

        def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **kwargs: Any) -> Any:
            return _WithCodes(tokenizer_class.from_pretrained(model_name_or_path, **kwargs))

    with loading(str(folder), what="translator"):
        Converter(str(folder)).convert(str(target), quantization=_QUANTISATION, force=True)
