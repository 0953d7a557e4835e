"""Tokens remembered on the disk: each text is tokenised once, and whatever happens to the file, the tokens are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilift.data.align_tasks import AlignTasks
from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.step_grouping import Position, StepPlan, iterate_steps
from lilift.data.batches.token_cache import TokenCache, identity_of, token_cache
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.languages import language
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.lexicon import build_lexicon
from lilift.data.stage_rows import AlignRows
from lilift.data.switching.code_switching import CodeSwitcher
from lilift.data.texts.examples import Example
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.recipe.schema import CodeSwitchingSettings
from tests.data.batches.test_tokenization import BYTE_LEVEL, SPACE_FIRST, WordTokenizer

TEXTS = [f"text {number} " + "word " * (number % 7) for number in range(300)]


class Counting:
    """Tokenises, and counts how often it met each text."""

    def __init__(self, add: int = 0) -> None:
        self.met: Counter[str] = Counter()
        self.add = add

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        self.met.update(texts)
        return [[self.add + byte for byte in text.encode("utf-8", "surrogatepass")] for text in texts]


def tokens_of(texts: Sequence[str], add: int = 0) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids in Counting(add)(texts)]


def test_each_distinct_text_is_tokenised_once_also_by_another_process(tmp_path: Path) -> None:
    made = Counting()
    cache = TokenCache(tmp_path / "tokens")
    assert cache.tokens("a", [*TEXTS, TEXTS[3]], made) == tokens_of([*TEXTS, TEXTS[3]])
    assert cache.tokens("a", ["new", *reversed(TEXTS)], made) == tokens_of(["new", *reversed(TEXTS)])
    cache.close()
    again = TokenCache(tmp_path / "tokens")
    assert again.tokens("a", TEXTS, made) == tokens_of(TEXTS)
    assert set(made.met.values()) == {1}


@given(st.lists(st.text(st.characters(), max_size=20), max_size=8))
def test_any_text_is_found_again(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    cache = TokenCache(tmp_path_factory.mktemp("any") / "tokens")
    made = Counting()
    for _ in range(2):
        assert cache.tokens("a", texts, made) == tokens_of(texts)
    assert all(count == 1 for count in made.met.values())
    cache.discard()


def test_another_use_of_the_same_text_is_another_entry(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "tokens")
    assert cache.tokens("a", TEXTS, Counting()) == tokens_of(TEXTS)
    assert cache.tokens("b", TEXTS, Counting(1000)) == tokens_of(TEXTS, 1000)
    assert cache.tokens("a", TEXTS, Counting(2000)) == tokens_of(TEXTS)


def test_tokenizers_are_told_apart_and_unknown_ones_are_never_remembered() -> None:
    assert identity_of(BYTE_LEVEL) == identity_of(BYTE_LEVEL) != identity_of(SPACE_FIRST)
    assert identity_of(WordTokenizer()) is None


def filled(path: Path) -> bytes:
    cache = TokenCache(path)
    cache.tokens("a", TEXTS, Counting())
    cache.close()
    return path.read_bytes()


@pytest.mark.parametrize("harm", ["bits", "cut", "other", "empty", "folder"])
def test_a_damaged_file_gives_the_same_tokens(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "tokens"
    whole = filled(path)
    if harm == "bits":
        harmed = bytearray(whole)
        for place in range(5000, len(harmed), 97):
            harmed[place] ^= 4
        path.write_bytes(harmed)
    elif harm == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif harm == "other":
        path.write_bytes(b"no database at all " * 500)
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        path.mkdir()
    cache = TokenCache(path)
    for _ in range(2):
        assert cache.tokens("a", TEXTS, Counting()) == tokens_of(TEXTS)


def test_an_entry_that_was_changed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    whole = filled(path)
    place = whole.index(b"".join(byte.to_bytes(4, "little") for byte in TEXTS[5].encode()))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    made = Counting()
    cache = TokenCache(path)
    assert cache.tokens("a", TEXTS, made) == tokens_of(TEXTS)
    assert made.met == {TEXTS[5]: 1}
    assert cache.tokens("a", [TEXTS[5]], Counting(1000)) == tokens_of([TEXTS[5]])


def test_a_full_cache_is_read_on_and_grows_no_more(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    cache = TokenCache(path, limit=32 << 10)
    for start in range(0, 300, 30):
        cache.tokens("a", TEXTS[start : start + 30], Counting())
    made = Counting()
    assert cache.tokens("a", TEXTS, made) == tokens_of(TEXTS)
    assert 0 < len(made.met) < 300
    assert path.stat().st_size <= 32 << 10


def test_a_process_killed_while_it_writes_leaves_whole_entries(tmp_path: Path) -> None:
    program = (
        "import itertools, sys\n"
        "from pathlib import Path\n"
        "from lilift.data.batches.token_cache import TokenCache\n"
        "cache = TokenCache(Path(sys.argv[1]))\n"
        "for turn in itertools.count():\n"
        "    texts = [f'{turn} {number}' for number in range(300)]\n"
        "    cache.tokens('a', texts, lambda missing: [list(text.encode()) for text in missing])\n"
        "    print(turn, flush=True)\n"
    )
    path = tmp_path / "tokens"
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    ) as writer:
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    made = Counting()
    texts = [f"{turn} {number}" for turn in range(5) for number in range(300)]
    assert TokenCache(path).tokens("a", texts, made) == tokens_of(texts)
    assert not made.met


def test_a_cache_stays_when_a_stage_is_interrupted_and_goes_when_it_is_done(tmp_path: Path) -> None:
    def interrupted(texts: Sequence[str]) -> list[list[int]]:  # noqa: ARG001  as every tokenizer has it
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), token_cache(tmp_path) as cache:  # noqa: PT012  what came before is kept
        cache.tokens("a", TEXTS, Counting())
        cache.tokens("a", ["later"], interrupted)
    made = Counting()
    with token_cache(tmp_path) as cache:
        cache.tokens("a", TEXTS, made)
    assert not made.met
    assert list(tmp_path.iterdir()) == []


class CountingTokenizer(WordTokenizer):
    """An encoder's tokenizer that can be told from others, and counts."""

    identity = "counting words"

    def __init__(self) -> None:
        self.met: Counter[str] = Counter()

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        self.met[text] += 1
        return super().encode(text, max_tokens)


def align_rows(encoder: WordTokenizer, cache: TokenCache | None) -> AlignRows:
    swahili = build_lexicon([Pair("dog", "mbwa"), Pair("cat", "paka"), Pair("buy", "nunua")], language("sw"), "test")
    examples = [Example(str(n), f"The dog and {n} cats buy a dog. " * (1 + n % 9), f"It is {n}.") for n in range(150)]
    switcher = CodeSwitcher({"sw": swahili}, CodeSwitchingSettings(ratios=(0.5,)), seed=0)
    shape = SequenceShape(has_bos=True, has_eos=True, latents=None)
    tokenisation = Tokenisation(
        encoder, BYTE_LEVEL, TEMPLATES["plain"], "soft", shape, True, Limits(60, 300, "truncate"), cache=cache
    )
    return AlignRows({"switched": examples}, tokenisation, AlignTasks(switcher, {"reconstruct": 0.5, "respond": 0.5}, 0))


def test_a_stage_has_the_same_rows_counts_and_batches_with_a_cache(tmp_path: Path) -> None:
    encoder = CountingTokenizer()
    plain, cached = align_rows(WordTokenizer(), None), align_rows(encoder, TokenCache(tmp_path / "tokens"))
    assert cached.lengths() == plain.lengths()
    plan = StepPlan(plain.tokenisation.shape, True, tokens_per_step=3000, tokens_per_micro_batch=1000, seed=0, pool_rows=50)
    for rows in (cached, replace(cached)):
        pairs = zip(iterate_steps(rows, plan), iterate_steps(plain, plan), strict=False)
        for one, other in pairs:
            if other.position >= Position(2):
                break
            assert one == other
    whole = {text: count for text, count in encoder.met.items() if len(text.split()) < 60}
    assert len(whole) > 200  # switched anew in the second epoch
    assert set(whole.values()) == {1}
