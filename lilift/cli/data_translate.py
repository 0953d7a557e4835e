"""`lilift data translate INPUT`: translate instructions once, with a guard for their numbers."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import print_notes
from lilift.cli.language_options import language_codes
from lilift.cli.number_options import require_at_least_one
from lilift.cli.pivot_options import add_translator_options
from lilift.cli.recipe import add_action

if TYPE_CHECKING:
    from lilift.data.texts.examples import Example
    from lilift.translation.translate_instructions import Column

_SECONDS_BETWEEN_LINES = 10.0
_COLUMNS = ("question", "response")


def add_action_to(actions: Any) -> None:
    """Add the action to those of `lilift data`."""
    parser = add_action(
        actions,
        "translate",
        "translate instructions into one or more languages, one line of JSON each",
        "lilift data translate metamath.jsonl --to sw,te --model OpenNMT/nllb-200-distilled-1.3B-ct2-int8 --output translated\n"
        "  lilift data translate ./train.csv --to sw --model ./nllb --output train.sw.jsonl --columns question,response",
    )
    parser.add_argument(
        "input", metavar="INPUT", help="instructions in English: a file, a folder or a name on the hub, as data.instructions"
    )
    parser.add_argument("--from", dest="source", default="en", metavar="LANGUAGE", help="their language (default: en)")
    parser.add_argument("--to", required=True, metavar="A,B", help="languages to translate into: codes, names or groups")
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="an NLLB, M2M100 or Marian model: a CTranslate2 or Hugging Face folder, or a name on the hub",
    )
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit of a model on the hub")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="PATH",
        help="folder with one file a language, or a .jsonl file for one language; after an interruption, the same command "
        "continues",
    )
    parser.add_argument(
        "--columns",
        default="question",
        metavar="A,B",
        help="what to translate: question, or question,response (default: question)",
    )
    parser.add_argument(
        "--flagged",
        choices=("drop", "keep"),
        default="drop",
        help="rows whose translation lost a number or was cut, also when translated again (default: drop)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N usable instructions")
    add_translator_options(parser)
    parser.set_defaults(run=run_translate)


def run_translate(arguments: argparse.Namespace) -> int:
    from lilift.recipe.errors import RecipeError
    from lilift.recipe.interrupt import polite_interrupts
    from lilift.translation.find_translator import find_translator
    from lilift.translation.translate_instructions import write_translated
    from lilift.translation.translate_texts import Translating
    from lilift.translation.translator import Translator
    from lilift.translation.translator_languages import translator_language

    columns = _columns(arguments.columns)
    require_at_least_one(arguments, "limit", "beam_size")
    targets = language_codes(arguments.to)
    output = arguments.output.expanduser()
    if output.suffix == ".jsonl" and len(targets) > 1:
        raise RecipeError("--output is one file, and --to names several languages", remedy="give a folder")
    files = find_translator(arguments.model, arguments.revision, note=_say)
    # Every language is looked up before the first one is translated.
    source = translator_language(files, arguments.source, is_target=False)
    languages = [translator_language(files, target, is_target=True) for target in targets]
    examples = _examples(arguments)
    translator = Translator(files, device=arguments.translator_device)
    print_notes(translator.notes)
    _say(f"translator: {files.bytes / 2**30:.1f} GiB on the {'GPU' if translator.device == 'cuda' else 'CPU'}")
    with polite_interrupts() as interruption:
        for language in languages:
            path = output if output.suffix == ".jsonl" else output / f"{language.code}.jsonl"
            work = Translating(translator, source, language, arguments.beam_size)
            written = write_translated(
                examples,
                work,
                path,
                columns=columns,
                flagged=arguments.flagged,
                progress=_progress(language.code),
                interruption=interruption,
            )
            print(f"{language.code}: {work.counts.line()}")
            print(written.line(), flush=True)
    return 0


def _columns(text: str) -> tuple[Column, ...]:
    from lilift.recipe.errors import RecipeError

    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = next((name for name in names if name not in _COLUMNS), None)
    if unknown is not None or not names:
        raise RecipeError(
            f"--columns: lilift cannot translate {unknown or 'nothing'!r}", remedy=f"choose from {', '.join(_COLUMNS)}"
        )
    return tuple(dict.fromkeys(names))  # type: ignore[arg-type]


def _examples(arguments: argparse.Namespace) -> list[Example]:
    from lilift.data.texts.instructions import load_instructions
    from lilift.recipe.schema import InstructionSettings

    settings = InstructionSettings(source=arguments.input, limit=arguments.limit)
    examples, report = load_instructions(settings, seed=0)
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in report.dropped.items())
    roles = ", ".join(f"{role} from {column!r}" for role, column in report.columns.items())
    _say(f"{report.kept:,} of {report.read:,} rows ({roles})" + (f"; left out: {dropped}" if dropped else ""))
    return examples


def _progress(language: str) -> Callable[[int, int], None]:
    """Prints a line on standard error now and then."""
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{language}: {done:,} of {total:,} texts", file=sys.stderr, flush=True)

    return show


def _say(line: str) -> None:
    print(line, flush=True)
