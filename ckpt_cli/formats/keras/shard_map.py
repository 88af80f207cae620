"""The index of Keras' sharded weights, X.weights.json, and the .weights.h5 files that it lists, joined to one tree.

    {"metadata": {"total_size": BYTES}, "weight_map": {"/layers/dense/vars": ["X_00000.weights.h5", …], …}}

A group of variables may lie in several files, each with some of its datasets: its entry is the list of them, or one name. As in
ShardedH5IOStore of keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ...disk.opening import open_file
from ...errors import Malformed, about
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint, Origin
from ..encodings import strict_json

if TYPE_CHECKING:
    from .hdf5_objects import HDF5Tree, Node

SUFFIX = ".weights.json"
_SHARD_NAME = re.compile(r"(.*)_(\d{5,})\.weights\.h5")
_MOST_INDEX = 100_000_000  # bytes
_CURE = "download or copy the files of one version"


class ShardMap(NamedTuple):
    """What an index says: its own metadata, and the files that each group lies in, by the group's path without the slash before it."""

    metadata: Mapping[str, Any]
    groups: Mapping[str, list[str]]

    @property
    def files(self) -> list[str]:
        """All files, in the order in which they are named first."""
        return list(dict.fromkeys(file for files in self.groups.values() for file in files))


class Shards(NamedTuple):
    """What is kept of an index that was read: what it says, the checkpoint in each file, and the contents of all files as one tree."""

    map: ShardMap
    shards: Mapping[str, Checkpoint]
    tree: HDF5Tree


def is_map(file: File) -> bool:
    """Whether a file is JSON with a map of groups, each of which begins with a slash, to files of HDF5."""
    if file.head.lstrip()[:1] != b"{" or file.size > _MOST_INDEX:
        return False
    entry = rb'"weight_map"\s*:\s*\{\s*"/[^"]*"\s*:\s*\[?\s*"[^"]*\.h5"'
    return re.search(entry, file.read(0, file.size)) is not None


def read_map(file: File) -> ShardMap:
    """Return what an index says. Raises Malformed."""
    index = strict_json.loads(file.read(0, file.size))
    weight_map, metadata = (index.get("weight_map"), index.get("metadata", {})) if type(index) is dict else (None, None)
    if type(weight_map) is not dict or type(metadata) is not dict:
        raise Malformed("weight_map and metadata of the index are not both objects")
    groups = {}
    for group, value in weight_map.items():
        files = [value] if type(value) is str else value
        if type(files) is not list or not files or {type(name) for name in files} != {str} or not group.startswith("/"):
            raise Malformed(f"weight_map does not say which files {group!r} is in")
        groups[group[1:]] = list(dict.fromkeys(files))
    return ShardMap(metadata, groups)


def open_shards(file: File) -> Shards:
    """Open all files that an index lists; their headers are read. Raises Malformed where they and the index do not agree."""
    said = read_map(file)
    folder = os.path.dirname(os.path.abspath(file.path))
    shards = {name: _open(folder, name) for name in said.files}
    return Shards(said, shards, _joined(said, shards))


def _open(folder: str, name: str) -> Checkpoint:
    """Open one shard, whose name must be that of a file beside the index."""
    from .. import formats

    if name in ("", ".", "..") or any(char in "/\\\0" or "\ud800" <= char <= "\udfff" for char in name):
        raise Malformed(f"the index names the shard {name!r}, which is no plain file name")
    path, real = os.path.join(folder, name), os.path.realpath(folder)
    blobs = os.path.join(os.path.dirname(os.path.dirname(real)), "blobs")  # of the cache of the Hugging Face hub
    if os.path.islink(path) and os.path.dirname(os.path.realpath(path)) not in (real, blobs):
        raise Malformed(f"the shard {name!r} is a link that leads out of the folder")
    form = formats["hdf5"]
    with about(path):
        file = open_file(path)
        if not form.sniff(file):
            raise Malformed("the index says that this is a shard, and it is no HDF5 file", _CURE)
        shard = form.read(file)
    return shard.replacing(origin=Origin(form.name, file, shard))


def _joined(said: ShardMap, shards: Mapping[str, Checkpoint]) -> HDF5Tree:
    """Join the trees of all shards. Raises Malformed where a dataset is in a file that the index does not say, or in two."""
    from .followed import merged
    from .hdf5_objects import HDF5Tree, ObjectKind

    nodes: dict[str, Node] = {}
    for file, shard in shards.items():
        for path, node in shard.rest.nodes.items():
            if node.kind == ObjectKind.GROUP:
                nodes[path] = merged(nodes.get(path), node)
            elif path in nodes and node.kind == ObjectKind.DATASET:
                raise Malformed(f"{path!r} is in {file} and in another shard", _CURE)
            else:
                nodes.setdefault(path, node)
        strange = next((name for name in shard if file not in said.groups.get(group_of(name), ())), None)
        if strange is not None:
            raise Malformed(f"{file} holds {strange!r}, which the index does not say", _CURE)
    held = {(group_of(name), file) for file, shard in shards.items() for name in shard}
    absent = next(((group, file) for group, files in said.groups.items() for file in files if (group, file) not in held), None)
    if absent:
        raise Malformed(f"the index says that variables of {absent[0]!r} are in {absent[1]}, where none are", _CURE)
    said_bytes, held_bytes = said.metadata.get("total_size"), sum(tensor.nbytes for shard in shards.values() for tensor in shard.values())
    if isinstance(said_bytes, (int, float)) and said_bytes > held_bytes:  # a bool counts as a bit there
        raise Malformed(f"the index says that the shards hold {said_bytes:,.0f} bytes, and they hold {held_bytes:,}", _CURE)
    tensors = {name: tensor for shard in shards.values() for name, tensor in shard.rest.tensors.items()}
    return HDF5Tree(nodes, tensors, {name: each for shard in shards.values() for name, each in shard.rest.undecoded.items()})


def group_of(name: str) -> str:
    """Return the group that a dataset lies in."""
    return name.rpartition("/")[0]


def shard_name(index: str, number: int) -> str:
    """Return the path of a shard: Keras opens the first one by the name of the index."""
    return f"{index.removesuffix(SUFFIX)}_{number:05}.weights.h5"


def without_index(names: list[str]) -> str | None:
    """Return the name of the index that all files are shards of, where they are called so; None where they are not."""
    matches = [_SHARD_NAME.fullmatch(name) for name in names]
    stems = {match[1] for match in matches if match}
    return f"{stems.pop()}{SUFFIX}" if len(names) > 1 and all(matches) and len(stems) == 1 else None


def part_note(path: str) -> str:
    """Return what is said of a shard that is opened by itself: its number, by the index beside it. Nothing of another file."""
    match = _SHARD_NAME.fullmatch(os.path.basename(path))
    index = os.path.join(os.path.dirname(path), f"{match[1]}{SUFFIX}") if match else ""
    if not os.path.isfile(index):
        return ""
    try:
        files = read_map(open_file(index)).files
        number = files.index(os.path.basename(path)) + 1
    except (Malformed, ValueError, OSError):
        return ""
    return f"{path}: part {number} of {len(files)}; {os.path.basename(index)} opens all of them"
