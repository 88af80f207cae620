"""Losses: what is made of a network's output, and of a target where it takes one, to have a number to go down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .network import running

if TYPE_CHECKING:
    from torch import Tensor

LOSSES = ("mse", "sum", "cross_entropy")


def checked(kind: str, output: Any) -> Tensor:
    """The output, where it is one tensor that a loss can be made of."""
    import torch

    if not isinstance(output, torch.Tensor):
        raise UsageError(f"the network gives a {type(output).__name__}, not one tensor", "name a module that gives one with --arch")
    if kind == "cross_entropy" and output.ndim < 1:
        raise UsageError("cross_entropy needs scores of classes, the network gives a scalar", "give another --loss")
    return output


def loss(kind: str, output: Any, target: Tensor | None) -> Tensor:
    """`sum`: of all outputs. `mse`: the mean of the squared differences. `cross_entropy`: torch's, of scores against classes.

    Classes are whole numbers, or floats: the probability of each. Raises UsageError where the target is not of the shape that this takes.
    """
    import torch
    from torch.nn import functional

    output = checked(kind, output)
    if kind == "sum":
        return torch.sum(output)
    if target is None:
        raise UsageError(f"{kind} needs a target")
    wanted = wanted_shapes(kind, tuple(output.shape), target.dtype.is_floating_point)
    if tuple(target.shape) != wanted:
        given, made = by(tuple(target.shape)), by(tuple(output.shape))
        raise UsageError(f"{kind} takes a target of {by(wanted)} for an output of {made}, this one is {given}")
    if kind == "mse":
        return functional.mse_loss(output, target.to(output.dtype))
    with running("the loss cannot be computed"):
        value: Tensor = functional.cross_entropy(output, target.to(output.dtype) if target.dtype.is_floating_point else target)
    return value


def wanted_shapes(kind: str, output: tuple[int, ...], probabilities: bool) -> tuple[int, ...]:
    """The shape of the target: that of the output; for classes, without the axis of the classes (the second, or the only one)."""
    if kind == "mse" or probabilities:
        return output
    return (output[0], *output[2:]) if len(output) > 1 else ()


def usual(target: Tensor | None) -> str:
    """The loss where none is named: `sum` without a target, `cross_entropy` for whole numbers, else `mse`."""
    if target is None:
        return "sum"
    return "mse" if target.dtype.is_floating_point else "cross_entropy"


def by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"
