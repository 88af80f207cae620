"""What an adapter does to a tensor of the base: add to it, rescale it, or take its place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..numbers.shapes import numel_of
from ..storage.storage import Storage
from .deltas import Delta, Experts, Factor, Shape

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


Read = Callable[[int, int], "Array"]  # returns rows of the base, in the dtype that is computed in


class InputsFirst(NamedTuple):
    """Whether a base keeps inputs × outputs where shapes do not tell: its matrices (GPT-2's Conv1D), its stacked experts."""

    matrices: bool = False
    experts: bool = False


class Placeable(ABC):
    """A change of a tensor that is not found yet.

    Attributes:
        shape: the shape that the tensor has to have, but for axes of one element at its end.
    """

    shape: Shape

    @abstractmethod
    def placed(self, shape: Shape, inputs_first: InputsFirst) -> Operation | None:
        """Return the change as it is for a tensor of this shape; None where it does not fit."""


class Operation(Placeable):
    """One change of one tensor."""

    def placed(self, shape: Shape, inputs_first: InputsFirst) -> Operation | None:
        """The change itself, or that of the transposed matrix, where the base keeps it so."""
        straight, turned = self.fits(shape), self.transposed()
        if turned is not None and turned.fits(shape) and (not straight or inputs_first.matrices):
            return turned
        return self if straight else None

    def columns(self, shape: Shape) -> int:
        """Return how many columns a tensor of this shape has as the matrix whose rows are changed."""
        return numel_of(shape[1:])

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

    def columns(self, shape: Shape) -> int:
        """Those of one expert, where experts are stacked."""
        return self.delta.shape[1] if isinstance(self.delta, Experts) else numel_of(shape[1:])

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
class AddToExperts(Placeable):
    """W + scale · Δ for each of the experts that a base stacks, in three axes or one over the other.

    Attributes:
        down: as `deltas.Experts` has it.
        up: as there.
        scale: the scale.
        rank: the rank of one expert.
    """

    down: Factor
    up: Factor
    scale: float
    rank: int

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """As it is stacked where outputs come first."""
        return (self.down.tensor.shape[0] // self.rank, self.up.tensor.shape[0], self.down.tensor.shape[1])

    def placed(self, shape: Shape, inputs_first: InputsFirst) -> Operation | None:
        """The sum, where all experts are there and as large."""
        count, outputs, inputs = self.shape
        ways = [first for first in (inputs_first.experts, not inputs_first.experts) if shape in _stacks(count, outputs, inputs, first)]
        return Add(Experts(self.down, self.up, count, ways[0]), self.scale) if ways else None


def _stacks(count: int, outputs: int, inputs: int, inputs_first: bool) -> tuple[Shape, Shape]:
    rows, columns = (inputs, outputs) if inputs_first else (outputs, inputs)
    return (count, rows, columns), (count * rows, columns)


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
