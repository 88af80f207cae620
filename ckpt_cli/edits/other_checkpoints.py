"""The other checkpoints that an edit takes tensors from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UsageError, about
from ..numbers.dtypes import DType
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor

Open = Callable[[str], Mapping[str, Any]]


def opened(checkpoint: Checkpoint, open: Open, path: str) -> Checkpoint:
    """Return the checkpoint at a path, as `source_of` has it.

    Args:
        checkpoint: The checkpoint that is edited.
        open: Opens a checkpoint.
        path: The path.

    Raises:
        UsageError: What is opened is no checkpoint.
    """
    with about(path):
        other = open(path)
        if not isinstance(other, Checkpoint):
            raise UsageError("this is no checkpoint")
    return source_of(checkpoint, other)


def source_of(checkpoint: Checkpoint, other: Checkpoint) -> Checkpoint:
    """Return the checkpoint to take from; if it is the file that is edited, as that was read, so that -i knows what it overwrites."""
    mine = checkpoint.origin
    same = mine and other.origin and mine.file.identity == other.origin.file.identity and other.is_as_read
    return mine.read.replacing(origin=mine) if mine and same else other


def with_dtype_named(tensor: Tensor, dtype: DType) -> Tensor:
    """Return a tensor in the dtype whose bytes it has, where numpy had no name for that (`V2` for bfloat16); any other as it is."""
    if tensor.dtype.kind == "O" and "V" in tensor.dtype.name and dtype.kind == "f" and dtype.nbytes == tensor.dtype.nbytes:
        return Tensor.view(dtype, tensor.shape, tensor.storage, tensor.strides, tensor.offset)
    return tensor
