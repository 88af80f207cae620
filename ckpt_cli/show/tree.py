"""Names as a tree of their parts, and repeated blocks folded into one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Tree = dict[str, "Tree | None"]


def tree(names: Iterable[str]) -> Tree:
    """Nested dicts of the parts between dots (or slashes, where names have them); a leaf is None."""
    root: Tree = {}
    for name in names:
        node = root
        *above, leaf = re.split(r"(?<!\\)\.", name)
        for part in above:
            inner = node.get(part)
            if inner is None:
                inner = node[part] = {}
            node = inner
        node.setdefault(leaf, None)
    return root


def drawn(node: Tree, label: Callable[[str], str], path: str = "", lead: str = "") -> Iterable[str]:
    """The lines of a tree; `label` says what stands behind the name of the leaf at a path."""
    entries = list(node.items())
    for index, (part, inner) in enumerate(entries):
        last = index == len(entries) - 1
        full = f"{path}.{part}" if path else part
        yield f"{lead}{'└── ' if last else '├── '}{part}{label(full)}"
        if inner:
            yield from drawn(inner, label, full, lead + ("    " if last else "│   "))


_NUMBER = re.compile(r"(?<![^.\s_/])\d+(?![^.\s_/])")


def folded(rows: Iterable[tuple[str, tuple[Any, ...]]]) -> list[tuple[str, int, tuple[Any, ...]]]:
    """Rows (name, facts) with those that differ by one number alone in one: `layers.{0-47}.weight`, how many, the facts they share."""
    groups: dict[tuple[str, tuple[Any, ...]], list[list[int]]] = {}
    for name, facts in rows:
        numbers = [int(number) for number in _NUMBER.findall(name)]
        groups.setdefault((_NUMBER.sub("\0", name), facts), []).append(numbers)
    return [(_spelled(pattern, numbers), len(numbers), facts) for (pattern, facts), numbers in groups.items()]


def _spelled(pattern: str, numbers: list[list[int]]) -> str:
    name = ""
    for index, part in enumerate(pattern.split("\0")):
        if index:
            name += _range(sorted({row[index - 1] for row in numbers}))
        name += part
    return name


def _range(numbers: list[int]) -> str:
    """`3`, `{0-11}`, `{0,2,4-6}`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    if len(numbers) == 1:
        return str(numbers[0])
    return "{" + ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) + "}"
