"""Groups of columns that share a scale, in their order or in one of their own (`g_idx`: the group of each column, after act-order)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Malformed
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


class Groups:
    """Which of `count` groups each of `columns` columns is in: of equal size, or as `g_idx` says.

    Args:
        of: the name of the packed parameter, for errors.
        columns: how many columns there are.
        count: how many groups there are.
        size: columns of a group where they are in order; the last group may have fewer.
        g_idx: the group of each column; None where they are in order.
    """

    def __init__(self, of: str, columns: int, count: int, size: int, g_idx: Tensor | None = None) -> None:
        self.of, self.columns, self.count, self.size = of, columns, count, min(size, max(columns, 1))
        self._g_idx = g_idx  # until it is read
        self._order: Array | None = None

    def apply(self, operation: Any, values: Array, numbers: Array) -> Array:
        """Apply a function of numpy, in place, to values and the numbers of their groups, both with a row for each row."""
        import numpy

        order = self._read()
        if order is not None:
            operation(values, numbers[:, order], out=values)
        elif self.columns == self.count * self.size:
            blocks = values.reshape(len(values), self.count, self.size)
            operation(blocks, numbers[:, :, None], out=blocks)
        else:
            operation(values, numpy.repeat(numbers, self.size, 1)[:, : self.columns], out=values)
        return values

    def _read(self) -> Array | None:
        """The group of each column; None where they are in order.

        Raises:
            Malformed: a column is in a group that there is none of.
        """
        import numpy

        if self._g_idx is not None:
            order = self._g_idx.array().astype("i8")
            if order.size and (order.min() < 0 or order.max() >= self.count):
                wrong = int(order.min() if order.min() < 0 else order.max())
                raise Malformed(f"{self.of}: a column is in group {wrong}, and there are {self.count:,}")
            self._order = None if numpy.array_equal(order, numpy.arange(self.columns) // self.size) else order
            self._g_idx = None
        return self._order
