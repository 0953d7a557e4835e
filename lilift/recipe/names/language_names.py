"""Which language a name or code means: FLORES, ISO 639 and BCP 47 codes, English and native names, in any case.

`language_names.tsv` is generated (`python -m benchmarks language_names_table`); `close_codes.tsv` is written by hand and comes
first: macrolanguages, close relatives and names of several languages, each with the reason. What is ambiguous is refused.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

_SAME_SCRIPT = {"hans": "hani", "hant": "hani", "jpan": "hani", "kore": "hang"}


class Reading(NamedTuple):
    """What a name was read as.

    Attributes:
        code: lilift's code of the language.
        remark: one clause to show where the name could mean something else too; empty otherwise.
    """

    code: str
    remark: str = ""


class _Close(NamedTuple):
    codes: tuple[str, ...]
    how: str
    reason: str


class _Names(NamedTuple):
    codes: Mapping[str, str]
    """Codes and FLORES-like spellings, in lower case → lilift's code."""
    names: Mapping[str, str]
    titles: Mapping[str, str]
    """lilift's code → English name."""
    countries: Mapping[str, tuple[str, tuple[str, ...]]]
    """Country code → its English name and lilift's codes of its languages."""
    others: Mapping[str, str]
    """Codes of languages that lilift does not know → English name."""


def read_language(text: str) -> Reading | None:
    """The language that a text names, or None where it names none, several, or one that lilift does not know."""
    tag = text.strip().replace("_", "-").casefold()
    key = _key(text)
    close = _close_codes().get(tag) or _close_codes().get(key)
    if close is not None:
        title = _table().titles[close.codes[0]]
        remark = f"{text} is read as {title} ({close.codes[0]}): {close.reason}" if close.how == "told" else ""
        return None if close.how == "several" else Reading(close.codes[0], remark)
    found = _table().codes.get(tag) or _table().names.get(key)
    return Reading(found) if found else _read_tag(text, tag)


def same_language(text: str, code: str) -> bool:
    """Whether a text names the language of one of lilift's codes."""
    found = read_language(text)
    return found is not None and found.code == code


def canonical(text: str) -> str:
    """lilift's code of the language that a text names; the text itself where that is not clear, for others to refuse."""
    found = read_language(text)
    return found.code if found else text


@cache
def spellings(code: str) -> tuple[str, ...]:
    """Codes and names that files use for a language: lilift's code first, then FLORES and ISO 639 codes, then names."""
    table = _table()
    codes = [written for written, known in table.codes.items() if known == code]
    close = [written for written, found in _close_codes().items() if found.how != "several" and found.codes[0] == code]
    names = [name for name, known in table.names.items() if known == code]
    joined = [name.replace(" ", separator) for name in names for separator in ("_", "-")]
    with_script = [f"{written}_{script}" for written in (*codes, code) for script in _scripts()[code] if len(written) == 3]
    return tuple(dict.fromkeys([code, *codes, *with_script, *close, *names, *joined]))


def hint(text: str) -> str:
    """What a text that `read_language` does not take may mean: one clause, or empty where nothing comes near."""
    tag, key = text.strip().replace("_", "-").casefold(), _key(text)
    primary, _, rest = tag.partition("-")
    close = _close_codes().get(tag) or _close_codes().get(key) or (_close_codes().get(primary) if rest else None)
    if close is not None and close.how == "several":
        return f"{close.reason}; write {_or(close.codes)}"
    if rest and (code := _code_of(primary)):
        scripts = "/".join(_scripts()[code])
        return f"{_table().titles[code]} is {code}, in {scripts} script; lilift has no variety {rest!r} of it"
    other = _unknown_to_lilift(tag, key)
    country = tag if tag in _table().countries else _country_names().get(key)
    if country:
        name, spoken = _table().countries[country]
        what = f"{tag} is the country code of {name}" if tag == country else f"{name} is a country"
        return f"{other}; {what}; did you mean {_or(spoken)}?".removeprefix("; ")
    if other:
        return other
    near = difflib.get_close_matches(key, _table().names, n=1, cutoff=0.75) if len(key) > 3 else []
    return f"did you mean {_or((_table().names[near[0]],))}?" if near else ""


def unknown_language(text: str) -> str:
    """What to say of a text that `read_language` does not take: one clause, with what it may mean."""
    return f"unknown language {text!r} ({hint(text) or 'write a code such as sw, bn or om, or a name'})"


def _unknown_to_lilift(tag: str, key: str) -> str:
    """That a code or name, or a word of a name, is of a language outside lilift's table; empty if it is not."""
    others = _table().others
    if tag in others:
        return f"{tag} is {others[tag]}, which lilift does not know"
    found = _other_names().get(key) or next((name for written, name in _other_names().items() if key in written.split()), None)
    return f"lilift does not know {found}" if found else ""


def is_name_of_place_or_language(text: str) -> bool:
    """Whether a text is the name of a country or language, which English writes with a capital."""
    key = _key(text)
    return key in _table().names or key in _country_names() or key in _other_names()


def _or(codes: tuple[str, ...]) -> str:
    titles = _table().titles
    return " or ".join(f"{code!r}, {titles[code]}" if len(codes) == 1 else f"{code!r} ({titles[code]})" for code in codes)


def _read_tag(text: str, tag: str) -> Reading | None:
    """A BCP 47 tag with a script, a country or both, as `zh-Hant-TW` or FLORES' `swh_Latn`.

    A country is left out, unless lilift knows a variety of its own there. A script must be one that lilift knows for it.
    """
    primary, *rest = tag.split("-")
    code = _code_of(primary)
    if code is None or not rest:
        return None
    if len(rest[0]) == 3 and rest[0].isalpha():  # an extended language: zh-yue
        code, rest = _code_of(rest[0]) or "", rest[1:]
    scripts = [part for part in rest if len(part) == 4 and part.isalpha()]
    regions = [part for part in rest if part in _table().countries or (len(part) == 3 and part.isdigit()) or part in _EMPTY]
    if not code or len(scripts) > 1 or len(regions) > 1 or len(scripts) + len(regions) != len(rest):
        return None
    for part in (*regions, *scripts):
        code = _table().codes.get(f"{code}-{part}".casefold(), code)
    if scripts and not _written_in(code, scripts[0]):
        return None
    traditional = code == "zh" and ("hant" in scripts or (not scripts and regions and regions[0] in ("tw", "hk", "mo")))
    remark = f"{text} is read as Chinese (zh): {_ONE_CHINESE}" if traditional else ""
    return Reading(code, remark)


_ONE_CHINESE = "lilift trains one Chinese, mostly in simplified characters; a benchmark's traditional Chinese is cmn-Hant"

# Countries whose only languages, by the table, are English or unknown to lilift: still countries.
_EMPTY = frozenset(("us", "gb", "au", "nz", "ca", "jm", "bb", "tt", "gy", "bz", "lc", "zz"))


def _written_in(code: str, script: str) -> bool:
    wanted = _SAME_SCRIPT.get(script, script)
    return any(_SAME_SCRIPT.get(known.casefold(), known.casefold()) == wanted for known in _scripts()[code])


def _code_of(primary: str) -> str | None:
    close = _close_codes().get(primary)
    if close is not None:
        return None if close.how == "several" else close.codes[0]
    return _table().codes.get(primary)


def _key(name: str) -> str:
    """A name without case, accents and separators."""
    plain = unicodedata.normalize("NFKD", name.strip().casefold())
    letters = "".join(letter for letter in plain if not "\u0300" <= letter <= "\u036f")
    return " ".join(letters.replace("_", " ").replace("-", " ").split())


@cache
def _country_names() -> Mapping[str, str]:
    return {_key(name): country for country, (name, _) in _table().countries.items()}


@cache
def _other_names() -> Mapping[str, str]:
    return {_key(name): name for name in _table().others.values()}


@cache
def _scripts() -> Mapping[str, tuple[str, ...]]:
    return {code: tuple(scripts.split(",")) for kind, code, _, _, scripts in _lines() if kind == "language"}


@cache
def _table() -> _Names:
    codes: dict[str, str] = {}
    names: dict[str, str] = {}
    titles: dict[str, str] = {}
    countries: dict[str, tuple[str, tuple[str, ...]]] = {}
    others: dict[str, str] = {}
    # Base codes come first, so that a spelling that `ks` and `ks-Deva` share means the former.
    for kind, code, also, written, _ in sorted(_lines(), key=lambda row: "-" in row[1]):
        if kind == "language":
            titles[code] = written.split("|")[0]
            codes[code.casefold()] = code
            for spelling in also.split():
                codes.setdefault(spelling, code)
            for name in written.split("|"):
                names.setdefault(_key(name), code)
        elif kind == "country":
            countries[code] = (written, tuple(also.split()))
        else:
            others[code] = written
    return _Names(codes, names, titles, countries, others)


@cache
def _close_codes() -> Mapping[str, _Close]:
    found = {}
    for line in _content("close_codes.tsv"):
        written, codes, how, reason = line.split("\t")
        found[_key(written)] = _Close(tuple(codes.split()), how, reason)
    return found


def _lines() -> Iterator[tuple[str, str, str, str, str]]:
    for line in _content("language_names.tsv"):
        kind, code, also, names, scripts = line.split("\t")
        yield kind, code, also, names, scripts


def _content(name: str) -> list[str]:
    """The rows of a table, without the comment and the header."""
    return (resources.files("lilift.recipe.names") / name).read_text(encoding="utf-8").splitlines()[2:]
