"""Hyperparameters as people write them, `KEY=VALUE`, held against the signature of the architecture."""

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
    """One hyperparameter: its name, default, what may be given for it (the annotation, as text), and what it means."""

    name: str
    default: object
    kind: str
    meaning: str


def schema(architecture: Architecture) -> dict[str, Hyperparameter]:
    """The hyperparameters of an architecture: the signature of its `layers`, and the lines `name: meaning` of the docstring."""
    meanings = dict(re.findall(r"^(\w+): (.+)$", cleandoc(architecture.layers.__doc__ or ""), re.MULTILINE))
    taken = signature(architecture.layers).parameters.values()
    return {each.name: Hyperparameter(each.name, each.default, str(each.annotation), meanings.get(each.name, "")) for each in taken}


def read_pairs(pairs: Iterable[str]) -> dict[str, object]:
    """`["hidden=8,16", "activation=tanh"]` → `{"hidden": (8, 16), "activation": "tanh"}`."""
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
    """A Python literal where it is one, else the text itself. Nothing is evaluated."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.strip()


def read_call(text: str) -> tuple[str, list[object], dict[str, object]]:
    """`name(1, hidden=16)` → its name, positional and keyword arguments, all literals; `name` alone has none."""
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
    """The values in the form the architecture takes them; an unknown key and a value of another kind are refused."""
    known = schema(architecture)
    for key in values:
        if key not in known:
            mend = did_you_mean(key, known) or f"it has {', '.join(known) or 'none'}"
            raise UnknownName(f"{architecture.name} has no hyperparameter {key!r}", mend)
    return {key: fitted(known[key], value) for key, value in values.items()}


def fitted(hyperparameter: Hyperparameter, value: object) -> object:
    """The value as this hyperparameter takes it. Kinds that are not listed are left to the architecture."""
    convert, wanted = KINDS.get(hyperparameter.kind, (lambda given: given, ""))
    try:
        return convert(value)
    except (TypeError, ValueError, KeyError):
        raise UsageError(f"{hyperparameter.name}={shown(value)} makes no sense", f"{hyperparameter.name} is {wanted}") from None


def whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise ValueError
    return value


def sizes(value: object) -> int | tuple[int, ...]:
    """A number, or several; one number in a list is that number, and `none` is none of them."""
    if value in (None, "none", "None"):
        return ()
    if not isinstance(value, (tuple, list)):
        return whole(value)
    widths = tuple(whole(width) for width in value)
    return widths[0] if len(widths) == 1 else widths


def truth(value: object) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]


def word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


# annotation → how a given value is taken, and what to say of one that is not
KINDS: dict[str, tuple[Callable[[object], object], str]] = {
    "int": (whole, "a whole number, 1 or more"),
    "Sizes": (sizes, "a whole number, or several as in 8,16, or none"),
    "bool": (truth, "true or false"),
    "str": (word, "a word"),
}


def shown(value: object) -> str:
    """A value as it is written on the command line: `8,16`, `none`, `true`, `relu`."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown_all(values: Mapping[str, object]) -> str:
    """`inputs=4, hidden=8,16, outputs=1`."""
    return ", ".join(f"{key}={shown(value)}" for key, value in values.items())
