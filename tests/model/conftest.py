"""Tiny random models of many families, saved as a user would have them on disk, and bridges loaded from them."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers.utils import logging as transformers_logging

from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge import BridgedModel
from lilift.model.llms.llm import load_llm
from lilift.model.seeding import seeded
from lilift.recipe.schema import LLMSettings, Recipe

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

VOCABULARY = 320
WINDOW = 8  # shorter than the rows of the tests
TEXT = "mary has apples and buys more how many does she have now the of in a to sells books each costs dollars"
WORDS = TEXT.split()
# Large weights, so that what a token attends to makes a visible difference.
SPREAD = {"initializer_range": 0.15}
DECODER: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
    **SPREAD,
}
LLMS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**DECODER)),
    "mistral": lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**DECODER, sliding_window=WINDOW)),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**DECODER, attention_dropout=0.5)),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**DECODER)),
    "gemma2": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(
            **DECODER, sliding_window=WINDOW, final_logit_softcapping=2.0, attn_logit_softcapping=1.0, query_pre_attn_scalar=8
        )
    ),
    "gemma3": lambda: transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(
            **DECODER,
            sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention"],
            final_logit_softcapping=3.0,
            query_pre_attn_scalar=8,
        )
    ),
    "phi3": lambda: transformers.Phi3ForCausalLM(transformers.Phi3Config(**DECODER, sliding_window=WINDOW, resid_pdrop=0.5)),
    # Learned positions: the only family here that notices when all positions are shifted alike.
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=0, eos_token_id=1, **SPREAD
        )
    ),
    "cohere": lambda: transformers.CohereForCausalLM(transformers.CohereConfig(**DECODER, logit_scale=0.25)),
    "granite": lambda: transformers.GraniteForCausalLM(
        transformers.GraniteConfig(**DECODER, logits_scaling=4.0, embedding_multiplier=3.0)
    ),
}
WITHOUT_BOS = {"qwen2", "qwen3"}
T5: dict[str, Any] = {"d_model": 24, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 3, "pad_token_id": 0}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred lines of text to train tokenizers on."""
    draw = random.Random(0)
    lines = [" ".join(draw.choices(WORDS, k=12)) + f" {draw.randrange(100)}" for _ in range(400)]
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def sentencepiece_file(corpus: Path) -> Path:
    """A unigram model with byte fallback, numbered as T5's."""
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(corpus.parent / "spiece"),
        vocab_size=300,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return corpus.parent / "spiece.model"


@pytest.fixture(scope="session")
def llm_folder(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Callable[[str], Path]:
    """The folder of a tiny LLM by its family's name."""

    @cache
    def folder(name: str) -> Path:
        path = tmp_path_factory.mktemp(name)
        with seeded(1):
            model = LLMS[name]()
            model.apply(_spread_norms)
        model.save_pretrained(path)
        _byte_level_tokenizer(corpus, has_bos=name not in WITHOUT_BOS).save_pretrained(path)
        return path

    return folder


@pytest.fixture(scope="session")
def llm_of(llm_folder: Callable[[str], Path]) -> Callable[..., tuple[Any, Any]]:
    """A tiny LLM and its tokenizer, on the CPU; fresh at every call."""

    def llm(name: str, **settings: Any) -> tuple[Any, Any]:
        defaults = {"model": str(llm_folder(name)), "dtype": "float32", "quantization": "none"}
        return load_llm(LLMSettings.model_validate({**defaults, **settings}), device=torch.device("cpu"))

    return llm


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory, sentencepiece_file: Path) -> Callable[[str], Path]:
    """The folder of a tiny encoder by its family's name."""

    @cache
    def folder(name: str) -> Path:
        path = tmp_path_factory.mktemp(name)
        with seeded(2):
            ENCODERS[name](path, sentencepiece_file)
        return path

    return folder


@pytest.fixture(scope="session")
def recipe_of(llm_folder: Callable[[str], Path], encoder_folder: Callable[[str], Path]) -> Callable[..., Recipe]:
    """A recipe that joins two tiny models."""

    def recipe(llm: str = "llama", encoder: str = "mt5", **sections: Any) -> Recipe:
        encoder_settings = {"model": str(encoder_folder(encoder)), "dtype": "float32", "max_tokens": 64}
        llm_settings = {"model": str(llm_folder(llm)), "dtype": "float32", "quantization": "none"}
        defaults: dict[str, Any] = {
            "seed": 5,
            "encoder": {**encoder_settings, **sections.pop("encoder_settings", {})},
            "llm": {**llm_settings, **sections.pop("llm_settings", {})},
            "data": {"instructions": {"source": "world"}, "lexicons": "world"},
        }
        return Recipe(
            name="tiny",
            card="cpu",
            languages=["sw"],
            **{**defaults, **sections},
        )

    return recipe


@pytest.fixture(scope="session")
def bridge_of(recipe_of: Callable[..., Recipe]) -> Callable[..., BridgedModel]:
    """A bridge of two tiny models, on the CPU; fresh at every call."""

    def bridge(*args: Any, **sections: Any) -> BridgedModel:
        return load_bridge(recipe_of(*args, **sections), device="cpu")

    return bridge


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., list[Row]]:
    """Rows of very different lengths, tokenised by a bridge's own tokenizers."""

    def rows(bridge: BridgedModel, *, prompt_words: int = 1) -> list[Row]:
        draw = random.Random(7)

        def text(words: int) -> str:
            return " " + " ".join(draw.choices(WORDS, k=words))

        def llm_ids(words: int) -> tuple[int, ...]:
            return tuple(bridge.llm_tokenizer(text(words), add_special_tokens=False).input_ids)

        return [
            Row(
                tuple(bridge.encoder.tokenizer.encode(text(source))),
                llm_ids(prompt_words),
                (*llm_ids(response), bridge.tokens.eos),
            )
            for source, response in ((3, 9), (10, 2), (1, 1), (6, 5))
        ]

    return rows


def _byte_level_tokenizer(corpus: Path, *, has_bos: bool) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(corpus)], trainer)
    if has_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def _spread_norms(module: torch.nn.Module) -> None:
    """Norms as a trained model has them, each feature scaled by its own factor."""
    weight = getattr(module, "weight", None)
    if "Norm" in type(module).__name__ and isinstance(weight, torch.nn.Parameter):
        with torch.no_grad():
            weight.add_(0.3 * torch.randn_like(weight))


def _pieces(sentencepiece_file: Path) -> list[tuple[str, float]]:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_file))
    return [(processor.id_to_piece(index), processor.get_score(index)) for index in range(processor.get_piece_size())]


def _save_mt5(path: Path, sentencepiece_file: Path) -> None:
    """The whole encoder-decoder, and the tokenizer in both forms."""
    transformers.MT5ForConditionalGeneration(transformers.MT5Config(vocab_size=VOCABULARY, **T5)).save_pretrained(path)
    transformers.T5Tokenizer(vocab=_pieces(sentencepiece_file), extra_ids=0).save_pretrained(path)
    (path / "spiece.model").write_bytes(sentencepiece_file.read_bytes())


def _save_umt5(path: Path, sentencepiece_file: Path) -> None:
    """The tokenizer as SentencePiece alone, which is all that the models on the hub have."""
    transformers.UMT5ForConditionalGeneration(transformers.UMT5Config(vocab_size=VOCABULARY, **T5)).save_pretrained(path)
    (path / "spiece.model").write_bytes(sentencepiece_file.read_bytes())


def _save_byt5(path: Path, sentencepiece_file: Path) -> None:  # noqa: ARG001
    transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=384, **T5)).save_pretrained(path)
    transformers.ByT5Tokenizer().save_pretrained(path)


def _save_nllb(path: Path, sentencepiece_file: Path) -> None:  # noqa: ARG001
    letters = sorted(set("".join(WORDS)) | set("0123456789▁"))
    special = ("<s>", "<pad>", "</s>", "<unk>")
    vocabulary = {piece: index for index, piece in enumerate((*special, *letters))}
    tokenizer = transformers.NllbTokenizer(vocab=vocabulary, merges=[])
    tokenizer.save_pretrained(path)
    config = transformers.M2M100Config(
        vocab_size=len(tokenizer),
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        init_std=0.3,
        max_position_embeddings=32,
    )
    transformers.M2M100ForConditionalGeneration(config).save_pretrained(path)


def _save_xlmr(path: Path, sentencepiece_file: Path) -> None:
    """A masked language model without pooler, and beside its tokenizer the SentencePiece file whose ids are shifted."""
    special = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces = [*special, *_pieces(sentencepiece_file)[3:], ("<mask>", 0.0)]
    transformers.XLMRobertaTokenizer(vocab=pieces).save_pretrained(path)
    (path / "sentencepiece.bpe.model").write_bytes(sentencepiece_file.read_bytes())
    config = transformers.XLMRobertaConfig(
        vocab_size=len(pieces),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        max_position_embeddings=66,
        type_vocab_size=1,
        pad_token_id=1,
        **SPREAD,
    )
    transformers.XLMRobertaForMaskedLM(config).save_pretrained(path)


ENCODERS: dict[str, Callable[[Path, Path], None]] = {
    "mt5": _save_mt5,
    "umt5": _save_umt5,
    "byt5": _save_byt5,
    "nllb": _save_nllb,
    "xlmr": _save_xlmr,
}
