"""The command line `lilift`: it parses the arguments, calls the verb, and prints every error as one line.

Each verb has its own module in this folder. Heavy packages are imported only when the verb is known, so that `lilift --help`
answers at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from lilift import __version__
from lilift.cli import (
    chat,
    data,
    doctor,
    eval_alignment,
    eval_benchmarks,
    eval_compare,
    eval_fetch,
    eval_harness,
    eval_merge,
    evaluate,
    export,
    lexicon,
    model,
    recipe,
    routes,
    serve,
    watch,
)
from lilift.cli.console import HelpFormatter
from lilift.cli.several_processes import refuse_other_verbs
from lilift.memory.host_allocator import return_large_blocks
from lilift.processes.torchrun_environment import let_first_speak, started_by_torchrun
from lilift.recipe.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EnvironmentUnfit,
    LiliftError,
    RecipeError,
    StorageError,
    print_error,
)
from lilift.train.processor_threads import wait_passively

EPILOG = """\
examples:
  lilift doctor                                  # check what works on this machine
  lilift recipe run tiny-cpu                     # train and evaluate both stages on a CPU, in minutes
  lilift recipe plan llama-7b-24gb               # predict the memory of each phase before any download
  lilift recipe run tiny-cpu --resume            # continue after an interruption
  lilift recipe new                              # write a recipe for your own language
  lilift watch runs/tiny-cpu                     # watch a run in a browser
  lilift chat runs/tiny-cpu                      # ask the trained model questions

exit codes:
  0 done              3 data                  6 training failed         130 Ctrl-C (saved)
  1 a bug in lilift   4 model or hub          7 missing GPU or package  143 terminated (saved)
  2 usage or recipe   5 run folder            8 disk
"""


EVAL_VERBS = tuple(["eval", verb] for verb in ("compare", "alignment", "benchmarks", "fetch", "harness", "merge"))

# Packages that come with an extra; see pyproject.toml.
_EXTRAS = {
    "train": ("torch", "transformers", "bitsandbytes", "peft", "accelerate", "safetensors", "datasets", "huggingface_hub"),
    "gguf": ("gguf", "xllamacpp", "starlette", "uvicorn"),
    "lm-eval": ("lm_eval",),
    "pivot": ("ctranslate2",),
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with exit code 2, like every other mistake of a user."""

    def error(self, message: str) -> NoReturn:
        raise RecipeError(message, remedy=f"see `{self.prog} --help`")

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse unknown arguments here, where the verb that they were given to is known."""
        found, unknown = super().parse_known_args(args, namespace)
        if self._mixing:
            return found, unknown
        if unknown and any(one.nargs in ("?", "*") for one in self._actions if not one.option_strings):
            # argparse gives nothing to an argument that may be left out, such as the question of `chat`, once an option stands
            # before it. So read the options first, and then the rest.
            self._mixing = True
            try:
                found, unknown = self.parse_known_intermixed_args(args, namespace)
            finally:
                self._mixing = False
        if unknown:
            self.error(f"unknown: {' '.join(unknown)}")
        return found, unknown


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lilift",
        description="Teach an open LLM to reason in a language it barely knows, on one consumer GPU.",
        epilog=EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lilift {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=Parser)
    evaluation = (evaluate, eval_compare, eval_alignment, eval_benchmarks, eval_fetch, eval_harness, eval_merge)
    for verb in (doctor, recipe, model, lexicon, data, *evaluation, routes, export, chat, serve, watch):
        verb.add_parser(verbs)
    return parser


def _joined(words: list[str]) -> list[str]:
    """Join `eval compare` into one verb, because argparse cannot accept a verb and a model's name in the same place."""
    return [" ".join(words[:2]), *words[2:]] if words[:2] in EVAL_VERBS else words


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Batches have hundreds of shapes. A large cache of CPU kernels for each shape scatters small blocks over the heap, and the
    # heap grows by hundreds of MiB. torch reads this variable when it is imported.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")
    # Threads that wait for each other sleep, and leave their cores to other programs. torch reads this when it is imported.
    wait_passively()
    # Freed tensors in host memory go back to the system instead of staying on a heap that only grows.
    return_large_blocks()
    # This leaves fewer holes between tensors of changing sizes on a GPU. torch reads it when it is imported. Windows does not
    # support it.
    if sys.platform == "linux" and "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    # lilift uses the network only for what you name: libraries report nothing. They read these variables when imported. A
    # plugin of pydantic may send every recipe somewhere, and looking for plugins takes as long as reading one.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    # --debug is accepted anywhere on the line.
    debug = "--debug" in given
    # torch prints frames of its C++ code when another process is gone. lilift prints one line.
    if started_by_torchrun() is not None and not debug:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    try:
        parsed = build_parser().parse_args(_joined([text for text in given if text != "--debug"]))
        if parsed.run not in (recipe.run_run, evaluate.run):
            refuse_other_verbs()
        code: int = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except LiliftError as error:
        return _fail(error, error.exit_code, debug)
    except KeyboardInterrupt as error:
        started = started_by_torchrun()
        if started is not None and started.rank > 0:  # the first process says it, or torchrun ends it
            return EXIT_INTERRUPTED
        return _fail(error, EXIT_INTERRUPTED, debug, "interrupted")
    except BrokenPipeError:
        # The program that reads the output has ended (`lilift … | head`). This is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError as error:
        unfit = _missing_package(error)
        return _fail(unfit or error, unfit.exit_code if unfit else EXIT_BUG, debug, None if unfit else _bug_line(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            place = StorageError(
                error.strerror or "cannot write",
                where=error.filename,
                remedy=f"{'free some disk space' if full else 'check the permissions'}, or choose another folder",
            )
            return _fail(place, place.exit_code, debug)
        return _fail(error, EXIT_BUG, debug, _bug_line(error))
    except Exception as error:
        return _fail(error, EXIT_BUG, debug, _bug_line(error))


def _missing_package(error: ImportError) -> EnvironmentUnfit | None:
    """The error for the user if the missing package belongs to an extra of lilift; None for any other package."""
    name = (error.name or "").split(".")[0]
    extra = next((extra for extra, names in _EXTRAS.items() if name in names), None)
    if extra is None:
        return None
    return EnvironmentUnfit(f"this command needs {name}, which is not installed", remedy=f"run `pip install 'lilift[{extra}]'`")


def _bug_line(error: Exception) -> str:
    detail = " ".join(str(error).split())[:300]
    return f"this is a bug in lilift: {type(error).__name__}: {detail}; run it again with --debug and report what it prints"


def _fail(error: BaseException, code: int, debug: bool, line: str | None = None) -> int:
    if debug:
        traceback.print_exception(error)
    if not getattr(error, "printed", False):
        if isinstance(error, LiliftError):  # processes that have met print errors themselves
            let_first_speak()
        print_error(line or str(error))
    return code


if __name__ == "__main__":
    sys.exit(main())
