"""What differs between two checkpoints besides tensors: objects, by their paths, and metadata, by their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..formats import Savable, formats
from ..tensors.checkpoint import Checkpoint


class Besides(NamedTuple):
    """The paths of the objects, and the keys of the metadata, that differ."""

    objects: list[str]
    metadata: list[str]

    def notes(self) -> Iterator[str]:
        """A line for each kind, with the first five."""
        for what, names in (("objects that are no tensors differ", self.objects), ("metadata differ, too", self.metadata)):
            if names:
                yield f"{what}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"


def besides(one: Checkpoint, two: Checkpoint) -> Besides:
    """What differs besides tensors. What one file alone has counts where the other has a place for it."""
    return Besides(list(_objects(one, two)), _metadata(one, two))


def _objects(one: Checkpoint, two: Checkpoint) -> Iterator[str]:
    """The objects that one file alone has, and those whose texts differ, by which NaN equals NaN."""
    if one.objects and two.objects:
        for name in {**one.objects, **two.objects}:
            both = name in one.objects and name in two.objects
            if not both or repr(one.objects[name]) != repr(two.objects[name]):
                yield name
        return
    mine, other = (one, two) if one.objects else (two, one)
    form = formats[other.origin.format] if mine.objects and other.origin else None
    if form is not None and form.is_origin_of(mine):
        yield from mine.objects
    elif isinstance(form, Savable):
        yield from form.objects_to_write(mine)


def _metadata(one: Checkpoint, two: Checkpoint) -> list[str]:
    """The keys of the metadata, and what the files say of single tensors and groups, where both say something."""
    keys: list[str] = []
    for mine, yours in ((one.metadata, two.metadata), (_attributes(one), _attributes(two))):
        keys += [key for key in {**mine, **yours} if mine.get(key) != yours.get(key)] if mine and yours else []
    return keys


def _attributes(checkpoint: Checkpoint) -> Mapping[str, object]:
    """What its file says of single tensors and groups."""
    return formats[checkpoint.origin.format].attributes(checkpoint) if checkpoint.origin else {}
