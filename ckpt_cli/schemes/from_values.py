"""Warm starts: schemes that begin with present values, of this tensor or of another checkpoint."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.dtypes import named, to_numpy
from ..numbers.values import caster
from .distribution import Computed, Distribution, InPlace
from .scheme import scheme
from .target import Target

if TYPE_CHECKING:
    import numpy
    from torch import Generator, Tensor


@scheme("warm start")
def shrink_perturb(target: Target, shrink: float = 0.5, sigma: float = 0.01) -> Distribution:
    """w = shrink · w_old + N(0, sigma²)

    Ash & Adams 2020, "On warm-starting neural network training".
    """

    def fill(tensor: Tensor, generator: Generator) -> None:
        noise = tensor.new_empty(tensor.shape).normal_(0, sigma, generator=generator)
        tensor.copy_(_old_tensor(target)).mul_(shrink).add_(noise)

    return InPlace(f"{shrink:.6g} * old + normal(0, {sigma:.6g})", fill)


@scheme("warm start")
def copy_from(target: Target, file: str, name: str = "") -> Distribution:
    """w = the tensor of the same name, or of `name`, in another checkpoint

    The shapes must agree; another dtype is cast, to nearest even.
    """
    name = name or target.name
    source = target.open(file)[name]
    if source.shape != target.shape:
        raise EditError(f"{name} in {file} has the shape {source.shape}, not {target.shape}", "the shapes must agree", target.name)

    def elements() -> bytes:
        data = source.tobytes()
        return data if source.dtype.name == target.dtype else bytes(caster(named(source.dtype.name), named(target.dtype))(data))

    return Computed(f"{name} of {file}", elements)


@scheme("warm start")
def mean_rows(target: Target, start: int) -> Distribution:
    """w[i] = w_old[i] for i < start, else the mean of the rows before start

    Hewitt 2021, "Initializing new word embeddings for pretrained language models": new rows at the mean cannot take over the softmax.
    """
    _require_rows(target, "mean_rows", start)

    def elements() -> bytes:
        rows = _old_array(target)
        rows[start:] = rows[:start].astype("float64").mean(axis=0).astype(rows.dtype)
        return rows.tobytes()

    return Computed(f"rows from {start} on: the mean of those before", elements)


@scheme("warm start")
def resized_embeddings(target: Target, start: int, scale: float = 1e-9) -> Distribution:
    """w[i] = w_old[i] for i < start, else ~ N(μ, scale · Σ), with the mean μ and the covariance Σ of the rows before start

    Hewitt 2021: new rows near the mean that differ from each other. scale is 1e-9 in transformers' resize_token_embeddings, 1e-5 in
    Hewitt's text; 1 gives rows spread as the old ones. Drawn as μ + L·z, z ~ N(0, I), where L is the Cholesky factor
    of scale · Σ, whose diagonal is raised by a millionth of its mean: with fewer rows than columns Σ has no full rank.
    """
    _require_rows(target, "resized_embeddings", start)

    def fill(tensor: Tensor, generator: Generator) -> None:
        import torch

        tensor.copy_(_old_tensor(target))
        rows = tensor[:start].to(torch.float64)
        mean = rows.mean(dim=0)
        centred = rows - mean
        tensor[start:] = normal_rows(mean, centred.T @ centred / start * scale, len(tensor) - start, generator)

    return InPlace(f"rows from {start} on: normal, with mean and covariance of those before", fill)


def normal_rows(mean: Tensor, covariance: Tensor, count: int, generator: Generator) -> Tensor:
    """Return `count` rows drawn as `resized_embeddings` has it, in float64. The diagonal of the covariance is raised in place."""
    import torch

    covariance.diagonal().add_(covariance.diagonal().mean() * 1e-6 + torch.finfo(torch.float64).tiny)
    z = torch.empty(count, len(mean), dtype=torch.float64).normal_(generator=generator)
    rows: Tensor = mean + z @ torch.linalg.cholesky(covariance).T
    return rows


def _require_rows(target: Target, name: str, start: int) -> None:
    """Refuse a target that is no table of floats with old rows before `start`."""
    rows = target.shape[0] if target.shape else 0
    if len(target.shape) != 2:
        raise EditError(f"{name} is for a table of rows", "choose an embedding", target.name)
    if named(target.dtype).kind != "f":
        raise EditError(f"{name} cannot average {target.dtype}", "cast the tensor to floats first", target.name)
    if not 0 < start <= rows:
        raise EditError(f"{name} needs 0 < start <= {rows}, not {start}", "start is the first new row", target.name)


def _old_array(target: Target) -> numpy.ndarray[Any, Any]:
    """The present values as a writable array of the target's shape and dtype."""
    import numpy

    return numpy.frombuffer(bytearray(target.old()), to_numpy(named(target.dtype))).reshape(target.shape)


def _old_tensor(target: Target) -> Tensor:
    """The present values as a tensor of the target's shape and dtype."""
    import torch

    if not prod(target.shape):
        return torch.empty(target.shape)
    data = torch.frombuffer(bytearray(target.old()), dtype=torch.uint8)
    values: Tensor = data.view(getattr(torch, target.dtype)).reshape(target.shape)
    return values
