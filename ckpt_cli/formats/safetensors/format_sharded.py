"""Sharded checkpoints: an index beside its shards, as `save_pretrained` writes them.

    model.safetensors.index.json   {"metadata": {"total_size": BYTES}, "weight_map": {NAME: "model-00001-of-00003.safetensors", …}}

As in transformers' modeling_utils.py and huggingface_hub's serialization. Peculiarities:
- Every command takes index and shards as one checkpoint; a shard is of any other format.
- The index and the shards are compared: a name that one of them lacks is an error, and is never left out in silence.
- Shard names are plain names of files beside the index. A link may lead out of the folder only within the hub's cache, where every file
  lies in `../../blobs/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...disk.opening import open_file
from ...errors import CannotHold, Malformed, ReadError, about
from ...storage.descriptors import allow_many
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint, Kind, Lazy, Origin
from ...tensors.tensor import Tensor
from .. import Index, Patcher, Savable, Writer, formats
from ..encodings import strict_json

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite

_MOST_INDEX = 100_000_000  # bytes
_SHARD_SIZE = 5_000_000_000  # bytes: as save_pretrained has it
_SUFFIX = ".index.json"


class Shards(NamedTuple):
    """What is kept of an index that was read: its own metadata, and the checkpoint in each shard by its file name."""

    metadata: Mapping[str, Any]
    shards: Mapping[str, Checkpoint]


class Sharded(Index, Writer, Patcher):
    """Indices of shards; a shard is patched or written anew by its own format."""

    name = "sharded"
    title = "Shards with an index.json"
    called = "a model in shards"
    suffixes = (_SUFFIX,)
    ties = metadata = True

    def __init__(self, shard_size: int | None = None) -> None:
        """`shard_size`: the most bytes of tensors in one shard of a new checkpoint; None keeps the shards that there are."""
        self.shard_size = shard_size

    def missing_index(self, folder: str, names: Sequence[str]) -> ReadError | None:
        """The error for shards without their index; None where a name is no shard's, or the only shard is all there is."""
        import re

        shards = [shard for name in names if (shard := re.fullmatch(r"(.+)-\d{5}-of-(\d{5})(\.\w+)", name))]
        if not shards or len(shards) < len(names) or (len(shards), int(shards[0][2])) == (1, 1):
            return None
        total, index = int(shards[0][2]), f"{shards[0][1]}{shards[0][3]}{_SUFFIX}"
        count = f"{total}" if len(shards) == total else f"{len(shards)} of {total}"
        return ReadError(f"{count} shards, whose index ({index}) is missing", "download it, too, or name one of the shards", folder)

    def sniff(self, file: File) -> bool:
        """JSON with a map of weights to files."""
        return file.head.lstrip()[:1] == b"{" and file.size <= _MOST_INDEX and b'"weight_map"' in file.read(0, file.size)

    def read(self, file: File) -> Checkpoint:
        """The tensors of all shards, whose headers are read. Raises Malformed where index and shards do not agree."""
        index = strict_json.loads(file.read(0, file.size))
        weight_map = index.get("weight_map") if type(index) is dict else None
        if type(weight_map) is not dict or not set(map(type, weight_map.values())) <= {str}:
            raise Malformed("weight_map is not an object of names and file names")
        metadata = index.get("metadata", {})
        if type(metadata) is not dict:
            raise Malformed("the index's metadata are no object")
        folder = os.path.dirname(os.path.abspath(file.path))
        real = os.path.realpath(folder)
        allowed = real, os.path.join(os.path.dirname(os.path.dirname(real)), "blobs")
        # transformers sorts the index by name, and the order of the tensors is lost in it; the shards, one after the other, keep it
        names = list(weight_map)
        files = sorted(set(weight_map.values())) if names == sorted(names) else dict.fromkeys(weight_map.values())
        allow_many()
        shards = {name: _open(folder, name, allowed) for name in files}
        tensors = Joined(weight_map, shards)
        merged = {key: value for shard in shards.values() for key, value in shard.metadata.items()}
        return Checkpoint(tensors, merged, rest=Shards(metadata, shards))

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
        before = checkpoint.origin.file if checkpoint.origin and self.is_origin_of(checkpoint) else None
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
        return super().files_read(checkpoint) + [shard.origin.file for shard in _shards(checkpoint).values() if shard.origin]


def _is_in_place(checkpoint: Checkpoint, path: str) -> bool:
    """Whether the file at `path` is the one that `checkpoint` was read from."""
    return checkpoint.origin is not None and os.path.realpath(path) == os.path.realpath(checkpoint.origin.path)


def _shards(checkpoint: Checkpoint) -> Mapping[str, Checkpoint]:
    return checkpoint.rest.shards if isinstance(checkpoint.rest, Shards) else {}


def _open(folder: str, name: str, allowed: tuple[str, str]) -> Checkpoint:
    """The checkpoint in one shard, whose name must be that of a file beside the index. `allowed`: the real folders where it may lie."""
    from ..unrecognised import unknown_error

    if not name or name != os.path.basename(name) or name in (".", "..") or "\\" in name or "\0" in name:
        raise Malformed(f"the index names the shard {name!r}, which is no plain file name")
    path = os.path.join(folder, name)
    if os.path.islink(path) and os.path.dirname(os.path.realpath(path)) not in allowed:
        raise Malformed(f"the shard {name!r} is a link that leads out of the folder")
    with about(path):
        file = open_file(path)
        form = next((form for form in formats.built_in() if form.name != "sharded" and form.sniff(file)), None)
        if form is None:
            raise unknown_error(file)
        shard = form.read(file)
    return shard.replacing(origin=Origin(form.name, file, shard))


class Joined(Lazy):
    """The tensors of all shards: in the order of the index, or in that of the shards where the index is sorted by name."""

    def __init__(self, weight_map: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> None:
        kinds: dict[str, Kind] = {}
        for shard, checkpoint in shards.items():
            inside = checkpoint.kinds()
            if list(map(weight_map.get, inside)) != [shard] * len(inside):
                raise _disagreement(weight_map, shards)
            kinds.update(inside)
        if len(kinds) < len(weight_map):
            raise _disagreement(weight_map, shards)
        names = list(weight_map)
        if list(kinds) != names and names != sorted(names):
            kinds = {name: kinds[name] for name in weight_map}
        shared = {name for checkpoint in shards.values() for name in checkpoint.shared()}
        super().__init__(kinds, [name for name in kinds if name in shared] if shared else ())
        self.weight_map, self.shards = weight_map, shards

    def make(self, name: str) -> Tensor:
        """The tensor of a name, from its shard."""
        return self.shards[self.weight_map[name]].tensors[name]


def _disagreement(weight_map: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> Malformed:
    """The error for a tensor that the index says is in a shard where it is not, or that a shard holds and the index does not list."""
    missing = next(((name, shard) for name, shard in weight_map.items() if name not in shards[shard]), None)
    if missing:
        return Malformed(f"the index says that {missing[0]!r} is in {missing[1]}, where it is not", "download or copy that shard again")
    name, shard = next((name, shard) for shard, names in shards.items() for name in names if weight_map.get(name) != shard)
    return Malformed(f"{shard} holds {name!r}, which the index does not say", "its index is of another version")


def _new_shards(checkpoint: Checkpoint, path: str, shard_size: int | None) -> dict[str, tuple[Checkpoint, Savable]]:
    """File name → what goes into the shard, and its format: the shards that were read, where they may keep their names."""
    rest = checkpoint.rest if isinstance(checkpoint.rest, Shards) else None
    if rest is None or shard_size is not None or not _suffix_fits(rest, path):
        return _divided(checkpoint, path, shard_size or _SHARD_SIZE)
    shard_of = {name: file for file, shard in rest.shards.items() for name in shard}
    tied = checkpoint.tied_to()
    held: dict[str, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.items():
        first = tied.get(name, name)
        held.setdefault(shard_of[checkpoint.sources.get(first, first)], {})[name] = tensor
    shards = {}
    for file, shard in rest.shards.items():
        if file in held and shard.origin is not None:
            # in the shard's own order, so that one that did not change is seen to be the same
            place = {source: index for index, source in enumerate(shard)}
            names = sorted(held[file], key=lambda name: place.get(checkpoint.sources.get(name, name), len(place)))
            tensors = {name: held[file][name] for name in names}
            shards[file] = shard.replacing(tensors=tensors, sources=checkpoint.sources), _savable(shard.origin.format)
    return shards


def _savable(name: str) -> Savable:
    """The format of a shard that is written. Raises CannotHold for one that is only read."""
    form = formats[name]
    if not isinstance(form, Savable):
        raise CannotHold(f"{name} is read, not written", "convert it, say to .safetensors")
    return form


def _suffix_fits(rest: Shards, path: str) -> bool:
    """Whether the shards may keep their names under the index at `path`: it says the suffix that they have."""
    inner = os.path.basename(path).removesuffix(_SUFFIX)
    return all(shard.endswith(os.path.splitext(inner)[1]) for shard in rest.shards)


def _divided(checkpoint: Checkpoint, path: str, shard_size: int) -> dict[str, tuple[Checkpoint, Savable]]:
    """Shards of at most `shard_size` bytes of tensors (a larger tensor has one alone), called by the common convention."""
    stem, suffix = os.path.splitext(os.path.basename(path).removesuffix(_SUFFIX))
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
    before = shard.origin.read.tensors if shard.origin else {}
    return list(shard) == list(before) and all(shard[name] is before[name] for name in shard)


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
