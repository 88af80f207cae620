"""Writes pickles of arrays: a tree that was read with its edits, or a new dict. Long runs of bytes are copied to their place, never held.

Arrays are written as numpy itself pickles them below protocol 5 (`array_reduce` in numpy's methods.c), under the module that numpy 1 and 2
know. A tree keeps its protocol; below 3 there are no bytes, and the elements of a new array are text in latin-1, as Python writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import pack
from typing import TYPE_CHECKING, Any

from ...errors import CannotHold
from ...numbers.dtypes import DType
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .object_nodes import ByteArray, BytesInFile, ByteString, Call, Dict, Global, Tuple, reduce_call
from .pickle_file import FilePickle
from .pickle_sniffing import is_compressed
from .pickle_tree import sorted_leaves
from .pickle_writer import Pickler
from .pickled_arrays import dtype_of, is_array
from .pickled_tensors import TensorReader
from .tree_editor import TreeEditor

if TYPE_CHECKING:
    from ...disk.layout import FileLayout

_NOT_PLAIN = "a file of several pickles, or one that joblib wrote, is read, not written", "convert it, say to .safetensors"
NEW_PROTOCOL = 4  # of a new file: that of Python since 3.8
_LETTERS = {"b", "i", "u", "f", "c"}  # numpy's kinds of elements that have a code of letter and size


class _PiecePickler(Pickler):
    """Writes one tree as pieces: bytes, and the storages between them."""

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.pieces: list[bytes | Storage] = []

    def save(self, item: Any) -> None:
        """Write `item`; a run of bytes that lies in a file is left to be copied."""
        if type(item) is not BytesInFile or id(item) in self.memo:
            super().save(item)
        elif item.made is bytes and self.protocol < 3:
            super().save(item.storage.read())
        else:
            self.out += _opening(item)
            self.pieces += [bytes(self.out), item.storage]
            self.out.clear()
            self.put(item)

    def pieces_of(self, root: Any) -> list[bytes | Storage]:
        """The pieces of the whole pickle."""
        end = self.dump(root)
        return [*self.pieces, end]


def _opening(item: BytesInFile) -> bytes:
    """The opcode and the length before a long run of bytes."""
    count = item.storage.nbytes
    if item.made is ByteArray:
        return b"\x96" + pack("<Q", count)
    if item.made is ByteString:
        return b"T" + pack("<i", count)
    return b"B" + pack("<I", count) if count < 1 << 32 else b"\x8e" + pack("<Q", count)


class ArrayEditor(TreeEditor):
    """Edits the tree of a pickle of arrays. An array that changed is written in C order and little-endian, of the class that it was."""

    def __init__(self, checkpoint: Checkpoint, reader: TensorReader) -> None:
        """Read the pickle again that `checkpoint` was read from. Raises CannotHold where its file is not one plain pickle."""
        if checkpoint.origin is None or is_compressed(checkpoint.origin.file):
            raise CannotHold(*_NOT_PLAIN)
        machine = FilePickle(checkpoint.origin.file)
        root = machine.load()
        leaves = sorted_leaves(root, reader)
        by_joblib = any(named.module.startswith("joblib") for named in machine.globals)
        if by_joblib or machine.at != checkpoint.origin.file.size or list(leaves.entries) != list(checkpoint.origin.read):
            raise CannotHold(*_NOT_PLAIN)
        super().__init__(checkpoint, root, leaves)
        self.protocol = machine.protocol
        self._made: dict[Any, Call] = {}

    def node(self, name: str, like: Any) -> Any:
        """The array of a tensor; tied ones share it."""
        tensor = self.checkpoint[name]
        if tensor.layout and like is not None:
            return like
        if like is not None and not is_array(like):
            raise CannotHold(f"{name} is a tensor of torch's in a pickle: it can stay, not change", "write .pt: -o OUT.pt")
        return self.array(name, tensor, like)

    def array(self, name: str, tensor: Tensor, like: Call | None) -> Call:
        """The node of an array, as `array_of` makes it; the same one for tensors that are tied."""
        if tensor.key not in self._made:
            self._made[tensor.key] = array_of(name, tensor, like)
        return self._made[tensor.key]


def edited_pickle(editor: ArrayEditor) -> Iterable[bytes | Storage]:
    """The pieces of the pickle that `editor` makes of the one that was read. Raises CannotHold, EditError."""
    return _PiecePickler(editor.protocol).pieces_of(editor.edited())


def new_pickle(arrays: Mapping[str, Tensor], more: Iterable[tuple[Any, Any]] = ()) -> Iterable[bytes | Storage]:
    """The pieces of a new pickle: a dict of arrays, then the pairs `more`. Raises CannotHold where numpy lacks a dtype."""
    made: dict[Any, Call] = {}
    for name, tensor in arrays.items():
        if tensor.key not in made:
            made[tensor.key] = array_of(name, tensor)
    pairs = [(name, made[tensor.key]) for name, tensor in arrays.items()]
    return _PiecePickler(NEW_PROTOCOL).pieces_of(Dict([*pairs, *more]))


def lay_out(pieces: Iterable[bytes | Storage], file_layout: FileLayout) -> None:
    """Write the pieces of a pickle."""
    for piece in pieces:
        if isinstance(piece, Storage):
            file_layout.put(piece)
        else:
            file_layout.write(piece)


def array_of(name: str, tensor: Tensor, like: Call | None = None) -> Call:
    """The node of an array that holds the values of a tensor.

    Args:
        name: What the tensor is called in an error.
        tensor: The tensor.
        like: The array that it replaces: its dtype is kept where the tensor has that, and its class, be it one of JAX'.

    Raises:
        CannotHold: The tensor is none of plain numbers, or numpy lacks its dtype.
    """
    if tensor.layout:
        raise CannotHold(f"a pickle of arrays cannot hold {name}, which is {tensor.layout}", f"leave it out: --drop '{name}'")
    dtype = _kept_dtype(like, tensor.dtype) or _numpy_dtype(name, tensor.dtype)
    array = reduce_call("numpy.core.multiarray", "_reconstruct", Global("numpy", "ndarray"), Tuple([0]), b"b")
    state = Tuple([1, Tuple(list(tensor.shape)), dtype, False, BytesInFile(tensor.elements())])
    if like is not None and like.path.startswith("jax"):
        return Call(like.opcode, like.function, Tuple([array.function, array.args, state, *like.arguments()[3:]]))
    array.states.append(state)
    return array


def _kept_dtype(like: Call | None, dtype: DType) -> Any:
    """The node of the dtype of the array `like`, where it is the dtype wanted and little-endian; else None."""
    if like is None:
        return None
    args = like.arguments()
    state = args[2] if like.path.startswith("jax") else like.states[-1] if like.states else None
    node = state.items[-3] if type(state) is Tuple else args[1]
    found, order = dtype_of(node)
    return node if found == dtype and order != ">" else None


def _numpy_dtype(name: str, dtype: DType) -> Call:
    code = f"{dtype.kind}{dtype.nbytes}"
    if dtype.kind not in _LETTERS or dtype_of(reduce_call("numpy", "dtype", code))[0] != dtype:
        raise CannotHold(f"numpy has no {dtype.name}, which {name} is", f"ckpt cast FILE float32 '{name}' first")
    node = reduce_call("numpy", "dtype", code, False, True)
    node.states.append(Tuple([3, "<" if dtype.nbytes > 1 else "|", None, None, None, -1, -1, 0]))
    return node
