"""Writes the GGUF part of an export: the files, and their description in `lilift.json`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from lilift.export.gguf.alignment_gguf import write_alignment
from lilift.export.gguf.encoder_configuration import check_encoder
from lilift.export.gguf.encoder_gguf import EncoderFile
from lilift.export.gguf.gguf_vocabulary import Vocabulary
from lilift.export.gguf.gguf_writer import DIRECT
from lilift.export.gguf.llm_gguf import LLMFile
from lilift.export.gguf.normalizer import has_space_at_start_only, measure_unnormalized, steps_beyond_llama_cpp
from lilift.export.gguf.quantise import quantise, quantiser
from lilift.export.gguf.sentencepiece_model import from_sentencepiece, no_sentencepiece, sentencepiece_of_encoder
from lilift.export.gguf.tokenizer_files import read_vocabulary
from lilift.export.job import Export
from lilift.export.language_texts import texts_by_language
from lilift.export.llm_folder import config_content, read_config
from lilift.export.modelfile import FILE_NAME as MODELFILE
from lilift.export.modelfile import chat_template, modelfile
from lilift.model.encoders.encoder_tokenizer import SentencePieceTokenizer, load_encoder_tokenizer
from lilift.model.llms.special_tokens import LLMTokens, check_tokens_have_rows, tokens_of
from lilift.model.snapshot import local_model_folder
from lilift.model.sources import loading
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import EncoderSettings

MODELFILE_CONTEXT = 4096  # positions that Ollama reserves memory for; problems and their answers are shorter
ALIGNMENT_FILE = "align.gguf"
ENCODER_TOKENIZER = "spiece.model"
_SOURCES = ("f32", "f16", "bf16")  # types that llama.cpp's quantiser can start from without loss
_ENCODER_TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def begin_gguf(export: Export, stack: ExitStack) -> Callable[[], None]:
    """Check that llama.cpp can run the models and that the disk has room, and open the LLM's files.

    Returns:
        A function to call after the merged weights are written; it writes the other files.

    Raises:
        ModelError: llama.cpp cannot run the LLM or the encoder, or does not give the states that the alignment layer mixes.
        EnvironmentUnfit: the settings need llama.cpp's quantiser, and it is not installed.
        StorageError: the disk does not have enough room.
    """
    if export.recipe.alignment.layers == "mix":
        raise ModelError(
            "llama.cpp gives only the last states of an encoder, and this alignment layer mixes the states of all layers "
            "(alignment.layers: mix)",
            where=export.recipe.name,
            remedy="export with --to hf",
        )
    config = read_config(export.base)
    tokens, vocabulary = llm_vocabulary(export.base, config["vocab_size"])
    vocabulary.chat_template = chat_template(export.template, vocabulary.text(tokens.eos))
    encoder = _encoder_part(export)
    wanted = export.settings.quantisations
    by_llama = [quantisation for quantisation in wanted if quantisation not in DIRECT]
    direct = {quantisation: llm_file_name(quantisation) for quantisation in wanted if quantisation in DIRECT}
    source = next((name for quantisation, name in direct.items() if quantisation in _SOURCES), None)
    if by_llama:
        quantiser()  # raises its error now, before the long work, if there is no quantiser
        if source is None:
            source = direct["f16"] = "source-f16.gguf"
    llms = {
        name: LLMFile(config, export.merged.shapes, vocabulary, quantisation, name=export.recipe.name, where=export.base)
        for quantisation, name in direct.items()
    }
    parameters = sum(math.prod(shape) for shape in export.merged.shapes.values())
    room = (encoder.file.nbytes if encoder else 0) + sum(file.nbytes for file in llms.values()) + parameters * len(by_llama)
    export.plan_file(room, "the GGUF files")
    for name, file in llms.items():
        stack.enter_context(file.open(export.stage / name).opened())
        file.begin()
        export.sinks.append(file)
        export.row_multiple = file.config.head_size
        if file.fallbacks:
            export.notes.append(
                f"{name}: {file.fallbacks} tensors are stored in f16, because their rows are not a multiple of the block size"
            )
    known = next(iter(llms.values())).config
    export.description["llm"] |= {
        "files": {quantisation: llm_file_name(quantisation) for quantisation in wanted},
        **asdict(tokens),
        "control_tokens": vocabulary.control_tokens(),
        "hidden_size": known.hidden_size,
        "context_length": known.context_length,
        "embedding_scale": known.embedding_scale,
        "normalizer": vocabulary.normalizer,
        "space_prefix": "start" if vocabulary.space_at_start_only else "as llama.cpp",
    }
    if vocabulary.normalizer:
        texts = texts_by_language(export.parts.data, export.recipe.languages)
        export.unnormalized = measure_unnormalized(_llm_tokenizer(export.base), vocabulary.normalizer, texts)
        export.description["llm"]["without_normalizer"] = export.unnormalized.as_dict()
        export.notes.append(export.unnormalized.line())
    if encoder is not None:
        export.description["encoder"] |= encoder.description()
        export.description["alignment"] |= {"file": ALIGNMENT_FILE}

    def finish() -> None:
        for quantisation in by_llama:
            target = export.stage / llm_file_name(quantisation)
            export.notes += quantise(export.stage / str(source), target, quantisation)
        if source not in export.description["llm"]["files"].values():
            (export.stage / str(source)).unlink(missing_ok=True)
        if encoder is not None and export.parts.alignment is not None:
            encoder.write(export.stage)
            write_alignment(export.parts.alignment, export.recipe.alignment, export.stage / ALIGNMENT_FILE)
        files = [export.stage / name for name in export.description["llm"]["files"].values()]
        ollama = modelfile(
            min(files, key=lambda path: path.stat().st_size).name,
            export.template,
            [vocabulary.text(token) for token in tokens.stop],
            context_length=min(known.context_length, MODELFILE_CONTEXT),
            max_new_tokens=export.recipe.evaluate.max_new_tokens,
            comments=[export.unnormalized.line()] if export.unnormalized else [],
        )
        (export.stage / MODELFILE).write_text(ollama, encoding="utf-8")

    return finish


def _encoder_part(export: Export) -> EncoderPart | None:
    settings = export.recipe.encoder
    if not export.recipe.has_encoder:
        return None
    folder = export.parts.encoder or local_model_folder(settings.model, settings.revision)
    return EncoderPart(settings, folder, export.settings.encoder_quantisation)


def llm_file_name(quantisation: str) -> str:
    """The name of the LLM's file for a quantisation."""
    return f"llm-{quantisation}.gguf"


def llm_vocabulary(folder: Path, size: int) -> tuple[LLMTokens, Vocabulary]:
    """The special tokens of an LLM, and its vocabulary with these tokens marked.

    Raises:
        ModelError: the tokenizer is missing, or llama.cpp does not support it.
    """
    vocabulary = read_vocabulary(folder, size)
    tokenizer = _llm_tokenizer(folder)
    check_tokens_have_rows(tokenizer, size, str(folder), what="LLM")
    vocabulary.normalizer = steps_beyond_llama_cpp(tokenizer, vocabulary.model, folder)
    vocabulary.space_at_start_only = bool(vocabulary.add_space_prefix) and has_space_at_start_only(tokenizer)
    tokens = tokens_of(_declared_eos(folder), tokenizer, str(folder))
    roles = {"bos": tokens.bos, "eos": tokens.eos, "unk": tokenizer.unk_token_id, "pad": tokenizer.pad_token_id}
    if tokens.bos is None:
        roles["bos"] = tokenizer.bos_token_id
    if (roles["pad"] or 0) >= size:  # llama.cpp needs a valid one; no text has it, so any token that no text spells will do
        roles["pad"] = tokens.eos
    vocabulary.special |= {role: token for role, token in roles.items() if token is not None and token < size}
    vocabulary.add_bos = tokens.bos is not None
    return tokens, vocabulary


def _llm_tokenizer(folder: Path) -> Any:
    with loading(str(folder), what="LLM's tokenizer"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _declared_eos(folder: Path) -> Any:
    """The tokens that end generation, from the model's generation settings, or else from its configuration."""
    if (folder / "generation_config.json").is_file():
        with loading(str(folder), what="LLM's generation settings"):
            return GenerationConfig.from_pretrained(folder).eos_token_id
    return read_config(folder).get("eos_token_id")


class EncoderPart:
    """The encoder's file and its tokenizer.

    Args:
        settings: the recipe's section `encoder`.
        folder: the encoder's folder.
        quantisation: the type of its file; by default the precision of training.
        shapes: its tensors, where only a check is wanted and the folder holds no weights.

    Raises:
        ModelError: llama.cpp cannot run the encoder, or its tokenizer is not SentencePiece.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        folder: Path,
        quantisation: str | None,
        *,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        check_encoder(config_content(folder), folder)
        found = sentencepiece_of_encoder(folder, settings.model)
        with loading(settings.model, what="encoder"):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = load_encoder_tokenizer(str(folder), None, config)
        if not isinstance(tokenizer, SentencePieceTokenizer):
            raise no_sentencepiece(settings.model)
        self.tokenizer = tokenizer
        self.sentencepiece = found
        vocabulary = from_sentencepiece(found, config.vocab_size)
        self.file = EncoderFile(folder, vocabulary, quantisation or _ENCODER_TYPES[settings.dtype], shapes=shapes)

    @property
    def file_name(self) -> str:
        """The name of the encoder's file."""
        return f"encoder-{self.file.quantisation}.gguf"

    def description(self) -> dict[str, Any]:
        """What `lilift.json` says of it; the tokenizer's ids are those around the SentencePiece ids of a text."""
        tokenizer = {
            "file": ENCODER_TOKENIZER,
            "prefix": self.tokenizer.prefix,
            "suffix": self.tokenizer.suffix,
            "pad": self.tokenizer.pad_id,
            "unknown": self.tokenizer.unknown_id,
        }
        return {"file": self.file_name, "hidden_size": self.file.config["d_model"], "tokenizer": tokenizer}

    def write(self, folder: Path) -> None:
        """Write the encoder and its tokenizer."""
        self.file.write(folder / self.file_name)
        shutil.copyfile(self.sentencepiece, folder / ENCODER_TOKENIZER)
