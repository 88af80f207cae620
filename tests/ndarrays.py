"""Lists of arrays as MXNet writes them, put together by hand, so that each field can be any; read again without ckpt."""

from __future__ import annotations

from struct import pack, unpack_from

MAGICS = {1: 0xF993FAC8, 2: 0xF993FAC9, 3: 0xF993FACA}
CPU = pack("<ii", 1, 0)
_NUMBERED = "float32 float64 float16 uint8 int32 int8 int64 bool int16 uint16 uint32 uint64 bfloat16"
FLAGS = _NUMBERED.split()


def shape(*sizes: int, version: int = 2) -> bytes:
    return pack(f"<I{len(sizes)}I", len(sizes), *sizes) if version == 0 else pack(f"<i{len(sizes)}q", len(sizes), *sizes)


def array(data: bytes, *sizes: int, flag: int = 0, version: int = 2, device: bytes = CPU) -> bytes:
    """One array; version 0 has no magic, and narrow axes."""
    magic = pack("<I", MAGICS[version]) if version else b""
    return magic + (pack("<i", 0) if version >= 2 else b"") + shape(*sizes, version=version) + device + pack("<i", flag) + data


def row_sparse(values: bytes, rows: list[int], *sizes: int) -> bytes:
    """Rows of a matrix of float32: all others are 0."""
    head = pack("<Ii", MAGICS[2], 1) + shape(len(rows), *sizes[1:]) + shape(*sizes) + CPU + pack("<i", 0)
    return head + pack("<i", 6) + shape(len(rows)) + values + pack(f"<{len(rows)}q", *rows)


def csr(values: bytes, starts: list[int], columns: list[int], *sizes: int) -> bytes:
    head = pack("<Ii", MAGICS[2], 2) + shape(len(columns)) + shape(*sizes) + CPU + pack("<i", 0)
    indices = pack("<i", 6) + shape(len(starts)) + pack("<i", 6) + shape(len(columns))
    return head + indices + values + pack(f"<{len(starts)}q", *starts) + pack(f"<{len(columns)}q", *columns)


def listed(*arrays: bytes, names: tuple[str, ...] | None = None, reserved: int = 0, magic: int = 0x112) -> bytes:
    """A whole file; the names are a, b, c … unless said otherwise."""
    called = [name.encode() for name in (tuple("abcdefghijklmnopqrstuvwxyz"[: len(arrays)]) if names is None else names)]
    tail = b"".join(pack("<Q", len(name)) + name for name in called)
    return pack("<QQQ", magic, reserved, len(arrays)) + b"".join(arrays) + pack("<Q", len(called)) + tail


def versions(raw: bytes) -> list[int]:
    """The version of each array of a file of dense arrays of four-byte elements."""
    found, at = [], 24
    for _ in range(unpack_from("<Q", raw, 16)[0]):
        found.append({magic: version for version, magic in MAGICS.items()}[unpack_from("<I", raw, at)[0]])
        axes = unpack_from("<i", raw, at + 8)[0]
        count = 1
        for size in unpack_from(f"<{axes}q", raw, at + 12):
            count *= size
        at += 12 + 8 * axes + 12 + 4 * count
    return found
