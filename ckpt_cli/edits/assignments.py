"""Assignments as they are written, `REF OP VALUE`, and which reading of one is meant.

Names may hold any of the signs of an operator, so a text may be read in several ways: `*bias*=3` as `*bias *= 3` and as `*bias* = 3`. The
reading whose REF names something in the file is meant; where several do, that of an exact name; where none of them is one, it is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..errors import UsageError
from .expression_reader import NoExpression, read_expression
from .expressions import Expression

_FIRST_SIGNS = ("+", "-", "*", "/")
_MOST_SIGNS = 64  # that are tried; those on the right are nearest to the value


class Assignment(NamedTuple):
    """An assignment.

    Attributes:
        reference: The tensors, or the part of one, as patterns or `NAME[index]`.
        op: One of = += -= *= /=.
        value: The value.
        text: The value as it is written.
    """

    reference: str
    op: str
    value: Expression
    text: str

    def __str__(self) -> str:
        return f"{self.reference} {self.op} {self.text[:40]}{'…' if len(self.text) > 40 else ''}"


def readings(text: str) -> list[Assignment]:
    """Return all ways to read an assignment, that which splits it furthest to the right first.

    Raises:
        UsageError: There is none; the error is that of the split whose value could be read furthest.
    """
    found: list[Assignment] = []
    errors: list[NoExpression] = []
    operators = _operators(text)
    for start, end in operators:
        try:
            value = read_expression(text, end)
        except NoExpression as error:
            errors.append(error)
            continue
        found += _split(text, start, end, value)
    if found:
        return found
    if not operators:
        raise UsageError(f"{text[:60]!r} is no assignment", "write NAME = VALUE; the operators are = += -= *= /=")
    if errors:
        raise max(reversed(errors), key=lambda error: error.at)
    raise UsageError(f"{text[:60]!r} assigns to nothing", "write NAME = VALUE")


def check(text: str) -> None:
    """Check an assignment before any file is read. Raises UsageError where it makes no sense, whatever it is applied to."""
    try:
        readings(text)
    except UsageError:
        value = text.partition("=")[2].strip()
        if value[:1] not in _JSON and value not in _WORDS and not text.startswith("metadata:"):
            raise  # else it may be the value of an object


_JSON = tuple('"{[')
_WORDS = ("null", "None")


def _operators(text: str) -> list[tuple[int, int]]:
    """Where the operators begin and end, from the right."""
    found: list[tuple[int, int]] = []
    at = len(text)
    while len(found) < _MOST_SIGNS and (at := text.rfind("=", 0, at)) >= 0:
        found.append((at - (text[at - 1 : at] in _FIRST_SIGNS), at + 1))
    return found


def _split(text: str, start: int, end: int, value: Expression) -> Iterator[Assignment]:
    """The readings with the operator here: the first of its two signs may belong to the reference, unless a space stands before it."""
    written, op, before = text[end:].strip(), text[start:end], text[:start]
    reference = before.strip()
    if reference:
        yield Assignment(reference, op, value, written)
    if len(op) == 2 and before[-1:] != " ":
        yield Assignment(f"{before}{op[0]}".strip(), "=", value, written)


def meant(text: str, is_name: Callable[[str], bool], names_something: Callable[[str], bool]) -> Assignment:
    """Return the reading of an assignment that is meant for a file.

    Args:
        text: The assignment.
        is_name: Tells whether a reference is an exact name, or an index of one.
        names_something: Tells whether a reference names anything in the file.

    Raises:
        UsageError: The text is no assignment, or may be meant in several ways.
    """
    found = readings(text)
    if len(found) == 1:
        return found[0]
    fitting = [each for each in found if names_something(each.reference)]
    exact = [each for each in fitting if is_name(each.reference)]
    choice = exact or fitting
    if len(choice) > 1:
        spelled = " and ".join(repr(str(each)) for each in choice[:2])
        raise UsageError(f"{text[:60]!r} could be read in two ways: {spelled}", "put a space before the operator")
    return choice[0] if choice else found[0]
