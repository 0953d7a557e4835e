"""Token ids from a GGUF file against the original tokenizer: every one of them."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lilift.export.gguf.gguf_vocabulary import TokenType
from lilift.export.gguf.tokenizer_json import SPLITTING, from_tokenizer_json
from lilift.model.snapshot import local_model_folder
from lilift.recipe.errors import ModelError

LINES = [
    "Maria has 12 apples and buys 3 bags with 8 in each; how many are left?",
    " leading, trailing and   inner   spaces  ",
    "Don't, we'LL, I'm they've 12345 678 3.14 1,050 … «ok» — ½",
    "Juma ana maembe 15, anampa Asha maembe 4. Amebaki na mangapi?",
    "রহিমের ৭১,২২৬টি আম আছে। সে ৩টি দিল।",
    "రాము దగ్గర 15 మామిడి పండ్లు ఉన్నాయి.",
    "น้องมีส้ม ๑๒ ผล ให้เพื่อน 3 ผล",
    "小明有三百八十七個蘋果，給了弟弟12個。",
    "Ahmet'in 12 elması var; İğne ıslak, ŞĞÜÖÇ.",
    "У Ивана 1 050 рублей, ещё ёлка.",
    "كان لدى سارة ٤٥ تفاحة.",
    "Żółta łódź ఎన్ని 😀 👩‍👩‍👧 \tTab\nnew line\r\n\r\nend",
    "x_y = f(a[0]) // 2  # code",
]


@pytest.fixture(scope="module")
def lines(request: pytest.FixtureRequest) -> list[str]:
    """Texts in many scripts; where the public data files are, also real sentences of 48 languages."""
    found = list(LINES)
    try:
        shared: Path = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return found
    for path in sorted((shared / "sib200_flores_parallel").glob("*.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found += [next(file).rstrip("\n") for _ in range(4)]
    return found


def model_with(folder: Path, rows: int) -> None:
    """The smallest model that llama.cpp loads, with one embedding for each token."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def byte_level(folder: Path, splitting: str | None, *, ignore_merges: bool = False) -> None:
    """A small byte-level BPE tokenizer that splits text as the family does."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if splitting is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(splitting), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken("<|begin|>", special=True), AddedToken("<|end|>", special=True)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(LINES * 3, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>").save_pretrained(folder)


def check_every_id(server: Any, reference: Callable[[str], Sequence[int]], lines: Sequence[str]) -> None:
    wrong = [line for line in lines if server.tokens(line) != list(reference(line))]
    assert not wrong, f"{len(wrong)} of {len(lines)} lines, the first: {wrong[0]!r}"


def bare(folder: Path) -> Callable[[str], Sequence[int]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda text: tokenizer(text, add_special_tokens=False).input_ids


RULES = {pre: (splitting, ignores) for splitting, (pre, ignores) in SPLITTING.items()}


@pytest.mark.parametrize("pre", ["gpt-2", *RULES])
def test_byte_level_bpe(
    pre: str, tmp_path: Path, lines: list[str], written: Callable[..., Any], stock_server: Callable[..., Any]
) -> None:
    splitting, ignores = RULES.get(pre, (None, False))
    model_with(tmp_path, 640)
    byte_level(tmp_path, splitting, ignore_merges=ignores)
    written(tmp_path, tmp_path / "model.gguf")
    check_every_id(stock_server(tmp_path / "model.gguf"), bare(tmp_path), lines)


def test_a_converted_sentencepiece_tokenizer(
    tmp_path: Path, lines: list[str], written: Callable[..., Any], stock_server: Callable[..., Any]
) -> None:
    """The stand-in LLM's: `tokenizer.json` alone, whose scores have to be won back."""
    model_with(tmp_path, 1200)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(local_model_folder("stand-in:llm", None) / name, tmp_path / name)
    written(tmp_path, tmp_path / "model.gguf")
    server = stock_server(tmp_path / "model.gguf")
    check_every_id(server, bare(tmp_path), lines)
    assert server.tokens("12 apples", special=True)[0] == 1, "the BOS token of training"


def test_llama_2s_own_file_and_its_golden_vectors(
    tmp_path: Path, shared_data: Path, lines: list[str], written: Callable[..., Any], stock_server: Callable[..., Any]
) -> None:
    original = shared_data / "tokenizers" / "llama2_sentencepiece_tokenizer.model"
    model_with(tmp_path, 32000)
    shutil.copyfile(original, tmp_path / "tokenizer.model")
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    written(tmp_path, tmp_path / "model.gguf")
    server = stock_server(tmp_path / "model.gguf")
    processor = SentencePieceProcessor(model_file=str(original))
    assert len(lines) > 150
    check_every_id(server, processor.encode, lines)
    golden = shared_data / "tokenizers" / "ggml-vocab-llama-spm.gguf"
    texts = golden.with_suffix(".gguf.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    ids = [list(map(int, line.split())) for line in golden.with_suffix(".gguf.out").read_text().splitlines()]
    assert len(texts) >= len(ids) > 40
    assert [server.tokens(text) for text in texts[: len(ids)]] == ids


def stand_in_json() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((local_model_folder("stand-in:llm", None) / "tokenizer.json").read_text())
    return found


def test_an_unknown_pre_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    byte_level(tmp_path, r"\p{L}+|\d|.")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    with pytest.raises(ModelError, match=r"pre-tokenizer.*\\\\p\{L\}\+"):
        from_tokenizer_json(content, 640, tmp_path)


def test_merges_that_scores_cannot_express_are_refused() -> None:
    content = stand_in_json()
    content["model"]["merges"].pop(500)
    with pytest.raises(ModelError, match=r"not in the list|is not a token"):
        from_tokenizer_json(content, 1200, Path("tokenizer.json"))


@pytest.mark.parametrize("change", ["Lowercase", "Unigram", "rows"])
def test_other_tokenizers_are_refused_by_name(change: str) -> None:
    content = stand_in_json()
    if change == "Lowercase":
        content["normalizer"]["normalizers"].append({"type": "Lowercase"})
    if change == "Unigram":
        content["model"]["type"] = "Unigram"
    with pytest.raises(ModelError, match="tokens, more than" if change == "rows" else change):
        from_tokenizer_json(content, 1000 if change == "rows" else 1200, Path("tokenizer.json"))


def test_kinds_of_tokens_have_the_numbers_of_gguf() -> None:
    assert {kind.name: kind.value for kind in TokenType} == {kind.name: kind.value for kind in gguf.TokenType}
