"""PyTorch's files from before 1.6 (`_use_new_zipfile_serialization=False`): five pickles in a row, then the storages.

    magic number, protocol version (1001), system info, the object, the list of storage keys,
    then for each key: the count of its elements (int64, little-endian), its bytes (little-endian)

As in torch/serialization.py, `_legacy_save` and `_legacy_load`. Several objects may follow one another, saved to one open file: the names
of each begin with its number. An edited file is written as a zip, which every torch since 1.6 reads and which holds one object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import CannotHold, Malformed
from ...numbers.dtypes import DType
from ...storage.file import File
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint, Undecoded
from .. import Writer, formats
from ..encodings.object_nodes import ByteString, List
from ..encodings.one_of_several import one_of_several
from ..encodings.pickle_machine import Truncated
from ..encodings.pickle_reader import Unpickler
from ..encodings.pickle_tree import TorchTree, read_tree
from ..encodings.storage_ids import LEGACY_MAGIC, StorageId, is_storage_id
from .format_torch import TorchZip

if TYPE_CHECKING:
    from ...disk.layout import FileLayout

_PROTOCOL = 1001
# Bytes of a pickle: of the three small ones at the head, and of the others. Files that torch writes stay far below.
_MOST_HEAD = 1 << 16
_MOST_PICKLE = 1 << 30
_zip = TorchZip()


class TorchLegacy(Writer):
    """Files of `torch.save` before 1.6, which are written as those of today."""

    name = "torch-legacy"
    title = "PyTorch before 1.6 (written as torch)"
    ties = objects = edits_objects = in_model_order = True

    def sniff(self, file: File) -> bool:
        """The magic number near the beginning, as the bytes or the digits that a pickle has for it."""
        return LEGACY_MAGIC.to_bytes(10, "little") in file.head[:32] or str(LEGACY_MAGIC).encode() in file.head[:32]

    def read(self, file: File) -> Checkpoint:
        """The tensors under the paths by which they are reached from the pickled object; all else in it as objects."""
        streams = list(_streams(file))
        return streams[0] if len(streams) == 1 else _numbered(streams)

    def sizes_told(self, checkpoint: Checkpoint, changed: Mapping[str, tuple[int, ...]]) -> str:
        """What the format `torch` has of it."""
        return _zip.sizes_told(checkpoint, changed)

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """A zip, as the format `torch` writes it. Raises CannotHold for several objects that were saved one after another."""
        if self.is_origin_of(checkpoint) and isinstance(checkpoint.rest, Streams):
            raise CannotHold("several objects were saved to this file, one after another", "convert it, say to .safetensors")
        _zip.write(checkpoint, file_layout)

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """Those that the format `torch` writes."""
        return _zip.objects_to_write(checkpoint)


class Streams(NamedTuple):
    """The objects that were saved to one file, one after another."""

    trees: Sequence[TorchTree]


def _streams(file: File) -> Iterator[Checkpoint]:
    """Each object in the file."""
    at = 0
    while at < file.size or at == 0:
        if at and not _begins(file, at):
            raise Malformed(f"{file.size - at:,} bytes stand after the last storage")
        pickles = []
        for most in (_MOST_HEAD, _MOST_HEAD, _MOST_HEAD, _MOST_PICKLE, _MOST_PICKLE):
            start = at
            root, machine, at = load_at(file, at, most)
            pickles.append((root, machine, start))
            if len(pickles) <= len(_HEAD):
                _check_head(*_HEAD[len(pickles) - 1], root)
        (_, machine, start), (keys, _, end) = pickles[3:]
        storages = _Storages(file, keys, machine.persistents, at)
        yield read_tree(TorchTree(file.read(start, end - start), storages.find, {}))
        at = storages.end


_HEAD = (
    (LEGACY_MAGIC, "the file does not begin with torch's magic number"),
    (_PROTOCOL, "a legacy file of another protocol than 1001 is not known"),
)


def _check_head(wanted: int, otherwise: str, root: Any) -> None:
    if type(root) is not int or root != wanted:
        raise Malformed(otherwise)


def _begins(file: File, at: int) -> bool:
    """Whether another object begins at byte `at`."""
    head = file.read(at, min(32, file.size - at))
    return LEGACY_MAGIC.to_bytes(10, "little") in head or str(LEGACY_MAGIC).encode() in head


def _numbered(streams: Sequence[Checkpoint]) -> Checkpoint:
    """One checkpoint of several, the names of each below its number."""
    numbered = one_of_several({str(number): stream for number, stream in enumerate(streams)})
    return numbered.replacing(rest=Streams([stream.rest for stream in streams]))


def load_at(file: File, at: int, most: int = _MOST_PICKLE, make: type[Unpickler] = Unpickler) -> tuple[Any, Unpickler, int]:
    """Read the pickle that begins at byte `at` by `make`, and little more of the file; pickles of over `most` bytes are refused.

    Returns:
        Its root, the machine that read it, and the byte behind its end.
    """
    window = 1 << 16
    while True:
        data = file.read(at, min(window, most, file.size - at))
        machine = make(data)
        try:
            return machine.load(), machine, at + machine.at
        except Truncated:
            if at + window >= file.size:
                raise Malformed("truncated: the file ends within its pickles", "download or copy it again") from None
            if window >= most:
                raise Malformed(f"a pickle of over {most:,} bytes") from None
            window *= 8


class _Storages:
    """The storages behind the pickles, by key."""

    def __init__(self, file: File, keys: Any, persistents: list[Any], at: int) -> None:
        pids = {pid.key: pid for pid in (StorageId(node) for node in persistents if is_storage_id(node))}
        self.by_key: dict[str, Storage] = {}
        self.asked: set[str] = set()
        for item in keys.items if type(keys) is List else ():
            if type(item) not in (str, int, ByteString):
                raise Malformed("the list of storages holds what is no key")
            key = item.text if type(item) is ByteString else str(item)
            if key not in pids:
                raise Malformed(f"storage {key!r} is listed, and no tensor has it")
            if key in self.by_key:
                raise Malformed(f"storage {key!r} is listed twice")
            dtype = pids[key].dtype
            width = dtype.nbytes if dtype else 1
            count = int.from_bytes(file.read(at, 8), "little")
            extent = Extent(file, at + 8, count * width)
            file.read(at + 8 + extent.nbytes, 0)
            self.by_key[key] = extent
            at += 8 + extent.nbytes
        self.end = at

    def unasked(self) -> dict[str, Undecoded]:
        """The storages that no tensor has."""
        left = [key for key in self.by_key if key not in self.asked] if len(self.asked) < len(self.by_key) else []
        return {f"storage {key}": Undecoded("a storage that no tensor has", self.by_key[key]) for key in left}

    def find(self, key: str, dtype: DType | None, nbytes: int) -> Storage:
        """The storage of a key. Raises Malformed where the file has none of that size."""
        if key not in self.by_key:
            raise Malformed(f"storage {key!r} is not in the file")
        if self.by_key[key].nbytes != nbytes:
            raise Malformed(f"storage {key!r} has {self.by_key[key].nbytes:,} bytes, the pickle says {nbytes:,}")
        self.asked.add(key)
        return self.by_key[key]


formats.add(TorchLegacy.name, TorchLegacy())
