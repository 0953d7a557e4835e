"""Runs EleutherAI's lm-eval harness on a run, an export or an LLM.

Import this module to register the model `lilift` in the harness:

    import lilift.phases.answering.run_harness
    from lm_eval import simple_evaluate

    simple_evaluate(model="lilift", model_args={"model": "runs/mine"}, tasks=["gsm8k"], num_fewshot=0)

The harness (0.4.13) does not load models of other packages, so its own command does not know `lilift`. `lilift eval harness`
imports this module and passes all other arguments to the command line of the harness.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lm_eval.evaluator
from lm_eval._cli import HarnessCLI
from lm_eval.api.registry import register_model
from lm_eval.utils import setup_logging

from lilift.evaluate.harness_model import HarnessModel
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.load_answerer import load_answerer
from lilift.recipe.errors import DataError, LiliftError, RecipeError

_OPTIONS = ("max_new_tokens", "batch_tokens", "template", "quantization", "dtype", "gguf", "threads")


@register_model("lilift")
class NamedModel(HarnessModel):
    """Any model that `lilift eval` can evaluate.

    Args:
        model: a run folder, an exported folder, or an LLM.
        system: the system of a run.
        device, batch_size, max_batch_size: ignored. The harness always passes them, but lilift finds the device by itself and
            fills batches by tokens (`batch_tokens`).
        options: as in `AnswerOptions`.

    Raises:
        RecipeError: an option is unknown or does not fit.
        LiliftError: the model cannot be loaded; see `load_answerer`.
    """

    def __init__(
        self,
        model: str,
        system: str = "lifted",
        device: str | None = None,  # noqa: ARG002
        batch_size: int | str | None = None,  # noqa: ARG002
        max_batch_size: int | None = None,  # noqa: ARG002
        **options: Any,
    ) -> None:
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise RecipeError(
                f"lilift does not know the model argument {unknown[0]!r}",
                where="--model_args",
                remedy=f"choose from system, {', '.join(_OPTIONS)}",
            )
        found = load_answerer(model, AnswerOptions(**options), system=system)
        for note in found.notes:
            logging.getLogger(__name__).warning(note)
        super().__init__(found.responder)


def run_harness(model: str, arguments: Sequence[str]) -> None:
    """Run the command line of the harness on a model of lilift.

    Args:
        model: a run folder, an exported folder, or an LLM.
        arguments: the arguments of `lm-eval run`, without `--model`.

    Raises:
        LiliftError: the model cannot be loaded, a task needs something that the model cannot do, or the harness fails.
        SystemExit: the harness does not accept the arguments.
    """
    before = sys.argv
    sys.argv = ["lm-eval", "run", "--model", "lilift", "--model_args", json.dumps({"model": model}), *arguments]
    try:
        setup_logging()
        command = HarnessCLI()
        with quiet_git():
            command.execute(command.parse_args())
    except LiliftError:
        raise
    except Exception as error:  # an unknown task, or data that cannot be downloaded: code of others may raise anything
        raise DataError(
            f"the harness failed: {type(error).__name__}: {error}",
            where="lm-eval",
            remedy="run it again with --debug to see where",
        ) from error
    finally:
        sys.argv = before


@contextmanager
def quiet_git() -> Iterator[None]:
    """Let the harness record the commit of the current folder without git's complaint where there is no repository."""
    theirs = lm_eval.evaluator.get_git_commit_hash
    lm_eval.evaluator.get_git_commit_hash = _commit
    try:
        yield
    finally:
        lm_eval.evaluator.get_git_commit_hash = theirs


def _commit() -> str | None:
    """What `git describe` says about the current folder; None without a repository or without git."""
    try:
        done = subprocess.run(["git", "describe", "--always"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
