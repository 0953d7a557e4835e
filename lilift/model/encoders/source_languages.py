"""How an encoder's tokenizer announces the language of a text: NLLB, M2M100 and mBART add a language token to every text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lilift.data.languages import language as known_language
from lilift.data.languages import languages
from lilift.recipe.errors import ModelError
from lilift.recipe.names.language_names import read_language

Frame = tuple[list[int], list[int]]
"""The tokens before and after a text."""
_CODE = re.compile(r"_{0,2}[a-z]{2,3}(_[A-Za-z]{2,4})?_{0,2}")


class SourceLanguages:
    """The language codes of a tokenizer, found by lilift's codes.

    transformers never checks a code: NLLB's tokenizer announces a code that it lacks as ``<unk>``. So lilift takes codes only
    from the tokenizer's own list. NLLB's codes are FLORES codes (``swh_Latn``), M2M100's are ISO codes (``sw``), mBART-50's
    name a country too (``sw_KE``). The token stands before the text, or after it (mBART, NLLB with `legacy_behaviour`).

    Args:
        tokenizer: of transformers, with `src_lang`.
        chosen: the setting `encoder.language_codes`.

    Raises:
        ModelError: the tokenizer lacks a chosen code.
    """

    def __init__(self, tokenizer: Any, chosen: Mapping[str, str]) -> None:
        self._tokenizer = tokenizer
        self._frames: dict[str, Frame] = {}
        self.default: str = tokenizer.src_lang
        """The code of a text whose language lilift does not know."""
        codes = _codes_of(tokenizer)
        unknown = next(((language, code) for language, code in chosen.items() if code not in codes), None)
        if unknown is not None:
            raise ModelError(
                f"the encoder's tokenizer has no language code {unknown[1]!r}",
                where=f"encoder.language_codes.{unknown[0]}",
                remedy=f"choose one of its {len(codes)} codes, such as {', '.join(near_codes(unknown[1], codes))}",
            )
        self._codes = tokenizer_codes(codes) | dict(chosen)

    def code(self, language: str | None) -> str:
        """The tokenizer's code for a language; English's for a language that it lacks, the default for None."""
        if language is None:
            return self.default
        return self._codes.get(language) or self._codes.get("en") or self.default

    def lacks(self, language: str) -> bool:
        """Whether the tokenizer has no code for a language, so that lilift announces English."""
        return language not in self._codes

    def frame(self, code: str) -> Frame:
        """The tokens that the tokenizer puts around a text with one of its codes."""
        if code not in self._frames:
            before = self._tokenizer.src_lang
            self._tokenizer.src_lang = code
            try:
                self._frames[code] = special_tokens_around(self._tokenizer)
            finally:
                self._tokenizer.src_lang = before
        return self._frames[code]


def source_languages_of(tokenizer: Any, chosen: Mapping[str, str], where: str) -> SourceLanguages | None:
    """The language codes of a tokenizer; None if it announces no languages.

    Raises:
        ModelError: the recipe chooses codes for a tokenizer without any, or codes that it lacks.
    """
    if hasattr(tokenizer, "set_src_lang_special_tokens") and getattr(tokenizer, "src_lang", None) is not None:
        return SourceLanguages(tokenizer, chosen)
    if chosen:
        raise ModelError(
            "encoder.language_codes has no effect, because the encoder's tokenizer announces no languages",
            where=where,
            remedy="leave it out",
        )
    return None


def missing_languages(found: SourceLanguages | None, codes: Sequence[str]) -> list[str]:
    """A line for the user for each language that the encoder cannot announce."""
    missing = [code for code in codes if found is not None and found.lacks(code)]
    return [
        f"the encoder's tokenizer has no code for {known_language(code).name} ({code}), so it announces such texts as English; "
        f"to announce a related language, set encoder.language_codes.{code} to its code"
        for code in missing
    ]


def codes_by_language(found: SourceLanguages | None, languages: Sequence[str]) -> dict[str, str]:
    """The tokenizer's code for each language; empty if it announces no languages."""
    return {} if found is None else {language: found.code(language) for language in languages}


def special_tokens_around(tokenizer: Any) -> Frame:
    """The tokens that a tokenizer puts before and after a text, such as ``[CLS]``, a language code or ``</s>``."""
    bare = tokenizer("a", add_special_tokens=False).input_ids
    framed = tokenizer("a").input_ids
    for start in range(len(framed) - len(bare) + 1):
        if framed[start : start + len(bare)] == bare:
            return list(framed[:start]), list(framed[start + len(bare) :])
    raise ModelError("the tokenizer changes a text when it adds its special tokens", where=tokenizer.name_or_path)


def _codes_of(tokenizer: Any) -> list[str]:
    """The codes that `src_lang` takes: a list of the tokenizer's own, or else all its special tokens."""
    for name in ("lang_code_to_token", "lang_code_to_id"):
        listed = getattr(tokenizer, name, None)
        if listed:
            return list(listed)
    return [token.content for token in tokenizer.added_tokens_decoder.values() if _CODE.fullmatch(token.content)]


def near_codes(code: str, codes: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(code, codes, n=3, cutoff=0.4) or list(codes[:3])


def tokenizer_codes(codes: Sequence[str]) -> dict[str, str]:
    """lilift's code → the tokenizer's.

    Of several codes of a language, the FLORES code of its usual script comes first. Codes are read without their script or
    country last: NLLB writes Santali ``sat_Beng``, although FLORES has it as ``sat_Olck``, and mBART's English is ``en_XX``.
    """
    exact = {known.flores: code for code, known in languages().items() if known.flores} | {code: code for code in languages()}
    found = {exact[code]: code for code in codes if code in exact}
    whole = [(code.strip("_"), code) for code in codes]
    for written, code in whole + [(text.partition("_")[0], code) for text, code in whole]:
        reading = read_language(written)
        if reading is not None:
            found.setdefault(reading.code, code)
    return found
