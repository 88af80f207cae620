"""Basic indexing, as numpy has it but without new axes: a part of a tensor is a view of the same storage."""

from __future__ import annotations

from operator import index as integer
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..numbers.shapes import show_shape

if TYPE_CHECKING:
    from .tensor import Tensor

Index = tuple["int | slice | EllipsisType", ...]


class Slicer:
    """What `tensor.slice` is: `tensor.slice[0, :5]` is the view that `array[0, :5]` is in numpy. No byte is read."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, index: int | slice | EllipsisType | Index) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        return indexed(self._tensor.decoded(), tuple(map(_part, parts)))

    def __repr__(self) -> str:
        return f"{self._tensor!r}.slice"


def _part(part: Any) -> int | slice | EllipsisType:
    """A part of an index. Raises UsageError for a list, an array, a mask or a new axis."""
    if isinstance(part, slice | EllipsisType):
        return part
    try:
        return integer(part)
    except TypeError:
        raise UsageError(
            f"{part!r} is no basic index", "write numbers, slices and `...`; an array takes any index: tensor.array()[…]"
        ) from None


def indexed(tensor: Tensor, index: Index, name: str = "the tensor") -> Tensor:
    """Return the view that `tensor[index]` is in numpy. It is of the same storage, so the part can be read and written alone.

    Raises:
        UsageError: the index does not fit the tensor's shape.
    """
    if index.count(...) > 1:
        raise UsageError("an index has at most one '...'")
    given = len(index) - index.count(...)
    if given > len(tensor.shape):
        raise UsageError(f"{name} has shape {show_shape(tensor.shape)}: an index of {given} is too deep")
    at = index.index(...) if ... in index else len(index)
    full = (*index[:at], *[slice(None)] * (len(tensor.shape) - given), *index[at + 1 :])
    shape, strides, offset = [], [], tensor.offset
    for part, n, stride in zip(full, tensor.shape, tensor.strides, strict=True):
        if isinstance(part, EllipsisType):
            continue
        if isinstance(part, slice):
            offset, n, stride = _sliced(part, n, stride, offset)
            shape.append(n)
            strides.append(stride)
        elif -n <= part < n:
            offset += (part % n) * stride
        else:
            raise UsageError(f"{name} has shape {show_shape(tensor.shape)}: index {part} is out of range")
    return type(tensor).view(tensor.dtype, tuple(shape), tensor.storage, tuple(strides), offset)


def _sliced(part: slice, n: int, stride: int, offset: int) -> tuple[int, int, int]:
    """The offset, size and stride of an axis of `n` elements once it is sliced."""
    if part.step == 0:
        raise UsageError("the step of a slice cannot be 0")
    taken = range(*part.indices(n))
    return offset + (taken.start * stride if len(taken) else 0), len(taken), stride * taken.step
