"""Opening a checkpoint from Python, and what functions accept in its place."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .. import reading
from ..storage.file import watched
from ..tensors.checkpoint import Checkpoint

AnyCheckpoint = Checkpoint | str | os.PathLike[str]


def open(path: str | os.PathLike[str], *, dequantise: bool = False, ignore_index: bool = False, lock: bool = False) -> Checkpoint:
    """Open a checkpoint. Its header is read, no values.

    `with ckpt_cli.open(PATH) as checkpoint:` closes its files at the end; without `with`, they are closed when the checkpoint goes.

    Args:
        path: A file, the folder of a model, or whatever else `ckpt ls` lists.
        dequantise: Whether each packed parameter (integers with scales) is one plain tensor.
        ignore_index: Whether the shards that are there are read, whatever their index says.
        lock: Whether other runs of ckpt are kept from changing the file as long as it is open here.

    Raises:
        CkptError: There is no such file, no format claims it, or it is broken.
    """
    from .wording import about

    path = os.fsdecode(path)
    files = watched.set([])
    try:
        with about(path):
            checkpoint = reading.open(path, lock, "ignore" if ignore_index else "follow")
        opened = watched.get() or []
    finally:
        watched.reset(files)
    if checkpoint.origin:
        checkpoint = checkpoint.replacing(origin=checkpoint.origin._replace(files=opened))
    if dequantise:
        from ..packing import dequantised

        with about(path):
            return dequantised(checkpoint)
    return checkpoint


def opened(checkpoint: AnyCheckpoint) -> Checkpoint:
    """Return the checkpoint itself, or the one at a path."""
    return checkpoint if isinstance(checkpoint, Checkpoint) else open(checkpoint)


def texts(given: str | Sequence[str]) -> list[str]:
    """Return the arguments of a command line: one text is one of them, not its letters."""
    return [given] if isinstance(given, str) else list(given)


def place(checkpoint: Checkpoint) -> str:
    """Return the path that errors about a checkpoint name; empty for one that was made."""
    return checkpoint.origin.path if checkpoint.origin else ""
