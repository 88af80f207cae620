"""The constants in a TensorFlow graph: which tensors the nodes of a GraphDef have in their attributes, and where their elements lie.

    GraphDef {node = 1 NodeDef, library = 2 {function = 1 {signature = 1 {name = 1}, node_def = 3 NodeDef}}, versions = 4}
    NodeDef {name = 1, op = 2, attr = 5 {key = 1, value = 2 AttrValue {tensor = 8 TensorProto}}}
    TensorProto {dtype = 1, tensor_shape = 2, tensor_content = 4, or the elements in a field of their kind}
    SavedModel {schema version = 1, meta_graphs = 2 {graph_def = 2}}

As in tensorflow/core/framework (graph.proto, node_def.proto, attr_value.proto, tensor.proto) and protobuf/saved_model.proto. A field of
elements may be shorter than the shape: then the last one counts for the rest (`Tensor::FromProto` in tensor.cc), zero where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import Malformed, number_of
from ...numbers.dtypes import DType
from ...numbers.shapes import numel_of, show_shape
from ...storage.file import File
from ...storage.storage import READ_SIZE, Extent, Fill, Memory, Overlay, Storage
from ...tensors.checkpoint import Foreign, Undecoded
from ...tensors.tensor import Tensor
from ..encodings.protobuf import BYTES, VARINT, Field, PagedBytes, fields, number
from ..encodings.varints import Varints
from .tensor_protos import CONTENT, DTYPE_OF, FLOAT8, OBJECT_TYPES, RAW_FIELDS, STRING, STRINGS, field_of, shape_of

_CONSTANTS = ("Const", "HostConst")
_MOST_NAME = 1 << 16  # bytes
_MOST_PIECES = 1 << 16  # elements that have a field each
_SHOWN = 1024  # bytes of strings that are listed as they are
_CONTINUES = bytes(range(128, 256))  # the bytes of a varint but its last


class Constants:
    """The constants of a file. `tensors`, `objects` and `undecoded` are what a Checkpoint takes."""

    def __init__(self, file: File, is_saved_model: bool) -> None:
        """Read the nodes, but no elements. Raises Malformed."""
        self.file, self._data = file, PagedBytes(file, 0, file.size)
        self.tensors: dict[str, Tensor] = {}
        self.objects: dict[str, Any] = {}
        self.undecoded: dict[str, Undecoded] = {}
        if not is_saved_model:
            self._read_graph(0, file.size, "")
            return
        graphs = [graph for meta in self._inner(0, file.size, 2) for graph in self._inner(meta.start, meta.stop, 2)]
        for position, graph in enumerate(graphs):
            self._read_graph(graph.start, graph.stop, f"meta_graphs[{position}]/" if len(graphs) > 1 else "")

    def _inner(self, start: int, stop: int, wanted: int) -> Iterator[Field]:
        """The messages in field `wanted` of the message in [start, stop)."""
        return (field for field in fields(self._data, start, stop) if (field.number, field.kind) == (wanted, BYTES))

    def _read_graph(self, start: int, stop: int, prefix: str) -> None:
        for field in fields(self._data, start, stop):
            if field.number == 1 and field.kind == BYTES:
                self._read_node(field, prefix)
            elif field.number == 2 and field.kind == BYTES:
                for function in self._inner(field.start, field.stop, 1):
                    self._read_function(function, prefix)

    def _read_function(self, function: Field, prefix: str) -> None:
        signature = next(self._inner(function.start, function.stop, 1), None)
        name = next(self._inner(signature.start, signature.stop, 1), None) if signature else None
        for node in self._inner(function.start, function.stop, 3):
            self._read_node(node, f"{prefix}{self._text(name) if name else ''}/")

    def _read_node(self, node: Field, prefix: str) -> None:
        name = op = ""
        found: list[tuple[str, Field]] = []
        for field in fields(self._data, node.start, node.stop):
            if field.number == 1:
                name = self._text(field)
            elif field.number == 2:
                op = self._text(field)
            elif field.number == 5 and field.kind == BYTES:
                found += self._tensors_in(field)
        for key, tensor in found:
            self._add(f"{prefix}{name}" if op in _CONSTANTS and key == "value" else f"{prefix}{name}/{key}", tensor)

    def _tensors_in(self, attribute: Field) -> list[tuple[str, Field]]:
        """The key of an attribute of a node, with each tensor that it holds."""
        key, tensors = "", list[Field]()
        for field in fields(self._data, attribute.start, attribute.stop):
            if field.number == 1:
                key = self._text(field)
            elif field.number == 2 and field.kind == BYTES:
                tensors += self._inner(field.start, field.stop, 8)
        return [(key, tensor) for tensor in tensors]

    def _text(self, field: Field) -> str:
        if field.kind != BYTES or field.nbytes > _MOST_NAME:
            raise Malformed(f"a name of {field.nbytes:,} bytes, or no text, at byte {field.start:,}")
        return self._data.bytes(field.start, field.stop).decode(errors="backslashreplace")

    def _add(self, name: str, proto: Field) -> None:
        if name in self.tensors or name in self.objects:
            raise Malformed(f"there are two constants {name!r}")
        try:
            self._add_tensor(name, proto)
        except Malformed as error:
            raise Malformed(f"constant {name!r}: {error.what}", error.mend, error.where) from None

    def _add_tensor(self, name: str, proto: Field) -> None:
        kind, elements = 0, list[Field]()
        shape: tuple[int, ...] = ()
        for field in fields(self._data, proto.start, proto.stop):
            if field.number == 1 and field.kind == VARINT:
                kind = field.value
            elif field.number == 2 and field.kind == BYTES:
                shape = shape_of(self._data, field.start, field.stop)
            else:
                elements.append(field)
        if kind in OBJECT_TYPES:
            self._add_object(
                name, OBJECT_TYPES[kind], shape, [field for field in elements if kind == STRING and field.number == STRINGS], proto
            )
            return
        dtype = DTYPE_OF.get(kind)
        if dtype is None:
            raise Malformed(f"dtype {kind:,} is not known")
        self.tensors[name] = Tensor.whole(dtype, shape, self._storage(elements, dtype, numel_of(shape), show_shape(shape)))

    def _add_object(self, name: str, what: str, shape: tuple[int, ...], strings: list[Field], proto: Field) -> None:
        """A constant of strings, or of what is no numbers: its strings where these are short, else its size, and its bytes as they are."""
        count = numel_of(shape)
        short = sum(field.nbytes for field in strings) <= _SHOWN and len(strings) == count and all(field.kind == BYTES for field in strings)
        if short and count:
            texts = [self._data.bytes(field.start, field.stop).decode(errors="backslashreplace") for field in strings]
            self.objects[name] = texts if shape else texts[0]
        else:
            self.objects[name] = Foreign(what, number_of(count, what))
            self.undecoded[name] = Undecoded(f"{proto.nbytes:,} bytes of {what}s", self._extent(proto))

    def _extent(self, field: Field) -> Extent:
        return Extent(self.file, field.start, field.nbytes)

    def _storage(self, found: list[Field], dtype: DType, count: int, shape: str) -> Storage:
        """The `count` elements of a TensorProto that has the fields `found`."""
        wanted = field_of(dtype)
        given = [field for field in found if field.number in (CONTENT, wanted) and (field.nbytes or field.kind != BYTES)]
        if given and given[0].number == CONTENT and len(given) == 1 and given[0].kind == BYTES:
            return self._extent(given[0])
        if any(field.number == CONTENT for field in given):
            raise Malformed("its elements are there twice")
        is_raw = wanted in (FLOAT8, *RAW_FIELDS.values())
        if len(given) == 1 and given[0].kind == BYTES:
            values, last = self._packed(given[0], dtype, count, is_raw)
        else:
            values, last = self._single(given, dtype, is_raw)
        if values.nbytes > count * dtype.nbytes or values.nbytes % dtype.nbytes:
            raise Malformed(f"shape {shape} of {dtype.name} takes {count * dtype.nbytes:,} bytes, the data has {values.nbytes:,}")
        if values.nbytes == count * dtype.nbytes:
            return values
        rest = Fill(last or bytes(dtype.nbytes), count * dtype.nbytes)
        return Overlay(rest, 0, values) if values.nbytes > dtype.nbytes else rest

    def _packed(self, field: Field, dtype: DType, most: int, is_raw: bool) -> tuple[Storage, bytes]:
        """The elements of a packed field, and the last one."""
        extent, size = self._extent(field), dtype.nbytes
        if is_raw:
            return extent, extent.read(max(0, extent.nbytes - size))
        count = (
            sum(len(bytes(block).translate(None, _CONTINUES)) for block in extent.blocks(READ_SIZE))
            if extent.nbytes <= 10 * most
            else most + 1
        )
        if not count:
            raise Malformed("its numbers are cut off")
        tail = extent.read(max(0, extent.nbytes - 11))
        begin = max((at + 1 for at, byte in enumerate(tail[:-1]) if byte < 128), default=0)
        last = Varints(Memory(tail[begin:]), dtype, 1).read()
        return Varints(extent, dtype, count), last

    def _single(self, found: list[Field], dtype: DType, is_raw: bool) -> tuple[Storage, bytes]:
        """The elements that have a field each, and the last one."""
        if len(found) > _MOST_PIECES or any(field.kind == BYTES for field in found):
            raise Malformed("its elements come in pieces")
        if is_raw:
            data = b"".join(self._data.bytes(field.start, field.stop) for field in found)
            return Memory(data), data[-dtype.nbytes :]
        varints = b"".join(number(field.value) for field in found)
        data = Varints(Memory(varints), dtype, len(found)).read() if found else b""
        return Memory(data), data[-dtype.nbytes :]
