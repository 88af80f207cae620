"""What a map gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..tensors.tensor import Tensor


class Outcome(NamedTuple):
    """What a map makes of a checkpoint.

    Attributes:
        tensors: the tensors under their new names, in order.
        unknown: the names that the map does not cover.
        dropped: the names that the map leaves out.
        notes: what the user is told of the result, a line each.
        sources: the old names that each new one is made of, where they are not the same.
    """

    tensors: dict[str, Tensor]
    unknown: list[str]
    dropped: list[str]
    notes: list[str]
    sources: Mapping[str, tuple[str, ...]]
