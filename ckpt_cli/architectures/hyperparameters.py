"""Hyperparameters as users write them, `KEY=VALUE`, checked against the signature of the architecture."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import cleandoc, signature

from ..errors import UnknownName, UsageError, did_you_mean
from . import Architecture


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter: its name, its default, the annotation as text, and what it means."""

    name: str
    default: object
    annotation: str
    meaning: str


def schema(architecture: Architecture) -> dict[str, Hyperparameter]:
    """Return the hyperparameters of an architecture by name: the signature of its `layers`, and the docstring's lines `name: meaning`."""
    if (declared := architecture.declared()) is not None:
        return dict(declared)
    meanings = dict(re.findall(r"^(\w+): (.+)$", cleandoc(architecture.layers.__doc__ or ""), re.MULTILINE))
    parameters = signature(architecture.layers).parameters.values()
    return {each.name: Hyperparameter(each.name, each.default, str(each.annotation), meanings.get(each.name, "")) for each in parameters}


def parse_pairs(pairs: Iterable[str]) -> dict[str, object]:
    """Parse `["hidden=8,16", "activation=tanh"]` to `{"hidden": (8, 16), "activation": "tanh"}`.

    Raises:
        UsageError: a text is no pair, or a key is given twice.
    """
    values: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"{pair!r} is no hyperparameter", "write KEY=VALUE, as in hidden=16")
        if key in values:
            raise UsageError(f"{key} is given twice")
        values[key] = literal(text)
    return values


def literal(text: str) -> object:
    """Return the value of a Python literal; the text itself where it is none. Nothing is evaluated."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.strip()


def parse_call(text: str) -> tuple[str, list[object], dict[str, object]]:
    """Parse `name(1, hidden=16)`: its name, positional and keyword arguments, all literals; `name` alone has none.

    Raises:
        UsageError: the arguments are no literals.
    """
    name, parenthesis, inside = text.partition("(")
    if not parenthesis:
        return name, [], {}
    try:
        match ast.parse(f"call({inside}", mode="eval").body:
            case ast.Call(ast.Name(), positional, keywords) if all(keyword.arg for keyword in keywords):
                named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in keywords}
                return name, [ast.literal_eval(value) for value in positional], named
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    raise UsageError(f"the arguments of {text!r} cannot be read", "write literals, as in make(hidden=16)")


def checked(architecture: Architecture, values: Mapping[str, object]) -> dict[str, object]:
    """Return the values in the form in which the architecture takes them.

    Raises:
        UnknownName: the architecture has no such hyperparameter.
        UsageError: a value is of the wrong kind.
    """
    known = schema(architecture)
    for key in values:
        if key not in known:
            mend = did_you_mean(key, known) or f"it has {', '.join(known) or 'none'}"
            raise UnknownName(f"{architecture.name} has no hyperparameter {key!r}", mend)
    return {key: converted(known[key], value) for key, value in values.items()}


def converted(hyperparameter: Hyperparameter, value: object) -> object:
    """Return the value as this hyperparameter takes it. Annotations that are not in CONVERTERS are left to the architecture.

    Raises:
        UsageError: the value is of the wrong kind.
    """
    convert, wanted = CONVERTERS.get(hyperparameter.annotation, (lambda given: given, ""))
    try:
        return convert(value)
    except (TypeError, ValueError, KeyError):
        raise UsageError(f"{hyperparameter.name}={shown(value)} makes no sense", f"{hyperparameter.name} is {wanted}") from None


def as_whole_number(value: object) -> int:
    """Return a whole number from 1 to 2³¹ - 1. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise ValueError
    return value


def as_sizes(value: object) -> int | tuple[int, ...]:
    """Return one number or several; a list of one number is that number, and `none` is an empty tuple. Raises ValueError."""
    if value in (None, "none", "None"):
        return ()
    if not isinstance(value, (tuple, list)):
        return as_whole_number(value)
    widths = tuple(as_whole_number(width) for width in value)
    return widths[0] if len(widths) == 1 else widths


def as_count(value: object) -> int:
    """Return a whole number from 0 to 2³¹ - 1. Raises ValueError for anything else."""
    return 0 if value == 0 and not isinstance(value, bool) else as_whole_number(value)


def as_counts(value: object) -> int | tuple[int, ...]:
    """Return one number or several, 0 among them. Raises ValueError."""
    return tuple(map(as_count, value)) if isinstance(value, (tuple, list)) else as_count(value)


def as_table(value: object) -> tuple[tuple[object, ...], ...]:
    """Return a list of lists of numbers or truth values. Raises TypeError or ValueError for anything else."""
    if isinstance(value, str):
        value = literal(value.replace("true", "True").replace("false", "False"))
    if not isinstance(value, (tuple, list)) or not all(isinstance(row, (tuple, list)) for row in value):
        raise TypeError
    return tuple(tuple(item if isinstance(item, bool) else as_count(item) for item in row) for row in value)


def as_expression(value: object) -> int | str:
    """Return a whole number, or the text of an expression like `4*hidden`, which the family computes. Raises ValueError."""
    return value if isinstance(value, str) else as_whole_number(value)


def as_flags(value: object) -> bool | tuple[bool, ...]:
    """Return a truth value or several. Raises KeyError for anything else."""
    flags = value.split(",") if isinstance(value, str) else value
    return tuple(map(as_bool, flags)) if isinstance(flags, (tuple, list)) else as_bool(flags)


def as_bool(value: object) -> bool:
    """Return a truth value, however it is written. Raises KeyError for anything else."""
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]


def as_word(value: object) -> str:
    """Return a text. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError
    return value


# annotation → the conversion of a given value, and what messages call such a value
CONVERTERS: dict[str, tuple[Callable[[object], object], str]] = {
    "int": (as_whole_number, "a whole number, 1 or more"),
    "Sizes": (as_sizes, "a whole number, or several as in 8,16, or none"),
    "count": (as_count, "a whole number, 0 or more"),
    "counts": (as_counts, "a whole number, 0 or more, or several"),
    "table": (as_table, "a list of lists, as in (8,8),(16,)"),
    "expression": (as_expression, "a whole number, 1 or more, or an expression of other sizes"),
    "flags": (as_flags, "true or false, or several as in true,false"),
    "bool": (as_bool, "true or false"),
    "str": (as_word, "a word"),
}


def shown(value: object) -> str:
    """Return a value as it is written on the command line: `8,16`, `none`, `true`, `relu`, `(8,),(8,16)`."""
    if isinstance(value, (tuple, list)):
        items = (f"({shown(item)}{',' * (len(item) == 1)})" if isinstance(item, (tuple, list)) else shown(item) for item in value)
        return ",".join(items) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown_all(values: Mapping[str, object]) -> str:
    """Return values as they are written on the command line: `inputs=4, hidden=8,16, outputs=1`."""
    return ", ".join(f"{key}={shown(value)}" for key, value in values.items())
