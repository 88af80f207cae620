"""TensorFlow's object graph, by which it finds the variables of objects: it says under which key each variable is kept.

    TrackableObjectGraph {nodes = 1 {children = 1, attributes = 2 {name = 1, full_name = 2, checkpoint_key = 3}, slot_variables = 3, …}}

As in tensorflow/core/protobuf/trackable_object_graph.proto. TensorFlow restores nothing at all by a graph that names a key which is not in
the checkpoint. So a key that is renamed is renamed here, and the attribute of a key that is dropped is dropped. All else stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..encodings.protobuf import BYTES, fields, nested

_NODE, _ATTRIBUTE, _KEY = 1, 2, 3  # numbers of fields

Keys = Mapping[bytes, bytes | None]


def rekeyed(graph: bytes, keys: Keys) -> bytes:
    """Return the graph with other keys.

    Args:
        graph: A TrackableObjectGraph.
        keys: Each key that changed → the new one, or None where it was dropped.

    Raises:
        Malformed: The graph is broken.
    """

    def attribute(contents: bytes) -> bytes | None:
        found = (contents[field.start : field.stop] for field in fields(contents) if (field.number, field.kind) == (_KEY, BYTES))
        if any(keys.get(key, key) is None for key in found):
            return None
        return _with_fields(contents, _KEY, lambda key: keys.get(key, key))

    return _with_fields(graph, _NODE, lambda node: _with_fields(node, _ATTRIBUTE, attribute))


def _with_fields(message: bytes, number: int, change: Callable[[bytes], bytes | None]) -> bytes:
    """Return a message with the contents of each field `number` changed; the field is left out where `change` returns None."""
    pieces, at = [], 0
    for field in fields(message):
        piece, at = message[at : field.stop], field.stop
        if (field.number, field.kind) == (number, BYTES):
            contents = change(message[field.start : field.stop])
            piece = b"" if contents is None else nested(number, contents)
        pieces.append(piece)
    return b"".join(pieces)
