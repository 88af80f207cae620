"""`alpha_pattern` and `rank_pattern` of PEFT's configs: regular expressions for the ends of the names of layers (peft utils/other.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from time import monotonic
from typing import Any

from ..errors import EditError

_MOST, _LONGEST = 1000, 1000  # patterns that are no plain names; characters of one
_STEPS, _SECONDS = 10**8, 5.0  # that one match may need; that all may take
_PLAIN = re.compile(r"(?:[\w/-]|\\?\.)+")
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<open>\((?:\?(?::|=|!|P<))?)|(?P<repeat>(?:[*+?]|\{\d*,?\d*\})[?+]?)|.", re.DOTALL)


def alpha_of(config: Mapping[str, Any], module: str, keys: tuple[str, ...]) -> float | None:
    """Return the alpha of a layer: that of `alpha_pattern`, else that of the first of `keys` which the config has; None without any."""
    return _pattern_of(config, "alpha_pattern", module, next((key for key in keys if key in config), ""))


def rank_of(config: Mapping[str, Any], module: str) -> float | None:
    """Return the rank of a layer; None where the config says none."""
    return _pattern_of(config, "rank_pattern", module, "r")


def _pattern_of(config: Mapping[str, Any], patterns: str, module: str, otherwise: str) -> float | None:
    known = config.get(patterns) or {}
    if not isinstance(known, Mapping):
        raise EditError(f"its config has {patterns} that is no table", "save the adapter again")
    if known and (pattern := _patterns(tuple(known)).first(module)) is not None:
        return _number(known[pattern], f"{patterns} of {pattern}")
    return _number(config[otherwise], otherwise) if config.get(otherwise) is not None else None


def _number(value: Any, what: str) -> float:
    if type(value) not in (int, float) or value != value or abs(value) > 1e30:
        raise EditError(f"its config has {what} = {value!r:.40}: no number to compute with", "save the adapter again")
    return float(value)


@lru_cache(4)
def _patterns(patterns: tuple[str, ...]) -> Patterns:
    return Patterns(patterns)


class Patterns:
    """The patterns of a config. Names are looked up, so that 100,000 of them cost no more than one; others are matched, in bounded time."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns, self.spent = patterns, 0.0
        self.names: dict[str, int] = {}
        self.others: list[tuple[int, _Expression]] = []
        for index, pattern in enumerate(patterns):
            if _PLAIN.fullmatch(pattern):
                self.names.setdefault(pattern.replace("\\.", "."), index)
            elif len(self.others) < _MOST:
                self.others.append((index, _Expression(pattern)))
            else:
                raise EditError(f"its config has more than {_MOST:,} patterns that are no names", "write names instead")

    def first(self, module: str) -> str | None:
        """Return the first pattern that the end of a module's name matches; None where there is none."""
        ends = (module[at:] for at in (0, *(dot.end() for dot in re.finditer(r"\.", module))))
        found = min((self.names[end] for end in ends if end in self.names), default=len(self.patterns))
        for index, expression in self.others:
            if index < found and (expression.pattern == module or self._matches(expression, module)):
                found = index
        return self.patterns[found] if found < len(self.patterns) else None

    def _matches(self, expression: _Expression, module: str) -> bool:
        start = monotonic()
        matches = expression.matches(module)
        self.spent += monotonic() - start
        if self.spent > _SECONDS:
            raise EditError("the patterns of its config take too long to match", "write names instead")
        return matches


class _Expression:
    """A regular expression, and how often it may have to begin again: Python's `re` has no end to that of its own."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.repeats, self.branches = 0, 1
        try:
            fine = len(pattern) <= _LONGEST and self._count(pattern)
            self.compiled = re.compile(rf"(?:.*\.)?(?:{pattern})$")
        except (re.error, OverflowError, RecursionError):
            fine = False
        if not fine:
            raise self.refused()

    def refused(self) -> EditError:
        what = f"its config has the pattern {self.pattern!r:.60}, which is no regular expression that is understood"
        return EditError(what, "write names instead")

    def matches(self, module: str) -> bool:
        """Whether it matches. Raises EditError where that may take long."""
        if self.branches * len(module) ** (self.repeats + 1) > _STEPS:
            raise self.refused()
        return self.compiled.match(module) is not None

    def _count(self, pattern: str) -> bool:
        """Count what is matched in more than one way. False where choices are repeated, or a group is of another kind (comments, flags)."""
        groups, closed = [[1, 0]], 0  # of each open group: its alternatives, the choices in it; the choices of the one just closed
        for token in _TOKEN.finditer(pattern):
            text, chosen, closed = token[0], closed, 0
            if token["open"]:
                if pattern.startswith("?", token.end()):
                    return False
                groups.append([1, 0])
            elif text == ")" and len(groups) > 1:
                alternatives, choices = groups.pop()
                closed = choices + alternatives - 1
                groups[-1][1] += closed
                self.branches *= alternatives
            elif text == "|":
                groups[-1][0] += 1
            elif token["repeat"]:
                if chosen and text[0] != "?":
                    return False
                groups[-1][1] += 1
                self.repeats += text[0] != "?"
                self.branches *= 2 if text[0] == "?" else 1
        self.branches *= groups[0][0]
        return True
