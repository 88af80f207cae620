"""Variance scaling: Var(w) = scale / n, where n is the fan-in, the fan-out or their mean. The well-known schemes are cases of it.

                  scale                   n
xavier, glorot    gain²                   fan_avg    Glorot & Bengio 2010, "Understanding the difficulty of training deep
                                                     feedforward neural networks"
kaiming, he       gain(nonlinearity)²     fan_in     He et al. 2015, "Delving deep into rectifiers"
lecun             1                       fan_in     LeCun et al. 1998, "Efficient BackProp"

All raise what `fans` raises: EditError for tensors of fewer than two dimensions, UsageError for a `fan` that is no layout.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Literal

from .distribution import Distribution, Normal, Uniform
from .fans import fans
from .independent import truncated
from .scheme import scheme
from .target import Target

Mode = Literal["fan_in", "fan_out"]
DistributionName = Literal["uniform", "untruncated_normal", "truncated_normal", "normal"]
Nonlinearity = Literal[
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "sigmoid", "tanh", "relu", "leaky_relu", "selu",
]  # fmt: skip

# The standard deviation of the standard normal distribution cut off at ±2. Keras divides by it to restore the variance.
TRUNCATED_STD = 0.87962566103423978


def scaled(target: Target, fan: str, mode: str, distribution: DistributionName, std: Callable[[float], float]) -> Distribution:
    """Return a distribution of mean 0 and standard deviation std(n).

    Args:
        target: the weight, of two dimensions or more.
        fan: as `fans` takes it: a layout, INxOUT, or empty.
        mode: what n is: fan_in, fan_out or fan_avg.
        distribution: the distribution's name in Keras.
        std: the standard deviation as a function of n. Frameworks differ in the order of operations, and so in the last bit.
    """
    deviation = std(fans(target, fan).mode(mode))
    if distribution == "uniform":
        bound = sqrt(3.0) * deviation
        return Uniform(-bound, bound)
    if distribution == "untruncated_normal":
        return Normal(0.0, deviation)
    corrected = deviation / TRUNCATED_STD
    return truncated(0.0, corrected, -2 * corrected, 2 * corrected)


def gain_of(nonlinearity: str, a: float) -> float:
    """Return the recommended gain of a nonlinearity, as torch.nn.init.calculate_gain does; `a` is the slope of leaky_relu."""
    gains = {"tanh": 5.0 / 3, "relu": sqrt(2.0), "leaky_relu": sqrt(2.0 / (1 + a**2)), "selu": 3.0 / 4}
    return gains.get(nonlinearity, 1.0)


@scheme("pytorch")
def xavier_uniform(target: Target, gain: float = 1.0, fan: str = "") -> Distribution:
    """w ~ U(−c, c), c = gain · √(6 / (fan_in + fan_out))

    Glorot & Bengio 2010. torch.nn.init.xavier_uniform_; `fan` is oi, io or INxOUT.
    """
    return scaled(target, fan, "fan_avg", "uniform", lambda n: gain * sqrt(1.0 / n))


@scheme("pytorch")
def xavier_normal(target: Target, gain: float = 1.0, fan: str = "") -> Distribution:
    """w ~ N(0, σ²), σ = gain · √(2 / (fan_in + fan_out))

    Glorot & Bengio 2010. torch.nn.init.xavier_normal_; `fan` is oi, io or INxOUT.
    """
    return scaled(target, fan, "fan_avg", "untruncated_normal", lambda n: gain * sqrt(1.0 / n))


@scheme("pytorch")
def kaiming_uniform(
    target: Target, a: float = 0, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "leaky_relu", fan: str = ""
) -> Distribution:
    """w ~ U(−c, c), c = gain(nonlinearity, a) · √(3 / n), n = fan_in or fan_out by mode

    He et al. 2015. torch.nn.init.kaiming_uniform_; `a` is the slope of leaky_relu, `fan` is oi, io or INxOUT.
    """
    return scaled(target, fan, mode, "uniform", lambda n: gain_of(nonlinearity, a) / sqrt(n))


@scheme("pytorch")
def kaiming_normal(
    target: Target, a: float = 0, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "leaky_relu", fan: str = ""
) -> Distribution:
    """w ~ N(0, σ²), σ = gain(nonlinearity, a) / √n, n = fan_in or fan_out by mode

    He et al. 2015. torch.nn.init.kaiming_normal_; `a` is the slope of leaky_relu, `fan` is oi, io or INxOUT.
    """
    return scaled(target, fan, mode, "untruncated_normal", lambda n: gain_of(nonlinearity, a) / sqrt(n))


@scheme("keras")
def variance_scaling(
    target: Target,
    scale: float = 1.0,
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in",
    distribution: DistributionName = "truncated_normal",
    fan: str = "",
) -> Distribution:
    """Var(w) = scale / n, n = fan_in, fan_out or fan_avg by mode

    Keras' VarianceScaling. distribution: uniform within ±√(3·scale/n); untruncated_normal; truncated_normal (or normal), which is cut
    off at ±2σ with σ = √(scale/n) / 0.8796, so that what is left has the variance. Drawn by torch's generator.
    """
    return scaled(target, fan, mode, distribution, lambda n: sqrt(scale / n))


@scheme("keras")
def glorot_uniform(target: Target, fan: str = "") -> Distribution:
    """w ~ U(−c, c), c = √(6 / (fan_in + fan_out))

    Glorot & Bengio 2010. Keras' GlorotUniform, the default of its layers.
    """
    return variance_scaling(target, 1.0, "fan_avg", "uniform", fan)


@scheme("keras")
def glorot_normal(target: Target, fan: str = "") -> Distribution:
    """w ~ N(0, σ²) cut off at two σ, with variance 2 / (fan_in + fan_out)

    Glorot & Bengio 2010. Keras' GlorotNormal.
    """
    return variance_scaling(target, 1.0, "fan_avg", "truncated_normal", fan)


@scheme("keras")
def he_uniform(target: Target, fan: str = "") -> Distribution:
    """w ~ U(−c, c), c = √(6 / fan_in)

    He et al. 2015. Keras' HeUniform.
    """
    return variance_scaling(target, 2.0, "fan_in", "uniform", fan)


@scheme("keras")
def he_normal(target: Target, fan: str = "") -> Distribution:
    """w ~ N(0, σ²) cut off at two σ, with variance 2 / fan_in

    He et al. 2015. Keras' HeNormal.
    """
    return variance_scaling(target, 2.0, "fan_in", "truncated_normal", fan)


@scheme("keras")
def lecun_uniform(target: Target, fan: str = "") -> Distribution:
    """w ~ U(−c, c), c = √(3 / fan_in)

    LeCun et al. 1998. Keras' LecunUniform.
    """
    return variance_scaling(target, 1.0, "fan_in", "uniform", fan)


@scheme("keras")
def lecun_normal(target: Target, fan: str = "") -> Distribution:
    """w ~ N(0, σ²) cut off at two σ, with variance 1 / fan_in

    LeCun et al. 1998; Klambauer et al. 2017, "Self-normalizing neural networks". Keras' LecunNormal.
    """
    return variance_scaling(target, 1.0, "fan_in", "truncated_normal", fan)
