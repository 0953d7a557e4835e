"""Finds out what lilift can do with a model: from its small files first, then on a small random twin."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from lilift.model.llms.llm import text_part
from lilift.model.sources import loading
from lilift.phases.model_check.configuration_checks import encoder_configuration_problems, llm_configuration_problems
from lilift.phases.model_check.file_checks import Ability, Problems, encoder_file_problems, llm_file_problems
from lilift.phases.model_check.random_twin import twin_of_encoder, twin_of_llm
from lilift.phases.model_check.small_files import ModelFiles, model_files
from lilift.phases.model_check.twin_run import TwinRun
from lilift.recipe.errors import EnvironmentUnfit, LiliftError, ModelError

Kind = Literal["llm", "encoder"]
Verdict = Literal["yes", "no", "not checked"]
STAGE_1, STAGE_2, ANSWERS, MERGES, GGUF, TOKENS = (
    "trains in stage 1",
    "trains in stage 2",
    "answers",
    "merges and reloads",
    "GGUF",
    "tokens as in llama.cpp",
)
QUESTIONS = {"llm": (STAGE_1, STAGE_2, ANSWERS, MERGES, GGUF, TOKENS), "encoder": (STAGE_1, STAGE_2, ANSWERS, GGUF)}
_LLM_CLASSES = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class ModelFinding:
    """What lilift found out about one ability of a model.

    Attributes:
        question: the ability, one of `QUESTIONS`.
        verdict: ``yes``, ``no``, or ``not checked``.
        found: what was measured, or the reason.
        remedy: what to do about a ``no``.
    """

    question: str
    verdict: Verdict
    found: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class ModelReport:
    """Everything that lilift found out about a model.

    Attributes:
        name: the model's name.
        kind: what it was checked as.
        architecture: the model's class, as its configuration names it.
        findings: one for each question, in their order.
        seconds: how long the check took.
    """

    name: str
    kind: Kind
    architecture: str
    findings: tuple[ModelFinding, ...]
    seconds: float

    @property
    def works(self) -> bool:
        """Whether there is no ``no``."""
        return all(finding.verdict != "no" for finding in self.findings)

    def verdict(self, question: str) -> Verdict:
        """The verdict on a question."""
        return next(finding.verdict for finding in self.findings if finding.question == question)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"works": self.works}


def check_model(
    name: str, *, kind: Kind | None = None, revision: str | None = None, trust_remote_code: bool = False
) -> ModelReport:
    """Check a model: read its small files, then train, answer, merge and export with a small random twin of it.

    The stand-ins of lilift are its partner: the encoder's for an LLM, the LLM's for an encoder.

    Args:
        name: a folder, a name on the hub, or a stand-in.
        kind: what it is to be; by default what its configuration says.
        revision: commit, tag or branch on the hub.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ModelError: lilift cannot find the model, or it is damaged.
    """
    started = time.monotonic()
    with _quiet_transformers():
        kind, architecture, findings = _checked(name, kind, revision, trust_remote_code)
    return ModelReport(name, kind, architecture, findings, round(time.monotonic() - started, 1))


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Hide what transformers says about unusual settings, which a twin has on purpose."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _checked(
    name: str, kind: Kind | None, revision: str | None, trust_remote_code: bool
) -> tuple[Kind, str, tuple[ModelFinding, ...]]:
    files = model_files(name, revision, what=_SHOWN.get(kind, "model"))
    if files is None:
        raise ModelError(
            "the model is not in the hub's cache and the hub cannot be reached",
            where=name,
            remedy="connect to the internet once to download it, or give the path of a folder that holds it",
        )
    config = _config(files, trust_remote_code)
    kind = kind or _kind_of(config)
    findings = _Findings(kind)
    with tempfile.TemporaryDirectory(prefix="lilift-model-check-") as work:
        _find(findings, files, kind, Path(work), trust_remote_code)
    return kind, next(iter(config.architectures or []), config.model_type), findings.all()


_SHOWN: dict[Kind | None, str] = {"llm": "LLM", "encoder": "encoder"}


class _Findings:
    """The findings so far."""

    def __init__(self, kind: Kind) -> None:
        self._questions = QUESTIONS[kind]
        self._found: dict[str, ModelFinding] = {}

    def refuse(self, question: str, error: Exception) -> None:
        """Note that an ability is missing."""
        if isinstance(error, LiliftError):
            self._found[question] = ModelFinding(question, "no", error.what, error.remedy or "")
        else:
            reason = " ".join(str(error).split())[:200]
            self._found[question] = ModelFinding(question, "no", f"{type(error).__name__}: {reason}", "report this model")

    def ask(self, question: str, *steps: Callable[[], str]) -> bool:
        """Take steps of a run that show an ability. False if one of them fails."""
        if question in self._found or question not in self._questions:
            return self._found[question].verdict == "yes" if question in self._found else True
        try:
            self._found[question] = ModelFinding(question, "yes", "; ".join([step() for step in steps]))
        except EnvironmentUnfit as error:
            self._found[question] = ModelFinding(question, "not checked", error.what, error.remedy or "")
        except Exception as error:  # whatever a library raises about an unusual model is the reason that the user needs
            self.refuse(question, error)
        return self._found[question].verdict == "yes"

    def all(self) -> tuple[ModelFinding, ...]:
        return tuple(self._found.get(question, ModelFinding(question, "not checked")) for question in self._questions)


def _find(findings: _Findings, files: ModelFiles, kind: Kind, work: Path, trust_remote_code: bool) -> None:
    def prepared() -> TwinRun:
        twin_folder, folder = work / "twin", work / "run"
        folder.mkdir()
        if kind == "llm":
            twin = twin_of_llm(files, twin_folder, trust_remote_code=trust_remote_code)
            return TwinRun(str(twin), "stand-in:encoder", folder, trust_remote_code=trust_remote_code)
        return TwinRun("stand-in:llm", str(twin_of_encoder(files, twin_folder)), folder)

    problems = _problems(files, kind, trust_remote_code)
    for ability, questions in _QUESTIONS_OF.items():
        for question in questions if ability in problems else ():
            if question in QUESTIONS[kind]:
                findings.refuse(question, problems[ability])
    if problems.keys() & {"trains", "answers"}:
        return
    try:
        run = prepared()
    except ModelError as error:
        findings.refuse(STAGE_1, error)
        return
    trained = findings.ask(STAGE_1, lambda: run.train("align")) and findings.ask(STAGE_2, lambda: run.train("transfer"))
    if not trained:
        return
    findings.ask(ANSWERS, run.answer)
    merged = findings.ask(MERGES, run.merge) if kind == "llm" else True
    in_llama_cpp = run.run_llm_in_llama_cpp if kind == "llm" else run.run_encoder_in_llama_cpp
    if merged and "gguf" not in problems and findings.ask(GGUF, run.write_gguf, in_llama_cpp):
        findings.ask(TOKENS, lambda: _tokens(run))


_QUESTIONS_OF: dict[Ability, tuple[str, ...]] = {
    "trains": (STAGE_1, STAGE_2),
    "answers": (ANSWERS,),
    "merges": (MERGES,),
    "gguf": (GGUF,),
}


def _tokens(run: TwinRun) -> str:
    same, compared = run.compare_tokens()
    if same < compared:
        raise ModelError(
            f"{same} of {compared} texts have the same tokens",
            remedy="export with --to hf; in llama.cpp some texts read differently",
        )
    return f"{same} of {compared} texts"


def _problems(files: ModelFiles, kind: Kind, trust_remote_code: bool) -> Problems:
    recipe = TwinRun("stand-in:llm", "stand-in:encoder", Path(), trust_remote_code=trust_remote_code).recipe
    if kind == "llm":
        quick = llm_file_problems(files, recipe.llm)
        return quick if quick.keys() & {"trains", "answers"} else llm_configuration_problems(files, recipe) | quick
    quick = encoder_file_problems(files)
    return encoder_configuration_problems(files, recipe.encoder.model_copy(update={"model": files.name}), None) | quick


def _config(files: ModelFiles, trust_remote_code: bool) -> PreTrainedConfig:
    with loading(files.name, what="model"):
        return AutoConfig.from_pretrained(files.folder, trust_remote_code=trust_remote_code)


def _kind_of(config: PreTrainedConfig) -> Kind:
    """What a model's configuration says that it is: an LLM if it has a causal head, or holds an LLM beside a vision tower."""
    named = next(iter(config.architectures or []), "")
    multimodal = text_part(config) is not config and not getattr(config, "is_encoder_decoder", False)
    return "llm" if named.endswith(_LLM_CLASSES) or multimodal else "encoder"


def require_works(report: ModelReport) -> None:
    """Stop if lilift cannot do everything with a model.

    Raises:
        ModelError: it names the first ability that the model lacks.
    """
    for finding in report.findings:
        if finding.verdict == "no":
            raise ModelError(f"{finding.question}: no ({finding.found})", where=report.name, remedy=finding.remedy or None)
