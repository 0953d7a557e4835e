"""Converts the numbers of a response to plain ASCII, before lilift looks for them."""

from __future__ import annotations

import re
import unicodedata


def plain_text(text: str) -> str:
    """The text with ASCII digits and marks, without LaTeX markup, calculator notes and invisible characters."""
    if not text.isascii():
        text = "".join(_plain(character) for character in text if unicodedata.category(character) != "Cf")
    text = re.sub(r"<<[^<>\n]*>>", "", text)  # GSM8K's calculator notes: <<3*5=15>>15
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r" \1 ", text)
    text = text.replace("{,}", ",").replace("\\!", "").replace("\\$", "$").replace("\\%", "%")
    text = re.sub(r"(?<=\d)\\,(?=\d{3})", "\u2009", text)
    text = re.sub(r"(\d?)\s*\\[dt]?frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))", _latex_fraction, text)
    return re.sub(r"\*\*|__|`", "", text)


def _plain(character: str) -> str:
    if "!" <= character <= "~":
        return character
    if "！" <= character <= "～":  # full-width forms have the same order as ASCII
        return chr(ord(character) - 0xFEE0)
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "No" and "VULGAR FRACTION" in unicodedata.name(character, ""):
        parts = unicodedata.normalize("NFKC", character).split("⁄")
        return f" {parts[0]}/{parts[1]}" if len(parts) == 2 and all(parts) else character
    return {"⁄": "/", "∕": "/", "،": ",", "﹣": "-", "٪": "%", "\u3000": " "}.get(character, character)


def _latex_fraction(match: re.Match[str]) -> str:
    whole, *parts = match.groups()
    top, bottom = (part for part in parts if part)
    return f"{whole} {top}/{bottom}" if whole else f"{top}/{bottom}"
