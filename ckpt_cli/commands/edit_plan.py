"""What --dry-run prints: the tensors, the metadata and the objects that an edit changes, and what its format has no place for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..formats import Savable
from ..tensors.checkpoint import Checkpoint, Foreign

if TYPE_CHECKING:
    from ..analysis.diff import Difference


def show_changes(before: Checkpoint, after: Checkpoint, form: Savable, as_json: bool) -> bool:
    """Print what --dry-run prints, and return whether anything would change. Raises the error that writing would raise."""
    from ..edits.calculation import division_notes
    from ..show.answer import Answer, note
    from ..show.differences import show_differences

    form.check_place(after)
    differences = _changes(before, after)
    show_differences(Answer(as_json), differences)
    besides = [*_metadata_changed(before, after), *_objects_changed(before, after)]
    for line in besides:
        note(line)
    for line in form.losses(after):
        note(f"{form.called or form.name} has no place for {line}: would be left behind")
    if unknown := form.unknown_to_model(after):
        note(unknown)
    for line in division_notes(after):
        note(line)
    return bool(differences or besides)


def _metadata_changed(before: Checkpoint, after: Checkpoint) -> Iterator[str]:
    """A line for each entry of the metadata that an edit changes, makes or drops."""
    for key, value in () if after.metadata is before.metadata else after.metadata.items():
        if value != before.metadata.get(key):
            was = f"{_shown(before.metadata[key])} becomes " if key in before.metadata else ""
            yield f"metadata {key}: {was}{_shown(value)}{'' if was else ' (new)'}"
    yield from (f"metadata {key}: {_shown(value)} is dropped" for key, value in before.metadata.items() if key not in after.metadata)


def _objects_changed(before: Checkpoint, after: Checkpoint) -> Iterator[str]:
    """A line for each object that an edit replaces or makes."""
    for name, value in () if after.objects is before.objects else after.objects.items():
        if name in before.objects and value is before.objects[name]:
            continue
        below = sum(other.startswith(f"{name}.") for other in before.objects)
        was = _shown(before.objects[name]) + " becomes" if name in before.objects else f"its {below:,} entries become" if below else ""
        yield f"{name}: {was} {_shown(value)}" if was else f"{name}: {_shown(value)} (new)"


def _shown(value: Any) -> str:
    """An object in a note, not at any length."""
    text = value.text if isinstance(value, Foreign) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _changes(before: Checkpoint, after: Checkpoint) -> list[Difference]:
    """Return what an edit changes: renamed tensors, then tensors that differ, then objects that are dropped."""
    from ..analysis.diff import Difference, diff

    moved = {old: new for new, old in after.sources.items() if new != old and old in before}
    renamed = [Difference("renamed", old, before=old, after=new) for old, new in moved.items()]
    now = before.replacing(tensors={moved.get(name, name): tensor for name, tensor in before.items()}) if moved else before
    dropped = [Difference("removed", name, before="object") for name in before.objects if name not in after.objects]
    return [*renamed, *diff(now, after), *dropped]
