"""Texts that readers of data files take for something else, in pairs of question and response."""

from __future__ import annotations

COLUMNS = ("question", "response")
HARD = [
    ("None", "NA"), ("null", "nan"), ("007", "1E5"), ("12.50", "18.0"), ("true", "False"), ("[1, 2]", '{"a": 1}'),
    ("2024-01-02", "2024-01-02T03:04:05Z"), ("0,50", "a;b"), ("a\nb", "a\r\nb"), ("a\rb", "\r"), ('"', '""'),
    ('"quoted"', "it's"), ("a\tb", "|"), ("\ufeffmark", "\u2028\u2029\x85\x0b\x0c\x1c"), ("\\n", "\\"), ("é", "e\u0301"),
    ("😀", "\U0010fffd"), (" a ", "\xa0"), ("#", "-"), ("100000000000000000000", "0.1000000000000000055"), ("a, b", "sep=;"),
]  # fmt: skip
