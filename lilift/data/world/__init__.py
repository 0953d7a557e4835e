"""The task world: English math word problems with worked solutions, and the same world in real low-resource languages.

Pure Python, generated from `patterns.txt`, `words.txt` and an excerpt of GATITOS (see `gatitos/ATTRIBUTION.md`). `problems`
says what is held out for testing; `languages` says how honest its foreign text is.
"""

from __future__ import annotations

from lilift.data.world.problems import is_held_out, monolingual_text, test_problems, training_problems
from lilift.data.world.world_languages import ENGLISH, WORLD_LANGUAGES, WorldLanguage, lexicon_path

__all__ = [
    "ENGLISH",
    "WORLD_LANGUAGES",
    "WorldLanguage",
    "is_held_out",
    "lexicon_path",
    "monolingual_text",
    "test_problems",
    "training_problems",
]
