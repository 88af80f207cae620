"""Zip archives put together by hand, so that each field can lie."""

from __future__ import annotations

from struct import pack
from typing import NamedTuple
from zlib import compressobj, crc32


class Entry(NamedTuple):
    """A member: its data, and what its local header and its record in the directory say in place of the truth."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0
    local: dict[str, object] | None = None
    central: dict[str, object] | None = None
    extra: bytes = b""
    extra_central: bytes = b""
    behind: bytes = b""


def deflated(data: bytes) -> bytes:
    squeeze = compressobj(9, 8, -15)
    return squeeze.compress(data) + squeeze.flush()


def _facts(entry: Entry) -> dict[str, object]:
    packed = deflated(entry.data) if entry.method == 8 else entry.data
    return {
        "name": entry.name.encode(),
        "flags": entry.flags,
        "method": entry.method,
        "crc": crc32(entry.data),
        "packed": len(packed),
        "size": len(entry.data),
    }


def local_part(entry: Entry) -> bytes:
    facts = _facts(entry) | (entry.local or {})
    packed = deflated(entry.data) if entry.method == 8 else entry.data
    raw = facts["name"]
    head = pack(
        "<4s5H3L2H",
        facts.get("signature", b"PK\3\4"),
        20,
        facts["flags"],
        facts["method"],
        0,
        0,
        facts["crc"],
        facts["packed"],
        facts["size"],
        facts.get("name_size", len(raw)),
        len(entry.extra),  # type: ignore[arg-type]
    )
    return head + raw + entry.extra + packed + entry.behind  # type: ignore[operator]


def record(entry: Entry, at: int) -> bytes:
    facts = _facts(entry) | {"header": at, "comment": b""} | (entry.central or {})
    raw, comment = facts["name"], facts["comment"]
    head = pack(
        "<4s6H3L5H2L",
        facts.get("signature", b"PK\1\2"),
        20,
        20,
        facts["flags"],
        facts["method"],
        0,
        0,
        facts["crc"],
        facts["packed"],
        facts["size"],
        len(raw),
        len(entry.extra_central),
        len(comment),
        0,
        0,
        0,
        facts["header"],  # type: ignore[arg-type]
    )
    return head + raw + entry.extra_central + comment  # type: ignore[operator]


def end(count: int, size: int, offset: int, comment: bytes = b"", /, **lies: int) -> bytes:
    said = {"disk": 0, "first": 0, "here": count, "count": count, "size": size, "offset": offset, "comment": len(comment)} | lies
    return pack("<4s4H2LH", b"PK\5\6", *said.values()) + comment


def end64(count: int, size: int, offset: int, at: int, /, *, locator: dict[str, int] | None = None, **lies: int) -> bytes:
    said = {"length": 44, "disk": 0, "first": 0, "here": count, "count": count, "size": size, "offset": offset} | lies
    where = {"disk": 0, "at": at, "disks": 1} | (locator or {})
    length, disk, first, here, total, size, offset = said.values()
    return pack("<4sQ2H2L4Q", b"PK\6\6", length, 45, 45, disk, first, here, total, size, offset) + pack(
        "<4sLQL", b"PK\6\7", *where.values()
    )


def archive(
    entries: list[Entry], *, note: bytes = b"", before: bytes = b"", gap: bytes = b"", wide: dict[str, object] | None = None, **lies: int
) -> bytes:
    """`before` comes ahead of all and is not counted in the offsets; `gap` stands between members and directory; `wide`: a 64-bit end."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        directory += record(entry, len(body))
        body += local_part(entry)
    body += gap
    tail = b"" if wide is None else end64(len(entries), len(directory), len(body), len(body) + len(directory), **wide)  # type: ignore[arg-type]
    if wide is not None:
        lies = {"here": 0xFFFF, "count": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF} | lies
    return bytes(before + body + directory + tail + end(len(entries), len(directory), len(body), note, **lies))


def plain(pickle: bytes, storages: dict[str, bytes] | None = None, order: bytes = b"little", root: str = "a") -> list[Entry]:
    """The members of a torch zip; one storage of four floats unless said otherwise."""
    data = {"0": bytes(16)} if storages is None else storages
    beside = [Entry(f"{root}/byteorder", order), Entry(f"{root}/version", b"3\n")]
    return [Entry(f"{root}/data.pkl", pickle), *beside, *(Entry(f"{root}/data/{key}", raw) for key, raw in data.items())]


def torch_zip(pickle: bytes, storages: dict[str, bytes] | None = None, order: bytes = b"little") -> bytes:
    return archive(plain(pickle, storages, order))
