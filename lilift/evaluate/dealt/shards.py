"""An evaluation as an array of jobs, which share no process group: each answers a shard, and one puts all together.

    FOLDER/shards/3-of-16/shard.json    what the shard belongs to
    FOLDER/shards/3-of-16/<system>/     its answers, as in the folder of an evaluation

`merge_shards` writes into FOLDER what an evaluation in one process would have written there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lilift.evaluate.answer_loop import answer_all
from lilift.evaluate.answering_cost import AnsweringCost, one_after_other, read_costs, write_costs
from lilift.evaluate.benchmarks.benchmark import Benchmark
from lilift.evaluate.claimed_answers import INPUTS, claim_answers, claim_questions
from lilift.evaluate.dealt.question_shares import Share, digest_of_questions, own_questions
from lilift.evaluate.evaluator import System, evaluate, file_of, load_benchmarks
from lilift.evaluate.language_evaluation import LanguageEvaluation
from lilift.evaluate.responders import Responder
from lilift.evaluate.scores.scores import SystemScores
from lilift.recipe.errors import RunFolderError
from lilift.recipe.schema import BenchmarkSettings
from lilift.recipe.sealed_records import read_record, write_record
from lilift.recipe.storage import JsonLines

SHARDS = "shards"
RECORD = "shard.json"
_DAMAGED = "delete the folder of this shard, and run its job again"


@dataclass(frozen=True)
class Evaluation:
    """The whole evaluation that a shard belongs to.

    Attributes:
        settings: the benchmark.
        languages: codes of its languages.
        seed: draws the questions of `world`.
        title: for its page.
    """

    settings: BenchmarkSettings
    languages: tuple[str, ...]
    seed: int
    title: str

    def benchmarks(self) -> list[Benchmark]:
        """All questions.

        Raises:
            DataError: see `load_benchmarks`.
        """
        chosen = self.settings.model_copy(update={"languages": self.languages})
        return load_benchmarks([chosen], self.languages, seed=self.seed)


@dataclass(frozen=True)
class AnsweredShard:
    """A shard whose questions are all answered; its folder, and how many there are."""

    share: Share
    folder: Path
    questions: int


def answer_shard(
    responder: Responder,
    benchmarks: Sequence[Benchmark],
    folder: Path,
    share: Share,
    whole: Evaluation,
    *,
    system: System,
    inputs: Mapping[str, Any],
    samples: int = 1,
    **how: Any,
) -> AnsweredShard:
    """Let a model answer the questions of a shard that it has not answered yet.

    Args:
        responder: answers the questions.
        benchmarks: the questions of the whole evaluation.
        folder: that of the whole evaluation.
        share: which shard.
        whole: the evaluation.
        system, inputs, samples: as for `evaluate`.
        how: the other arguments of `answer_all`.

    Raises:
        LiliftError: see `evaluate`.
    """
    own, place = own_questions(benchmarks, share), _place(folder, share)
    write_record(
        place / RECORD,
        {
            "shard": share.number,
            "of": share.of,
            "settings": whole.settings.model_dump(mode="json"),
            "languages": list(whole.languages),
            "seed": whole.seed,
            "title": whole.title,
            "system": asdict(system),
            "questions": digest_of_questions(benchmarks),
        },
    )
    answers = place / system.name
    claim_answers(answers / INPUTS, inputs)
    for benchmark in own:
        claim_questions(answers / benchmark.name, benchmark)
    runs = [LanguageEvaluation(responder, benchmark, file_of(answers, benchmark), samples) for benchmark in own]
    answer_all(runs, answers, system.title, **how)
    return AnsweredShard(share, place, sum(len(benchmark.questions) for benchmark in own))


def merge_shards(folder: Path) -> tuple[SystemScores, str]:
    """Put the answers of all shards together, and score them.

    Returns:
        The scores, and the title of the evaluation's page.

    Raises:
        RunFolderError: a shard is missing, not finished or damaged, or belongs to another evaluation.
        DataError: lilift cannot read the benchmark.
        StorageError: the folder cannot be written.
    """
    records = _records(folder)
    first = next(iter(records.values()))
    whole = _whole_of(first, folder)
    system = System(**first["system"])
    benchmarks = whole.benchmarks()
    if digest_of_questions(benchmarks) != first["questions"]:
        raise RunFolderError(
            "the questions or right answers have changed since the jobs answered them",
            where=folder,
            remedy="restore the benchmark's files, or answer all questions again in another folder",
        )
    inputs = _common_inputs(folder, records, system)
    answers: dict[tuple[str, str, str], dict[str, Any]] = {}
    for share in records:
        answers |= _answers_of(folder, share, system, own_questions(benchmarks, share))
    own = folder / system.name
    claim_answers(own / INPUTS, inputs)
    for benchmark in benchmarks:
        file = JsonLines(file_of(own, benchmark))
        ids = {question.id for question in benchmark.questions}
        others = [line for line in file.read() if str(line.get("id")) not in ids]
        mine = [answers[benchmark.name, benchmark.language, question.id] for question in benchmark.questions]
        file.rewrite([*mine, *others])
    scores = evaluate(_Nobody(), benchmarks, folder, system=system, inputs=inputs)
    costs: dict[str, AnsweringCost] = {}
    for share in records:
        for name, cost in read_costs(_place(folder, share) / system.name).items():
            costs[name] = one_after_other(costs.get(name), cost)
    write_costs(own, costs)
    return scores, whole.title


class _Nobody:
    """Answers nothing, because all answers are there."""

    def generate(self, questions: Sequence[str]) -> list[str]:
        raise AssertionError(f"{len(questions)} questions have no answer")


def _place(folder: Path, share: Share) -> Path:
    return folder / SHARDS / f"{share.number}-of-{share.of}"


def _records(folder: Path) -> dict[Share, dict[str, Any]]:
    """The record of every shard, in their order.

    Raises:
        RunFolderError: there is none, one is missing or damaged, or they belong to different evaluations.
    """
    found: dict[Share, dict[str, Any]] = {}
    for path in (folder / SHARDS).glob("*-of-*"):
        name = re.fullmatch(r"(\d+)-of-(\d+)", path.name, re.ASCII)
        if name is not None:
            found[Share(int(name[1]), int(name[2]))] = read_record(path / RECORD, remedy=_DAMAGED)
    if not found:
        raise RunFolderError(
            "this folder holds no shards of an evaluation", where=folder, remedy="give the --output of `lilift eval … --shard`"
        )
    sizes = sorted({share.of for share in found})
    if len(sizes) > 1:
        raise RunFolderError(
            f"the shards are parts of {' and of '.join(map(str, sizes))}",
            where=folder / SHARDS,
            remedy="delete the folders of those that you do not want",
        )
    missing = [str(number) for number in range(1, sizes[0] + 1) if Share(number, sizes[0]) not in found]
    if missing:
        raise RunFolderError(
            f"shard{'s' if len(missing) > 1 else ''} {', '.join(missing)} of {sizes[0]} "
            f"{'are' if len(missing) > 1 else 'is'} missing",
            where=folder / SHARDS,
            remedy=f"run `lilift eval … --shard {missing[0]}/{sizes[0]}` first",
        )
    ordered = dict(sorted(found.items(), key=lambda item: item[0].number))
    kept = [{name: value for name, value in record.items() if name != "shard"} for record in ordered.values()]
    for share, record in zip(ordered, kept, strict=True):
        different = [name for name, value in kept[0].items() if record.get(name) != value]
        if different:
            raise RunFolderError(
                f"it belongs to another evaluation than shard 1 (other {' and '.join(different)})",
                where=_place(folder, share),
                remedy="delete the folders of those that you do not want, and run their jobs again",
            )
    return ordered


def _whole_of(record: Mapping[str, Any], folder: Path) -> Evaluation:
    try:
        settings = BenchmarkSettings.model_validate(record["settings"])
        return Evaluation(settings, tuple(map(str, record["languages"])), int(record["seed"]), str(record["title"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError("is damaged, or of another version of lilift", where=folder / SHARDS, remedy=_DAMAGED) from error


def _common_inputs(folder: Path, shares: Iterable[Share], system: System) -> dict[str, Any]:
    """What the answers of all shards depend on."""
    found: dict[str, Any] | None = None
    for share in shares:
        path = _place(folder, share) / system.name / INPUTS
        inputs = read_record(path, remedy=_DAMAGED) if path.exists() else None
        if inputs is None and any(path.parent.rglob("*.jsonl")):
            raise RunFolderError("nothing says which model gave these answers", where=path.parent, remedy=_DAMAGED)
        if inputs is not None and found is not None and inputs != found:
            changed = ", ".join(sorted(name for name in {**found, **inputs} if found.get(name) != inputs.get(name)))
            raise RunFolderError(
                f"its answers are of another model or with other settings than those of shard 1 (changed: {changed})",
                where=_place(folder, share),
                remedy="delete this folder, and run its job again with the model and the options of the others",
            )
        found = found if inputs is None else inputs
    return found or {}


def _answers_of(
    folder: Path, share: Share, system: System, own: Sequence[Benchmark]
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The answers of a shard by benchmark, language and id.

    Raises:
        RunFolderError: it has not answered all its questions.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for benchmark in own:
        lines = {
            str(line.get("id")): line for line in JsonLines(file_of(_place(folder, share) / system.name, benchmark)).read()
        }
        for question in benchmark.questions:
            if question.id in lines:
                found[benchmark.name, benchmark.language, question.id] = lines[question.id]
    wanted = sum(len(benchmark.questions) for benchmark in own)
    if len(found) < wanted:
        raise RunFolderError(
            f"shard {share.number} of {share.of} has answered {len(found)} of its {wanted} questions",
            where=_place(folder, share),
            remedy=f"run `lilift eval … --shard {share.number}/{share.of}` again; it continues",
        )
    return found
