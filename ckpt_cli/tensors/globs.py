"""Globs: `*`, `?`, `[0-9]`, and in braces alternatives and runs of numbers: `{a,b}`, `{0-11}`, `{0-3,8-11}`."""

from __future__ import annotations

import re

from ..errors import UsageError

_MOST = 10_000  # numbers of one run
_RUN = re.compile(r"(0|[1-9]\d{0,17})-(0|[1-9]\d{0,17})(?=,[^{}]*\}|\})", re.ASCII)  # as a part of braces: `3-11`


def glob(pattern: str) -> str:
    """Return the regular expression that a glob stands for, to be matched against whole names.

    Raises:
        UsageError: braces hold too many numbers.
    """
    out, at, depth = "", 0, 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "[" and (end := _class_end(pattern, at)) > 0:
            inner = pattern[at:end]
            negated = inner[:1] in ("!", "^")
            out += "[" + ("^" if negated else "") + re.sub(r"([\[\]\\&~|^])", r"\\\1", inner[negated:]) + "]"
            at = end + 1
        elif char in "{," and (char == "{" or depth) and (run := _RUN.match(pattern, at)):
            out += ("(?:" if char == "{" else "|") + _numbers(run, pattern)
            depth, at = depth + (char == "{"), run.end()
        elif char == "{" and "}" in pattern[at:]:
            out, depth = out + "(?:", depth + 1
        elif char == "}" and depth:
            out, depth = out + ")", depth - 1
        elif char == "," and depth:
            out += "|"
        else:
            out += {"*": ".*", "?": "."}.get(char) or re.escape(char)
    return out + ")" * depth


def _class_end(pattern: str, at: int) -> int:
    """The index at which the character class that opens before `at` closes; a `]` right after the opening is one of its characters."""
    skip = 1 if pattern[at : at + 1] in ("!", "^") else 0
    return pattern.find("]", at + skip + 1)


def _numbers(run: re.Match[str], pattern: str) -> str:
    """The alternatives that a run of numbers stands for."""
    first, last = int(run[1]), int(run[2])
    if last - first >= _MOST:
        raise UsageError(f"{pattern!r} stands for more than {_MOST:,} numbers", "write a *")
    return "|".join(map(str, range(first, last + 1))) or "(?!)"
