"""Word vectors: every published format is read, and a file that cannot be used says why in one line."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from lilift.data.induction.vector_training import train_embeddings
from lilift.data.induction.word_vectors import read_embeddings
from lilift.data.languages import language
from lilift.recipe.errors import DataError

WORDS = ["ya", "mbwa", "ñawi", "犬"]
VECTORS = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -3.0], [0.0, 1.0, 0.125], [4.0, 0.5, 1.0]], dtype=np.float32)


def as_text(*, header: bool = True) -> bytes:
    rows = [f"{word} {' '.join(map(str, vector))} \n" for word, vector in zip(WORDS, VECTORS.tolist(), strict=True)]
    return ("4 3\n" * header + "".join(rows)).encode("utf-8")


def as_word2vec_binary(*, breaks: bool = True) -> bytes:
    rows = [word.encode("utf-8") + b" " + row.tobytes() + b"\n" * breaks for word, row in zip(WORDS, VECTORS, strict=True)]
    return b"4 3\n" + b"".join(rows)


@pytest.fixture
def write(tmp_path: Path):
    def written(content: bytes, name: str = "words.vec") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return written


FORMATS = {
    "text": as_text(),
    "without a header": as_text(header=False),
    "gzipped": gzip.compress(as_text(), mtime=0),
    "windows": as_text().replace(b"\n", b"\r\n"),
    "byte-order mark": b"\xef\xbb\xbf" + as_text(),
    "binary": as_word2vec_binary(),
    "binary without line breaks": as_word2vec_binary(breaks=False),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_vectors_up_to_the_limit(write, name: str) -> None:
    path = write(FORMATS[name])
    found = read_embeddings(path, 10)
    assert found.words == WORDS
    assert torch.equal(found.vectors, torch.from_numpy(VECTORS))
    assert read_embeddings(path, 2).words == WORDS[:2]


def test_a_word_that_comes_twice_keeps_its_first_vector(write) -> None:
    found = read_embeddings(write(as_text().replace(b"mbwa", b"ya")), 10)
    assert found.words == ["ya", "ñawi", "犬"]
    assert found.vectors[1].tolist() == VECTORS[2].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its first line is neither"),
        (b"just text, no vectors", r"words\.vec:1: a vector holds something that is no number"),
        (b"4 3\n", "the file has no vector"),
        (as_text()[:52], r"words\.vec:4: a vector of \d numbers instead of 3"),
        (as_text()[:60], r"words\.vec: is cut short: 3 of 4 vectors"),
        (as_text().replace(b"1.5 0.25", b"1.5"), r"words\.vec:3: a vector of 2 numbers instead of 3"),
        (as_text().replace(b"0.25", b"x.25"), r"words\.vec:3: a vector holds something that is no number"),
        (as_text().replace(b"0.25", b"nan"), "not numbers"),
        (as_text().decode("utf-8").encode("latin-1", "replace"), r"words\.vec:4: the line is not UTF-8 text"),
        (as_text().decode("utf-8").encode("utf-16"), "the file is UTF-16"),
        (gzip.compress(as_text() * 500, mtime=0)[:60], "the gzip file is cut short"),
        (b"4 3\n" + b"x" * (2 << 20), r"words\.vec:2: a line is longer than 1 MiB"),
        (as_word2vec_binary()[:40], r"is cut short at word \d of 4"),
        (struct.pack("<2i", 793712314, 11) + bytes(100), "version 11 of the format"),
        (struct.pack("<2i", 793712314, 12) + bytes(20), "the fastText model is cut short or damaged"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(write, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_embeddings(write(content), 10)
    assert "\n" not in caught.value.line()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.vec: cannot read the vectors \(No such file or directory\)"):
        read_embeddings(tmp_path / "none.vec", 10)


TEXT = "mbwa na paka wanacheza nyumbani kwa ñawi 犬犬\nPaka, mbwa na kuku wako nyumbani leo\n" * 30


def test_fasttext_models_are_read_as_gensim_reads_them(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("gensim.models.fasttext")
    sentences = [line.lower().split() for line in TEXT.splitlines()]
    model = fasttext.FastText(sentences, vector_size=8, min_count=1, min_n=2, max_n=4, bucket=300, workers=1, epochs=1)
    path = tmp_path / "model.bin"
    fasttext.save_facebook_model(model, str(path))
    found = read_embeddings(path, 100)
    assert list(found.words) == model.wv.index_to_key
    np.testing.assert_allclose(found.vectors.numpy(), model.wv.vectors, atol=1e-5)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataError, match="cut short or damaged"):
        read_embeddings(path, 100)


def test_vectors_trained_on_a_text_know_its_frequent_words_and_repeat(tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    first, again = (train_embeddings(path, language("sw"), dimension=8, epochs=1) for _ in range(2))
    assert set(first.words[:4]) == {"mbwa", "na", "paka", "nyumbani"}
    assert first.vectors.shape == (len(first.words), 8)
    assert torch.equal(first.vectors, again.vectors)


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        ("sw", "", "the text has no words"),
        ("sw", "moja mbili tatu\n", "no word occurs at least 5 times"),
        ("th", "ฉันชอบกินข้าวผัดและต้มยำกุ้งมากที่สุด\n" * 30, "no spaces between words .* segmenter for Thai"),
        ("zh", "农民在市场上卖掉了鸡蛋，剩下的鸡蛋分给了邻居。\n" * 30, "no spaces between words"),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_one_clear_line(tmp_path: Path, code: str, text: str, message: str) -> None:
    pytest.importorskip("gensim")
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        train_embeddings(path, language(code), dimension=8, epochs=1)
