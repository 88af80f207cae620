"""Schemes of independent elements whose distribution does not depend on the shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError
from .distribution import Distribution, InPlace, Normal, Uniform
from .scheme import scheme
from .target import Target

if TYPE_CHECKING:
    from torch import Generator, Tensor


@scheme("pytorch")
def uniform(target: Target, a: float = 0.0, b: float = 1.0) -> Distribution:
    """w ~ U(a, b)

    torch.nn.init.uniform_.
    """
    return Uniform(a, b)


@scheme("pytorch")
def normal(target: Target, mean: float = 0.0, std: float = 1.0) -> Distribution:
    """w ~ N(mean, std²)

    torch.nn.init.normal_.
    """
    return Normal(mean, std)


@scheme("pytorch")
def trunc_normal(target: Target, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Distribution:
    """w ~ N(mean, std²) within [a, b]; a and b are absolute, not multiples of std

    torch.nn.init.trunc_normal_.
    """
    return truncated(mean, std, a, b)


@scheme("keras")
def random_uniform(target: Target, minval: float = -0.05, maxval: float = 0.05) -> Distribution:
    """w ~ U(minval, maxval)

    Keras' RandomUniform; drawn by torch's generator, so the values are not those that Keras draws for the same seed.
    """
    return Uniform(minval, maxval)


@scheme("keras")
def random_normal(target: Target, mean: float = 0.0, stddev: float = 0.05) -> Distribution:
    """w ~ N(mean, stddev²)

    Keras' RandomNormal; drawn by torch's generator.
    """
    return Normal(mean, stddev)


@scheme("keras")
def truncated_normal(target: Target, mean: float = 0.0, stddev: float = 0.05) -> Distribution:
    """w ~ N(mean, stddev²) within mean ± 2 stddev

    Keras' TruncatedNormal: values beyond two standard deviations are drawn again; by torch's generator.
    """
    return truncated(mean, stddev, mean - 2 * stddev, mean + 2 * stddev)


@scheme("chapter")
def textbook(target: Target) -> Distribution:
    """w ~ U(5, 10) with probability ¼, 0 with ½, U(−10, −5) with ¼

    The custom initialisation of "Dive into Deep Learning", Parameter Management; as there, drawn by uniform_(-10, 10) and
    multiplied by |w| ≥ 5.
    """

    def fill(tensor: Tensor, generator: Generator) -> None:
        tensor.uniform_(-10, 10, generator=generator)
        tensor.mul_(tensor.abs() >= 5)

    return InPlace("uniform(-10, 10), 0 where |w| < 5", fill, elementwise=True)


def truncated(mean: float, std: float, low: float, high: float) -> Distribution:
    """Return the normal distribution N(mean, std²) within [low, high].

    Raises:
        UsageError: the std is not positive, or the interval is empty.
    """
    if not (std > 0 and low < high):
        raise UsageError(f"nothing lies within [{low:.6g}, {high:.6g}] at a std of {std:.6g}", "std is positive, and a < b")

    def fill(tensor: Tensor, generator: Generator) -> None:
        import warnings

        from torch.nn.init import trunc_normal_

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns where the mean lies far outside the bounds
            trunc_normal_(tensor, mean, std, low, high, generator=generator)

    return InPlace(f"trunc_normal({mean:.6g}, {std:.6g}, {low:.6g}, {high:.6g})", fill, elementwise=True)
