"""Whether the index of a checkpoint says what its files hold."""

from __future__ import annotations

from collections.abc import Iterator

from ..formats import Index, formats
from ..tensors.checkpoint import Checkpoint
from . import Violation, format_of, violation


def as_index(checkpoint: Checkpoint) -> Iterator[Violation]:
    """Find what the index of a checkpoint, if it has one, says that is not so."""
    form = formats[format_of(checkpoint)] if checkpoint.origin else None
    if isinstance(form, Index) and checkpoint.origin:
        for fault in form.wrong(checkpoint):
            if fault.unreadable:
                yield violation("unreadable", fault.name, fault.what, file=fault.unreadable, tensors=[])
            else:
                yield violation("index", fault.name, fault.what, file=checkpoint.origin.path)
