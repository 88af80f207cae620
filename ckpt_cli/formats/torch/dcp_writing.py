"""A checkpoint as torch.distributed.checkpoint's files: the mirror of `dcp`. Opcodes alone, no class is looked up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...disk.layout import FileLayout, Nowhere
from ...disk.patch import Change, Checksum, Patch, changes, differing
from ...errors import CannotHold
from ...storage.file import File
from ...storage.storage import Assembled, Box, Extent, Slice, Storage, Strided
from ...tensors.checkpoint import Checkpoint, Foreign, Tensor
from ..encodings import zip as zips
from ..encodings.object_nodes import Call, Dict, Global, List, Tuple
from ..encodings.pickle_writer import Pickler
from .archive import lay_out
from .distributed import Contents, Piece
from .tensor_nodes import check_dtypes, tensor_node

_METADATA = "torch.distributed.checkpoint.metadata"
_MOST_LINES = 4096  # changes within one chunk; beyond, the chunk is one change
_PLAIN = (str, int, float, bool, bytes, type(None))


class Writing:
    """The two files of a new checkpoint. `data` lays out the first one, `metadata` tells of it then."""

    file_name = "__0_0.distcp"

    def __init__(self, checkpoint: Checkpoint) -> None:
        refused = next((name for name, tensor in checkpoint.items() if tensor.layout), None)
        if refused:
            kind = checkpoint[refused].layout
            raise CannotHold(f"torch.distributed.checkpoint cannot hold {refused}, which is {kind}", f"leave it out: --drop '{refused}'")
        check_dtypes(dict(checkpoint.items()))
        self.checkpoint, self.objects = checkpoint, written_objects(checkpoint)
        self.runs: dict[str, tuple[int, int]] = {}

    def data(self, file_layout: FileLayout) -> None:
        """Objects, then tensors, each as a zip of its own."""
        archives = []
        for name, contents in self.objects.items():
            at = file_layout.at
            if isinstance(contents, Storage):
                file_layout.put(contents)
            else:
                archives.append(_zip(file_layout, Pickler(2).dump(contents), {}))
            self.runs[name] = at, file_layout.at - at
        for name, tensor in self.checkpoint.items():
            at, elements = file_layout.at, tensor.elements()
            whole = Tensor.whole(tensor.dtype, tensor.shape, elements)
            archives.append(_zip(file_layout, Pickler(2).dump(tensor_node(whole, "0")), {"0": elements}))
            self.runs[name] = at, file_layout.at - at
        file_layout.settle()
        for archive in archives:
            archive.fill_end()

    def metadata(self) -> bytes:
        if not self.runs:
            self.data(Nowhere())
        told: list[tuple[Any, Any]] = [(name, _made("BytesStorageMetadata", {})) for name in self.objects]
        told += [(name, _tensor(tensor)) for name, tensor in self.checkpoint.items()]
        places = []
        for name, (at, nbytes) in self.runs.items():
            offset = _size((0,) * len(self.checkpoint[name].shape)) if name in self.checkpoint else None
            index = _made("MetadataIndex", {"fqn": name, "index": 0 if offset else None} | ({"offset": offset} if offset else {}))
            info = {"relative_path": self.file_name, "offset": at, "length": nbytes}
            places.append((index, _made("_StorageInfo", info, "torch.distributed.checkpoint.filesystem")))
        paths = Dict([(name, Tuple(list(_path(self.checkpoint, name)))) for name in self.runs])
        facts = {"state_dict_metadata": Dict(told), "planner_data": paths, "storage_data": Dict(places), "storage_meta": None}
        return Pickler(2).dump(_made("Metadata", facts | {"version": "1.0.0"}))


def _zip(file_layout: FileLayout, pickle: bytes, storages: dict[str, Storage]) -> zips.Writer:
    archive = zips.Writer(file_layout)
    lay_out(archive, "archive", pickle, storages, {})
    archive.lay_end()
    return archive


def _made(name: str, state: dict[str, Any], module: str = _METADATA) -> Call:
    made = Call("NEWOBJ", Global(module, name), Tuple([]))
    if state:
        made.states.append(Dict(list(state.items())))
    return made


def _size(shape: tuple[int, ...]) -> Call:
    return Call("REDUCE", Global("torch", "Size"), Tuple([Tuple(list(shape))]))


def _tensor(tensor: Tensor) -> Call:
    layout = Call("REDUCE", Global("torch.serialization", "_get_layout"), Tuple(["torch.strided"]))
    memory = Call("REDUCE", Global(_METADATA, "_MEM_FORMAT_ENCODING"), Tuple([0]))
    properties = Call("NEWOBJ", Global(_METADATA, "TensorProperties"), Tuple([]))
    properties.states.append(Tuple([Global("torch", tensor.dtype.name), layout, False, memory, False]))
    chunk = _made("ChunkStorageMetadata", {"offsets": _size((0,) * len(tensor.shape)), "sizes": _size(tensor.shape)})
    return _made("TensorStorageMetadata", {"properties": properties, "size": _size(tensor.shape), "chunks": List([chunk])})


def _path(checkpoint: Checkpoint, name: str) -> tuple[Any, ...]:
    """The keys to a name: as they were; where it was renamed, with those that it begins or ends with; else the name alone."""
    known = checkpoint.rest.paths if isinstance(checkpoint.rest, Contents) else {}
    keys = known.get(checkpoint.sources.get(name, name), (name,))
    if _joined(keys) == name:
        return keys
    for count in range(len(keys) - 1, 0, -1):
        above, below = _joined(keys[:count]) + ".", "." + _joined(keys[-count:])
        if name.startswith(above):
            return (*keys[:count], name.removeprefix(above))
        if name.endswith(below):
            return (name.removesuffix(below), *keys[-count:])
    return (name,)


def _joined(keys: tuple[Any, ...]) -> str:
    return ".".join(map(str, keys))


def written_objects(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is written besides tensors: the bytes of another such checkpoint as they are, and plain values of any."""
    if isinstance(checkpoint.rest, Contents):
        runs = checkpoint.rest.objects
        return {name: Extent(*runs[name]) for name in checkpoint.objects if name in runs}
    return {name: value for name, value in checkpoint.objects.items() if type(value) in _PLAIN and not isinstance(value, Foreign)}


def patches(files: Sequence[File], pairs: Sequence[tuple[Storage, Storage]]) -> dict[File, Patch] | None:
    """For every file what is written over in it, where the storages of `pairs` are replaced; None where bytes are not kept as they are."""
    found: dict[File, list[Change]] = {file: [] for file in files}
    checksums: dict[File, list[Checksum]] = {file: [] for file in files}
    for before, after in pairs:
        if not all(isinstance(storage, zips.Member) for storage in _members(before)):
            return None
        for member, changed in _changes(before, after):
            found[member.file] += changed
            if member.crc and changed:
                checksums[member.file].append(member.checksum())
    return {file: Patch(file, sorted(found[file], key=lambda change: change.at), checksums[file]) for file in files}


def _members(storage: Storage) -> list[Storage]:
    """What lies in the zips; in a file of the other byte order that is not what the tensors are made of."""
    return [tensor.storage for _, tensor in _boxes(storage)] if isinstance(storage, Assembled) else [storage]


def _boxes(whole: Assembled) -> list[tuple[Box, Tensor]]:
    """Each chunk and the view that its zip holds."""
    return [(box, box.storage.tensor) for box in whole.boxes if isinstance(box.storage, Piece)]


def _changes(before: Storage, after: Storage) -> Iterator[tuple[zips.Member, list[Change]]]:
    if isinstance(before, zips.Member):
        yield before, list(changes(before.place(), before, after))
    elif isinstance(before, Assembled):
        runs = differing(before, after)
        for box, tensor in _boxes(before):
            if isinstance(tensor.storage, zips.Member):
                yield tensor.storage, list(_box_changes(box, tensor, tensor.storage, after, runs))


def _box_changes(box: Box, tensor: Tensor, member: zips.Member, after: Storage, runs: list[tuple[int, int]]) -> Iterator[Change]:
    """What changes in the zip of one chunk: the lines of it that the runs of the whole meet, or all of it where those are many."""
    met: list[Change] = []
    for number, count, place in (hit for start, stop in runs for hit in box.hits(start, stop)):
        met.append(Change(member.place() + tensor.start + number, Slice(after, place, count)))
        if len(met) > _MOST_LINES or not tensor.contiguous:
            gathered = Strided(after, 1, box.shape, box.strides, box.offset)
            yield from changes(member.place(), member, tensor.storage_with(gathered))
            return
    yield from met
