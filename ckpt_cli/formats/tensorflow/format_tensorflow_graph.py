"""TensorFlow's graphs with weights in them: frozen graphs (a GraphDef; .pb), and a SavedModel's `saved_model.pb`.

The tensors are the constants of the nodes (`Const`), by the names of the nodes, those of functions below the function's name; strings are
objects. As in graph_constants.py. A SavedModel that has variables is read by these (format_tensorflow.py); its `saved_model.pb` alone gives
its constants. Values are written over where they lie; all else belongs to the graph, and stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, SeveralFiles, formats

if TYPE_CHECKING:
    from ...disk.patch import Patch
    from ...storage.storage import Storage

_SAVED_MODEL = "saved_model.pb"
_VARIABLES = os.path.join("variables", "variables.index")
_OPERATOR = re.compile(rb"[A-Za-z_][\w>.]{0,200}")


class TensorFlowGraph(SeveralFiles, Patcher):
    """Frozen graphs, and graphs of SavedModels."""

    name = "tensorflow-graph"
    title = "TensorFlow graph (values alone are edited)"
    suffixes = (".pb",)
    ties = objects = True
    axes = "io"

    def locate(self, path: str) -> str | None:
        """The graph of the SavedModel in the folder `path`, where it has no variables."""
        graph = os.path.join(path, _SAVED_MODEL)
        return graph if os.path.isfile(graph) and not os.path.isfile(os.path.join(path, _VARIABLES)) else None

    def sniff(self, file: File) -> bool:
        """A message that begins with a node, or a SavedModel of schema 1."""
        try:
            return _begins_with_node(file.head) or _is_saved_model(file)
        except Malformed:
            return False

    def read(self, file: File) -> Checkpoint:
        """The constants; a note where the variables of a SavedModel lie beside it."""
        from .graph_constants import Constants

        found = Constants(file, _is_saved_model(file))
        folder = os.path.dirname(file.path)
        notes = () if not os.path.isfile(os.path.join(folder, _VARIABLES)) else (f"the variables lie beside it: give {folder or '.'}",)
        return Checkpoint(found.tensors, objects=found.objects, undecoded=found.undecoded, separator="/", notes=notes)

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """The elements written over. Raises CannotHold for those that are numbers of any length, or one for all."""
        if any(not isinstance(before, Extent) for before, _ in pairs):
            raise CannotHold("a constant that is kept as numbers of any length, or as one for all, is read, not edited", "convert it")
        return super().patch_of(file, pairs)


def _begins_with_node(head: bytes) -> bool:
    """Whether bytes begin as a GraphDef: a node, which begins with its name and its operator."""
    from ..encodings.protobuf import varint

    if head[:1] != b"\n":
        return False
    _, at = varint(head, 1, len(head))
    if head[at : at + 1] != b"\n":
        return False
    size, at = varint(head, at + 1, len(head))
    if head[at + size : at + size + 1] != b"\x12" or not size:
        return False
    length, at = varint(head, at + size + 1, len(head))
    return _OPERATOR.fullmatch(head[at : at + length]) is not None and len(head[at : at + length]) == length


def _is_saved_model(file: File) -> bool:
    """Whether a file is a SavedModel: its schema, then nothing but graphs, the first of which begins with what is said of it."""
    from ..encodings.protobuf import varint

    if file.head[:3] != b"\x08\1\x12":
        return False
    size, at = varint(file.head, 3, len(file.head))
    behind = file.read(at + size, 1) if at + size < file.size else b"\x12"
    return file.head[at : at + 1] == b"\n" and at + size <= file.size and behind == b"\x12"


formats.add(TensorFlowGraph.name, TensorFlowGraph())
