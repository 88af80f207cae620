"""Specs: what a checkpoint has to hold, in TOML that a person can write and loosen. docs/checking.md describes the language.

params = 49                   # or "40-60"
extra = "forbid"              # "allow": tensors that match no entry may be there
finite = true                 # no NaN, no infinity anywhere
ties = [["2.weight", "4.weight"]]

[tensors]
"h.{0-11}.attn.weight" = { count = 12, dtype = ["float32", "bfloat16"], shape = [64, "*"], std = [0.01, 0.05] }

The assertions of a recipe are in the same language (`assertions`). `against_spec` holds a checkpoint against both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from ..analysis.figures import FIGURES
from ..errors import UnknownName, UsageError, about, did_you_mean

BOUNDED = tuple(name for name, figure in FIGURES.items() if figure.bounded)


class Range(NamedTuple):
    """The numbers from `low` to `high`, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Return whether `value` lies in the range."""
        return self.low <= value <= self.high

    @property
    def written(self) -> float | str:
        """The range as a spec has it: a number, or a text such as `1-8`."""
        return self.low if self.low == self.high else str(self)

    def __str__(self) -> str:
        if (self.low, self.high) == (0, inf):
            return "*"
        high = "*" if self.high == inf else f"{self.high:g}" if isinstance(self.high, float) else str(self.high)
        return str(self.low) if self.low == self.high else f"{self.low}-{high}"


AT_LEAST_ONE = Range(1, inf)
ANY_NUMBER = Range(0, inf)


@dataclass(frozen=True)
class Requirement:
    """An entry of `[tensors]`: what the tensors that a pattern matches must be.

    Attributes:
        pattern: The pattern as it is written.
        names: The names that the pattern spells out; None where it has a wildcard.
        count: How many tensors must match.
        dtype: The dtypes that are allowed, by name; empty for any.
        shape: A range for each axis; None for any shape.
        layout: The layout, `plain` for none; empty for any.
        quantiser: The scale and zero point of a quantised tensor, as `quantiser_text` has them; empty for any.
        sha256: The digest of the elements, in hexadecimal; empty for any.
        finite: Whether NaN and infinite elements are forbidden.
        figures: Bounds of figures, by name.
        permits: Whether `extra = "forbid"` lets the tensors that match be there. Not so for a wildcard that bounds nothing but values: it
            speaks of what other entries permit.
    """

    pattern: str
    names: tuple[str, ...] | None = None
    count: Range = AT_LEAST_ONE
    dtype: tuple[str, ...] = ()
    shape: tuple[Range, ...] | None = None
    layout: str = ""
    quantiser: str = ""
    sha256: str = ""
    finite: bool = False
    figures: Mapping[str, Range] = field(default_factory=dict)
    permits: bool = True


class Spec(NamedTuple):
    """What a checkpoint has to hold.

    Attributes:
        params: How many parameters there must be, tied ones counted once; None for any number.
        extra: Whether tensors that no entry permits may be there.
        finite: Whether NaN and infinite elements are forbidden everywhere.
        ties: The groups of names that must be tied, and no others; None for any.
        requirements: The entries of `[tensors]`.
        tied: Groups of names that must be tied; others may be, too.
    """

    params: Range | None = None
    extra: bool = True
    finite: bool = False
    ties: list[list[str]] | None = None
    requirements: Sequence[Requirement] = ()
    tied: Sequence[Sequence[str]] = ()


def read_spec(path: str) -> Spec:
    """Read the spec in the TOML file at `path`.

    Raises:
        UsageError: The file is not TOML, or holds a key or value that a spec does not have; the error names it.
        UnknownName: There is no dtype of a name in it.
    """
    import tomllib

    with about(path):
        with open(path, "rb") as file:
            try:
                table = tomllib.load(file)
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
                raise UsageError(f"this is no TOML: {error}", '`ckpt spec` writes one; names stand in quotes: "0.weight" = { … }') from None
        return spec_of(table, "a spec", extra=False)


def spec_of(table: Mapping[str, Any], what: str, extra: bool) -> Spec:
    """Read a spec from a TOML table.

    Args:
        table: The table.
        what: What an error calls the table.
        extra: Whether other tensors may be there if the table does not say it.

    Raises:
        UsageError: The table holds a key or value that a spec does not have; the error names it.
        UnknownName: There is no dtype of a name in it.
    """
    values = _read_values(table, SPEC_KEYS, what)
    tensors = values.get("tensors", {})
    requirements = [_requirement(pattern, facts) for pattern, facts in tensors.items()]
    return Spec(values.get("params"), values.get("extra", extra), values.get("finite", False), values.get("ties"), requirements)


def _requirement(pattern: str, facts: Any) -> Requirement:
    from .spec_patterns import spelled_out

    if not isinstance(facts, dict):
        raise UsageError(f"{pattern} is a table, not {facts!r}", f'for instance "{pattern}" = {{ dtype = "float32" }}')
    values = _read_values(facts, _TENSOR_KEYS, f"{pattern}: an entry of a tensor")
    names = spelled_out(pattern)
    permits = names is not None or not facts or not _VALUE_KEYS.issuperset(facts)
    if "dtype" in values or "shape" in values:
        values.setdefault("layout", "plain")
    figures = {key: values.pop(key) for key in BOUNDED if key in values}
    count = values.pop("count", AT_LEAST_ONE if names is None else Range(len(names), len(names)))
    return Requirement(pattern, names, count, figures=figures, permits=permits, **values)


def _read_values(table: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]], what: str) -> dict[str, Any]:
    """Each value as the reader of its key understands it. A reader raises ValueError, which says what the value should be."""
    values = {}
    for key, value in table.items():
        if key not in readers:
            quotes = "write the whole name in quotes" if isinstance(value, dict) else f"it has {', '.join(readers)}"
            raise UsageError(f"{what} has no {key}", did_you_mean(key, readers) or quotes)
        try:
            values[key] = readers[key](value)
        except ValueError as error:
            raise UsageError(f"{what}: {key} is {error}, not {value!r}") from None
        except UnknownName as error:
            raise UsageError(f"{what}: {error.what}", error.mend) from None
    return values


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _extra(value: Any) -> bool:
    if value not in ("allow", "forbid"):
        raise ValueError('"allow" or "forbid"')
    return bool(value == "allow")


_WRITTEN_RANGE = re.compile(r"(\d{1,18})-(\d{1,18}|\*)")


def _count(value: Any) -> Range:
    """`8`, `"1-8"`, `"1-*"` or `"*"`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Range(value, value)
    if value == "*":
        return ANY_NUMBER
    ends = _WRITTEN_RANGE.fullmatch(value) if isinstance(value, str) else None
    if not ends:
        raise ValueError('a whole number, a range as in "1-8", or "*"')
    return Range(int(ends[1]), inf if ends[2] == "*" else int(ends[2]))


def _interval(value: Any) -> Range:
    numbers = isinstance(value, list) and len(value) == 2 and all(type(bound) in (int, float) for bound in value)
    if not numbers or not value[0] <= value[1]:
        raise ValueError("two numbers, the lower first")
    return Range(*value)


def shape_of(value: Any) -> tuple[Range, ...]:
    """Read a shape: a list with a size, a range (`1-4`) or `*` for each axis. Raises ValueError."""
    if not isinstance(value, list):
        raise ValueError('a list of sizes, as in [8, "*", "1-4"]')
    return tuple(map(_count, value))


def dtypes_of(value: Any) -> tuple[str, ...]:
    """Read the name of a dtype, or a list of names, as the names that tensors have. Raises ValueError, UnknownName."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError('a dtype, or a list of them, as in ["float32", "bfloat16"]')
    return tuple(map(_dtype_name, names))


_NUMPY_DTYPE = re.compile(r"[<>][A-Za-z]\d+|[SV]\d+|object")


def _dtype_name(name: str) -> str:
    """The name by which tensors have a dtype. A name of numpy's alone (`<U3`) stays as it is written. Raises UnknownName."""
    from ..numbers.dtypes import named

    return name if _NUMPY_DTYPE.fullmatch(name) else named(name).name


def _layout(value: Any) -> str:
    """The layout; empty for any."""
    if not isinstance(value, str):
        raise ValueError('a text, as in "plain", "sparse_coo" or "*"')
    return "" if value == "*" else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text, as `ckpt spec` writes it")
    return value


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


SPEC_KEYS: dict[str, Callable[[Any], Any]] = {"params": _count, "extra": _extra, "finite": _flag, "ties": _ties, "tensors": _table}
_TENSOR_KEYS: dict[str, Callable[[Any], Any]] = {
    "count": _count, "dtype": dtypes_of, "shape": shape_of, "layout": _layout, "quantiser": _text, "sha256": _digest, "finite": _flag,
    **dict.fromkeys(BOUNDED, _interval),
}  # fmt: skip
_VALUE_KEYS = {"quantiser", "sha256", "finite", *BOUNDED}
