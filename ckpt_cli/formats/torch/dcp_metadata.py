"""The `.metadata` of torch.distributed.checkpoint, from nodes: the tensors, their chunks, and where each chunk lies.

    Metadata(state_dict_metadata={NAME: TensorStorageMetadata(properties, size, chunks) or BytesStorageMetadata()},
             planner_data={NAME: path}, storage_data={MetadataIndex(NAME, offset): _StorageInfo(relative_path, offset, length)}, …)

As in torch/distributed/checkpoint/metadata.py and filesystem.py. The chunks of a tensor have to tile it. Nothing is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.shapes import numel_of, show_shape
from ...storage.file import File
from ...tensors.checkpoint import Kind
from ..encodings.object_nodes import Call, Dict, List, Tuple, text_of
from ..encodings.pickle_reader import load
from ..encodings.pickled_tensors import torch_dtype

_MOST_SIZE = 1 << 63
_MOST_COMPARED = 20_000_000  # pairs of chunks, in a whole file: a few seconds
Shape = tuple[int, ...]


class Run(NamedTuple):
    """The bytes [at, at + nbytes) of a file: one item, which is a zip of its own."""

    file: File
    at: int
    nbytes: int


class Chunk(NamedTuple):
    """A box of a tensor: the index of its first element, its shape, and the zip that holds it."""

    offsets: Shape
    sizes: Shape
    run: Run


class Metadata(NamedTuple):
    """All that `.metadata` says.

    Attributes:
        kinds: The dtype and shape of every tensor, by name.
        chunks: The chunks of every tensor, but for empty ones.
        objects: Where each other object lies.
        paths: The keys that lead to a tensor or object in the nested state dict (`planner_data`).
    """

    kinds: dict[str, Kind]
    chunks: dict[str, list[Chunk]]
    objects: dict[str, Run]
    paths: dict[str, tuple[Any, ...]]


def metadata_of(pickle: bytes, open_file: Callable[[str], File]) -> Metadata:
    """Read the metadata.

    Args:
        pickle: The bytes of `.metadata`.
        open_file: Opens the file with a name that the metadata give.

    Raises:
        Malformed: Its parts contradict one another, or a chunk lies outside of its file.
    """
    root = load(pickle)
    state = _state(root, "Metadata")
    runs = _runs(state, open_file)
    metadata = Metadata({}, {}, {}, _paths(state.get("planner_data")))
    tiling = _Tiling()
    for key, entry in _pairs(state.get("state_dict_metadata"), "state_dict_metadata"):
        name = text_of(key)
        if name is None or name in metadata.kinds or name in metadata.objects:
            raise Malformed(f"the metadata have the name {name!r} twice" if name is not None else "a name in the metadata is no string")
        if _is_of(entry, "BytesStorageMetadata"):
            metadata.objects[name] = _run(runs, name, None)
            continue
        kind, boxes = _tensor(name, entry)
        tiling.check(name, kind.shape, boxes)
        metadata.kinds[name] = kind
        metadata.chunks[name] = [Chunk(offsets, sizes, _run(runs, name, offsets)) for offsets, sizes in boxes if 0 not in sizes]
    return metadata


def _is_of(node: Any, name: str) -> bool:
    return type(node) is Call and node.path.startswith("torch.distributed.") and node.path.endswith("." + name)


def _state(node: Any, name: str) -> Dict:
    """The attributes of an object of class `name`."""
    state = node.state() if _is_of(node, name) else None
    if state is None:
        raise Malformed(f"the metadata have no {name} where one belongs")
    return state  # type: ignore[no-any-return]


def _pairs(node: Any, name: str) -> list[tuple[Any, Any]]:
    if type(node) is not Dict:
        raise Malformed(f"the metadata's {name} is no dict")
    return node.pairs


def _size(node: Any) -> Shape:
    """A pickled torch.Size: a call with a tuple of integers."""
    args = node.arguments() if type(node) is Call and node.path == "torch.Size" else []
    items = args[0].items if args and type(args[0]) in (Tuple, List) else ["?"]
    if len(items) > 64 or any(type(n) is not int or not 0 <= n < _MOST_SIZE for n in items):
        raise Malformed("a size in the metadata is no list of integers ≥ 0")
    return tuple(items)


def _tensor(name: str, entry: Any) -> tuple[Kind, list[tuple[Shape, Shape]]]:
    """The dtype and shape of a tensor, and its chunks as boxes: the index of their first element, their shape."""
    state = _state(entry, "TensorStorageMetadata")
    properties = state.get("properties")
    facts = properties.states[-1].items if type(properties) is Call and properties.states and type(properties.states[-1]) is Tuple else []
    dtype = torch_dtype(facts[0] if facts else None, f"tensor {name!r}: ")
    if dtype.name == "float4_e2m1fn":
        raise Malformed(f"tensor {name!r}: pieces of {dtype.name} are not read", "save it with torch.save")
    chunks = state.get("chunks")
    if type(chunks) is not List:
        raise Malformed(f"tensor {name!r}: its chunks are no list")
    boxes = [_box(_state(chunk, "ChunkStorageMetadata")) for chunk in chunks.items]
    return Kind(dtype, _size(state.get("size"))), boxes


def _box(state: Dict) -> tuple[Shape, Shape]:
    return _size(state.get("offsets")), _size(state.get("sizes"))


def _runs(state: Dict, open_file: Callable[[str], File]) -> dict[tuple[str, Shape | None], Run]:
    """Where each item lies, by name and first element; an object has no first element."""
    runs: dict[tuple[str, Shape | None], Run] = {}
    files: dict[str, File] = {}
    for index, info in _pairs(state.get("storage_data"), "storage_data"):
        item, storage = _state(index, "MetadataIndex"), _state(info, "_StorageInfo")
        name, offset, path = text_of(item.get("fqn")), item.get("offset"), text_of(storage.get("relative_path"))
        at, nbytes, extensions = storage.get("offset"), storage.get("length"), storage.get("transform_descriptors")
        if name is None or path is None or type(at) is not int or type(nbytes) is not int:
            raise Malformed("a place in the metadata is not a file name and two integers")
        if extensions is not None and getattr(extensions, "items", True):
            raise Malformed(f"{name!r} went through an extension of torch.distributed.checkpoint (compressed, say), which is not read")
        key = name, None if offset is None else _size(offset)
        if key in runs:
            raise Malformed(f"the metadata have two places for a chunk of {name!r}")
        file = files[path] = files.get(path) or open_file(path)
        if at < 0 or nbytes < 0 or at + nbytes > file.size:
            raise Malformed(f"{path} is truncated: {name!r} lies at bytes {at:,} to {at + nbytes:,} of {file.size:,}", "copy it again")
        runs[key] = Run(file, at, nbytes)
    return runs


def _run(runs: Mapping[tuple[str, Shape | None], Run], name: str, offsets: Shape | None) -> Run:
    run = runs.get((name, offsets))
    if run is None:
        raise Malformed(f"the metadata do not say where {'a chunk of ' if offsets else ''}{name!r} lies")
    return run


def _paths(planner: Any) -> dict[str, tuple[Any, ...]]:
    """Name → keys, so that the same nested dict can be written again. A planner may leave none, or data of its own."""
    paths: dict[str, tuple[Any, ...]] = {}
    for key, path in planner.pairs if type(planner) is Dict else ():
        name, keys = text_of(key), path.items if type(path) in (Tuple, List) else [None]
        if name is not None and all(type(part) in (str, int) for part in keys):
            paths[name] = tuple(keys)
    return paths


class _Tiling:
    """Checks that the chunks of every tensor tile it: they lie inside, are disjoint, and have all its elements."""

    def __init__(self) -> None:
        self.left = _MOST_COMPARED

    def check(self, name: str, shape: Shape, boxes: list[tuple[Shape, Shape]]) -> None:
        for offsets, sizes in boxes:
            if not len(offsets) == len(sizes) == len(shape) or any(a + n > m for a, n, m in zip(offsets, sizes, shape, strict=True)):
                raise Malformed(f"tensor {name!r}: a chunk of {show_shape(sizes)} at {list(offsets)} lies outside of {show_shape(shape)}")
        full = [box for box in boxes if 0 not in box[1]]
        count, in_chunks = numel_of(shape), sum(numel_of(sizes) for _, sizes in full)
        if in_chunks < count:
            missing = count - in_chunks
            raise Malformed(f"tensor {name!r}: its chunks leave out {missing:,} of {count:,} elements", "a rank's part is missing")
        if in_chunks > count or (len(full) > 1 and self._overlap(name, full)):
            raise Malformed(f"tensor {name!r}: two of its chunks overlap")

    def _overlap(self, name: str, boxes: list[tuple[Shape, Shape]]) -> bool:
        """Whether two boxes overlap. It sweeps along the axis on which most boxes begin apart; only boxes that are under way can meet."""
        axis = max(range(len(boxes[0][0])), key=lambda i: len({offsets[i] for offsets, _ in boxes}), default=0)
        under_way: list[tuple[Shape, Shape]] = []
        for box in sorted(boxes, key=lambda box: box[0][axis]):
            under_way = [other for other in under_way if other[0][axis] + other[1][axis] > box[0][axis]]
            self.left -= len(under_way) + 1
            if self.left < 0:
                raise Malformed(f"tensor {name!r}: its chunks are too many to be held against one another")
            if any(_meet(box, other) for other in under_way):
                return True
            under_way.append(box)
        return False


def _meet(one: tuple[Shape, Shape], two: tuple[Shape, Shape]) -> bool:
    return all(a < b + m and b < a + n for a, n, b, m in zip(*one, *two, strict=True))
