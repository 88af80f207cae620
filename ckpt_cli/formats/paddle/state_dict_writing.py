"""Writes Paddle's state dicts: arrays by name, and the table of the names that the program has for them.

As in python/paddle/framework/io.py: `paddle.load` asks the dict for every name in the table, so that the table follows what is renamed
and dropped. bfloat16 lies in arrays of uint16, a type that Paddle has not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import CannotHold
from ...numbers.dtypes import DTYPES
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from ..encodings.array_pickles import ArrayEditor, edited_pickle, new_pickle
from ..encodings.object_nodes import Dict, text_of
from ..encodings.pickle_file import no_storage
from .tensor_calls import PaddleReader, array_of, replaced

_TABLE = "StructuredToParameterName@@"
# As in `np.array(tensor)` of python/paddle: the types of its tensors that numpy has, and bfloat16.
_DTYPES = {"bool", "uint8", "int8", "int16", "int32", "int64", "bfloat16", "float16", "float32", "float64", "complex64", "complex128"}


def pieces_of(checkpoint: Checkpoint, edited: bool) -> Iterable[bytes | Storage]:
    """The pieces of the pickle of a checkpoint, which was read from one where it is `edited`. Raises CannotHold, EditError."""
    if edited:
        return edited_pickle(_PaddleEditor(checkpoint, PaddleReader(no_storage)))
    arrays = {name: _kept(name, tensor) for name, tensor in checkpoint.items()}
    return new_pickle(arrays, [(_TABLE, Dict([(name, name) for name in arrays]))])


def _kept(name: str, tensor: Tensor) -> Tensor:
    """A tensor as it is kept in an array."""
    if tensor.layout or tensor.dtype.name not in _DTYPES:
        kind, castable = tensor.layout or tensor.dtype.name, not tensor.layout and tensor.dtype.addressable
        mend = f"ckpt cast FILE float32 '{name}' first" if castable else f"leave it out: --drop '{name}'"
        raise CannotHold(f"Paddle cannot hold {name}, which is {kind}", mend)
    if tensor.dtype.name != "bfloat16":
        return tensor
    return Tensor.view(DTYPES["uint16"], tensor.shape, tensor.storage, tensor.strides, tensor.offset)


class _PaddleEditor(ArrayEditor):
    """Edits the tree of a pickle by Paddle."""

    def node(self, name: str, like: Any) -> Any:
        """The array of a tensor, or the call that stands for it."""
        tensor = self.checkpoint[name]
        if tensor.layout and like is not None:
            return like
        return replaced(like, self.array(name, _kept(name, tensor), array_of(like)))

    def edited(self) -> Any:
        """The edited tree, with the names that are left in the table."""
        root = super().edited()
        table = root.get(_TABLE) if type(root) is Dict else None
        if type(table) is Dict:
            kept = [(text_of(key), value) for key, value in table.pairs]
            renamed = [(self.now.get(str(key)), value) for key, value in kept if key in self.leaves.entries]
            others = [(key, value) for key, value in kept if key not in self.leaves.entries]
            table.pairs[:] = [*((key, value) for key, value in renamed if key), *others, *((name, name) for name in self.added)]
        return root
