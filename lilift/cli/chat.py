"""`lilift chat MODEL`: chat with a run or an export in its languages."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter, print_notes
from lilift.cli.number_options import require_at_least_one
from lilift.cli.pivot_options import add_pivot_options, add_route_options, pivot_of, route_of
from lilift.recipe.errors import RecipeError
from lilift.recipe.terminal import in_notebook, is_terminal

if TYPE_CHECKING:
    from lilift.evaluate.responders import Responder

_SHOWN = 40
"""Characters of a question that a note repeats."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "chat",
        help="chat with a finished run or an export",
        description="Chat with a finished run or an export. Without a question on the command line, lilift reads one "
        "question per line until an empty line or Ctrl-D. An export with GGUF files runs in llama.cpp and needs no torch.",
        epilog="examples:\n"
        '  lilift chat runs/tiny-cpu "Omar kanniisa 25 qaba. …"\n'
        "  lilift chat runs/tiny-cpu < questions.txt\n"
        "  lilift chat runs/mine --pivot ./nllb --route auto --respond-in asked --language sw\n"
        '  lilift chat my-export "Omar kanniisa 25 qaba. …" --quant q8_0',
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a run folder, such as runs/tiny-cpu, or a folder made by `lilift export`"
    )
    parser.add_argument("question", nargs="?", help="one question (default: read questions line by line)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer in tokens (default: as in the recipe)")
    parser.add_argument(
        "--system", choices=("lifted", "control", "untrained"), default="lifted", help="the system of a run that answers"
    )
    parser.add_argument(
        "--language",
        metavar="LANGUAGE",
        help="language of the questions, for --pivot, --respond-in and for encoders that are told it, such as NLLB (default: "
        "the run's language if it has only one, otherwise English)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print each answer as one line of JSON, with its route and translations"
    )
    parser.add_argument("--quant", metavar="TYPE", help="the GGUF file of an export, e.g. q8_0 (default: the first)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU cores for an export's GGUF files (default: all, or one for a tiny model)"
    )
    add_route_options(parser)
    add_pivot_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.cli.language_options import language_code
    from lilift.phases.answering.answerer import AnswerOptions, asked_in
    from lilift.phases.answering.load_answerer import load_answerer
    from lilift.phases.answering.pivot_responder import Pivot
    from lilift.phases.answering.routed_responder import routed

    require_at_least_one(arguments, "max_new_tokens", "threads")
    if arguments.question is None and in_notebook() and sys.stdin.isatty():
        raise RecipeError("a cell of a notebook cannot ask you for questions", remedy="write the question behind the model")
    options = AnswerOptions(max_new_tokens=arguments.max_new_tokens, gguf=arguments.quant, threads=arguments.threads)
    translator, route = pivot_of(arguments), route_of(arguments)
    model = load_answerer(arguments.model, options, system=arguments.system)
    pivot = None if translator is None else Pivot(translator, lambda line: print_notes([line]))
    model = routed(model, route, pivot, arguments.respond_in)
    language = language_code(arguments.language) if arguments.language else None
    responder, note = asked_in(model, language)
    print_notes([*model.notes, *([note] if note else [])])
    show = _print_json if arguments.json else _print_answer
    if arguments.question is not None:
        show(responder, _checked(arguments.question, "the question"))
        return 0
    for question in _questions():
        show(responder, question)
    return 0


def _print_answer(responder: Responder, question: str) -> None:
    """Print the answer to a question; on stderr its route, translations, and whether the model reads the whole question."""
    found = _answered(responder, question)
    if found["question_was_cut"]:
        shown = question if len(question) <= _SHOWN else f"{question[:_SHOWN]}…"
        print_notes([f"the question {shown!r} is longer than the encoder's limit, so the model reads only its beginning"])
    if "route" in found:
        print_notes([f"route: {found['route']}, because {found['route_reason']}"])
        if "translated" in found:
            print_notes([f"the question in English: {found['translated']}"])
    print(found["answer"], flush=True)
    if "untranslated" in found:
        print_notes([f"the answer in English: {found['untranslated']}", *_faults(found)])


def _faults(found: dict[str, Any]) -> list[str]:
    """What is wrong with the translation of an answer, in words."""
    faults = [] if found["response_numbers_kept"] else ["the translation of the answer has lost a number: trust the English"]
    return faults + ([] if found["response_complete"] else ["the translation of the answer is not complete: trust the English"])


def _print_json(responder: Responder, question: str) -> None:
    print(json.dumps(_answered(responder, question), ensure_ascii=False), flush=True)


def _answered(responder: Responder, question: str) -> dict[str, Any]:
    """The answer to a question, and what stands beside both."""
    from lilift.evaluate.described_questions import DescribesQuestions
    from lilift.evaluate.responders import CutsQuestions, StreamsResponses

    about = responder.about_questions([question])[0] if isinstance(responder, DescribesQuestions) else {}
    cut = isinstance(responder, CutsQuestions) and responder.cuts([question])[0]
    found: dict[str, Any] = {"question": question, "answer": "", "question_was_cut": cut, **about}
    if not isinstance(responder, StreamsResponses):
        return found | {"answer": responder.generate([question])[0]}
    (response,) = responder.stream([question], samples=1)
    return found | {"answer": response.text, **response.beside}


def _questions() -> Any:
    """Lines from the terminal until an empty line, or every line of a file that is not empty."""
    asking = is_terminal(sys.stdin)
    number = 0
    while True:
        if asking:
            print("> ", end="", flush=True)
        number += 1
        try:
            line = _checked(sys.stdin.readline(), f"line {number} of the input")
        except UnicodeDecodeError as error:
            raise _broken_text(f"line {number} of the input or one of the next lines") from error
        if not line or (asking and not line.strip()):
            return
        if line.strip():
            yield line.strip()


def _checked(text: str, where: str) -> str:
    """A text, if it can be encoded. Python reads bytes that are no text as halves of surrogate pairs in some locales."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _broken_text(where) from None
    return text


def _broken_text(where: str) -> RecipeError:
    return RecipeError("the text is not valid UTF-8", where=where, remedy="save it as UTF-8 and try again")
