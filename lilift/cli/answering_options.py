"""Options of `lilift eval` that say how a model answers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lilift.cli.number_options import require_at_least_one

if TYPE_CHECKING:
    from lilift.phases.answering.answerer import AnswerOptions


def add_answering_options(group: Any) -> None:
    """Add the options that say how a model answers."""
    group.add_argument(
        "--samples", type=int, default=1, metavar="K", help="draw K answers, take the most frequent one; also pass@K"
    )
    group.add_argument("--temperature", type=float, metavar="T", help="draw answers at this temperature (with --samples: 0.7)")
    group.add_argument(
        "--top-p", type=float, metavar="P", help="draw among the likeliest tokens of this total probability (0.95)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of drawn answers (default: 0)")
    group.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer in tokens")
    group.add_argument("--batch-tokens", type=int, metavar="N", help="tokens in a batch; lower it if memory runs out")
    group.add_argument("--template", metavar="NAME", help="prompt template for a plain LLM: plain, metamath, alpaca, chat")
    group.add_argument("--quant", metavar="TYPE", help="the GGUF file of an export, e.g. q8_0 (default: the first)")
    group.add_argument("--threads", type=int, metavar="N", help="CPU cores for an export's GGUF files (default: all)")
    group.add_argument("--quantization", choices=("nf4", "none"), help="for an export's hf/ or a plain LLM (none)")
    group.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="for an export's hf/ or a plain LLM")


def answer_options(arguments: argparse.Namespace) -> AnswerOptions:
    """Check the options of `add_answering_options`, and return them.

    Raises:
        RecipeError: a number is out of its range.
    """
    from lilift.model.decoding.sampling import Sampling
    from lilift.phases.answering.answerer import AnswerOptions
    from lilift.recipe.errors import RecipeError

    require_at_least_one(arguments, "samples", "max_new_tokens", "batch_tokens", "threads")
    drawn = arguments.samples > 1 or arguments.temperature is not None or arguments.top_p is not None
    sampling = None
    if drawn:
        temperature = 0.7 if arguments.temperature is None else arguments.temperature
        top_p = 0.95 if arguments.top_p is None else arguments.top_p
        if not temperature > 0 or not 0 < top_p <= 1 or arguments.seed < 0:
            raise RecipeError(
                f"--temperature {temperature:g}, --top-p {top_p:g} or --seed {arguments.seed} is out of range",
                remedy="give a temperature above 0, a share above 0 and at most 1, and a seed of 0 or more",
            )
        sampling = Sampling(temperature, top_p, arguments.seed)
    return AnswerOptions(
        max_new_tokens=arguments.max_new_tokens,
        batch_tokens=arguments.batch_tokens,
        sampling=sampling,
        samples=arguments.samples,
        template=arguments.template,
        quantization=arguments.quantization,
        dtype=arguments.dtype,
        gguf=arguments.quant,
        threads=arguments.threads,
    )
