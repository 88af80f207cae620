"""The objects of an HDF5 file (groups, datasets, links, attributes) as plain values, without a handle of the HDF5 library.

`hdf5_walk` reports each object as a record that JSON can carry; `Node.from_record` checks and decodes it. A record has these entries:

    path            names from the root, joined by slashes; "" is the root
    kind            an ObjectKind
    to              link: the path of its target; external link: [file, path]
    tracked         group: whether the file keeps the order in which its links were created
    ordered         group, dataset: whether the file keeps the order in which its attributes were created
    attributes      group, dataset: a list of {name, type, shape, value}
    address         dataset: [file number, byte] of its header, which tells whether two names lead to one dataset
    type            a list: an ElementKind, then what belongs to it (see hdf5_types)
    shape           a list of sizes; null where the dataspace is empty (H5S_NULL)
    layout          dataset: a DataLayout
    value           the elements in base64, or a list of texts decoded as Latin-1, so that each character is a byte
    fill            the element that stands where nothing was written, in base64
    filled          whether that element was chosen by whoever wrote the file
    offset          contiguous dataset: the byte of the file at which its data begin; null where nothing was written
    nbytes          contiguous dataset of another type: the bytes of its data
    chunk           chunked dataset: the shape of a chunk
    most            chunked dataset: the size up to which each axis may grow; null where it has no limit
    filters         chunked dataset: [number, name, flags, parameters] of each filter, the first to encode first
    chunks          chunked dataset: [offset in elements, byte of the file, nbytes, mask of filters that were left out] of each chunk
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import Malformed

if TYPE_CHECKING:
    from ...tensors.checkpoint import Undecoded
    from ...tensors.tensor import Tensor

Record = dict[str, Any]


class ObjectKind(StrEnum):
    """What a path of the file leads to."""

    GROUP = "group"
    DATASET = "dataset"  # of numbers or opaque bytes: a tensor
    TEXT = "text"  # a dataset of texts
    OBJECT = "object"  # a dataset that is neither
    VIRTUAL = "virtual"  # a dataset that is made of others
    SOFT_LINK = "soft"
    EXTERNAL_LINK = "external"
    REPEATED_GROUP = "again"  # a second hard link to a group
    NAMED_TYPE = "type"
    OTHER_LINK = "user-defined link"


class ElementKind(StrEnum):
    """The kind of an element type, which comes first in its description."""

    PLAIN = "plain"  # a number that numpy has, or bfloat16
    OPAQUE = "opaque"  # bytes without a meaning to HDF5
    FIXED_TEXT = "text"  # texts of one length
    VARIABLE_TEXT = "texts"  # texts of any length
    OTHER = "another"


class DataLayout(StrEnum):
    """How a dataset keeps its data."""

    COMPACT = "compact"  # in the object's own header
    CONTIGUOUS = "contiguous"
    CHUNKED = "chunked"
    EXTERNAL = "external"  # in other files
    VIRTUAL = "virtual"  # made of other datasets


TEXT_KINDS = (ElementKind.FIXED_TEXT, ElementKind.VARIABLE_TEXT)


class Attribute(NamedTuple):
    """A small named value of an object.

    Attributes:
        name: The attribute's name.
        type: The description of its element type (see hdf5_types).
        shape: Its shape; None where the dataspace is empty.
        value: The bytes of its elements; a list of bytes, one for each element, where the texts have any length.
    """

    name: str
    type: list[Any]
    shape: tuple[int, ...] | None
    value: Any

    @classmethod
    def from_record(cls, name: str, record: Record) -> Attribute:
        """Decode the type, shape and value of an attribute, or of a dataset whose elements were read with the header."""
        return cls(name, record["type"], _shape(record), value_of(record))

    @property
    def texts(self) -> list[str] | None:
        """The elements, where they are texts."""
        if self.type[0] == ElementKind.VARIABLE_TEXT:
            return [raw.decode("utf-8", "replace") for raw in self.value]
        if self.type[0] == ElementKind.FIXED_TEXT:
            size = self.type[1]
            pieces = [self.value[at : at + size] for at in range(0, len(self.value), size)]
            return [piece.rstrip(b"\0").decode("utf-8", "replace") for piece in pieces]
        return None

    @property
    def text(self) -> str | None:
        """The only element, where the attribute is a single text."""
        texts = self.texts
        return texts[0] if texts and self.shape == () else None


class Node(NamedTuple):
    """An object of the file, with the record that hdf5_walk made of it."""

    path: str
    kind: str
    attributes: list[Attribute]
    record: Record

    @classmethod
    def from_record(cls, record: Record) -> Node:
        """Decode a record. Raises Malformed where its path is not UTF-8."""
        attributes = [Attribute.from_record(each["name"], each) for each in record.pop("attributes", ())]
        path, kind = record["path"], record["kind"]
        try:
            path.encode()
        except UnicodeEncodeError:
            raise Malformed(f"the name {path!r} is not UTF-8") from None
        if kind == ObjectKind.DATASET:
            kind = _dataset_kind(record)
        return cls(path, kind, attributes, record)

    @property
    def fill(self) -> bytes:
        """The element that whoever wrote a dataset chose to stand where nothing was written; empty for none."""
        return b64decode(self.record["fill"]) if self.record.get("filled") else b""

    def attribute(self, name: str) -> Attribute | None:
        """Return the attribute called `name`, if there is one."""
        return next((each for each in self.attributes if each.name == name), None)

    def as_attribute(self) -> Attribute:
        """Return the elements of a dataset of texts, which were read with the header."""
        return Attribute.from_record(self.path, self.record)


class HDF5Tree(NamedTuple):
    """The contents of a file: its objects by path, each group before what is in it, and the tensors among them."""

    nodes: dict[str, Node]
    tensors: dict[str, Tensor]
    undecoded: Mapping[str, Undecoded] = {}  # datasets that are no tensors, by path

    def texts(self, path: str, name: str) -> list[str]:
        """Return the texts of an attribute of the object at `path`, which Keras divides into name0, name1, … where they are many."""
        node = self.nodes.get(path)
        attributes = {each.name: each for each in node.attributes} if node else {}
        if name in attributes:
            return attributes[name].texts or []
        parts: list[str] = []
        for number in range(len(attributes)):
            parts += attributes[f"{name}{number}"].texts or [] if f"{name}{number}" in attributes else []
        return parts


def _dataset_kind(record: Record) -> ObjectKind:
    element = record["type"][0]
    if record["layout"] == DataLayout.VIRTUAL:
        return ObjectKind.VIRTUAL
    if element in (ElementKind.PLAIN, ElementKind.OPAQUE) and record["shape"] is not None:
        return ObjectKind.DATASET
    return ObjectKind.TEXT if element in TEXT_KINDS else ObjectKind.OBJECT


def _shape(record: Record) -> tuple[int, ...] | None:
    """Return the shape in a record; None where the dataspace is empty."""
    return None if record["shape"] is None else tuple(record["shape"])


def value_of(record: Record) -> Any:
    """Return the elements in a record: bytes, or a list of bytes where each is a text of its own length."""
    value = record["value"]
    return [text.encode("latin-1") for text in value] if isinstance(value, list) else b64decode(value)
