"""TensorFlow's object graph: which object's variable is kept under which key. TensorFlow finds variables by it, whatever they are called.

    TrackableObjectGraph {nodes = 1 {children = 1, attributes = 2 {name = 1, full_name = 2, checkpoint_key = 3}, slot_variables = 3, …}}

As in tensorflow/core/protobuf/trackable_object_graph.proto. TensorFlow restores nothing at all by a graph that tells of a key which is
not there: so a key that is renamed is renamed here, and the attribute of one that is dropped is dropped. All else stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..encodings.protobuf import BYTES, fields, nested

_NODE, _ATTRIBUTE, _KEY = 1, 2, 3

Keys = Mapping[bytes, bytes | None]


def rekeyed(graph: bytes, keys: Keys) -> bytes:
    """The graph with other keys: `keys` says what became of those that are not what they were; None: dropped. Raises Malformed."""
    made, at = [], 0
    for field in fields(graph):
        node = (field.number, field.kind) == (_NODE, BYTES)
        made.append(nested(_NODE, _node(graph[field.start : field.stop], keys)) if node else graph[at : field.stop])
        at = field.stop
    return b"".join(made)


def _node(node: bytes, keys: Keys) -> bytes:
    made, at = [], 0
    for field in fields(node):
        whole, at = node[at : field.stop], field.stop
        if (field.number, field.kind) == (_ATTRIBUTE, BYTES):
            attribute = _attribute(node[field.start : field.stop], keys)
            whole = b"" if attribute is None else nested(_ATTRIBUTE, attribute)
        made.append(whole)
    return b"".join(made)


def _attribute(attribute: bytes, keys: Keys) -> bytes | None:
    """None where its key was dropped."""
    made, at = [], 0
    for field in fields(attribute):
        whole, at = attribute[at : field.stop], field.stop
        if (field.number, field.kind) == (_KEY, BYTES):
            key = attribute[field.start : field.stop]
            new = keys.get(key, key)
            if new is None:
                return None
            whole = nested(_KEY, new)
        made.append(whole)
    return b"".join(made)
