"""Which language codes a translator has, and which of them a user means.

CTranslate2 checks no code: it reads a wrong one as an unknown word, and the translation may be in any language. So lilift takes
codes from the vocabulary alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lilift.data.languages import languages
from lilift.model.encoders.source_languages import near_codes, tokenizer_codes
from lilift.recipe.errors import ModelError
from lilift.recipe.names.language_names import hint, read_language
from lilift.translation.translator_files import TranslatorFiles


@dataclass(frozen=True)
class TranslatorLanguage:
    """A language as a user names it.

    Attributes:
        code: lilift's code, which decides how numbers are read.
        token: the token of the vocabulary; empty if the model needs none.
    """

    code: str
    token: str


def translator_language(
    files: TranslatorFiles, named: str, *, is_target: bool, chosen: Mapping[str, str] | None = None
) -> TranslatorLanguage:
    """The language that a user names: in any spelling that lilift knows, or by the model's own code.

    Args:
        files: the translator.
        named: such as ``sw``, ``Swahili`` or ``swh_Latn``.
        is_target: whether texts are translated into it.
        chosen: codes of the model by lilift's code, for languages where the user wants another one.

    Raises:
        ModelError: lilift does not know the language, or the model lacks it.
    """
    by_token = {_bare(token): token for token in files.codes}
    reading = read_language(named)
    code = reading.code if reading is not None else ""
    wanted = (chosen or {}).get(code, "")
    if wanted and wanted not in by_token and wanted not in files.codes:
        raise _unknown(files, wanted, by_token)
    if files.family == "marian" and not (is_target and files.codes):
        if not code:
            raise _unknown(files, named, {known: known for known in languages()})
        return TranslatorLanguage(code, "")
    if wanted:
        return TranslatorLanguage(code, by_token.get(wanted, wanted))
    exact = by_token.get(named) or (named if named in files.codes else None)
    found = exact or by_token.get(tokenizer_codes(list(by_token)).get(code, ""))
    if found is None:
        raise _unknown(files, named, by_token)
    return TranslatorLanguage(code or _bare(found).partition("_")[0], found)


def _bare(token: str) -> str:
    """The code inside a token: ``sw`` of ``__sw__``, ``fra`` of ``>>fra<<``."""
    return token.strip("_<>")


def _unknown(files: TranslatorFiles, named: str, codes: Mapping[str, str]) -> ModelError:
    near: Sequence[str] = near_codes(named, list(codes))
    known = hint(named) if read_language(named) is None else ""
    return ModelError(
        f"the translator has no language {named!r}" + (f" ({known})" if known else ""),
        where=files.folder,
        remedy=f"did you mean {' or '.join(near)}? It has {len(codes)} languages",
    )
