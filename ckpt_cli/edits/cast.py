"""`cast`: another dtype. Values are converted as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.dtypes import DType
from ..packing import dequantised, refuse_cast
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, no_layers, select
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    from .steps import Verb


def cast(
    checkpoint: Checkpoint, to: DType, patterns: Sequence[str] = (), layers: Layers = no_layers, dequantise: bool = False
) -> Checkpoint:
    """Cast tensors to the dtype `to`. Tied tensors are cast together, whichever of their names a pattern matches.

    Args:
        checkpoint: The checkpoint.
        to: The new dtype. Values are rounded to nearest even.
        patterns: Which tensors. If there are none: every floating-point tensor, so that counters and masks stay what they are, but for the
            step counts of optimizers, which are float32 and must not be rounded.
        layers: Gives the types of layers, for patterns `@Type`.
        dequantise: Whether packed parameters are decoded first; patterns then pick plain names.

    Raises:
        EditError: A part of a packed parameter is to be cast, or `to` is a quantised dtype. An integer that does not fit is an error when
            the result is written.
        NoMatch: A pattern matches nothing.
        Opaque: A tensor that a pattern matches has no plain elements.
    """
    if to.kind == "q":
        raise EditError(f"nothing is cast to {to.name}: values are not quantised here", "cast to a float")
    if dequantise:
        checkpoint = dequantised(checkpoint)
    names = (
        select(checkpoint, patterns, layers)
        if patterns
        else [name for name in checkpoint if _is_cast_by_default(checkpoint[name], to) and not _is_step_count(name, checkpoint[name])]
    )
    if not dequantise:
        refuse_cast(checkpoint, set(names) if patterns else None)
    cast_tensors: dict[Any, Tensor] = {}
    for name in names:
        tensor = checkpoint[name]
        tensor.decoded(name)  # raises Opaque where it has no numbers
        if tensor.dtype != to and tensor.key not in cast_tensors:
            cast_tensors[tensor.key] = tensor.cast(to, name)
    return checkpoint.replacing(tensors={name: cast_tensors.get(tensor.key, tensor) for name, tensor in checkpoint.items()})


def _is_cast_by_default(tensor: Tensor, to: DType) -> bool:
    kinds = "fc" if to.kind == "c" else "f" if to.kind == "f" else "biufc"
    return tensor.numeric and (tensor.dtype.kind in kinds or tensor.dtype.kind == "q") and tensor.dtype.name != "complex32"


def _is_step_count(name: str, tensor: Tensor) -> bool:
    return name.endswith(".step") and tensor.shape == ()


def recipe_step() -> Verb:
    """The step `cast = DTYPE` of a recipe, with `patterns` and `dequantise`."""
    from ..numbers.dtypes import named
    from .steps import TEXT, TEXTS, TRUTH, Context, Outcome, Table, Verb

    def make(checkpoint: Checkpoint, table: Table, context: Context) -> Outcome:
        layers = context.layers_of(checkpoint, table)
        return Outcome(cast(checkpoint, named(table["cast"]), table.get("patterns", ()), layers, table.get("dequantise", False)))

    return Verb({"cast": TEXT, "patterns": TEXTS, "dequantise": TRUTH, "arch": TEXT}, make, lambda table: named(table["cast"]))
