"""A zip that torch.save wrote: a pickle, storages by key, and records that are carried along. It is a file, or lies within one.

As in torch/serialization.py (`_save`, `_load`) and caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...storage.storage import Storage
from ...tensors.checkpoint import Undecoded
from ..encodings import zip as zips


def root_of(members: Mapping[str, zips.Member]) -> str | None:
    """The folder in the archive that holds data.pkl; None where there is none. Raises Malformed where there are several."""
    roots = [name[: -len("/data.pkl")] for name in members if name[-9:] == "/data.pkl" and name.count("/") == 1]
    if len(roots) > 1:
        raise Malformed(f"the zip has more than one data.pkl: in {', '.join(roots[:5])}")
    return roots[0] if roots else None


class Archive:
    """The members of one zip that torch.save wrote. Raises Malformed where it has no data.pkl or an unknown byte order.

    Attributes:
        members: All members, by name.
        root: The folder in the zip that holds them.
        pickle: The contents of data.pkl.
        big: Whether the storages are big-endian.
    """

    def __init__(self, members: Mapping[str, zips.Member]) -> None:
        self.members, root = members, root_of(members)
        if root is None:
            raise Malformed("the zip has no data.pkl")
        self.root = root
        self.pickle = members[f"{root}/data.pkl"].contents()
        self.big = self._byte_order() == b"big"
        self._data = f"{root}/data/"
        self._swapped: dict[tuple[str, int], Storage] = {}
        self._asked: set[str] = set()

    def _byte_order(self) -> bytes:
        """What the record `byteorder` says; files from before torch 2.0 have none."""
        record = self.members.get(f"{self.root}/byteorder")
        order = b"little" if record is None else record.contents().strip() if record.nbytes <= 16 else b"?"
        if order not in (b"little", b"big"):
            raise Malformed("the archive's byte order is neither little nor big")
        return order

    def storage(self, key: str, dtype: DType | None, nbytes: int) -> Storage:
        """The little-endian bytes of a storage.

        Args:
            key: The name that the pickle gives it.
            dtype: The dtype of its elements; None where it is untyped.
            nbytes: Its size, as the pickle says.

        Raises:
            Malformed: It is not in the archive, is of another size, or its byte order is not known.
        """
        if self.big and dtype is None:
            raise Malformed(f"storage {key!r} is untyped in a big-endian file: its byte order cannot be told")
        width = dtype.part if self.big and dtype else 1
        member = self.members.get(self._data + key)
        if member is None:
            raise Malformed(f"storage {key!r} is not in the archive")
        self._asked.add(key)
        if member.nbytes != nbytes:
            raise Malformed(f"storage {key!r} has {member.nbytes:,} bytes, the pickle says {nbytes:,}")
        if width == 1:
            return member
        if (key, width) not in self._swapped:
            from ...storage.mapped import swapped

            self._swapped[key, width] = swapped(member, width)
        return self._swapped[key, width]

    def unasked(self) -> dict[str, Undecoded]:
        """The storages that nothing in the pickle refers to, by the name of their member."""
        keys = [name[len(self._data) :] for name in self.members if name.startswith(self._data)]
        left = [key for key in keys if key not in self._asked] if len(keys) > len(self._asked) else []
        return {f"data/{key}": Undecoded("a storage that no tensor has", self.members[self._data + key]) for key in left}

    def strange(self) -> dict[str, Undecoded]:
        """The records that torch.save does not write, by their name below the root, or by their whole name where they lie elsewhere."""
        start = self.root + "/"
        known = {f"{start}{name}" for name in ("data.pkl", "version", "byteorder")}
        names = [name for name in self.members if name not in known and not name.startswith((self._data, f"{start}."))]
        if not names:
            return {}
        from ..encodings.zip_inflate import inflated

        return {
            name.removeprefix(start): Undecoded("a record that torch.save does not write", inflated(self.members[name])) for name in names
        }

    def carried(self) -> dict[str, Storage]:
        """The records besides the pickle and its storages, by their name below the root."""
        start = self.root + "/"
        records = {
            name.removeprefix(start): member
            for name, member in self.members.items()
            if not name.startswith(self._data) and name.startswith(start) and name != f"{start}data.pkl"
        }
        if not any(member.method for member in records.values()):  # torch itself compresses nothing
            return dict(records)
        from ..encodings.zip_inflate import inflated

        return {name: inflated(member) for name, member in records.items()}
