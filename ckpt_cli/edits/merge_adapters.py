"""Adapters as `merge` names them: `ADAPTER[:SCALE]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

from ..adapters.reading import Adapter, read
from ..errors import CkptError, UsageError


def parse_adapter(text: str) -> tuple[str, float]:
    """Return the path and the scale that `ADAPTER[:SCALE]` names: what stands behind the last colon is the scale, if it is a number.

    Raises:
        UsageError: There is no path, or the scale is infinite or NaN.
    """
    path, colon, number = text.rpartition(":")
    try:
        scale = float(number) if colon else 1.0
    except ValueError:
        colon, scale = "", 1.0
    path = path if colon else text
    if not path:
        raise UsageError(f"{text!r} names no adapter", "write ADAPTER, or ADAPTER:SCALE")
    if not isfinite(scale):
        raise UsageError(f"the scale of {path} is infinite or NaN", "give a finite number")
    return path, scale


def read_adapters(texts: Sequence[str], open: Callable[[str], Mapping[str, Any]]) -> list[tuple[Adapter, float]]:
    """Return the adapters that texts name, opened, each with its scale."""
    return [(_read(path, open), scale) for path, scale in map(parse_adapter, texts)]


def _read(path: str, open: Callable[[str], Mapping[str, Any]]) -> Adapter:
    """An adapter, opened. Where there is no such file, what stands behind a colon may have been meant as a scale."""
    try:
        return read(path, open)
    except CkptError as error:
        before, colon, after = path.rpartition(":")
        if colon and isinstance(error.__cause__, FileNotFoundError):
            error.mend = f"a scale is a number, as in {before}:0.7, and {after!r} is none"
        raise
