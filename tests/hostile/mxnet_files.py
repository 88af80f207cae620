"""MXNet's lists of arrays: what is odd and right, what is broken, what is meant to deceive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from struct import pack

from judge import Case
from ndarrays import CPU, MAGICS, array, csr, listed, row_sparse, shape

FOUR = bytes(4)
ONE = array(FOUR, 1)
V2 = pack("<Ii", MAGICS[2], 0)
FLOAT = pack("<i", 0)


def head(count: int) -> bytes:
    return pack("<QQQ", 0x112, 0, count)


def accepted() -> Iterator[tuple[str, str, bytes]]:
    """Name, what the list says, the file."""
    yield "one array", "a\tfloat32\t1\t1\t4\t\n", listed(ONE)
    yield "no arrays", "", listed()
    yield "no names", "0\tfloat32\t1\t1\t4\t\n1\tfloat32", listed(ONE, ONE, names=())
    yield "the name of nothing", "\tfloat32\t1\t1\t4\t\n", listed(ONE, names=("",))
    for version in (0, 1, 2, 3):
        yield f"version {version}", "a\tfloat32\t1x1\t1\t4\t\n", listed(array(FOUR, 1, 1, version=version))
    yield "all versions side by side", "d\tfloat32\t1\t", listed(*(array(FOUR, 1, version=v) for v in range(4)))
    yield "an empty array of version 2", "a\tfloat32\t0x3\t0\t0\t", listed(array(b"", 0, 3))
    yield "an empty array of huge axes", f"a\tfloat32\t{2**62}x0\t0\t0", listed(array(b"", 2**62, 0, version=3))
    yield "a scalar", "a\tfloat32\t\t1\t4\t", listed(array(FOUR, version=3))
    yield "64 axes", "a\tfloat32\t1x1x1", listed(array(FOUR, *[1] * 64))
    yield "a device that is not here", "a\tfloat32\t1\t", listed(array(FOUR, 1, device=pack("<ii", 2, 7)))
    yield "sparse rows", "a\tfloat32 (sparse_row)\t6x2\t12", listed(row_sparse(bytes(16), [1, 4], 6, 2))
    yield "sparse rows, none of them", "a\tfloat32 (sparse_row)\t6x2\t12", listed(row_sparse(b"", [], 6, 2))
    yield "sparse rows of an exabyte", f"a\tfloat32 (sparse_row)\t{2**50}x256", listed(row_sparse(bytes(1024), [1], 2**50, 256))
    yield "a compressed matrix", "a\tfloat32 (sparse_csr)\t3x4", listed(csr(bytes(8), [0, 1, 1, 2], [0, 3], 3, 4))
    for name in ("\x1b[2J", "a\nb", "a\tb", "\0", "\u202eabc", "[red]x[/red]", "../../etc/passwd", "0.weight"):
        yield f"the name {name!r}", "\tfloat32\t1", listed(ONE, names=(name,))


def refused() -> Iterator[tuple[str, str, bytes]]:
    """Name, what the error says, the file."""
    whole = listed(ONE)
    yield "nothing but the magic", "truncated", whole[:8]
    yield "cut within the arrays", "truncated", whole[:40]
    yield "cut within the names", "truncated", whole[:-9]
    yield "cut within a name", "a name of 1 bytes", whole[:-1]
    yield "bytes after the end", "3 bytes stand after the last name", whole + b"abc"
    yield "a reserved field that is not 0", "does not begin as MXNet's", listed(ONE, reserved=1)
    yield "2**63 arrays", "ends before", head(2**63) + ONE
    yield "2**64 - 1 names", "ends before", head(1) + ONE + pack("<Q", 2**64 - 1)
    yield "fewer names than arrays", "2 arrays have 1 names", listed(ONE, ONE, names=("a",))
    yield "more names than arrays", "1 arrays have 2 names", listed(ONE, names=("a", "b"))
    yield "twins", "two arrays are called 'a'", listed(ONE, ONE, names=("a", "a"))
    yield "a name that is no UTF-8", "not UTF-8", head(1) + ONE + pack("<QQ", 1, 1) + b"\xff"
    yield "a name of 2**64 - 1 bytes", "a name of 18,446,744,073,709,551,615 bytes", head(1) + ONE + pack("<QQ", 1, 2**64 - 1) + bytes(9)
    yield "a name of 2 MB", "a name of 2,097,152 bytes", listed(ONE, names=("x" * 2**21,))
    yield "a magic of the future", "a shape of", listed(pack("<I", 0xF993FACB) + ONE[4:])
    yield "a million axes", "a shape of 1000000 axes", listed(V2 + pack("<i", 1_000_000) + bytes(200))
    yield "-1 axes", "a shape of -1 axes", listed(pack("<Iii", MAGICS[3], 0, -1) + bytes(40))
    yield "no axes in version 2", "it has no shape", listed(V2 + shape())
    yield "no axes in version 0", "it has no shape", listed(pack("<I", 0) + bytes(40))
    yield "an axis of -1", "its shape is not known", listed(V2 + shape(2, -1) + CPU + FLOAT + bytes(40))
    yield "two axes of -1", "its shape is not known", listed(V2 + shape(-1, -4) + CPU + FLOAT + bytes(16))
    yield "more elements than bytes", "truncated", listed(V2 + shape(2**40) + CPU + FLOAT + bytes(64))
    yield "axes whose product overflows to little", "truncated", listed(V2 + shape(2**32, 2**32) + CPU + FLOAT + bytes(64))
    yield "axes whose bytes overflow to little", "truncated", listed(V2 + shape(2**62 + 1) + CPU + FLOAT + bytes(64))
    yield "an unknown dtype", "dtype 13 is not known", listed(array(FOUR, 1, flag=13))
    yield "a dtype of -1", "dtype -1 is not known", listed(array(FOUR, 1, flag=-1))
    yield "an unknown device", "device 9, 0 is not known", listed(array(FOUR, 1, device=pack("<ii", 9, 0)))
    for storage in (-1, 3, 2**31 - 1):
        yield f"storage {storage}", f"storage {storage} is not known", listed(pack("<Ii", MAGICS[2], storage) + ONE[8:])
    yield "a sparse array of version 3", "storage 1 is not known", listed(pack("<I", MAGICS[3]) + row_sparse(bytes(8), [1], 6, 2)[4:])
    sparse = bytearray(row_sparse(bytes(8), [1], 6, 2))
    sparse[12:20] = pack("<q", 2**60)
    yield "more sparse rows than bytes", "truncated", listed(bytes(sparse))
    sparse[12:20] = pack("<q", -1)
    yield "-1 sparse rows", "its shape is not known", listed(bytes(sparse))


def many(path: Path) -> None:
    """The least that an array can take, again and again."""
    path.write_bytes(head(2_000_000) + array(b"", 0, version=0) * 2_000_000)


def most(path: Path) -> None:
    names = b"".join(pack("<Q", 6) + b"%06d" % number for number in range(500_000))
    path.write_bytes(head(500_000) + array(b"", 0) * 500_000 + pack("<Q", 500_000) + names)


def sparse_file(path: Path) -> None:
    """10 TB on paper."""
    path.write_bytes(head(1) + V2 + shape(10**13) + CPU + pack("<i", 3))
    os.truncate(path, path.stat().st_size + 10**13)
    with path.open("ab") as file:
        file.write(pack("<QQ", 1, 1) + b"a")


def cases() -> Iterator[Case]:
    for name, says, raw in accepted():
        yield Case(name, "ok", says, raw, "a.params")
    for name, says, raw in refused():
        yield Case(name, "error", says, raw, "a.params")
    yield Case("2,000,000 arrays", "error", "over 500,000 are not read", many, "a.params")
    yield Case("500,000 arrays", "ok", "499999\tfloat32\t0", most, "a.params")
    yield Case("10 TB on paper", "ok", "a\tuint8\t10000000000000", sparse_file, "a.params")
