"""A spec: what a file has to hold, in TOML that a human can write and loosen. docs/checking.md describes it.

params = 49                   # or "40-60"
extra = "forbid"              # "allow": tensors that match no entry may be there
finite = true                 # no NaN, no infinity anywhere
ties = [["2.weight", "4.weight"]]

[tensors]
"h.{0-11}.attn.weight" = { count = 12, dtype = ["float32", "bfloat16"], shape = [64, "*"], std = [0.01, 0.05] }
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import inf, prod
from typing import Any, NamedTuple

from ..analysis.figures import FIGURES
from ..errors import UnknownName, UsageError, about, did_you_mean

BOUNDED = tuple(name for name, figure in FIGURES.items() if figure.bounded)
_MOST = 1_000_000  # names that one pattern spells out


class Range(NamedTuple):
    """From `low` to `high`, both of it."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def written(self) -> float | str:
        """As a spec has it: a number, or a text."""
        return self.low if self.low == self.high else str(self)

    def __str__(self) -> str:
        if (self.low, self.high) == (0, inf):
            return "*"
        high = "*" if self.high == inf else f"{self.high:g}" if isinstance(self.high, float) else str(self.high)
        return str(self.low) if self.low == self.high else f"{self.low}-{high}"


@dataclass(frozen=True)
class Entry:
    """What is said of the tensors that a pattern picks. `spelled`: the names that it spells out, None where it has a wildcard.

    `permits`: what it picks may be there. A wildcard that bounds nothing but values speaks of what other entries permit.
    """

    pattern: str
    spelled: tuple[str, ...] | None
    count: Range
    dtype: tuple[str, ...] = ()
    shape: tuple[Range, ...] | None = None
    layout: str = ""
    sha256: str = ""
    finite: bool = False
    figures: Mapping[str, Range] = field(default_factory=dict)
    permits: bool = True


class Spec(NamedTuple):
    """`params` and `ties` are None where nothing is said of them."""

    params: Range | None
    extra: bool
    finite: bool
    ties: list[list[str]] | None
    entries: list[Entry]


def read_spec(path: str) -> Spec:
    """The spec in the file at `path`. Raises UsageError, which says what in it makes no sense."""
    import tomllib

    with about(path):
        with open(path, "rb") as file:
            try:
                held = tomllib.load(file)
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
                raise UsageError(f"this is no TOML: {error}", '`ckpt spec` writes one; names stand in quotes: "0.weight" = { … }') from None
        found = _understood(held, _OF_SPEC, "a spec")
        tensors = found.get("tensors", {})
        entries = [_entry(pattern, facts) for pattern, facts in tensors.items()]
        return Spec(found.get("params"), found.get("extra", False), found.get("finite", False), found.get("ties"), entries)


def _entry(pattern: str, facts: Any) -> Entry:
    if not isinstance(facts, dict):
        raise UsageError(f"{pattern} is a table, not {facts!r}", f'for instance "{pattern}" = {{ dtype = "float32" }}')
    found = _understood(facts, _OF_TENSOR, f"{pattern}: an entry of a tensor")
    names = spelled(pattern)
    permits = names is not None or not facts or not _OF_VALUES.issuperset(facts)
    if "dtype" in found or "shape" in found:
        found.setdefault("layout", "plain")
    figures = {key: found.pop(key) for key in BOUNDED if key in found}
    count = found.pop("count", Range(1, inf) if names is None else Range(len(names), len(names)))
    return Entry(pattern, names, count, figures=figures, permits=permits, **found)


def _understood(held: Mapping[str, Any], known: Mapping[str, Callable[[Any], Any]], what: str) -> dict[str, Any]:
    """The values by key, each as its reader understands it."""
    found = {}
    for key, value in held.items():
        if key not in known:
            quotes = "write the whole name in quotes" if isinstance(value, dict) else f"it has {', '.join(known)}"
            raise UsageError(f"{what} has no {key}", did_you_mean(key, known) or quotes)
        try:
            found[key] = known[key](value)
        except ValueError as error:
            raise UsageError(f"{what}: {key} is {error}, not {value!r}") from None
        except UnknownName as error:
            raise UsageError(f"{what}: {error.what}", error.mend) from None
    return found


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _extra(value: Any) -> bool:
    if value not in ("allow", "forbid"):
        raise ValueError('"allow" or "forbid"')
    return bool(value == "allow")


_WRITTEN_RANGE = re.compile(r"(\d{1,18})-(\d{1,18}|\*)")


def _counted(value: Any) -> Range:
    """`8`, `"1-8"`, `"1-*"` or `"*"`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Range(value, value)
    if value == "*":
        return Range(0, inf)
    found = _WRITTEN_RANGE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError('a whole number, a range as in "1-8", or "*"')
    return Range(int(found[1]), inf if found[2] == "*" else int(found[2]))


def _interval(value: Any) -> Range:
    numbers = isinstance(value, list) and len(value) == 2 and all(type(bound) in (int, float) for bound in value)
    if not numbers or not value[0] <= value[1]:
        raise ValueError("two numbers, the lower first")
    return Range(*value)


def _shape(value: Any) -> tuple[Range, ...]:
    if not isinstance(value, list):
        raise ValueError('a list of sizes, as in [8, "*", "1-4"]')
    return tuple(map(_counted, value))


def _dtypes(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError('a dtype, or a list of them, as in ["float32", "bfloat16"]')
    return tuple(map(_called, names))


_OF_NUMPY = re.compile(r"[<>][A-Za-z]\d+|[SV]\d+|object")


def _called(name: str) -> str:
    """A dtype by the name that tensors have. What numpy alone has (`<U3`) is compared as it is written. Raises UnknownName."""
    from ..numbers.dtypes import named

    return name if _OF_NUMPY.fullmatch(name) else named(name).name


def _layout(value: Any) -> str:
    """Empty where any will do."""
    if not isinstance(value, str):
        raise ValueError('a text, as in "plain", "sparse_coo" or "*"')
    return "" if value == "*" else value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise ValueError("64 hexadecimal digits")
    return value.lower()


def _ties(value: Any) -> list[list[str]]:
    if not isinstance(value, list) or not all(isinstance(group, list) and all(isinstance(name, str) for name in group) for group in value):
        raise ValueError("a list of lists of names")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a table")
    return value


_OF_SPEC: dict[str, Callable[[Any], Any]] = {"params": _counted, "extra": _extra, "finite": _flag, "ties": _ties, "tensors": _table}
_OF_TENSOR: dict[str, Callable[[Any], Any]] = {
    "count": _counted, "dtype": _dtypes, "shape": _shape, "layout": _layout, "sha256": _digest, "finite": _flag,
    **dict.fromkeys(BOUNDED, _interval),
}  # fmt: skip
_OF_VALUES = {"sha256", "finite", *BOUNDED}

# One character in brackets is that character; what stands in braces is one of several; then wildcards; the rest is text.
_TOKEN = re.compile(r"\[([^!^\]])\]|\{([^{}\[\]*?]*)\}|([*?\[{])|([^*?\[{]+)", re.DOTALL)
_RUN = re.compile(r"(0|[1-9]\d{0,17})-(0|[1-9]\d{0,17})")


def spelled(pattern: str) -> tuple[str, ...] | None:
    """The names that a pattern spells out: `h.{0-2}.w` is three; None where it has a wildcard. Raises UsageError for too many."""
    if pattern.startswith(("re:", "@")):
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
    found: list[str] = []
    for word in inside.split(","):
        run = _RUN.fullmatch(word)
        if run and int(run[2]) - int(run[1]) > _MOST:
            raise UsageError(f"{pattern} spells out more than {_MOST:,} names", "write a *")
        found += map(str, range(int(run[1]), int(run[2]) + 1)) if run else [word]
    return found


def as_glob(pattern: str) -> str:
    """A pattern with its runs of numbers written out, as selections understand it."""
    if pattern.startswith("re:"):
        return pattern
    return re.sub(r"\{([^{}]*)\}", lambda found: "{" + ",".join(_alternatives(found[1], pattern)) + "}", pattern)
