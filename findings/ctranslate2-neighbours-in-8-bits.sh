#!/usr/bin/env bash
# Date:     2026-11-28
# Version:  CTranslate2 4.8.5, numpy 2.3.5, Python 3.11
# Input:    150 texts for a small translator (random weights from a seed, four layers, 512 wide), on a CPU with one thread, greedily:
#           each text alone, and all in one call.
# Expected: the same translations. In 8 bits every product of matrices is a sum of integers and exact, each text's numbers are
#           rounded with that text's own scale, and CTranslate2 leaves padding out. So 8 bits should be safer than float32.
# Seen:     float32 gives the same 150 translations. In 8 bits some translations change with their neighbours: attention is still
#           computed in float32, whose last bit depends on the shape of the batch, and one such bit is enough to round a number to
#           the next of 255 steps.
# Why it matters: 8 bits are the usual choice on a CPU. A cache, a continued run, or several workers that share the texts then give
#           other translations than one run over everything, and tests that compare two runs fail now and then. Only float32, or
#           one text a call, repeats.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ctranslate2==4.8.5" "numpy==2.3.5"
OMP_NUM_THREADS=1 venv/bin/python - <<'PY'
import os
import random

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec

WIDTH, INNER, WORDS, LAYERS = 512, 2048, 4000, 4
numbers = np.random.default_rng(0)
words = ["<unk>", "<s>", "</s>", *(f"w{number}" for number in range(WORDS - 3))]


def fill(place, rows, columns):
    place.weight = (numbers.standard_normal((rows, columns)) * 0.04).astype(np.float32)
    place.bias = np.zeros(rows, dtype=np.float32)


def norm(place):
    place.gamma, place.beta = np.ones(WIDTH, dtype=np.float32), np.zeros(WIDTH, dtype=np.float32)


spec = TransformerSpec.from_config(num_layers=LAYERS, num_heads=8)
for half, embeddings in ((spec.encoder, spec.encoder.embeddings[0]), (spec.decoder, spec.decoder.embeddings)):
    embeddings.weight = (numbers.standard_normal((WORDS, WIDTH)) * 0.04).astype(np.float32)
    norm(half.layer_norm)
    for layer in half.layer:
        norm(layer.self_attention.layer_norm)
        fill(layer.self_attention.linear[0], 3 * WIDTH, WIDTH)
        fill(layer.self_attention.linear[1], WIDTH, WIDTH)
        if half is spec.decoder:
            norm(layer.attention.layer_norm)
            fill(layer.attention.linear[0], WIDTH, WIDTH)
            fill(layer.attention.linear[1], 2 * WIDTH, WIDTH)
            fill(layer.attention.linear[2], WIDTH, WIDTH)
        norm(layer.ffn.layer_norm)
        fill(layer.ffn.linear_0, INNER, WIDTH)
        fill(layer.ffn.linear_1, WIDTH, INNER)
fill(spec.decoder.projection, WORDS, WIDTH)
spec.register_source_vocabulary(words)
spec.register_target_vocabulary(words)
spec.validate()
os.mkdir("model")
spec.save("model")

drawn = random.Random(1)
texts = [[*drawn.choices(words[3:], k=drawn.randrange(3, 40)), "</s>"] for _ in range(150)]
options = {"beam_size": 1, "max_decoding_length": 20}
changed = {}
for kind in ("float32", "int8"):
    translator = ctranslate2.Translator("model", device="cpu", compute_type=kind, intra_threads=1)
    alone = [translator.translate_batch([text], **options)[0].hypotheses for text in texts]
    together = [result.hypotheses for result in translator.translate_batch(texts, **options)]
    again = [result.hypotheses for result in translator.translate_batch(texts, **options)]
    assert together == again, "the same call gives the same translations"
    changed[kind] = sum(one != other for one, other in zip(alone, together, strict=True))
print("translations that change with their neighbours:", changed)
assert changed["float32"] == 0, "float32 depends on the neighbours too"
assert changed["int8"] > 0, "8 bits no longer depend on the neighbours here"
PY
echo "as described"
