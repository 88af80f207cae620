"""What an adapter puts in the place of a tensor, or of some of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..storage.storage import Storage
from ..tensors.tensor import Tensor
from .deltas import Factor, Shape
from .operations import InputsFirst, Operation, Read

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


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

    def placed(self, shape: Shape, inputs_first: InputsFirst) -> Operation | None:
        """Itself, for a tensor of this shape, or of another number of rows."""
        return self if self.tensor.shape == shape or self.resizes(shape) else None

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
