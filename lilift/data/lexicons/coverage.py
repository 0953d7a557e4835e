"""What a lexicon is worth, before a GPU hour is spent on it: size, origin, scripts, and coverage of one's own text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lilift.data.composed_text import composed
from lilift.data.languages import language, script_of
from lilift.data.lexicons.english_forms import count_words, find_names
from lilift.data.lexicons.lexicon import Coverage, Lexicon, Source
from lilift.data.lexicons.publishers import sources_for
from lilift.data.text_files import read_lines
from lilift.data.texts.instructions import load_instructions
from lilift.recipe.schema import InstructionSettings

LEAST_COVERAGE = 0.4
"""Share of a text's words below which lilift warns: with less, most of a code-switched text stays English."""
_PLAIN_TEXT = (".txt", ".txt.gz", ".text")


@dataclass(frozen=True)
class LexiconStats:
    """A lexicon in figures.

    Attributes:
        code: the language.
        words: English words that it translates.
        pairs: pairs of an English word and a translation.
        sources: where they come from, with licences and what was left out.
        scripts: ISO 15924 code → translations that begin in that script.
        several_words: translations of more than one word.
        coverage: of a text, if one was given.
        uncovered: the text's most frequent words that it lacks, with how often they occur.
    """

    code: str
    words: int
    pairs: int
    sources: tuple[Source, ...]
    scripts: Mapping[str, int]
    several_words: int
    coverage: Coverage | None
    uncovered: Mapping[str, int]

    def warnings(self) -> list[str]:
        """What a reader must know before training with it, a sentence each."""
        name = language(self.code).name
        found = [text for source in self.sources for text in source.remarks()]
        low = low_coverage(self.code, self.coverage, self.sources) if self.coverage else None
        return [f"{name} ({self.code}): {text}" for text in (*found, *([low] if low else []))]

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain JSON types."""
        share = {"coverage": round(self.coverage.share, 4)} if self.coverage else {"coverage": None}
        return asdict(self) | {"sources": [asdict(source) for source in self.sources]} | share


def low_coverage(code: str, coverage: Coverage, sources: Iterable[Source] = ()) -> str | None:
    """A warning with its remedy where a lexicon covers too little of a text; None where it covers enough.

    Args:
        code: its language.
        coverage: how much it covers.
        sources: what it is made from, which would not help again.
    """
    if coverage.share >= LEAST_COVERAGE or not coverage.tokens:
        return None
    known = {source.name for source in sources}
    others = ",".join(name for name in sources_for(code) if name not in known)
    another = (
        f"`lilift lexicon fetch {others} --languages {code} --into more` downloads another dictionary"
        if others
        else "`lilift lexicon import --help` and `lilift lexicon induce --help` show how to add or make another dictionary"
    )
    joined = "`lilift lexicon merge --help` shows how to join both"
    return f"the lexicon covers only {coverage.share:.0%} of the text's words; {another}, and {joined}"


def lexicon_stats(lexicon: Lexicon, counts: Mapping[str, int] | None = None, *, uncovered: int = 20) -> LexiconStats:
    """Measure a lexicon.

    Args:
        lexicon: which.
        counts: words of a text (`words_of`), or None.
        uncovered: how many of the words that it lacks to list.
    """
    translations = [item.text for found in lexicon.entries.values() for item in found]
    missing = Counter({word: count for word, count in (counts or {}).items() if not lexicon.find(word)})
    return LexiconStats(
        lexicon.language.code,
        len(lexicon.entries),
        len(translations),
        lexicon.sources,
        dict(Counter(map(script_of, translations)).most_common()),
        sum(" " in text for text in translations),
        lexicon.coverage(counts) if counts is not None else None,
        dict(missing.most_common(uncovered)),
    )


def words_of(source: str) -> Counter[str]:
    """How often each word of a text occurs that a lexicon could be asked for: no numbers, no names.

    Args:
        source: a plain text file, or instructions as a recipe names them, of which the questions count.

    Raises:
        DataError: it cannot be read.
    """
    if source.endswith(_PLAIN_TEXT):
        texts = [composed(line) for _, line in read_lines(Path(source).expanduser())]
    else:
        examples, _ = load_instructions(InstructionSettings(source=source), seed=0)
        texts = [example.question for example in examples]
    return count_words(texts, find_names(texts))
