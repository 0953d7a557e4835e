"""A YAML text is scanned once, and its nodes stay as the user has written them."""

from __future__ import annotations

import pytest
import yaml

from lilift.recipe.yaml_text import read_yaml

MERGED = """\
align: &stage {epochs: 2, max_steps: 10}
transfer:
  <<: *stage
  epochs: 3
"""


def test_a_merge_gives_the_values_and_leaves_the_lines() -> None:
    value, root = read_yaml(MERGED)
    assert value == yaml.safe_load(MERGED)
    assert value["transfer"] == {"epochs": 3, "max_steps": 10}
    assert isinstance(root, yaml.MappingNode)
    keys = [(key.value, key.start_mark.line) for key, _ in root.value[1][1].value]
    assert keys == [("<<", 2), ("epochs", 3)]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_a_text_without_values(text: str) -> None:
    value, root = read_yaml(text)
    assert value is None
    assert root is None or isinstance(root, yaml.ScalarNode)


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "a: [1", "a: !!python/object:x.y {}", "a: 2020-99-99"])
def test_what_is_no_single_text_of_settings_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@pytest.mark.parametrize("text", ["a: &x [1, 2]\nb: *x\n", "1: a\ntrue: b\n", "- {a: {b: [c, 1.5, null]}}\n", "plain"])
def test_values_are_those_of_safe_load(text: str) -> None:
    assert read_yaml(text)[0] == yaml.safe_load(text)
