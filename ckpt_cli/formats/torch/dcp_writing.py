"""A new checkpoint as the files of torch.distributed.checkpoint. It writes opcodes; no class of torch's is imported.

As in torch/distributed/checkpoint/metadata.py, filesystem.py and default_planner.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...disk.layout import FileLayout, Nowhere
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint, Foreign
from ...tensors.tensor import Tensor
from ..encodings.object_nodes import Call, CallOpcode, Dict, Global, List, Tuple, node_of, reduce_call
from ..encodings.pickle_writer import Pickler
from ..encodings.zip_writer import Writer
from .archive_writing import lay_out
from .dcp_metadata import Metadata
from .tensor_nodes import check_dtypes, check_layouts, tensor_node

_METADATA = "torch.distributed.checkpoint.metadata"
_PLAIN = (str, int, float, bool, bytes, type(None))


class NewFiles:
    """The two files of a new checkpoint: `data` lays out the first one, `metadata` describes it afterwards.

    Raises:
        CannotHold: A tensor has no plain elements, or a dtype that torch has not.
    """

    file_name = "__0_0.distcp"

    def __init__(self, checkpoint: Checkpoint) -> None:
        check_layouts(checkpoint, "torch.distributed.checkpoint")
        check_dtypes(dict(checkpoint.items()))
        self.checkpoint, self.objects = checkpoint, written_objects(checkpoint)
        self.runs: dict[str, tuple[int, int]] = {}

    def data(self, file_layout: FileLayout) -> None:
        """Lay out the data: objects, then tensors, each as a zip of its own."""
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
        """The contents of `.metadata`."""
        if not self.runs:
            self.data(Nowhere())
        kinds: list[tuple[Any, Any]] = [(name, _made("BytesStorageMetadata", {})) for name in self.objects]
        kinds += [(name, _tensor(tensor)) for name, tensor in self.checkpoint.items()]
        places = []
        for name, (at, nbytes) in self.runs.items():
            offset = _size((0,) * len(self.checkpoint[name].shape)) if name in self.checkpoint else None
            index = _made("MetadataIndex", {"fqn": name, "index": 0 if offset else None} | ({"offset": offset} if offset else {}))
            info = {"relative_path": self.file_name, "offset": at, "length": nbytes}
            places.append((index, _made("_StorageInfo", info, "torch.distributed.checkpoint.filesystem")))
        paths = Dict([(name, Tuple(list(_path(self.checkpoint, name)))) for name in self.runs])
        facts = {"state_dict_metadata": Dict(kinds), "planner_data": paths, "storage_data": Dict(places), "storage_meta": None}
        return Pickler(2).dump(_made("Metadata", facts | {"version": "1.0.0"}))


def _zip(file_layout: FileLayout, pickle: bytes, storages: dict[str, Storage]) -> Writer:
    archive = Writer(file_layout)
    lay_out(archive, "archive", pickle, storages, {})
    archive.lay_end()
    return archive


def _made(name: str, state: dict[str, Any], module: str = _METADATA) -> Call:
    """An object of a class of torch's, with the attributes `state`."""
    node = Call(CallOpcode.NEWOBJ, Global(module, name), Tuple([]))
    if state:
        node.states.append(Dict(list(state.items())))
    return node


def _size(shape: tuple[int, ...]) -> Call:
    return reduce_call("torch", "Size", Tuple(list(shape)))


def _tensor(tensor: Tensor) -> Call:
    layout = reduce_call("torch.serialization", "_get_layout", "torch.strided")
    memory = reduce_call(_METADATA, "_MEM_FORMAT_ENCODING", 0)
    properties = Call(CallOpcode.NEWOBJ, Global(_METADATA, "TensorProperties"), Tuple([]))
    properties.states.append(Tuple([Global("torch", tensor.dtype.name), layout, False, memory, False]))
    chunk = _made("ChunkStorageMetadata", {"offsets": _size((0,) * len(tensor.shape)), "sizes": _size(tensor.shape)})
    return _made("TensorStorageMetadata", {"properties": properties, "size": _size(tensor.shape), "chunks": List([chunk])})


def _path(checkpoint: Checkpoint, name: str) -> tuple[Any, ...]:
    """The keys that lead to a name: as they were; where it was renamed, the old keys that it begins or ends with; else the name alone."""
    paths = checkpoint.rest.paths if isinstance(checkpoint.rest, Metadata) else {}
    keys = paths.get(checkpoint.sources.get(name, name), ()) or _beside(name, paths)
    if _joined(keys) == name:
        return keys
    for count in range(len(keys) - 1, 0, -1):
        above, below = _joined(keys[:count]) + ".", "." + _joined(keys[-count:])
        if name.startswith(above):
            return (*keys[:count], name.removeprefix(above))
        if name.endswith(below):
            return (name.removesuffix(below), *keys[-count:])
    return (name,)


def _beside(name: str, paths: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    """The keys that lead to a new name: into the innermost of the dicts that others lie in, where the rest of it is one key."""
    above = {keys[:count] for keys in paths.values() for count in range(1, len(keys)) if name.startswith(_joined(keys[:count]) + ".")}
    inner = max(above, key=len, default=())
    return (*inner, name[len(_joined(inner)) + 1 :] if inner else name)


def _joined(keys: tuple[Any, ...]) -> str:
    return ".".join(map(str, keys))


def written_objects(checkpoint: Checkpoint) -> dict[str, Any]:
    """The objects that are written besides tensors: the bytes of one that was read from such a checkpoint, else plain values."""
    if isinstance(checkpoint.rest, Metadata) and checkpoint.origin:
        runs, read = checkpoint.rest.objects, checkpoint.origin.read.objects
        if checkpoint.objects is read:
            return {name: Extent(*runs[name]) for name in checkpoint.objects}
        values = checkpoint.objects.items()
        return {name: Extent(*runs[name]) if name in runs and read[name] is value else node_of(value) for name, value in values}
    return {name: value for name, value in checkpoint.objects.items() if type(value) in _PLAIN and not isinstance(value, Foreign)}
