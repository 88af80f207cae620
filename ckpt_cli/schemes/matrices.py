"""Schemes of structured matrices and kernels: identity, orthogonal, sparse."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from ..errors import EditError, UsageError
from .distribution import Distribution, InPlace
from .scheme import scheme
from .target import Target

if TYPE_CHECKING:
    from torch import Generator, Tensor


@scheme("pytorch")
def eye(target: Target) -> Distribution:
    """w[i, j] = 1 where i = j, else 0

    torch.nn.init.eye_.
    """
    return identity(target)


@scheme("keras")
def identity(target: Target, gain: float = 1.0) -> Distribution:
    """w[i, j] = gain where i = j, else 0

    Keras' Identity.
    """
    require_dimensions(target, "eye", 2, 2)

    def fill(tensor: Tensor, generator: Generator) -> None:
        tensor.zero_().fill_diagonal_(gain)

    return InPlace(f"eye * {gain:.6g}" if gain != 1 else "eye", fill, random=False)


@scheme("pytorch")
def dirac(target: Target, groups: int = 1) -> Distribution:
    """w[c, c, centre] = 1 for each channel c of each group, else 0

    torch.nn.init.dirac_: a convolution that hands its input on. Layout out×in×kernel….
    """
    require_dimensions(target, "dirac", 3, 5)
    if groups < 1 or target.shape[0] % groups:
        raise EditError(f"{target.shape[0]} outputs cannot be split into {groups} groups", "give a divisor", target.name)

    def fill(tensor: Tensor, generator: Generator) -> None:
        from torch.nn.init import dirac_

        dirac_(tensor, groups)

    return InPlace("dirac", fill, random=False)


@scheme("pytorch")
def orthogonal(target: Target, gain: float = 1) -> Distribution:
    """w = gain · Q, where QᵀQ = I, from the QR decomposition of a standard normal matrix

    Saxe et al. 2013, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks". torch.nn.init.orthogonal_:
    all dimensions but the first are flattened. Half types are drawn in float32.
    """
    require_dimensions(target, "orthogonal", 2)

    def fill(tensor: Tensor, generator: Generator) -> None:
        from torch.nn.init import orthogonal_

        orthogonal_(tensor, gain, generator=generator)

    return InPlace(f"orthogonal({gain:.6g})", fill, halves=False)


@scheme("pytorch")
def sparse(target: Target, sparsity: float, std: float = 0.01) -> Distribution:
    """w ~ N(0, std²), and in each column ⌈sparsity · rows⌉ elements, chosen at random, are 0

    Martens 2010, "Deep learning via Hessian-free optimization". torch.nn.init.sparse_, but for one thing: torch chooses the elements
    by its global generator, whatever it is given; here they too come from the tensor's own. With --rng torch there is but one, and the
    values are torch's.
    """
    require_dimensions(target, "sparse", 2, 2)
    if not 0 <= sparsity <= 1:
        raise UsageError(f"sparse() takes a sparsity between 0 and 1, not {sparsity}", "it is the part of each column that becomes 0")

    def fill(tensor: Tensor, generator: Generator) -> None:
        from torch import randperm

        rows, columns = tensor.shape
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[randperm(rows, generator=generator)[: ceil(sparsity * rows)], column] = 0

    return InPlace(f"sparse({sparsity:.6g}, {std:.6g})", fill)


def require_dimensions(target: Target, name: str, least: int, most: int | None = None) -> None:
    """Refuse a target that has fewer than `least` dimensions, or more than `most`.

    Raises:
        EditError: it has; the message calls the scheme `name`.
    """
    count = len(target.shape)
    if count < least or (most is not None and count > most):
        wanted = f"{least}" if most == least else f"{least} to {most}" if most else f"{least} or more"
        raise EditError(f"{name} is for tensors of {wanted} dimensions, not {count}", "choose another scheme or pattern", target.name)
