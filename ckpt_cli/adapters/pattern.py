"""`alpha_pattern` and `rank_pattern` of PEFT's configs: regular expressions for the ends of the names of layers (peft utils/other.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..errors import EditError

_LONGEST = 1000  # characters of a pattern
_NESTED = re.compile(r"\([^()]*[*+}][^()]*\)[*+{]")  # a repetition of a repetition, which may take forever


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
    for pattern, value in known.items():
        if pattern == module or _compiled(pattern).match(module):
            return _number(value, f"{patterns} of {pattern}")
    return _number(config[otherwise], otherwise) if config.get(otherwise) is not None else None


def _number(value: Any, what: str) -> float:
    if type(value) not in (int, float) or value != value or abs(value) > 1e30:
        raise EditError(f"its config has {what} = {value!r:.40}: no number to compute with", "save the adapter again")
    return float(value)


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    if len(pattern) <= _LONGEST and not _NESTED.search(pattern):
        try:
            return re.compile(rf"(?:.*\.)?(?:{pattern})$")
        except (re.error, OverflowError, RecursionError):
            pass
    raise EditError(f"its config has the pattern {pattern!r:.60}, which is no regular expression that is understood", "write names instead")
