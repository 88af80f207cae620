"""How far apart two tensors are whose elements are no plain numbers: how many of their bytes or integers differ."""

from __future__ import annotations

from ..storage.storage import READ_SIZE, Storage
from ..tensors.tensor import Layout, Tensor
from .contents import contents, quantiser_bytes
from .distance import Numbers, unravelled

_NAN = float("nan")


def compare_contents(one: Tensor, two: Tensor) -> Numbers | None:
    """Compare two tensors without plain elements by all that makes up their values: bytes are counted, not elements.

    Of quantised tensors it is elements. Where the quantisers differ, all do.
    """
    if (one.layout, one.dtype) != (two.layout, two.dtype):
        return None
    if one.layout != Layout.QUANTISED or one.dtype.elements > 1 or not one.numel:
        return compare_bytes(contents(one).storage, contents(two).storage)
    if quantiser_bytes(one) != quantiser_bytes(two):
        return Numbers(one.numel, one.numel, (0,) * len(one.shape), _NAN, _NAN, _NAN)
    found = compare_bytes(contents(one).storage, contents(two).storage, one.dtype.nbytes)
    return found and found._replace(elements=one.numel, first=found.first and unravelled(found.first[0], one.shape))


def compare_bytes(one: Storage, two: Storage, width: int = 1) -> Numbers | None:
    """Count the elements of `width` bytes that differ. Those that one has and the other has not differ, too."""
    import numpy

    longer, shorter = max(one.nbytes, two.nbytes) // width, min(one.nbytes, two.nbytes) // width
    changed, first = longer - shorter, shorter
    for start in range(0, shorter, READ_SIZE):
        stop = min(start + READ_SIZE, shorter)
        a, b = (numpy.frombuffer(storage.read(start * width, stop * width), f"V{width}") for storage in (one, two))
        places = numpy.flatnonzero(a != b)
        if places.size:
            changed, first = changed + int(places.size), min(first, start + int(places[0]))
    return Numbers(longer, changed, (first,), _NAN, _NAN, _NAN) if changed else None
