"""The task world: generates English math word problems with worked solutions, and the same problems in low-resource languages.

It is pure Python and uses `patterns.txt`, `words.txt` and an excerpt of GATITOS (see `gatitos/ATTRIBUTION.md`). `problems`
describes which problems are held out for tests. `world_languages` describes how good its foreign text is.
"""

from __future__ import annotations

from lilift.data.world.problems import is_held_out, monolingual_text, test_problems, training_problems
from lilift.data.world.world_languages import ENGLISH, WORLD_LANGUAGES, WorldLanguage, lexicon_path, no_world_language

__all__ = [
    "ENGLISH",
    "WORLD_LANGUAGES",
    "WorldLanguage",
    "is_held_out",
    "lexicon_path",
    "monolingual_text",
    "no_world_language",
    "test_problems",
    "training_problems",
]
