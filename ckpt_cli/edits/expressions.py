"""Expressions, the values of `set`, once they are read: operands and operations in postfix order. `expression_reader` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy

FUNCTIONS = {"abs": 1, "sqrt": 1, "exp": 1, "log": 1, "clip": 3}  # and the number of their arguments


class Number(NamedTuple):
    """A number."""

    value: Any


class Values(NamedTuple):
    """A list of numbers, as an array of Python numbers."""

    array: numpy.ndarray[Any, Any]


class This(NamedTuple):
    """The tensor that is assigned to."""


class Other(NamedTuple):
    """A tensor of another file: that of the same name, or the one called `name`."""

    path: str
    name: str | None


class Average(NamedTuple):
    """The average of the tensor that a training has kept: of those that `pattern` picks, if there is one; in this file, or at `path`."""

    path: str | None
    pattern: str | None


class Operation(NamedTuple):
    """What is done with the results of the last `operands` terms. `name` is + - * / ** or the name of a function; `neg` is a sign."""

    name: str
    operands: int


Elsewhere = Other | Average
Operand = Number | Values | This | Elsewhere


class Expression(NamedTuple):
    """An expression in postfix order: operands, each operation behind what it takes."""

    terms: tuple[Operand | Operation, ...]

    @property
    def literal(self) -> Number | Values | None:
        """The number or the list, where the expression is nothing else."""
        only = self.terms[0]
        return only if len(self.terms) == 1 and isinstance(only, (Number, Values)) else None

    @property
    def operands(self) -> list[Operand]:
        """The operands, from left to right."""
        return [term for term in self.terms if not isinstance(term, Operation)]

    def applied_to_this(self, operation: str) -> Expression:
        """Return `this OPERATION (EXPRESSION)`."""
        return Expression((This(), *self.terms, Operation(operation, 2)))
