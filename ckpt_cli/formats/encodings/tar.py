"""Tar archives: their regular members, which are read where they lie. Nothing is extracted.

    a header of 512 bytes (name, size, checksum, type, …), then the contents, filled up to 512 bytes; two blocks of zeros at the end

As in POSIX.1-2024 (pax: ustar, extended headers) and GNU tar's manual ("Basic Tar Format"): long names, sizes in base 256. Links, devices
and folders are passed over; sparse members and several members of one name are refused.
"""

from __future__ import annotations

from typing import NamedTuple

from ...errors import Malformed
from ...storage.file import File

_BLOCK = 512
_MOST_MEMBERS = 100_000
_MOST_NAME = 1 << 20  # bytes of a long name, or of an extended header
_MOST_FILLING = 1 << 20  # bytes of zeros at the end: writers fill up to a record, of 10,240 bytes or so
_REGULAR, _PASSED_OVER = (b"0", b"\0", b"7"), (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, FIFOs
_OCTAL = frozenset(b"01234567")
_LONG_NAME, _LONG_LINK, _EXTENDED, _GLOBAL = b"L", b"K", b"x", b"g"


class TarMember(NamedTuple):
    """A regular file in an archive: its name, where its contents begin, and their size."""

    name: str
    start: int
    nbytes: int


def begins_tar(head: bytes) -> bool:
    """Whether bytes begin with the header of a member, by its checksum."""
    header = head[:_BLOCK]
    return len(header) == _BLOCK and header[0] != 0 and _has_checksum(header)


def members(file: File) -> dict[str, TarMember]:
    """The regular members by name, without `./` before it. Raises Malformed for an archive that is broken, or not plain."""
    by_name: dict[str, TarMember] = file.fact("tar", _members)
    return by_name


def plain_name(name: str) -> str:
    """The name of a member without `./` before it, which some writers put there."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _members(file: File) -> dict[str, TarMember]:
    by_name: dict[str, TarMember] = {}
    extended: dict[str, bytes] = {}  # what the headers before a member say of it
    at = count = 0
    while any(header := file.read(at, _BLOCK)):
        count += 1
        if count > _MOST_MEMBERS:
            raise Malformed(f"the tar has over {_MOST_MEMBERS:,} members", where=file.path)
        if not _has_checksum(header):
            raise Malformed(f"the tar has no header at byte {at:,}, or a broken one", "download or copy it again", file.path)
        kind, at = header[156:157], at + _BLOCK
        size = 0 if kind in _PASSED_OVER else _size(file, header[124:136], extended.get("size"))
        if at + size > file.size:
            raise Malformed(f"truncated: {at + size - file.size:,} bytes are missing at the end", "download or copy it again", file.path)
        if kind in (_LONG_NAME, _LONG_LINK, _EXTENDED, _GLOBAL):
            extended |= _extended(file, kind, at, size)
        elif kind in _REGULAR or kind in _PASSED_OVER:
            _add(by_name, TarMember(_name(header, extended), at, size), kind, file)
            extended = {}
        else:
            raise Malformed(f"the tar has a member of type {chr(kind[0])!r}, which is not read", "tar xf it first", file.path)
        at += -(-size // _BLOCK) * _BLOCK
    _check_end(file, at)
    return by_name


def _add(by_name: dict[str, TarMember], member: TarMember, kind: bytes, file: File) -> None:
    if kind not in _REGULAR or member.name.endswith("/"):  # the oldest tars mark a folder by its name
        return
    if member.name in by_name:
        raise Malformed(f"two members of the tar are called {member.name!r}", "tar xf it first", file.path)
    by_name[member.name] = member


def _name(header: bytes, extended: dict[str, bytes]) -> str:
    """The name of a member: that of an extended header, or of this one with what stands before it in ustar's."""
    name, before = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and before:
        name = before + b"/" + name
    return plain_name(extended.get("path", name).decode("utf-8", "surrogateescape"))


def _extended(file: File, kind: bytes, at: int, size: int) -> dict[str, bytes]:
    """What a header of type L, K, x or g says of the members that follow: `path` and `size`, where it says them."""
    if size > _MOST_NAME:
        raise Malformed(f"the tar has an extended header of {size:,} bytes", where=file.path)
    data = file.read(at, size)
    if kind in (_LONG_NAME, _LONG_LINK):
        return {"path": data.partition(b"\0")[0]} if kind == _LONG_NAME else {}
    records: dict[str, bytes] = {}
    while data:
        length, _, rest = data.partition(b" ")
        count = int(length) if length.isdigit() and len(length) < 8 else 0
        key, equals, value = data[len(length) + 1 : max(count - 1, 0)].partition(b"=")
        if not rest or not equals or data[count - 1 : count] != b"\n" or (key in (b"path", b"size") and kind == _GLOBAL):
            raise Malformed("the tar has a broken extended header", "download or copy it again", file.path)
        if key.startswith(b"GNU.sparse"):
            raise Malformed("the tar has a sparse member, which is not read", "tar xf it first", file.path)
        records[key.decode("utf-8", "replace")] = value
        data = data[count:]
    return {key: value for key, value in records.items() if key in ("path", "size")}


def _size(file: File, field: bytes, extended: bytes | None) -> int:
    """The size of a member: in octal digits, in base 256 where its first bit is set, or as an extended header says in decimal digits."""
    if extended is None and field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits, base = (field.strip(b" \0"), 8) if extended is None else (extended, 10)
    if not digits.isdigit() or len(digits) > 20 or (base == 8 and not set(digits) <= _OCTAL):
        raise Malformed("the tar has a size that is no number", where=file.path)
    return int(digits, base)


def _has_checksum(header: bytes) -> bool:
    """Whether a header states the sum of its bytes, its own field counted as spaces; old writers took bytes as signed."""
    digits = header[148:156].strip(b" \0")
    if not digits.isdigit() or len(digits) > 7 or not set(digits) <= _OCTAL:
        return False
    counted = header[:148] + b" " * 8 + header[156:]
    unsigned = sum(counted)
    return int(digits, 8) in (unsigned, unsigned - 256 * sum(byte > 127 for byte in counted))


def _check_end(file: File, at: int) -> None:
    """Check that two blocks of zeros, and nothing else, stand at the end."""
    rest = file.size - at
    if rest < 2 * _BLOCK:
        raise Malformed("truncated: the end of the tar is missing", "download or copy it again", file.path)
    if rest > _MOST_FILLING or any(file.read(at, rest)):
        raise Malformed("bytes stand after the end of the tar", where=file.path)
