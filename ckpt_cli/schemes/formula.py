"""Schemes that give the values themselves: computed by a formula, or listed."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from ..errors import EditError, UsageError
from ..numbers.dtypes import named
from ..numbers.values import caster
from .distribution import Computed, Distribution, InPlace
from .packed_values import unpacked
from .scheme import scheme
from .target import Target

if TYPE_CHECKING:
    from torch import Generator, Tensor


@scheme("pytorch")
def formula(target: Target, text: str) -> Distribution:
    """w = the value of the text, broadcast to the shape: `formula('log(arange(1, 17))')`

    The text is an expression of numbers, `+ - * / // % **`, comparisons, subscripts, and functions of torch by their plain names, which
    take what torch's take: `arange`, `cat((a, b), 1)`, `where`, `to(x, float64)`. `uniform(a, b)`, `normal(mean, std)`,
    `trunc_normal`, `orthogonal`, `randint` and others draw a tensor of the target's shape, or of size=(3, 4). `shape` is the target's
    shape. Values are named by `x = arange(4);` and changed in part by `x[::2] = 0;` before the last expression. Nothing else is
    understood, and nothing of the text is run as code. Sizes are checked before anything is computed.
    """
    from .formula_evaluation import evaluated, without_warnings
    from .formula_syntax import is_random, parsed
    from .seeds import import_torch

    statements = parsed(text)
    import_torch()
    _require_shape(evaluated(statements, target.shape, "meta"), target)

    def fill(tensor: Tensor, generator: Generator) -> None:
        value = evaluated(statements, target.shape, "cpu", generator)
        with without_warnings():
            tensor.copy_(value) if hasattr(value, "shape") else tensor.fill_(value)

    return InPlace(f"formula({text!r})", fill, random=is_random(statements))


@scheme("pytorch")
def values(target: Target, data: str, dtype: str = "float32") -> Distribution:
    """w = the values listed in `data`: little-endian elements of `dtype` in C order, compressed by zlib, in base64

    For small tensors that no formula gives. Another dtype of the tensor is cast to, to nearest even.
    """
    kind = named(dtype)
    if not kind.addressable:
        raise UsageError(f"{dtype} has no plain elements", "give the dtype of the values, such as float32")
    size = prod(target.shape) * kind.nbytes
    unpacked(data, size)

    def elements() -> bytes:
        raw = unpacked(data, size)
        return raw if kind.name == target.dtype else bytes(caster(kind, named(target.dtype))(raw))

    return Computed(f"{prod(target.shape)} values", elements)


def _require_shape(value: object, target: Target) -> None:
    """Refuse a value that does not broadcast to the target's shape, or is neither a tensor nor a number."""
    import torch

    if not isinstance(value, torch.Tensor | int | float):
        raise UsageError("the formula gives no number and no tensor", "see `ckpt schemes formula`")
    shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
    try:
        fits = torch.broadcast_shapes(shape, target.shape) == target.shape  # type: ignore[no-untyped-call]
    except RuntimeError:
        fits = False
    if not fits:
        raise EditError(f"the formula gives the shape {shape}, not {target.shape}", "reshape(x, shape) where the order agrees", target.name)
