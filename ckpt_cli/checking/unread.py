"""What was not looked at, and may not count as fine."""

from __future__ import annotations

from collections.abc import Iterator

from ..tensors.checkpoint import Checkpoint
from . import Violation, violation


def unread(checkpoint: Checkpoint, values: bool) -> Iterator[Violation]:
    """What of a checkpoint is in no tensor and was not looked at.

    Args:
        checkpoint: The checkpoint.
        values: Whether something is said of all values, and not only of bytes and their checksums.
    """
    for name, (what, storage) in checkpoint.undecoded.items():
        if storage is None:
            yield violation("unread", name, f"{what}: its bytes are not read", bytes=None)
        elif values:
            yield violation("unread", name, f"{what}: what they say is not known", bytes=storage.nbytes)
