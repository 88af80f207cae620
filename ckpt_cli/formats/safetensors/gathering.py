"""The shards that are there, whatever their index says: for an index that is stale, wrong or missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...errors import CkptError, Malformed, number_of
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import IndexFault
from .index_names import shard_name, whole_of_index
from .shard_index import Joined, ShardIndex, disagreements, is_index, is_within, open_shard, path_of, read_index


class Gathered(NamedTuple):
    """What is kept of shards that were read without their index: the checkpoint in each by its file name, and the errors of the others."""

    shards: Mapping[str, Checkpoint]
    broken: Mapping[str, CkptError]


def gather(file: File, bear: bool) -> Checkpoint:
    """The tensors of all shards that lie beside an index.

    Args:
        file: The index, or a shard whose index is missing.
        bear: Whether a shard that is broken, and a name that two shards have, are passed over instead of being raised.

    Raises:
        Malformed: Two shards have a tensor of one name, or a shard is broken.
    """
    folder = os.path.dirname(os.path.abspath(file.path))
    said = _said(file)
    shards: dict[str, Checkpoint] = {}
    broken: dict[str, CkptError] = {}
    for name in _there(folder, file, said):
        try:
            shards[name] = open_shard(os.path.join(folder, name))
        except CkptError as error:
            if not bear:
                raise
            broken[name] = error
    place = _places(shards, said, bear)
    own = {shard: _only(checkpoint, shard, place) for shard, checkpoint in shards.items()}
    merged = {key: value for shard in shards.values() for key, value in shard.metadata.items()}
    in_order = {name: shard for shard, checkpoint in own.items() for name in checkpoint}
    return Checkpoint(Joined(in_order, own), merged, rest=Gathered(shards, broken), notes=() if bear else _note(file, shards))


def _said(file: File) -> ShardIndex:
    """What the index says; nothing where there is none, or it is broken."""
    try:
        return read_index(file) if is_index(file) else ShardIndex({}, {})
    except Malformed:
        return ShardIndex({}, {})


def _there(folder: str, file: File, said: ShardIndex) -> list[str]:
    """The names of the shards that are there: those that the index names, and those that are called as its shards are."""
    named = [name for name in said.files if os.path.isfile(path_of(folder, name))]
    own = shard_name(file.path)
    whole = own.whole if own else whole_of_index(file.path)
    called = [name for name in os.listdir(folder) if (shard := shard_name(name)) and shard.whole == whole]
    return sorted({*named, *(name for name in called if is_within(folder, name))})


def _places(shards: Mapping[str, Checkpoint], said: ShardIndex, bear: bool) -> dict[str, str]:
    """The shard that each tensor is taken from; of two that hold it, the one that the index names."""
    place: dict[str, str] = {}
    for shard, checkpoint in shards.items():
        for name in checkpoint:
            if place.setdefault(name, shard) == shard:
                continue
            if not bear:
                raise Malformed(f"{place[name]} and {shard} both hold {name!r}", "give the one that you mean, or take the other away")
            place[name] = shard if said.weight_map.get(name) == shard else place[name]
    return place


def _only(checkpoint: Checkpoint, shard: str, place: Mapping[str, str]) -> Checkpoint:
    """A shard without the names that are taken from another one."""
    if all(place[name] == shard for name in checkpoint):
        return checkpoint
    return checkpoint.replacing(tensors={name: tensor for name, tensor in checkpoint.items() if place[name] == shard})


def _note(file: File, shards: Mapping[str, Checkpoint]) -> tuple[str, ...]:
    what = "is ignored" if shard_name(file.path) is None else "is missing"
    return (f"the index {what}; {len(shards):,} shard{'s are' if len(shards) != 1 else ' is'} there",)


def wrong(file: File, shards: Mapping[str, Checkpoint], broken: Mapping[str, CkptError]) -> Iterator[IndexFault]:
    """What an index says that is not so, held against the shards that are there; of what is in the `broken` ones nothing is known."""
    try:
        index = read_index(file)
    except Malformed as error:
        yield IndexFault("", f"the index is broken: {error.what}")
        return
    counts = Counter(index.weight_map.values())
    for name in index.files:
        if name not in shards and name not in broken:
            tensors = number_of(counts[name], "tensor")
            yield IndexFault(name, f"the index names this shard for {tensors}, and there is no such file")
    found = {name for shard in shards.values() for name in shard}
    for name, shard in index.weight_map.items():
        if name not in found and shard not in shards and shard not in broken:
            yield IndexFault(name, "no shard that is there holds this tensor")
    for name, what in disagreements(index.weight_map, shards):
        yield IndexFault(name, what)
    for name in _there(os.path.dirname(os.path.abspath(file.path)), file, index):
        if name not in shards and name not in broken:
            yield IndexFault(name, "this shard lies beside the index, which does not name it")
    if not broken:
        yield from _wrong_size(index, shards)


def _wrong_size(index: ShardIndex, shards: Mapping[str, Checkpoint]) -> Iterator[IndexFault]:
    """A `total_size` that is not the bytes of all tensors, whether those that are tied count once or, as in older files, each."""
    said = index.metadata.get("total_size")
    each = sum(kind.nbytes for shard in shards.values() for kind in shard.kinds().values())
    once = each - sum(shard.kinds()[name].nbytes for shard in shards.values() for name in shard.tied_to())
    if type(said) in (int, float) and said not in (each, once):
        yield IndexFault("", f"the index says a total_size of {said:,} bytes, and the tensors have {once:,}")
