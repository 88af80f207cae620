"""Checks of bytes against checksums, of values, of names, and against a spec.

A check yields violations. That something does not hold is a result, not an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor


class Violation(NamedTuple):
    """One thing that does not hold.

    Attributes:
        kind: Its kind, a key of `KINDS`.
        name: The name of the tensor, or of the record of the file; empty for the whole file.
        what: What does not hold, in words.
        facts: What `--json` adds to these.
    """

    kind: str
    name: str
    what: str
    facts: dict[str, Any]


# Each kind of violation and its description, which SARIF shows.
KINDS = {
    "unreadable": "The file cannot be opened, or bytes of it cannot be read to their end.",
    "checksum": "Bytes are not those that the checksum in the file was made of.",
    "unread": "Bytes were not understood: they are not those of a tensor, or it is not known what loading them elsewhere would run.",
    "copies": "Parts of one checkpoint hold a tensor each, and it is not the same in all.",
    "index": "The index names shards or tensors that are not there, or leaves out some that are.",
    "finite": "A tensor holds NaN or infinite elements.",
    "code": "The file names a class or function that loading it elsewhere would import, and may call.",
    "architecture": "No known architecture has these names and shapes.",
    "config": "The config beside the file cannot be read, or its library cannot build the model that it describes.",
    "missing": "A tensor that has to be there is not.",
    "unexpected": "A tensor is there that has no place.",
    "count": "Not as many tensors match a pattern as should.",
    "params": "Not as many parameters as there should be.",
    "dtype": "A tensor is of another dtype.",
    "shape": "A tensor is of another shape.",
    "layout": "A tensor is laid out in another way.",
    "quantiser": "A tensor is quantised by another scale or zero point.",
    "tied": "Tensors share one storage, or do not, where it should be the other way round.",
    "sha256": "A tensor's elements are not those that the digest was made of.",
    "figure": "A figure of a tensor's values is out of its range.",
}


def violation(kind: str, name: str, what: str, **facts: Any) -> Violation:
    """Make a violation, its facts given by keyword."""
    return Violation(kind, name, what, facts)


def views(tensor: Tensor) -> Iterator[Tensor]:
    """List the plain tensors that hold the contents of a tensor: itself; if it is sparse, its indices and values; its scales."""
    if tensor.layout.in_storage:
        yield tensor.decoded() if tensor.numeric else tensor
    for part in tensor.parts:
        if isinstance(part, Tensor):
            yield from views(part)


def format_of(checkpoint: Checkpoint) -> str:
    """Return the name of the format that the checkpoint was read from; empty where it was not read."""
    return checkpoint.origin.format if checkpoint.origin else ""
