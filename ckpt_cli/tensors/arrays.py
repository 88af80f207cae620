"""The values of a tensor as an array of numpy or a tensor of torch. Each is a copy, read from the file when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import EditError, ReadError
from ..numbers.dtypes import to_numpy
from ..numbers.shapes import show_shape

if TYPE_CHECKING:
    import numpy
    import torch

    from ..storage.storage import Storage
    from .tensor import Tensor


def as_numpy(tensor: Tensor) -> numpy.ndarray[Any, Any]:
    """Return the values as a numpy array of the tensor's shape and dtype; complex32, which numpy lacks, becomes complex64.

    Raises:
        EditError: numpy has no dtype for the elements.
        ReadError: numpy has no array of this shape, or the bytes cannot be read.
    """
    import numpy

    elements = tensor.elements()  # what is refused is refused before memory is taken
    data = bytearray(tensor.nbytes)
    elements.readinto(0, memoryview(data))
    if tensor.dtype.name == "complex32":
        halves = numpy.frombuffer(data, "<f2").astype("float32").view("complex64")
        return halves.reshape(tensor.shape)
    try:
        return numpy.frombuffer(data, to_numpy(tensor.dtype)).reshape(tensor.shape)
    except ValueError:
        raise ReadError(f"numpy has no array of shape {show_shape(tensor.shape)}", "ask for a part, or leave it out") from None


def as_torch(tensor: Tensor) -> torch.Tensor:
    """Return the values as a tensor of torch, contiguous and in memory of its own.

    Raises:
        EditError: torch has no dtype of this name.
        ReadError: the bytes cannot be read.
    """
    import torch

    dtype, elements = torch_dtype(tensor), tensor.elements()
    return bytes_in_torch(elements).view(dtype).reshape(tensor.shape) if tensor.nbytes else torch.empty(tensor.shape, dtype=dtype)


def bytes_in_torch(storage: Storage) -> torch.Tensor:
    """Return the bytes of a storage as a flat tensor of uint8."""
    import torch

    read = torch.empty(storage.nbytes, dtype=torch.uint8)
    storage.readinto(0, read.numpy().data)
    return read


def torch_dtype(tensor: Tensor) -> torch.dtype:
    """Return the dtype of torch that a tensor with plain elements has.

    Raises:
        EditError: there is none.
    """
    import torch

    dtype = getattr(torch, tensor.dtype.name, None) if tensor.dtype.addressable else None
    if dtype is None:
        raise EditError(f"torch has no dtype {tensor.dtype.name}", "cast it first, for instance to float32")
    return dtype  # type: ignore[no-any-return]
