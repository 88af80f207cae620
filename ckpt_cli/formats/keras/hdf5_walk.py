"""Walks an HDF5 file with h5py and reports its objects as records (see hdf5_objects). Runs in a child process, where HDF5 may crash.

No link is followed out of the file, and no group is visited twice: soft and external links and a second link to a group are reported as
such. For most datasets only the place of the data is reported; data in the object's own header, and texts, are reported themselves.
"""

from __future__ import annotations

from base64 import b64encode
from math import prod
from typing import Any

from .hdf5_library import ReadOnlyFile, library
from .hdf5_objects import TEXT_KINDS, DataLayout, ElementKind, ObjectKind, Record
from .hdf5_types import leads_elsewhere, type_description

_MOST_OBJECTS = 1_000_000  # groups, datasets, links
_MOST_CHUNKS = 1_000_000
_MOST_DEPTH = 100
_MOST_BYTES = 64 << 20  # of attributes, texts, compact data, names


class TooMuch(Exception):
    """The file holds more than any checkpoint does."""


def walk(file: ReadOnlyFile) -> list[Record]:
    """Report the objects of a file: the root first, each group before what is in it. Raises TooMuch, and whatever h5py raises."""
    with library().File(file, "r") as opened:
        return _Walk(opened.id).objects()


class _Walk:
    def __init__(self, file_id: Any) -> None:
        from h5py import h5g

        self.root = h5g.open(file_id, b"/")
        self.records: list[Record] = []
        self.groups: dict[Any, str] = {}  # address → path
        self.bytes_left, self.chunks_left = _MOST_BYTES, _MOST_CHUNKS

    def objects(self) -> list[Record]:
        stack: list[tuple[str, int, Any, bytes]] = [("", 0, None, b"/")]
        while stack:
            path, depth, parent, name = stack.pop()
            self._spend(len(path) + 16)
            if len(self.records) >= _MOST_OBJECTS:
                raise TooMuch(f"the file holds more than {_MOST_OBJECTS:,} objects")
            if depth > _MOST_DEPTH:
                raise TooMuch(f"groups lie in groups, more than {_MOST_DEPTH} deep")
            stack.extend(reversed(self._visit(path, depth, parent, name)))
        return self.records

    def _spend(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise TooMuch(f"names, attributes and texts take more than {_MOST_BYTES >> 20} MB")

    def _visit(self, path: str, depth: int, parent: Any, name: bytes) -> list[tuple[str, int, Any, bytes]]:
        """Report the object that a link leads to; return the links in it, where it is a group that was not visited before."""
        from h5py import h5d, h5g, h5l, h5o

        if parent is not None:
            info = parent.links.get_info(name)
            if info.type != h5l.TYPE_HARD:
                self.records.append({"path": path, **_link(parent, name, info)})
                return []
        item = self.root if parent is None else h5o.open(parent, name)
        address = _address(item)
        if isinstance(item, h5d.DatasetID):
            self.records.append({"path": path, "kind": ObjectKind.DATASET, "address": list(address), **self._dataset(item)})
        elif not isinstance(item, h5g.GroupID):
            self.records.append({"path": path, "kind": ObjectKind.NAMED_TYPE})
        elif address in self.groups:
            self.records.append({"path": path, "kind": ObjectKind.REPEATED_GROUP, "to": self.groups[address]})
        else:
            self.groups[address] = path
            attributes, ordered = self._attributes(item), _attributes_tracked(item.get_create_plist())
            facts = {"tracked": _tracked(item), "ordered": ordered, "attributes": attributes}
            self.records.append({"path": path, "kind": ObjectKind.GROUP, **facts})
            return [(f"{path}/{_text(below)}" if path else _text(below), depth + 1, item, below) for below in _names(item)]
        return []

    def _attributes(self, item: Any) -> list[Record]:
        from h5py import h5, h5a

        records = []
        order = h5.INDEX_CRT_ORDER if _attributes_tracked(item.get_create_plist()) else h5.INDEX_NAME
        for index in range(h5a.get_num_attrs(item)):
            attribute = h5a.open(item, index=index, index_type=order)
            self._spend(len(attribute.name) + 64)
            description = type_description(attribute.get_type())
            records.append({"name": _text(attribute.name), "type": description, **self._value(attribute, description)})
        return records

    def _value(self, item: Any, description: list[Any]) -> Record:
        """Return shape and elements of an attribute or a dataset; the shape is None where the dataspace is empty (not even an array)."""
        import numpy
        from h5py import h5a, h5s, h5t

        space = item.get_space()
        if space.get_simple_extent_type() == h5s.NULL:
            return {"shape": None, "value": ""}
        shape = list(item.shape)
        self._spend(prod(shape) * item.get_type().get_size())
        file_type, any_length = item.get_type(), description[0] == ElementKind.VARIABLE_TEXT
        if description[0] == ElementKind.OTHER and leads_elsewhere(file_type):
            return {"shape": shape, "value": ""}
        array = numpy.zeros(shape, f"V{file_type.get_size()}" if description[0] == ElementKind.OTHER else file_type.dtype)
        if 0 not in shape:
            whole = () if isinstance(item, h5a.AttrID) else (h5s.ALL, h5s.ALL)
            item.read(*whole, array, mtype=h5t.py_create(file_type.dtype) if any_length else file_type)
        if not any_length:
            return {"shape": shape, "value": b64encode(array.tobytes()).decode()}
        texts = [_raw(text) for text in array.reshape(-1)]
        self._spend(sum(map(len, texts)))
        return {"shape": shape, "value": [text.decode("latin-1") for text in texts]}

    def _dataset(self, item: Any) -> Record:
        from h5py import h5d, h5s

        plist, description = item.get_create_plist(), type_description(item.get_type())
        shape = None if item.get_space().get_simple_extent_type() == h5s.NULL else list(item.shape)
        layout = _layout(plist)
        record: Record = {"type": description, "shape": shape, "attributes": self._attributes(item), "layout": layout}
        record["ordered"] = _attributes_tracked(plist)
        if shape is None or layout in (DataLayout.VIRTUAL, DataLayout.EXTERNAL):
            return record
        if description[0] == ElementKind.OTHER:
            return record | self._other_data(item, layout)
        if description[0] in TEXT_KINDS or layout == DataLayout.COMPACT:
            return record | self._value(item, description)
        record |= {"fill": _fill(plist, item), "filled": plist.fill_value_defined() == h5d.FILL_VALUE_USER_DEFINED}
        if layout == DataLayout.CONTIGUOUS:
            return record | {"offset": item.get_offset()}
        most = [None if size == h5s.UNLIMITED else size for size in item.get_space().get_simple_extent_dims(True)]
        return record | {"most": most, "chunk": list(plist.get_chunk()), "filters": _filters(plist), "chunks": self._chunks(item)}

    def _other_data(self, item: Any, layout: DataLayout) -> Record:
        """Return where the data of a dataset of another type lie; `whole` where no elements lie elsewhere."""
        if layout == DataLayout.COMPACT:
            return {}
        whole = not leads_elsewhere(item.get_type())
        if layout == DataLayout.CONTIGUOUS:
            return {"whole": whole, "offset": item.get_offset(), "nbytes": item.get_storage_size()}
        return {"whole": whole, "chunks": self._chunks(item)}

    def _chunks(self, item: Any) -> list[list[Any]]:
        chunks: list[list[Any]] = []

        def note(chunk: Any) -> None:
            self.chunks_left -= 1
            if self.chunks_left < 0:
                raise TooMuch(f"the file holds more than {_MOST_CHUNKS:,} chunks")
            chunks.append([list(chunk.chunk_offset), chunk.byte_offset, chunk.size, chunk.filter_mask])

        item.chunk_iter(note)
        return chunks


def _link(parent: Any, name: bytes, info: Any) -> Record:
    from h5py import h5l

    if info.type == h5l.TYPE_SOFT:
        return {"kind": ObjectKind.SOFT_LINK, "to": _text(parent.links.get_val(name))}
    if info.type == h5l.TYPE_EXTERNAL:
        return {"kind": ObjectKind.EXTERNAL_LINK, "to": [_text(part) for part in parent.links.get_val(name)]}
    return {"kind": ObjectKind.OTHER_LINK}


def _layout(plist: Any) -> DataLayout:
    from h5py import h5d

    if plist.get_external_count():
        return DataLayout.EXTERNAL
    layouts = {h5d.CONTIGUOUS: DataLayout.CONTIGUOUS, h5d.CHUNKED: DataLayout.CHUNKED, h5d.COMPACT: DataLayout.COMPACT}
    return layouts.get(plist.get_layout(), DataLayout.VIRTUAL)


def _address(item: Any) -> tuple[int, int]:
    from h5py import h5o

    info = h5o.get_info(item)
    return int(info.fileno), int(info.addr)


def _tracked(group: Any) -> bool:
    """Whether the file keeps the order in which the links of a group were created."""
    from h5py import h5p

    return bool(group.get_create_plist().get_link_creation_order() & h5p.CRT_ORDER_TRACKED)


def _attributes_tracked(plist: Any) -> bool:
    """Whether the file keeps the order in which the attributes of an object were created."""
    from h5py import h5p

    return bool(plist.get_attr_creation_order() & h5p.CRT_ORDER_TRACKED)


def _names(group: Any) -> list[bytes]:
    """Return the names of the links in a group: in the order of their creation where the file keeps it, else sorted."""
    from h5py import h5

    names: list[bytes] = []

    def note(name: bytes) -> None:
        if len(names) >= _MOST_OBJECTS:
            raise TooMuch(f"the file holds more than {_MOST_OBJECTS:,} objects")
        names.append(name)

    index = h5.INDEX_CRT_ORDER if _tracked(group) else h5.INDEX_NAME
    group.links.iterate(note, idx_type=index, order=h5.ITER_INC)
    return names


def _fill(plist: Any, item: Any) -> str:
    """Return the element that stands where nothing was written, in base64."""
    import numpy

    element = numpy.zeros((), item.get_type().dtype)
    plist.get_fill_value(element)
    return b64encode(element.tobytes()).decode()


def _filters(plist: Any) -> list[list[Any]]:
    """Return number, name, flags and parameters of the filters that encoded the chunks, the first one first."""
    filters = []
    for index in range(plist.get_nfilters()):
        number, flags, values, name = plist.get_filter(index)
        filters.append([number, _text(name), flags, list(values)])
    return filters


def _raw(text: Any) -> bytes:
    return text if isinstance(text, bytes) else b"" if text is None or text == 0 else str(text).encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
