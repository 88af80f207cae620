"""Names as a tree of their parts, and repeated blocks folded into one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import prod
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


_NUMBER = re.compile(r"(?<![^.\s_/])(0|[1-9][0-9]{0,17})(?![^.\s_/])")


def folded(rows: Iterable[tuple[str, tuple[Any, ...]]]) -> list[tuple[str, int, tuple[Any, ...]]]:
    """Rows (name, facts) with those that differ by numbers alone in one: `layers.{0-47}.weight`, how many, the facts they share.

    What a line writes out is exactly what there is: where the numbers are no full product of their ranges, there are several lines.
    """
    groups: dict[tuple[tuple[str, ...], tuple[Any, ...]], list[tuple[int, ...]]] = {}
    for name, facts in rows:
        pieces = _NUMBER.split(name)
        groups.setdefault((tuple(pieces[::2]), facts), []).append(tuple(map(int, pieces[1::2])))
    return [(_spelled(texts, box), prod(map(len, box)), facts) for (texts, facts), numbers in groups.items() for box in _boxes(numbers)]


def _boxes(numbers: list[tuple[int, ...]]) -> list[list[list[int]]]:
    """The numbers in each place, so that the products of them are `numbers`."""
    places = [sorted(set(column)) for column in zip(*numbers, strict=True)]
    if prod(map(len, places)) == len(numbers):
        return [places]
    varied = next(index for index, place in enumerate(places) if len(place) > 1)
    return [box for value in places[varied] for box in _boxes([row for row in numbers if row[varied] == value])]


def _spelled(texts: tuple[str, ...], box: list[list[int]]) -> str:
    return texts[0] + "".join(_range(numbers) + text for numbers, text in zip(box, texts[1:], strict=True))


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
