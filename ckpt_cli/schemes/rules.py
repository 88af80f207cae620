"""Rules: PATTERN=SCHEME or PATTERN=SCHEME(ARG, KEY=VALUE). Parsed, never evaluated.

A SCHEME is a registered name (`zeros`, `mxnet.Xavier`) or `FILE.py:FUNCTION`. Arguments are Python literals; what is none is text as it
stands (`mode=fan_out`, `fan=768x2304`, `copy_from(other.pt)`), but for nan and inf, which are numbers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError
from .distribution import Draw
from .scheme import Scheme, schemes
from .target import Target
from .user_function import load

_CALL = re.compile(r"(?P<name>[^()=,'\"]+\.py:[^\W\d]\w*|[^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*(?:\((?P<arguments>.*)\))?", re.DOTALL)
_TOKEN = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\[\]{}()"',]+|.""", re.DOTALL)
_KEYWORD = re.compile(r"\s*([^\W\d]\w*)\s*=(?!=)\s*(.*)", re.DOTALL)
_MEND = "write PATTERN=SCHEME or PATTERN=SCHEME(ARG, KEY=VALUE), quoted for the shell"


class Call(NamedTuple):
    """A scheme and its arguments, checked against its signature. As text it is what parse_call reads."""

    scheme: Scheme[Any]
    arguments: Mapping[str, Any]

    def draw(self, target: Target) -> Draw:
        return self.scheme(target, **self.arguments)

    def __str__(self) -> str:
        if not self.arguments:
            return self.scheme.name
        return f"{self.scheme.name}({', '.join(f'{key}={_show(value)}' for key, value in self.arguments.items())})"


class Rule(NamedTuple):
    pattern: str
    call: Call

    def __str__(self) -> str:
        return f"{self.pattern}={self.call}"


def parse_rule(text: str) -> Rule:
    """Split at the last `=` that a well-formed call follows: a pattern may hold `=` and parentheses of its own."""
    at = len(text)
    while (at := text.rfind("=", 0, at)) > 0:
        if _CALL.fullmatch(text[at + 1 :].strip()) and _pieces(_arguments(text[at + 1 :])) is not None:
            return Rule(text[:at].strip(), parse_call(text[at + 1 :]))
    raise UsageError(f"{text!r} is no rule", _MEND)


def parse_call(text: str) -> Call:
    """`NAME`, `NAME(ARGS)`, `package.NAME(ARGS)` or `FILE.py:FUNCTION(ARGS)`. Raises UsageError, UnknownName."""
    found = _CALL.fullmatch(text.strip())
    pieces = _pieces(_arguments(text))
    if not found or pieces is None:
        raise UsageError(f"{text.strip()!r} is no scheme", "write NAME or NAME(ARG, KEY=VALUE)")
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for piece in pieces:
        keyword = _KEYWORD.fullmatch(piece)
        if keyword is None and named:
            raise UsageError(f"{piece.strip()} follows an argument that is given by name", f"in {text.strip()}")
        if keyword is None:
            positional.append(_value(piece))
        elif keyword[1] in named:
            raise UsageError(f"{keyword[1]} is given twice", f"in {text.strip()}")
        else:
            named[keyword[1]] = _value(keyword[2])
    made = named_scheme(found["name"])
    return Call(made, made.bind(positional, named))


def named_scheme(name: str) -> Scheme[Any]:
    """A registered scheme, also as torch spells it (`torch.nn.init.normal_`), or that of FILE.py:FUNCTION, which is executed."""
    if ".py:" in name:
        return load(name)
    plain = re.sub(r"^(torch\.)?(nn\.)?init\.", "", name)
    return schemes[plain.removesuffix("_") if plain not in schemes else plain]


def _arguments(text: str) -> str:
    found = _CALL.fullmatch(text.strip())
    return (found["arguments"] or "") if found else ""


def _pieces(text: str) -> list[str] | None:
    """The text between the commas that lie outside of brackets and quotes; None where those do not pair up, or nothing is between."""
    pieces, open_brackets = [""], []
    for token in _TOKEN.findall(text):
        if token in "([{":
            open_brackets.append(token)
        elif token in "'\"" or (token in ")]}" and (not open_brackets or open_brackets.pop() + token not in ("()", "[]", "{}"))):
            return None
        if token == "," and not open_brackets:
            pieces.append("")
        else:
            pieces[-1] += token
    if not text.strip():
        return []
    return None if open_brackets or not all(piece.strip() for piece in pieces) else pieces


def _value(text: str) -> Any:
    text = text.strip()
    if re.fullmatch(r"[+-]?(nan|inf)", text):
        return float(text)
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's remarks on odd escapes in a literal
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _show(value: Any) -> str:
    """A value so that it reads back as itself: text without quotes where that can be."""
    if not isinstance(value, str):
        return repr(value)
    plain = re.fullmatch(r"[\w./:@+~ -]+", value) and value == value.strip() and _value(value) == value
    return value if plain else repr(value)
