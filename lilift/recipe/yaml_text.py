"""Reads YAML that a user has written: one error for everything that cannot become settings."""

from __future__ import annotations

from typing import Any

import yaml

MOST_LEVELS = 64
"""Levels of lists and mappings within each other. A recipe has five."""
MOST_VALUES = 1_000_000
"""Values after every alias is replaced by what it stands for."""


def read_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """The value of a YAML text, and its node with the line of each part. An empty text has no node.

    Raises:
        yaml.YAMLError: the text is not YAML, a value is impossible (a 99th of May), or its parts lie too deep in each other,
            contain themselves, or become too many.
    """
    try:
        loader = yaml.SafeLoader(text)
        root: yaml.Node | None = loader.get_single_node()
        if root is None:
            return None, None
        _check_size(root, {}, set())
        # Constructing a merge (`<<: *name`) changes the node, whose lines must stay as the user has written them.
        value = yaml.safe_load(text) if "<<" in text else loader.construct_document(root)
        return value, root
    except RecursionError:
        raise _refused("its parts lie too deep in each other") from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, UnicodeError):
            raise
        raise _refused(str(error)) from None


def _check_size(node: yaml.Node, known: dict[int, tuple[int, int]], around: set[int]) -> tuple[int, int]:
    """The levels and values of a node. `known` has those of finished nodes, and `around` the nodes that contain this one."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in around:
        raise _refused("a part of it contains itself", node)
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = list(node.value)
    elif isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    if len(around) > MOST_LEVELS:
        raise _refused("its parts lie too deep in each other", node)
    sizes = [_check_size(part, known, around | {id(node)}) for part in inner]
    levels = 1 + max((size[0] for size in sizes), default=0)
    values = 1 + sum(size[1] for size in sizes)
    if levels > MOST_LEVELS:
        raise _refused("its parts lie too deep in each other", node)
    if values > MOST_VALUES:
        raise _refused("its aliases stand for too many values", node)
    known[id(node)] = (levels, values)
    return levels, values


def _refused(problem: str, node: yaml.Node | None = None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=None if node is None else node.start_mark)
