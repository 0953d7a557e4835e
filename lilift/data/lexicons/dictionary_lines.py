"""One line of a dictionary file: its cells by the line's own separator, and whether it is a comment.

The separator is decided for each line, because published files mix them. A tab decides first, so that an entry of several words
is never split where tabs are. What the other lines of the file look like decides whether a line without a tab is a pair at all.

    water<TAB>maji<TAB>noun      GATITOS, Wiktionary, MUSE as some republish it; dict.cc; further columns are no translation
    water maji                   MUSE
    water maji 0.93              bicleaner and fast_align: the number is a score
    water   maji                 several blanks, also no-break and ideographic ones
    water,maji / water;maji      tables saved as CSV, quoted or not; also water|maji
    | water | maji |             a table in Markdown
    water = maji, water - maji, water: maji, water → maji, water --> maji, water :: maji, water @ maji, water | maji

A number or bullet that begins a line (`1. water - maji`) belongs to the list, not to the word.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["tab", "comma", "semicolon", "pipe", "sign", "blanks", "blank"]

_COMMENT = re.compile(r"\s*(?:#|//|%|;|<!--|sep=.$)")
_TRAILING_COMMENT = re.compile(r"\s+(?:#|//)\s.*$")
_RULE = re.compile(r"[-=|+:_*~ ]{3,}")
_BULLET = re.compile(r"(?:[-–—•·▪◦‣*+]|\d{1,5}[.)]) +(?=[^\W\d].*[\t ,;|=:→])")
_SIGN = re.compile(r"\s+(::|\|\|\||[-=]+>|[-–—−=:→⇒|@])\s+|(?<=[^\W\d])(:(?=\s|[^\W\d])|(?:[-=]+>|[=→])(?=\w))")
_TWO_WORDS = re.compile(r"[^\W\d][\w'’-]*([,;|])[^\W\d][\w'’-]*")
_BLANKS = re.compile(r"[ \u00a0\u2000-\u200a\u202f\u3000]{2,}|[\u00a0\u2003\u3000]")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?\s?%?")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_PARTS = """
    n noun nouns v verb verbs vi vt adj adjective a adv adverb pron pronoun prep preposition conj conjunction interj
    interjection intj num numeral number det determiner art article part particle phrase propn proper m f nt pl sg aux adp
"""
PARTS_OF_SPEECH = frozenset(_PARTS.split())
_KINDS: Mapping[str, Kind] = {",": "comma", ";": "semicolon", "|": "pipe"}
_DELIMITERS: Mapping[Kind, str] = {kind: sign for sign, kind in _KINDS.items()}
_OPEN_QUOTE = re.compile(r'(?:^|[,;|])\s*"')
_MOST_BREAKS = 10
_LEAST_SHARE = 0.1
"""A separator that fewer of a file's lines have is not taken for one where the file has tabs."""
_MOST_SHARE = 0.8
"""A comma, semicolon or pipe is a separator if so many of the lines without a tab have it."""


@dataclass(frozen=True)
class LineForms:
    """What separates the cells in a file's lines.

    Attributes:
        delimiter: comma, semicolon or pipe in a file of such values, otherwise empty.
        usable: kinds of separators that are frequent enough to be believed in lines without a tab.
    """

    delimiter: str
    usable: frozenset[Kind]

    def cells(self, line: str, is_translation: Callable[[str], bool]) -> list[str]:
        """The cells of a line, without empty ones at its end; one cell where the line has no separator.

        Args:
            line: of the file, no comment.
            is_translation: whether a text is surely in the language translated into, which makes any separator believable.
        """
        text = _content(line)
        for kind in _kinds_of(text, self.delimiter):
            cells = split(text, kind)
            if kind == "tab" or kind in self.usable or (len(cells) > 1 and is_translation(cells[1])):
                return cells
        return [text.strip()]


def whole_lines(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Lines of a table, with a quoted value that has line breaks in it put on one line.

    Args:
        lines: number and text of each line of the file.
    """
    waiting: list[tuple[int, str]] = []
    for number, line in lines:
        if not waiting and not (_OPEN_QUOTE.search(line) and line.count('"') % 2):
            yield number, line
            continue
        waiting.append((number, line))
        if len(waiting) > 1 and line.count('"') % 2:
            yield waiting[0][0], " ".join(text for _, text in waiting)
            waiting = []
        elif len(waiting) > _MOST_BREAKS:  # a stray quotation mark
            yield from waiting
            waiting = []
    yield from waiting


def is_comment(line: str) -> bool:
    """Whether a line is a remark: it begins with a sign that no English word begins with, and is no pair of such signs.

    A line of dashes or the like, as below a header, is one too.
    """
    if _RULE.fullmatch(line.strip()) and "\t" not in line.strip():
        return True
    found = _COMMENT.match(line)
    if found is None:
        return False
    first, _, second = line.partition("\t")  # tags and entities of the web (MUSE: `#the`), and the sign itself (AfroMT: `%`)
    return not (second and (first.strip() == found.group().strip() or second.startswith(found.group().strip())))


def is_number(cell: str) -> bool:
    """Whether a cell is a rank, a frequency or a score."""
    return _NUMBER.fullmatch(cell.strip().rstrip(".)")) is not None


def is_part_of_speech(cell: str) -> bool:
    """Whether a cell names a part of speech, as ``noun``, ``n.`` or ``[v]``."""
    return cell.strip(" .[](){}<>").casefold() in PARTS_OF_SPEECH


def forms_of(lines: Iterable[str], *, table: bool) -> LineForms:
    """What separates the cells of a file.

    Args:
        lines: its first lines, comments left out.
        table: whether its name ends in .csv.
    """
    sample = [_content(line).strip() for line in lines]
    untabbed = [line for line in sample if line and "\t" not in line]
    delimiter = _delimiter_of(untabbed, table)
    kinds = Counter(next(iter(_kinds_of(line, delimiter)), None) for line in untabbed)
    tabbed = sum("\t" in line for line in sample)
    usable = {
        kind for kind, count in kinds.items() if kind and (not tabbed or count >= _LEAST_SHARE * (tabbed + len(untabbed)))
    }
    return LineForms(delimiter, frozenset(usable))


def split(line: str, kind: Kind) -> list[str]:
    """The cells of a line by one kind of separator, without empty ones at its end."""
    if kind == "tab":
        cells = line.split("\t")
    elif kind in _DELIMITERS:
        cells = next(csv.reader([line], delimiter=_DELIMITERS[kind], skipinitialspace=True), [""])
    elif kind == "sign":
        found = _SIGN.search(line)
        assert found is not None
        apart, close = found.groups()
        cells = re.split(rf"\s+{re.escape(apart)}\s+" if apart else rf"\s*{re.escape(close)}\s*", line)
    elif kind == "blanks":
        cells = _BLANKS.split(line)
    else:
        cells = line.split()
    cells = [cell.strip().strip("\ufeff") for cell in cells]
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells


def _kinds_of(line: str, delimiter: str) -> Iterable[Kind]:
    """The kinds of separators that a line could have, the surest first."""
    if "\t" in line:
        yield "tab"
        return
    if delimiter and delimiter in line:
        yield _KINDS[delimiter]
    if _SIGN.search(line):
        yield "sign"
    if _BLANKS.search(line):
        yield "blanks"
    words = line.split()
    if len(words) == 2 or (len(words) == 3 and _has_extra_column(words)):
        yield "blank"
    if not delimiter and (alone := _TWO_WORDS.fullmatch(line)):  # nothing but two words: no other reading is possible
        yield _KINDS[alone.group(1)]


def _has_extra_column(words: list[str]) -> bool:
    """Whether one of three words is a score, or the last is a part of speech."""
    return sum(map(is_number, words)) == 1 or (is_part_of_speech(words[2]) and len(words[2]) > 1)


def _content(line: str) -> str:
    """A line without the comment at its end, the bullet or number before it, and the bars around a row of Markdown."""
    text = _TRAILING_COMMENT.sub("", line).strip("\ufeff \u00a0\r\n")
    if "\t" not in text and text.startswith("|") and text.endswith("|"):
        text = text.strip("|").strip()
    return _BULLET.sub("", text, count=1) if _BULLET.match(text) else text


def _delimiter_of(lines: list[str], table: bool) -> str:
    """The comma, semicolon or pipe between the values; empty if there is none.

    Where several could be, it is the one that comes first in most lines: the others stand in lists of translations.
    """
    plain = [_DECIMAL_COMMA.sub(".", line) for line in lines]
    found = [sign for sign in _KINDS if _is_table_of(sign, plain, table)]
    firsts = Counter(min((sign for sign in found if sign in line), key=line.index, default="") for line in plain)
    return max(found, key=lambda sign: firsts[sign], default="")


def _is_table_of(sign: str, lines: list[str], table: bool) -> bool:
    """Whether most lines are values with this delimiter: words, not lists of translations behind another separator."""
    split_lines = [split(line, _KINDS[sign]) for line in lines if sign in line]
    if not split_lines or len(split_lines) < _MOST_SHARE * len(lines):
        return False
    if table:
        return True
    others = sum(_SIGN.search(line) is not None for line in lines)
    single = sum(len(cells[0].split()) <= 1 for cells in split_lines)
    return others < len(lines) / 2 and single >= len(split_lines) / 2
