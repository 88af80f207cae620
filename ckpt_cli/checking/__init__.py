"""Checks: bytes held against checksums, values, names, a spec. Each tells of violations; that something does not hold is no error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Layout, Tensor


class Violation(NamedTuple):
    """One thing that does not hold: of which kind, of which tensor or record, what it is in words, and the facts for `--json`."""

    kind: str
    name: str
    what: str
    facts: dict[str, Any]


# Kind → what it says, for whoever reads the kinds alone.
KINDS = {
    "unreadable": "The file cannot be opened, or bytes of it cannot be read to their end.",
    "checksum": "Bytes are not those that the checksum in the file was made of.",
    "finite": "A tensor holds NaN or infinite elements.",
    "code": "The file names a class or function that loading it elsewhere would import, and may call.",
    "architecture": "No known architecture has these names and shapes.",
    "missing": "A tensor that has to be there is not.",
    "unexpected": "A tensor is there that has no place.",
    "count": "Not as many tensors match a pattern as should.",
    "params": "Not as many parameters as there should be.",
    "dtype": "A tensor is of another dtype.",
    "shape": "A tensor is of another shape.",
    "layout": "A tensor is laid out in another way.",
    "tied": "Tensors share one storage, or do not, where it should be the other way round.",
    "sha256": "A tensor's elements are not those that the digest was made of.",
    "figure": "A figure of a tensor's values is out of its range.",
}


def violation(kind: str, name: str, what: str, **facts: Any) -> Violation:
    return Violation(kind, name, what, facts)


def views(tensor: Tensor) -> Iterator[Tensor]:
    """The plain tensors that say what it holds: itself; its indices and values where it is sparse, its scales where it has them."""
    if tensor.layout == Layout.CONJUGATE:  # as finite as what it is conjugate to
        yield Tensor.view(tensor.dtype, tensor.shape, tensor.storage, tensor.strides, tensor.offset)
    elif tensor.layout.in_storage:
        yield tensor.decoded() if tensor.numeric else tensor
    for part in tensor.parts:
        if isinstance(part, Tensor):
            yield from views(part)


def format_of(checkpoint: Checkpoint) -> str:
    return checkpoint.origin.format if checkpoint.origin else ""


def some(names: list[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
