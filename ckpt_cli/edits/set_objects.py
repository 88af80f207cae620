"""Plain objects that `set` replaces or makes: one by its path, all that a container holds, an entry of a dict or a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import EditError, UsageError
from ..tensors.checkpoint import Checkpoint, Foreign

_DEEPEST = 100  # containers in one another: pickles are written by functions that call themselves
_MEND = 'a value is a number, true, null, "a text", [1, 2], {"a": 1}'


def is_container(checkpoint: Checkpoint, key: str) -> bool:
    """Whether `key` holds objects of the file, and no tensors."""
    below = f"{key}."
    return (
        bool(key) and any(name.startswith(below) for name in checkpoint.objects) and not any(name.startswith(below) for name in checkpoint)
    )


def holds_entries(checkpoint: Checkpoint, key: str, but: str = "", otherwise: str = "") -> UsageError:
    """Return the error for an assignment to a container, and not to an entry of it; `but` is added to its text, `otherwise` to its mend."""
    inside = [name for name in checkpoint.objects if name.startswith(f"{key}.")]
    entries = f"{len(inside):,} {'entry' if len(inside) == 1 else 'entries'}"
    return UsageError(f"{key} holds {entries}{but}", f"assign to one of them: '{inside[0]} = …'{otherwise}")


def within_plain(checkpoint: Checkpoint, key: str) -> bool:
    """Whether `key` leads to an entry of an object that is a dict or a list by itself: one that an assignment before has made."""
    found = next(_above(checkpoint, key), None)
    return found is not None and _holds(checkpoint.objects[found], key[len(found) + 1 :])


def with_object(checkpoint: Checkpoint, key: str, text: str, any_value: bool = False) -> Checkpoint:
    """Return the checkpoint with an object that is there replaced, or all that a container holds.

    Args:
        checkpoint: The checkpoint.
        key: The path of the object, or of the container.
        text: The new value, as JSON.
        any_value: Whether a container may become a number or a text.

    Raises:
        UsageError: The text is no JSON, or a container would become a number or a text.
    """
    value = _plain(key, text)
    if not any_value and key not in checkpoint.objects and isinstance(value, bool | int | float | str) and is_container(checkpoint, key):
        raise holds_entries(checkpoint, key, f", and {text[:20]} is one value", f", or to all: '{key} = {{…}}'")
    above = next(_above(checkpoint, key), None) if key not in checkpoint.objects else None
    if above is not None and within_plain(checkpoint, key):
        return _with(checkpoint, above, _put(checkpoint.objects[above], key[len(above) + 1 :], value))
    return _with(checkpoint, key, value)


def with_new_object(checkpoint: Checkpoint, key: str, text: str) -> Checkpoint:
    """Return the checkpoint with an object, which may be new. Its format knows where the path leads in the file.

    Raises:
        UsageError: The text is no JSON, or the path is empty.
        EditError: The path is that of a tensor, or leads through what holds nothing.
    """
    if not key or key.startswith(".") or key.endswith(".") or ".." in key:
        raise UsageError(f"{key!r} is no path of an object", "as in: object:config.seed = 3")
    if key in checkpoint.objects or is_container(checkpoint, key) or within_plain(checkpoint, key):
        return with_object(checkpoint, key, text, any_value=True)
    value = _plain(key, text)
    if key in checkpoint or any(name.startswith(f"{key}.") for name in checkpoint):
        what = "is a tensor" if key in checkpoint else "holds tensors"
        raise EditError(f"{key} {what}, and no object takes its place", "choose another path, or drop that first")
    tensor = next((path for path in _prefixes(key) if path in checkpoint), None)
    if tensor is not None:
        raise EditError(f"{tensor} is a tensor, and holds no objects", "choose another path")
    above = next(_above(checkpoint, key), None)
    if above is None:
        return _with(checkpoint, key, value)
    found = checkpoint.objects[above]
    if not isinstance(found, dict | list):
        shown = f"one {found.type}" if isinstance(found, Foreign) else repr(found)[:40]
        raise EditError(f"{above} is {shown}, into which nothing is put", f"replace it: '{above} = …'")
    return _with(checkpoint, above, _put(found, key[len(above) + 1 :], value, new=True))


def _with(checkpoint: Checkpoint, key: str, value: Any) -> Checkpoint:
    """The checkpoint with one object in place of all that its path held."""
    below = f"{key}."
    objects = {name: each for name, each in checkpoint.objects.items() if not name.startswith(below)}
    undecoded = {name: each for name, each in checkpoint.undecoded.items() if name != key and not name.startswith(below)}
    return checkpoint.replacing(objects={**objects, key: value}, undecoded=undecoded)


def _prefixes(key: str) -> Iterator[str]:
    """`a.b`, `a` of `a.b.c`."""
    while "." in key:
        key = key.rpartition(".")[0]
        yield key


def _above(checkpoint: Checkpoint, key: str) -> Iterator[str]:
    return (path for path in _prefixes(key) if path in checkpoint.objects)


def _holds(value: Any, path: str) -> bool:
    """Whether a value has an entry at a path."""
    first, _, rest = path.partition(".")
    if isinstance(value, dict):
        return path in value or (first in value and bool(rest) and _holds(value[first], rest))
    if isinstance(value, list) and first.isdecimal() and len(first) < 10 and int(first) < len(value):
        return not rest or _holds(value[int(first)], rest)
    return False


def _put(value: Any, path: str, new_value: Any, new: bool = False) -> Any:
    """A copy of a dict or a list with another value at a path, which with `new` may end in a new key, or behind the last item."""
    first, _, rest = path.partition(".")
    if isinstance(value, dict):
        deeper = rest and path not in value and isinstance(value.get(first), dict | list)
        return {**value, **({first: _put(value[first], rest, new_value, new)} if deeper else {path: new_value})}
    at = int(first) if first.isdecimal() and len(first) < 10 else -1
    if 0 <= at < len(value):
        kept = _put(value[at], rest, new_value, new) if rest and isinstance(value[at], dict | list) else new_value
        return [*value[:at], kept, *value[at + 1 :]]
    if new and at == len(value) and not rest:
        return [*value, new_value]
    raise EditError(f"{path} leads into a list of {len(value):,}: a new entry goes to its end", f"call it {len(value)}")


def _plain(key: str, text: str) -> Any:
    """The value of an object: any JSON, NaN and infinities, and True, False and None as Python writes them."""
    import json

    words = {"True": True, "False": False, "None": None, "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
    try:
        value = words[text] if text in words else json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{key} is no tensor, and {text[:40]!r} is no JSON", _MEND) from None
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for each in level if isinstance(each, dict | list) for inner in (each.values() if isinstance(each, dict) else each)]
    if level:
        raise UsageError(f"{text[:40]!r} holds containers in one another over {_DEEPEST} times", "give another value")
    return value
