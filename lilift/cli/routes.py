"""`lilift routes LANGUAGE…`: which routes are open to a language on your card, what they cost, and what to try first."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter, print_json
from lilift.cli.language_options import language_codes

if TYPE_CHECKING:
    from lilift.phases.routes.language_routes import Routes


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "routes",
        help="show which routes are open to a language, and what to try first",
        description="Show which of six routes are open to a language: a model that knows it; translate, then solve; tune on "
        "translated data; lilift's bridge; read running text first; combine two adapters. "
        "lilift looks into tables that come with it, and downloads nothing. It says which "
        "route to try first and why, also when that is not the bridge. The memory comes from the plans of the shipped recipes. "
        "That a model's authors name a language is no measurement: measure with the commands that lilift prints.",
        epilog="examples:\n  lilift routes Swahili\n  lilift routes om,ti,qu --card 12gb\n  lilift routes mmwp-low --json",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("languages", nargs="+", metavar="LANGUAGE", help="codes, names or groups, such as sw, Oromo, mmwp-low")
    parser.add_argument("--card", default="24gb", metavar="CARD", help="the card, such as 12gb or rtx3090 (default: 24gb)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.phases.routes.open_routes import routes_of

    codes = language_codes(",".join(arguments.languages))
    found = [routes_of(code, arguments.card) for code in codes]
    if arguments.json:
        print_json([one.as_dict() for one in found])
        return 0
    for number, one in enumerate(found):
        print(("\n" if number else "") + _as_text(one))
    print("\nThe rule: a model that knows the language, then a translator, then the bridge. docs/choose.md explains it.")
    print("Compare what you have measured: lilift eval compare FIRST SECOND MORE --html comparison.html")
    return 0


def _as_text(found: Routes) -> str:
    first = next((route.title for route in found.routes if route.route == found.first), None)
    lines = [f"{found.name} ({found.code}) on {found.card}"]
    lines.append(f"  first: {first or 'nothing yet'}. {found.reason}.")
    for route in found.routes:
        lines.append(f"  {'open  ' if route.open else 'closed'}  {route.title}: {route.why}.")
        if route.costs:
            lines.append(f"          costs: {route.costs}.")
        lines += [f"          {command}" for command in route.commands]
    listed = ", ".join(f"{name} ({who})" for name, who in found.benchmarks)
    lines.append(f"  benchmarks: {listed or 'none; write 50 questions of your own: docs/your-benchmark.md'}")
    if found.recipes:
        fitting = ", ".join(f"{one.name} {max(one.gib.values()):.1f}" for one in found.recipes)
        lines.append(f"  recipes whose encoder has read it, with their highest predicted GiB: {fitting}")
    return "\n".join(lines)
