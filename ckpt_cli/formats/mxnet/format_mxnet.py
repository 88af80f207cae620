"""MXNet's `.params` (`net.save_parameters`, `nd.save`, `Module.save_checkpoint`): a list of arrays, then a list of their names.

    0x112, 0, the arrays (each with magic, storage, shape, device, dtype, elements), the names

As in src/ndarray/ndarray.cc of apache/mxnet; an array is read by ndarray_list.py. Peculiarities:
- Version 2 (no axis has length 0, no array is a scalar) and version 3 (`npx.set_np()`) exclude each other: MXNet loads a file only in the
  mode of its version. A file keeps its version; one from another format is written as version 2, or as 3 where a shape needs it. Versions
  0 and 1 become 2.
- `nd.save(FILE, [x, y])` gives no names: arrays are called by their positions, and stay without names until one is dropped or renamed.
- Module and `export` put `arg:` and `aux:` before the names; here they are part of the names. The graph that they write beside the file,
  `PREFIX-symbol.json`, tells the types of the layers (symbol.py).
- A Parameter that is in two places is written twice: there are no ties.
- Sparse arrays are copied as they are. int16, uint16, uint32 and uint64, which MXNet 1.9 does not load, are written where they were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from struct import pack
from typing import TYPE_CHECKING, NamedTuple

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import Patcher, Writer, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from .ndarray_list import NDArray

_CPU = (1, 0)
_MAGICS = {2: 0xF993FAC9, 3: 0xF993FACA}
_NEW = ("int16", "uint16", "uint32", "uint64")  # MXNet 1.9 does not know them


class Rest(NamedTuple):
    """What is kept of the file that was read: its arrays by name, and whether the file names them."""

    arrays: Mapping[str, NDArray]
    named: bool


class MXNet(Writer, Patcher):
    """Files of Gluon and of MXNet's Module."""

    name = "mxnet"
    title = "MXNet and Gluon parameters"
    called = "MXNet's .params"
    suffixes = (".params",)

    def sniff(self, file: File) -> bool:
        """The magic of a list of arrays."""
        return file.head[:8] == b"\x12\1\0\0\0\0\0\0"

    def read(self, file: File) -> Checkpoint:
        """The arrays, and the types of their layers where the graph lies beside the file."""
        from . import symbol
        from .ndarray_list import read_arrays

        listed = read_arrays(file)
        names = listed.names or list(map(str, range(len(listed.arrays))))
        arrays = dict(zip(names, listed.arrays, strict=True))
        if len(arrays) < len(names):
            twin = next(one for one, two in pairwise(sorted(names)) if one == two)
            raise Malformed(f"two arrays are called {twin!r}")
        tensors = {name: array.tensor for name, array in arrays.items()}
        layers = symbol.layers(file.path, tensors)
        notes = (layers.note,) if layers.note else ()
        rest = Rest(arrays, bool(listed.names))
        return Checkpoint(tensors, layers=layers.types, layer_of=layers.layer_of, notes=notes, rest=rest, fixed=layers.fixed)

    def sizes_told(self, checkpoint: Checkpoint, changed: Mapping[str, tuple[int, ...]]) -> str:
        """The graph that Module and `export` write beside the file."""
        from .symbol import graph_beside

        graph = graph_beside(checkpoint.origin.path) if checkpoint.origin else ""
        return f"{graph} keeps the old sizes (num_hidden, num_filter, input_dim)" if graph else ""

    def told_of_new(self, checkpoint: Checkpoint, new: str) -> str:
        """That MXNet goes by the graph beside the file, where there is one."""
        told = f"the graph beside the file does not know of {new}: MXNet passes over it, or asks for allow_extra"
        return told if checkpoint.layers else ""

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """The arrays, then their names. Raises CannotHold for what MXNet does not load."""
        read = checkpoint.rest.arrays if isinstance(checkpoint.rest, Rest) else {}
        version = _version(checkpoint, read)
        before = {name: read.get(checkpoint.sources.get(name, name)) for name in checkpoint}
        heads = {name: _head(name, tensor, before[name], version) for name, tensor in checkpoint.items()}
        names = list(map(_encoded, checkpoint)) if _named(checkpoint) else []
        file_layout.write(pack("<QQQ", 0x112, 0, len(checkpoint)))
        for name, tensor in checkpoint.items():
            file_layout.write(heads[name])
            array = before[name]
            file_layout.put(array.extent if array and tensor.layout else tensor.elements())
        file_layout.write(pack("<Q", len(names)) + b"".join(pack("<Q", len(name)) + name for name in names))


def _version(checkpoint: Checkpoint, read: Mapping[str, NDArray]) -> int:
    """3 where the file was of that version, or where a shape has no meaning in version 2: MXNet loads no file of both versions."""
    needed = any(not tensor.shape or 0 in tensor.shape for tensor in checkpoint.values() if not tensor.layout)
    version = 3 if needed or any(array.version == 3 for array in read.values()) else 2
    sparse = next((name for name, tensor in checkpoint.items() if tensor.layout), None)
    if version == 3 and sparse is not None:
        raise CannotHold(
            f"MXNet holds no sparse array, such as {sparse}, beside a scalar or an empty one", f"leave it out: --drop '{sparse}'"
        )
    return version


def _head(name: str, tensor: Tensor, before: NDArray | None, version: int) -> bytes:
    """The bytes before an array's elements; none for a sparse array, which is copied as a whole."""
    from .ndarray_list import FLAGS

    if before and tensor.layout and tensor.storage is before.tensor.storage:
        return b""
    flag = next((flag for flag, known in FLAGS.items() if known == tensor.dtype.name), None)
    new = tensor.dtype.name in _NEW and not (before and before.tensor.dtype == tensor.dtype)
    if tensor.layout or flag is None or new:
        kind = tensor.layout or tensor.dtype.name
        mend = "leave it out: --drop" if tensor.layout or not tensor.dtype.addressable else f"ckpt cast FILE {_near(tensor)}"
        raise CannotHold(f"MXNet{' 1.9' * new} cannot hold {name}, which is {kind}", f"{mend} '{name}'")
    device = before.device if before else _CPU
    return pack(f"<Iii{len(tensor.shape)}qiii", _MAGICS[version], 0, len(tensor.shape), *tensor.shape, *device, flag)


def _near(tensor: Tensor) -> str:
    """The name of a dtype of MXNet's to which a tensor of another can be cast."""
    return "int64" if tensor.dtype.kind in "iu" else "float32"


def _named(checkpoint: Checkpoint) -> bool:
    """Whether names are written: not where none were read and each array still is at its position."""
    unnamed = isinstance(checkpoint.rest, Rest) and not checkpoint.rest.named
    return not (unnamed and all(name == str(at) for at, name in enumerate(checkpoint)))


def _encoded(name: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise CannotHold("a name that is no valid Unicode has no place in MXNet's files", "rename it") from None


formats.add(MXNet.name, MXNet())
