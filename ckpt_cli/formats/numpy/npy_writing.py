"""The header and the elements of an array as numpy.save writes them: numpy/lib/_format_impl.py, `_write_array_header`."""

from __future__ import annotations

from typing import Any

from ...errors import CannotHold
from ...numbers.shapes import fortran_strides
from ...storage.storage import Storage
from ...tensors.tensor import Layout, Tensor
from .npy import CODES, MAGIC, Header, element_type


def written(name: str, array: Tensor, before: Header | None) -> tuple[bytes, Storage]:
    """The header and the elements of an array.

    Args:
        name: Its name, for messages.
        array: The array.
        before: The header that it was read from, if it was.

    Raises:
        CannotHold: numpy has no such dtype.
    """
    descr = _descr(name, array, before)
    if array.layout == Layout.OBJECT and before:
        return _header(descr, before.fortran, array.shape), array.storage
    whole = array.start == 0 and array.nbytes == array.storage.nbytes
    if whole and not array.contiguous and array.strides == fortran_strides(array.shape):
        return _header(descr, True, array.shape), array.storage
    return _header(descr, False, array.shape), array.elements()


def header_bytes(before: Header) -> bytes:
    """The header of an array of objects, as it was read."""
    return _header(before.descr, before.fortran, before.shape)


def _descr(name: str, array: Tensor, before: Header | None) -> Any:
    """The array's dtype as numpy describes it. An opaque one (records, text) keeps the description that it was read from."""
    if not array.layout and array.dtype.name in CODES:
        return CODES[array.dtype.name]
    if before and array.layout and element_type(before.descr).dtype == array.dtype:
        return before.descr
    what = array.layout if array.layout not in (Layout.PLAIN, Layout.OPAQUE) else array.dtype.name
    mend = "--dtype float32" if not array.layout and array.dtype.addressable else f"leave it out: --drop '{name}'"
    raise CannotHold(f"numpy has no {what}, which {name or 'the array'} is", mend)


def _header(descr: Any, fortran: bool, shape: tuple[int, ...]) -> bytes:
    """Magic, version, length and header, in the lowest version that can hold it, padded so that the elements begin at a multiple of 64."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    if shape:  # as numpy does, so that the axis can grow in place
        text += " " * (21 - len(str(shape[-1 if fortran else 0])))
    raw, version = (text.encode(), 3) if max(text) > "\xff" else (text.encode("latin-1"), 1)
    version = 2 if version == 1 and len(raw) + 75 > 0xFFFF else version
    start = 10 if version == 1 else 12
    raw += b" " * (64 - (start + len(raw) + 1) % 64) + b"\n"
    return MAGIC + bytes((version, 0)) + len(raw).to_bytes(start - 8, "little") + raw
