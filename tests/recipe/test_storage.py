"""Files and folders that are either whole or absent, and damage that is found."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lilift.recipe.errors import RunFolderError, StorageError
from lilift.recipe.sealed_folders import remove_folder, sealed_folder, verify_part, verify_sealed_folder
from lilift.recipe.storage import JsonLines, read_json, remove_partial, storage_errors, write_json, write_text


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write past `size` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def make_sealed(folder: Path) -> None:
    with sealed_folder(folder, {"step": 7}) as partial:
        (partial / "weights.bin").write_bytes(bytes(range(256)) * 4)
        (partial / "inner").mkdir()
        (partial / "inner" / "config.json").write_text('{"a": 1}', encoding="utf-8")


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"x": 1})
    write_json(tmp_path / "new" / "a.json", {"x": "é"})
    assert read_json(tmp_path / "new" / "a.json") == {"x": "é"}
    assert list(everything_in(tmp_path)) == ["new/a.json"]


def test_a_refused_write_keeps_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with largest_file(1000), pytest.raises(StorageError, match=r"larger than allowed.*free some space"):
        write_text(tmp_path / "a.txt", "n" * 2000)
    assert everything_in(tmp_path) == {"a.txt": b"old"}


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "quota is used up; free some space"),
        (errno.EROFS, "cannot be written .*choose another folder"),
        (errno.EIO, "cannot be written .*check that the disk"),
    ],
)
def test_when_flushing_fails_the_error_is_one_line_and_the_old_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    make_sealed(tmp_path / "a")
    before = everything_in(tmp_path)

    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=words) as raised:
        make_sealed(tmp_path / "a")
    assert str(tmp_path / "a") in raised.value.line()
    assert "\n" not in raised.value.line()
    assert everything_in(tmp_path) == before


def test_a_place_that_cannot_be_a_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot be written"):
        make_sealed(tmp_path / "file" / "a")
    with pytest.raises(StorageError, match="cannot be written"):
        JsonLines(tmp_path / "file" / "lines.jsonl").append({"a": 1})
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path / "file" / "b.txt", "b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(StorageError, match="choose another folder"):
        make_sealed(tmp_path / "a")


def test_safetensors_own_refusal_is_a_storage_error(tmp_path: Path) -> None:
    with largest_file(1000), pytest.raises(StorageError, match="larger than allowed"), sealed_folder(tmp_path / "a") as partial:
        save_file({"a": torch.zeros(1000)}, partial / "a.safetensors")
    assert everything_in(tmp_path) == {}


def test_errors_that_are_not_about_the_written_place_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), sealed_folder(tmp_path / "a"):
        (tmp_path / "input.txt").read_text(encoding="utf-8")
    with pytest.raises(ConnectionError), storage_errors(tmp_path):
        raise ConnectionError("the hub is away")
    with pytest.raises(KeyError), sealed_folder(tmp_path / "a"):
        raise KeyError("a bug")
    assert everything_in(tmp_path) == {}


def test_a_sealed_folder_verifies_and_tells_its_details(tmp_path: Path) -> None:
    make_sealed(tmp_path / "a")
    assert verify_sealed_folder(tmp_path / "a") == {"step": 7}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_sealing_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    make_sealed(tmp_path / "a")
    with sealed_folder(tmp_path / "a", {"step": 8}) as partial:
        (partial / "only.txt").write_text("new", encoding="utf-8")
    assert verify_sealed_folder(tmp_path / "a") == {"step": 8}
    assert set(everything_in(tmp_path)) == {"a/only.txt", "a/manifest.json"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_or_lost_tail_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    make_sealed(tmp_path / "a")
    name = data.draw(st.sampled_from(sorted(everything_in(tmp_path / "a"))))
    path = tmp_path / "a" / name
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 2))  # the manifest's last byte, a line break, may be missing
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path.write_bytes(bytes(content))
    with pytest.raises(RunFolderError, match=r"damaged|incomplete"):
        verify_sealed_folder(tmp_path / "a")


def test_the_damaged_file_is_named(tmp_path: Path) -> None:
    make_sealed(tmp_path / "a")
    (tmp_path / "a" / "inner" / "config.json").unlink()
    with pytest.raises(RunFolderError, match=r"inner/config\.json cannot be read"):
        verify_sealed_folder(tmp_path / "a")
    with pytest.raises(RunFolderError, match="no manifest"):
        verify_sealed_folder(tmp_path / "absent")


def test_a_part_says_what_to_do_when_its_stage_is_not_finished_and_when_it_is_damaged(tmp_path: Path) -> None:
    part = tmp_path / "align" / "alignment"
    remedies = {"if_unfinished": "finish it", "if_damaged": "make it again"}
    with pytest.raises(RunFolderError) as unfinished:
        verify_part(part, **remedies)
    assert unfinished.value.line() == f"{tmp_path}: phase 'align' of this run is not finished; finish it"
    with pytest.raises(RunFolderError, match=r"absent or incomplete: it has no manifest; make it again$"):
        verify_part(part, if_damaged="make it again")
    make_sealed(part)
    assert verify_part(part, **remedies) == {"step": 7}
    (part / "inner" / "config.json").unlink()
    with pytest.raises(RunFolderError) as damaged:
        verify_part(part, **remedies, message="the layer is damaged ({reason})")
    reason = "inner/config.json cannot be read (No such file or directory)"
    assert damaged.value.line() == f"{part}: the layer is damaged ({reason}); make it again"
    with pytest.raises(RunFolderError) as without_words:
        verify_part(part)
    assert without_words.value.line() == f"{part}: is damaged: {reason}"


def test_removing_never_shows_half_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sealed(tmp_path / "a")
    monkeypatch.setattr("shutil.rmtree", lambda *_args, **_keywords: None)  # a kill before anything is deleted
    remove_folder(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    monkeypatch.undo()
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_lines_survive_a_torn_end(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    assert lines.read() == []
    lines.append({"step": 1}, {"step": 2, "text": "ni maembe 3\u2028"})
    with lines.path.open("ab") as file:
        file.write('{"step": 3, "text": "é'.encode()[:-1])
    assert [record["step"] for record in lines.read()] == [1, 2]
    JsonLines(lines.path).append({"step": 4})
    assert [record["step"] for record in JsonLines(lines.path).read()] == [1, 2, 4]


def test_a_refused_line_leaves_no_half_line(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.append({"step": 1})
    with largest_file(100), pytest.raises(StorageError):
        lines.append({"step": 2, "text": "x" * 200})
    assert lines.path.read_bytes() == b'{"step": 1}\n'
    lines.append({"step": 3})
    assert [record["step"] for record in lines.read()] == [1, 3]


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\nnonsense\n{"a": 2}\n', encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl:2: is damaged"):
        JsonLines(path).read()


def test_rewriting_replaces_all_lines(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.append({"a": 1}, {"a": 2})
    lines.rewrite([{"a": 3}])
    lines.append({"a": 4})
    assert lines.read() == [{"a": 3}, {"a": 4}]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_weights_have_the_permissions_of_every_other_file(tmp_path: Path, mask: int, mode: int) -> None:
    """safetensors itself lets only the owner read what it writes."""
    before = os.umask(mask)
    try:
        with sealed_folder(tmp_path / "part") as partial:
            save_file({"a": torch.ones(2)}, partial / "a.safetensors")
        write_json(tmp_path / "part.json", {})
    finally:
        os.umask(before)
    written = [*(tmp_path / "part").iterdir(), tmp_path / "part.json"]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in written} == {path.name: oct(mode) for path in written}


def test_a_damaged_manifest_is_named_without_the_advice_to_delete_it(tmp_path: Path) -> None:
    make_sealed(tmp_path / "a")
    (tmp_path / "a" / "manifest.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"manifest\.json") as raised:
        verify_part(tmp_path / "a")
    assert "delete" not in raised.value.line()
