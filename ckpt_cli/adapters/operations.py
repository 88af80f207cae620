"""What an adapter does to a tensor of the base: add to it, rescale it, or take its place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.shapes import numel_of
from ..storage.storage import Storage
from ..tensors.tensor import Tensor
from .deltas import Delta, Factor, Shape

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]
    Read = Callable[[int, int], Array]  # returns rows of the base, in the dtype that is computed in

_SLAB = 1 << 18  # elements that are read at once where a norm goes over all rows


class Operation(ABC):
    """One change of one tensor.

    Attributes:
        shape: the shape that the tensor has to have, but for axes of one element at its end.
    """

    shape: Shape

    def fits(self, shape: Shape) -> bool:
        """Return whether a tensor of this shape can be changed. A matrix also changes a kernel of as many rows and elements."""
        if len(self.shape) == 2 and shape[:1] == self.shape[:1]:
            return numel_of(shape) == numel_of(self.shape)
        return _without_ones(self.shape) == _without_ones(shape)

    def transposed(self) -> Operation | None:
        """Return the change of the transposed matrix; None where there is none."""
        return None

    def scaled(self, by: float) -> Operation:
        """Return the change with the user's own scale."""
        return self

    @abstractmethod
    def sources(self) -> tuple[Storage, ...]:
        """Return the storages that it reads."""

    @abstractmethod
    def load(self, read: Read, wide: str) -> Any:
        """Return what all rows take. `read` gives rows of the base."""

    @abstractmethod
    def apply(self, block: Array, base: Array, loaded: Any, first: int) -> Array:
        """Return the rows from `first` on, changed.

        Args:
            block: the rows as the adapters before this one left them.
            base: the same rows as they were at first.
            loaded: what `load` returned.
            first: the index of the first row.
        """


def _without_ones(shape: Shape) -> Shape:
    end = len(shape)
    while end > 1 and shape[end - 1] == 1:
        end -= 1
    return shape[:end]


@dataclass(frozen=True)
class Add(Operation):
    """W + scale · Δ."""

    delta: Delta
    scale: float

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The shape of the delta."""
        return self.delta.shape

    def transposed(self) -> Operation | None:
        """The delta transposed."""
        delta = self.delta.transposed()
        return replace(self, delta=delta) if delta else None

    def scaled(self, by: float) -> Operation:
        """The scale times the user's."""
        return replace(self, scale=self.scale * by)

    def sources(self) -> tuple[Storage, ...]:
        """Those of the delta."""
        return self.delta.sources()

    def load(self, read: Read, wide: str) -> Any:
        """What the delta takes."""
        return self.delta.load(wide)

    def apply(self, block: Array, base: Array, loaded: Any, first: int) -> Array:
        """The sum."""
        return block + self._change(block, loaded, first)

    def _change(self, block: Array, loaded: Any, first: int) -> Array:
        change: Array = self.delta.rows(loaded, first, first + len(block), str(block.dtype)) * block.dtype.type(self.scale)
        return change


@dataclass(frozen=True)
class Decomposed(Add):
    """DoRA: (W + scale · Δ) · m / ‖W₀ + scale · Δ‖, norms along one axis (Liu et al. 2024, arXiv:2402.09353; peft tuners/lora/dora.py).

    Attributes:
        magnitude: m, one number for each row, or for each group of columns.
        by_rows: whether a norm is that of a row; else that of `group` columns next to each other.
        group: the columns that share a norm: the elements of a kernel.
        interpolates: whether the user's scale goes from the base to the result (LyCORIS, ComfyUI); in PEFT it is a part of `scale`.
        strength: that scale.
    """

    magnitude: Factor
    by_rows: bool = True
    group: int = 1
    interpolates: bool = False
    strength: float = 1.0

    def scaled(self, by: float) -> Operation:
        """The user's scale, where it belongs."""
        return replace(self, strength=self.strength * by) if self.interpolates else replace(self, scale=self.scale * by)

    def transposed(self) -> Operation | None:
        """The delta transposed, and norms along the other axis."""
        delta = self.delta.transposed()
        return replace(self, delta=delta, by_rows=not self.by_rows) if delta else None

    def sources(self) -> tuple[Storage, ...]:
        """Those of the delta, and the magnitudes."""
        return (*self.delta.sources(), self.magnitude.elements)

    def load(self, read: Read, wide: str) -> Any:
        """What the delta takes, the magnitudes, and norms of columns, for which all rows are read once more."""
        loaded, magnitude = self.delta.load(wide), self.magnitude.whole(wide).reshape(-1)
        if self.by_rows:
            return loaded, magnitude
        return loaded, self._factors(magnitude, self._column_norms(read, loaded))

    def _column_norms(self, read: Read, loaded: Any) -> Array:
        import numpy

        rows, columns = self.shape[0], numel_of(self.shape[1:])
        step = max(1, _SLAB // max(1, columns))
        squares = numpy.zeros(columns // self.group, "float64")
        for first in range(0, rows, step):
            block = read(first, min(first + step, rows))
            changed = block + self._change(block, loaded, first)
            squares += (changed.astype("float64") ** 2).sum(axis=0).reshape(-1, self.group).sum(axis=1)
        return numpy.sqrt(squares)

    def _factors(self, magnitude: Array, norms: Array) -> Array:
        import numpy

        if not norms.all():
            raise EditError("a norm of DoRA is 0", "the base is not the one that the adapter was trained on")
        return numpy.asarray(magnitude / norms.astype(magnitude.dtype))

    def apply(self, block: Array, base: Array, loaded: Any, first: int) -> Array:
        """The sum, each row or column brought to its magnitude."""
        import numpy

        parts, factors = loaded
        change = self._change(block, parts, first)
        if self.by_rows:
            norms = numpy.linalg.norm(base + change, axis=1)
            factors = self._factors(factors[first : first + len(block)], norms)[:, None]
        elif self.group > 1:
            factors = numpy.repeat(factors, self.group)
        changed = (block + change) * factors
        return numpy.asarray(changed if self.strength == 1 else block + block.dtype.type(self.strength) * (changed - block))


@dataclass(frozen=True)
class Multiply(Operation):
    """W · v, for each row or each column: (IA)³ (Liu et al. 2022, arXiv:2205.05638; peft tuners/ia3/layer.py)."""

    factor: Factor
    shape: Shape
    by_rows: bool
    scale: float = 1.0

    def fits(self, shape: Shape) -> bool:
        """Whether the axis has as many elements."""
        size = numel_of(self.factor.tensor.shape)
        return bool(shape) and (shape[0] if self.by_rows else numel_of(shape[1:])) == size

    def transposed(self) -> Operation | None:
        """The other axis."""
        return replace(self, by_rows=not self.by_rows)

    def scaled(self, by: float) -> Operation:
        """1 + scale · (v − 1), so that 0 changes nothing."""
        return replace(self, scale=self.scale * by)

    def sources(self) -> tuple[Storage, ...]:
        """The vector."""
        return (self.factor.elements,)

    def load(self, read: Read, wide: str) -> Any:
        """The vector."""
        vector = self.factor.whole(wide).reshape(-1)
        return vector if self.scale == 1 else 1 + vector.dtype.type(self.scale) * (vector - 1)

    def apply(self, block: Array, base: Array, loaded: Any, first: int) -> Array:
        """The product."""
        product: Array = block * (loaded[first : first + len(block), None] if self.by_rows else loaded)
        return product


@dataclass(frozen=True)
class ReplaceRows(Operation):
    """Some rows of the adapter's own, in place of the base's: tokens that were trained alone (peft tuners/trainable_tokens/layer.py)."""

    factor: Factor
    indices: tuple[int, ...]

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The least shape that has all of these rows."""
        return (max(self.indices) + 1, self.factor.tensor.shape[1])

    def fits(self, shape: Shape) -> bool:
        """Whether the rows are there, and as long."""
        return len(shape) == 2 and shape[0] >= self.shape[0] and shape[1] == self.shape[1]

    def sources(self) -> tuple[Storage, ...]:
        """The rows."""
        return (self.factor.elements,)

    def load(self, read: Read, wide: str) -> Any:
        """The rows."""
        return self.factor.whole(wide)

    def apply(self, block: Array, base: Array, loaded: Any, first: int) -> Array:
        """The block with the adapter's rows in it."""
        made = block.copy()
        for row, index in zip(loaded, self.indices, strict=True):
            if first <= index < first + len(block):
                made[index - first] = row
        return made


@dataclass(frozen=True)
class Replace(Operation):
    """The adapter's own tensor in place of the base's: a head that was trained as a whole, embeddings that were resized."""

    key: str
    tensor: Tensor

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The shape of the tensor."""
        return self.tensor.shape

    def resizes(self, shape: Shape) -> bool:
        """Return whether a tensor of this shape differs by its number of rows alone: a vocabulary that grew."""
        return len(shape) == 2 and self.tensor.shape[1:] == shape[1:]

    def sources(self) -> tuple[Storage, ...]:
        """The tensor."""
        return (self.tensor.elements(),)

    def load(self, read: Read, wide: str) -> None:
        """Nothing: it is taken over before anything is computed."""

    def apply(self, block: Array, base: Array, loaded: Any, first: int) -> Array:
        """The rows as they are."""
        return block
