"""Expressions, the values of `set`: `0.5 * this + 0.5 * @b.pt`. They are read by a grammar of their own; nothing is run as code.

    sum      = product { ("+" | "-") product }
    product  = factor { ("*" | "/") factor }
    factor   = ("-" | "+") factor | power
    power    = atom [ "**" factor ]
    atom     = NUMBER | LIST | "this" | OTHER | average | FUNCTION "(" sum { "," sum } ")" | "(" sum ")"
    average  = "average" [ "(" ( OTHER | NAME ) ")" ]
    OTHER    = "@" FILE [ "#" NAME ]

FILE and NAME run up to a space, a comma, a closing parenthesis (FILE: or a `#`); in quotes of either kind they may hold any of these.
What is made of numbers alone is computed here, as Python computes it.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

from ..errors import UsageError, did_you_mean
from . import literals
from .expressions import FUNCTIONS, Average, Expression, Number, Operand, Operation, Other, This, Values

MOST_TERMS = 1000
_DEEPEST = 50
_BITS = 4096  # of an integer that a power gives


class NoExpression(UsageError):
    """A text is no expression. `at`: the index up to which it is one."""

    at = 0


_FOLDED: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow, "neg": operator.neg, "abs": abs,
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "clip": lambda value, low, high: min(max(value, low), high),
}  # fmt: skip
_SIGN = re.compile(r"\*\*|[-+*/(),@\[]")
_WORD = re.compile(r"[^\W\d]\w*")
_FILE = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^\s,)#\"'][^\s,)#]*)")
_NAME = re.compile(r"\"([^\"]*)\"|'([^']*)'|((?:[^\s,)\[\"']|\[[^\]]*\])+)")
_VALUES = "a value is a number, a JSON list, @FILE, this, average, or an expression of these"


def read_expression(text: str, start: int = 0) -> Expression:
    """Read the expression that is all of `text` from the index `start` on.

    Raises:
        NoExpression: it is none; the error says where.
    """
    reader = _Reader(text, start)
    reader.sum()
    if reader.skip_space() < len(text):
        raise reader.error(f"{reader.shown()} is not expected", "an operator behind a file's name needs a space before it")
    return Expression(tuple(reader.terms))


class _Reader:
    """Reads by recursive descent; each method reads what the grammar calls so, and leaves its terms behind the others."""

    def __init__(self, text: str, start: int) -> None:
        self.text, self.at, self.depth, self.read = text, start, 0, 0
        self.terms: list[Operand | Operation] = []

    def skip_space(self) -> int:
        """Go on to the next text that is no space, and return its index."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.at

    def down(self) -> None:
        """Go one level deeper: readers call each other, and Python's stack has an end."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.error("parentheses, signs and powers are nested too deep", f"up to {_DEEPEST} levels are read")

    def peek(self) -> str:
        """Return the sign that comes next; nothing where there is another thing."""
        found = _SIGN.match(self.text, self.skip_space())
        return found[0] if found else ""

    def error(self, what: str, mend: str = _VALUES, at: int | None = None) -> NoExpression:
        """Return the error at the present place."""
        at = self.at if at is None else at
        low = max(0, at - 30)
        around = ("…" if low else "") + self.text[low : at + 30] + ("…" if len(self.text) > at + 30 else "")
        error = NoExpression(f"{what} at character {at + 1:,} of {around!r}", mend)
        error.at = at
        return error

    def shown(self) -> str:
        """Return what stands at the present place, for an error."""
        word = _WORD.match(self.text, self.at)
        return repr(word[0][:30] if word else self.text[self.at : self.at + 1]) if self.at < len(self.text) else "the end"

    def add(self, term: Operand | Operation) -> None:
        """Add a term; an operation on numbers is done at once."""
        self.read += 1
        if self.read > MOST_TERMS:
            raise self.error(f"there are more than {MOST_TERMS:,} terms", "make several assignments of it")
        count = term.operands if isinstance(term, Operation) else 0
        taken = self.terms[len(self.terms) - count :]
        folded = _folded(term, taken) if isinstance(term, Operation) else None
        if folded is not None:
            self.terms[len(self.terms) - count :] = [folded]
            return
        self.terms.append(term)

    def sum(self) -> None:
        self.down()
        self._chain(self.product, ("+", "-"))
        self.depth -= 1

    def product(self) -> None:
        self._chain(self.factor, ("*", "/"))

    def _chain(self, read: Callable[[], None], signs: tuple[str, ...]) -> None:
        read()
        while (sign := self.peek()) in signs:
            self.at += len(sign)
            read()
            self.add(Operation(sign, 2))

    def factor(self) -> None:
        sign = self.peek()
        if sign not in ("-", "+"):
            return self.power()
        self.at += 1
        self.down()
        self.factor()
        self.depth -= 1
        return self.add(Operation("neg", 1)) if sign == "-" else None

    def power(self) -> None:
        self.atom()
        if self.peek() == "**":
            self.at += 2
            self.down()
            self.factor()
            self.depth -= 1
            self.add(Operation("**", 2))

    def atom(self) -> None:
        sign = self.peek()
        if found := literals.NUMBER.match(self.text, self.at):
            self.at = found.end()
            self.add(Number(self._told(lambda: literals.number(found[0]))))
        elif sign == "[":
            start, self.at = self.at, literals.list_end(self.text, self.at)
            self.add(Values(self._told(lambda: literals.values(self.text[start : self.at]))))
        elif sign == "@":
            self.other()
        elif sign == "(":
            self.at += 1
            self.sum()
            self.expect(")")
        else:
            self.word()

    def _told(self, make: Callable[[], Any]) -> Any:
        """Make a value; the error of one that cannot be made counts as one at this place."""
        try:
            return make()
        except UsageError as error:
            told = NoExpression(error.what, error.mend)
            told.at = self.at
            raise told from None

    def expect(self, sign: str) -> None:
        if self.peek() != sign:
            raise self.error(f"{sign!r} is expected, not {self.shown()}", "every parenthesis that opens also closes")
        self.at += 1

    def word(self) -> None:
        """Read `this`, a word that means a number, or a function with its arguments."""
        found, start = _WORD.match(self.text, self.at), self.at
        word = found[0] if found else ""
        if word.lower() in literals.WORDS:
            self.add(Number(literals.WORDS[word.lower()]))
        elif word == "this":
            self.add(This())
        elif word not in FUNCTIONS and word != "average":
            raise self._unknown(word)
        self.at += len(word)
        if word in FUNCTIONS:
            self._arguments(word, start)
        elif word == "average":
            self._average()

    def _unknown(self, word: str) -> NoExpression:
        """The error for a word that means nothing, or for no word at all."""
        if not word:
            return self.error(f"a value is expected, not {self.shown()}", _VALUES)
        if self.text[self.at + len(word) :].lstrip().startswith("("):
            mend = did_you_mean(word, list(FUNCTIONS)) or f"there are {', '.join(sorted(FUNCTIONS))}"
            return self.error(f"no function is called {self.shown()}", mend)
        return self.error(f"no value is called {self.shown()}", did_you_mean(word, ["this", "average", *FUNCTIONS]) or _VALUES)

    def _arguments(self, function: str, start: int) -> None:
        self.expect("(")
        self.sum()
        given = 1
        while self.peek() == ",":
            self.at += 1
            self.sum()
            given += 1
        self.expect(")")
        if given != FUNCTIONS[function]:
            mend = "clip(VALUE, LEAST, MOST)" if function == "clip" else f"{function}(VALUE)"
            raise self.error(f"{function} takes {FUNCTIONS[function]} values, not {given}", mend, start)
        self.add(Operation(function, given))

    def _average(self) -> None:
        """Read which average is meant, in parentheses: `average(ema.*)`, `average(@ema.pt)`."""
        path, pattern = None, None
        if self.peek() == "(":
            self.at += 1
            if self.peek() == "@":
                path, pattern = self._place()
            else:
                pattern = self._quoted(_NAME, "a pattern or @FILE")
            self.expect(")")
        self.add(Average(path, pattern))

    def other(self) -> None:
        self.add(Other(*self._place()))

    def _place(self) -> tuple[str, str | None]:
        """Read `@FILE#NAME`, whose NAME may be missing."""
        self.at += 1
        path, name = self._quoted(_FILE, "the name of a file"), None
        if self.text[self.at : self.at + 1] == "#":
            self.at += 1
            name = self._quoted(_NAME, "the name of a tensor")
        return path, name

    def _quoted(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self.text, self.at)
        text = next((group for group in found.groups() if group), "") if found else ""
        if found is None or not text:
            raise self.error(
                f"{what} is expected, not {self.shown()}", 'as in @other.pt#0.weight, or in quotes: @"the other.pt"#"0.weight"'
            )
        self.at = found.end()
        return text


def _folded(operation: Operation, taken: list[Operand | Operation]) -> Number | None:
    """The result of an operation on numbers; None where they are not, or where it has none that is finite: each dtype then decides."""
    if not all(isinstance(term, Number) for term in taken):
        return None
    numbers = [term.value for term in taken if isinstance(term, Number)]
    if operation.name == "**" and _is_large_power(*numbers):
        return None
    try:
        result = _FOLDED[operation.name](*numbers)
    except (ArithmeticError, ValueError, TypeError):
        return None
    if isinstance(result, complex) and not any(isinstance(each, complex) for each in numbers):
        return None  # in floats, (-8) ** 0.5 is NaN
    finite = isinstance(result, int) or (math.isfinite(result.real) and math.isfinite(result.imag))
    given_finite = all(isinstance(each, int) or (math.isfinite(each.real) and math.isfinite(each.imag)) for each in numbers)
    return Number(result) if finite or not given_finite else None


def _is_large_power(base: Any, exponent: Any) -> bool:
    return isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > _BITS
