"""The routes of a language: the rule, the tables behind it, and commands that lilift itself accepts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from lilift.cli.app import build_parser, main
from lilift.data.languages import languages
from lilift.evaluate.benchmarks.benchmark_sources import SOURCES
from lilift.phases.routes.language_tables import dictionaries_for, families_for, model_families
from lilift.phases.routes.open_routes import routes_of
from lilift.recipe.load import load_recipe

TABLES = Path("lilift/phases/routes")


def test_the_tables_name_known_languages_and_their_sources() -> None:
    for family in model_families():
        assert family.languages <= set(languages()), family.name
        assert len(family.languages) <= family.counted + 1, "Qwen3's Levantine Arabic is two languages here"
    header = [line for line in (TABLES / "model_languages.tsv").read_text(encoding="utf-8").splitlines() if line[0] == "#"]
    for family in model_families():
        assert any(line.startswith(f"# {family.name}: ") for line in header), f"{family.name} has no source"
    measured = json.loads(Path("benchmarks/results/lexicon_coverage.json").read_text(encoding="utf-8"))
    for row in measured["languages"]:
        sizes = {one.source: one.pairs for one in dictionaries_for(row["language"]) if one.pairs is not None}
        assert sizes == {source: one["pairs"] for source, one in row["sources"].items() if source != "5,050 words"}


@pytest.mark.parametrize(
    ("name", "card", "first"),
    [
        ("Kiswahili", "24gb", "native"),  # Qwen3's authors name it
        ("Oromo", "24gb", "translate"),  # NLLB-200 knows it
        ("br", "24gb", "bridge"),  # XLM-R has read it, and there are dictionaries
        ("aa", "24gb", "bridge"),  # dictionaries alone
        ("nqo", "24gb", None),
        ("sw", "cpu", "bridge"),  # no plan for a large LLM on a CPU
    ],
)
def test_the_rule(name: str, card: str, first: str | None) -> None:
    found = routes_of(name, card)
    assert found.first == first
    assert first is None or next(route.open for route in found.routes if route.route == first)


def test_a_dictionary_alone_is_said_to_be_unmeasured_and_the_bridge_to_be_second() -> None:
    assert "Nobody has measured how far a dictionary alone goes" in routes_of("Afar").reason
    assert "Do not begin with the bridge" in routes_of("sw").reason
    assert not families_for("aa", "encoder")
    assert "encoder.adapt" in routes_of("Afar").reason


def test_text_can_be_read_first_by_an_encoder_that_does_not_know_the_language() -> None:
    bridge = routes_of("aa").routes[3]
    assert "lets the encoder read it first" in bridge.why
    assert "--set encoder.adapt.text=texts/aa.txt" in bridge.commands[-1]
    assert not any("encoder.adapt" in command for command in routes_of("br").routes[3].commands)


def test_a_recipe_has_an_encoder_that_has_read_the_language_and_fits() -> None:
    found = {one.name: one for one in routes_of("om", "16gb").recipes}
    assert set(found) == {"llama3.1-8b-nllb-16gb", "qwen3-1.7b-t4"}, "mT5 has not read Oromo"
    assert max(found["llama3.1-8b-nllb-16gb"].gib.values()) < 16
    assert "lilift recipe run llama3.1-8b-nllb-16gb --set languages=[om]" in routes_of("om").routes[3].commands


def test_lilift_accepts_the_commands() -> None:
    for code in ("sw", "br", "qu", "aa"):
        for route in routes_of(code).routes:
            for command in route.commands:
                words = shlex.split(command, comments=True)[1:]
                build_parser().parse_args(words)
                if words[:2] == ["recipe", "run"]:
                    load_recipe(words[2], [words[at + 1] for at, word in enumerate(words) if word == "--set"])


def test_routes_from_running_text_depend_on_the_card_alone_and_come_first_nowhere() -> None:
    small, large = routes_of("nqo", "8gb"), routes_of("nqo", "24gb")
    assert [route.open for route in small.routes[4:]] == [False, False]
    assert [route.open for route in large.routes[4:]] == [True, True]
    assert "texts/nqo.txt" in large.routes[4].why
    assert large.first is None
    assert "If you have running text" in large.reason
    assert "If you have running text" not in small.reason


def test_questions_with_labels_are_not_offered_to_a_translator() -> None:
    for code in ("sw", "qu"):
        command = next(one for one in routes_of(code).routes[1].commands if "--pivot" in one)
        name = command.partition("--benchmark ")[2].partition(" ")[0]
        assert name not in SOURCES or not SOURCES[name].labels


def test_the_verb_takes_names_in_any_spelling_and_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "swh_Latn,Kiswahili", "om", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["code"], second["code"]) == ("sw", "om")
    assert [route["route"] for route in first["routes"]] == ["native", "translate", "tune", "bridge", "continued", "layer-swap"]
    assert {"name": "afrimgsm", "translated_by": "people"} in first["benchmarks"]
    assert main(["routes", "om", "--card", "8gb"]) == 0
    out = capsys.readouterr().out
    assert "first: translate, then solve." in out
    assert "closed  tune on translated data: baseline-translated-sft-7b-24gb does not fit 8gb" in out
    assert main(["routes", "jp"]) == 3
    assert main(["routes", "sw", "--card", "9gb"]) == 0, "any size is a card"
    assert main(["routes", "sw", "--card", "voodoo2"]) == 2
