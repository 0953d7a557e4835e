"""Just enough English for word swaps: what a word is, what must never be touched, dictionary forms, and names.

Dictionary forms are *candidates*: the caller keeps the first that its lexicon has, so a rule may propose nonsense
(``thing`` → ``th``) without harm. Rules cover as much here as lemmatisers do and are right as often
(`python -m benchmarks english_forms`), and a lemmatiser that names one form makes ``do`` of ``doesn't``. Comparatives of
quantity (more, less, most, least) have no candidates: a problem's arithmetic hangs on them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

_UNITS = (
    "mm|cm|dm|km|m|mg|g|kg|t|ml|mL|cl|dl|l|L|s|sec|min|h|hr|hrs|ft|yd|yds|mi|lb|lbs|oz|pt|qt|gal|mph|kph|km/h|m/s|"
    "am|pm|a\\.m\\.|p\\.m\\.|MB|GB|kB|W|kW|kWh|V|Hz|°C|°F"
)
PROTECTED = re.compile(
    rf"""
      ```.*?```  |  `[^`\n]+`                                   # code
    | \$\$.+?\$\$  |  \\\[.+?\\\]  |  \\\(.+?\\\)               # displayed and inline LaTeX
    | \$(?=\S)[^$\n]*?(?<=\S)\$(?!\d)                           # $x^2$, but not the price in "$5 and $6"
    | \\[A-Za-z]+(?:\{{[^{{}}\n]*\}})*                          # \frac{{1}}{{2}}
    | <<[^<>\n]*>>                                              # GSM8K's calculator marks
    | \{{[A-Za-z_]\w*\}}                                        # {{placeholder}}
    | (?:https?://|www\.)\S*[\w/]  |  [\w.+-]+@\w[\w.-]*\w      # addresses
    | [A-Za-z]*\d(?:[\d.,:/\u00a0\u202f'’]*\d)?                 # 1,050  3/4  12:30  B2
      (?:[A-Za-z%°]+\d*)*(?:[ \u00a0](?:{_UNITS})(?!\w))?       # 3rd  20%  5kg  5 km
    """,
    re.VERBOSE | re.DOTALL,
)
"""What a word swap never touches: code, LaTeX, addresses, and everything with a digit in it, its unit included."""

PLAIN_WORD = r"""[A-Za-z]+(?=[,;!?)"]|\.?(?:\s|\Z))"""
"""Letters that nothing protected can begin with, told by what follows them; tried first, for `PROTECTED` is slow to say no."""

TOKEN = re.compile(rf"({PLAIN_WORD})|({PROTECTED.pattern})|([A-Za-z]+(?:['’][A-Za-z]+)*)", re.VERBOSE | re.DOTALL)
"""Splits a text into gaps, each followed by three groups: a plain word, a protected span, or another word; two are None."""
_SENTENCE_END = re.compile(r"[.!?\n]|[:][\s\"“”'‘’]*$")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SHORT = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]")
_TITLES = _set("mr mrs ms dr prof st vs no")
CALENDAR = _set(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september "
    "october november december mondays tuesdays wednesdays thursdays fridays saturdays sundays"
)


class Word(NamedTuple):
    """A word of a text that may be swapped.

    Attributes:
        start: where it begins in the text.
        end: where it ends.
        text: as written.
        starts_sentence: whether it has a capital that means nothing, because a sentence begins here.
    """

    start: int
    end: int
    text: str
    starts_sentence: bool


def words(text: str) -> Iterator[Word]:
    """Every word of a text outside protected spans. Single letters are algebra, except ``a`` and ``I``."""
    make = tuple.__new__  # a third of the time that calling a NamedTuple takes
    end, previous_end, previous = 0, 0, ""
    pieces = iter(TOKEN.split(text))  # takes less time than a match object for every word
    for gap, plain, protected, other in zip(pieces, pieces, pieces, pieces, strict=False):  # the last gap is alone
        start = end + len(gap)
        if protected is not None:
            end = start + len(protected)
            previous = ""
        else:
            word = plain or other
            end = start + len(word)
            if end - start > 1 or word in "aAI":
                capital = word[0] < "a"
                yield make(Word, (start, end, word, capital and starts_sentence(text, previous_end, start, previous)))
            previous = word
        previous_end = end


def starts_sentence(text: str, previous_end: int, start: int, previous: str) -> bool:
    """Whether a sentence begins between the previous token and the one at `start`."""
    if previous_end == 0:
        return True
    return _SENTENCE_END.search(text, previous_end, start) is not None and previous.lower() not in _TITLES


def is_name(word: Word, names: frozenset[str]) -> bool:
    """Whether a word is a name or an acronym: capitalised within a sentence, all capitals, or known as one."""
    text = word.text
    if not text[0].isupper() or text == "I" or text.startswith(("I'", "I’")):
        return False
    if len(text) > 1 and text.isupper():
        return True
    lower = text.lower()
    return lower not in CALENDAR and (not word.starts_sentence or base_of_possessive(lower) in names)


NAME_WITHIN_SENTENCES, ALWAYS_NAME, NEVER_NAME = range(3)


def name_by_form(written: str, names: frozenset[str]) -> int:
    """What the written form of a word says about `is_name`: always, never, or only where no sentence begins with it."""
    if is_name(Word(0, len(written), written, True), names):
        return ALWAYS_NAME
    return NAME_WITHIN_SENTENCES if is_name(Word(0, len(written), written, False), names) else NEVER_NAME


def find_names(texts: Iterable[str]) -> frozenset[str]:
    """Words (lower case) that these texts write within sentences with a capital more often than without."""
    capital: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for text in texts:
        for word in words(text):
            if word.text[0].islower():
                small[base_of_possessive(word.text)] += 1
            elif not word.starts_sentence:
                capital[base_of_possessive(word.text.lower())] += 1
    return frozenset(word for word, count in capital.items() if count > small[word] and word not in CALENDAR and word != "i")


def count_words(texts: Iterable[str], names: frozenset[str] = frozenset()) -> Counter[str]:
    """How often each word (lower case) occurs that a lexicon could be asked for: names are left out."""
    return Counter(word.text.lower() for text in texts for word in words(text) if not is_name(word, names))


def base_of_possessive(word: str) -> str:
    """``friend's`` → ``friend``."""
    return word[:-2] if word.endswith(("'s", "’s")) else word


@lru_cache(maxsize=1 << 16)
def dictionary_forms(word: str) -> tuple[str, ...]:
    """Lower-case forms under which a dictionary may list a lower-case word, the likeliest first, itself included."""
    base = base_of_possessive(word.replace("’", "'"))
    found = [word.replace("’", "'"), base]
    if base in _IRREGULAR:
        found.append(_IRREGULAR[base])
    if base not in _NO_INFLECTION:
        found.extend(_without_ending(base))
    return tuple(dict.fromkeys(found))


def _without_ending(word: str) -> Iterator[str]:
    """Singulars, infinitives and positives that regular spelling allows."""
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        if word.endswith("ies"):
            yield word[:-3] + "y"
        yield word[:-1]
        if word.endswith(("ses", "xes", "zes", "ches", "shes")) or (word.endswith("oes") and len(word) > 5):
            yield word[:-2]
    elif word.endswith("men") and len(word) > 5:
        yield word[:-2] + "an"
    elif word.endswith("ied"):
        yield word[:-3] + "y"
        yield word[:-1]
    elif word.endswith("ed") and len(word) > 3:
        yield from _stems(word[:-2])
    elif word.endswith("ing") and len(word) > 4:
        yield from _stems(word[:-3])
        if word.endswith("ying"):
            yield word[:-4] + "ie"
    elif word in _COMPARED:
        yield _COMPARED[word]


def _stems(stem: str) -> Iterator[str]:
    """What may stand before -ed or -ing: ``bak`` → ``bake``, ``stopp`` → ``stop``, ``walk``."""
    if _SHORT.fullmatch(stem):  # hop- would have been doubled, so hoped is of hope
        yield stem + "e"
        return
    doubled = len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "aeiou"  # not add-
    if doubled and stem[-1] not in "lsz":
        yield stem[:-1]
    yield stem
    yield stem + "e"
    if doubled:
        yield stem[:-1]


def _table(text: str) -> dict[str, str]:
    """``go: went gone; …`` → each form's dictionary form."""
    table = {}
    for entry in text.split(";"):
        base, _, forms = entry.partition(":")
        for form in forms.split():
            table[form] = base.strip()
    return table


_IRREGULAR = _table(
    """
    be: am is are was were been being; have: has had; do: does did done; go: goes went gone; a: an; can: could; will: would;
    arise: arose arisen; awake: awoke awoken; beat: beaten; become: became; begin: began begun; bend: bent; bind: bound;
    bite: bit bitten; bleed: bled; breed: bred; blow: blew blown; break: broke broken; bring: brought; build: built; burn:
    burnt; buy: bought; catch: caught; choose: chose chosen; come: came; creep: crept; deal: dealt; dig: dug; draw: drew
    drawn; dream: dreamt; drink: drank drunk; drive: drove driven; eat: ate eaten; fall: fell fallen; feed: fed; feel: felt;
    fight: fought; find: found; fly: flew flown; forbid: forbade forbidden; forget: forgot forgotten; forgive: forgave
    forgiven; freeze: froze frozen; get: got gotten; give: gave given; grind: ground; grow: grew grown; hang: hung; hear:
    heard; hide: hid hidden; hold: held; keep: kept; kneel: knelt; know: knew known; lay: laid; lead: led; lean: leant;
    learn: learnt; leave: left; lend: lent; lie: lay lain; light: lit; lose: lost; make: made; mean: meant; meet: met; pay:
    paid; ride: rode ridden; ring: rang rung; rise: rose risen; run: ran; say: said; see: saw seen; seek: sought; sell:
    sold; send: sent; shake: shook shaken; shine: shone; shoot: shot; show: shown; shrink: shrank shrunk; sing: sang sung;
    sink: sank sunk; sit: sat; sleep: slept; slide: slid; speak: spoke spoken; spend: spent; spin: spun; stand: stood;
    steal: stole stolen; stick: stuck; sting: stung; strike: struck; swear: swore sworn; sew: sewn; sow: sown; sweep: swept;
    swim: swam swum; swing: swung; take: took taken; teach: taught; tear: tore torn; tell: told; think: thought; throw:
    threw thrown; understand: understood; wake: woke woken; wear: wore worn; weave: wove woven; weep: wept; win: won; wind:
    wound; withdraw: withdrew withdrawn; write: wrote written; child: children; man: men; woman: women; person: people;
    foot: feet; tooth: teeth; goose: geese; mouse: mice; louse: lice; ox: oxen; die: dice; penny: pence; grandchild:
    grandchildren; quiz: quizzes; taxi: taxis; knife: knives; wife: wives; life: lives; leaf: leaves; shelf: shelves; half:
    halves; loaf: loaves; calf: calves; wolf: wolves; thief: thieves; elf: elves; bookshelf: bookshelves; housewife:
    housewives; midwife: midwives; scarf: scarves; hoof: hooves; self: selves; good: better best; bad: worse worst; far:
    farther farthest further furthest; they: them; he: him; this: these; that: those
    """
)
_NO_INFLECTION = _set(
    "always perhaps news yes his this its us as has was does gas bus plus thus series species means during morning evening "
    "nothing something anything everything thing king ring spring string wing ceiling wedding need seed speed feed hundred "
    "indeed sacred naked red bed shed bleed breed weed inning innings herring earring outing clothing"
)
_COMPARED = {
    form: adjective
    for adjective in _set(
        "big tall small large long short old young high low fast slow cheap heavy light strong weak rich poor new early late "
        "great near wide deep thick thin hot cold warm cool dark bright clean dirty easy hard happy sad busy few close quick"
    )
    for stem in (
        adjective[:-1] + "i"
        if adjective.endswith("y")
        else adjective[:-1]
        if adjective.endswith("e")
        else adjective + adjective[-1]
        if adjective in ("big", "thin", "hot", "sad")
        else adjective,
    )
    for form in (stem + "er", stem + "est")
}
