"""MXNet's optimizer states (`Trainer.save_states`, `Module.save_optimizer_states`; .states): arrays in a pickle, by parameters' indices.

    {INDEX: array, or (array, …), or None}          alone, or as the first of a pair with the optimizer

As in python/mxnet/optimizer (`Updater.get_states`). An array is a call of NDArray whose state is {"handle": BYTES}, as `NDArray::Save`
writes one (ndarray_list.py); nothing is called. Read, not written.
"""

from __future__ import annotations

import re
from typing import Any

from ...errors import Malformed
from ...storage.file import File, FileWindow
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import Format, formats
from ..encodings import pickled_arrays
from ..encodings.object_nodes import Call
from ..encodings.pickled_tensors import StorageOf, TensorReader

_NAMED = re.compile(rb"c?mxnet\.(?:ndarray|numpy|nd|np)[\w.]*")
_CLASSES = re.compile(r"mxnet\.[\w.]+\.(?:NDArray|ndarray|CSRNDArray|RowSparseNDArray)")
_BEGINNING = 1 << 16  # bytes: a pickle that names an array of MXNet's later than that is not recognised


class MXNetStates(Format):
    """States of the optimizers of Gluon and of MXNet's Module."""

    name = "mxnet-states"
    title = "MXNet optimizer states"
    suffixes = (".states",)
    model_suffixes = ()  # what an optimizer keeps is no model
    objects = ties = True

    def sniff(self, file: File) -> bool:
        """A pickle that names arrays of MXNet's early on."""
        return file.head[:1] == b"\x80" and _NAMED.search(file.read(0, min(_BEGINNING, file.size))) is not None

    def read(self, file: File) -> Checkpoint:
        """The arrays under the paths by which they are reached; the optimizer, and all else, as objects."""
        from ..encodings.pickle_file import no_storage, read_pickles

        return read_pickles(file, _StatesReader(no_storage, file.path))


class _StatesReader(TensorReader):
    """Reads MXNet's arrays in a pickle."""

    def __init__(self, storage_of: StorageOf, path: str) -> None:
        super().__init__(storage_of)
        self.path = path

    def is_leaf(self, node: Any) -> bool:
        """Whether `node` is one array, or else one tensor."""
        return _handle_of(node) is not None or super().is_leaf(node)

    def tensor(self, node: Any) -> Tensor | None:
        """The tensor that an array of MXNet's is; a node that is met again gives the same one."""
        handle = _handle_of(node)
        if handle is None:
            return super().tensor(node)
        if id(node) not in self.seen:
            self.seen[id(node)] = self._array(handle)
        return self.seen[id(node)]

    def _array(self, handle: Any) -> Tensor:
        from .ndarray_list import read_array

        storage = pickled_arrays.storage_of(_bytes_in(handle))
        if storage is None:
            raise Malformed("an array of MXNet's without its bytes")
        if isinstance(storage, Extent):
            return read_array(FileWindow(storage.file, storage.place(), storage.nbytes)).tensor
        from ...storage.memory_file import MemoryFile

        return read_array(MemoryFile(self.path, storage.read())).tensor


def _handle_of(node: Any) -> Any:
    """What an array of MXNet's is made of; None where `node` is none, or one without elements."""
    if type(node) is not Call or not _CLASSES.fullmatch(node.path):
        return None
    state = node.state()
    return state.get("handle") if state else None


def _bytes_in(handle: Any) -> Any:
    """The bytes in a call of bytearray, or the text that stands for them below protocol 3; `handle` itself where it is no call."""
    if type(handle) is not Call or handle.path not in ("builtins.bytearray", "__builtin__.bytearray"):
        return handle
    args = handle.arguments()
    if len(args) == 2 and type(args[0]) is str and all(char < "\u0100" for char in args[0]):
        return args[0].encode("latin-1")
    return args[0] if args else b""


formats.add(MXNetStates.name, MXNetStates())
