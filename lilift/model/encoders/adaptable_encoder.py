"""An encoder that learns: a LoRA adapter on its layers, which is merged into a copy of the encoder at the end."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from lilift.model.encoders.encoder import PROBE
from lilift.model.encoders.encoder_architecture import loader_of, text_encoder_in
from lilift.model.encoders.encoder_tokenizer import EncoderTokenizer, load_encoder_tokenizer
from lilift.model.encoders.masked_token_head import OwnHead, load_own_head, mask_token
from lilift.model.seeding import seeded
from lilift.model.snapshot import local_model_folder
from lilift.model.sources import loading, model_folder_or_hub
from lilift.model.training_libraries import peft
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import EncoderSettings

_TOKENIZER_FILES = ("*token*.json", "*.model", "vocab*", "merges.txt", "*.jinja")


@dataclass
class AdaptableEncoder:
    """An encoder with what its adaptation needs.

    Attributes:
        whole: the checkpoint as transformers loads it: the encoder, or an encoder-decoder.
        half: the text encoder in it. With an adapter on it, its layers are other modules, in the same places.
        tokenizer: gives the encoder's tokens.
        mask: the token that stands for a masked one.
        unasked: tokens that stand around every text, or for unknown text.
        own_head: the head for masked tokens in the checkpoint's files, if there is one.
    """

    whole: PreTrainedModel
    half: PreTrainedModel
    tokenizer: EncoderTokenizer
    mask: int
    unasked: frozenset[int]
    own_head: OwnHead | None

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """[B, S] tokens and their mask to [B, S, E] states."""
        found: Tensor = self.half(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return found


def load_adaptable(settings: EncoderSettings, *, device: torch.device) -> AdaptableEncoder:
    """Load a recipe's encoder for its adaptation, in `encoder.dtype` and never in 4 bits.

    Raises:
        ModelError: lilift cannot find or load it, or it has no vocabulary of which tokens can be masked.
    """
    location = model_folder_or_hub(settings.model)
    dtype = getattr(torch, settings.dtype)
    with loading(settings.model, what="encoder"):
        config = AutoConfig.from_pretrained(location, revision=settings.revision, trust_remote_code=False)
        check_adaptable(config, settings.model)
        tokenizer = load_encoder_tokenizer(
            location, settings.revision, config, settings.language_codes, text_prefix=settings.prefix
        )
    mask = mask_token(location, settings.revision, tokenizer, _rows(config))
    if mask is None:
        raise _not_adaptable("its tokenizer has no token that can stand for a masked one", settings.model)
    own_head = load_own_head(location, settings.revision, config, tokenizer.encode(PROBE), dtype=dtype)
    with loading(settings.model, what="encoder"):
        whole = loader_of(config).from_pretrained(
            location, revision=settings.revision, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    half = text_encoder_in(whole).requires_grad_(False).eval()
    if own_head is not None:
        own_head.share_embeddings(half)
    around = {*tokenizer.encode(""), tokenizer.unknown_id, tokenizer.pad_id} - {None}
    return AdaptableEncoder(
        whole, half.to(device), tokenizer, mask, frozenset(token for token in around if token is not None), own_head
    )


def check_adaptable(config: PreTrainedConfig, name: str) -> None:
    """Check that an encoder reads tokens of a vocabulary, which it can be asked for.

    Raises:
        ModelError: it reads letters or bytes.
    """
    if _rows(config) == 0:
        raise _not_adaptable(f"encoders of the kind {config.model_type!r} have no vocabulary", name)


def with_lora(half: nn.Module, rank: int, *, seed: int) -> Any:
    """Add a fresh LoRA adapter in float32 to all linear layers of an encoder. The layers change in place; peft's model is
    returned.

    Raises:
        ModelError: the encoder has no layer that can carry one.
    """
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    try:
        with seeded(seed), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft calls a function that transformers wants to remove
            return peft.get_peft_model(half, settings)
    except ValueError as error:
        raise _not_adaptable(str(error).split(".")[0], str(getattr(half, "name_or_path", ""))) from error


def save_encoder(encoder: AdaptableEncoder, settings: EncoderSettings, folder: Path) -> None:
    """Write an encoder whose adapter is merged, with the tokenizer files of the encoder that it comes from.

    Raises:
        ModelError: these files cannot be found.
    """
    encoder.half.to("cpu")
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        encoder.whole.save_pretrained(folder)
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    base = local_model_folder(settings.model, settings.revision)
    for pattern in _TOKENIZER_FILES:
        for path in base.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def token_ids(encoder: AdaptableEncoder, texts: Mapping[str, Sequence[str]], longest: int) -> list[tuple[int, ...]]:
    """The tokens of texts by language, each cut to `longest`; texts without a token that can be asked for are left out."""
    found = []
    for code, some in texts.items():
        reader = encoder.tokenizer.in_language(code)
        found += [tuple(reader.encode(text, longest)) for text in some]
    return [ids for ids in found if not encoder.unasked.issuperset(ids)]


def _rows(config: PreTrainedConfig) -> int:
    return int(getattr(config.get_text_config(), "vocab_size", 0) or 0)


def _not_adaptable(why: str, name: str) -> ModelError:
    return ModelError(
        f"lilift cannot adapt this encoder: {why}",
        where=name,
        remedy="remove encoder.adapt, or choose an encoder such as mT5 or XLM-R",
    )
