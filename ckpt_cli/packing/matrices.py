"""Tensors read by rows and columns, scales that lie over them, and the tensor that is decoded from both.

A tensor of more axes than two is a stack of matrices (experts), which are read as one high matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import Malformed
from ..numbers.dtypes import DTYPES, DType, to_numpy
from ..numbers.float32 import narrowed, widened
from ..numbers.shapes import numel_of, show_shape
from ..storage.rows import Rows
from ..storage.storage import Memory, Storage
from ..tensors.tensor import Tensor
from .integers import small_floats

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

FLOAT = DTYPES["float32"]
HALF = DTYPES["float16"]
BRAIN = DTYPES["bfloat16"]
FLOATS = "float32 float16 bfloat16"

_SLAB = 1 << 18  # elements that are decoded at once: what they take stays in the cache of a core
_COLUMN_SLAB = 1 << 21  # where a slab is a range of columns of the file: each row of it is a read of its own


class Matrix:
    """A tensor as `rows` rows of `columns` elements."""

    def __init__(self, tensor: Tensor, rows: int, columns: int) -> None:
        self.dtype, self.rows, self.columns = tensor.dtype, rows, columns
        self.elements = tensor.elements()

    @classmethod
    def of(cls, tensor: Tensor) -> Matrix:
        """Return a tensor of one axis or more with its last axis as columns."""
        columns = tensor.shape[-1]
        return cls(tensor, numel_of(tensor.shape[:-1]), columns)

    def raw(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> Array:
        """Return the bytes of a window, a row of bytes for each row; all columns without `columns`."""
        import numpy

        size = self.dtype.nbytes
        left, right = columns or (0, self.columns)
        data = numpy.empty((rows[1] - rows[0], (right - left) * size), "u1")
        width = self.columns * size
        if (left, right) == (0, self.columns):
            self.elements.readinto(rows[0] * width, data.reshape(-1).data)
        else:
            for index, row in enumerate(data):
                self.elements.readinto((rows[0] + index) * width + left * size, row.data)
        return data

    def window(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> Array:
        """Return the numbers in a window: integers as they are, floats as float32."""
        return numbers(self.raw(rows, columns), self.dtype)


def numbers(data: Array, dtype: DType) -> Array:
    """Return rows of bytes as the numbers that they are: integers as they are, floats as float32."""
    if dtype.kind == "f" and dtype.nbytes == 1:
        return small_floats(data, dtype.name)
    values = data.view(to_numpy(dtype))
    return widened(data.reshape(-1).data, dtype).reshape(values.shape).copy() if dtype.kind == "f" and dtype.nbytes == 2 else values


def as_powers(tensor: Tensor) -> Tensor:
    """Return bytes as the powers of two that they stand for as scales (E8M0)."""
    return Tensor(DTYPES["float8_e8m0fnu"], tensor.shape, tensor.storage, tensor.strides, tensor.offset, tensor.layout)


class Blocks:
    """Numbers (scales, zero points) of which each holds for a block of a matrix, or for all of it.

    Attributes:
        height, width: the size of a block.
        across: how many blocks lie side by side.
    """

    def __init__(self, tensor: Tensor, shape: tuple[int, ...], height: int, width: int) -> None:
        """Lay a tensor over a matrix, or a stack of them, of `shape`. Its size is checked by `laid_over`."""
        self.height, self.width = height, width
        self._out = shape[-2] if len(shape) > 1 else 1
        self._down, self.across = -(-self._out // height), -(-shape[-1] // width)
        self._matrix = Matrix(tensor, tensor.numel // self.across if self.across else 0, self.across)

    @property
    def elements(self) -> Storage:
        """The storage of the numbers."""
        return self._matrix.elements

    def rows(self, first: int, last: int) -> Array:
        """Return the numbers over the rows [first, last), a row for each row of the matrix."""
        import numpy

        if self._down == self._out:
            return self._matrix.window((first, last))
        at = numpy.arange(first, last)
        at = at // self._out * self._down + at % self._out // self.height
        low, high = int(at[0]), int(at[-1]) + 1
        return self._matrix.window((low, high))[at - low]

    def apply(self, operation: Any, values: Array, first: int, last: int) -> Array:
        """Apply a function of numpy, such as multiply, to values of the rows [first, last) and the numbers over them, in place."""
        import numpy

        over = self.rows(first, last).astype("f4", copy=False)
        across = over.shape[1]
        if self.width == 1 or across == 1:
            operation(values, over, out=values)
        elif values.shape[1] == across * self.width:
            blocks = values.reshape(len(values), across, self.width)
            operation(blocks, over[:, :, None], out=blocks)
        else:
            operation(values, numpy.repeat(over, self.width, 1)[:, : values.shape[1]], out=values)
        return values


def laid_over(of: str, name: str, tensor: Tensor, shape: tuple[int, ...], block: tuple[int, int] = (128, 128)) -> Blocks:
    """Lay the scales of a matrix, or of a stack of them, over it: one for all, for each matrix, row, group of a row, or block.

    Args:
        of: the name of the packed parameter, for errors.
        name: the name of the scales.
        tensor: the scales.
        shape: the shape of the matrix.
        block: the size of a block, where the scales do not tell it.

    Raises:
        Malformed: the scales fit the matrix in none of these ways.
    """
    if not shape:
        raise Malformed(f"{of}: a scalar with scales")
    out, width = (shape[-2] if len(shape) > 1 else 1), shape[-1]
    stack = numel_of(shape[:-2])
    if tensor.numel == 1:
        return Blocks(tensor, (max(numel_of(shape[:-1]), 1), width), max(numel_of(shape[:-1]), 1), max(width, 1))
    given = tensor.shape[len(shape) - 2 :] if len(tensor.shape) == len(shape) else tensor.shape
    if tensor.numel == stack:
        return Blocks(tensor, shape, max(out, 1), max(width, 1))
    if tensor.numel == stack * out and (len(given) == 1 or given[-1] == 1):
        return Blocks(tensor, shape, 1, max(width, 1))
    if len(given) == 2 and stack * numel_of(given) == tensor.numel:
        height = 1 if given[0] == out else block[0]
        across = width // given[1] if given[1] and width % given[1] == 0 and height == 1 else block[1]
        if height > 0 and across > 0 and given == (-(-out // height), -(-width // across)):
            return Blocks(tensor, shape, height, across)
    raise Malformed(f"{of}: its part {name} of {show_shape(tensor.shape)} does not fit {show_shape(shape)}")


def decoded(
    dtype: DType, shape: tuple[int, ...], of: Sequence[Storage], compute: Callable[[int, int], Array], by_columns: bool = False
) -> Tensor:
    """Return a tensor that is decoded when it is read.

    Args:
        dtype: a float.
        shape: the shape; its last axis is a row.
        of: the storages that it is decoded from.
        compute: returns the rows [first, last) as float32.
        by_columns: whether a row is a column of the file, so that many rows should be decoded at once.
    """
    width = shape[-1] if shape else 1
    if not numel_of(shape):
        return Tensor.whole(dtype, shape, Memory(b""))
    slab = max(32, (_COLUMN_SLAB if by_columns else _SLAB) // width // 32 * 32)  # a multiple of 32: packed words are not divided

    def rows(first: int, last: int) -> memoryview:
        import numpy

        with numpy.errstate(all="ignore"):
            return _rounded(numpy.ascontiguousarray(compute(first, last), "f4").reshape(-1), dtype)

    return Tensor.whole(dtype, shape, Rows(of, numel_of(shape) // width, width * dtype.nbytes, slab, rows))


def _rounded(values: Array, dtype: DType) -> memoryview:
    """The bytes of float32 as elements of a float, rounded to nearest even."""
    if dtype.nbytes == 2:
        return memoryview(narrowed(values, dtype).tobytes())
    return values.astype(to_numpy(dtype), copy=False).view("u1").data


def affine(values: Array, zeros: Blocks | None, scales: Blocks, first: int, last: int) -> Array:
    """Return (values - zeros) × scales of the rows [first, last), in float32."""
    import numpy

    values = values.astype("f4")
    if zeros:
        zeros.apply(numpy.subtract, values, first, last)
    return scales.apply(numpy.multiply, values, first, last)


def storages(*parts: Blocks | Matrix | None) -> list[Storage]:
    """Return the storages of what is there of `parts`."""
    return [part.elements for part in parts if part]
