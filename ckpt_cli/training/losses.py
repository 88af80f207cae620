"""Losses: one number, made of a network's output and, except for `sum`, a target."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..numbers.shapes import show_shape
from .network import usage_errors

if TYPE_CHECKING:
    from torch import Tensor


class Loss(StrEnum):
    """The losses that --loss names."""

    mse = "mse"
    sum = "sum"
    cross_entropy = "cross_entropy"


def require_output(kind: str, output: Any) -> Tensor:
    """Return the output of the network if a loss of this kind can be made of it.

    Raises:
        UsageError: it is not one tensor, or it is a scalar and cross_entropy needs scores.
    """
    import torch

    if not isinstance(output, torch.Tensor):
        raise UsageError(f"the network gives a {type(output).__name__}, not one tensor", "name a module that gives one with --arch")
    if kind == Loss.cross_entropy and output.ndim < 1:
        raise UsageError("cross_entropy needs scores of classes, the network gives a scalar", "give another --loss")
    return output


def loss(kind: str, output: Any, target: Tensor | None) -> Tensor:
    """Return the loss, a tensor of one element.

    Args:
        kind: `sum` of all outputs; `mse`, the mean of the squared differences; or `cross_entropy`, torch's, of scores against classes.
        output: what the network returned. For cross_entropy: samples × classes × …, or the classes of one sample.
        target: None for `sum`. For mse, floats of the output's shape. For cross_entropy, whole numbers of the output's shape without
            the axis of the classes, or floats of the output's shape: the probability of each class.

    Raises:
        UsageError: there is no target, or it has another shape.
    """
    import torch
    from torch.nn import functional

    output = require_output(kind, output)
    if kind == Loss.sum:
        return torch.sum(output)
    if target is None:
        raise UsageError(f"{kind} needs a target")
    wanted = target_shape(kind, tuple(output.shape), target.dtype.is_floating_point)
    if tuple(target.shape) != wanted:
        given, made = shape_text(tuple(target.shape)), shape_text(tuple(output.shape))
        raise UsageError(f"{kind} takes a target of {shape_text(wanted)} for an output of {made}, this one is {given}")
    if kind == Loss.mse:
        return functional.mse_loss(output, target.to(output.dtype))
    with usage_errors("the loss cannot be computed"):
        value: Tensor = functional.cross_entropy(output, target.to(output.dtype) if target.dtype.is_floating_point else target)
    return value


def target_shape(kind: str, output: tuple[int, ...], probabilities: bool) -> tuple[int, ...]:
    """Return the shape of the target: that of the output; for classes, without their axis (the second, or the only one)."""
    if kind == Loss.mse or probabilities:
        return output
    return (output[0], *output[2:]) if len(output) > 1 else ()


def default_loss(target: Tensor | None) -> str:
    """Return the loss where none is named: `sum` without a target, `cross_entropy` for whole numbers, else `mse`."""
    if target is None:
        return Loss.sum.value
    return Loss.mse.value if target.dtype.is_floating_point else Loss.cross_entropy.value


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as messages say it: `2x4`, or `one number` where it has no axes."""
    return show_shape(shape) if shape else "one number"
