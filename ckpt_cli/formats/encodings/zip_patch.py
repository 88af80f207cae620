"""Edits of a zip in place: the bytes of stored members that change, and the checksums over them."""

from __future__ import annotations

from collections.abc import Sequence

from ...disk.patch import Checksum, Patch, of_extents
from ...storage.file import File
from ...storage.storage import Storage
from .zip import Member


def patch_members(file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
    """The patch of an archive in which the bytes of stored members are replaced.

    Args:
        file: The archive.
        pairs: Storages before and after the edit.

    Returns:
        None where a storage is no stored member.
    """
    members = [before for before, _ in pairs if isinstance(before, Member)]
    changes = of_extents(pairs) if len(members) == len(pairs) else None
    checksums = [checksum(member) for member in members if member.crc]  # torch writes 0 where set_crc32_options(False) was called
    return None if changes is None else Patch(file, changes, checksums)


def checksum(member: Member) -> Checksum:
    """The CRC-32 of a stored member: the bytes that it is over, its value, and the places that keep it."""
    start = member.place()
    return Checksum(start, start + member.nbytes, member.crc or 0, member.crc_offsets())
