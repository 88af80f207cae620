"""Files of rules (TOML) for `ckpt reinit`. The rules apply in the order of the file.

seed = 0              # optional, as is preset; the command line overrides both
preset = "pytorch"

[rules]
"*.bias" = "zeros"
"2.weight" = "constant(42)"
"encoder.*" = "preset:bert"
"encoder.embed.*" = "keep"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError, about, did_you_mean
from .rules import Rule, parse_right_side

# key → its Python type, and the type's name in messages
_KEYS: dict[str, tuple[type, str]] = {
    "seed": (int, "a whole number"),
    "preset": (str, "a name"),
    "rules": (dict, 'a table of "PATTERN" = "SCHEME"'),
}


class Recipe(NamedTuple):
    """What the file says; `seed` is None and `preset` empty where it does not say them."""

    rules: tuple[Rule, ...] = ()
    seed: int | None = None
    preset: str = ""


def read_recipe(path: str) -> Recipe:
    """Read the file at `path`.

    Raises:
        UsageError: it is no TOML, or something in it is no rule, seed or preset; the message says what.
        UnknownName: no scheme has one of the names.
    """
    import tomllib

    with about(path):
        with open(path, "rb") as file:
            try:
                table = tomllib.load(file)
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UsageError(f"this is no TOML: {error}", 'patterns stand in quotes: "*.bias" = "zeros"') from None
        _require_valid(table)
        rules = tuple(_rule(pattern, scheme) for pattern, scheme in table.get("rules", {}).items())
        return Recipe(rules, table.get("seed"), table.get("preset", ""))


def _require_valid(table: Mapping[str, Any]) -> None:
    """Refuse unknown keys and values of the wrong type."""
    for key, value in table.items():
        if key not in _KEYS:
            raise UsageError(f"a recipe has no {key}", did_you_mean(key, _KEYS) or f"it has {', '.join(_KEYS)}")
        kind, wanted = _KEYS[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UsageError(f"{key} is {wanted}, not {value!r}")


def _rule(pattern: str, scheme: Any) -> Rule:
    if not isinstance(scheme, str):
        raise UsageError(f"{pattern} has no scheme", 'write the whole pattern and the scheme in quotes: "0.weight" = "zeros"')
    return Rule(pattern, parse_right_side(scheme))
