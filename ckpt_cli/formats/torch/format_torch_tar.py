"""PyTorch's files from before 0.2 (`torch.save` of 0.1): a tar of four files.

    sys_info    a pickle: byte order and sizes of types
    storages    a pickled count; for each a pickle (key, location, class), the count of its elements (int64), its bytes; then a pickled list
                of views (key, key of the storage, offset, count)
    tensors     a pickled count; for each a pickle (key, key of its storage, class), axes (int64), sizes, strides, offset (int64 each)
    pickle      the object; its tensors and storages are persistent ids: their keys

As in torch/serialization.py, `legacy_load`. Little-endian throughout. Read, not written: what is saved anew is a zip of today's.
"""

from __future__ import annotations

from struct import unpack
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import CannotHold, Malformed
from ...numbers.dtypes import DType
from ...storage.file import File, FileWindow
from ...storage.storage import Extent, Slice, Storage
from ...tensors.checkpoint import Checkpoint, Undecoded
from ...tensors.tensor import Tensor
from .. import Savable, formats
from ..encodings import tar
from ..encodings.object_nodes import Call, Global, List, Persistent, Tuple, text_of
from ..encodings.pickle_file import no_storage
from ..encodings.pickle_reader import Unpickler
from ..encodings.pickle_tree import objects_of, sorted_leaves, undecoded_of
from ..encodings.pickled_tensors import TensorReader
from ..encodings.storage_ids import dtype_of_class
from .format_torch_legacy import load_at

if TYPE_CHECKING:
    from ...disk.layout import FileLayout

_MEMBERS = ("sys_info", "pickle", "storages", "tensors")
_MOST_AXES = 64


class TorchTar(Savable):
    """Files of torch 0.1."""

    name = "torch-tar"
    title = "PyTorch before 0.2 (a tar)"
    ties = objects = in_model_order = True

    def sniff(self, file: File) -> bool:
        """A tar of the four members."""
        return tar.begins_tar(file.head) and set(_MEMBERS) <= set(tar.members(file))

    def read(self, file: File) -> Checkpoint:
        """The tensors under the paths by which they are reached from the pickled object; all else in it as objects."""
        windows = _windows(file)
        storages = _storages(windows["storages"], [])
        reader = _Reader(storages, _tensors(windows["tensors"], storages, []))
        root, _, end = load_at(windows["pickle"], 0, make=_KeyedUnpickler)
        _check_end(windows["pickle"], end)
        leaves = sorted_leaves(root, reader)
        used = {id(_whole(tensor.storage)) for tensor in leaves.tensors.values()}
        left = {f"storage {key}": found.storage for key, found in storages.items() if id(_whole(found.storage)) not in used}
        undecoded = {name: Undecoded(f"{storage.nbytes:,} bytes that no tensor has", storage) for name, storage in left.items()}
        undecoded |= undecoded_of(leaves, reader)
        return Checkpoint(leaves.tensors, objects=objects_of(leaves), layers=leaves.layers, undecoded=undecoded)

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """Raise CannotHold: a state dict of today in place of the tar would be another object."""
        raise CannotHold("a tar of torch 0.1 is read, not written", "-o OUT.pt --format torch writes a flat state dict of today")


class _KeyedUnpickler(Unpickler):
    """Reads a pickle whose persistent ids are keys of tensors and storages, or (class, file, source) of a module."""

    __slots__ = ()
    any_id = True


class _Found(NamedTuple):
    """A storage, and the dtype of its elements."""

    dtype: DType
    storage: Storage


class _Reader(TensorReader):
    """Reads the tensors and storages of the file where the pickle has their keys."""

    def __init__(self, storages: dict[str, _Found], tensors: dict[str, Tensor]) -> None:
        super().__init__(no_storage)
        self.storages, self.tensors = storages, tensors

    def is_leaf(self, node: Any) -> bool:
        """Whether `node` is a key, or else one tensor."""
        return _key_of(node) is not None or _in_parameter(node) is not None or super().is_leaf(node)

    def tensor(self, node: Any) -> Tensor | None:
        """The tensor that a key stands for, which a parameter may hold."""
        inner = _in_parameter(node)
        key = _key_of(node if inner is None else inner)
        if key is None:
            return super().tensor(node)
        if key not in self.tensors and key not in self.storages:
            raise Malformed(f"tensor {key!r} is not in the file")
        return self.tensors.get(key)

    def bytes_of(self, node: Any, in_object: bool = False) -> Storage | None:
        """The bytes of a storage that is no tensor's."""
        key = _key_of(node)
        return super().bytes_of(node) if key is None or key not in self.storages else self.storages[key].storage


def _windows(file: File) -> dict[str, File]:
    members = tar.members(file)
    return {name: FileWindow(file, members[name].start, members[name].nbytes) for name in _MEMBERS}


def _whole(storage: Storage) -> Storage:
    return storage.of if isinstance(storage, Slice) else storage


def _key_of(node: Any) -> str | None:
    """The key in a persistent id; None where it is that of a class of modules, or `node` is no such id."""
    if type(node) is not Persistent:
        return None
    text = str(node.pid) if type(node.pid) is int else text_of(node.pid)
    return text if text is not None and text.isascii() and text.removeprefix("-").isdigit() else None


def _in_parameter(node: Any) -> Any:
    """The key in a parameter of 0.1: a new object of class Parameter or Variable, whose argument is a tensor."""
    if type(node) is not Call:
        return None
    args = node.arguments()
    cls = args[0] if node.path in ("copy_reg.__newobj__", "copyreg.__newobj__") and args else node.function
    is_parameter = type(cls) is Global and cls.module.startswith("torch.") and cls.name in ("Parameter", "Variable")
    return args[-1] if is_parameter and args and _key_of(args[-1]) is not None else None


def _numbers(window: File, at: int, count: int) -> tuple[int, ...]:
    return unpack(f"<{count}q", window.read(at, 8 * count))


def _count(window: File, least: int, named: list[Global]) -> tuple[int, int]:
    """The pickled count at the beginning, and the byte behind it. Raises Malformed where so many things have no room."""
    count, _, at = _loaded(window, 0, named)
    if type(count) is not int or not 0 <= count <= window.size // least:
        raise Malformed(f"a count of {count!r} things in {window.size:,} bytes" if type(count) is int else "a count that is no number")
    return count, at


def _loaded(window: File, at: int, named: list[Global]) -> tuple[Any, Unpickler, int]:
    found = load_at(window, at)
    named += found[1].globals
    return found


def _parts(node: Any, what: str) -> tuple[str, Any, Any]:
    """A key, and two more things."""
    items = node.items if type(node) is Tuple else []
    if len(items) != 3 or type(items[0]) is not int:
        raise Malformed(f"a {what} is described in an unknown way")
    return str(items[0]), items[1], items[2]


def _storages(window: File, named: list[Global]) -> dict[str, _Found]:
    """The storages by key; views of them are slices."""
    count, at = _count(window, 16, named)
    found: dict[str, _Found] = {}
    for _ in range(count):
        node, _, at = _loaded(window, at, named)
        key, _, cls = _parts(node, "storage")
        if type(cls) is not Global or key in found:
            raise Malformed(f"storage {key} is there twice, or of no class")
        dtype = dtype_of_class(cls)
        (elements,) = _numbers(window, at, 1)
        if elements < 0:
            raise Malformed(f"storage {key} has {elements:,} elements")
        extent = Extent(window, at + 8, elements * dtype.nbytes)
        window.read(extent.offset + extent.nbytes, 0)  # it ends within the file
        found[key] = _Found(dtype, extent)
        at = extent.offset + extent.nbytes
    views, _, at = _loaded(window, at, named)
    _check_end(window, at)
    for view in views.items if type(views) is List else [None]:
        _add_view(found, view.items if type(view) is Tuple else [])
    return found


def _add_view(found: dict[str, _Found], view: list[Any]) -> None:
    if len(view) != 4 or any(type(item) is not int for item in view) or str(view[1]) not in found or str(view[0]) in found:
        raise Malformed("a view of a storage is described in an unknown way")
    dtype, storage = found[str(view[1])]
    start, nbytes = view[2] * dtype.nbytes, view[3] * dtype.nbytes
    if start < 0 or nbytes < 0 or start + nbytes > storage.nbytes:
        raise Malformed(f"a view of elements {view[2]:,} to {view[2] + view[3]:,} lies outside of its storage")
    found[str(view[0])] = _Found(dtype, Slice(storage, start, nbytes))


def _tensors(window: File, storages: dict[str, _Found], named: list[Global]) -> dict[str, Tensor]:
    count, at = _count(window, 16, named)
    tensors: dict[str, Tensor] = {}
    for _ in range(count):
        node, _, at = _loaded(window, at, named)
        key, storage_key, _ = _parts(node, "tensor")
        (axes,) = unpack("<i", window.read(at, 4))
        if not 0 <= axes <= _MOST_AXES or str(storage_key) not in storages or key in tensors:
            raise Malformed(f"tensor {key} has {axes} axes, no storage, or is there twice")
        numbers = _numbers(window, at + 8, 2 * axes + 1)
        dtype, storage = storages[str(storage_key)]
        tensors[key] = Tensor.view(dtype, numbers[:axes], storage, numbers[axes:-1], numbers[-1])
        at += 8 + 8 * len(numbers)
    _check_end(window, at)
    return tensors


def _check_end(window: File, at: int) -> None:
    if at != window.size:
        raise Malformed(f"{window.size - at:,} bytes stand after the end of a part of the file")


formats.add(TorchTar.name, TorchTar())
