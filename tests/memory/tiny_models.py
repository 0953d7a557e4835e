"""Models of a few hundred thousand parameters in a shape that memory follows: layers, a vocabulary, grouped heads."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, MT5Config, MT5EncoderModel, PreTrainedTokenizerFast

from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe

LAYERS = 6


def make_models(folder: Path) -> Path:
    """Write `encoder/` and `llm/` as `save_pretrained` does."""
    torch.manual_seed(0)
    encoder = MT5Config(vocab_size=64, d_model=64, d_kv=16, d_ff=96, num_layers=3, num_heads=4, decoder_start_token_id=0)
    MT5EncoderModel(encoder).save_pretrained(folder / "encoder")
    _tokenizer().save_pretrained(folder / "encoder")
    llm = LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(llm).save_pretrained(folder / "llm")
    _tokenizer().save_pretrained(folder / "llm")
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )


def make_recipe(models: Path, *overrides: str) -> Recipe:
    """`tiny-cpu` with these models in bfloat16."""
    return load_recipe(
        "tiny-cpu",
        [
            f"encoder.model={models / 'encoder'}",
            "encoder.add_embeddings=false",
            f"llm.model={models / 'llm'}",
            "llm.dtype=bfloat16",
            "llm.gradient_checkpointing=true",
            "alignment.expansion=2",
            *overrides,
        ],
    )
