"""A storage that is the sum of two others: for biases that one framework keeps apart and another adds up."""

from __future__ import annotations

from math import prod

from ..errors import EditError
from ..numbers.dtypes import DType
from ..numbers.values import decoded, element, encoded
from ..storage.storage import Fill, Storage
from ..tensors.tensor import Tensor


class Sum(Storage):
    """`left` + `right`, element by element, rounded to their dtype once."""

    __slots__ = ("dtype", "left", "nbytes", "right")

    def __init__(self, left: Storage, right: Storage, dtype: DType) -> None:
        self.left, self.right, self.dtype, self.nbytes = left, right, dtype, left.nbytes

    def parts(self) -> tuple[Storage, ...]:
        """Return the two storages."""
        return (self.left, self.right)

    def readinto(self, start: int, view: memoryview) -> None:
        """Write the bytes from `start` on into `view`."""
        width = self.dtype.nbytes
        first, last = start // width * width, -(-(start + len(view)) // width) * width
        left, right = (decoded(self.dtype, storage.read(first, last)) for storage in (self.left, self.right))
        view[:] = encoded(self.dtype, left + right)[start - first : start - first + len(view)]


def sum_of(tensors: list[tuple[str, Tensor]]) -> Tensor:
    """Return the sum of named tensors.

    Raises:
        EditError: they are not floats of one shape and dtype.
    """
    name, total = tensors[0]
    for other, tensor in tensors[1:]:
        if (tensor.shape, tensor.dtype) != (total.shape, total.dtype) or total.dtype.kind != "f":
            raise EditError(f"{name} and {other} cannot be added", "they are not floats of one shape and dtype")
        summed = Sum(total.plain(name).elements(), tensor.plain(other).elements(), total.dtype)
        total = Tensor.whole(total.dtype, total.shape, summed)
    return total


def filled(dtype: DType, shape: tuple[int, ...], value: float) -> Tensor:
    """Return a tensor whose elements are all `value`."""
    return Tensor.whole(dtype, shape, Fill(element(dtype, value), prod(shape) * dtype.nbytes))
