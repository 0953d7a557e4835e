"""Runs, exports and LLMs by name, as a model of EleutherAI's lm-eval harness.

Importing this module makes the harness know the model `lilift`:

    import lilift.phases.answering.run_harness
    from lm_eval import simple_evaluate

    simple_evaluate(model="lilift", model_args={"model": "runs/mine"}, tasks=["gsm8k"], num_fewshot=0)

The harness (0.4.13) finds no models of others by itself, so its own command does not know `lilift`; `lilift eval harness` does
the import and hands its command line everything else.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

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
    """Whatever `lilift eval` can ask.

    Args:
        model: a run folder, an exported folder, or an LLM.
        system: which of a run's systems.
        device, batch_size, max_batch_size: the harness always gives them, asked for or not, and they are not looked at: lilift
            finds the device by itself, and fills batches by tokens (`batch_tokens`).
        options: as in `AnswerOptions`.

    Raises:
        RecipeError: an option is unknown or does not fit, and whatever `load_answerer` raises.
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
                f"lilift knows no model argument {unknown[0]!r}", remedy=f"choose from system, {', '.join(_OPTIONS)}"
            )
        found = load_answerer(model, AnswerOptions(**options), system=system)
        for note in found.notes:
            logging.getLogger(__name__).warning(note)
        super().__init__(found.responder)


def run_harness(model: str, arguments: Sequence[str]) -> None:
    """Run the harness's own command line on a model of lilift.

    Args:
        model: a run folder, an exported folder, or an LLM.
        arguments: of `lm-eval run`, all but its `--model`.

    Raises:
        LiliftError: the model cannot be loaded or cannot do what a task asks, or the harness cannot go on.
        SystemExit: the harness does not accept the arguments.
    """
    before = sys.argv
    sys.argv = ["lm-eval", "run", "--model", "lilift", "--model_args", json.dumps({"model": model}), *arguments]
    try:
        setup_logging()
        command = HarnessCLI()
        command.execute(command.parse_args())
    except LiliftError:
        raise
    except Exception as error:  # a task that is not there, data that cannot be had: whatever others' code raises
        raise DataError(
            f"the harness cannot go on: {type(error).__name__}: {error}", where="lm-eval", remedy="--debug shows where it was"
        ) from error
    finally:
        sys.argv = before
