"""Names as a tree of their parts, and repeated blocks folded into one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any

from ..errors import UsageError
from ..tensors.selection import part_end

_DEEPEST = 1000  # levels of a tree
_Level = list[tuple[str, list[str], int]]


def tree_lines(names: Iterable[str], label: Callable[[str], str], separator: str = ".") -> Iterator[str]:
    """Yield the lines of the tree that the parts of the names make.

    Args:
        names: The names.
        label: Gives the text that follows a name.
        separator: What divides the parts.

    Raises:
        UsageError: If a name has more than 1,000 parts.
    """
    # One list of names a level is kept, instead of recursion: a file may have names of very many parts.
    levels, leads = [_level(names, 0, separator)], [""]
    while levels:
        if not levels[-1]:
            levels.pop()
            leads.pop()
            continue
        part, group, end = levels[-1].pop()
        lead, last = leads[-1], not levels[-1]
        whole = [label(name) for name in group if len(name) == end]
        yield f"{lead}{'└── ' if last else '├── '}{part}{''.join(whole)}"
        if len(whole) < len(group):
            if len(levels) == _DEEPEST:
                raise UsageError(f"a name of over {_DEEPEST:,} parts makes no tree", "leave --tree out")
            levels.append(_level([name for name in group if len(name) > end], end + 1, separator))
            leads.append(lead + ("    " if last else "│   "))


def _level(names: Iterable[str], at: int, separator: str) -> _Level:
    """Return the parts that begin at index `at`, the last one first: each with its names and the index of its end."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name[at : part_end(name, at, separator)], []).append(name)
    return [(part, group, at + len(part)) for part, group in reversed(groups.items())]


_NUMBER = re.compile(r"(?<![^.\s_/])(0|[1-9][0-9]{0,17})(?![^.\s_/])")
_MOST_NUMBERS = 64  # numbers in one name; the rest of the name is text


def folded(rows: Iterable[tuple[str, tuple[Any, ...]]]) -> list[tuple[str, int, tuple[Any, ...]]]:
    """Join the rows whose names differ only in numbers: `layers.{0-47}.weight`.

    Each line stands for exactly the names that it spells out: if the numbers are not the full product of their ranges, there are several.

    Args:
        rows: Names, each with its facts. Only names with the same facts are joined.

    Returns:
        The joined name, how many names it stands for, and their facts.
    """
    groups: dict[tuple[tuple[str, ...], tuple[Any, ...]], list[tuple[int, ...]]] = {}
    for name, facts in rows:
        pieces = _NUMBER.split(name, _MOST_NUMBERS)
        groups.setdefault((tuple(pieces[::2]), facts), []).append(tuple(map(int, pieces[1::2])))
    return [(_spelled(texts, box), prod(map(len, box)), facts) for (texts, facts), numbers in groups.items() for box in _boxes(numbers)]


def _boxes(numbers: list[tuple[int, ...]]) -> list[list[list[int]]]:
    """Split rows of numbers into boxes: for each place the numbers in it, so that their product is exactly the rows of the box."""
    places = [sorted(set(column)) for column in zip(*numbers, strict=True)]
    if prod(map(len, places)) == len(numbers):
        return [places]
    varied = next(index for index, place in enumerate(places) if len(place) > 1)
    parts: dict[int, list[tuple[int, ...]]] = {}
    for row in numbers:
        parts.setdefault(row[varied], []).append(row)
    return [box for value in places[varied] for box in _boxes(parts[value])]


def _spelled(texts: tuple[str, ...], box: list[list[int]]) -> str:
    return texts[0] + "".join(_range(numbers) + text for numbers, text in zip(box, texts[1:], strict=True))


def _range(numbers: list[int]) -> str:
    """Return sorted numbers as `3`, `{0-11}` or `{0,2,4-6}`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    if len(numbers) == 1:
        return str(numbers[0])
    return "{" + ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) + "}"
