"""`cast`: another dtype, converted as the bytes go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import EditError
from ..numbers.dtypes import DType
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, no_layers, select
from ..tensors.tensor import Tensor


def cast(checkpoint: Checkpoint, to: DType, patterns: Sequence[str] = (), layers: Layers = no_layers) -> Checkpoint:
    """What the patterns pick, in dtype `to`. Without a pattern: every floating-point tensor, so that counters and masks stay what they are;
    optimizers count their steps in float32, which is no reason to round them.

    What is tied follows, whichever of its names is picked.
    Values are rounded to nearest even; integers that do not fit are an error when they are written.
    """
    if to.kind == "q":
        raise EditError(f"nothing is cast to {to.name}: values are not quantised here", "cast to a float")
    names = (
        select(checkpoint, patterns, layers)
        if patterns
        else [name for name in checkpoint if _is_number_like(checkpoint[name], to) and not _counts(name, checkpoint[name])]
    )
    done: dict[Any, Tensor] = {}
    for name in names:
        tensor = checkpoint[name]
        tensor.decoded(name)  # refused where it has no numbers
        if tensor.dtype != to and tensor.key not in done:
            done[tensor.key] = tensor.cast(to, name)
    return checkpoint.replacing(tensors={name: done.get(tensor.key, tensor) for name, tensor in checkpoint.items()})


def _is_number_like(tensor: Tensor, to: DType) -> bool:
    kinds = "fc" if to.kind == "c" else "f" if to.kind == "f" else "biufc"
    return tensor.numeric and (tensor.dtype.kind in kinds or tensor.dtype.kind == "q") and tensor.dtype.name != "complex32"


def _counts(name: str, tensor: Tensor) -> bool:
    return name.endswith(".step") and tensor.shape == ()
