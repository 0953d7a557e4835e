"""`lilift`: the command line. Parses, calls, prints; every verb lives in its own module of this folder.

Nothing heavy is imported before a verb is known, so that `lilift --help` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from lilift import __version__
from lilift.cli import (
    chat,
    data,
    doctor,
    eval_alignment,
    eval_compare,
    eval_fetch,
    eval_harness,
    evaluate,
    export,
    lexicon,
    recipe,
    serve,
)
from lilift.recipe.errors import EXIT_BUG, EXIT_INTERRUPTED, EnvironmentUnfit, LiliftError, RecipeError, StorageError

EPILOG = """\
examples:
  lilift doctor                                    what works on this machine
  lilift recipe run tiny-cpu                       both stages end to end, on a CPU, in minutes
  lilift recipe plan llama-7b-24gb                 memory by phase, before anything is downloaded
  lilift recipe run tiny-cpu --resume              go on after an interruption
  lilift chat runs/tiny-cpu                        talk to the result

exit codes:
  0 done              3 data                  6 training failed         130 Ctrl-C (saved)
  1 a bug in lilift   4 model or hub          7 machine lacks something 143 terminated (saved)
  2 usage or recipe   5 run folder            8 disk
"""


EVAL_VERBS = (["eval", "compare"], ["eval", "alignment"], ["eval", "fetch"], ["eval", "harness"])

# Packages that come with an extra; see pyproject.toml.
_EXTRAS = {
    "train": ("torch", "transformers", "bitsandbytes", "peft", "accelerate", "safetensors", "datasets", "huggingface_hub"),
    "gguf": ("gguf", "xllamacpp", "starlette", "uvicorn"),
    "lm-eval": ("lm_eval",),
}


class Parser(argparse.ArgumentParser):
    """Argument errors are one line with exit code 2, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        raise RecipeError(message, remedy=f"see `{self.prog} --help`")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lilift",
        description="Teach an open LLM to reason in a language it barely knows, on one consumer GPU.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lilift {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=Parser)
    evaluation = (evaluate, eval_compare, eval_alignment, eval_fetch, eval_harness)
    for verb in (doctor, recipe, lexicon, data, *evaluation, export, chat, serve):
        verb.add_parser(verbs)
    return parser


def _joined(words: list[str]) -> list[str]:
    """`eval compare` as one verb: argparse cannot have verbs in the place of a model's name."""
    return [" ".join(words[:2]), *words[2:]] if words[:2] in EVAL_VERBS else words


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Batches come in hundreds of shapes; a large cache of CPU kernels for each scatters small blocks over the heap, which then
    # grows by hundreds of MiB. Read by torch when it is imported.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")
    # Fewer holes between tensors of changing sizes on a GPU; read by torch when it is imported. Windows has no such thing.
    if sys.platform == "linux" and "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    # --debug is accepted anywhere on the line.
    debug = "--debug" in given
    try:
        parsed = build_parser().parse_args(_joined([text for text in given if text != "--debug"]))
        code: int = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except LiliftError as error:
        return _fail(error, error.exit_code, debug)
    except KeyboardInterrupt as error:
        return _fail(error, EXIT_INTERRUPTED, debug, "interrupted")
    except BrokenPipeError:
        # The reader of our output went away (`lilift … | head`); that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError as error:
        unfit = _missing_package(error)
        return _fail(unfit or error, unfit.exit_code if unfit else EXIT_BUG, debug, None if unfit else _bug_line(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            place = StorageError(
                error.strerror or "cannot write", where=error.filename, remedy="free space or choose another folder"
            )
            return _fail(place, place.exit_code, debug)
        return _fail(error, EXIT_BUG, debug, _bug_line(error))
    except Exception as error:
        return _fail(error, EXIT_BUG, debug, _bug_line(error))


def _missing_package(error: ImportError) -> EnvironmentUnfit | None:
    """The error as the user's own, where it is a package of an extra that was not asked for."""
    name = (error.name or "").split(".")[0]
    extra = next((extra for extra, names in _EXTRAS.items() if name in names), None)
    if extra is None:
        return None
    return EnvironmentUnfit(f"this needs {name}, which is not installed", remedy=f"run `pip install 'lilift[{extra}]'`")


def _bug_line(error: Exception) -> str:
    detail = " ".join(str(error).split())[:300]
    return f"this is a bug in lilift: {type(error).__name__}: {detail}; repeat with --debug and report what it prints"


def _fail(error: BaseException, code: int, debug: bool, line: str | None = None) -> int:
    if debug:
        traceback.print_exception(error)
    print(f"lilift: {line or error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
