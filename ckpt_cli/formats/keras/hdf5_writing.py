"""Writes HDF5: the library lays out a file without data, in memory; the data are put at the places that it chose for them.

Datasets carry no date, so that the same checkpoint gives the same bytes. They are contiguous and little-endian; those that were read in
chunks are written in chunks (hdf5_chunk_writing). Groups, attributes, texts and links of a file that was read are written again as they
were.
"""

from __future__ import annotations

from typing import Any

from ...errors import CannotHold
from ...numbers.dtypes import DTYPES
from ...storage.pieces import Pieces
from ...storage.storage import Memory, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Layout, Tensor
from .followed import followed
from .hdf5_attributes import keep_attribute_order, write_attribute, write_texts
from .hdf5_chunk_writing import ChunkedDataset, EncodedChunks, is_chunked, reserve
from .hdf5_filters import converted, set_fill
from .hdf5_library import SparseFile, library
from .hdf5_objects import Attribute, ElementKind, HDF5Tree, Node, ObjectKind
from .hdf5_types import library_type

_NUMPY = ("bool", "complex64", "complex128", "float16", "float32", "float64", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)))
_UTF8_TEXT = [ElementKind.VARIABLE_TEXT, 1]  # H5T_CSET_UTF8


def laid_out(checkpoint: Checkpoint) -> Pieces:
    """Lay out the HDF5 file of a checkpoint, with the data at their places. Raises CannotHold."""
    file = SparseFile()
    with _new_file(file, checkpoint) as opened:
        places = _Builder(opened.id, checkpoint, EncodedChunks()).build()
    pieces: list[Storage] = []
    at = 0
    for offset, storage in sorted(places, key=lambda place: place[0]):
        file.seek(at)
        pieces += [Memory(file.read(offset - at)), storage]
        at = offset + storage.nbytes
    file.seek(at)
    return Pieces([*pieces, Memory(file.read(file.size - at))])


def check(checkpoint: Checkpoint) -> None:
    """Raise CannotHold for what HDF5 has no place for. No data are read."""
    with _new_file(SparseFile(), checkpoint) as opened:
        _Builder(opened.id, checkpoint, None).build()


def _new_file(file: SparseFile, checkpoint: Checkpoint) -> Any:
    nodes = objects_of(checkpoint)
    tracked = bool(nodes and nodes[""].record.get("tracked"))
    return library().File(file, "w", libver=("earliest", "v110"), track_order=tracked)


def objects_of(checkpoint: Checkpoint) -> dict[str, Node]:
    """Return the objects of the file that `checkpoint` was read from, as far as they are to be in the one that is written."""
    tree = getattr(checkpoint.rest, "tree", checkpoint.rest)
    return followed(tree, checkpoint) if isinstance(tree, HDF5Tree) else {}


class _Builder:
    """Creates the objects of one file with h5py's low-level interface."""

    def __init__(self, file_id: Any, checkpoint: Checkpoint, encoded: EncodedChunks | None) -> None:
        """Begin with an empty file. `encoded`: takes the chunks that are encoded; None leaves all chunks out."""
        from h5py import h5g

        self.root, self.checkpoint = h5g.open(file_id, b"/"), checkpoint
        self.nodes, self.encoded = objects_of(checkpoint), encoded
        self.read = getattr(checkpoint.rest, "tree", checkpoint.rest)
        self.groups: dict[str, Any] = {"": self.root}
        self.datasets: dict[str, str] = {}  # the name that a tensor is kept under → the path at which it was created first
        self.places: list[tuple[int, Storage]] = []

    def build(self) -> list[tuple[int, Storage]]:
        """Create everything, in the order in which it was read; return the bytes of the file at which data go, and the data."""
        self._attributes(self.root, self._root())
        self._metadata()
        tied = self.checkpoint.tied_to()
        for path, node in self.nodes.items():
            if node.kind == ObjectKind.GROUP:
                self._group(path)
            elif path in self.checkpoint:
                self._dataset(path, tied.get(path, path))
        for name in self.checkpoint:
            if name not in self.nodes:
                self._dataset(name, tied.get(name, name))
        for path, node in self.nodes.items():
            if path in self.checkpoint.objects:
                self._object(path, node)
        return self.places

    def _dataset(self, name: str, kept: str) -> None:
        """Create the dataset of a tensor, or a hard link where it is tied to one that was created. `kept`: the first of the tied names."""
        if kept in self.datasets:
            self._hard_link(name, self.datasets[kept].encode())
        else:
            self.datasets[kept] = name
            self._tensor(name, self.checkpoint[name])

    def _root(self) -> Node | None:
        """The root with its attributes, but for those among the metadata that were dropped or set."""
        node, origin = self.nodes.get(""), self.checkpoint.origin
        if node is None or origin is None or self.checkpoint.metadata is origin.read.metadata:
            return node
        before, now = origin.read.metadata, self.checkpoint.metadata
        return node._replace(attributes=[each for each in node.attributes if before.get(each.name) == now.get(each.name)])

    def _metadata(self) -> None:
        root = self._root()
        kept = root.attributes if root else []
        known = {each.name for each in kept} | ({"keras_version", "date_saved"} if self.nodes else set())
        for key, value in self.checkpoint.metadata.items():
            if key not in known:
                attribute = Attribute(key, _UTF8_TEXT, (), [_encoded(value, key)])
                self._created(f"the metadata {key}", lambda attribute=attribute: write_attribute(self.root, attribute))

    def _group(self, path: str) -> Any:
        """Return the group at `path`; create it and those above it where they do not exist."""
        from h5py import h5g, h5p

        if path not in self.groups:
            node, (parent, name) = self.nodes.get(path), self._place(path)
            plist = h5p.create(h5p.GROUP_CREATE)
            if node and node.record.get("tracked"):
                plist.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
            keep_attribute_order(plist, node)
            self.groups[path] = self._created(path, lambda: h5g.create(parent, name, gcpl=plist))
            self._attributes(self.groups[path], node)
        return self.groups[path]

    def _created(self, path: str, create: Any) -> Any:
        """Return what `create` returns; an error of the library is raised as CannotHold, with the path."""
        try:
            return create()
        except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
            message = str(error)
            if "exists" in message:
                raise CannotHold(f"{path!r} is a tensor and a group, too", "rename one of them") from None
            raise CannotHold(f"HDF5 cannot hold {path!r}: {message.splitlines()[0]}", "rename it, or leave it out") from None

    def _link(self, path: str, link: Any) -> None:
        parent, leaf = self._place(path)
        self._created(path, lambda: link(parent, leaf))

    def _hard_link(self, path: str, target: bytes) -> None:
        self._link(path, lambda parent, leaf: parent.links.create_hard(leaf, self.root, target))

    def _place(self, path: str) -> tuple[Any, bytes]:
        """Return the group that `path` lies in, and the last part of its name."""
        above, slash, name = path.rpartition("/")
        if slash and not above:
            raise CannotHold(f"HDF5 has no place for the name {path!r}", "rename it")
        return self._group(above), _encoded(name, path)

    def _tensor(self, name: str, tensor: Tensor) -> None:
        from h5py import h5d, h5s

        element_type, dtype_attribute = _element_type(name, tensor)
        parent, leaf = self._place(name)
        node = self.nodes.get(name)
        if node is not None and node.record["type"][:2] == [ElementKind.PLAIN, library_type(element_type).dtype.str]:
            element_type = node.record["type"]  # its values may have names
        if node is not None and is_chunked(node, tensor):
            dataset = self._chunked(node, name, tensor, element_type)
        else:
            space = h5s.create_simple(tensor.shape) if tensor.shape else h5s.create(h5s.SCALAR)
            plist = _contiguous()
            keep_attribute_order(plist, node)
            if node is not None:
                set_fill(plist, converted(node.fill, node.record["type"], element_type), element_type)
            dataset = self._created(name, lambda: h5d.create(parent, leaf, library_type(element_type), space, plist))
            if tensor.nbytes:
                self.places.append((dataset.get_offset(), tensor.elements()))
        self._attributes(dataset, node, but="dtype" if dtype_attribute is not None else "")
        if dtype_attribute:
            write_attribute(dataset, Attribute("dtype", _UTF8_TEXT, (), [dtype_attribute.encode()]))

    def _chunked(self, node: Node, name: str, tensor: Tensor, element_type: list[Any]) -> Any:
        """Create a dataset in chunks as that of `node`, and reserve room for its chunks."""
        parent, leaf = self._place(name)
        chunked = ChunkedDataset(node, self.read.tensors[node.path], tensor, element_type)
        dataset = self._created(name, lambda: chunked.create(parent, leaf))
        for chunk in chunked.chunks(self.encoded) if self.encoded is not None else ():
            self.places.append((reserve(dataset, chunk), chunk.data))
        return dataset

    def _attributes(self, item: Any, node: Node | None, but: str = "") -> None:
        for attribute in node.attributes if node else ():
            if attribute.name != but:
                self._created(node.path if node else "", lambda attribute=attribute: write_attribute(item, attribute))

    def _object(self, path: str, node: Node) -> None:
        """Create again what is neither a group nor a tensor."""
        from h5py import h5d

        target = node.record.get("to", "")
        if node.kind == ObjectKind.SOFT_LINK:
            self._link(path, lambda parent, leaf: parent.links.create_soft(leaf, target.encode()))
        elif node.kind == ObjectKind.EXTERNAL_LINK:
            self._link(path, lambda parent, leaf: parent.links.create_external(leaf, target[0].encode(), target[1].encode()))
        elif node.kind == ObjectKind.REPEATED_GROUP:
            self._hard_link(path, target.encode() or b"/")
        elif node.kind == ObjectKind.TEXT and "value" in node.record:
            texts = node.as_attribute()
            self._link(path, lambda parent, leaf: write_texts(parent, leaf, texts))
            self._attributes(h5d.open(self.root, path.encode()), node)
        else:
            kept = self.checkpoint.objects[path]
            raise CannotHold(
                f"{path!r} is no tensor ({getattr(kept, 'text', kept)}), and only an edit of values leaves it as it is",
                f"leave it out: ckpt drop … '{path}'",
            )


def _contiguous() -> Any:
    """Return the properties of a dataset whose room is allocated at once, and left for others to fill."""
    from h5py import h5d, h5p

    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_layout(h5d.CONTIGUOUS)
    plist.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5d.FILL_TIME_NEVER)
    plist.set_obj_track_times(False)
    return plist


def _encoded(name: str, path: str) -> bytes:
    """Encode the last part of `path`. Raises CannotHold where HDF5 has no such name."""
    if not name or name == "." or "\0" in name:
        raise CannotHold(f"HDF5 has no place for the name {path!r}", "rename it")
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise CannotHold(f"the name {path!r} is no valid Unicode", "rename it") from None


def _element_type(name: str, tensor: Tensor) -> tuple[list[Any], str | None]:
    """Return the description of a tensor's element type (see hdf5_types), and what its attribute `dtype` has to say.

    That is "" where the attribute is to be left out, and None where it stays as it was read.
    """
    dtype = tensor.dtype
    if tensor.layout == Layout.OPAQUE and dtype.name == f"|V{dtype.nbytes}":
        return [ElementKind.OPAQUE, dtype.nbytes, ""], None
    if not tensor.layout and dtype.name in _NUMPY:
        return [ElementKind.PLAIN, dtype.name], ""
    if not tensor.layout and dtype.addressable and dtype in DTYPES.values() and dtype.kind == "f":
        return [ElementKind.OPAQUE, dtype.nbytes, ""], dtype.name
    raise CannotHold(f"HDF5 cannot hold {name}, which is {tensor.layout or dtype.name}", f"leave it out: --drop '{name}'")
