"""Schemes that give every element the same value. They need no torch."""

from __future__ import annotations

from .distribution import Constant, Distribution
from .scheme import scheme
from .target import Target


@scheme("pytorch")
def constant(target: Target, val: complex) -> Distribution:
    """w = val

    torch.nn.init.constant_. A value that the dtype cannot hold is an error.
    """
    return Constant(val)


@scheme("pytorch")
def ones(target: Target) -> Distribution:
    """w = 1

    torch.nn.init.ones_, Keras' Ones.
    """
    return Constant(1)


@scheme("pytorch")
def zeros(target: Target) -> Distribution:
    """w = 0

    torch.nn.init.zeros_, Keras' Zeros.
    """
    return Constant(0)
