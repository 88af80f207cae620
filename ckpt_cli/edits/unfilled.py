"""Tensors that schemes have yet to fill."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import EditError
from ..numbers.dtypes import DType
from ..numbers.shapes import nbytes_of
from ..storage.sequential import Drawn
from ..tensors.tensor import Tensor


def unfilled(dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor whose values are an EditError when they are read."""
    return Tensor.whole(dtype, shape, Drawn(nbytes_of(dtype, shape), _no_values))


def _no_values() -> Iterator[bytes]:
    raise EditError("new elements have no old values", "fill them with a scheme that needs none")
    yield b""
