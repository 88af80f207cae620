"""Why a result of an expression is infinite or NaN, element by element, and how it is spelled in an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .expressions import Operand, Operation

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_UFUNCS = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power", "neg": "negative", "abs": "absolute", "sqrt": "sqrt",
    "exp": "exp", "log": "log",
}  # fmt: skip


def apply(name: str, taken: Sequence[Any]) -> Any:
    """Return the result of an operation on arrays or numbers, by numpy."""
    import numpy

    if name == "clip":
        value, low, high = taken
        return numpy.minimum(numpy.maximum(value, low), high)
    return getattr(numpy, _UFUNCS[name])(*taken)


class Tracked(NamedTuple):
    """Results, and what is known of each.

    Attributes:
        value: The results.
        excused: An operand is infinite or NaN.
        unknown: An operand is NaN.
        divided: Something was divided by zero, or a logarithm or root taken that there is none of (IEEE 754, 7.2 and 7.3).
    """

    value: Any
    excused: Any
    unknown: Any
    divided: Any


def evaluate(terms: Sequence[Operand | Operation], operands: Sequence[Any], operate: Callable[[str, list[Any]], Any] = apply) -> Any:
    """Return the value of an expression.

    Args:
        terms: The expression in postfix order.
        operands: The values of its operands.
        operate: Returns the result of an operation, given its name and what it takes.
    """
    left = iter(operands)
    stack: list[Any] = []
    for term in terms:
        if isinstance(term, Operation):
            taken = stack[len(stack) - term.operands :]
            stack[len(stack) - term.operands :] = [operate(term.name, taken)]
        else:
            stack.append(next(left))
    return stack[0]


def tracked(terms: Sequence[Operand | Operation], operands: Sequence[Any], count: int) -> Tracked:
    """Return the results of `count` elements with the reasons for which they may be infinite or NaN."""
    import numpy

    known = [Tracked(each, ~numpy.isfinite(each), numpy.isnan(each), numpy.False_) for each in operands]
    found = evaluate(terms, known, _operated)
    return Tracked(*(numpy.broadcast_to(each, (count,)) for each in found))


def _operated(name: str, taken: list[Tracked]) -> Tracked:
    import numpy

    values, new = [each.value for each in taken], numpy.False_
    if name in _UNDEFINED and not any(numpy.iscomplexobj(value) for value in values):
        new = _UNDEFINED[name](*values)
    elif name == "/":
        new = values[1] == 0

    def any_of(field: int) -> Any:
        return numpy.logical_or.reduce(numpy.broadcast_arrays(*(each[field] for each in taken)))

    return Tracked(apply(name, values), any_of(1), any_of(2), any_of(3) | new)


_UNDEFINED: dict[str, Callable[..., Any]] = {
    "/": lambda _, divisor: divisor == 0,
    "log": lambda value: value <= 0,
    "sqrt": lambda value: value < 0,
    "**": lambda base, exponent: ((base == 0) & (exponent < 0)) | ((base < 0) & (exponent % 1 != 0)),
}
_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "**": 4}
_FEW = 9  # terms that an error spells


def spelled(terms: Sequence[Operand | Operation], values: Sequence[Any]) -> str:
    """Return an expression as text, with numbers for its operands: `2 * (3 + 1e+38)`; `a result` for a long one."""
    if len(terms) > _FEW:
        return "a result"
    text: str = evaluate(terms, [(f"{value:g}", 5) for value in values], _spelled)[0]
    return text


def _spelled(name: str, taken: list[tuple[str, int]]) -> tuple[str, int]:
    level = _LEVELS.get(name, 0)
    if not level:
        return f"{name}({', '.join(text for text, _ in taken)})", 5
    if name == "neg":
        return f"-{_within(taken[0], level)}", level
    return f"{_within(taken[0], level + (name == '**'))} {name} {_within(taken[1], level + (name != '**'))}", level


def _within(part: tuple[str, int], level: int) -> str:
    return part[0] if part[1] >= level else f"({part[0]})"
