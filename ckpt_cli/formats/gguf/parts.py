"""The parts of a GGUF that was split, as one checkpoint.

    m-00001-of-00003.gguf    all key/values, and split.no = 0, split.count = 3, split.tensors.count; perhaps no tensor
    m-00002-of-00003.gguf    split.no = 1, split.count = 3, split.tensors.count; tensors

As in tools/gguf-split/gguf-split.cpp and `llama_split_path` of ggml-org/llama.cpp.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from ...disk.opening import open_file
from ...errors import CkptError, Malformed, about
from ...storage.file import File, leads_out
from ...tensors.checkpoint import Checkpoint, Origin
from ...tensors.tensor import Tensor
from .. import formats
from .header import Header, LazyValues
from .part_names import COUNT, KEYS, NUMBER, TENSORS, PartName, part_name


class WholeHeader(Header):
    """The header of the first part, which has the key/values of all; and the checkpoint in each part by the name of its file."""

    def __init__(self, file: File, parts: Mapping[str, Checkpoint]) -> None:
        super().__init__(file)
        self.parts, self.end = parts, file.size


def read_parts(first: File) -> Checkpoint:
    """The checkpoint of all parts. Raises Malformed where one is missing or belongs to another set."""
    name = part_name(os.path.abspath(first.path))
    if name is None:
        raise Malformed("this is not called as the first part of a set is: PREFIX-00001-of-00002.gguf")
    parts = {os.path.basename(name.path(n)): _open(first if n == 1 else None, name, n) for n in range(1, name.total + 1)}
    header = WholeHeader(first, parts)
    own = next(iter(parts.values()))
    return Checkpoint(_joined(parts), _without_keys(own.metadata), own.objects, rest=header, notes=_left_out(parts))


def _open(file: File | None, name: PartName, number: int) -> Checkpoint:
    """The checkpoint in a part. Raises Malformed where it is missing, or says that it is another one."""
    path = name.path(number)
    if file is None and os.path.islink(path) and leads_out(path, os.path.dirname(path)):
        raise Malformed(f"the part {os.path.basename(path)!r} is a link that leads out of the folder")
    try:
        file = file or open_file(path)
    except CkptError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise Malformed(f"part {number} of {name.total} is missing: {os.path.basename(path)}", "download or copy it, too") from None
        raise
    form = formats["gguf"]
    with about(path):
        if not form.sniff(file):
            raise Malformed("this part is no GGUF", "download or copy it again")
        part = form.read(file)
        said = [part.rest.value(key) if key in part.rest.values else None for key in (NUMBER, COUNT)]
        if said != [number - 1, name.total] and name.total > 1:
            raise Malformed(f"{NUMBER} and {COUNT} are {said[0]} and {said[1]}, and the name says part {number} of {name.total}")
    return part.replacing(origin=Origin(form.name, file, part))


def _joined(parts: Mapping[str, Checkpoint]) -> dict[str, Tensor]:
    """The tensors of all parts. Raises Malformed where two have one of the same name, or there are not as many as the parts say."""
    tensors: dict[str, Tensor] = {}
    for file, part in parts.items():
        twin = next((name for name in part if name in tensors), None)
        if twin is not None:
            raise Malformed(f"tensor {twin!r} of {file} is in a part before it, too", "the parts are of different models")
        tensors.update(part.tensors)
    for file, part in parts.items():
        said = part.rest.value(TENSORS) if TENSORS in part.rest.values else len(tensors)
        if said != len(tensors):
            raise Malformed(f"the parts have {len(tensors):,} tensors, and {TENSORS} of {file} is {said}", "download or copy them again")
    return tensors


def _without_keys(metadata: Mapping[str, str]) -> Mapping[str, str]:
    return LazyValues([key for key in metadata if key not in KEYS], metadata.__getitem__)


def _left_out(parts: Mapping[str, Checkpoint]) -> tuple[str, ...]:
    """The note on key/values of later parts that the first one does not have: llama.cpp reads those of the first alone."""
    first, *others = parts.values()
    known: Collection[str] = {*KEYS, *first.metadata, *first.objects}
    more = [key for part in others for key in (*part.metadata, *part.objects) if key not in known]
    return (f"key/values that the first part lacks are not read, as llama.cpp does not read them: {', '.join(more[:5])}",) if more else ()


def edited_parts(checkpoint: Checkpoint) -> dict[str, Checkpoint]:
    """What goes into each part, by the name of its file, once all of them were edited as one checkpoint."""
    header, before = checkpoint.rest, checkpoint.origin.read if checkpoint.origin else checkpoint
    part_of = {name: file for file, part in header.parts.items() for name in part}
    tied = checkpoint.tied_to()
    held: dict[str, dict[str, Tensor]] = {file: {} for file in header.parts}
    for name, tensor in checkpoint.items():
        first = tied.get(name, name)
        held[part_of.get(checkpoint.sources.get(first, first), next(reversed(held)))][name] = tensor
    edited = {}
    for number, (file, part) in enumerate(header.parts.items()):
        changes: dict[str, Any] = {} if _is_unchanged(part, held[file]) else {"tensors": held[file], "sources": checkpoint.sources}
        if len(checkpoint) != len(before):
            changes["metadata"] = dict(part.metadata) | {TENSORS: str(len(checkpoint))}
        if number == 0 and checkpoint.metadata is not before.metadata:
            own = changes.get("metadata", part.metadata)
            changes["metadata"] = {key: own[key] for key in own if key in KEYS} | dict(checkpoint.metadata)
        if number == 0 and checkpoint.objects is not before.objects:
            changes["objects"] = checkpoint.objects
        edited[file] = part.replacing(**changes) if changes else part
    return edited


def _is_unchanged(part: Checkpoint, tensors: Mapping[str, Tensor]) -> bool:
    return list(part) == list(tensors) and all(part[name] is tensor for name, tensor in tensors.items())
