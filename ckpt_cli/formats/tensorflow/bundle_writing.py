"""TensorFlow's tensor bundles, written: anew, or as the few bytes that change, with the checksums over them.

Anew there is one data file, its tensors in the order of the index; the index follows when their checksums are known. Where nothing but
values changed, the data files and the index keep their layout: the checksum of a tensor is exchanged where its entry has it, and so is
that of the block of the index around it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ...disk.layout import FileLayout, Placed
from ...disk.patch import Change, Patch, changes, crc_of
from ...disk.saving import FileToWrite
from ...errors import CannotHold, Malformed
from ...storage.crc32c import CRC32C
from ...storage.storage import Extent, Memory, Slice, Storage
from ...storage.tiles import Tiled
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from ..encodings.protobuf import fixed32, integer, nested
from .bundle import GRAPH, SUFFIX, Bundle, data_path, text_of, written_text
from .messages import NUMBERS, written_shape
from .object_graph import rekeyed
from .sstable import Block, Stored, masked, table

_HEADER = integer(1, 1) + nested(3, integer(1, 1))  # one data file, of the first version of the format


Pairs = Sequence[tuple[Storage, Storage]]  # storages that were replaced, before and after


class _Item(NamedTuple):
    """What is put into the data file under a key. `crc`: its checksum, where that is not of the bytes as they stand (strings)."""

    kind: int
    shape: tuple[int, ...]
    storage: Storage
    crc: int | None = None

    def entry(self, put: Placed) -> bytes:
        crc = masked(put.crc if self.crc is None else self.crc)
        place = integer(4, put.at) + integer(5, self.storage.nbytes)
        return integer(1, self.kind) + nested(2, written_shape(self.shape)) + place + fixed32(6, crc)


class Plan:
    """A checkpoint as the items of a bundle, by key. Raises CannotHold for a name or a dtype that has no place."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        bundle = checkpoint.rest if isinstance(checkpoint.rest, Bundle) else None
        found: dict[bytes, _Item] = {}
        tied = checkpoint.tied_to()
        storages = {name: tensor.elements() for name, tensor in checkpoint.items() if name not in tied and _held(name, tensor)}
        keys = {name: _key(name, checkpoint, bundle) for name in checkpoint}
        for name, tensor in checkpoint.items():
            found[keys[name]] = _Item(NUMBERS[tensor.dtype], tensor.shape, storages[tied.get(name, name)])
        objects = carried(checkpoint)
        found |= objects.values()
        if bundle and GRAPH in objects:
            found[objects[GRAPH][0]] = _graph(objects[GRAPH][1], _became(checkpoint, bundle, keys))
        if len(found) < len(checkpoint) + len(objects):
            raise CannotHold(f"two names are the same to TensorFlow, which adds {SUFFIX} to one of them", "rename it")
        self.items = dict(sorted(found.items()))
        self.puts: dict[Storage, Placed] = {}

    def write_data(self, file_layout: FileLayout) -> None:
        self.puts = {}
        for item in self.items.values():
            if item.storage not in self.puts:
                self.puts[item.storage] = file_layout.put(item.storage, CRC32C)

    def write_index(self, file_layout: FileLayout) -> None:
        """Once the data are written, and their checksums known."""
        entries = ((key, item.entry(self.puts[item.storage])) for key, item in self.items.items())
        for piece in table(iter([(b"", _HEADER), *entries])):
            file_layout.write(piece)


def carried(checkpoint: Checkpoint) -> dict[str, tuple[bytes, _Item]]:
    """The objects that come from a bundle, by name: their keys, and their bytes as they stand there."""
    bundle = checkpoint.rest
    if not isinstance(bundle, Bundle):
        return {}
    kept = {name: key for name, key in bundle.carried.items() if name in checkpoint.objects}
    found = {}
    for name, key in kept.items():
        entry = bundle.entries[key]
        found[name] = key, _Item(entry.kind, entry.shape, bundle.stored(key), entry.crc)
    return found


def _became(checkpoint: Checkpoint, bundle: Bundle, keys: dict[str, bytes]) -> dict[bytes, bytes | None]:
    """Each key that was read and is not what it was → the new one, or None where it is dropped."""
    now = {name: key for name, key in bundle.carried.items() if name in checkpoint.objects}
    now |= {source: keys[name] for name in reversed(keys) if (source := checkpoint.sources.get(name, name)) in bundle.keys}
    return {key: now.get(name) for name, key in bundle.keys.items() if now.get(name) != key}


def _graph(item: _Item, became: Mapping[bytes, bytes | None]) -> _Item:
    """The object graph, as what is kept under other keys needs it; one that cannot be read stays as it is."""
    if not became or not isinstance(item.storage, Stored):
        return item
    try:
        data, crc = written_text(rekeyed(text_of(item.storage), became))
    except Malformed:
        return item
    return item._replace(storage=Memory(data), crc=crc)


def _held(name: str, tensor: Tensor) -> bool:
    kind = tensor.layout or tensor.dtype.name
    if tensor.layout or tensor.dtype not in NUMBERS:
        raise CannotHold(f"a TensorFlow checkpoint cannot hold {name}, which is {kind}", f"leave it out: --drop '{name}'")
    return True


def _key(name: str, checkpoint: Checkpoint, bundle: Bundle | None) -> bytes:
    """As it was read, with the suffix that was left out; a new name as it is."""
    source = bundle.keys.get(checkpoint.sources.get(name, name), b"") if bundle else b""
    suffix = SUFFIX if source.endswith(SUFFIX.encode()) and not name.endswith(SUFFIX) else ""
    try:
        key = (name + suffix).encode()
    except UnicodeEncodeError:
        raise CannotHold("a name that is no valid Unicode has no place in a TensorFlow checkpoint", "rename it") from None
    if not key or key.startswith(b"\0"):
        raise CannotHold(f"a TensorFlow checkpoint cannot hold a tensor called {name!r}", "rename it")
    return key


def anew(checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
    """The data file, then the index, which tells of it."""
    plan = Plan(checkpoint)
    yield FileToWrite(data_path(path, 0, 1), plan.write_data)
    yield FileToWrite(path, plan.write_index)


def superseded(checkpoint: Checkpoint, pairs: Pairs | None) -> list[str]:
    """The data files that its edited self, written to the same place, has no use for."""
    bundle = checkpoint.rest
    if not isinstance(bundle, Bundle) or bundle.shards == 1 or _changes(bundle, pairs) is not None:
        return []
    return [path for shard in range(bundle.shards) if os.path.isfile(path := data_path(bundle.file.path, shard, bundle.shards))]


def patched(checkpoint: Checkpoint, pairs: Pairs | None, path: str) -> list[FileToWrite] | None:
    """The files as they are but for the values that changed, by `pairs` of storages; None where only a rebuild does."""
    bundle = checkpoint.rest
    found = _changes(bundle, pairs) if isinstance(bundle, Bundle) else None
    if found is None:
        return None
    mends = _Mends(bundle, found)
    same = os.path.realpath(path) == os.path.realpath(bundle.file.path)
    outputs = []
    for shard, file in sorted(bundle.files.items()):
        own = sorted((change for stored in found if stored.file is file for change in found[stored]), key=lambda change: change.at)
        if own or not same:
            outputs.append(_output(data_path(path, shard, bundle.shards), Patch(file, own, [])))
    if same and not outputs:
        return []
    return [*outputs, _output(path, Patch(bundle.file, mends.changes(), []))]


def _output(path: str, patch: Patch) -> FileToWrite:
    return FileToWrite(path, lambda file_layout: None, patch)


def _changes(bundle: Bundle, pairs: Pairs | None) -> dict[Stored, list[Change]] | None:
    """What changes in the data files, by the bytes of an entry; None where more than values changed, or a checksum has no place."""
    if pairs is None:
        return None
    found: dict[Stored, list[Change]] = {}
    for before, after in pairs:
        for stored, change in _of_entries(before, after):
            found.setdefault(stored, []).append(change)
    if any(bundle.entries[key].crc_at < 0 for stored in found for key in bundle.holders[stored]):
        return None
    return found


def _of_entries(before: Storage, after: Storage) -> Iterator[tuple[Stored, Change]]:
    if isinstance(before, Stored):
        yield from ((before, change) for change in changes(before.place(), before, after))
    elif isinstance(before, Tiled):
        seen = set()
        for change in changes(0, before, after):
            for tile, low, high in before.covering(change.at, change.stop):
                stored = tile.storage
                if isinstance(stored, Stored) and (stored, low) not in seen:
                    contents = Slice(after, tile.offset + low, high - low) if tile.rows == 1 else tile.gathered_from(after)
                    seen.add((stored, low))
                    yield stored, Change(stored.place() + low, contents)


class _Mends:
    """The checksums of changed entries, and of the blocks of the index that they stand in: computed once, when they are first asked for."""

    def __init__(self, bundle: Bundle, changed: Mapping[Stored, list[Change]]) -> None:
        self.bundle, self.changed = bundle, changed
        self.entries = [bundle.entries[key] for stored in changed for key in bundle.holders[stored]]
        self._found: dict[int, bytes] = {}

    def changes(self) -> list[Change]:
        blocks = {entry.block for entry in self.entries}
        places = [entry.crc_at for entry in self.entries] + [block.at + block.nbytes + 1 for block in blocks]
        return [Change(at, _Late(self.found, at)) for at in sorted(places)]

    def found(self) -> dict[int, bytes]:
        """Place in the index → the four bytes there."""
        if not self._found and self.entries:
            for stored, changed in self.changed.items():
                value = masked(_summed(stored, changed)).to_bytes(4, "little")
                self._found |= {self.bundle.entries[key].crc_at: value for key in self.bundle.holders[stored]}
            for block in {entry.block for entry in self.entries}:
                self._found[block.at + block.nbytes + 1] = self._block(block)
        return self._found

    def _block(self, block: Block) -> bytes:
        data = bytearray(block.file.read(block.at, block.nbytes + 1))
        for at, value in self._found.items():
            if block.at <= at < block.at + block.nbytes:
                data[at - block.at : at - block.at + 4] = value
        return masked(CRC32C.of(data)).to_bytes(4, "little")


def _summed(stored: Stored, changed: list[Change]) -> int:
    """The checksum of all of `stored` once it is changed; what stays is not read."""
    crc = stored.crc or 0
    for change in changed:
        new = crc_of(change.contents, CRC32C)
        if change.contents.nbytes == stored.nbytes:
            return new
        old = crc_of(Extent(stored.file, change.at, change.contents.nbytes), CRC32C)
        crc = CRC32C.exchanged(crc, old, new, stored.place() + stored.nbytes - change.stop)
    return crc


class _Late(Storage):
    """Four bytes that are known once the data are looked at."""

    __slots__ = ("at", "find")

    def __init__(self, find: Callable[[], Mapping[int, bytes]], at: int) -> None:
        self.find, self.at, self.nbytes = find, at, 4

    def portable(self) -> bool:
        return False

    def readinto(self, start: int, view: memoryview) -> None:
        view[:] = self.find()[self.at][start : start + len(view)]
