"""Sharded checkpoints: an index beside its shards, as `save_pretrained` writes them.

    model.safetensors.index.json   {"metadata": {"total_size": BYTES}, "weight_map": {NAME: "model-00001-of-00003.safetensors", …}}

As in transformers' modeling_utils.py and huggingface_hub's serialization. Peculiarities:
- Every command takes index and shards as one checkpoint; a shard is of any other format.
- The index and the shards are compared: a name that one of them lacks is an error, and is never left out in silence.
- A variant's index has its own names (index_names.py).
- Shard names are plain names of files in the index's folder or below it. A link may lead out of the folder only within the hub's cache,
  where every file lies in `blobs/`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...disk.opening import open_file
from ...errors import CannotHold, CkptError, ReadError
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import Index, IndexFault, Patcher, Savable, Writer, formats
from ..encodings import strict_json
from .index_names import SUFFIX, is_index, shard_name, whole_of_index
from .shard_index import Joined, open_named, read_index
from .shard_index import is_index as holds_index

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite

SHARD_SIZE = 5_000_000_000  # bytes: as save_pretrained has it


class Shards(NamedTuple):
    """What is kept of an index that was read: its own metadata, and the checkpoint in each shard by its file name."""

    metadata: Mapping[str, Any]
    shards: Mapping[str, Checkpoint]


class Sharded(Index, Writer, Patcher):
    """Indices of shards; a shard is patched or written anew by its own format."""

    name = "sharded"
    title = "Shards with an index.json"
    called = "a model in shards"
    suffixes = (SUFFIX,)
    ties = metadata = edits_metadata = True

    def __init__(self, shard_size: int | None = None) -> None:
        """`shard_size`: the most bytes of tensors in one shard of a new checkpoint; None keeps the shards that there are."""
        self.shard_size = shard_size

    def is_called(self, path: str) -> bool:
        """Whether a file is called as an index is, that of a variant, too."""
        return is_index(path)

    def whole(self, path: str) -> str:
        """What the one file would be called whose shards an index of this name lists."""
        return whole_of_index(path)

    def is_listed(self, path: str) -> bool:
        """Whether a file is called as a shard is."""
        return shard_name(path) is not None

    def listed(self, path: str) -> Collection[str]:
        """The names of the shards that the index at `path` lists; none where it cannot be read."""
        try:
            return set(read_index(open_file(path)).files)
        except CkptError:
            return ()

    def missing_index(self, folder: str, names: Sequence[str]) -> ReadError | None:
        """The error for shards without their index; None where a name is no shard's, or the only shard is all there is."""
        shards = [shard for name in names if (shard := shard_name(name))]
        if not shards or len(shards) < len(names) or (len(shards), shards[0].total) == (1, 1):
            return None
        count = f"{shards[0].total}" if len(shards) == shards[0].total else f"{len(shards)} of {shards[0].total}"
        what = f"{count} shards, whose index ({shards[0].whole}{SUFFIX}) is missing"
        mend = "download it, too, name one of the shards, or make one model of all: `ckpt convert SRC DST --ignore-index`"
        return ReadError(what, mend, folder)

    def sniff(self, file: File) -> bool:
        """JSON with a map of weights to files."""
        return holds_index(file)

    def read(self, file: File) -> Checkpoint:
        """The tensors of all shards, whose headers are read. Raises Malformed where index and shards do not agree."""
        index = read_index(file)
        folder = os.path.dirname(os.path.abspath(file.path))
        shards = {name: open_named(folder, name) for name in index.files}
        tensors = Joined(index.weight_map, shards)
        merged = {key: value for shard in shards.values() for key, value in shard.metadata.items()}
        return Checkpoint(tensors, merged, rest=Shards(index.metadata, shards))

    def read_without(self, file: File, bear: bool = False) -> Checkpoint:
        """The tensors of the shards that are there, whatever the index says."""
        from .gathering import gather

        return gather(file, bear)

    def wrong(self, checkpoint: Checkpoint) -> Iterator[IndexFault]:
        """What the index says that is not so, and the shards that cannot be read."""
        from .gathering import Gathered, wrong

        broken = checkpoint.rest.broken if isinstance(checkpoint.rest, Gathered) else {}
        shards = {name: shard.origin.read for name, shard in _shards(checkpoint).items() if shard.origin}
        for name, error in broken.items():
            yield IndexFault(name, error.what, error.where or name)
        if checkpoint.origin:
            yield from wrong(checkpoint.origin.file, shards, broken)

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold for what the format of a shard has no place for."""
        path = checkpoint.origin.path if checkpoint.origin and isinstance(checkpoint.rest, Shards) else "model.safetensors"
        for shard, form in _new_shards(checkpoint, path, self.shard_size).values():
            form.check_place(shard)

    def files_to_write(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The shards that changed (all of them, in a new place), then the index."""
        import json

        from ...disk.file_to_write import FileToWrite

        shards = _new_shards(checkpoint, path, self.shard_size)
        folder = os.path.dirname(path)
        same_place = _is_in_place(checkpoint, path)
        for name, (shard, form) in shards.items():
            if not (same_place and _is_unchanged(shard)):
                yield form.file_to_write(shard, os.path.join(folder, name))
        before = checkpoint.origin.file if checkpoint.origin and isinstance(checkpoint.rest, Shards) else None
        index = _index(checkpoint, {name: shard for name, (shard, _) in shards.items()})
        old = before.read(0, before.size) if before else b""
        if before and strict_json.loads(old) == json.loads(index):
            index = old
        if not (same_place and index == old):
            yield FileToWrite(path, lambda file_layout: file_layout.write(index))

    def files_to_remove(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """Shards beside the index at `path` that hold nothing any more."""
        if not _is_in_place(checkpoint, path):
            return []
        left = set(_new_shards(checkpoint, path, self.shard_size))
        return [os.path.join(os.path.dirname(path), name) for name in _shards(checkpoint) if name not in left]

    def files_read(self, checkpoint: Checkpoint) -> list[File]:
        """The index, then the shards."""
        shards = [shard.origin.file for shard in _shards(checkpoint).values() if shard.origin]
        return list({file.path: file for file in (*super().files_read(checkpoint), *shards)}.values())


def _is_in_place(checkpoint: Checkpoint, path: str) -> bool:
    """Whether the file at `path` is the one that `checkpoint` was read from."""
    return checkpoint.origin is not None and os.path.realpath(path) == os.path.realpath(checkpoint.origin.path)


def _shards(checkpoint: Checkpoint) -> Mapping[str, Checkpoint]:
    shards: Mapping[str, Checkpoint] = getattr(checkpoint.rest, "shards", {})
    return shards


def _new_shards(checkpoint: Checkpoint, path: str, shard_size: int | None) -> dict[str, tuple[Checkpoint, Savable]]:
    """File name → what goes into the shard, and its format: the shards that were read, where they may keep their names."""
    rest = checkpoint.rest if isinstance(checkpoint.rest, Shards) else None
    if rest is None or shard_size is not None or not _may_keep_names(rest, checkpoint, path):
        return _divided(checkpoint, path, shard_size or SHARD_SIZE)
    shard_of = {name: file for file, shard in rest.shards.items() for name in shard}
    tied, last = checkpoint.tied_to(), next(reversed(list(rest.shards)), "")
    held: dict[str, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.items():
        first = tied.get(name, name)
        held.setdefault(shard_of.get(checkpoint.sources.get(first, first), last), {})[name] = tensor  # what is new goes into the last
    shards = {}
    for file, shard in rest.shards.items():
        if file in held and shard.origin is not None:
            # in the shard's own order, so that one that did not change is seen to be the same
            place = {source: index for index, source in enumerate(shard)}
            names = sorted(held[file], key=lambda name: place.get(checkpoint.sources.get(name, name), len(place)))
            tensors = {name: held[file][name] for name in names}
            form = _savable(shard.origin.format)
            metadata = _metadata_of(shard, form, checkpoint)
            shards[file] = shard.replacing(tensors=tensors, sources=checkpoint.sources, metadata=metadata), form
    return shards


def _metadata_of(shard: Checkpoint, form: Savable, checkpoint: Checkpoint) -> Mapping[str, str]:
    """The metadata of a shard: what was set or dropped of those of all is set or dropped in each. Raises CannotHold."""
    before = checkpoint.origin.read.metadata if checkpoint.origin else {}
    if checkpoint.metadata is before:
        return shard.metadata
    if not form.edits_metadata:
        raise CannotHold(f"{form.name} shards have no metadata", "convert the model first, say to .safetensors")
    changed = {key: text for key, text in checkpoint.metadata.items() if before.get(key) != text}
    return {key: text for key, text in {**shard.metadata, **changed}.items() if key in checkpoint.metadata}


def _savable(name: str) -> Savable:
    """The format of a shard that is written. Raises CannotHold for one that is only read."""
    form = formats[name]
    if not isinstance(form, Savable):
        raise CannotHold(f"{name} is read, not written", "convert it, say to .safetensors")
    return form


def _may_keep_names(rest: Shards, checkpoint: Checkpoint, path: str) -> bool:
    """Whether the shards may keep their names under the index at `path`: it says the suffix that they have, and their folders are there."""
    suffix = os.path.splitext(whole_of_index(path))[1]
    plain = _is_in_place(checkpoint, path) or not any("/" in shard for shard in rest.shards)
    return plain and all(shard.endswith(suffix) for shard in rest.shards)


def _divided(checkpoint: Checkpoint, path: str, shard_size: int) -> dict[str, tuple[Checkpoint, Savable]]:
    """Shards of at most `shard_size` bytes of tensors (a larger tensor has one alone), called by the common convention."""
    stem, suffix = os.path.splitext(whole_of_index(path))
    form = next((form for form in formats.built_in() if isinstance(form, Savable) and suffix and suffix in form.suffixes), None)
    if form is None:
        raise CannotHold(f"no format of shards is called {suffix!r}", "name the index MODEL.safetensors.index.json or MODEL.bin.index.json")
    groups: list[dict[str, Tensor]] = []
    room = 0
    group_of: dict[str, dict[str, Tensor]] = {}
    tied = checkpoint.tied_to()
    for name, tensor in checkpoint.items():
        first = tied.get(name, name)
        if first in group_of:
            group_of[first][name] = tensor
            continue
        if not groups or tensor.nbytes > room:
            groups.append({})
            room = shard_size
        groups[-1][name], group_of[name] = tensor, groups[-1]
        room -= tensor.nbytes
    names = [f"{stem}-{i + 1:05d}-of-{len(groups):05d}{suffix}" for i in range(len(groups))]
    metadata = dict(checkpoint.metadata) | ({"format": "pt"} if form.metadata else {})
    return {name: (Checkpoint(group, metadata), form) for name, group in zip(names, groups, strict=True)}


def _is_unchanged(shard: Checkpoint) -> bool:
    """Whether a shard holds what it was read with."""
    before = shard.origin.read if shard.origin else Checkpoint({})
    same = list(shard) == list(before) and shard.metadata == before.metadata
    return same and all(shard[name] is before[name] for name in shard)


def _index(checkpoint: Checkpoint, shards: Mapping[str, Checkpoint]) -> bytes:
    """The index's bytes as `save_pretrained` writes them, `total_size` and `total_parameters` brought up to date."""
    import json

    distinct = checkpoint.distinct().values()
    rest = checkpoint.rest if isinstance(checkpoint.rest, Shards) else Shards({}, {})
    metadata = dict(rest.metadata) | {"total_size": sum(tensor.nbytes for tensor in distinct)}
    if "total_parameters" in metadata:
        metadata["total_parameters"] = sum(tensor.numel for tensor in distinct)
    weight_map = {name: file for file, shard in shards.items() for name in shard}
    document = {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}
    return (json.dumps(document, indent=2) + "\n").encode()


formats.add(Sharded.name, Sharded())
