"""What was not looked at, and may not count as fine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import isfinite

from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Layout, Tensor
from . import Violation, violation

_NO_NUMBERS = re.compile(r"[<>|=]?[US]\d|datetime64|timedelta64|[<>]?[Mm]8")  # texts and times, which are not infinite


def undecoded(checkpoint: Checkpoint, values: bool) -> Iterator[Violation]:
    """What of a checkpoint is in no tensor and was not looked at.

    Args:
        checkpoint: The checkpoint.
        values: Whether something is said of all values, and not only of bytes and their checksums.
    """
    for name, (what, storage, known) in checkpoint.undecoded.items():
        if storage is None:
            yield violation("unread", name, f"{what}: its bytes are not read", bytes=None)
        elif known:
            yield from _not_finite(name, checkpoint.objects.get(name)) if values else ()
        elif values:
            yield violation("unread", name, f"{what}: what they say is not known", bytes=storage.nbytes)


def _not_finite(name: str, value: object) -> Iterator[Violation]:
    """A number that is no tensor, where it is NaN or infinite."""
    if isinstance(value, (float, complex)) and not isfinite(abs(value)):
        nan = value != value
        yield violation("finite", name, f"it is {value}", index=[], value=value, nan=int(nan), inf=int(not nan))


def not_numbers(checkpoint: Checkpoint, names: Iterable[str]) -> Iterator[Violation]:
    """The tensors of which nobody can say that they are finite: their dtype is not decoded, and may well hold floats."""
    for name in names:
        tensor = checkpoint[name]
        if _may_hide_floats(tensor):
            yield violation("unread", name, f"elements of {tensor.dtype.name} are not decoded", bytes=tensor.nbytes)


def _may_hide_floats(tensor: Tensor) -> bool:
    if tensor.layout in (Layout.OBJECT, Layout.OPAQUE):
        return _NO_NUMBERS.match(tensor.dtype.name) is None and tensor.numel > 0
    return tensor.dtype.kind == "q" and tensor.dtype.elements > 16 and not tensor.numeric  # blocks, whose scales are floats
