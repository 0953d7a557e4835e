"""Count the sentences that llama.cpp gives other tokens than training, with and without lilift's normalization.

LILIFT_SHARED_DATA=FOLDER python -m benchmarks llama_cpp_tokens --check

FOLDER holds sib200_flores_parallel/*.tsv.gz: 1,004 FLORES sentences in each of 48 languages. The tokenizers are byte-level BPE
with 20,000 tokens, which this script trains on a fifth of the sentences. They split text as Qwen's and Llama 3's do, and they
normalize to NFC as Qwen's does. The real tokenizers have more tokens but the same steps.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gguf import GGUFWriter
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks.shared.result_files import data_parser, keep, parse_with_data, report_goals
from lilift.data.languages import languages
from lilift.data.texts.parallel_sentences import parallel_sentences
from lilift.export.gguf.normalizer import steps_beyond_llama_cpp
from lilift.export.gguf.tokenizer_files import read_vocabulary
from lilift.export.gguf.tokenizer_json import SPLITTING
from lilift.export.runner.llama_library import llama_library
from lilift.export.runner.text_normalization import TextNormalization

GOALS = {"other tokens with lilift, sentences": ("at most", 0.0)}
VOCABULARY = 20_000
TRAINED_ON = 200  # sentences of each language


def trained(splitting: str, *, ignore_merges: bool, texts: Mapping[str, Sequence[str]]) -> Tokenizer:
    """A byte-level BPE tokenizer with NFC and this rule for splitting a text."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(splitting), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((text for some in texts.values() for text in some[:TRAINED_ON]), trainer)
    return tokenizer


def in_llama_cpp(folder: Path, size: int) -> Callable[[str], list[int]]:
    """llama.cpp's tokenizer for the tokenizer files of a folder."""
    path = folder / "vocabulary.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    read_vocabulary(folder, size).add_to(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    library = llama_library()
    parameters = library.call("llama_model_default_params")
    parameters.vocab_only = True
    model = library.call("llama_model_load_from_file", str(path).encode(), parameters)
    assert model, library.last_error
    vocabulary = library.call("llama_model_get_vocab", model)

    def tokens(text: str) -> list[int]:
        encoded = text.encode()
        room = (ctypes.c_int32 * (len(encoded) + 8))()
        count = library.call("llama_tokenize", vocabulary, encoded, len(encoded), room, len(room), False, False)
        return list(room[:count])

    return tokens


def main() -> int:
    arguments = parse_with_data(data_parser("Sentences that llama.cpp gives other tokens than training."))
    folder = arguments.data / "sib200_flores_parallel"
    codes = [code for code in languages() if (folder / f"{code}.tsv.gz").is_file()]
    texts = parallel_sentences(str(folder), codes)
    found: dict[str, dict[str, dict[str, int]]] = {}
    for splitting, (rule, ignore_merges) in SPLITTING.items():
        with tempfile.TemporaryDirectory() as place:
            tokenizer = trained(splitting, ignore_merges=ignore_merges, texts=texts)
            tokenizer.save(str(Path(place) / "tokenizer.json"))
            llama = in_llama_cpp(Path(place), tokenizer.get_vocab_size())
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        normalized = TextNormalization(steps_beyond_llama_cpp(fast, "gpt2", folder))
        alone, lilift = {}, {}
        for code, some in texts.items():
            ids = [each.ids for each in tokenizer.encode_batch(some, add_special_tokens=False)]
            alone[code] = sum(llama(text) != one for text, one in zip(some, ids, strict=True))
            lilift[code] = sum(llama(normalized(text)) != one for text, one in zip(some, ids, strict=True))
        found[rule] = {
            name: {code: n for code, n in counts.items() if n} for name, counts in (("llama.cpp", alone), ("lilift", lilift))
        }
        print(f"{rule}: {found[rule]}", flush=True)
    summary = {"other tokens with lilift, sentences": float(sum(sum(each["lilift"].values()) for each in found.values()))}
    sentences = {"languages": len(texts), "sentences of each": len(texts["en"])}
    keep("llama_cpp_tokens", {"goals": GOALS, "summary": summary, **sentences, "other tokens": found})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
