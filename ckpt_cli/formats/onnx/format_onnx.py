"""ONNX: a graph with its weights in one protobuf message, or with the weights in files of raw bytes beside it.

    ModelProto { ir_version = 1, graph = 7 { node = 1, initializer = 5 { dims = 1, type = 2, name = 8, raw_data = 9 } }, opset_import = 8 }

Specified in onnx.proto and docs/ExternalData.md of onnx/onnx. Peculiarities:
- The weights are the graph's initialisers by their names, and its `Constant` nodes by the names of their outputs. Sparse ones, texts, and
  those of subgraphs (If, Loop) and functions are objects.
- Elements are raw little-endian bytes, or numbers in a field of their kind: packed floats are raw bytes, packed varints are decoded.
- External data lie in files below the model's folder, and nowhere else. Tensors that name the same bytes are tied.
- Values are overwritten where they lie. A graph is neither built nor rewired: no other format is converted to ONNX, and names, dtypes and
  shapes, which nodes refer to, stay what they are. Entries of `metadata_props` are set and dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ...errors import CannotHold
from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint, Foreign
from .. import Patcher, SeveralFiles, formats

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite
    from ...disk.patch import Patch
    from .metadata_writing import NewMetadata


class External(NamedTuple):
    """The files of external data: by the names that the model has for them, and the names of those of which it has a checksum."""

    files: dict[str, File]
    summed: set[str]


class Onnx(SeveralFiles, Patcher):
    """Models of ONNX, with the files of their external data."""

    name = "onnx"
    title = "ONNX (values are edited in place)"
    called = "ONNX"
    suffixes = (".onnx",)
    ties = metadata = edits_metadata = objects = True
    is_target = True  # a name in .onnx means ONNX, and what is no edited ONNX file is refused

    def sniff(self, file: File) -> bool:
        """A protobuf message with the fields of a model."""
        if file.head[:1] != b"\x08":
            return False
        from .graph import begins_as_model

        return begins_as_model(file)

    def read(self, file: File) -> Checkpoint:
        """The initialisers of the graph; what is in it besides and holds weights, as objects."""
        from .graph import Model
        from .weights import STRING, Weights, described, undecoded

        model = Model(file)
        weights = Weights(file)
        besides = model.besides | {proto.name: proto for proto in model.weights if proto.type == STRING}
        for proto in model.weights:
            if proto.type != STRING:
                weights.add(proto)
        weights.check_apart()
        objects = {path: Foreign(*described(proto)) for path, proto in besides.items()}
        bytes_of = {path: undecoded(file, proto) for path, proto in besides.items()}
        rest = External(weights.files, weights.summed)
        return Checkpoint(weights.tensors, model.metadata, objects, rest=rest, undecoded=bytes_of)

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold where more than values changed, or where these cannot be written over."""
        _patches(checkpoint)
        _new_metadata(checkpoint)

    def files_to_write(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The files that change, patched; in a new place all of them, under the names that the model has for them."""
        from functools import partial

        from ...disk.file_to_write import FileToWrite
        from ...disk.patch import copy

        patches = _patches(checkpoint)
        metadata = _new_metadata(checkpoint)
        here = checkpoint.origin is not None and os.path.realpath(path) == os.path.realpath(checkpoint.origin.path)
        names = [path, *(os.path.join(os.path.dirname(path), location) for location in _external(checkpoint).files)]
        for target, patch in zip(names, patches, strict=True):
            if metadata and target == path:
                yield FileToWrite(target, partial(metadata.write, patch.changes))
                continue
            if here and not patch.changes:
                continue
            if not here and target != path and _is(target, patch.file):
                if patch.changes:
                    raise CannotHold(f"the values in {target} belong to the model that was read, too", "write to another folder, or -i")
                continue
            yield FileToWrite(target, partial(copy, patch), patch)

    def files_read(self, checkpoint: Checkpoint) -> list[File]:
        """The model, then the files of its external data."""
        return [*super().files_read(checkpoint), *_external(checkpoint).files.values()]


def _external(checkpoint: Checkpoint) -> External:
    return checkpoint.rest if isinstance(checkpoint.rest, External) else External({}, set())


def _is(path: str, file: File) -> bool:
    """Whether the file at `path` is `file`."""
    try:
        info = os.stat(path)
    except OSError:
        return False
    return (info.st_dev, info.st_ino) == file.identity


def _new_metadata(checkpoint: Checkpoint) -> NewMetadata | None:
    """The entries of the metadata to be written; None where they are as they were."""
    from .metadata_writing import NewMetadata

    changed = checkpoint.origin and checkpoint.metadata is not checkpoint.origin.read.metadata
    return NewMetadata(checkpoint, checkpoint.origin.file) if changed and checkpoint.origin else None


def _patches(checkpoint: Checkpoint) -> list[Patch]:
    """The patch of the model, then of each file of external data. Raises CannotHold where more than values changed, or these cannot."""
    from ...disk.patch import Patch, changes
    from ..patching import changed_storages

    origin = checkpoint.origin
    pairs = changed_storages(checkpoint.replacing(metadata=origin.read.metadata) if origin else checkpoint)
    if origin is None or origin.format != Onnx.name:
        raise CannotHold("an ONNX file holds a graph, which weights alone do not make", "write .safetensors, or edit the .onnx itself")
    if pairs is None:
        raise CannotHold("names, dtypes, shapes and ties in an ONNX file belong to its graph", "only values are edited: set, reinit")
    external = _external(checkpoint)
    patches: list[Patch] = [Patch(file, [], []) for file in (origin.file, *external.files.values())]
    patch_of = {patch.file: patch for patch in patches}
    summed = {external.files[location] for location in external.summed}
    for before, after in pairs:
        if not isinstance(before, Extent):
            names = [name for name, tensor in checkpoint.items() if tensor.storage is after]
            raise CannotHold(f"{names[0]} is kept as numbers of any length: it is read, not edited", "leave it out by a pattern")
        if before.file in summed:
            raise CannotHold(f"the model has a checksum of {before.file.path}, which would not hold", "leave what is in it out")
        patch_of[before.file].changes.extend(changes(before.place(), before, after))
    return [patch._replace(changes=sorted(patch.changes, key=lambda change: change.at)) for patch in patches]


formats.add(Onnx.name, Onnx())
