"""Recipes: what is read, what is refused, and in what words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lilift.recipe.errors import RecipeError
from lilift.recipe.load import (
    dump_recipe,
    fingerprint,
    json_schema,
    load_recipe,
    parse_override,
    recipes_folder,
    shipped_recipes,
)

MINIMAL = """\
name: small
languages: [sw]
encoder: {model: stand-in:encoder}
llm: {model: stand-in:llm}
data:
  instructions: {source: world}
  lexicons: {sw: ./sw.txt}
"""


def write(folder: Path, text: str, name: str = "small.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(name: str, *overrides: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, overrides)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_every_shipped_recipe_is_valid_and_opens_with_the_command_that_runs_it(name: str) -> None:
    assert load_recipe(name).name == name
    head = shipped_recipes()[name].read_text(encoding="utf-8").split("\nname:")[0]
    assert f"lilift recipe run {name}" in head


def test_a_resolved_recipe_reads_back_as_the_same(tmp_path: Path) -> None:
    recipe = load_recipe("tiny-cpu", ["align.target={reconstruct: 0.8, respond: 0.2}"])
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


def test_the_published_schema_is_up_to_date_and_knows_every_section() -> None:
    published = (recipes_folder() / "recipe.schema.json").read_text(encoding="utf-8")
    assert published == json_schema(), "run: python -m lilift.recipe.publish_schema"
    assert set(json.loads(published)["properties"]) >= {"align", "transfer", "extends"}


def test_an_unknown_setting_is_named_with_its_line_and_a_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "align:\n  epoch: 3\n")
    line = str(refusal(path))
    assert f"{path}:9" in line
    assert "'align.epoch'" in line
    assert "did you mean 'epochs'" in line


def test_a_wrong_type_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "transfer:\n  lora:\n    rank: many\n")
    line = str(refusal(path))
    assert f"{path}:10" in line
    assert "transfer.lora.rank" in line
    assert "many" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("languages=[en]", "English"),
        ("languages=[om, om]", "twice"),
        ("data.lexicons={om: world}", "no lexicon"),
        ("align.tokens_per_micro_batch=100000", "larger than align.tokens_per_step"),
        ("data.max_tokens=5000", "the longest row would not fit"),
        ("alignment.kind=mlp", "'ffn', 'linear' or 'latent'"),
        ("evaluate.benchmarks.7.limit=3", "not an entry of a list"),
        ("align.epochs", "cannot read the override"),
        ("align.epochs=[", "not valid YAML"),
        ("evaluate.benchmarks.0.limits=3", "did you mean 'limit'"),
        ("align.learning_rate=-1", "greater than 0"),
        ("encoder=5", "encoder"),
        ("data.code_switching.ratios=[0.5, 2]", "data.code_switching.ratios.1: write a number of at most 1; it is now 2"),
        ("data.code_switching.ratios={min: 0.5}", "'data.code_switching.ratios.max' is missing"),
        ("data.code_switching.ratios={min: 0.5, max: 0.2}", "data.code_switching.ratios: min 0.5 is larger"),
    ],
)
def test_contradictions_and_bad_overrides_are_refused_in_one_line(change: str, words: str) -> None:
    assert words in str(refusal("tiny-cpu", change))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("- a\n- b\n", "not a mapping"),
        ("name: [\n", "not valid YAML"),
        (MINIMAL + "name: again\n", "set twice"),
        (MINIMAL.replace("name: small\n", ""), "'name' is missing"),
        (MINIMAL.replace("source: world", "sourc: world"), "did you mean 'source'"),
    ],
)
def test_a_malformed_file_is_refused_naming_it(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    line = str(refusal(path))
    assert words in line
    assert path in line


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[sw]", "[sw, jp]", r":2: languages: unknown language 'jp' \(jp is the country code of Japan; did you mean 'ja'"),
        ("[sw]", "xx", ":2: languages: unknown language 'xx' "),
        ("[sw]", "no", ":2: languages: the YAML word `no` means false"),
        ("{sw: ./", "{'*': ./all.txt, Swahlii: ./", r":7: data\.lexicons: unknown language 'Swahlii' \(did you mean 'sw'"),
    ],
)
def test_an_unknown_language_is_refused_with_its_line_and_a_hint(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe(write(tmp_path, MINIMAL.replace(old, new)))


def test_a_recipe_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9\n".encode("latin-1"))
    assert "UTF-8" in str(refusal(str(tmp_path / "latin.yaml")))


def test_an_unknown_name_suggests_the_nearest_recipe() -> None:
    assert "did you mean 'tiny-cpu'" in str(refusal("tiny-gpu"))
    assert "no such recipe file" in str(refusal("./nowhere.yaml"))


def test_a_recipe_of_ones_own_without_its_ending_is_found_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "hausa.yaml").write_text("extends: tiny-cpu\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"but there is a file hausa\.yaml; write .*hausa\.yaml"):
        load_recipe(str(tmp_path / "hausa"))


def test_overrides_apply_in_order_and_reach_into_lists() -> None:
    recipe = load_recipe("tiny-cpu", ["align.epochs=2", "align.epochs=3", "evaluate.benchmarks.0.limit=7", "languages=[ln]"])
    assert recipe.align.epochs == 3
    assert recipe.evaluate.benchmarks[0].limit == 7
    assert recipe.languages == ("ln",)


def test_extends_changes_only_what_it_says_at_any_depth(tmp_path: Path) -> None:
    child = write(tmp_path, "extends: tiny-cpu\nname: child\nalign: {epochs: 5}\n", "child.yaml")
    recipe = load_recipe(child)
    parent = load_recipe("tiny-cpu")
    assert recipe.name == "child"
    assert recipe.align == parent.align.model_copy(update={"epochs": 5.0})
    assert recipe.transfer == parent.transfer
    grandchild = write(tmp_path, "extends: child.yaml\nname: grandchild\n", "grandchild.yaml")
    assert load_recipe(grandchild) == recipe.model_copy(update={"name": "grandchild"})


def test_recipes_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\nname: a\n", "a.yaml")
    line = str(refusal(write(tmp_path, "extends: a.yaml\nname: b\n", "b.yaml")))
    assert "extends this recipe again" in line
    assert "extends this recipe again" in str(refusal(write(tmp_path, "extends: c.yaml\nname: c\n", "c.yaml")))


def test_local_paths_are_relative_to_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe_folder, here = tmp_path / "recipes", tmp_path / "here"
    recipe_folder.mkdir()
    here.mkdir()
    path = write(recipe_folder, MINIMAL)
    monkeypatch.chdir(here)
    assert load_recipe(path).data.lexicon_of("sw") == str(recipe_folder / "sw.txt")
    overridden = load_recipe(path, ["data.lexicons=./dictionaries/{language}.tsv"])
    assert overridden.data.lexicon_of("sw") == str(here / "dictionaries" / "sw.tsv")
    assert load_recipe("llama-7b-24gb").data.lexicon_of("bn") == str(here / "lexicons")


def test_a_lexicon_for_one_language_goes_before_the_one_for_all() -> None:
    recipe = load_recipe("tiny-cpu", ["data.lexicons={om: /own/om.tsv, '*': world}"])
    assert recipe.data.lexicon_of("om") == "/own/om.tsv"
    assert recipe.data.lexicon_of("fj") == "world"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_fingerprints_do_not_depend_on_the_order_of_keys(value: object) -> None:
    def reversed_keys(item: object) -> object:
        return {key: reversed_keys(item[key]) for key in reversed(list(item))} if isinstance(item, dict) else item

    assert fingerprint(value) == fingerprint(reversed_keys(value))


def test_fingerprints_differ_where_a_setting_differs() -> None:
    first, second = load_recipe("tiny-cpu"), load_recipe("tiny-cpu", ["align.learning_rate=0.001"])
    assert fingerprint(first.as_dict()) != fingerprint(second.as_dict())


@given(value=st.one_of(st.integers(), st.booleans(), st.lists(st.integers()), st.from_regex(r"[a-z]{3,8}", fullmatch=True)))
def test_override_values_are_read_as_yaml(value: object) -> None:
    text = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
    key, read = parse_override(f"align.epochs={text}")
    assert key == ("align", "epochs")
    assert read == value


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mmwp-low", 21),
        ("[mmwp-low, mmwp-medium, mmwp-high]", 47),
        ("mmwp", 47),
        ("[sw, mmwp-low]", 21),
        ("[om, mmwp-low]", 22),
        ("om", 1),
    ],
)
def test_groups_of_languages_stand_for_their_codes_each_once_and_never_english(given: str, expected: int) -> None:
    recipe = load_recipe("llama-7b-24gb", [f"languages={given}"])
    assert len(set(recipe.languages)) == len(recipe.languages) == expected
    assert "en" not in recipe.languages
    assert all("-" not in code for code in recipe.languages)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("languages: " + "[" * 3000 + "]" * 3000, "too deep"),
        ("data: " + "{a: " * 150 + "1" + "}" * 150, "too deep"),
        ("data: &a {b: *a}", "contains itself"),
        ("languages: &a [*a]", "contains itself"),
        (
            "a: &a [1, 1]\n" + "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}' if i else '*a'] * 9)}]\n" for i in range(8)),
            "too many",
        ),
        ("description: 2020-99-99", "month must be in"),
    ],
)
def test_yaml_that_cannot_become_settings_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\nextends: tiny-cpu\n{text}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=words) as refused:
        load_recipe(str(path))
    assert str(path) in refused.value.line()
    assert len(refused.value.line()) < 400


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("align.learning_rate=1e18", "at most 100"),
        ("transfer.learning_rate=.inf", "finite number"),
        ("align.epochs=1e18", "at most 10000"),
        ("align.max_grad_norm=.inf", "finite number"),
        ("evaluate.max_new_tokens=99999999999999999999", "at most 1048576"),
        ("languages=[EN]", "already knows English"),
        ("languages=0x10", "'16' is no language"),
        ("languages=[om, 0x10]", "'16' is no language"),
        ("languages=&a [*a]", "not valid YAML"),
        ("data=" + "[" * 3000, "not valid YAML"),
    ],
)
def test_absurd_values_are_one_line(override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as refused:
        load_recipe("tiny-cpu", [override])
    assert len(refused.value.line()) < 400


def test_spaces_and_capitals_around_a_language_do_not_matter() -> None:
    assert load_recipe("tiny-cpu", ["languages=['om ', FJ]"]).languages == ("om", "fj")


@pytest.mark.parametrize(("value", "read_as"), [("query: ", '{"query": null}'), ("", "null"), ("12", "12")])
def test_a_text_that_yaml_reads_as_something_else_needs_quotes(value: str, read_as: str) -> None:
    with pytest.raises(RecipeError, match="put the text in quotes") as refused:
        load_recipe("tiny-cpu", [f"encoder.prefix={value}"])
    assert f"reads this value as {read_as}" in refused.value.line()
    assert load_recipe("tiny-cpu", [f'encoder.prefix="{value}"']).encoder.prefix == value
