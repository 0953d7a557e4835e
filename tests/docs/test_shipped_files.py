"""Every file that ships with lilift and every package that it needs has a source and a licence on the page of shipped files."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata

import pytest

from docs.reference_pages.shipped_files import LICENCES, by_origin, needed_packages, shipped_files

STATED = {
    "MIT": ("MIT", "Permission is hereby granted, free of charge"),  # some packages state the licence's text, not its name
    "Apache-2.0": ("Apache",),
    "BSD-3-Clause": ("BSD",),
    "LGPL-2.1-only": ("LGPL-2.1-only",),
}


def test_every_shipped_file_has_one_row() -> None:
    files = list(shipped_files())
    assert len(files) > 80
    assert sorted(file for its_files in by_origin(files).values() for file in its_files) == sorted(files)


@pytest.mark.parametrize("file", ["lilift/data/new.tsv", "lilift/stand_ins/llm/other.bin", "kernels/lilift_kernels/tuned.json"])
def test_a_new_file_without_a_row_is_named(file: str) -> None:
    with pytest.raises(ValueError, match=rf"{file} has 0 rows in ORIGINS"):
        by_origin([*shipped_files(), file])


def test_a_row_whose_files_are_gone_is_named() -> None:
    with pytest.raises(ValueError, match=r"do not exist: .*number_customs\.tsv"):
        by_origin(file for file in shipped_files() if "number_customs" not in file)


def test_the_licence_of_every_needed_package_is_the_one_that_its_own_metadata_states() -> None:
    names = {name for name, _, _ in needed_packages()}
    assert names == set(LICENCES)
    compared = 0
    for name in names:
        try:
            found = metadata(name)
        except PackageNotFoundError:  # an extra that is not installed here
            continue
        stated = " ".join(
            [found["License-Expression"] or "", (found["License"] or "")[:200], *(found.get_all("Classifier") or [])]
        )
        first = LICENCES[name].split(" ")[0]
        assert any(words in stated for words in STATED.get(first, (first,))), (name, stated)
        compared += 1
    assert compared >= 10
