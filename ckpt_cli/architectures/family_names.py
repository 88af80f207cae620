"""What the names and shapes of a file tell of the sizes of a family: each name is one tensor of one line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .family_lines import Dims, Line, LineTensor, Loop, Option
from .family_sizes import Equation, Known, learn, learn_all, least_of, names_in, spread, symbols, value_or_none
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

    def find(self, name: str, shape: Shape) -> list[Found]:
        """Return the lines that have such a name and may have such a shape, with the numbers in it; more than one where options decide."""
        found: list[Found] = []
        places = self._by_form.get(_NUMBER.sub("#", name), ())
        texts = _NUMBER.findall(name) if places else []
        for place in places:
            if may_be(place.tensor.dims, shape):
                indices = indices_of(place.numbers, texts)
                if indices is not None:
                    found.append(Found(place.line, place.tensor, indices))
        return found


def may_be(dims: Dims, shape: Shape) -> bool:
    """Return whether a shape has that many dimensions, and the numbers among them."""
    return len(dims) == len(shape) and all(
        not isinstance(dim, ast.Constant) or dim.value == size for dim, size in zip(dims, shape, strict=True)
    )


def indices_of(numbers: Sequence[Loop | str], texts: Sequence[str]) -> dict[str, int] | None:
    """Return loop → number of the repetition; None where a number in the name cannot be the line's."""
    indices: dict[str, int] = {}
    for number, text in zip(numbers, texts, strict=True):
        if isinstance(number, str):
            if number != text:
                return None
            continue
        if len(text) > 5 or (len(text) > 1 and text[0] == "0"):
            return None
        index, rest = divmod(int(text) - number.shown_from, number.scale)
        first = number.first.value if isinstance(number.first, ast.Constant) else least_of(number.only)
        last = number.last.value if isinstance(number.last, ast.Constant) else index + 1
        if not isinstance(first, int) or not isinstance(last, int) or rest or not first <= index < last:
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
        self._equations: dict[tuple[object, ...], Equation] = {}
        self._numbers: dict[tuple[object, ...], Equation] = {}
        self._unsure: list[tuple[list[Found], Shape]] = []
        self._tensors = 0

    def add(self, found: list[Found], shape: Shape) -> None:
        """Take in one tensor, and the lines that it may be of."""
        self._tensors += 1
        if len(found) > 1:
            self._unsure.append((found, shape))
        else:
            self._take(found[0], shape)

    def _agrees(self, found: Found) -> bool:
        """Return whether what is known of options and of numbers lets a tensor be of that line."""
        options = (option for option in (*found.line.options, *found.tensor.options) if option.name)
        return all(self.known.get(option_key(option, found.indices), option.wanted) == option.wanted for option in options) and all(
            self._is_within(loop, found.indices) for loop in found.line.loops
        )

    def _is_within(self, loop: Loop, indices: Mapping[str, int]) -> bool:
        """Return whether a loop may count that number, as far as its bounds are known."""
        outer = {loop.outer: indices[loop.outer]} if loop.outer else {}
        index = indices[loop.name]
        if loop.only is not None:
            return value_or_none(loop.only, self.known, indices) in (None, index)
        first, last = (None if bound is None else value_or_none(bound, self.known, outer) for bound in (loop.first, loop.last))
        return (first is None or first <= index) and (last is None or index < last)

    def _take(self, found: Found, shape: Shape) -> None:
        """Take in one tensor of a line."""
        line, tensor, indices = found
        for loop in line.loops:
            key, index = (loop, indices.get(loop.outer, -1)), indices[loop.name]
            if loop.only is not None:
                self._numbers.setdefault(equation_key(loop.only, index, indices), (loop.only, index, indices))
                continue
            least, greatest = self._bounds.get(key, (index, index))
            self._bounds[key] = min(least, index), max(greatest, index)
        for option in (*line.options, *tensor.options):
            if option.name:
                self.known.setdefault(option_key(option, indices), option.wanted)
        for dim, size in zip(tensor.dims, shape, strict=True):
            if dim is not None:
                self._equations.setdefault(equation_key(dim, size, indices), (dim, size, indices))

    def told(self) -> Known | None:
        """Return all that is known: counts of loops first, then options, then sizes; None where numbers in names are hostile."""
        learn_all(self._numbers.values(), self.known)
        self._count()
        for choices, shape in sorted(self._unsure, key=lambda unsure: len(unsure[0])):
            self._take(next(filter(self._agrees, choices), choices[0]), shape)
        if not self.is_possible():
            return None
        self._count()
        self._complete()
        for option in named_options(self.lines):
            for name in keys_of(option, self.known):
                self.known[name] = bool(self.known.get(name, False))
        learn_all([*self._numbers.values(), *self._equations.values()], self.known)
        return self.known

    def is_possible(self) -> bool:
        """Return whether no loop repeats more often than a file of so many tensors can have it. A number in a name may be any."""
        repeated: dict[Loop, int] = {}
        for (loop, _), (_, greatest) in self._bounds.items():
            repeated[loop] = repeated.get(loop, 0) + greatest + 1
        return max(repeated.values(), default=0) <= self._tensors

    def _count(self) -> None:
        """Add what the numbers in the names tell of the loops."""
        # A loop without bounds tells its count, which others have in their bounds.
        for (loop, outer), (least, greatest) in sorted(self._bounds.items(), key=lambda each: each[0][0].last is not None):
            if loop.last is not None:
                learn(loop.last, greatest + 1, self.known, {})
            else:
                key: object = (loop.name, outer) if loop.outer else loop.name
                self.known[key] = max(self.known.get(key, 0), greatest + 1)
            if loop.first is not None and loop.step == 1:
                learn(loop.first, least, self.known, {})

    def _complete(self) -> None:
        """Add that there are none of what no name shows."""
        for loop in {loop for line in self.lines for loop in line.loops}:
            for index in range(self.known.get(loop.outer, 0)):
                self.known.setdefault((loop.name, index), 0)
            for bound in filter(None, (loop.first, loop.last)):
                for name, _ in symbols(bound):
                    self.known.setdefault(name, 0)  # no layer lies within these bounds


def equation_key(dim: ast.expr, size: int, indices: Mapping[str, int]) -> tuple[object, ...]:
    """Return what two equations have in common that tell the same: the expression, its value, and the numbers that it depends on."""
    return (dim, size, *(indices[name] for name in names_in(dim) if name in indices))


def named_options(lines: Iterable[Line]) -> list[Option]:
    """Return the options that have a name, in the order of the lines."""
    conditions = (each for line in lines for each in (*line.options, *(one for tensor in line.tensors for one in tensor.options)))
    return list(dict.fromkeys(each for each in conditions if each.name))


def option_key(option: Option, indices: Mapping[str, int]) -> object:
    """Return how an option is looked up: by its name, or by name and numbers of the repetitions."""
    return (option.name, *(indices[loop] for loop in option.loops)) if option.loops else option.name


def keys_of(option: Option, known: Known) -> list[object]:
    """Return all the keys by which an option is looked up: one, or one for each repetition."""
    if not option.loops:
        return [option.name]
    outer, *inner = option.loops
    first = range(known.get(outer, 0))
    if not inner:
        return [(option.name, index) for index in first]
    return [(option.name, index, each) for index in first for each in range(known.get((inner[0], index), 0))]


def used_in(lines: Iterable[Line]) -> set[str]:
    """Return the names of all sizes and options that lines have."""
    names: set[str] = set()
    for line in lines:
        names |= {option.name for option in named_options([line])}
        names |= {loop.name for loop in line.loops if loop.only is None}
        bounds = [bound for loop in line.loops for bound in (loop.first, loop.last, loop.only) if bound is not None]
        dims = [dim for tensor in line.tensors for dim in tensor.dims if dim is not None]
        names |= {name for node in (*bounds, *dims) for name, _ in symbols(node)}
    return names
