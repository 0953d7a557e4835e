#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  gensim 4.4.0, numpy 2.4.6, scipy 1.17.1, Python 3.11
# Input:    word vectors of the three words "a", "new york" and "b", saved and loaded by gensim itself in word2vec's two formats.
# Expected: the same three words, or an error when they are saved.
# Seen:     both files are written without a word. Loading the text format ends with "could not convert string to float: 'york'",
#           loading the binary format with a UnicodeDecodeError in the record behind it, because a blank ends a word in both.
# Why it matters: phrases are common in vectors (gensim's own Phrases can join words with a blank), and dictionaries are induced from
#           such files. The fault shows only when somebody else loads the file, perhaps after days of training.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "gensim==4.4.0" "numpy==2.4.6" "scipy==1.17.1"
venv/bin/python - <<'PY'
import numpy
from gensim.models import KeyedVectors

vectors = KeyedVectors(2)
vectors.add_vectors(["a", "new york", "b"], numpy.array([[1, 2], [3, 4], [5, 6]], dtype=numpy.float32))
seen = {}
for binary in (False, True):
    path = f"vectors-{binary}"
    vectors.save_word2vec_format(path, binary=binary)
    try:
        seen[binary] = list(KeyedVectors.load_word2vec_format(path, binary=binary).key_to_index)
    except ValueError as error:  # a UnicodeDecodeError is one
        seen[binary] = type(error).__name__
    print("binary:" if binary else "text:  ", seen[binary])
assert seen == {False: "ValueError", True: "UnicodeDecodeError"}, "gensim reads back what it writes, or refuses to write it"
PY
echo "as described"
