"""`cast`: another dtype, converted as the bytes go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..checkpoint import Checkpoint, Tensor
from ..dtypes import DType
from ..selection import Layers, no_layers, select


def cast(checkpoint: Checkpoint, to: DType, patterns: Sequence[str] = (), layers: Layers = no_layers) -> Checkpoint:
    """What the patterns pick, in dtype `to`. Without a pattern: every floating-point tensor, so that counters and masks stay what they are.

    What is tied stays tied. Values are rounded to nearest even; integers that do not fit are an error when they are written.
    """
    names = select(checkpoint, patterns, layers) if patterns else [name for name in checkpoint if _is_number_like(checkpoint[name], to)]
    done: dict[Any, Tensor] = {}
    tensors = dict(checkpoint.tensors)
    for name in names:
        tensor = tensors[name].plain(name)
        if tensor.dtype != to:
            tensors[name] = done.setdefault(tensor.key, tensor.cast(to))
    return checkpoint.replacing(tensors=tensors)


def _is_number_like(tensor: Tensor, to: DType) -> bool:
    kinds = "fc" if to.kind == "c" else "f" if to.kind == "f" else "biufc"
    return not tensor.layout and tensor.dtype.addressable and tensor.dtype.kind in kinds and tensor.dtype.name != "complex32"
