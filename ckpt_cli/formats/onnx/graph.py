"""An ONNX model: what its graph says of the weights, and where their bytes are.

Read from the protocol buffers of onnx.proto (onnx/onnx), whose field numbers stand in the classes below. Long fields are passed over, not
read.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Malformed
from ...storage.file import File
from ..encodings.protobuf import BYTES, DEEPEST, Field, PagedBytes, fields, varints
from .constants import Constants
from .tensor_proto import SparseTensorProto, TensorProto

_MOST_TEXT = 1 << 24  # bytes
_MOST_ENTRIES = 1 << 12  # of metadata, and of what is said of external data
_MOST_BESIDES = 1_000_000  # tensors besides the weights


class _Model:
    """Fields of a ModelProto; `_FACTS` has the others."""

    GRAPH = 7
    OPSET_IMPORT = 8
    METADATA_PROPS = 14
    FUNCTIONS = 25


class _Function:
    """Fields of a FunctionProto."""

    NAME = 1
    NODE = 7


class _Graph:
    """Fields of a GraphProto."""

    NODE = 1
    INITIALIZER = 5
    SPARSE_INITIALIZER = 15


class _Node:
    """Fields of a NodeProto."""

    OUTPUT = 2
    NAME = 3
    OP_TYPE = 4
    ATTRIBUTE = 5


class _Attribute:
    """Fields of an AttributeProto: its name, a graph, several graphs."""

    NAME = 1
    G = 6
    GRAPHS = 11


class _Tensor:
    """Fields of a TensorProto; `_DATA` has those of the elements."""

    DIMS = 1
    DATA_TYPE = 2
    SEGMENT = 3
    STRING_DATA = 6
    NAME = 8
    EXTERNAL_DATA = 13
    DATA_LOCATION = 14


_FACTS = {1: "ir_version", 2: "producer_name", 3: "producer_version", 4: "domain", 5: "model_version", 6: "doc_string"}
_TEXT_FACTS = (2, 3, 4, 6)
_DATA = (4, 5, 6, 7, 9, 10, 11)  # float, int32, string, int64, raw, double, uint64
_EXTERNAL = 1  # of DataLocation


class Model:
    """What is read of a model.

    Attributes:
        metadata: Versions, the producer, the opsets, and the metadata of the model, as texts.
        weights: The initialisers of the graph, and its constants.
        besides: What of them is sparse, or of graphs in the attributes of nodes, or of functions, by path.
    """

    def __init__(self, file: File) -> None:
        """Read the model. Raises Malformed."""
        self.metadata: dict[str, str] = {}
        self.weights: list[TensorProto] = []
        self.besides: dict[str, TensorProto | SparseTensorProto] = {}
        self._twins: dict[str, int] = {}
        self._data = PagedBytes(file, 0, file.size)
        self._constants = Constants(self._data, self._tensor, self._sparse)
        opsets: list[str] = []
        props: dict[str, str] = {}
        graphs = 0
        for field in fields(self._data):
            if field.number == _Model.GRAPH:
                graphs += 1
                self._read_graph(field, "the graph")
            elif field.number == _Model.FUNCTIONS:
                self._read_function(field)
            elif field.number == _Model.OPSET_IMPORT:
                opsets.append(self._opset(field))
            elif field.number == _Model.METADATA_PROPS:
                self._read_entry(field, props)
            elif field.number in _FACTS:
                self.metadata[_FACTS[field.number]] = self._text(field) if field.kind == BYTES else str(field.signed)
        if graphs != 1:
            raise Malformed(f"the model has {graphs} graphs, not one", "download or copy it again")
        if not opsets:
            raise Malformed("truncated: no opset is said behind the graph", "download or copy it again")
        self.metadata["opset_import"] = ", ".join(opsets)
        self.metadata = {key: value for key, value in self.metadata.items() if value} | props

    def _read_graph(self, graph: Field, what: str, path: str = "", depth: int = 0) -> None:
        """Read the initialisers of a graph and of those below it; `path` comes before the names of those that are no weights."""
        if depth > DEEPEST:
            raise Malformed(f"over {DEEPEST} graphs in one another")
        for field in self._fields(graph, what):
            if field.number == _Graph.INITIALIZER:
                proto = self._tensor(field)
                if depth:
                    self._add_beside(path + proto.name, proto)
                else:
                    self.weights.append(proto)
            elif field.number == _Graph.SPARSE_INITIALIZER:
                sparse = self._sparse(field)
                self._add_beside(path + sparse.values.name, sparse)
            elif field.number == _Graph.NODE:
                self._read_node(field, path, depth)

    def _read_function(self, function: Field) -> None:
        """Read the constants of a function, under its name."""
        inner = list(self._fields(function, "a function"))
        name = next((self._text(field) for field in inner if field.number == _Function.NAME), "")
        for field in inner:
            if field.number == _Function.NODE:
                self._read_node(field, f"{name}.", 1)

    def _read_node(self, node: Field, path: str, depth: int) -> None:
        """Read a constant, and the graphs in the attributes of a node (If, Loop), which is called by its name, else by its operator."""
        texts: dict[int, str] = {}
        attributes: list[Field] = []
        for field in self._fields(node, "a node"):
            if field.number in (_Node.NAME, _Node.OP_TYPE, _Node.OUTPUT):
                texts.setdefault(field.number, self._text(field))
            elif field.number == _Node.ATTRIBUTE and field.kind == BYTES:
                attributes.append(field)
        if texts.get(_Node.OP_TYPE) == "Constant" and (proto := self._constants.of(attributes)):
            self._add_constant(texts.get(_Node.OUTPUT, ""), proto, path, depth)
            return
        for attribute, graph in (found for field in attributes for found in self._graphs(field)):
            below = f"{texts.get(_Node.NAME) or texts.get(_Node.OP_TYPE, '')}.{self._text(attribute) if attribute else ''}"
            self._read_graph(graph, "a graph", f"{path}{below}.", depth + 1)

    def _add_constant(self, name: str, proto: TensorProto | SparseTensorProto, path: str, depth: int) -> None:
        """Add the tensor of a Constant node, which is called as the node's output."""
        if depth or isinstance(proto, SparseTensorProto):
            self._add_beside(path + name, proto)
        else:
            self.weights.append(proto._replace(name=name))

    def _graphs(self, attribute: Field) -> list[tuple[Field | None, Field]]:
        """Return the graphs of an attribute, each with the field of the attribute's name."""
        name, graphs = None, []
        for field in self._fields(attribute, "an attribute"):
            if field.number == _Attribute.NAME:
                name = field
            elif field.number in (_Attribute.G, _Attribute.GRAPHS) and field.kind == BYTES:
                graphs.append(field)
        return [(name, graph) for graph in graphs]

    def _add_beside(self, path: str, proto: TensorProto | SparseTensorProto) -> None:
        """Add what is no weight; nodes without a name may have the same path, and a number then."""
        if len(self.besides) >= _MOST_BESIDES:
            raise Malformed(f"over {_MOST_BESIDES:,} tensors in graphs within the graph")
        count = self._twins[path] = self._twins.get(path, 0) + 1
        self.besides[path if count == 1 else f"{path}[{count}]"] = proto

    def _sparse(self, message: Field) -> SparseTensorProto:
        values, dims = TensorProto("", 0, (), None, None), []
        for field in self._fields(message, "a sparse initialiser"):
            if field.number == 1:
                values = self._tensor(field)
            elif field.number == 3:
                dims += varints(self._data, field)
        return SparseTensorProto(values, tuple(dims), message)

    def _tensor(self, message: Field) -> TensorProto:
        name, data_type, location = "", 0, 0
        dims: list[int] = []
        data: list[Field] = []
        external: dict[str, str] = {}
        for field in self._fields(message, "a tensor"):
            if field.number == _Tensor.DIMS:
                dims += varints(self._data, field)
            elif field.number == _Tensor.DATA_TYPE:
                data_type = field.value
            elif field.number == _Tensor.SEGMENT:
                raise Malformed(f"tensor {name!r} comes in segments, which nobody reads")
            elif field.number == _Tensor.NAME:
                name = self._text(field)
            elif field.number in _DATA:
                data.append(field)
            elif field.number == _Tensor.EXTERNAL_DATA:
                self._read_entry(field, external)
            elif field.number == _Tensor.DATA_LOCATION:
                location = field.value
        if any(n < 0 for n in dims) or len(dims) > 64:
            raise Malformed(f"tensor {name!r}: a dimension is negative, or there are over 64")
        data = [field for field in data if field.nbytes]
        if len(data) > 1 and data[0].number != _Tensor.STRING_DATA:
            raise Malformed(f"tensor {name!r}: its data come in {len(data):,} pieces, of which one is read")
        outside = external if location == _EXTERNAL else None
        return TensorProto(name, data_type, tuple(dims), data[0] if data else None, outside, message)

    def _opset(self, message: Field) -> str:
        domain, version = "ai.onnx", 0
        for field in self._fields(message, "an opset"):
            if field.number == 1:
                domain = self._text(field) or domain
            elif field.number == 2:
                version = field.signed
        return f"{domain} {version}"

    def _read_entry(self, message: Field, entries: dict[str, str]) -> None:
        """Add a StringStringEntryProto to `entries`. Raises Malformed for a key that is there already."""
        key = value = ""
        for field in self._fields(message, "an entry"):
            if field.number == 1:
                key = self._text(field)
            elif field.number == 2:
                value = self._text(field)
        if key in entries or len(entries) > _MOST_ENTRIES:
            raise Malformed(f"the key {key!r} is there twice, or there are over {_MOST_ENTRIES:,}")
        entries[key] = value

    def _fields(self, message: Field, what: str) -> Iterator[Field]:
        """Return the fields of a message. Raises Malformed, which calls it `what`, where the field is no message."""
        if message.kind != BYTES:
            raise Malformed(f"{what} at byte {message.start:,} is no message")
        return fields(self._data, message.start, message.stop)

    def _text(self, field: Field) -> str:
        """Return a text; bytes that are not UTF-8 become escapes."""
        if field.kind != BYTES or field.nbytes > _MOST_TEXT:
            raise Malformed(f"field {field.number} at byte {field.start:,} is {field.nbytes:,} bytes long, or no text")
        return self._data.bytes(field.start, field.stop).decode(errors="backslashreplace")


def begins_as_model(file: File) -> bool:
    """Whether a file begins as a ModelProto: its version, then fields before the graph, each of its own type, then the graph."""
    data, last = PagedBytes(file, 0, file.size), 0
    try:
        for count, field in enumerate(fields(data, 0, file.size + (1 << 40))):
            if field.number == _Model.GRAPH and count:
                return field.kind == BYTES
            known = field.number in _FACTS and (field.kind == BYTES) == (field.number in _TEXT_FACTS)
            if not known or field.number < last or (field.number != 1 and not count):
                return False
            last = field.number
    except Malformed:
        pass
    return False
