"""A storage that is the sum of two others, element by element: biases that one framework keeps apart and another as one."""

from __future__ import annotations

from ..errors import EditError
from ..numbers.dtypes import DType
from ..numbers.values import decoded, element, encoded
from ..storage.storage import Fill, Storage
from ..tensors.tensor import Tensor


class Added(Storage):
    """`one` + `two`, rounded to their dtype once."""

    __slots__ = ("dtype", "nbytes", "one", "two")

    def __init__(self, one: Storage, two: Storage, dtype: DType) -> None:
        self.one, self.two, self.dtype, self.nbytes = one, two, dtype, one.nbytes

    def parts(self) -> tuple[Storage, ...]:
        return (self.one, self.two)

    def readinto(self, start: int, view: memoryview) -> None:
        width = self.dtype.nbytes
        first, last = start // width * width, -(-(start + len(view)) // width) * width
        left, right = (decoded(self.dtype, storage.read(first, last)) for storage in (self.one, self.two))
        view[:] = encoded(self.dtype, left + right)[start - first : start - first + len(view)]


def added(tensors: list[tuple[str, Tensor]]) -> Tensor:
    """The sum of tensors of one shape and dtype. Raises EditError where they are not."""
    name, total = tensors[0]
    for other, tensor in tensors[1:]:
        if (tensor.shape, tensor.dtype) != (total.shape, total.dtype) or total.dtype.kind != "f":
            raise EditError(f"{name} and {other} cannot be added", "they are not floats of one shape and dtype")
        summed = Added(total.plain(name).elements(), tensor.plain(other).elements(), total.dtype)
        total = Tensor.whole(total.dtype, total.shape, summed)
    return total


def filled(dtype: DType, shape: tuple[int, ...], value: float) -> Tensor:
    """A tensor of one value throughout."""
    count = 1
    for n in shape:
        count *= n
    return Tensor.whole(dtype, shape, Fill(element(dtype, value), count * dtype.nbytes))
