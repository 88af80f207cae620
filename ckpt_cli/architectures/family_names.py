"""What the names and shapes of a file tell of the sizes of a family: each name is one tensor of one line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .family_lines import Line, LineTensor, Loop, Option
from .family_sizes import Known, learn, learn_all, spread, symbols
from .layers import Shape, join_path

_NUMBER = re.compile(r"\d+")


class Place(NamedTuple):
    """Where a name belongs: a line, a tensor of it, and what the numbers in the name are: a loop's, or as the line writes them."""

    line: Line
    tensor: LineTensor
    numbers: tuple[Loop | str, ...]


class Found(NamedTuple):
    """A name that belongs to a line: its tensor, and the number of each repetition."""

    line: Line
    tensor: LineTensor
    indices: dict[str, int]


class Places:
    """The names that lines describe, found by their text without numbers.

    Args:
        lines: the lines of one naming style.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self._by_form: dict[str, list[Place]] = {}
        for line in lines:
            for tensor in line.tensors:
                # \0 stands for a loop while the numbers that the line itself writes are found.
                name = join_path("\0".join(line.pieces), tensor.leaf)
                found = re.findall(r"\d+|\0", name)
                loops = iter(line.loops)
                numbers = tuple(next(loops) if text == "\0" else text for text in found)
                self._by_form.setdefault(re.sub(r"\d+|\0", "#", name), []).append(Place(line, tensor, numbers))

    def find(self, name: str, shape: Shape) -> Found | None:
        """Return the line of a name, and the numbers in it; None where no line has such a name, or a shape of so many dimensions."""
        for place in self._by_form.get(_NUMBER.sub("#", name), ()):
            if len(place.tensor.dims) == len(shape):
                indices = indices_of(place.numbers, _NUMBER.findall(name))
                if indices is not None:
                    return Found(place.line, place.tensor, indices)
        return None


def indices_of(numbers: Sequence[Loop | str], texts: Sequence[str]) -> dict[str, int] | None:
    """Return loop → number of the repetition; None where a number in the name cannot be the line's."""
    indices: dict[str, int] = {}
    for number, text in zip(numbers, texts, strict=True):
        if isinstance(number, str):
            if number != text:
                return None
            continue
        if len(text) > 9 or (len(text) > 1 and text[0] == "0"):
            return None
        index = int(text) - number.shown_from
        first = number.first.value if isinstance(number.first, ast.Constant) else 0
        last = number.last.value if isinstance(number.last, ast.Constant) else index + 1
        if not isinstance(first, int) or not isinstance(last, int) or not first <= index < last:
            return None
        indices[number.name] = index
    return indices


class Evidence:
    """What the names and shapes of a file tell, name after name.

    Args:
        lines: the lines of one naming style.
        given: the hyperparameters that the user named.
    """

    def __init__(self, lines: Sequence[Line], given: Mapping[str, object]) -> None:
        self.lines, self.known = lines, spread(given)
        self._bounds: dict[tuple[Loop, int], tuple[int, int]] = {}  # (loop, number of the outer one) → least and greatest number
        self._equations: dict[tuple[object, ...], tuple[ast.expr, int, Mapping[str, int]]] = {}

    def add(self, found: Found, shape: Shape) -> None:
        """Take in one tensor."""
        line, tensor, indices = found
        for loop in line.loops:
            key, index = (loop, indices.get(loop.outer, -1)), indices[loop.name]
            least, greatest = self._bounds.get(key, (index, index))
            self._bounds[key] = min(least, index), max(greatest, index)
        for option in (line.option, tensor.option):
            if option and option.name:
                self.known.setdefault(option_key(option, indices), option.wanted)
        numbers = tuple(indices.items())
        for dim, size in zip(tensor.dims, shape, strict=True):
            if dim is not None:
                where = numbers if isinstance(dim, (ast.BinOp, ast.Subscript)) else ()
                self._equations.setdefault((dim, size, where), (dim, size, indices))

    def told(self) -> Known:
        """Return all that is known: counts of loops first, then options, then sizes."""
        for (loop, outer), (least, greatest) in self._bounds.items():
            if loop.last is not None:
                learn(loop.last, greatest + 1, self.known, {})
            else:
                key = (loop.name, outer) if loop.outer else loop.name
                self.known[key] = max(self.known.get(key, 0), greatest + 1)
            if loop.first is not None and loop.step == 1:
                learn(loop.first, least, self.known, {})
        for loop in {loop for line in self.lines for loop in line.loops}:
            for bound in filter(None, (loop.first, loop.last)):
                for name, _ in symbols(bound):
                    self.known.setdefault(name, 0)  # no layer lies within these bounds
        for option in options_of(self.lines):
            keys = [(option.name, index) for index in range(self.known.get(option.loop, 0))] if option.loop else [option.name]
            for key in keys:
                self.known.setdefault(key, False)
        learn_all(self._equations.values(), self.known)
        return self.known


def options_of(lines: Iterable[Line]) -> list[Option]:
    """Return the options that have a name, in the order of the lines."""
    conditions = (each for line in lines for each in (line.option, *(tensor.option for tensor in line.tensors)))
    return list(dict.fromkeys(each for each in conditions if each and each.name))


def option_key(option: Option, indices: Mapping[str, int]) -> object:
    """Return how an option is looked up: by its name, or by name and number of the repetition."""
    return (option.name, indices[option.loop]) if option.loop else option.name
