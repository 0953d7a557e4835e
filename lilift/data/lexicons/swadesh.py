"""PanLex's Swadesh lists: 207 or 110 basic concepts in some 2,000 languages (the zip archive that NLTK distributes).

In the archive a file has one line a concept and no English. PanLex's own English file mixes in loose synonyms ("grind" for
*two*), so the concepts' usual English names stand here, in the order of the lists.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from lilift.data.languages import language
from lilift.recipe.errors import DataError

_TEXT_207 = """
    I you he we you they this that here there who what where when how not all many some few other one two three four
    five big long wide thick heavy small short narrow thin woman man man child wife husband mother father animal fish
    bird dog louse snake worm tree forest stick fruit seed leaf root bark flower grass rope skin meat blood bone fat egg
    horn tail feather hair head ear eye nose mouth tooth tongue fingernail foot leg knee hand wing belly guts neck back
    breast heart liver drink eat bite suck spit vomit blow breathe laugh see hear know think smell fear sleep live die
    kill fight hunt hit cut split stab scratch dig swim fly walk come lie sit stand turn fall give hold squeeze rub wash
    wipe pull push throw tie sew count say sing play float flow freeze swell sun moon star water rain river lake sea
    salt stone sand dust earth cloud fog sky wind snow ice smoke fire ash burn road mountain red green yellow white
    black night day year warm cold full new old good bad rotten dirty straight round sharp dull smooth wet dry correct
    near far right left at in with and if because name
"""
_TEXT_110 = """
    all ash bark belly big bird bite black blood bone breast burn claw cloud cold come die dog drink dry ear earth eat
    egg eye fat feather fire fish fly foot full give good green hair hand head hear heart horn I kill knee know leaf lie
    liver long louse man many meat moon mountain mouth name neck new night nose not one man rain red road root round
    sand say see seed sit skin sleep small smoke stand star stone sun swim tail that this you tongue tooth tree two walk
    warm water we what white who woman yellow far heavy near salt short snake thin wind worm year
"""
SWADESH_207 = tuple(_TEXT_207.split())
SWADESH_110 = tuple(_TEXT_110.split())
_LISTS = {"swadesh207": SWADESH_207, "swadesh110": SWADESH_110}
# What `zipfile` raises for a damaged archive, an encrypted one, or a compression that it does not know.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, ValueError, LookupError, RuntimeError,
    OverflowError, MemoryError,
)  # fmt: skip
# PanLex names languages by ISO 639-3, as FLORES does but for Chinese.
_OTHER_NAMES = {"zh": "cmn"}


def read_swadesh(path: Path, code: str) -> Iterator[tuple[str, str]]:
    """English names and expressions of every variety of a language that the archive has, the longer list first.

    Raises:
        DataError: the archive is damaged, is another archive, or lacks the language.
    """
    name = _iso_639_3(code)
    found = False
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(member for member in archive.namelist() if member.endswith(".txt"))
            for folder, concepts in _LISTS.items():
                for member in members:
                    parts = member.split("/")
                    if parts[-2:-1] == [folder] and parts[-1].startswith(f"{name}-"):
                        found = True
                        lines = archive.read(member).decode("utf-8").split("\n")
                        for english, line in zip(concepts, lines, strict=False):
                            yield from ((english, expression) for expression in line.split("\t") if expression)
    except DAMAGED as error:
        raise DataError(
            f"the archive cannot be read ({' '.join(str(error).split())[:120]})", where=path, remedy="download it again"
        ) from None
    if not found:
        raise DataError(
            f"the archive has no Swadesh list of {language(code).name} ({name}-*.txt in swadesh207 or swadesh110)",
            where=path,
            remedy="give PanLex's panlex_swadesh.zip, or another dictionary for this language",
        )


def _iso_639_3(code: str) -> str:
    flores = language(code).flores
    return _OTHER_NAMES.get(code) or (flores.split("_")[0] if flores else code.split("-")[0])
