"""PyTorch's zip files (`torch.save` since 1.6; .pt .pth .bin .ckpt): a stored zip of a pickle and one record a storage.

    NAME/data.pkl            the object, its storages left out as persistent ids ('storage', class, key, location, numel)
    NAME/byteorder           "little" or "big"
    NAME/data/KEY            the bytes of a storage
    NAME/version, NAME/.format_version, NAME/.storage_alignment, NAME/.data/serialization_id …

As in torch/serialization.py and caffe2/serialize/inline_container.cc. The pickle is read as symbols and written from symbols: no class
is imported, and what an edit does not concern is carried along. Peculiarities: data begin at multiples of 64 (padding in the extra
field), checksums stand behind the data and in the central directory; dtypes without a typed storage are untyped ones, counted in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..checkpoint import Checkpoint
from ..containers import zip as zips
from ..containers.torch_tree import Tree, read_tree
from ..dtypes import DType
from ..errors import Malformed
from ..file import File
from ..storage import Storage, swapped
from . import Format, changed_storages, formats

if TYPE_CHECKING:
    from ..patch import Change, Patch
    from ..sink import Sink


class TorchZip(Format):
    name = "torch"
    title = "PyTorch zip (torch.save)"
    suffixes = (".pt", ".pth", ".bin", ".ckpt")
    patches = ties = objects = takes_objects = True

    def sniff(self, file: File) -> bool:
        return zips.is_zip(file) and _root(file) is not None

    def read(self, file: File) -> Checkpoint:
        archive = Archive(file)
        return read_tree(Tree(archive.pickle, archive.storage, archive.carried(), archive.root))

    def write(self, checkpoint: Checkpoint, sink: Sink) -> None:
        from ..containers.torch_writing import write_tree

        pickle, storages = write_tree(checkpoint)
        archive = zips.Writer(sink)
        records: Mapping[str, Any] = checkpoint.rest.records if isinstance(checkpoint.rest, Tree) else {}
        root = checkpoint.rest.root if records else "archive"
        archive.add(f"{root}/data.pkl", pickle)
        before = {".format_version": b"1", ".storage_alignment": b"64", "byteorder": b"little"}
        after = {"version": b"3\n"} | {name: record for name, record in records.items() if name not in before}
        for name, contents in before.items():
            archive.add(f"{root}/{name}", contents)
        for key, storage in storages.items():
            archive.add(f"{root}/data/{key}", storage)
        for name, contents in after.items():
            archive.add(f"{root}/{name}", contents)
        archive.close()

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        from ..patch import Patch, changes

        pairs = changed_storages(checkpoint)
        if pairs is None or checkpoint.origin is None or not all(isinstance(before, zips.Member) for before, _ in pairs):
            return None
        found: list[Change] = []
        checksums = []
        for before, after in pairs:
            if isinstance(before, zips.Member):
                found += changes(before.place(), before, after)
                if before.crc:  # else torch was told to compute none (set_crc32_options)
                    checksums.append(before.checksum())
        return Patch(checkpoint.origin.file, sorted(found, key=lambda change: change.at), checksums)


def _root(file: File) -> str | None:
    """The folder in the archive that holds data.pkl."""
    found = [name[: -len("/data.pkl")] for name in zips.members(file) if name[-9:] == "/data.pkl" and name.count("/") == 1]
    if len(found) > 1:
        raise Malformed(f"the zip has more than one data.pkl: in {', '.join(found[:5])}")
    return found[0] if found else None


class Archive:
    """The zip as torch sees it: a pickle, storages by key, and records that are carried along."""

    def __init__(self, file: File) -> None:
        self.file, self.members = file, zips.members(file)
        self.root = _root(file) or ""
        self.pickle = self.members[f"{self.root}/data.pkl"].contents()
        self.big = self._byte_order() == b"big"
        self.data = f"{self.root}/data/"
        self.found: dict[tuple[str, int], Storage] = {}

    def _byte_order(self) -> bytes:
        """What the record `byteorder` says; files from before torch 2.0 have none."""
        record = self.members.get(f"{self.root}/byteorder")
        said = b"little" if record is None else record.contents().strip() if record.nbytes <= 16 else b"?"
        if said not in (b"little", b"big"):
            raise Malformed("the archive's byte order is neither little nor big")
        return said

    def storage(self, key: str, dtype: DType | None, nbytes: int) -> Storage:
        """The storage called `key`. Raises Malformed where it is not there, or not of the size that the pickle says."""
        if self.big and dtype is None:
            raise Malformed(f"storage {key!r} is untyped in a big-endian file: its byte order cannot be told")
        width = dtype.part if self.big and dtype else 1
        member = self.members.get(self.data + key)
        if member is None:
            raise Malformed(f"storage {key!r} is not in the archive")
        if member.nbytes != nbytes:
            raise Malformed(f"storage {key!r} has {member.nbytes:,} bytes, the pickle says {nbytes:,}")
        if width == 1:
            return member
        if (key, width) not in self.found:
            self.found[key, width] = swapped(member, width)
        return self.found[key, width]

    def carried(self) -> dict[str, Storage]:
        """The records besides the pickle and its storages, by their name below the root."""
        start = self.root + "/"
        beside = {
            name.removeprefix(start): member
            for name, member in self.members.items()
            if not name.startswith(self.data) and name.startswith(start) and name != f"{start}data.pkl"
        }
        return {name: zips.Inflated(member) if member.method else member for name, member in beside.items()}


formats.add(TorchZip.name, TorchZip())
