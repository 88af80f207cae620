"""The tensors and objects of a torch.distributed.checkpoint, read from their zips when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import Malformed, Opaque, about
from ...numbers.shapes import numel_of, show_shape
from ...storage.storage import Extent, Memory, Storage
from ...storage.tiles import tiled
from ...tensors.checkpoint import Kind, Lazy, Undecoded
from ...tensors.tensor import Layout, Tensor
from ..encodings import zip as zips
from ..encodings.object_nodes import Dict, List, Tuple
from ..encodings.pickle_reader import load
from ..encodings.pickle_tree import holds_contents
from ..encodings.pickled_tensors import TensorReader
from .archive import Archive
from .dcp_metadata import Chunk, Metadata, Run


class Tensors(Lazy):
    """The tensors of `.metadata`. A single chunk is the view that its zip holds; several are put together as they are read."""

    def __init__(self, metadata: Metadata) -> None:
        super().__init__(metadata.kinds)
        self.chunks = metadata.chunks

    def make(self, name: str) -> Tensor:
        """The tensor called `name`. Raises Malformed where its zip does not hold it, Opaque where its chunks cannot be put together."""
        kind, chunks = self.kinds[name], self.chunks[name]
        if not chunks:
            return Tensor.whole(kind.dtype, kind.shape, Memory(b""))
        contents = [ChunkStorage(name, kind, chunk) for chunk in chunks]
        if len(chunks) == 1:
            return contents[0].tensor
        if kind.dtype.elements != 1:
            raise Opaque(f"{name} is {kind.dtype.name} in several chunks: its values cannot be put together", "leave it out by a pattern")
        boxes = [(storage, list(zip(storage.chunk.offsets, storage.chunk.sizes, strict=True))) for storage in contents]
        return Tensor.whole(kind.dtype, kind.shape, tiled(kind.dtype.nbytes, kind.shape, boxes))


class ChunkStorage(Storage):
    """The elements of one chunk, C-contiguous. Its zip is read when they are first asked for."""

    __slots__ = ("_tensor", "chunk", "kind", "name")

    def __init__(self, name: str, kind: Kind, chunk: Chunk) -> None:
        self.name, self.kind, self.chunk = name, kind, chunk
        self.nbytes = numel_of(chunk.sizes) * kind.dtype.nbytes
        self._tensor: Tensor | None = None

    @property
    def tensor(self) -> Tensor:
        """The view that the zip holds. Raises Malformed where it is not of the dtype and shape that the metadata say."""
        if self._tensor is None:
            with about(self.chunk.run.file.path):
                self._tensor = self._of_zip()
        return self._tensor

    def _of_zip(self) -> Tensor:
        archive = Archive(zips.within(*self.chunk.run))
        tensor = TensorReader(archive.storage).tensor(load(archive.pickle))
        if tensor is None or (tensor.dtype, tensor.shape, tensor.layout) != (self.kind.dtype, self.chunk.sizes, Layout.PLAIN):
            actual = f"{show_shape(tensor.shape)} of {tensor.dtype.name}" if tensor is not None else "no tensor"
            expected = f"{show_shape(self.chunk.sizes)} of {self.kind.dtype.name}"
            raise Malformed(f"tensor {self.name!r}: the metadata say that a chunk is {expected}, and it is {actual}")
        return tensor

    def parts(self) -> tuple[Storage, ...]:
        """The elements as the zip holds them."""
        return (self.tensor.elements(),)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` with the bytes of the chunk from `start` on."""
        self.tensor.elements().readinto(start, view)


class Objects(Mapping[str, Any]):
    """The objects that are saved besides tensors, by name. Each is a zip of its own, which is read when it is asked for."""

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


class UndecodedObjects(Mapping[str, Undecoded]):
    """Those objects that hold tensors, arrays or bytes: of an object alone that is known when it is read."""

    def __init__(self, runs: dict[str, Run]) -> None:
        self.runs = runs
        self._found: dict[str, Undecoded] | None = None

    @property
    def _known(self) -> dict[str, Undecoded]:
        if self._found is None:
            what = "an object with numbers in it"
            self._found = {name: Undecoded(what, Extent(*run)) for name, run in self.runs.items() if _holds_contents(run)}
        return self._found

    def __getitem__(self, name: str) -> Undecoded:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _holds_contents(run: Run) -> bool:
    with about(run.file.path):
        archive = Archive(zips.within(*run))
        return holds_contents(load(archive.pickle), TensorReader(archive.storage))


def _object(run: Run) -> Any:
    """A number or a text as it is; a container or an object as a Foreign object with a sketch of it."""
    from ...tensors.checkpoint import Foreign
    from ..encodings.pickled_objects import plain, sketch

    root = load(Archive(zips.within(*run)).pickle)
    if type(root) in (Dict, List, Tuple) and (getattr(root, "pairs", None) or getattr(root, "items", None)):
        return Foreign({Dict: "dict", List: "list"}.get(type(root), "tuple"), sketch(root))
    return plain(root)
