"""Keras' sharded weights: X.weights.json, which lists groups of variables, beside X_00000.weights.h5, X_00001.weights.h5, … (Keras 3.8 on).

    model.save_weights("X.weights.json", max_shard_size=GB)        model.load_weights("X.weights.json")

The index is described in shard_map.py, a shard in format_hdf5.py. Peculiarities:
- The index lists a group without variables nowhere; its attributes lie in the shard that was open when Keras came by.
- Keras opens X_00000.weights.h5 before it looks into the index: that shard is kept even where nothing is left in it.
- A group is always given a list of files, which every version of Keras reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ReadError
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import Index, Patcher, Savable, Writer, formats
from . import shard_map
from .shard_map import SUFFIX, Shards

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite

_SHARD_SIZE = 5 << 30  # bytes: as Keras has it


class KerasShards(Index, Writer, Patcher):
    """Indices of Keras' shards; a shard is patched or written anew as HDF5."""

    name = "keras-shards"
    title = "Keras: .weights.h5 in shards with a .weights.json"
    called = "Keras' sharded weights"
    suffixes = (SUFFIX,)
    ties = metadata = objects = True
    axes = "io"

    def __init__(self, shard_size: int | None = None) -> None:
        """`shard_size`: the most bytes of tensors in one shard of a new checkpoint; None keeps the shards that there are."""
        self.shard_size = shard_size

    def divided(self, size: int) -> Savable | None:
        """Shards of another size."""
        return KerasShards(size)

    def missing_index(self, folder: str, names: Sequence[str]) -> ReadError | None:
        """The error for shards without their index."""
        index = shard_map.without_index(list(names))
        what = f"{len(names)} shards, whose index ({index}) is missing"
        return ReadError(what, "download it, too, or name one of the shards", folder) if index else None

    def sniff(self, file: File) -> bool:
        """JSON with a map of groups to HDF5 files."""
        return shard_map.is_map(file)

    def read(self, file: File) -> Checkpoint:
        """The datasets of all shards, as if they lay in one file. Raises Malformed where index and shards do not agree."""
        from . import hdf5_checkpoint

        shards = shard_map.open_shards(file)
        return hdf5_checkpoint.checkpoint_of(shards.tree, None, shards)

    def attributes(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """The attributes of groups and datasets."""
        from . import hdf5_checkpoint

        return hdf5_checkpoint.attributes(checkpoint.rest.tree)

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold for what HDF5 has no place for."""
        for shard in _new_shards(checkpoint, "model.weights.json", self.shard_size).values():
            _hdf5().check_place(shard)

    def files_to_write(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The shards that changed (all of them, in a new place), then the index."""
        from ...disk.file_to_write import FileToWrite

        shards = _new_shards(checkpoint, path, self.shard_size)
        same_place = _is_in_place(checkpoint, path)
        for name, shard in shards.items():
            if not (same_place and _is_unchanged(shard)):
                yield _hdf5().file_to_write(shard, os.path.join(os.path.dirname(path), name))
        before = checkpoint.origin.file if checkpoint.origin and isinstance(checkpoint.rest, Shards) else None
        old = before.read(0, before.size) if before else b""
        index = _index(checkpoint, shards, old)
        if not (same_place and index == old):
            yield FileToWrite(path, lambda file_layout: file_layout.write(index))

    def files_to_remove(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """Shards beside the index at `path` that hold nothing any more."""
        if not _is_in_place(checkpoint, path):
            return []
        left = _new_shards(checkpoint, path, self.shard_size)
        return [os.path.join(os.path.dirname(path), name) for name in checkpoint.rest.shards if name not in left]

    def files_read(self, checkpoint: Checkpoint) -> list[File]:
        """The index, then the shards."""
        shards = checkpoint.rest.shards.values() if isinstance(checkpoint.rest, Shards) else ()
        return super().files_read(checkpoint) + [shard.origin.file for shard in shards if shard.origin]


def _hdf5() -> Savable:
    from .format_hdf5 import HDF5

    return HDF5()


def _is_in_place(checkpoint: Checkpoint, path: str) -> bool:
    """Whether the file at `path` is the index that `checkpoint` was read from."""
    origin = checkpoint.origin if isinstance(checkpoint.rest, Shards) else None
    return origin is not None and os.path.realpath(path) == os.path.realpath(origin.path)


def _is_unchanged(shard: Checkpoint) -> bool:
    """Whether a shard holds what it was read with."""
    if shard.origin is None or list(shard) != list(shard.origin.read):
        return False
    return shard.objects == shard.origin.read.objects and all(shard[name] is shard.origin.read[name] for name in shard)


def _new_shards(checkpoint: Checkpoint, path: str, shard_size: int | None) -> dict[str, Checkpoint]:
    """File name → what goes into the shard."""
    if not isinstance(checkpoint.rest, Shards) or shard_size is not None:
        return _divided(checkpoint, os.path.basename(path), shard_size or _SHARD_SIZE)
    kept = _kept(checkpoint, checkpoint.rest)
    if _is_in_place(checkpoint, path):
        return kept
    return {shard_map.shard_name(os.path.basename(path), number): shard for number, shard in enumerate(kept.values())}


def _kept(checkpoint: Checkpoint, rest: Shards) -> dict[str, Checkpoint]:
    """The shards that were read, each with its tensors as they are now; those without any are left out, but for the first."""
    file_of = {name: file for file, shard in rest.shards.items() for name in shard}
    tied = checkpoint.tied_to()
    held: dict[str, dict[str, Tensor]] = {file: {} for file in rest.shards}
    for name, tensor in checkpoint.items():
        first = tied.get(name, name)
        group = rest.map.groups.get(shard_map.group_of(first), list(rest.shards))
        held[file_of.get(checkpoint.sources.get(first, first), group[-1])][name] = tensor
    shards = {}
    for number, (file, shard) in enumerate(rest.shards.items()):
        place = {source: index for index, source in enumerate(shard)}
        names = sorted(held[file], key=lambda name: place.get(checkpoint.sources.get(name, name), len(place)))
        if names or number == 0:
            tensors = {name: held[file][name] for name in names}
            shards[file] = shard.replacing(tensors=tensors, sources=checkpoint.sources, objects=_left(shard, checkpoint))
    return shards


def _left(shard: Checkpoint, checkpoint: Checkpoint) -> Any:
    """The objects of a shard that the checkpoint still has: the same mapping where it has all."""
    left = {name: value for name, value in shard.objects.items() if name in checkpoint.objects}
    return left if len(left) < len(shard.objects) else shard.objects


def _divided(checkpoint: Checkpoint, index: str, shard_size: int) -> dict[str, Checkpoint]:
    """Shards of at most `shard_size` bytes of tensors; a larger tensor has one alone."""
    from .hdf5_objects import HDF5Tree

    groups: list[dict[str, Tensor]] = [{}]
    room, tied = shard_size, checkpoint.tied_to()
    group_of: dict[str, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.items():
        first = tied.get(name, name)
        if first not in group_of:
            if groups[-1] and tensor.nbytes > room:
                groups.append({})
                room = shard_size
            group_of[first] = groups[-1]
            room -= tensor.nbytes
        group_of[first][name] = tensor
    tree = getattr(checkpoint.rest, "tree", checkpoint.rest)
    rest = tree if isinstance(tree, HDF5Tree) else None
    objects = checkpoint.objects if isinstance(checkpoint.rest, Shards) else {}
    shards = [Checkpoint(group, checkpoint.metadata, rest=rest, sources=checkpoint.sources) for group in groups]
    shards[0] = shards[0].replacing(objects=objects)
    return {shard_map.shard_name(index, number): shard for number, shard in enumerate(shards)}


def _index(checkpoint: Checkpoint, shards: dict[str, Checkpoint], old: bytes) -> bytes:
    """The bytes of the index as Keras writes them; the old ones where they say the same."""
    import json

    metadata = dict(checkpoint.rest.map.metadata) if isinstance(checkpoint.rest, Shards) else {}
    metadata["total_size"] = float(sum(tensor.nbytes for shard in shards.values() for tensor in shard.distinct().values()))
    weight_map: dict[str, list[str]] = {}
    for file, shard in shards.items():
        for group in dict.fromkeys(f"/{shard_map.group_of(name)}" for name in shard):
            weight_map.setdefault(group, []).append(file)
    document = {"metadata": metadata, "weight_map": weight_map}
    if old:
        before = checkpoint.rest.map
        if dict(before.metadata) == metadata and {f"/{group}": files for group, files in before.groups.items()} == weight_map:
            return old
    return json.dumps(document, indent=4).encode()


formats.add(KerasShards.name, KerasShards())
