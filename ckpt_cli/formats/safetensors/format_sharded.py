"""Sharded checkpoints: an index beside its shards, as `save_pretrained` writes them.

    model.safetensors.index.json   {"metadata": {"total_size": BYTES}, "weight_map": {NAME: "model-00001-of-00003.safetensors", …}}

As in transformers' modeling_utils.py and huggingface_hub's serialization. One checkpoint in every command; a shard is of any format. The
index and the shards are held against each other: a name that one of them lacks is an error, never a skip. Shard names are plain names of
files beside the index; the one link that leads out of the folder is that of the hub's cache, where every file lies in `../../blobs/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import CannotHold, Malformed, about
from ...storage.descriptors import allow_many
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint, Kind, Lazy, Origin
from ...tensors.tensor import Tensor
from .. import Format, formats
from ..encodings import strict_json
from ..unrecognised import unknown

if TYPE_CHECKING:
    from ...disk.saving import FileToWrite

_MOST_INDEX = 100_000_000
DEFAULT_SIZE = 5_000_000_000


class Shards(NamedTuple):
    """What is known beyond the tensors: the index's own metadata, and the checkpoint in each shard by its file name."""

    metadata: Mapping[str, Any]
    shards: Mapping[str, Checkpoint]


class Sharded(Format):
    name = "sharded"
    title = "Shards with an index.json"
    called = "a model in shards"
    suffixes = (".index.json",)
    patches = ties = metadata = True

    def __init__(self, shard_size: int | None = None) -> None:
        """`shard_size`: the most bytes of tensors in one shard of a new checkpoint; None keeps the shards that there are."""
        self.shard_size = shard_size

    def sniff(self, file: File) -> bool:
        return file.head.lstrip()[:1] == b"{" and file.size <= _MOST_INDEX and b'"weight_map"' in file.read(0, file.size)

    def read(self, file: File) -> Checkpoint:
        index = strict_json.loads(file.read(0, file.size))
        weight_map = index.get("weight_map") if type(index) is dict else None
        if type(weight_map) is not dict or not set(map(type, weight_map.values())) <= {str}:
            raise Malformed("weight_map is not an object of names and file names")
        metadata = index.get("metadata", {})
        if type(metadata) is not dict:
            raise Malformed("the index's metadata are no object")
        folder = os.path.dirname(os.path.abspath(file.path))
        home = os.path.realpath(folder)
        homes = home, os.path.join(os.path.dirname(os.path.dirname(home)), "blobs")
        # transformers sorts the index by name, and the order of the tensors is lost in it; in the shards, one after the other, it is not
        told = list(weight_map)
        files = sorted(set(weight_map.values())) if told == sorted(told) else dict.fromkeys(weight_map.values())
        allow_many()
        shards = {name: _open(folder, name, homes) for name in files}
        tensors = Joined(weight_map, shards)
        merged = {key: value for shard in shards.values() for key, value in shard.metadata.items()}
        return Checkpoint(tensors, merged, rest=Shards(metadata, shards))

    def check(self, checkpoint: Checkpoint) -> None:
        path = checkpoint.origin.path if checkpoint.origin and isinstance(checkpoint.rest, Shards) else "model.safetensors"
        for part, form in _parts(checkpoint, path, self.shard_size).values():
            form.check(part)

    def outputs(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The shards that changed (all of them, in a new place), then the index."""
        import json

        from ...disk.saving import FileToWrite

        parts = _parts(checkpoint, path, self.shard_size)
        folder = os.path.dirname(path)
        same_place = checkpoint.origin is not None and os.path.realpath(path) == os.path.realpath(checkpoint.origin.path)
        for name, (part, form) in parts.items():
            if not (same_place and _untouched(part)):
                yield form.output(part, os.path.join(folder, name))
        before = checkpoint.origin.file if checkpoint.origin and checkpoint.origin.format == self.name else None
        index = _index(checkpoint, {name: part for name, (part, _) in parts.items()})
        old = before.read(0, before.size) if before else b""
        if before and strict_json.loads(old) == json.loads(index):
            index = old
        if not (same_place and index == old):
            yield FileToWrite(path, lambda file_layout: file_layout.write(index))

    def emptied(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """Shards beside the index at `path` that hold nothing any more."""
        if checkpoint.origin is None or os.path.realpath(path) != os.path.realpath(checkpoint.origin.path):
            return []
        left = set(_parts(checkpoint, path, self.shard_size))
        return [os.path.join(os.path.dirname(path), name) for name in _shards(checkpoint) if name not in left]

    def parts(self, checkpoint: Checkpoint) -> list[File]:
        return super().parts(checkpoint) + [shard.origin.file for shard in _shards(checkpoint).values() if shard.origin]

    def code(self, checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
        for shard in _shards(checkpoint).values():
            if shard.origin:
                yield from formats[shard.origin.format].code(shard)


def _shards(checkpoint: Checkpoint) -> Mapping[str, Checkpoint]:
    return checkpoint.rest.shards if isinstance(checkpoint.rest, Shards) else {}


def _open(folder: str, name: str, homes: tuple[str, str]) -> Checkpoint:
    """The checkpoint in one shard, whose name must be that of a file beside the index. `homes`: the real folders where it may lie."""
    if not name or name != os.path.basename(name) or name in (".", "..") or "\\" in name or "\0" in name:
        raise Malformed(f"the index names the shard {name!r}, which is no plain file name")
    path = os.path.join(folder, name)
    if os.path.islink(path) and os.path.dirname(os.path.realpath(path)) not in homes:
        raise Malformed(f"the shard {name!r} is a link that leads out of the folder")
    with about(path):
        file = File(path)
        form = next((form for form in formats.built_in() if form.name != "sharded" and form.sniff(file)), None)
        if form is None:
            raise unknown(file)
        found = form.read(file)
    return found.replacing(origin=Origin(form.name, file, found))


class Joined(Lazy):
    """The tensors of all shards, in the order of the index, or in that of the shards where the index is but sorted."""

    def __init__(self, weight_map: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> None:
        found: dict[str, Kind] = {}
        for shard, checkpoint in shards.items():
            kinds = checkpoint.kinds()
            if list(map(weight_map.get, kinds)) != [shard] * len(kinds):
                raise _disagreement(weight_map, shards)
            found.update(kinds)
        if len(found) < len(weight_map):
            raise _disagreement(weight_map, shards)
        names = list(weight_map)
        if list(found) != names and names != sorted(names):
            found = {name: found[name] for name in weight_map}
        shared = {name for checkpoint in shards.values() for name in checkpoint.shared()}
        super().__init__(found, [name for name in found if name in shared] if shared else ())
        self.weight_map, self.shards = weight_map, shards

    def make(self, name: str) -> Tensor:
        return self.shards[self.weight_map[name]].tensors[name]


def _disagreement(weight_map: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> Malformed:
    """What the index says is in a shard and is not, or the other way round."""
    lacking = next(((name, shard) for name, shard in weight_map.items() if name not in shards[shard]), None)
    if lacking:
        return Malformed(f"the index says that {lacking[0]!r} is in {lacking[1]}, where it is not", "download or copy that shard again")
    name, shard = next((name, shard) for shard, names in shards.items() for name in names if weight_map.get(name) != shard)
    return Malformed(f"{shard} holds {name!r}, which the index does not say", "its index is of another version")


def _parts(checkpoint: Checkpoint, path: str, shard_size: int | None) -> dict[str, tuple[Checkpoint, Format]]:
    """File name → what goes into it, and its format."""
    rest = checkpoint.rest if isinstance(checkpoint.rest, Shards) else None
    if rest is None or shard_size is not None or not _same_kind(rest, path):
        return _divided(checkpoint, path, shard_size or DEFAULT_SIZE)
    homes = {name: shard for shard, part in rest.shards.items() for name in part}
    tied = checkpoint.tied_to()
    held: dict[str, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.items():
        first = tied.get(name, name)
        held.setdefault(homes[checkpoint.sources.get(first, first)], {})[name] = tensor
    parts = {}
    for shard, part in rest.shards.items():
        if shard in held and part.origin is not None:
            # in the shard's own order, so that one that did not change is seen to be the same
            place = {source: index for index, source in enumerate(part)}
            names = sorted(held[shard], key=lambda name: place.get(checkpoint.sources.get(name, name), len(place)))
            tensors = {name: held[shard][name] for name in names}
            parts[shard] = part.replacing(tensors=tensors, sources=checkpoint.sources), formats[part.origin.format]
    return parts


def _same_kind(rest: Shards, path: str) -> bool:
    """Whether the shards may keep their names: the index goes where it was, or is called alike."""
    inner = os.path.basename(path).removesuffix(".index.json")
    return all(shard.endswith(os.path.splitext(inner)[1]) for shard in rest.shards)


def _divided(checkpoint: Checkpoint, path: str, shard_size: int) -> dict[str, tuple[Checkpoint, Format]]:
    """Shards of at most `shard_size` bytes of tensors (a larger tensor has one alone), called by the common convention."""
    stem, suffix = os.path.splitext(os.path.basename(path).removesuffix(".index.json"))
    form = next((form for form in formats.built_in() if suffix and suffix in form.suffixes and form.name != "sharded"), None)
    if form is None:
        raise CannotHold(f"no format of shards is called {suffix!r}", "name the index MODEL.safetensors.index.json or MODEL.bin.index.json")
    groups: list[dict[str, Tensor]] = []
    room = 0
    homes: dict[str, dict[str, Tensor]] = {}
    tied = checkpoint.tied_to()
    for name, tensor in checkpoint.items():
        first = tied.get(name, name)
        if first in homes:
            homes[first][name] = tensor
            continue
        if not groups or tensor.nbytes > room:
            groups.append({})
            room = shard_size
        groups[-1][name], homes[name] = tensor, groups[-1]
        room -= tensor.nbytes
    names = [f"{stem}-{i + 1:05d}-of-{len(groups):05d}{suffix}" for i in range(len(groups))]
    metadata = dict(checkpoint.metadata) | ({"format": "pt"} if form.metadata else {})
    return {name: (Checkpoint(group, metadata), form) for name, group in zip(names, groups, strict=True)}


def _untouched(part: Checkpoint) -> bool:
    """Whether a shard holds what it was read with."""
    before = part.origin.read.tensors if part.origin else {}
    return list(part) == list(before) and all(part[name] is before[name] for name in part)


def _index(checkpoint: Checkpoint, parts: Mapping[str, Checkpoint]) -> bytes:
    """The index's bytes as `save_pretrained` writes them, `total_size` and `total_parameters` brought up to date."""
    import json

    distinct = checkpoint.distinct().values()
    rest = checkpoint.rest if isinstance(checkpoint.rest, Shards) else Shards({}, {})
    metadata = dict(rest.metadata) | {"total_size": sum(tensor.nbytes for tensor in distinct)}
    if "total_parameters" in metadata:
        metadata["total_parameters"] = sum(tensor.numel for tensor in distinct)
    weight_map = {name: shard for shard, part in parts.items() for name in part}
    document = {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}
    return (json.dumps(document, indent=2) + "\n").encode()


formats.add(Sharded.name, Sharded())
