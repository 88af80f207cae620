"""A zip as torch sees it: a pickle, storages by key, and records that are carried along. Alone in a file, or one of many within it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...storage.storage import Storage
from ..encodings import zip as zips

_FIRST = {".format_version": b"1", ".storage_alignment": b"64", "byteorder": b"little"}


def root_of(members: Mapping[str, zips.Member]) -> str | None:
    """The folder in the archive that holds data.pkl."""
    found = [name[: -len("/data.pkl")] for name in members if name[-9:] == "/data.pkl" and name.count("/") == 1]
    if len(found) > 1:
        raise Malformed(f"the zip has more than one data.pkl: in {', '.join(found[:5])}")
    return found[0] if found else None


class Archive:
    """The members of one zip that torch.save wrote. Raises Malformed where its byte order is told in no known way."""

    def __init__(self, members: Mapping[str, zips.Member]) -> None:
        self.members, root = members, root_of(members)
        if root is None:
            raise Malformed("the zip has no data.pkl")
        self.root = root
        self.pickle = members[f"{root}/data.pkl"].contents()
        self.big = self._byte_order() == b"big"
        self.data = f"{root}/data/"
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
            from ...storage.mapped import swapped

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
        if not any(member.method for member in beside.values()):  # torch itself compresses nothing
            return dict(beside)
        from ..encodings.zip_inflate import inflated

        return {name: inflated(member) for name, member in beside.items()}


def lay_out(archive: zips.Writer, root: str, pickle: bytes, storages: Mapping[str, Storage], records: Mapping[str, Any]) -> None:
    """The members in the order in which torch.save writes them; `records` are carried along."""
    archive.add(f"{root}/data.pkl", pickle)
    for name, contents in _FIRST.items():
        archive.add(f"{root}/{name}", contents)
    for key, storage in storages.items():
        archive.add(f"{root}/data/{key}", storage)
    after = {"version": b"3\n"} | {name: record for name, record in records.items() if name not in _FIRST}
    for name, contents in after.items():
        archive.add(f"{root}/{name}", contents)
