"""Changes of a matrix, as adapters keep them: products of small factors, whose rows are computed as they are needed.

A tensor of more axes than two is a matrix of its first axis by all others. A delta is read in two steps: `load` returns what all of its
rows take, in memory; `rows` the rows of a slab.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.shapes import numel_of
from ..numbers.values import decoded
from ..storage.storage import Storage
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

Shape = tuple[int, ...]


def matrix(tensor: Tensor) -> Tensor:
    """Return a tensor as a matrix of its first axis by all others."""
    shape = (tensor.shape[0], numel_of(tensor.shape[1:]))
    return tensor if tensor.shape == shape else Tensor.whole(tensor.dtype, shape, tensor.elements())


def transposed(tensor: Tensor) -> Tensor:
    """Return the view of a matrix with its axes exchanged."""
    return Tensor.view(tensor.dtype, tensor.shape[::-1], tensor.storage, tensor.strides[::-1], tensor.offset)


class Factor:
    """A tensor of an adapter, read as rows of a matrix.

    Attributes:
        key: its name in the adapter, for messages.
        tensor: the matrix.
    """

    def __init__(self, key: str, tensor: Tensor) -> None:
        self.key, self.tensor = key, tensor
        self.elements = tensor.elements()

    def rows(self, first: int, last: int, wide: str) -> Array:
        """Return the rows [first, last) in the dtype `wide`.

        Raises:
            EditError: one of the numbers is not finite.
        """
        import numpy

        columns, dtype = self.tensor.shape[1], self.tensor.dtype
        width = columns * dtype.nbytes
        values = decoded(dtype, self.elements.read(first * width, last * width)).astype(wide, copy=False)
        if not numpy.isfinite(values).all():
            raise EditError(f"the adapter's {self.key} holds NaN or inf", "its training diverged: take an earlier one")
        return values.reshape(last - first, columns)

    def whole(self, wide: str) -> Array:
        """Return all rows."""
        return self.rows(0, self.tensor.shape[0], wide)

    def transposed(self) -> Factor:
        """Return the factor with its axes exchanged."""
        return Factor(self.key, transposed(self.tensor))


class Delta(ABC):
    """What is added to a tensor of `shape`, but for its scale."""

    shape: Shape

    @abstractmethod
    def factors(self) -> tuple[Factor, ...]:
        """Return the factors that it is made of."""

    @abstractmethod
    def load(self, wide: str) -> Any:
        """Return what all rows take: arrays in the dtype `wide`."""

    @abstractmethod
    def rows(self, loaded: Any, first: int, last: int, wide: str) -> Array:
        """Return the rows [first, last) of the matrix."""

    def transposed(self) -> Delta | None:
        """Return the delta of the transposed matrix; None where there is none."""
        return None

    def sources(self) -> tuple[Storage, ...]:
        """Return the storages that it is read from."""
        return tuple(factor.elements for factor in self.factors())


class LowRank(Delta):
    """`up @ down`: LoRA (Hu et al. 2021, arXiv:2106.09685). With a core `mid` between them, the Tucker form of LyCORIS' LoCon.

    Args:
        up: rows × rank.
        down: rank × columns.
        shape: the shape of the tensor that is changed.
        mid: rank × rank × kernel; `down` is then rank × inputs.
    """

    def __init__(self, up: Factor, down: Factor, shape: Shape, mid: Factor | None = None) -> None:
        self.up, self.down, self.shape, self.mid = up, down, shape, mid

    def factors(self) -> tuple[Factor, ...]:
        """The two matrices, and the core."""
        return (self.up, self.down, self.mid) if self.mid else (self.up, self.down)

    def load(self, wide: str) -> Array:
        """The lower matrix, which the core is multiplied into."""
        down = self.down.whole(wide)
        if self.mid is None:
            return down
        rank = self.up.tensor.shape[1]
        core = self.mid.whole(wide).reshape(rank, down.shape[0], -1)
        return (down.T @ core).reshape(rank, -1)

    def rows(self, loaded: Any, first: int, last: int, wide: str) -> Array:
        """Rows of the upper matrix times the lower one."""
        product: Array = self.up.rows(first, last, wide) @ loaded
        return product

    def transposed(self) -> Delta | None:
        """The factors transposed, in the other order."""
        if self.mid is not None or len(self.shape) != 2:
            return None
        return LowRank(self.down.transposed(), self.up.transposed(), self.shape[::-1])


class Hadamard(Delta):
    """The elementwise product of two low-rank matrices: LoHa (Hyeon-Woo et al. 2021, FedPara, arXiv:2108.06098)."""

    def __init__(self, first: LowRank, second: LowRank) -> None:
        self.first, self.second, self.shape = first, second, first.shape

    def factors(self) -> tuple[Factor, ...]:
        """Those of both."""
        return (*self.first.factors(), *self.second.factors())

    def load(self, wide: str) -> Any:
        """What both take."""
        return self.first.load(wide), self.second.load(wide)

    def rows(self, loaded: Any, first: int, last: int, wide: str) -> Array:
        """The rows of one times those of the other."""
        product: Array = self.first.rows(loaded[0], first, last, wide) * self.second.rows(loaded[1], first, last, wide)
        return product


class Kronecker(Delta):
    """The Kronecker product of two small matrices, each whole or of low rank: LoKr (Edalati et al. 2022, KronA, arXiv:2212.10650)."""

    def __init__(self, left: Delta, right: Delta, shape: Shape) -> None:
        self.left, self.right, self.shape = left, right, shape

    def factors(self) -> tuple[Factor, ...]:
        """Those of both."""
        return (*self.left.factors(), *self.right.factors())

    def load(self, wide: str) -> Any:
        """Both matrices."""
        return tuple(each.rows(each.load(wide), 0, each.shape[0], wide) for each in (self.left, self.right))

    def rows(self, loaded: Any, first: int, last: int, wide: str) -> Array:
        """For each row, all products of a row of the left matrix and one of the right matrix."""
        import numpy

        left, right = loaded
        outer, inner = numpy.divmod(numpy.arange(first, last), right.shape[0])
        products: Array = (left[outer][:, :, None] * right[inner][:, None, :]).reshape(last - first, -1)
        return products


class Experts(Delta):
    """LoRA of stacked experts, a matrix each (peft tuners/lora/layer.py, ParamWrapper). They are one over the other.

    Args:
        down: experts · rank × inputs, expert by expert.
        up: outputs × rank · experts, rank by rank.
        count: how many experts there are.
        inputs_first: whether the base keeps each as inputs × outputs.
    """

    def __init__(self, down: Factor, up: Factor, count: int, inputs_first: bool) -> None:
        self.down, self.up, self.count, self.inputs_first = down, up, count, inputs_first
        outputs, inputs = up.tensor.shape[0], down.tensor.shape[1]
        self.each = (inputs, outputs) if inputs_first else (outputs, inputs)
        self.shape = (count * self.each[0], self.each[1])

    def factors(self) -> tuple[Factor, ...]:
        """The two matrices."""
        return self.down, self.up

    def load(self, wide: str) -> Any:
        """For each expert the factor of its rows, and that of its columns."""
        down = self.down.whole(wide).reshape(self.count, -1, self.down.tensor.shape[1])
        up = self.up.whole(wide).reshape(self.up.tensor.shape[0], -1, self.count)
        return (down.transpose(0, 2, 1), up.transpose(2, 1, 0)) if self.inputs_first else (up.transpose(2, 0, 1), down)

    def rows(self, loaded: Any, first: int, last: int, wide: str) -> Array:
        """Rows of one expert after the other."""
        import numpy

        height = self.each[0]
        parts = []
        while first < last:
            expert, row = divmod(first, height)
            end = min(height, row + last - first)
            parts.append(loaded[0][expert, row:end] @ loaded[1][expert])
            first += end - row
        return parts[0] if len(parts) == 1 else numpy.concatenate(parts)


class Dense(Delta):
    """A whole matrix of differences."""

    def __init__(self, factor: Factor, shape: Shape) -> None:
        self.factor, self.shape = factor, shape

    def factors(self) -> tuple[Factor, ...]:
        """The matrix."""
        return (self.factor,)

    def load(self, wide: str) -> None:
        """Nothing is kept."""

    def rows(self, loaded: Any, first: int, last: int, wide: str) -> Array:
        """Rows as they are in the file."""
        return self.factor.rows(first, last, wide)

    def transposed(self) -> Delta | None:
        """The matrix transposed."""
        return Dense(self.factor.transposed(), self.shape[::-1]) if len(self.shape) == 2 else None
