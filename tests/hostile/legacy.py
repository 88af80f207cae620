"""Files as torch wrote them before 1.6, put together by hand: five pickles in a row, then the storages."""

from __future__ import annotations

from pickles import Raw, pickled

MAGIC = 0x1950A86A20F9469CFC6C
INFO = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def storage_part(data: bytes, width: int = 4, count: int | None = None) -> bytes:
    return (len(data) // width if count is None else count).to_bytes(8, "little", signed=True) + data


def parts(pickle: bytes, keys: object = None, tail: bytes | None = None) -> list[bytes]:
    """The five pickles and what follows them: one storage of four floats unless said otherwise."""
    listed = ["0"] if keys is None else keys
    return [pickled(MAGIC), pickled(1001), pickled(INFO), pickle, pickled(listed), storage_part(bytes(16)) if tail is None else tail]


def legacy(pickle: bytes, keys: object = None, tail: bytes | None = None) -> bytes:
    return b"".join(parts(pickle, keys, tail))


def replaced(number: int, by: bytes, pickle: bytes) -> bytes:
    """The file with its pickle `number` replaced."""
    all_of_it = parts(pickle)
    all_of_it[number] = by
    return b"".join(all_of_it)


__all__ = ["INFO", "MAGIC", "Raw", "legacy", "parts", "replaced", "storage_part"]
