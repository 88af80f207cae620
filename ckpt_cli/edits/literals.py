"""Values that are written out: numbers, and lists of numbers in JSON's brackets. Nothing is rounded before a dtype is known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    import numpy

NUMBER = re.compile(r"(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:e[-+]?\d+)?j?(?![\w.])", re.IGNORECASE)
WORDS: dict[str, Any] = {"true": True, "false": False, "nan": float("nan"), "inf": float("inf"), "infinity": float("inf")}

# NaN or an infinity outside of quotes, in any spelling: Python's JSON reader knows only one.
_SPECIAL = re.compile(r"(?<![\w\"'.+-])([-+]?)(nan|inf(?:inity)?)(?![\w\"'])", re.IGNORECASE)
_AS_IN = "as in [[1, -2.5e3], [nan, inf]]"


def number(text: str) -> Any:
    """Return the number that a text matching NUMBER means: an int where it is one, a float, or a complex number.

    Raises:
        UsageError: only rounding makes it infinite.
    """
    try:
        return int(text)
    except ValueError:
        value = complex(text) if text[-1] in "jJ" else float(text)
    if float("inf") in (abs(value.real), abs(value.imag)):
        raise beyond(text)
    return value


def beyond(text: str) -> UsageError:
    """Return the error for a number that no dtype holds."""
    return UsageError(f"{text[:20]} is beyond the numbers of every dtype", "write inf if that is meant")


def values(text: str) -> numpy.ndarray[Any, Any]:
    """Return a list as an array of Python numbers. Raises UsageError where it holds anything else, or rows of several lengths."""
    import json

    import numpy

    try:
        array = numpy.array(json.loads(_SPECIAL.sub(_as_json, text), parse_float=number), dtype=object)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{text[:60]!r} is no JSON list of numbers: {error}", _AS_IN) from None
    for index, item in enumerate(array.flat):
        if item in ("NaN", "Infinity", "-Infinity"):  # as `ckpt get --json` writes them
            array.flat[index] = float(item)
        elif not isinstance(item, (int, float)):
            raise UsageError(f"{text[:60]!r} is no list of numbers in rows of one length", _AS_IN)
    return array


def _as_json(match: re.Match[str]) -> str:
    return "NaN" if match[2].lower() == "nan" else match[1].replace("+", "") + "Infinity"


def list_end(text: str, start: int) -> int:
    """Return the index behind the bracket that closes the list at `start`, or the end of the text. Brackets in quotes do not count."""
    depth = 0
    for part in _PARTS.finditer(text, start):
        depth += {"[": 1, "]": -1}.get(part[0], 0)
        if not depth:
            return part.end()
    return len(text)


_PARTS = re.compile(r'[\[\]]|"[^"]*"')
