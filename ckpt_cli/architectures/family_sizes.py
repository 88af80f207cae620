"""Sizes of a family as expressions: `3*hidden`, `heads*width`, `widths[stages-1]`. Their values, and what they tell of unknown sizes."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

# What is known of a model: size → value, (size, index) → value for a list, (size, index, index) → value for a list of lists; options are
# True or False.
Known = dict[Any, Any]
Indices = Mapping[str, int]  # loop → number of the repetition
Equation = tuple[ast.expr, int, Indices]  # an expression, its value, and the numbers of the repetitions

OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.FloorDiv: lambda left, right: left // right,
}
# operator → the left side from result and right side, and the right side from result and left side; None where there is none
INVERSES: dict[type[ast.operator], tuple[Callable[[int, int], int | None], Callable[[int, int], int | None]]] = {
    ast.Add: (lambda result, right: result - right, lambda result, left: result - left),
    ast.Sub: (lambda result, right: result + right, lambda result, left: left - result),
    ast.Mult: (lambda result, right: quotient(result, right), lambda result, left: quotient(result, left)),
    ast.FloorDiv: (lambda result, right: result * right, lambda result, left: None),
}


def quotient(product: int, factor: int) -> int | None:
    """Return the other factor, None where there is no whole one."""
    return product // factor if factor and product % factor == 0 else None


class Guessed(dict[Any, Any]):
    """What is known; an item of a list that nothing tells is like the nearest one that is known."""

    def __missing__(self, key: Any) -> Any:
        """Return the nearest item. Raises KeyError where the list has none."""
        alike = [
            other for other in self if isinstance(key, tuple) and isinstance(other, tuple) and (other[0], len(other)) == (key[0], len(key))
        ]
        if not alike:
            raise KeyError(key)
        return self[min(alike, key=lambda other: [abs(index - wanted) for index, wanted in zip(other[1:], key[1:], strict=True)])]


@lru_cache(4096)
def parsed(text: str) -> ast.expr:
    """Parse an expression. Raises ValueError for anything but whole numbers, names, `name[index]`, `+`, `-`, `*` and `//`."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"{text!r} is no expression") from None
    for part in ast.walk(node):
        allowed = isinstance(part, (ast.Name, ast.BinOp, ast.Subscript, ast.Load, *OPERATORS))
        if not allowed and not (isinstance(part, ast.Constant) and type(part.value) is int):
            raise ValueError(f"{text!r} has {type(part).__name__}, which is no part of an expression")
    return node


def symbols(node: ast.expr) -> Iterable[tuple[str, bool]]:
    """Yield the name of each size in an expression, and whether it is a list there."""
    lists = {part.value.id for part in ast.walk(node) if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name)}
    return ((part.id, part.id in lists) for part in ast.walk(node) if isinstance(part, ast.Name))


@lru_cache(4096)
def names_in(node: ast.expr) -> tuple[str, ...]:
    """Return the names in an expression."""
    return tuple(dict.fromkeys(part.id for part in ast.walk(node) if isinstance(part, ast.Name)))


def least_of(node: ast.expr | None) -> int:
    """Return a number that an expression of sizes is never less than: the sum of the numbers in it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return least_of(node.left) + least_of(node.right)
    return int(str(node.value)) if isinstance(node, ast.Constant) else 0


def indexed(node: ast.expr) -> bool:
    """Return whether the value of an expression depends on the number of a repetition."""
    return any(isinstance(part, ast.Subscript) for part in ast.walk(node))


def key_of(node: ast.expr, known: Known, indices: Indices) -> Any:
    """Return the key in `known` of a size: its name, or (name, index…). Raises KeyError for an index that is not known."""
    if isinstance(node, ast.Subscript):
        index, outer = value_of(node.slice, known, indices), key_of(node.value, known, indices)
        if index < 0:
            raise KeyError(ast.unparse(node))
        return (*outer, index) if isinstance(outer, tuple) else (outer, index)
    return node.id if isinstance(node, ast.Name) else None


def value_of(node: ast.expr, known: Known, indices: Indices) -> int:
    """Return the value of an expression. Raises KeyError for a size that is not known."""
    if isinstance(node, ast.Constant):
        return int(str(node.value))
    if isinstance(node, ast.BinOp):
        left, right = value_of(node.left, known, indices), value_of(node.right, known, indices)
        if isinstance(node.op, ast.FloorDiv) and right == 0:
            raise KeyError("0")
        return OPERATORS[type(node.op)](left, right)
    key = key_of(node, known, indices)
    return indices[key] if key in indices else int(known[key])


def learn(node: ast.expr, result: int, known: Known, indices: Indices) -> bool:
    """Add to `known` what follows for one unknown size from the value of the expression; return whether anything does."""
    if isinstance(node, ast.BinOp):
        left, right = (value_or_none(side, known, indices) for side in (node.left, node.right))
        if (left is None) == (right is None):
            return False
        from_right, from_left = INVERSES[type(node.op)]
        inner = from_right(result, right) if right is not None else from_left(result, left or 0)
        return inner is not None and learn(node.left if left is None else node.right, inner, known, indices)
    try:
        key = key_of(node, known, indices)
    except KeyError:
        return False
    if key is None or key in known or key in indices:
        return False
    known[key] = result
    return True


def value_or_none(node: ast.expr, known: Known, indices: Indices) -> int | None:
    """Return the value of an expression, None where a size in it is not known."""
    try:
        return value_of(node, known, indices)
    except KeyError:
        return None


def learn_all(equations: Iterable[Equation], known: Known) -> None:
    """Learn from equations until they tell no more. Those that contradict each other are left to the comparison of all shapes."""
    waiting = list(equations)
    progress = True
    while progress:
        progress = sum(learn(node, result, known, indices) for node, result, indices in waiting) > 0
        waiting = [each for each in waiting if progress and value_or_none(each[0], known, each[2]) is None]


def spread(hyperparameters: Mapping[str, object]) -> Known:
    """Return hyperparameters as they are looked up: an item of a list by (name, index), a lone number also as a list of one."""
    known: Known = dict(hyperparameters)
    for name, value in hyperparameters.items():
        for index, item in enumerate(value if isinstance(value, (tuple, list)) else (value,)):
            known[name, index] = item
            known |= {(name, index, inner): each for inner, each in enumerate(item if isinstance(item, (tuple, list)) else (item,))}
    return known


def gathered(known: Known, holes: bool = False) -> dict[str, object]:
    """Return what is known as hyperparameters: the items of a list as a tuple; a list with holes is left out, or has 0 in their place."""
    values: dict[Any, object] = dict(known)
    for length in (3, 2):
        items: dict[Any, dict[int, object]] = {}
        for key in [key for key in values if isinstance(key, tuple) and len(key) == length]:
            items.setdefault(key[:-1] if length > 2 else key[0], {})[key[-1]] = values.pop(key)
        for name, found in items.items():
            if holes or len(found) == max(found) + 1:
                nothing = (0,) if any(isinstance(item, tuple) for item in found.values()) else 0
                values.setdefault(name, tuple(found.get(index, nothing) for index in range(max(found) + 1)))
    return values
