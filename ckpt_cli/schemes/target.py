"""What a scheme knows of the tensor to fill."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from ..errors import EditError


class Layout(StrEnum):
    """The order of a weight's axes: OUT_IN is out×in×kernel (torch, MXNet), IN_OUT is kernel×in×out (Keras)."""

    OUT_IN = "oi"
    IN_OUT = "io"


class Named(Protocol):
    """Anything with a name, such as a dtype."""

    @property
    def name(self) -> str:
        """Its name."""


class Source(Protocol):
    """A tensor of another checkpoint."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""

    @property
    def dtype(self) -> Named:
        """The dtype, which has numpy's or ml_dtypes' name."""

    def tobytes(self) -> bytes:
        """Return the elements, C-contiguous and little-endian."""


def _no_old_values() -> bytes:
    raise EditError("the tensor has no present values")


def _opens_nothing(path: str) -> Mapping[str, Source]:
    raise EditError("other checkpoints cannot be opened here", where=path)


class Target(NamedTuple):
    """A tensor to fill.

    Attributes:
        name: the tensor's name in the checkpoint.
        shape: the size of each axis.
        dtype: the dtype's name in numpy or ml_dtypes.
        layout: how the framework of the checkpoint orders the axes of a weight, a Layout.
        old: returns the present elements, C-contiguous and little-endian.
        shapes: the shapes of all tensors of the checkpoint, by name, for schemes that depend on a sibling.
        open: opens another checkpoint by its path.
        config: the entries of the config beside the checkpoint (`initializer_range`, `pad_token_id`), not checked.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = Layout.OUT_IN
    old: Callable[[], bytes] = _no_old_values
    shapes: Mapping[str, tuple[int, ...]] = {}
    open: Callable[[str], Mapping[str, Source]] = _opens_nothing
    config: Mapping[str, object] = {}


def layout_of(target: Target) -> str:
    """Return the target's layout, corrected by the bias beside it.

    A matrix in×out beside a bias of `out` elements is IN_OUT, and so is that bias, even where the framework is OUT_IN: GPT-2's Conv1D
    in transformers stores such weights.
    """
    weight = weight_beside(target) if len(target.shape) == 1 else target.shape
    bias = target.shape if len(target.shape) == 1 else target.shapes.get(re.sub(r"weight$", "bias", target.name))
    bias_fits_in_out_only = weight is not None and len(weight) == 2 and bias == weight[1:] and bias != weight[:1]
    return Layout.IN_OUT if bias_fits_in_out_only and target.layout == Layout.OUT_IN else target.layout


# (how a bias's name ends, what the name of its weight has there)
_WEIGHT_NAMES = (
    (re.compile(r"(?<![a-z])(bias|beta|b)(?=(:0)?$)"), ("weight", "kernel", "gamma", "w", "embeddings")),
    (re.compile(r"(?<=vars/)\d+$"), ("0",)),  # Keras 3 numbers the variables of a layer
)


def weight_beside(target: Target) -> tuple[int, ...] | None:
    """Return the shape of the weight in the layer of this bias; None where the checkpoint has none."""
    for bias, weights in _WEIGHT_NAMES:
        for weight in weights:
            name = bias.sub(weight, target.name)
            if name != target.name and name in target.shapes:
                return target.shapes[name]
    return None
