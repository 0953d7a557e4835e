"""Tiny random models of every family that docs/models.md lists, saved as a user would have them on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM

from lilift.model.seeding import seeded
from lilift.model.snapshot import local_model_folder
from lilift.phases.model_check.check_model import Kind

VOCABULARY = 1200  # of the stand-in's tokenizer
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
    "initializer_range": 0.1,
}
TWO_KINDS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
GEMMA = {"query_pre_attn_scalar": 16, "sliding_window": 16}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 16, "mamba_expand": 2}
T5 = {
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 96,
    "num_layers": 2,
    "num_heads": 4,
    "pad_token_id": 0,
    "feed_forward_proj": "gated-gelu",
}
BERT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.1}


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: as people call it.
        kind: what it is used as.
        examples: well-known models of the family.
        save: writes a tiny one into a folder.
    """

    name: str
    kind: Kind
    examples: str
    save: Callable[[Path], None] = field(repr=False)


def llm(config_class: str, **settings: Any) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        config = getattr(transformers, config_class)(**SIZES | settings)
        _save(AutoModelForCausalLM.from_config(config, dtype=torch.float32), folder)
        _stand_in_files("llm", folder, "tokenizer.json", "tokenizer_config.json")

    return save


def qwen(config_class: str, **settings: Any) -> Callable[[Path], None]:
    """An LLM with byte-level BPE; transformers gives these families their own splitting rule, whatever their files say."""

    def save(folder: Path) -> None:
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        pieces = ["<|endoftext|>", *letters, "Ġt", "he", "Ġthe", "an"]
        tokenizer = transformers.Qwen2Tokenizer(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=[("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("a", "n")],
        )
        special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
        config = getattr(transformers, config_class)(**SIZES | special | {"vocab_size": len(pieces)} | settings)
        _save(AutoModelForCausalLM.from_config(config, dtype=torch.float32), folder)
        tokenizer.save_pretrained(folder)

    return save


def masked(config_class: str, model_class: str, **settings: Any) -> Callable[[Path], None]:
    """An encoder with the tokenizer of the stand-in LLM, which is `tokenizer.json` alone."""

    def save(folder: Path) -> None:
        config = getattr(transformers, config_class)(**SIZES | settings)
        _save(getattr(transformers, model_class)(config), folder)
        _stand_in_files("llm", folder, "tokenizer.json", "tokenizer_config.json")

    return save


def t5(config_class: str, model_class: str, *files: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        _save(getattr(transformers, model_class)(getattr(transformers, config_class)(vocab_size=2500, **T5)), folder)
        _stand_in_files("encoder", folder, *files)

    return save


def _byt5(folder: Path) -> None:
    _save(transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=384, **T5)), folder)
    transformers.ByT5Tokenizer().save_pretrained(folder)


def _nllb(folder: Path) -> None:
    letters = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.?,▁"))
    vocabulary = {piece: index for index, piece in enumerate(("<s>", "<pad>", "</s>", "<unk>", *letters))}
    tokenizer = transformers.NllbTokenizer(vocab=vocabulary, merges=[])
    tokenizer.save_pretrained(folder)
    config = transformers.M2M100Config(
        vocab_size=len(tokenizer),
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=96,
        decoder_ffn_dim=96,
        init_std=0.1,
        max_position_embeddings=128,
    )
    _save(transformers.M2M100ForConditionalGeneration(config), folder)


def xlmr(config_class: str, model_class: str) -> Callable[[Path], None]:
    """An encoder with XLM-R's tokenizer, and the SentencePiece file whose ids are shifted by one."""

    def save(folder: Path) -> None:
        file = local_model_folder("stand-in:encoder", None) / "spiece.model"
        processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
        own = [(processor.id_to_piece(index), processor.get_score(index)) for index in range(3, processor.get_piece_size())]
        pieces = [*((piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")), *own, ("<mask>", 0.0)]
        folder.mkdir(parents=True, exist_ok=True)
        transformers.XLMRobertaTokenizer(vocab=pieces).save_pretrained(folder)
        shutil.copyfile(file, folder / "sentencepiece.bpe.model")
        config = getattr(transformers, config_class)(
            vocab_size=len(pieces), max_position_embeddings=130, type_vocab_size=1, pad_token_id=1, **BERT
        )
        _save(getattr(transformers, model_class)(config), folder)

    return save


def _t5gemma(folder: Path) -> None:
    part = transformers.T5GemmaModuleConfig(**SIZES, **GEMMA, layer_types=["sliding_attention", "full_attention"])
    config = transformers.T5GemmaConfig(encoder=part, decoder=part, vocab_size=VOCABULARY)
    _save(transformers.T5GemmaForConditionalGeneration(config), folder)
    _stand_in_files("llm", folder, "tokenizer.json", "tokenizer_config.json")


FAMILIES: tuple[Family, ...] = (
    Family("Llama", "llm", "Llama 2 and 3, EuroLLM, TinyLlama, Yi", llm("LlamaConfig")),
    Family("Mistral", "llm", "Mistral 7B", llm("MistralConfig", sliding_window=None)),
    Family("Ministral 3", "llm", "Ministral 3 3B, 8B, 14B", llm("Ministral3Config")),
    Family("Qwen 2", "llm", "Qwen2, Qwen2.5", qwen("Qwen2Config")),
    Family("Qwen 3", "llm", "Qwen3 0.6B to 32B", qwen("Qwen3Config")),
    Family("Gemma 2", "llm", "Gemma 2 2B, 9B, 27B", llm("Gemma2Config", **GEMMA)),
    Family("Gemma 3", "llm", "Gemma 3 1B to 27B", llm("Gemma3TextConfig", **GEMMA)),
    Family("Gemma 4, dense", "llm", "Gemma 4 31B", llm("Gemma4TextConfig", hidden_size_per_layer_input=0, **TWO_KINDS)),
    Family(
        "Gemma 4, per-layer embeddings",
        "llm",
        "Gemma 4 E2B, E4B",
        llm("Gemma4TextConfig", hidden_size_per_layer_input=16, vocab_size_per_layer_input=VOCABULARY, **TWO_KINDS),
    ),
    Family("Phi-3", "llm", "Phi-3, Phi-4 14B", llm("Phi3Config")),
    Family(
        "Phi-4 mini",
        "llm",
        "Phi-4 mini",
        llm("Phi3Config", rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75}),
    ),
    Family("SmolLM3", "llm", "SmolLM3 3B", llm("SmolLM3Config", no_rope_layers=[1, 0])),
    Family("OLMo 3", "llm", "OLMo 3 7B, 32B", llm("Olmo3Config", **TWO_KINDS)),
    Family("EXAONE 4", "llm", "EXAONE 4.0 1.2B, 32B", llm("Exaone4Config", **TWO_KINDS)),
    Family("Apertus", "llm", "Apertus 8B, 70B", llm("ApertusConfig")),
    Family(
        "gpt-oss",
        "llm",
        "gpt-oss 20b, in 16 bits",
        llm("GptOssConfig", num_local_experts=4, num_experts_per_tok=2, **TWO_KINDS),
    ),
    Family("Qwen 3 MoE", "llm", "Qwen3 30B-A3B", qwen("Qwen3MoeConfig", **EXPERTS)),
    Family("Qwen 3.5", "llm", "Qwen3.5", qwen("Qwen3_5TextConfig", **LINEAR)),
    Family(
        "Qwen 3 Next",
        "llm",
        "Qwen3-Next 80B-A3B",
        qwen("Qwen3NextConfig", shared_expert_intermediate_size=32, **EXPERTS, **LINEAR),
    ),
    Family("LFM2", "llm", "LFM2 350M to 2.6B", llm("Lfm2Config", layer_types=["conv", "full_attention"])),
    Family(
        "Granite 4 hybrid",
        "llm",
        "Granite 4.0 H",
        llm(
            "GraniteMoeHybridConfig",
            layer_types=["mamba", "attention"],
            num_local_experts=0,
            shared_intermediate_size=96,
            **MAMBA,
        ),
    ),
    Family("Falcon-H1", "llm", "Falcon-H1 0.5B to 34B", llm("FalconH1Config", mamba_d_ssm=128, **MAMBA)),
    Family(
        "mT5",
        "encoder",
        "mT5, mT5 of LangBridge",
        t5("MT5Config", "MT5ForConditionalGeneration", "spiece.model", "tokenizer.json", "tokenizer_config.json"),
    ),
    Family("umT5", "encoder", "umT5", t5("UMT5Config", "UMT5ForConditionalGeneration", "spiece.model")),
    Family("ByT5", "encoder", "ByT5", _byt5),
    Family("NLLB", "encoder", "NLLB-200, M2M-100", _nllb),
    Family(
        "XLM-R", "encoder", "XLM-R, multilingual-e5 base and large, BGE-M3", xlmr("XLMRobertaConfig", "XLMRobertaForMaskedLM")
    ),
    Family("BERT", "encoder", "multilingual-e5-small, LaBSE", xlmr("BertConfig", "BertModel")),
    Family(
        "ModernBERT", "encoder", "mmBERT", masked("ModernBertConfig", "ModernBertForMaskedLM", cls_token_id=1, sep_token_id=2)
    ),
    Family("EuroBERT", "encoder", "EuroBERT 210m to 2.1B", masked("EuroBertConfig", "EuroBertForMaskedLM", mask_token_id=0)),
    Family("T5Gemma", "encoder", "T5Gemma", _t5gemma),
    Family(
        "Gemma 3, bidirectional",
        "encoder",
        "EmbeddingGemma",
        masked("Gemma3TextConfig", "Gemma3TextModel", use_bidirectional_attention=True, **GEMMA),
    ),
)


def saved(family: Family, folder: Path) -> Path:
    """A tiny model of a family in a folder; the same weights every time."""
    with seeded(1):
        family.save(folder)
    return folder


def _save(model: Any, folder: Path) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)


def _stand_in_files(kind: str, folder: Path, *names: str) -> None:
    for name in names:
        shutil.copyfile(local_model_folder(f"stand-in:{kind}", None) / name, folder / name)
