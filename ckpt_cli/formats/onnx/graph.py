"""An ONNX model: what the graph says of its weights, and where their bytes are. Numbers of fields are those of onnx.proto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...errors import Malformed
from ...storage.file import File
from ..encodings.protobuf import BYTES, DEEPEST, Field, PagedBytes, fields, varints

EXTERNAL = 1
_MOST_TEXT = 1 << 24  # bytes
_ENTRIES = 1 << 12  # of metadata, and of what is said of external data
_SHOWN = 1000  # tensors besides the weights


class Proto(NamedTuple):
    """A TensorProto. `data` is None where it has no elements of its own; `external` then says where they are.

    The field of the elements: 4 float, 5 int32, 6 string, 7 int64, 9 raw, 10 double, 11 uint64.
    """

    name: str
    type: int
    dims: tuple[int, ...]
    data: Field | None
    external: dict[str, str] | None


class Sparse(NamedTuple):
    values: Proto
    dims: tuple[int, ...]


class Model:
    """A model as its graph has it: `weights` are the initialisers; `besides` those that are sparse, or of subgraphs, by path."""

    def __init__(self, file: File) -> None:
        self.data = PagedBytes(file, 0, file.size)
        self.metadata: dict[str, str] = {}
        self.weights: list[Proto] = []
        self.besides: dict[str, Proto | Sparse] = {}
        opsets: list[str] = []
        props: dict[str, str] = {}
        graphs = 0
        for field in fields(self.data):
            if field.number == 7:
                graphs += 1
                self._graph(field)
            elif field.number == 8:
                opsets.append(self._opset(field))
            elif field.number == 14:
                self._entry(field, props)
            elif field.number in _FACTS:
                self.metadata[_FACTS[field.number]] = self._text(field) if field.kind == BYTES else str(field.signed)
        if graphs != 1:
            raise Malformed(f"the model has {graphs} graphs, not one", "download or copy it again")
        if not opsets:
            raise Malformed("truncated: no opset is said behind the graph", "download or copy it again")
        self.metadata["opset_import"] = ", ".join(opsets)
        self.metadata = {key: value for key, value in self.metadata.items() if value} | props

    def _graph(self, graph: Field) -> None:
        for field in self._inside(graph, "the graph"):
            if field.number == 5:
                self.weights.append(self._tensor(field))
            elif field.number == 15:
                sparse = self._sparse(field)
                self._beside(sparse.values.name, sparse)
            elif field.number == 1:
                self._node(field, "", 0)

    def _node(self, node: Field, path: str, depth: int) -> None:
        """The graphs in a node's attributes, as of If and Loop, and their initialisers. A node is called by its name, else its operator."""
        names: dict[int, Field] = {}
        graphs: list[tuple[Field | None, Field]] = []
        for field in self._inside(node, "a node"):
            if field.number in (3, 4):
                names[field.number] = field
            elif field.number == 5 and field.kind == BYTES:
                graphs += self._graphs(field)
        for attribute, graph in graphs:
            called = ".".join(self._text(field) if field else "" for field in (names.get(3) or names.get(4), attribute))
            self._subgraph(graph, f"{path}{called}.", depth + 1)

    def _graphs(self, attribute: Field) -> list[tuple[Field | None, Field]]:
        """The graphs of an attribute, each with the field of its name."""
        name, found = None, []
        for field in self._inside(attribute, "an attribute"):
            if field.number == 1:
                name = field
            elif field.number in (6, 11) and field.kind == BYTES:
                found.append(field)
        return [(name, graph) for graph in found]

    def _subgraph(self, graph: Field, path: str, depth: int) -> None:
        if depth > DEEPEST:
            raise Malformed(f"over {DEEPEST} graphs in one another")
        for field in self._inside(graph, "a graph"):
            if field.number == 5:
                proto = self._tensor(field)
                self._beside(path + proto.name, proto)
            elif field.number == 15:
                sparse = self._sparse(field)
                self._beside(path + sparse.values.name, sparse)
            elif field.number == 1:
                self._node(field, path, depth)

    def _beside(self, path: str, found: Proto | Sparse) -> None:
        if len(self.besides) < _SHOWN:
            self.besides[path] = found

    def _sparse(self, message: Field) -> Sparse:
        values, dims = Proto("", 0, (), None, None), []
        for field in self._inside(message, "a sparse initialiser"):
            if field.number == 1:
                values = self._tensor(field)
            elif field.number == 3:
                dims += varints(self.data, field)
        return Sparse(values, tuple(dims))

    def _tensor(self, message: Field) -> Proto:
        name, kind, place = "", 0, 0
        dims: list[int] = []
        data: list[Field] = []
        external: dict[str, str] = {}
        for field in self._inside(message, "a tensor"):
            if field.number == 1:
                dims += varints(self.data, field)
            elif field.number == 2:
                kind = field.value
            elif field.number == 3:
                raise Malformed(f"tensor {name!r} comes in segments, which nobody reads")
            elif field.number == 8:
                name = self._text(field)
            elif field.number in _DATA:
                data.append(field)
            elif field.number == 13:
                self._entry(field, external)
            elif field.number == 14:
                place = field.value
        if any(n < 0 for n in dims) or len(dims) > 64:
            raise Malformed(f"tensor {name!r}: a dimension is negative, or there are over 64")
        data = [one for one in data if one.nbytes]
        if len(data) > 1 and data[0].number != 6:
            raise Malformed(f"tensor {name!r}: its data come in {len(data):,} pieces, of which one is read")
        return Proto(name, kind, tuple(dims), data[0] if data else None, external if place == EXTERNAL else None)

    def _opset(self, message: Field) -> str:
        domain, version = "ai.onnx", 0
        for field in self._inside(message, "an opset"):
            if field.number == 1:
                domain = self._text(field) or domain
            elif field.number == 2:
                version = field.signed
        return f"{domain} {version}"

    def _entry(self, message: Field, into: dict[str, str]) -> None:
        """A StringStringEntryProto. Raises Malformed for a key that is there twice."""
        key = value = ""
        for field in self._inside(message, "an entry"):
            if field.number == 1:
                key = self._text(field)
            elif field.number == 2:
                value = self._text(field)
        if key in into or len(into) > _ENTRIES:
            raise Malformed(f"the key {key!r} is there twice, or there are over {_ENTRIES:,}")
        into[key] = value

    def _inside(self, message: Field, what: str) -> Iterator[Field]:
        """The fields of a message. Raises Malformed where the field is none."""
        if message.kind != BYTES:
            raise Malformed(f"{what} at byte {message.start:,} is no message")
        return fields(self.data, message.start, message.stop)

    def _text(self, field: Field) -> str:
        """A text; what is no UTF-8 in it is shown as escapes."""
        if field.kind != BYTES or field.nbytes > _MOST_TEXT:
            raise Malformed(f"field {field.number} at byte {field.start:,} is {field.nbytes:,} bytes long, or no text")
        return self.data.bytes(field.start, field.stop).decode(errors="backslashreplace")


_FACTS = {1: "ir_version", 2: "producer_name", 3: "producer_version", 4: "domain", 5: "model_version", 6: "doc_string"}
_DATA = (4, 5, 6, 7, 9, 10, 11)


def begins_as_one(file: File) -> bool:
    """Whether the file begins as a ModelProto: its version, then fields before the graph, each of its own type, then the graph."""
    data, last = PagedBytes(file, 0, file.size), 0
    try:
        for count, field in enumerate(fields(data, 0, file.size + (1 << 40))):
            if field.number == 7 and count:
                return field.kind == BYTES
            known = field.number in _FACTS and (field.kind == BYTES) == (field.number in (2, 3, 4, 6))
            if not known or field.number < last or (field.number != 1 and not count):
                return False
            last = field.number
    except Malformed:
        pass
    return False
