#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  transformers 5.23.0, tokenizers 0.23.3, sentencepiece 0.2.3, Python 3.11
# Input:    the text "It is </s> in HTML", tokenised with split_special_tokens=True, whose documentation promises that special
#           tokens that stand in a text are split like any other text.
# Expected: pieces such as "</", "s", ">", and never the end-of-sequence token; SentencePiece itself does that.
# Seen:     true for a BPE model. A Unigram model (XLM-R's tokenizer class, and so NLLB's and T5's) gives the end-of-sequence token
#           all the same: the option only keeps the added tokens from being matched, and then the model finds "</s>" in its own
#           vocabulary, where XLM-R and its relatives have it.
# Why it matters: whoever switches the option on so that data or users cannot write control tokens is protected with Llama and
#           Qwen, and not with the encoders and translation models of multilingual work.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "transformers==5.23.0" "tokenizers==0.23.3" "sentencepiece==0.2.3"
HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2>/dev/null
import io

import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaTokenizer

TEXT = "It is </s> in HTML"
LINES = ["It is in HTML < / s > unk"] * 50


def pieces(tokenizer):
    return tokenizer.convert_ids_to_tokens(tokenizer(TEXT, add_special_tokens=False, split_special_tokens=True)["input_ids"])


spelled = ["▁", "▁It", "▁is", "▁in", "▁HTML", *"s</>unk"]
special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
unigram = XLMRobertaTokenizer(vocab=[*special, *((piece, -2.0 - rank) for rank, piece in enumerate(spelled))])

bpe = Tokenizer(models.BPE())
bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = pre_tokenizers.ByteLevel.alphabet()
bpe.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>"], initial_alphabet=alphabet))
bpe = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>")

model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(LINES), model_writer=model, vocab_size=30, hard_vocab_limit=False, minloglevel=2
)
original = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode(TEXT, out_type=str)

print("XLM-R's class: ", pieces(unigram))
print("byte-level BPE:", pieces(bpe))
print("SentencePiece: ", original)
assert "</s>" in pieces(unigram), "a Unigram model splits special tokens now"
assert "</s>" not in pieces(bpe) and "</s>" not in original
PY
echo "as described"
