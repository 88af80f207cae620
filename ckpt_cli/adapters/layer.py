"""What an adapter keeps for one layer, as its program wrote it, before it is known what layer of the base that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ..errors import EditError
from ..numbers.shapes import show_shape
from ..tensors.tensor import Tensor
from .deltas import Factor, matrix
from .operations import Placeable


class Part(NamedTuple):
    """A tensor of an adapter, and its name there."""

    key: str
    tensor: Tensor


@dataclass
class Layer:
    """The tensors for one layer.

    Attributes:
        component: which model of a pipeline it belongs to, as the names say; empty where they say nothing.
        module: the path of the layer, without what names the component. Its dots are underscores where the naming is flat.
        parts: the tensors by what they are: `down`, `up`, `alpha`, …
        indices: the rows that they are for, where they are for some rows only.
        experts: the parameters of stacked experts that they may be for, with the rank of one expert and the scale.
    """

    component: str
    module: str
    parts: dict[str, Part] = field(default_factory=dict)
    indices: tuple[int, ...] = ()
    experts: dict[str, tuple[int, float]] = field(default_factory=dict)

    def add(self, role: str, key: str, tensor: Tensor) -> None:
        """Add a tensor. Raises EditError where there is one already."""
        if role in self.parts:
            raise EditError(f"{self.parts[role].key} and {key} mean the same layer", "drop one of them: ckpt drop")
        self.parts[role] = Part(key, tensor)

    @property
    def key(self) -> str:
        """The name of one of its tensors, for messages."""
        return next(part.key for role, part in self.parts.items() if role != "alpha" or len(self.parts) == 1)

    def factor(self, role: str, axes: int = 0) -> Factor:
        """Return a part as a matrix.

        Args:
            role: which part.
            axes: how many axes it has at least; 2 where it is none.

        Raises:
            EditError: it has fewer, is empty, or holds no numbers.
        """
        key, tensor = self.parts[role]
        if len(tensor.shape) < axes or 0 in tensor.shape:
            raise EditError(f"{key} is {show_shape(tensor.shape) or 'a single number'}: no matrix of a layer", "save the adapter again")
        numbers = tensor.decoded(key)
        if numbers.dtype.kind != "f":
            raise EditError(f"{key} is {numbers.dtype.name}: floats are needed")
        return Factor(key, matrix(numbers if numbers.shape else Tensor.whole(numbers.dtype, (1,), numbers.elements())))


class Need(Enum):
    """What a base has to have for a change."""

    THERE = "the tensor has to be there"
    IF_THERE = "where it is not, nothing is changed"
    OR_NEW = "where it is not, it is added"


class Change(NamedTuple):
    """A change of one tensor of the base.

    Attributes:
        layer: the layer that it comes from.
        operations: what is done to the tensor, by what it is called in its layer: `weight`, `bias`; empty where the path of the
            layer is the tensor's own name. Of several, the one whose shape fits.
        need: whether the base has to have the tensor.
    """

    layer: Layer
    operations: Mapping[str, Placeable]
    need: Need = Need.THERE

    @property
    def operation(self) -> Placeable:
        """The first of the operations; mostly there is one."""
        return next(iter(self.operations.values()))

    @property
    def key(self) -> str:
        """The name of a tensor of the adapter, for messages."""
        return self.layer.key
