"""An ONNX model: what the graph says of its weights, and where their bytes are. Numbers of fields are those of onnx.proto."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import Malformed
from ..file import File
from .protobuf import DEEPEST, Field, Source

EXTERNAL = 1
_ENTRIES = 1 << 12  # of metadata, and of what is said of external data
_SHOWN = 1000  # tensors besides the weights


class Data(NamedTuple):
    """The field of a TensorProto that holds its elements: 4 float, 5 int32, 6 string, 7 int64, 9 raw, 10 double, 11 uint64."""

    number: int
    begin: int
    end: int


class Proto(NamedTuple):
    """A TensorProto. `data` is None where it has no elements of its own; `external` then says where they are."""

    name: str
    type: int
    dims: tuple[int, ...]
    data: Data | None
    external: dict[str, str] | None


class Sparse(NamedTuple):
    values: Proto
    dims: tuple[int, ...]


class Model:
    """A model as its graph has it: `weights` are the initialisers; `besides` those that are sparse, or of subgraphs, by path."""

    def __init__(self, file: File) -> None:
        self.source = Source(file)
        self.metadata: dict[str, str] = {}
        self.weights: list[Proto] = []
        self.besides: dict[str, Proto | Sparse] = {}
        opsets: list[str] = []
        props: dict[str, str] = {}
        graphs = 0
        for field in self.source.fields(0, file.size):
            if field.number == 7:
                graphs += 1
                self._graph(field)
            elif field.number == 8:
                opsets.append(self._opset(field))
            elif field.number == 14:
                self._entry(field, props)
            elif field.number in _FACTS:
                self.metadata[_FACTS[field.number]] = self.source.text(field) if field.is_bytes else str(field.signed)
        if graphs != 1:
            raise Malformed(f"the model has {graphs} graphs, not one", "download or copy it again")
        if not opsets:
            raise Malformed("truncated: no opset is said behind the graph", "download or copy it again")
        self.metadata["opset_import"] = ", ".join(opsets)
        self.metadata = {key: value for key, value in self.metadata.items() if value} | props

    def _graph(self, graph: Field) -> None:
        _message(graph, "the graph")
        for field in self.source.fields(graph.begin, graph.end):
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
        for field in self.source.fields(node.begin, node.end) if _message(node, "a node") else ():
            if field.number in (3, 4):
                names[field.number] = field
            elif field.number == 5 and field.is_bytes:
                graphs += self._graphs(field)
        for attribute, graph in graphs:
            called = ".".join(self.source.text(field) if field else "" for field in (names.get(3) or names.get(4), attribute))
            self._subgraph(graph, f"{path}{called}.", depth + 1)

    def _graphs(self, attribute: Field) -> list[tuple[Field | None, Field]]:
        """The graphs of an attribute, each with the field of its name."""
        name, found = None, []
        for field in self.source.fields(attribute.begin, attribute.end):
            if field.number == 1:
                name = field
            elif field.number in (6, 11) and field.is_bytes:
                found.append(field)
        return [(name, graph) for graph in found]

    def _subgraph(self, graph: Field, path: str, depth: int) -> None:
        if depth > DEEPEST:
            raise Malformed(f"over {DEEPEST} graphs in one another")
        for field in self.source.fields(graph.begin, graph.end):
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
        for field in self.source.fields(message.begin, message.end) if _message(message, "a sparse initialiser") else ():
            if field.number == 1:
                values = self._tensor(field)
            elif field.number == 3:
                dims += self.source.varints(field)
        return Sparse(values, tuple(dims))

    def _tensor(self, message: Field) -> Proto:
        name, kind, place = "", 0, 0
        dims: list[int] = []
        data: list[Data] = []
        external: dict[str, str] = {}
        for field in self.source.fields(message.begin, message.end) if _message(message, "a tensor") else ():
            if field.number == 1:
                dims += self.source.varints(field)
            elif field.number == 2:
                kind = field.value
            elif field.number == 3:
                raise Malformed(f"tensor {name!r} comes in segments, which nobody reads")
            elif field.number == 8:
                name = self.source.text(field)
            elif field.number in _DATA:
                data.append(Data(field.number, field.begin, field.end))
            elif field.number == 13:
                self._entry(field, external)
            elif field.number == 14:
                place = field.value
        if any(n < 0 for n in dims) or len(dims) > 64:
            raise Malformed(f"tensor {name!r}: a dimension is negative, or there are over 64")
        data = [one for one in data if one.end > one.begin]
        if len(data) > 1 and data[0].number != 6:
            raise Malformed(f"tensor {name!r}: its data come in {len(data):,} pieces, of which one is read")
        return Proto(name, kind, tuple(dims), data[0] if data else None, external if place == EXTERNAL else None)

    def _opset(self, message: Field) -> str:
        domain, version = "ai.onnx", 0
        for field in self.source.fields(message.begin, message.end) if _message(message, "an opset") else ():
            if field.number == 1:
                domain = self.source.text(field) or domain
            elif field.number == 2:
                version = field.signed
        return f"{domain} {version}"

    def _entry(self, message: Field, into: dict[str, str]) -> None:
        """A StringStringEntryProto. Raises Malformed for a key that is there twice."""
        key = value = ""
        for field in self.source.fields(message.begin, message.end) if _message(message, "an entry") else ():
            if field.number == 1:
                key = self.source.text(field)
            elif field.number == 2:
                value = self.source.text(field)
        if key in into or len(into) > _ENTRIES:
            raise Malformed(f"the key {key!r} is there twice, or there are over {_ENTRIES:,}")
        into[key] = value


_FACTS = {1: "ir_version", 2: "producer_name", 3: "producer_version", 4: "domain", 5: "model_version", 6: "doc_string"}
_DATA = (4, 5, 6, 7, 9, 10, 11)


def _message(field: Field, what: str) -> bool:
    """True; raises Malformed where the field is no message."""
    if not field.is_bytes:
        raise Malformed(f"{what} at byte {field.begin:,} is no message")
    return True


def begins_as_one(file: File) -> bool:
    """Whether the file begins as a ModelProto: its version, then fields before the graph, each of its own type, then the graph."""
    source, last = Source(file), 0
    try:
        for count, field in enumerate(source.fields(0, file.size + (1 << 40))):
            if field.number == 7 and count:
                return field.is_bytes
            known = field.number in _FACTS and field.is_bytes == (field.number in (2, 3, 4, 6))
            if not known or field.number < last or (field.number != 1 and not count):
                return False
            last = field.number
    except Malformed:
        pass
    return False
