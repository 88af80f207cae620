"""What `set` assigns to besides tensors: plain objects by their path (`epoch = 10`), and metadata (`metadata:author = "me"`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import EditError, UsageError
from ..formats import Savable, formats
from ..tensors.checkpoint import Checkpoint

_METADATA = "metadata:"


def with_besides(checkpoint: Checkpoint, text: str) -> Checkpoint | None:
    """Return the checkpoint with an entry of its metadata, or an object of it, replaced; None if an assignment means neither.

    Args:
        checkpoint: The checkpoint.
        text: The assignment. `metadata:KEY = VALUE` makes a new entry, too. What a tensor is called means the tensor.

    Raises:
        UsageError: The value of an object is no JSON, or the object is called as an element of a tensor is.
        EditError: The format has no place for it.
    """
    form = formats[checkpoint.origin.format] if checkpoint.origin else None
    for key, value in _splits(text):
        if key in checkpoint:
            return None
        if key in checkpoint.metadata and isinstance(form, Savable) and form.edits_metadata:
            return _with_entry(checkpoint, key, value)
        if key in checkpoint.objects and isinstance(form, Savable) and form.edits_objects and key in form.objects_to_write(checkpoint):
            undecoded = {name: each for name, each in checkpoint.undecoded.items() if name != key}
            return checkpoint.replacing(objects={**checkpoint.objects, key: _plain(key, value)}, undecoded=undecoded)
    key, value = next(iter(_splits(text)), ("", ""))
    if not key.startswith(_METADATA):
        if isinstance(form, Savable) and form.edits_objects:
            _check_has_no_index(checkpoint, key)
        _check_is_no_container(checkpoint, key)
        return None
    if not (isinstance(form, Savable) and form.edits_metadata):
        raise EditError(
            f"{checkpoint.origin.format if checkpoint.origin else 'this'} has no metadata that can be edited", "convert it first"
        )
    entries = [(key.removeprefix(_METADATA).strip(), value) for key, value in _splits(text)]
    return _with_entry(checkpoint, *next((each for each in entries if each[0] in checkpoint.metadata), entries[0]))


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """What stands before and behind each of the first signs of equality: a key may hold some."""
    at = -1
    for _ in range(8):
        at = text.find("=", at + 1)
        if at < 0:
            return
        yield text[:at].strip(), text[at + 1 :].strip()


def _with_entry(checkpoint: Checkpoint, key: str, value: str) -> Checkpoint:
    """The checkpoint with an entry of its metadata: a text, with quotes or without."""
    if not key:
        raise UsageError("an entry of the metadata needs a key", 'as in: metadata:author = "me"')
    if value[:1] == value[-1:] == '"':
        import json

        try:
            value = json.loads(value)
        except ValueError:
            raise UsageError(f"{value[:60]} is no JSON text", "leave the quotes out") from None
    return checkpoint.replacing(metadata={**checkpoint.metadata, key: value})


def _plain(key: str, text: str) -> Any:
    """The value of an object: any JSON, NaN and infinities, and True, False and None as Python writes them."""
    import json

    words = {"True": True, "False": False, "None": None, "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
    try:
        return words[text] if text in words else json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{key} is no tensor, and {text[:40]!r} is no JSON", 'a value is a number, true, null, "a text", [1, 2]') from None


def _check_has_no_index(checkpoint: Checkpoint, key: str) -> None:
    """Raises UsageError where `key` is an object with an index behind it: an entry of a list is called by its path."""
    base, bracket, index = key.partition("[")
    if not bracket or index[-1:] != "]" or base in checkpoint or key in checkpoint.objects:
        return
    path = ".".join([base, *(part.strip() for part in index.rstrip("] ").split(","))])
    known = next((name for name in (path, base) if name in checkpoint.objects), None)
    if known is not None:
        raise UsageError(f"{base} is no tensor, and has no [index]", f"write '{known} = …'")
    _check_is_no_container(checkpoint, base)


def _check_is_no_container(checkpoint: Checkpoint, key: str) -> None:
    """Raises UsageError where `key` holds objects: one of them is replaced, not all at once."""
    inside = [name for name in checkpoint.objects if key and name.startswith(f"{key}.")]
    if inside and not any(name.startswith(f"{key}.") for name in checkpoint):
        raise UsageError(
            f"{key} holds {len(inside):,} {'entry' if len(inside) == 1 else 'entries'}", f"assign to one of them: '{inside[0]} = …'"
        )
