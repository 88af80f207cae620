"""The index of a sharded checkpoint as it is read, and the shards that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...disk.opening import open_file
from ...errors import CkptError, Malformed, about
from ...storage.file import File, is_plain, leads_out
from ...tensors.checkpoint import Checkpoint, Kind, Lazy, Origin
from ...tensors.tensor import Tensor
from .. import formats
from ..encodings import strict_json

_MOST_INDEX = 100_000_000  # bytes
CURE = "download what is missing, or make a right model of what is there: `ckpt convert SRC DST --ignore-index`"


class ShardIndex(NamedTuple):
    """What an index says: its own metadata, and the file that each tensor is in."""

    metadata: Mapping[str, Any]
    weight_map: Mapping[str, str]

    @property
    def files(self) -> list[str]:
        """The files. transformers sorts the index by name, and so loses the tensors' order; the shards one after the other keep it."""
        names = list(self.weight_map)
        return sorted(set(self.weight_map.values())) if names == sorted(names) else list(dict.fromkeys(self.weight_map.values()))


def is_index(file: File) -> bool:
    """JSON with a map of weights to files."""
    return file.head.lstrip()[:1] == b"{" and file.size <= _MOST_INDEX and b'"weight_map"' in file.read(0, file.size)


def read_index(file: File) -> ShardIndex:
    """What an index says. Raises Malformed where it is none."""
    index = strict_json.loads(file.read(0, file.size))
    weight_map = index.get("weight_map") if type(index) is dict else None
    if type(weight_map) is not dict or not set(map(type, weight_map.values())) <= {str}:
        raise Malformed("weight_map is not an object of names and file names")
    metadata = index.get("metadata", {})
    if type(metadata) is not dict:
        raise Malformed("the index's metadata are no object")
    return ShardIndex(metadata, weight_map)


def path_of(folder: str, name: str) -> str:
    """The path of a shard, whose name must be that of a file in the index's folder or below it. Raises Malformed."""
    if not is_plain(name):
        raise Malformed(f"the index names the shard {name!r}, which is no plain file name")
    if not is_within(folder, name):
        raise Malformed(f"the shard {name!r} is a link that leads out of the folder")
    return os.path.join(folder, name)


def is_within(folder: str, name: str) -> bool:
    """Whether the file `name` really lies in the folder or below it, or among the blobs of the hub's cache."""
    path = os.path.join(folder, name)
    return not (os.path.islink(path) or "/" in name) or not leads_out(path, folder)


def open_named(folder: str, name: str) -> Checkpoint:
    """The checkpoint in a shard that the index names. Raises Malformed where there is no such file."""
    try:
        return open_shard(path_of(folder, name))
    except CkptError as error:
        if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
            raise Malformed(f"the index names the shard {name!r}, and there is no such file", CURE) from None
        raise


def open_shard(path: str) -> Checkpoint:
    """The checkpoint in one shard. Raises CkptError."""
    from ..unrecognised import unknown_error

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
        """Join them. Raises Malformed where the two do not say the same."""
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
    return Malformed(f"the index is wrong: {next(disagreements(weight_map, shards))[1]}", CURE)


def disagreements(weight_map: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> Iterator[tuple[str, str]]:
    """The name of each tensor, and what is wrong: it is not where the index says, or it is where the index does not say."""
    for name, shard in weight_map.items():
        if shard in shards and name not in shards[shard]:
            yield name, f"it says that {name!r} is in {shard}, where it is not"
    for shard, names in shards.items():
        for name in names:
            if weight_map.get(name) != shard:
                yield name, f"{shard} holds {name!r}, which the index does not say"
