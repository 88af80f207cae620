"""MXNet's initialisers, by the formulas of MXNet 1.9 (python/mxnet/initializer.py), drawn by torch's generator.

Each is registered under two names: Xavier is `mxnet.Xavier` and `Xavier`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec

from ..errors import EditError
from . import distribution
from .distribution import Distribution, InPlace
from .matrices import require_dimensions
from .scaling import scaled
from .scheme import Scheme, scheme, schemes
from .target import Target

if TYPE_CHECKING:
    from torch import Generator, Tensor

P = ParamSpec("P")
Factor = Literal["avg", "in", "out"]


def initialiser(function: Callable[Concatenate[Target, P], Distribution]) -> Scheme[P]:
    """Register a function as the scheme `mxnet.NAME`, and under its bare name."""
    registered = scheme("mxnet", f"mxnet.{function.__name__}")(function)
    schemes.add(function.__name__, registered)
    return registered


@initialiser
def Zero(target: Target) -> Distribution:
    """w = 0

    mxnet.init.Zero.
    """
    return distribution.Constant(0)


@initialiser
def One(target: Target) -> Distribution:
    """w = 1

    mxnet.init.One.
    """
    return distribution.Constant(1)


@initialiser
def Constant(target: Target, value: complex) -> Distribution:
    """w = value

    mxnet.init.Constant.
    """
    return distribution.Constant(value)


@initialiser
def Uniform(target: Target, scale: float = 0.07) -> Distribution:
    """w ~ U(−scale, scale)

    mxnet.init.Uniform, the default of Gluon's layers.
    """
    return distribution.Uniform(-scale, scale)


@initialiser
def Normal(target: Target, sigma: float = 0.01) -> Distribution:
    """w ~ N(0, sigma²)

    mxnet.init.Normal.
    """
    return distribution.Normal(0.0, sigma)


@initialiser
def Xavier(
    target: Target, rnd_type: Literal["uniform", "gaussian"] = "uniform", factor_type: Factor = "avg", magnitude: float = 3, fan: str = ""
) -> Distribution:
    """w ~ U(−c, c) or N(0, c²), c = √(magnitude / n), n = fan_in, fan_out or their mean by factor_type

    Glorot & Bengio 2010. mxnet.init.Xavier: c is the bound or the standard deviation, by rnd_type.
    """
    variance = magnitude / 3 if rnd_type == "uniform" else magnitude
    kind: Any = "uniform" if rnd_type == "uniform" else "untruncated_normal"
    return scaled(target, fan, f"fan_{factor_type}", kind, lambda n: sqrt(variance / n))


@initialiser
def MSRAPrelu(target: Target, factor_type: Factor = "avg", slope: float = 0.25, fan: str = "") -> Distribution:
    """w ~ N(0, σ²), σ = √(2 / (1 + slope²) / n), n = fan_in, fan_out or their mean by factor_type

    He et al. 2015. mxnet.init.MSRAPrelu.
    """
    return Xavier(target, "gaussian", factor_type, 2.0 / (1 + slope**2), fan)


@initialiser
def Orthogonal(target: Target, scale: float = 1.414, rand_type: Literal["uniform", "normal"] = "uniform") -> Distribution:
    """w = scale · Q, where QᵀQ = I, from the singular vectors of a matrix of U(−1, 1) or N(0, 1)

    Saxe et al. 2013. mxnet.init.Orthogonal: all dimensions but the first are flattened.
    """
    require_dimensions(target, "Orthogonal", 2)

    def fill(tensor: Tensor, generator: Generator) -> None:
        from torch.linalg import svd

        matrix = tensor.new_empty(tensor.shape[0], tensor[0].numel())
        matrix = matrix.uniform_(-1, 1, generator=generator) if rand_type == "uniform" else matrix.normal_(generator=generator)
        u, _, v = svd(matrix, full_matrices=False)
        tensor.copy_((scale * (u if u.shape == matrix.shape else v)).view_as(tensor))

    return InPlace(f"Orthogonal({scale:.6g}, {rand_type})", fill, halves=False)


@initialiser
def Bilinear(target: Target) -> Distribution:
    """w[…, y, x] = (1 − |x/f − c|) · (1 − |y/f − c|), f = ⌈width/2⌉, c = (2f − 1 − f mod 2) / 2f

    mxnet.init.Bilinear, for up-sampling by a transposed convolution; y is the row, as in Caffe's filler (MXNet 1.9 adds x/width to it).
    """
    require_dimensions(target, "Bilinear", 4, 4)

    def fill(tensor: Tensor, generator: Generator) -> None:
        import torch

        f = ceil(tensor.shape[3] / 2)
        c = (2 * f - 1 - f % 2) / (2 * f)
        x, y = (1 - (torch.arange(n, dtype=torch.float64) / f - c).abs() for n in (tensor.shape[3], tensor.shape[2]))
        tensor.copy_(y[:, None] * x)

    return InPlace("Bilinear", fill, random=False)


@initialiser
def LSTMBias(target: Target, forget_bias: float = 1.0) -> Distribution:
    """b = forget_bias in the second quarter (the forget gate of i, f, c, o), else 0

    Jozefowicz et al. 2015, "An empirical exploration of recurrent network architectures". mxnet.init.LSTMBias.
    torch and Keras have the same order.
    """
    require_dimensions(target, "LSTMBias", 1, 1)
    hidden, rest = divmod(target.shape[0], 4)
    if rest:
        raise EditError(f"{target.shape[0]} elements are not four gates", "LSTMBias is for the bias of an LSTM", target.name)

    def fill(tensor: Tensor, generator: Generator) -> None:
        tensor.zero_()[hidden : 2 * hidden] = forget_bias

    return InPlace(f"LSTMBias({forget_bias:.6g})", fill, random=False)
