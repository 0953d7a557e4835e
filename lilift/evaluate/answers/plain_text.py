"""Converts a response to plain ASCII numbers without markup, before lilift looks for numbers in it."""

from __future__ import annotations

import re
import unicodedata

_MARKS = {
    "⁄": "/",
    "∕": "/",
    "،": ",",
    "٪": "%",
    "\u3000": " ",
    "՝": ":",  # Armenian, after the word for "answer"
    "፦": ":",  # Ethiopic
    "៖": ":",  # Khmer
    "∗": "*",
    "⋅": "·",
    "∙": "·",
    "✕": "×",
    "✖": "×",
    "≃": "≈",
    "≅": "≈",
    "𝜋": "π",
    "𝛑": "π",
    "−": "-",  # minus sign
    "\u2010": "-",  # hyphen
    "\u2011": "-",  # no-break hyphen
    "\u2012": "-",  # figure dash
    "﹣": "-",
    "➖": "-",
    "˗": "-",
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT = re.compile(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")

# ASCII, and the letters, quotes and dashes of Latin and Cyrillic texts, which all stay as they are: a quick test.
_UNCHANGED = re.compile(
    r"[\x00-\x7f\xa0-\xac\xae-\xb1\xb4-\xb8\xba\xbb\xbf-\u024f\u0300-\u052f\u1e00-\u1eff\u2013\u2014\u2018-\u201e\u2026\u20ac]*"
)

# LaTeX commands that only shape or space the text, or stand for one sign. Those with a value (\frac, \sqrt, \boxed) stay.
_COMMANDS = {
    **dict.fromkeys(("left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "displaystyle", "textstyle", "!"), ""),
    **dict.fromkeys(("quad", "qquad", "enspace", "thinspace", "(", ")", "[", "]", ",", ";", ":", " ", "limits"), " "),
    **dict.fromkeys(("times", "ast"), "×"),
    **dict.fromkeys(("circ", "degree", "degrees"), "°"),
    **dict.fromkeys(("approx", "simeq", "cong"), "≈"),
    **dict.fromkeys(("dfrac", "tfrac", "cfrac", "sfrac"), "\\frac"),
    **dict.fromkeys(("fbox", "framebox", "boxed"), "\\boxed"),
    **{"cdot": "·", "div": "÷", "pi": "π", "pounds": "£", "euro": "€", "\\": "\n", "$": "$", "%": "%", "&": "&", "#": "#"},
    "_": "_",
}
_COMMAND = re.compile(r"\\(?:([A-Za-z]+)|(.))")
_LINE_BREAK_WITH_SPACE = re.compile(r"\\\\\[[^\]\n]{0,12}\]")
_TEXT_COMMAND = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mbox|hbox|bm|boldsymbol|emph|underline"
    r"|operatorname)\s*\{([^{}]*)\}"
)
_THOUSANDS_SPACE = re.compile(r"(?<=\d)(?:\\[,;: ]|~)(?=\d{3}(?!\d))")
# Mathematics between dollar signs: no space inside the signs, and no digit after the last one ($5 and $6 is money).
_DOLLAR_MATHEMATICS = re.compile(r"(?<![\\$A-Za-z0-9])\$(?=[^\s$])((?:[^$\\\n]|\\.)*)(?<=\S)\$(?!\d)")
_CALCULATOR_NOTE = re.compile(r"<<[^<>\n]*>>")  # GSM8K's: <<3*5=15>>15
_SUPERSCRIPT_TAG = re.compile(r"<sup>\s*([-+]?\d{1,4})\s*</sup>", re.IGNORECASE)
_ROOT_SIGNS = str.maketrans({"∛": "³√", "∜": "⁴√"})
_ROOT_OF_DEGREE = re.compile(r"(?<![\d)\]}])([²³⁴⁵⁶⁷⁸⁹])√ ?(?:(\d[\d.,]*\d|\d)|(?=[({]))")
# 0.\overline{3}, 0.\bar{3}, 0.(3): the digits that repeat for ever
_REPEATING = re.compile(r"(?<![\d.,])(\d{1,9})[.,](\d{0,9})(?:\\(?:overline|bar)\s?\{\s?(\d{1,9})\s?\}|\((\d{1,9})\))")
_REPEATS = re.compile(r"[.,]\d{0,9}(?:\(\d|\\overline|\\bar)")  # quick test
_FACTORIAL_IN_MATHEMATICS = re.compile(r"(?<=\d)!(?=\s*(?:\$|\\[)\]]|\}))")
FACTORIAL = "\ue000"
"""Stands for an exclamation mark at the end of mathematics, which is a factorial: ``$5!$``."""
_POWER = re.compile(r"(?<=[\d)])\*\*(?=[-(\d])|(?<=[\d)]) \*\* (?=[-(\d])")
_BOLD = re.compile(r"\*\*|__|`")


class _PlainCharacters(dict[int, "str | None"]):
    """What each character becomes; None removes it. Computed once for each character that occurs."""

    def __missing__(self, code: int) -> str | None:
        self[code] = plain = _plain(chr(code))
        return plain


def _plain(character: str) -> str | None:
    if " " <= character <= "~":
        return character
    if "！" <= character <= "～":  # full-width forms have the same order as ASCII
        return chr(ord(character) - 0xFEE0)
    category = unicodedata.category(character)
    if category == "Cf":
        return None
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "No" and "VULGAR FRACTION" in unicodedata.name(character, ""):
        parts = unicodedata.normalize("NFKC", character).split("⁄")
        return f" {parts[0]}/{parts[1]}" if len(parts) == 2 and all(parts) else character
    return _MARKS.get(character, character)


_PLAIN = _PlainCharacters()


def plain_text(text: str) -> str:
    """The text with ASCII digits and marks, without markup, calculator notes and invisible characters.

    Dollar signs, ``\\(`` and ``\\[`` around mathematics disappear. Powers are written with ``^`` in every notation. Only these
    LaTeX commands stay: ``\\frac``, ``\\sqrt``, ``\\boxed`` and those that lilift does not know.
    """
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    if "!" in text and ("$" in text or "\\" in text):
        text = _FACTORIAL_IN_MATHEMATICS.sub(FACTORIAL, text)
    if not text.isascii() and not _UNCHANGED.fullmatch(text):
        if "√" in text or "∛" in text or "∜" in text:
            text = _ROOT_OF_DEGREE.sub(_root_of_degree, text.translate(_ROOT_SIGNS))
        if _SUPERSCRIPT.search(text):
            text = _SUPERSCRIPT.sub(lambda match: "^" + match.group().translate(_SUPERSCRIPTS), text)
        text = text.translate(_PLAIN)
    if "<" in text:
        text = _SUPERSCRIPT_TAG.sub(r"^\1", _CALCULATOR_NOTE.sub("", text))
    if ("(" in text or "\\" in text) and _REPEATS.search(text):
        text = _REPEATING.sub(_repeating_decimal, text)
    if "{,}" in text:
        text = text.replace("{,}", ",")
    if "$" in text:
        text = _DOLLAR_MATHEMATICS.sub(r" \1 ", text.replace("$$", " ") if "$$" in text else text)
    if "\\" in text:
        text = _without_commands(text)
    if "**" in text:
        text = _POWER.sub(lambda match: _power_sign(text, match), text)
    if "_" in text:
        text = re.sub(r"(?<=\d)_(?=\d{3}(?!\d))", "", text)
    return _BOLD.sub("", text) if "**" in text or "__" in text or "`" in text else text


def _root_of_degree(match: re.Match[str]) -> str:
    root = f"\\sqrt[{unicodedata.digit(match.group(1))}]"
    return root + (f"{{{match.group(2)}}}" if match.group(2) else "")


def _repeating_decimal(match: re.Match[str]) -> str:
    """A decimal number whose last digits repeat for ever, as a fraction: 0.1(6) is 15/90."""
    whole, fixed, *repeated = match.groups()
    period = repeated[0] or repeated[1]
    top = int(whole + fixed + period) - int(whole + fixed)
    return f"\\frac{{{top}}}{{{(10 ** len(period) - 1) * 10 ** len(fixed)}}}"


def _without_commands(text: str) -> str:
    text = _TEXT_COMMAND.sub(lambda match: f" {match.group(1).strip()} ", text)
    text = _THOUSANDS_SPACE.sub("\u2009", text)
    text = _COMMAND.sub(_without_command, _LINE_BREAK_WITH_SPACE.sub("\n", text))
    return text.replace("^{°}", "°").replace("^°", "°")


def _without_command(match: re.Match[str]) -> str:
    return _COMMANDS.get(match.group(1) or match.group(2), match.group())


def _power_sign(text: str, match: re.Match[str]) -> str:
    """``^`` for Python's ``**``, unless these stars end a bold print that began on the same line."""
    line = max(text.rfind("\n", max(0, match.start() - 500), match.start()) + 1, match.start() - 500)
    return match.group() if text.count("**", line, match.start()) % 2 else "^"
