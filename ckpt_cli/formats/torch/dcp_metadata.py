"""The `.metadata` of torch.distributed.checkpoint, from nodes: what there is, in which chunks, and where each of them lies.

    Metadata(state_dict_metadata={NAME: TensorStorageMetadata(properties, size, chunks) or BytesStorageMetadata()},
             planner_data={NAME: path}, storage_data={MetadataIndex(NAME, offset): _StorageInfo(relative_path, offset, length)}, …)

As in torch/distributed/checkpoint/metadata.py and filesystem.py. Chunks are held to tile their tensor; nothing is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ...errors import Malformed, Opaque, about
from ...numbers.dtypes import DTYPES
from ...storage.file import File
from ...storage.storage import Assembled, Memory, Storage
from ...tensors.checkpoint import Kind, Lazy, Tensor, numel_of, show_shape
from ..encodings import zip as zips
from ..encodings.object_nodes import Call, Dict, Global, List, Tuple, said
from ..encodings.pickle_reader import load
from ..encodings.pickled_tensors import TORCH_DTYPES, Reader
from .archive import Archive

_MOST = 1 << 63
_MOST_COMPARED = 20_000_000  # pairs of chunks, in a whole file: a few seconds
Shape = tuple[int, ...]


class Run(NamedTuple):
    """The bytes [at, at + nbytes) of a file, as an item lies in it."""

    file: File
    at: int
    nbytes: int


class Chunk(NamedTuple):
    """A box of a tensor: where it begins, its shape, and the zip that holds it."""

    offsets: Shape
    sizes: Shape
    run: Run


class Contents(NamedTuple):
    """All that `.metadata` says: tensors, their chunks, other objects, and the path of keys to each."""

    kinds: dict[str, Kind]
    chunks: dict[str, list[Chunk]]
    objects: dict[str, Run]
    paths: dict[str, tuple[Any, ...]]


def contents(pickle: bytes, opened: Callable[[str], File]) -> Contents:
    """What the pickle says; `opened` gives the file of a name in it. Raises Malformed where its parts make no sense."""
    root = load(pickle)
    state = _state(root, "Metadata")
    places = _places(state, opened)
    found = Contents({}, {}, {}, _paths(state.get("planner_data")))
    tiling = _Tiling()
    for key, entry in _pairs(state.get("state_dict_metadata"), "state_dict_metadata"):
        name = said(key)
        if name is None or name in found.kinds or name in found.objects:
            raise Malformed(f"the metadata have the name {name!r} twice" if name is not None else "a name in the metadata is no string")
        if _is(entry, "BytesStorageMetadata"):
            found.objects[name] = _place(places, name, None)
            continue
        kind, boxes = _tensor(name, entry)
        tiling.check(name, kind.shape, boxes)
        found.kinds[name] = kind
        found.chunks[name] = [Chunk(offsets, sizes, _place(places, name, offsets)) for offsets, sizes in boxes if 0 not in sizes]
    return found


def _is(node: Any, name: str) -> bool:
    return type(node) is Call and node.path.startswith("torch.distributed.") and node.path.endswith("." + name)


def _state(node: Any, name: str) -> Dict:
    state = node.state() if _is(node, name) else None
    if state is None:
        raise Malformed(f"the metadata have no {name} where one belongs")
    return state  # type: ignore[no-any-return]


def _pairs(node: Any, name: str) -> list[tuple[Any, Any]]:
    if type(node) is not Dict:
        raise Malformed(f"the metadata's {name} is no dict")
    return node.pairs


def _size(node: Any) -> Shape:
    """A torch.Size, as it is pickled: a call with a tuple of integers."""
    args = node.arguments() if type(node) is Call and node.path == "torch.Size" else []
    items = args[0].items if args and type(args[0]) in (Tuple, List) else ["?"]
    if len(items) > 64 or any(type(n) is not int or not 0 <= n < _MOST for n in items):
        raise Malformed("a size in the metadata is no list of integers ≥ 0")
    return tuple(items)


def _tensor(name: str, entry: Any) -> tuple[Kind, list[tuple[Shape, Shape]]]:
    state = _state(entry, "TensorStorageMetadata")
    properties = state.get("properties")
    facts = properties.states[-1].items if type(properties) is Call and properties.states and type(properties.states[-1]) is Tuple else []
    dtype = facts[0] if facts else None
    if type(dtype) is not Global or TORCH_DTYPES.get(dtype.name) not in DTYPES:
        raise Malformed(f"tensor {name!r}: torch dtype {getattr(dtype, 'path', dtype)!r} is not known")
    chunks = state.get("chunks")
    if type(chunks) is not List:
        raise Malformed(f"tensor {name!r}: its chunks are no list")
    boxes = [_box(_state(chunk, "ChunkStorageMetadata")) for chunk in chunks.items]
    return Kind(DTYPES[TORCH_DTYPES[dtype.name]], _size(state.get("size"))), boxes


def _box(state: Dict) -> tuple[Shape, Shape]:
    return _size(state.get("offsets")), _size(state.get("sizes"))


def _places(state: Dict, opened: Callable[[str], File]) -> dict[tuple[str, Shape | None], Run]:
    found: dict[tuple[str, Shape | None], Run] = {}
    files: dict[str, File] = {}
    for index, info in _pairs(state.get("storage_data"), "storage_data"):
        which, where = _state(index, "MetadataIndex"), _state(info, "_StorageInfo")
        name, offset, path = said(which.get("fqn")), which.get("offset"), said(where.get("relative_path"))
        at, nbytes, changed = where.get("offset"), where.get("length"), where.get("transform_descriptors")
        if name is None or path is None or type(at) is not int or type(nbytes) is not int:
            raise Malformed("a place in the metadata is not a file name and two integers")
        if changed is not None and getattr(changed, "items", True):
            raise Malformed(f"{name!r} went through an extension of torch.distributed.checkpoint (compressed, say), which is not read")
        key = name, None if offset is None else _size(offset)
        if key in found:
            raise Malformed(f"the metadata have two places for a chunk of {name!r}")
        file = files[path] = files.get(path) or opened(path)
        if at < 0 or nbytes < 0 or at + nbytes > file.size:
            raise Malformed(f"{path} is truncated: {name!r} lies at bytes {at:,} to {at + nbytes:,} of {file.size:,}", "copy it again")
        found[key] = Run(file, at, nbytes)
    return found


def _place(places: Mapping[tuple[str, Shape | None], Run], name: str, offsets: Shape | None) -> Run:
    run = places.get((name, offsets))
    if run is None:
        raise Malformed(f"the metadata do not say where {'a chunk of ' if offsets else ''}{name!r} lies")
    return run


def _paths(planner: Any) -> dict[str, tuple[Any, ...]]:
    """Name → keys, for writing the same again; a planner may leave none, or data of its own."""
    found: dict[str, tuple[Any, ...]] = {}
    for key, path in planner.pairs if type(planner) is Dict else ():
        name, keys = said(key), path.items if type(path) in (Tuple, List) else [None]
        if name is not None and all(type(part) in (str, int) for part in keys):
            found[name] = tuple(keys)
    return found


class _Tiling:
    """Holds the chunks of every tensor to tile it: inside, disjoint, and as many elements in all."""

    def __init__(self) -> None:
        self.left = _MOST_COMPARED

    def check(self, name: str, shape: Shape, boxes: list[tuple[Shape, Shape]]) -> None:
        for offsets, sizes in boxes:
            if not len(offsets) == len(sizes) == len(shape) or any(a + n > m for a, n, m in zip(offsets, sizes, shape, strict=True)):
                raise Malformed(f"tensor {name!r}: a chunk of {show_shape(sizes)} at {list(offsets)} lies outside of {show_shape(shape)}")
        full = [box for box in boxes if 0 not in box[1]]
        count, held = numel_of(shape), sum(numel_of(sizes) for _, sizes in full)
        if held < count:
            raise Malformed(f"tensor {name!r}: its chunks leave out {count - held:,} of {count:,} elements", "a rank's part is missing")
        if held > count or (len(full) > 1 and self._overlap(name, full)):
            raise Malformed(f"tensor {name!r}: two of its chunks overlap")

    def _overlap(self, name: str, boxes: list[tuple[Shape, Shape]]) -> bool:
        """Sweeps along the axis with the most beginnings; only boxes that are under way there can meet."""
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


class Tensors(Lazy):
    """The tensors of `.metadata`: one chunk is the view that its zip holds, several are put together as they are read."""

    def __init__(self, found: Contents) -> None:
        super().__init__(found.kinds)
        self.chunks = found.chunks

    def make(self, name: str) -> Tensor:
        kind, chunks = self.kinds[name], self.chunks[name]
        if not chunks:
            return Tensor.whole(kind.dtype, kind.shape, Memory(b""))
        pieces = [Piece(name, kind, chunk) for chunk in chunks]
        if len(chunks) == 1:
            return pieces[0].tensor
        if kind.dtype.elements != 1:
            raise Opaque(f"{name} is {kind.dtype.name} in several chunks: its values cannot be put together", "leave it out by a pattern")
        boxes = [(piece.chunk.offsets, piece.chunk.sizes, piece) for piece in pieces]
        return Tensor.whole(kind.dtype, kind.shape, Assembled(kind.dtype.nbytes, kind.shape, boxes))


class Piece(Storage):
    """The elements of one chunk, C-contiguous. Its zip is looked into when it is first read."""

    __slots__ = ("_found", "chunk", "kind", "name")

    def __init__(self, name: str, kind: Kind, chunk: Chunk) -> None:
        self.name, self.kind, self.chunk = name, kind, chunk
        self.nbytes = numel_of(chunk.sizes) * kind.dtype.nbytes
        self._found: Tensor | None = None

    @property
    def tensor(self) -> Tensor:
        """The view that the zip holds. Raises Malformed where that is not what the metadata say."""
        if self._found is None:
            with about(self.chunk.run.file.path):
                self._found = self._read()
        return self._found

    def _read(self) -> Tensor:
        archive = Archive(zips.within(*self.chunk.run))
        tensor = Reader(archive.storage).tensor(load(archive.pickle))
        if tensor is None or (tensor.dtype, tensor.shape, tensor.layout) != (self.kind.dtype, self.chunk.sizes, ""):
            held = f"{show_shape(tensor.shape)} of {tensor.dtype.name}" if tensor else "no tensor"
            said = f"{show_shape(self.chunk.sizes)} of {self.kind.dtype.name}"
            raise Malformed(f"tensor {self.name!r}: the metadata say that a chunk is {said}, and it is {held}")
        return tensor

    def parts(self) -> tuple[Storage, ...]:
        return (self.tensor.elements(),)

    def readinto(self, start: int, view: memoryview) -> None:
        self.tensor.elements().readinto(start, view)


class Objects(Mapping[str, Any]):
    """What is saved besides tensors, each a torch file of its own that is looked into when it is asked for."""

    def __init__(self, runs: dict[str, Run]) -> None:
        self.runs = runs
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            with about(self.runs[name].file.path):
                self._made[name] = _object(self.runs[name])
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self.runs

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)


def _object(run: Run) -> Any:
    """A number or a text as it is; a container or an object by its type and a sketch."""
    from ...tensors.checkpoint import Foreign
    from ..encodings.foreign import plain, sketch

    root = load(Archive(zips.within(*run)).pickle)
    if type(root) in (Dict, List, Tuple) and (getattr(root, "pairs", None) or getattr(root, "items", None)):
        return Foreign({Dict: "dict", List: "list"}.get(type(root), "tuple"), sketch(root))
    return plain(root)
