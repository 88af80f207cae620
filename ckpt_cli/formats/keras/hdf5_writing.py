"""Writing HDF5: the library lays out a file without data, in memory; the data are put at the places that it gives them.

What is laid out is contiguous and little-endian, without a date, so that the same checkpoint gives the same bytes. Of a file that was read,
groups, attributes, texts and links are written again as they were.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import CannotHold
from ...numbers.dtypes import DTYPES
from ...storage.storage import Memory, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Layout, Tensor
from .hdf5 import Attribute, Node, Tree
from .hdf5_walk import library

if TYPE_CHECKING:
    from ...disk.layout import FileLayout

_PAGE = 4096
_NUMPY = ("bool", "complex64", "complex128", "float16", "float32", "float64", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)))
_TEXT = ["texts", 1]  # of variable length, in UTF-8


class Laid(Storage):
    """Storages one after another, as one."""

    __slots__ = ("_begins", "pieces")

    def __init__(self, pieces: list[Storage]) -> None:
        self.pieces, self._begins, at = [piece for piece in pieces if piece.nbytes], [], 0
        for piece in self.pieces:
            self._begins.append(at)
            at += piece.nbytes
        self.nbytes = at

    def parts(self) -> tuple[Storage, ...]:
        return tuple(self.pieces)

    def readinto(self, start: int, view: memoryview) -> None:
        at, done = bisect_right(self._begins, start) - 1, 0
        while done < len(view):
            piece, skip = self.pieces[at], start + done - self._begins[at]
            count = min(piece.nbytes - skip, len(view) - done)
            piece.readinto(skip, view[done : done + count])
            at, done = at + 1, done + count

    def put(self, file_layout: FileLayout) -> None:
        """Lay out the pieces, each by itself, so that workers share them and extents are copied in the kernel."""
        for piece in self.pieces:
            file_layout.put(piece)


class _Pages:
    """A file for h5py to write: in memory, but for what is never written."""

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}
        self.at = self.size = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def write(self, data: bytes | memoryview) -> int:
        for at, page, skip, count in self._spans(len(data)):
            self.pages.setdefault(page, bytearray(_PAGE))[skip : skip + count] = data[at : at + count]
        self.at += len(data)
        self.size = max(self.size, self.at)
        return len(data)

    def readinto(self, view: memoryview) -> int:
        for at, page, skip, count in self._spans(len(view)):
            view[at : at + count] = self.pages.get(page, bytes(_PAGE))[skip : skip + count]
        self.at += len(view)
        return len(view)

    def read(self, count: int) -> bytes:
        data = bytearray(count)
        self.readinto(memoryview(data))
        return bytes(data)

    def _spans(self, length: int) -> Iterator[tuple[int, int, int, int]]:
        """Where in `length` bytes from here on, which page, where in it, how many bytes."""
        done = 0
        while done < length:
            page, skip = divmod(self.at + done, _PAGE)
            count = min(_PAGE - skip, length - done)
            yield done, page, skip, count
            done += count

    def truncate(self, size: int) -> int:
        self.size = size
        return size

    def flush(self) -> None:
        pass


def laid_out(checkpoint: Checkpoint) -> Laid:
    """The HDF5 file of a checkpoint, its data where they are to stand. Raises CannotHold."""
    pages = _Pages()
    with library().File(pages, "w", libver=("earliest", "v110")) as file:
        places = _Layout(file.id, checkpoint).places()
    pieces: list[Storage] = []
    at = 0
    for offset, storage in sorted(places, key=lambda place: place[0]):
        pages.seek(at)
        pieces += [Memory(pages.read(offset - at)), storage]
        at = offset + storage.nbytes
    pages.seek(at)
    return Laid([*pieces, Memory(pages.read(pages.size - at))])


class _Layout:
    """One file that is laid out."""

    def __init__(self, file: Any, checkpoint: Checkpoint) -> None:
        from h5py import h5g

        self.root, self.checkpoint = h5g.open(file, b"/"), checkpoint
        rest = getattr(checkpoint.rest, "tree", checkpoint.rest)
        self.nodes: dict[str, Node] = rest.nodes if isinstance(rest, Tree) else {}
        self.sources = {checkpoint.sources.get(name, name): name for name in checkpoint}
        self.groups: dict[str, Any] = {"": self.root}

    def places(self) -> list[tuple[int, Storage]]:
        """Make everything; where the data of the tensors go."""
        self._attributes(self.root, self.nodes.get(""))
        self._metadata()
        for path, node in self.nodes.items():
            if node.kind == "group" and path:
                self._group(path)
        placed = [self._tensor(name, tensor) for name, tensor in self.checkpoint.distinct().items()]
        for name, kept in self.checkpoint.tied_to().items():
            self._link(name, lambda parent, leaf, kept=kept: parent.links.create_hard(leaf, self.root, kept.encode()))
        for path, node in self.nodes.items():
            if path in self.checkpoint.objects:
                self._object(path, node)
        return [place for place in placed if place]

    def _metadata(self) -> None:
        kept = self.nodes[""].attributes if "" in self.nodes else []
        said = {each.name for each in kept} | ({"keras_version", "date_saved"} if self.nodes else set())
        for key, value in self.checkpoint.metadata.items():
            if key not in said:
                _write_attribute(self.root, Attribute(key, _TEXT, (), [value.encode()]))

    def _group(self, path: str) -> Any:
        """The group at `path`, made with those above it where they are not there."""
        from h5py import h5g, h5p

        if path not in self.groups:
            node, (parent, name) = self.nodes.get(path), self._place(path)
            plan = h5p.create(h5p.GROUP_CREATE)
            if node and node.told.get("tracked"):
                plan.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
            self.groups[path] = self._made(path, lambda: h5g.create(parent, name, gcpl=plan))
            self._attributes(self.groups[path], node)
        return self.groups[path]

    def _made(self, path: str, make: Any) -> Any:
        try:
            return make()
        except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
            said = str(error)
            if "exists" in said:
                raise CannotHold(f"{path!r} is a tensor and a group, too", "rename one of them") from None
            raise CannotHold(f"HDF5 cannot hold {path!r}: {said.splitlines()[0]}", "rename it, or leave it out") from None

    def _link(self, path: str, link: Any) -> None:
        parent, leaf = self._place(path)
        self._made(path, lambda: link(parent, leaf))

    def _place(self, path: str) -> tuple[Any, bytes]:
        """The group that a name lies in, and its last part."""
        above, slash, name = path.rpartition("/")
        if slash and not above:
            raise CannotHold(f"HDF5 has no place for the name {path!r}", "rename it")
        return self._group(above), _checked(name, path)

    def _tensor(self, name: str, tensor: Tensor) -> tuple[int, Storage] | None:
        from h5py import h5d, h5p, h5s

        kind, tag = _kind_of(name, tensor)
        plan = h5p.create(h5p.DATASET_CREATE)
        plan.set_layout(h5d.CONTIGUOUS)
        plan.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5d.FILL_TIME_NEVER)
        plan.set_obj_track_times(False)
        space = h5s.create_simple(tensor.shape) if tensor.shape else h5s.create(h5s.SCALAR)
        parent, leaf = self._place(name)
        made = self._made(name, lambda: h5d.create(parent, leaf, _type(kind), space, plan))
        node = self.nodes.get(self.checkpoint.sources.get(name, name))
        self._attributes(made, node, but="dtype" if tag is not None else "")
        if tag:
            _write_attribute(made, Attribute("dtype", _TEXT, (), [tag.encode()]))
        offset = made.get_offset()
        return (offset, tensor.elements()) if offset is not None and tensor.nbytes else None

    def _attributes(self, item: Any, node: Node | None, but: str = "") -> None:
        for attribute in node.attributes if node else ():
            if attribute.name != but:
                self._made(node.path if node else "", lambda attribute=attribute: _write_attribute(item, attribute))

    def _object(self, path: str, node: Node) -> None:
        from h5py import h5d, h5p

        to = node.told.get("to", "")
        if node.kind == "soft":
            self._link(path, lambda parent, leaf: parent.links.create_soft(leaf, to.encode()))
        elif node.kind == "external":
            self._link(path, lambda parent, leaf: parent.links.create_external(leaf, to[0].encode(), to[1].encode()))
        elif node.kind == "again":
            self._link(path, lambda parent, leaf: parent.links.create_hard(leaf, self.root, to.encode() or b"/"))
        elif node.kind == "text" and "value" in node.told:
            text = node.as_attribute()
            plan = h5p.create(h5p.DATASET_CREATE)
            plan.set_obj_track_times(False)
            self._link(path, lambda parent, leaf: _write(h5d.create(parent, leaf, _type(text.kind), _space(text), plan), text))
            self._attributes(h5d.open(self.root, path.encode()), node)
        else:
            raise CannotHold(
                f"{path!r} is {self.checkpoint.objects[path]}, which only an edit in place leaves as it is",
                f"leave it out: ckpt drop … '{path}'",
            )


def _checked(name: str, path: str) -> bytes:
    """A part of a name as HDF5 takes it."""
    if not name or name == "." or "\0" in name:
        raise CannotHold(f"HDF5 has no place for the name {path!r}", "rename it")
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise CannotHold(f"the name {path!r} is no valid Unicode", "rename it") from None


def _kind_of(name: str, tensor: Tensor) -> tuple[list[Any], str | None]:
    """The type of a tensor's elements as hdf5_walk tells types, and what an attribute `dtype` has to say of it (None: nothing new)."""
    dtype = tensor.dtype
    if tensor.layout == Layout.OPAQUE and dtype.name == f"|V{dtype.nbytes}":
        return ["opaque", dtype.nbytes, ""], None
    if not tensor.layout and dtype.name in _NUMPY:
        return ["plain", dtype.name], ""
    if not tensor.layout and dtype.addressable and dtype in DTYPES.values() and dtype.kind == "f":
        return ["opaque", dtype.nbytes, ""], dtype.name
    raise CannotHold(f"HDF5 cannot hold {name}, which is {tensor.layout or dtype.name}", f"leave it out: --drop '{name}'")


def _type(kind: list[Any]) -> Any:
    import numpy
    from h5py import h5t

    if kind[0] in ("text", "texts"):
        made = h5t.C_S1.copy()
        made.set_size(h5t.VARIABLE if kind[0] == "texts" else kind[1])
        made.set_cset(kind[-1])
        if kind[0] == "text":
            made.set_strpad(kind[2])
        return made
    if kind[0] == "opaque":
        made = h5t.create(h5t.OPAQUE, kind[1])
        made.set_tag(kind[2].encode())
        return made
    if kind[0] != "plain" or kind[1].endswith("bfloat16"):
        raise ValueError(f"its type is {kind[1]}")
    return h5t.py_create(numpy.dtype(kind[1]), logical=True)


def _space(value: Attribute) -> Any:
    from h5py import h5s

    if value.shape is None:
        return h5s.create(h5s.NULL)
    return h5s.create_simple(value.shape) if value.shape else h5s.create(h5s.SCALAR)


def _write_attribute(item: Any, value: Attribute) -> None:
    from h5py import h5a

    _write(h5a.create(item, value.name.encode(), _type(value.kind), _space(value)), value)


def _write(made: Any, value: Attribute) -> None:
    """The elements of an attribute, or of a dataset of texts."""
    import numpy
    from h5py import h5a, h5s, h5t

    if value.shape is None or 0 in value.shape:
        return
    whole = () if isinstance(made, h5a.AttrID) else (h5s.ALL, h5s.ALL)
    if value.kind[0] == "texts":
        dtype = h5t.string_dtype()
        array = numpy.array(value.value, "O").reshape(value.shape).astype(dtype)
        made.write(*whole, array, mtype=h5t.py_create(dtype))
    else:
        kind = _type(value.kind)
        array = numpy.frombuffer(value.value, kind.dtype).reshape(value.shape)
        made.write(*whole, array, mtype=kind)
