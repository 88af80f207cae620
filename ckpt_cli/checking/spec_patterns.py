"""Patterns of a spec: globs whose braces may also hold runs of numbers, `h.{0-11}.weight`."""

from __future__ import annotations

import re
from itertools import product
from math import prod

from ..errors import UsageError

_MOST = 1_000_000  # names that one pattern spells out

# A character alone in brackets is that character; braces hold alternatives; then come wildcards; all else is text.
_TOKEN = re.compile(r"\[([^!^\]])\]|\{([^{}\[\]*?]*)\}|([*?\[{])|([^*?\[{]+)", re.DOTALL)
_RUN = re.compile(r"(0|[1-9]\d{0,17})-(0|[1-9]\d{0,17})")


def spelled_out(pattern: str) -> tuple[str, ...] | None:
    """List the names that a pattern without a wildcard spells out: `h.{0-2}.w` is three names.

    Returns:
        The names, in order; None where the pattern has a wildcard.

    Raises:
        UsageError: The pattern spells out more than a million names.
    """
    if pattern.startswith(("re:", "@", "!")):
        return None
    pieces: list[list[str]] = []
    for token in _TOKEN.finditer(pattern):
        if token[3]:
            return None
        pieces.append([token[1] or token[4]] if token[2] is None else _alternatives(token[2], pattern))
    if prod(map(len, pieces)) > _MOST:
        raise UsageError(f"{pattern} spells out more than {_MOST:,} names", "write a *")
    return tuple(map("".join, product(*pieces)))


def _alternatives(inside: str, pattern: str) -> list[str]:
    """`0-11,14` → 0, 1, … 11, 14; words stand for themselves."""
    words: list[str] = []
    for word in inside.split(","):
        run = _RUN.fullmatch(word)
        if run and int(run[2]) - int(run[1]) > _MOST:
            raise UsageError(f"{pattern} spells out more than {_MOST:,} names", "write a *")
        words += map(str, range(int(run[1]), int(run[2]) + 1)) if run else [word]
    return words


def as_glob(pattern: str) -> str:
    """Write out the runs of numbers in a pattern, so that `selection.matches` understands it."""
    if pattern.startswith(("re:", "!re:")):
        return pattern
    return re.sub(r"\{([^{}]*)\}", lambda braces: "{" + ",".join(_alternatives(braces[1], pattern)) + "}", pattern)
