"""What a scheme may know of the tensor that it is to fill."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ..errors import EditError


class Named(Protocol):
    @property
    def name(self) -> str: ...


class Source(Protocol):
    """A tensor of another checkpoint."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Named: ...

    def tobytes(self) -> bytes: ...


def _nothing() -> bytes:
    raise EditError("the tensor has no present values")


def _closed(path: str) -> Mapping[str, Source]:
    raise EditError("other checkpoints cannot be opened here", where=path)


class Target(NamedTuple):
    """`dtype` is numpy's or ml_dtypes' name. `layout` is how its framework lays weights out: `oi` (torch: out×in, OIHW) or
    `io` (Keras: in×out, HWIO). `old` gives the present elements, C-contiguous and little-endian; `shapes` those of the whole
    checkpoint, for what depends on a sibling; `open` another checkpoint.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = "oi"
    old: Callable[[], bytes] = _nothing
    shapes: Mapping[str, tuple[int, ...]] = {}
    open: Callable[[str], Mapping[str, Source]] = _closed


def layout_of(target: Target) -> str:
    """`io` for a matrix whose bias says that it lies in×out, as GPT-2's Conv1D does, and for that bias; else the target's own layout."""
    weight = weight_beside(target) if len(target.shape) == 1 else target.shape
    bias = target.shape if len(target.shape) == 1 else target.shapes.get(re.sub(r"weight$", "bias", target.name))
    told = weight is not None and len(weight) == 2 and bias == weight[1:] and bias != weight[:1]
    return "io" if told and target.layout == "oi" else target.layout


_TWINS = (
    (re.compile(r"(?<![a-z])(bias|beta|b)(?=(:0)?$)"), ("weight", "kernel", "gamma", "w", "embeddings")),
    (re.compile(r"(?<=vars/)\d+$"), ("0",)),  # Keras 3 numbers the variables of a layer
)


def weight_beside(target: Target) -> tuple[int, ...] | None:
    """The shape of the weight that this bias belongs to, where the checkpoint has one beside it."""
    for leaf, twins in _TWINS:
        for twin in twins:
            name = leaf.sub(twin, target.name)
            if name != target.name and name in target.shapes:
                return target.shapes[name]
    return None
