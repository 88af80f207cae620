"""What `set` assigns to besides tensors: plain objects by their path (`epoch = 10`), and metadata.

epoch = 10                 an object that is there, or all that a container holds
object:config.seed = 3     a new one, too: without the word in front, a typo is an error that names the nearest
metadata:author = "me"     an entry of the metadata, a new one, too
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import EditError, NoMatch, UsageError
from ..formats import Savable, formats
from ..tensors.checkpoint import Checkpoint
from .set_objects import holds_entries, is_container, with_new_object, with_object, within_plain

_METADATA = "metadata:"
_OBJECT = "object:"


def with_besides(checkpoint: Checkpoint, text: str) -> Checkpoint | None:
    """Return the checkpoint with an entry of its metadata, or an object of it, replaced or made; None if an assignment means neither.

    Args:
        checkpoint: The checkpoint.
        text: The assignment. What a tensor is called means the tensor.

    Raises:
        UsageError: The value of an object is no JSON, or the object is called as an element of a tensor is.
        EditError: The format has no place for it.
    """
    form = _form(checkpoint)
    edits_objects = form is not None and form.edits_objects
    for key, value in _splits(text):
        if key in checkpoint:
            return None
        if key in checkpoint.metadata and form is not None and form.edits_metadata:
            return _with_entry(checkpoint, form, key, value)
        if edits_objects and key in checkpoint.objects and form is not None and key in form.objects_to_write(checkpoint):
            return with_object(checkpoint, key, value)
    key = next(_splits(text), ("", ""))[0]
    if key.startswith(_METADATA):
        return _with_metadata(checkpoint, form, text)
    if key.startswith(_OBJECT):
        return _with_new(checkpoint, form, text)
    if edits_objects:
        for key, value in _splits(text):
            if is_container(checkpoint, key) or within_plain(checkpoint, key):
                return with_object(checkpoint, key, value)
        _check_has_no_index(checkpoint, next(_splits(text), ("", ""))[0])
    return None


@contextmanager
def hinting_at_new_objects(checkpoint: Checkpoint, text: str) -> Iterator[None]:
    """Add to an error about an unknown name how a new object is made, where the format has a place for one."""
    try:
        yield
    except NoMatch as error:
        form, (key, value) = _form(checkpoint), next(_splits(text), ("", ""))
        holds = any(name.startswith(f"{key}.") for name in checkpoint)
        odd = set(key) & set("*?[]{}@!:+-/ ") or value.startswith("=")
        if form is not None and form.edits_objects and key and not holds and not error.where and not odd:
            between = " " if error.mend.endswith("?") else "; " if error.mend else ""
            error.mend += f"{between}'{_OBJECT}{key} = {value[:20]}' makes a new object"
        raise


def _form(checkpoint: Checkpoint) -> Savable | None:
    form = formats[checkpoint.origin.format] if checkpoint.origin else None
    return form if isinstance(form, Savable) else None


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """What stands before and behind each of the first signs of equality: a key may hold some."""
    at = -1
    for _ in range(8):
        at = text.find("=", at + 1)
        if at < 0:
            return
        yield text[:at].strip(), text[at + 1 :].strip()


def _named(text: str, word: str) -> list[tuple[str, str]]:
    """The ways to split what stands behind `word` into a key and a value."""
    return [(key.removeprefix(word).strip(), value) for key, value in _splits(text)]


def _with_new(checkpoint: Checkpoint, form: Savable | None, text: str) -> Checkpoint:
    """The checkpoint with an object that may be new."""
    if form is None or not form.edits_objects:
        name = form.called or form.name if form else checkpoint.origin.format if checkpoint.origin else "this"
        mend = f"'{_METADATA}KEY = …' sets a text" if form and form.edits_metadata else "convert it first, to .pt for instance"
        raise EditError(f"{name} takes no objects besides tensors", mend)
    entries = _named(text, _OBJECT)
    key, value = next((each for each in entries if each[0] in checkpoint.objects), entries[0])
    made = with_new_object(checkpoint, key, value)
    if not set(made.objects) <= set(form.objects_to_write(made)):
        raise EditError("objects of this file are not edited", "convert it first")
    return made


def _with_metadata(checkpoint: Checkpoint, form: Savable | None, text: str) -> Checkpoint:
    """The checkpoint with an entry of its metadata that may be new."""
    if form is None or not form.edits_metadata:
        mend = f"'{_OBJECT}KEY = …' makes an object" if form and form.edits_objects else "convert it first"
        name = checkpoint.origin.format if checkpoint.origin else "this"
        raise EditError(f"{name} has no metadata that can be edited", mend)
    entries = _named(text, _METADATA)
    return _with_entry(checkpoint, form, *next((each for each in entries if each[0] in checkpoint.metadata), entries[0]))


def _with_entry(checkpoint: Checkpoint, form: Savable, key: str, value: str) -> Checkpoint:
    """The checkpoint with an entry of its metadata: a text, with quotes or without."""
    if not key:
        raise UsageError("an entry of the metadata needs a key", 'as in: metadata:author = "me"')
    quoted = value[:1] == value[-1:] == '"'
    if quoted:
        import json

        try:
            value = json.loads(value)
        except ValueError:
            raise UsageError(f"{value[:60]} is no JSON text", "leave the quotes out") from None
    if not quoted and not (checkpoint.origin and key in checkpoint.origin.read.metadata):
        value = form.new_entry(value)
    return checkpoint.replacing(metadata={**checkpoint.metadata, key: value})


def _check_has_no_index(checkpoint: Checkpoint, key: str) -> None:
    """Raises UsageError where `key` is an object with an index behind it: an entry of a list is called by its path."""
    base, bracket, index = key.partition("[")
    if not bracket or index[-1:] != "]" or base in checkpoint or key in checkpoint.objects:
        return
    path = ".".join([base, *(part.strip() for part in index.rstrip("] ").split(","))])
    known = next((name for name in (path, base) if name in checkpoint.objects), None)
    if known is not None:
        raise UsageError(f"{base} is no tensor, and has no [index]", f"write '{known} = …'")
    if is_container(checkpoint, base):
        raise holds_entries(checkpoint, base)
