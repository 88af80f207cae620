"""What an HDF5 file holds, walked with h5py and told in plain values. This runs in a child process (see hdf5.py): HDF5 may crash here.

Nothing is followed out of the file, nor twice within: a link that is soft or external, and a second link to a group, is told as what it is.
Of datasets only the place is told, not the data; but for those in the object's own header, and for texts.
"""

from __future__ import annotations

from base64 import b64encode
from math import prod
from typing import Any

_MOST_OBJECTS = 1_000_000  # groups, datasets, links
_MOST_CHUNKS = 1_000_000
_MOST_DEPTH = 100
_MOST_BYTES = 64 << 20  # of attributes, texts, compact data, names
_NOT_TEXT = "another"  # a type that is none of ours


class TooMuch(Exception):
    """More than any checkpoint holds."""


class Window:
    """`size` bytes of an open file from `start` on, as the file that h5py reads."""

    def __init__(self, read: Any, size: int) -> None:
        self.pread, self.size, self.at = read, size, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, view: memoryview) -> int:
        count = max(0, min(len(view), self.size - self.at))
        view[:count] = self.pread(self.at, count)
        self.at += count
        return count

    def read(self, count: int = -1) -> bytes:
        count = self.size - self.at if count < 0 else max(0, min(count, self.size - self.at))
        self.at += count
        return bytes(self.pread(self.at - count, count))

    def write(self, data: object) -> int:
        raise OSError("read-only")

    def truncate(self, size: int | None = None) -> int:
        raise OSError("read-only")

    def flush(self) -> None:
        pass


def library() -> Any:
    """The module h5py. It asks for all that `platform` knows, and Python would start a program to find out the kind of processor."""
    import platform

    vars(platform.uname()).setdefault("processor", "")
    import h5py

    return h5py


def walk(window: Window) -> list[dict[str, Any]]:
    """The objects below the root, the root first, each group before what is in it."""
    with library().File(window, "r") as file:
        return _Walk(file.id).objects()


class _Walk:
    def __init__(self, file: Any) -> None:
        from h5py import h5g

        self.root = h5g.open(file, b"/")
        self.found: list[dict[str, Any]] = []
        self.groups: dict[Any, str] = {}
        self.room, self.chunks_left = _MOST_BYTES, _MOST_CHUNKS

    def objects(self) -> list[dict[str, Any]]:
        stack: list[tuple[str, int, Any, bytes]] = [("", 0, None, b"/")]
        while stack:
            path, depth, parent, name = stack.pop()
            self._spend(len(path) + 16)
            if len(self.found) >= _MOST_OBJECTS:
                raise TooMuch(f"the file holds more than {_MOST_OBJECTS:,} objects")
            if depth > _MOST_DEPTH:
                raise TooMuch(f"groups lie in groups, more than {_MOST_DEPTH} deep")
            stack.extend(reversed(self._visited(path, depth, parent, name)))
        return self.found

    def _spend(self, count: int) -> None:
        self.room -= count
        if self.room < 0:
            raise TooMuch(f"names, attributes and texts take more than {_MOST_BYTES >> 20} MB")

    def _visited(self, path: str, depth: int, parent: Any, name: bytes) -> list[tuple[str, int, Any, bytes]]:
        """Tell of one link; what lies below it."""
        from h5py import h5d, h5g, h5l, h5o

        if parent is not None:
            info = parent.links.get_info(name)
            if info.type != h5l.TYPE_HARD:
                self.found.append({"path": path, **self._link(parent, name, info)})
                return []
        item = self.root if parent is None else h5o.open(parent, name)
        address = list(_address(item))
        if isinstance(item, h5d.DatasetID):
            self.found.append({"path": path, "kind": "dataset", "address": address, **self._dataset(item)})
        elif not isinstance(item, h5g.GroupID):
            self.found.append({"path": path, "kind": "type"})
        elif tuple(address) in self.groups:
            self.found.append({"path": path, "kind": "again", "to": self.groups[tuple(address)]})
        else:
            self.groups[tuple(address)] = path
            self.found.append({"path": path, "kind": "group", "tracked": _tracked(item), "attributes": self._attributes(item)})
            return [(f"{path}/{_text(below)}" if path else _text(below), depth + 1, item, below) for below in _names(item)]
        return []

    def _link(self, parent: Any, name: bytes, info: Any) -> dict[str, Any]:
        from h5py import h5l

        if info.type == h5l.TYPE_SOFT:
            return {"kind": "soft", "to": _text(parent.links.get_val(name))}
        if info.type == h5l.TYPE_EXTERNAL:
            return {"kind": "external", "to": [_text(part) for part in parent.links.get_val(name)]}
        return {"kind": "user-defined link"}

    def _attributes(self, item: Any) -> list[dict[str, Any]]:
        from h5py import h5a

        found = []
        for index in range(h5a.get_num_attrs(item)):
            attribute = h5a.open(item, index=index)
            self._spend(len(attribute.name) + 64)
            kind = _kind(attribute.get_type())
            found.append({"name": _text(attribute.name), "type": kind, **self._value(attribute, kind)})
        return found

    def _value(self, item: Any, kind: Any) -> dict[str, Any]:
        """Shape and elements of an attribute or a text; the shape is None where it holds nothing, not even an empty array."""
        import numpy
        from h5py import h5a, h5s, h5t

        space = item.get_space()
        if space.get_simple_extent_type() == h5s.NULL:
            return {"shape": None, "value": ""}
        shape = list(item.shape)
        self._spend(prod(shape) * item.get_type().get_size())
        if kind[0] == _NOT_TEXT:
            return {"shape": shape, "value": ""}
        file_type = item.get_type()
        array = numpy.zeros(shape, file_type.dtype)
        if 0 not in shape:
            whole = () if isinstance(item, h5a.AttrID) else (h5s.ALL, h5s.ALL)
            item.read(*whole, array, mtype=h5t.py_create(file_type.dtype) if kind[0] == "texts" else file_type)
        if kind[0] != "texts":
            return {"shape": shape, "value": b64encode(array.tobytes()).decode()}
        texts = [_raw(text) for text in array.reshape(-1)]
        self._spend(sum(map(len, texts)))
        return {"shape": shape, "value": [text.decode("latin-1") for text in texts]}

    def _dataset(self, item: Any) -> dict[str, Any]:
        from h5py import h5d, h5s

        plan, kind = item.get_create_plist(), _kind(item.get_type())
        space = item.get_space()
        shape = None if space.get_simple_extent_type() == h5s.NULL else list(item.shape)
        told: dict[str, Any] = {"type": kind, "shape": shape, "attributes": self._attributes(item)}
        layouts = {h5d.CONTIGUOUS: "contiguous", h5d.CHUNKED: "chunked", h5d.COMPACT: "compact"}
        layout = layouts.get(plan.get_layout(), "virtual")
        if plan.get_external_count():
            layout = "external"
        told["layout"] = layout
        if shape is None or layout in ("virtual", "external") or kind[0] == _NOT_TEXT:
            return told
        if kind[0] in ("text", "texts") or layout == "compact":
            return told | self._value(item, kind)
        told["fill"] = _fill(plan, item)
        if layout == "contiguous":
            return told | {"offset": item.get_offset()}
        return told | {"chunk": list(plan.get_chunk()), "filters": _filters(plan), "chunks": self._chunks(item)}

    def _chunks(self, item: Any) -> list[list[Any]]:
        found: list[list[Any]] = []

        def note(chunk: Any) -> None:
            self.chunks_left -= 1
            if self.chunks_left < 0:
                raise TooMuch(f"the file holds more than {_MOST_CHUNKS:,} chunks")
            found.append([list(chunk.chunk_offset), chunk.byte_offset, chunk.size, chunk.filter_mask])

        item.chunk_iter(note)
        return found


def _address(item: Any) -> tuple[int, int]:
    from h5py import h5o

    info = h5o.get_info(item)
    return int(info.fileno), int(info.addr)


def _tracked(group: Any) -> bool:
    from h5py import h5p

    return bool(group.get_create_plist().get_link_creation_order() & h5p.CRT_ORDER_TRACKED)


def _names(group: Any) -> list[bytes]:
    """The names of the links in a group: in the order in which they were made where the file keeps that, else by name."""
    from h5py import h5

    found: list[bytes] = []

    def note(name: bytes) -> None:
        if len(found) >= _MOST_OBJECTS:
            raise TooMuch(f"the file holds more than {_MOST_OBJECTS:,} objects")
        found.append(name)

    index = h5.INDEX_CRT_ORDER if _tracked(group) else h5.INDEX_NAME
    group.links.iterate(note, idx_type=index, order=h5.ITER_INC)
    return found


def _kind(kind: Any) -> list[Any]:
    """A type in our words: plain "<f4", opaque BYTES TAG, text BYTES PADDING CHARSET, texts CHARSET, another WHAT."""
    from h5py import h5t

    group = kind.get_class()
    if group == h5t.STRING:
        return ["texts", kind.get_cset()] if kind.is_variable_str() else ["text", kind.get_size(), kind.get_strpad(), kind.get_cset()]
    if group == h5t.OPAQUE:
        return ["opaque", kind.get_size(), _text(kind.get_tag() or b"")]
    if group == h5t.FLOAT and _fields(kind) == (2, 15, 7, 8, 0, 7, 127):
        return ["plain", "bfloat16" if kind.get_order() == h5t.ORDER_LE else ">bfloat16"]
    if group in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM, h5t.COMPOUND):
        try:
            dtype = kind.dtype
            if dtype.kind in "biufc" and h5t.py_create(dtype, logical=True) == kind:
                return ["plain", dtype.str]
        except (TypeError, ValueError, KeyError):
            pass
    names = {h5t.INTEGER: "odd integers", h5t.FLOAT: "odd floats", h5t.ENUM: "an enumeration", h5t.COMPOUND: "compound"}
    names |= {h5t.REFERENCE: "references", h5t.VLEN: "of variable length", h5t.ARRAY: "arrays", h5t.BITFIELD: "bits", h5t.TIME: "times"}
    return [_NOT_TEXT, names.get(group, "of an unknown type")]


def _fields(kind: Any) -> tuple[int, ...]:
    return (kind.get_size(), *kind.get_fields(), kind.get_ebias())


def _fill(plan: Any, item: Any) -> str:
    """The element that stands where nothing was written, in base 64."""
    import numpy

    element = numpy.zeros((), item.get_type().dtype)
    plan.get_fill_value(element)
    return b64encode(element.tobytes()).decode()


def _filters(plan: Any) -> list[list[Any]]:
    """What the bytes of a chunk went through when they were written, in that order: number and name."""
    found = []
    for index in range(plan.get_nfilters()):
        number, _, _, name = plan.get_filter(index)
        found.append([number, _text(name)])
    return found


def _raw(text: Any) -> bytes:
    return text if isinstance(text, bytes) else b"" if text is None or text == 0 else str(text).encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
