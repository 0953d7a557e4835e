"""The head for masked tokens: an encoder's own where its files bring one, else a new one over the tokens of the text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoConfig

from lilift.model.encoders.adaptable_encoder import load_adaptable
from lilift.model.encoders.encoder_tokenizer import load_encoder_tokenizer
from lilift.model.encoders.masked_token_head import NewHead, load_own_head, mask_token
from lilift.model.seeding import seeded
from lilift.recipe.schema import EncoderSettings
from tests.model.conftest import SPREAD

CPU = torch.device("cpu")
IDS = (0, 5, 6, 7, 8, 2)
SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32, "vocab_size": 60}
FAMILIES = {
    "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, **SPREAD)),
    "distilbert": lambda: transformers.DistilBertForMaskedLM(
        transformers.DistilBertConfig(vocab_size=60, dim=24, n_layers=2, n_heads=3, hidden_dim=32)
    ),
    "modernbert": lambda: transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(**SMALL, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    ),
    "deberta": lambda: transformers.DebertaV2ForMaskedLM(transformers.DebertaV2Config(**SMALL, **SPREAD)),
}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_head_alone_gives_the_scores_of_the_whole_model(family: str, tmp_path: Path) -> None:
    with seeded(3):
        model = FAMILIES[family]().eval()
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    head = load_own_head(str(tmp_path), None, config, IDS, dtype=torch.float32)
    assert head is not None
    ids = torch.tensor([IDS])
    with torch.no_grad():
        states = getattr(model, model.base_model_prefix)(input_ids=ids).last_hidden_state
        torch.testing.assert_close(head(states[0, 1:4]), model(input_ids=ids).logits[0, 1:4], rtol=1e-4, atol=1e-4)


def test_the_own_head_of_xlmr_shares_the_encoders_embeddings(encoder_folder: Callable[[str], Path]) -> None:
    encoder = load_adaptable(EncoderSettings(model=str(encoder_folder("xlmr")), dtype="float32"), device=CPU)
    assert encoder.own_head is not None
    embeddings = encoder.half.get_input_embeddings().weight
    assert encoder.own_head.model.get_output_embeddings().weight is embeddings


def test_an_encoder_without_a_head_in_its_files_gets_none(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    # As E5: an encoder that was trained on for retrieval.
    whole = transformers.AutoModel.from_pretrained(encoder_folder("xlmr"), add_pooling_layer=False)
    whole.save_pretrained(tmp_path)
    assert load_own_head(str(tmp_path), None, whole.config, IDS, dtype=torch.float32) is None
    # Its configuration may still name the model that it comes from.
    whole.config.architectures = ["XLMRobertaForMaskedLM"]
    whole.config.save_pretrained(tmp_path)
    assert load_own_head(str(tmp_path), None, whole.config, IDS, dtype=torch.float32) is None
    mt5 = encoder_folder("mt5")
    assert load_own_head(str(mt5), None, AutoConfig.from_pretrained(mt5), IDS, dtype=torch.float32) is None


def test_a_new_head_counts_only_the_tokens_that_it_knows() -> None:
    head = NewHead(8, (2, 5, 9), seed=1)
    assert head(torch.zeros(4, 8)).shape == (4, 3)
    assert head.classes(torch.tensor([9, 2, 5, 2])).tolist() == [2, 0, 1, 0]
    torch.testing.assert_close(head.linear.weight, NewHead(8, (2, 5, 9), seed=1).linear.weight)


@pytest.mark.parametrize(("name", "expected"), [("xlmr", "<mask>"), ("umt5", "<unk>"), ("mt5", "<unk>")])
def test_the_mask_is_the_token_that_the_encoder_learned_to_fill_in(
    name: str, expected: str, encoder_folder: Callable[[str], Path]
) -> None:
    folder = str(encoder_folder(name))
    config = AutoConfig.from_pretrained(folder)
    tokenizer = load_encoder_tokenizer(folder, None, config)
    found = mask_token(folder, None, tokenizer, config.vocab_size)
    if expected == "<unk>":  # these tiny vocabularies have no sentinels
        assert found == tokenizer.unknown_id
    else:
        assert found == transformers.AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(expected)


def test_the_mask_of_a_t5_encoder_is_its_first_sentinel(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder_folder("mt5"))
    tokenizer.add_tokens(["<extra_id_0>"])
    tokenizer.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(encoder_folder("mt5"))
    config.save_pretrained(tmp_path)
    loaded = load_encoder_tokenizer(str(tmp_path), None, config)
    assert mask_token(str(tmp_path), None, loaded, config.vocab_size) == tokenizer.convert_tokens_to_ids("<extra_id_0>")
    assert mask_token(str(tmp_path), None, loaded, len(tokenizer) - 1) == loaded.unknown_id, "it has no embedding"
