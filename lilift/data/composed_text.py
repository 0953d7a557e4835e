"""Writes every letter of a text in one way, Unicode's form NFC: a letter and its marks are one character where there is one.

The same letter can be one character (`ậ`) or a letter with marks behind it (`a`, dot below, circumflex). Readers see no
difference, but tokenizers do. Those of XLM-R and NLLB in transformers drop the second mark (`cậu bé` becomes `cạu bé`), and
llama.cpp normalizes nothing. So lilift composes texts in two places: where a row becomes an example or a pair of a dictionary
(the readers of rows themselves change no letter), and where a model reads a question (the encoder's tokenizer, `Tokenisation`,
`ExportedBridge`).
"""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """The text in Unicode's form NFC. A text that is in this form already comes back unchanged."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
