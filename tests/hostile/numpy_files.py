"""NumPy's arrays and archives of them: what is odd and right, what is broken, what is meant to deceive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from zlib import compressobj, crc32

from judge import LURE, Case
from zips import Entry, archive

MAGIC = b"\x93NUMPY"


def npy(text: str | bytes, data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """An array with any header at all."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8" if version == 3 else "latin-1")
    count = len(raw) if length is None else length
    return MAGIC + bytes((version, 0)) + pack("<H" if version == 1 else "<I", count) + raw + data


def said(descr: str = "'<f4'", shape: str = "(2,)", fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


GOOD = npy(said(), bytes(8))
ROW = "\tfloat32\t2\t2\t8\t\n"


def accepted() -> Iterator[tuple[str, str, bytes]]:
    """Name, what the list says, the file."""
    yield "one array", ROW, GOOD
    yield "version 2", ROW, npy(said(), bytes(8), version=2)
    yield "version 3", "('名', '<f4')]\t2", npy(said("[('名', '<f4')]"), bytes(8), version=3)
    yield "keys in another order", ROW, npy("{'shape': (2,), 'descr': '<f4', 'fortran_order': False}", bytes(8))
    yield "double quotes and no spaces", ROW, npy('{"descr":"<f4","fortran_order":False,"shape":(2,)}', bytes(8))
    yield "long integers of Python 2", ROW, npy(said(shape="(2L,)"), bytes(8))
    yield "text of Python 2", ROW, npy(said("u'<f4'"), bytes(8))
    yield "no newline and no padding", ROW, npy(said().encode().rstrip(), bytes(8))
    yield "a header of 60 kB", ROW, npy(said() + " " * 60_000 + "\n", bytes(8))
    yield "a scalar", "\tfloat32\t\t1\t4", npy(said(shape="()"), bytes(4))
    yield "64 axes", "\tfloat32\t1x1x1", npy(said(shape="(" + "1," * 64 + ")"), bytes(4))
    yield "no elements on huge axes", f"\tfloat32\t{2**62}x0\t0\t0", npy(said(shape=f"({2**62}, 0)"))
    yield "big-endian", "\tcomplex64\t1\t1\t8", npy(said("'>c8'", "(1,)"), bytes(8))
    yield "text", "\t>U3\t2\t", npy(said("'>U3'"), bytes(24))
    yield "text of no length", "\t<U0\t1000000000000\t", npy(said("'<U0'", "(1000000000000,)"))
    yield (
        "records within records",
        "('b', [('c', '<i8', (2,))])]\t1",
        npy(said("[('a', '|u1'), ('b', [('c', '<i8', (2,))])]", "(1,)"), bytes(17)),
    )
    yield "a field with a title", "(('t', 'a'), '<f4')]\t1", npy(said("[(('t', 'a'), '<f4')]", "(1,)"), bytes(4))
    yield "escapes in a field's name", "x1b[2J", npy(said(r"[('\x1b[2J', '<f4')]", "(1,)"), bytes(4))
    yield "objects", "\tobject\t3\t3\t24", npy(said("'|O'", "(3,)"), b"cos\nsystem\n(S'touch canary'\ntR.")
    yield "objects on huge axes", f"\tobject\t{2**60}\t", npy(said("'|O'", f"({2**60},)"), b"\x80\x04N.")
    yield "objects in a record", "\tobject\t1", npy(said("[('a', '|O')]", "(1,)"), b"\x80\x04N.")


def refused() -> Iterator[tuple[str, str, bytes]]:
    """Name, what the error says, the file."""
    for size in (6, 7, 8, 9, 10, 30, len(GOOD) - 9):
        yield f"cut to {size} bytes", "truncated", GOOD[:size]
    yield "cut in the data", "truncated: 1 of 8 bytes of data are missing", GOOD[:-1]
    yield "objects without a pickle", "truncated", npy(said("'O'", "(1,)"))
    yield "bytes after the data", "3 bytes stand after the array", GOOD + b"abc"
    for version in (0, 4, 255):
        yield f"version {version}", f"version {version}.0 of numpy's format is not known", MAGIC + bytes((version, 0)) + GOOD[8:]
    yield "version 1.1", "version 1.1", MAGIC + b"\1\1" + GOOD[8:]
    yield "a header of 4 GB", "the header says it has 4,294,967,295 bytes", npy(said(), bytes(8), 2, 0xFFFFFFFF)
    yield "a header longer than the file", "truncated", npy(said(), b"", 1, 60_000)
    yield "a header that is no UTF-8", "not UTF-8", npy(b"\xff" + said().encode(), bytes(8), 3)
    yield "a shape of an exabyte", "truncated", npy(said(shape=f"({2**60},)"), bytes(64))
    yield "a shape whose product overflows to little", "truncated", npy(said(shape=f"({2**32}, {2**32})"), bytes(64))
    yield "a shape whose bytes overflow to little", "truncated", npy(said(shape=f"({2**62 + 1},)"), bytes(64))
    yield "a negative axis", "no literal", npy(said(shape="(-2,)"), bytes(8))
    yield "an axis of 2**63", "no tuple of integers", npy(said(shape=f"({2**63},)"), bytes(8))
    yield "an axis of 5,000 digits", "the header", npy(said(shape=f"({'9' * 5000},)"), bytes(8))
    yield "an axis that is a boolean", "no tuple of integers", npy(said(shape="(True,)"), bytes(8))
    yield "an axis that is a float", "the header", npy(said(shape="(2.0,)"), bytes(8))
    yield "65 axes", "no tuple of integers", npy(said(shape="(" + "1," * 65 + ")"), bytes(4))
    yield "a shape that is a list", "no tuple of integers", npy(said(shape="[2]"), bytes(8))
    yield "a shape that is a number", "no tuple of integers", npy(said(shape="(2)"), bytes(8))
    yield "an order that is a number", "neither True nor False", npy(said(fortran="1"), bytes(8))
    yield "a call", "no literal", npy(said(shape="__import__('os').system('touch canary')"), bytes(8))
    yield "a comprehension", "the header", npy(said(shape="[x for x in ()]"), bytes(8))
    yield "a sum", "the header", npy(said(shape="(1+1,)"), bytes(8))
    yield "a lambda", "no literal", npy("lambda: 0", bytes(8))
    yield "code after the dictionary", "stands after", npy(said() + "; import evil", bytes(8))
    yield "nothing", "no literal", npy("", bytes(8))
    yield "a list", "does not say descr", npy("[1, 2]", bytes(8))
    yield "a key too many", "does not say descr", npy("{'x': 1, " + said()[1:], bytes(8))
    yield "a key too few", "does not say descr", npy("{'descr': '<f4', 'shape': (2,)}", bytes(8))
    yield "a key twice", "'descr' twice", npy("{'descr': '<f8', " + said()[1:], bytes(8))
    yield "a key that is a tuple", "no literal", npy("{(1,): 2}", bytes(8))
    yield "a text that does not end", "no literal", npy(said("'<f4"), bytes(8))
    yield "brackets without end", "no literal", npy(said("(" * 30_000), bytes(8))
    yield "lists within lists", "no literal", npy(said("[" * 60 + "]" * 60), bytes(8))
    for descr in (
        "'<f3'",
        "'<f1'",
        "'<c4'",
        "'<i16'",
        "'b2'",
        "'<q'",
        "'f4[ns]'",
        "'float32'",
        "''",
        "'<f4,<f4'",
        "'|S9999999999'",
        "'<f'",
    ):
        yield f"the dtype {descr}", "is not known", npy(said(descr), bytes(99))
    for descr in (
        "1",
        "()",
        "[1]",
        "[('a',)]",
        "[('a', 1)]",
        "['a']",
        "[('a', '<f4', 'x')]",
        "[('a', '<f4', (2.5,))]",
        "{}",
        "('<f4', (2,))",
    ):
        yield f"the dtype {descr}", "", npy(said(descr), bytes(99))
    yield "a record of an exabyte", "an element of", npy(said(f"[('a', '<f8', ({2**57},))]"), bytes(99))
    yield "a record of 2**64 bytes", "an element of", npy(said("[('a', '<f8', (4294967296, 4294967296))]"), bytes(99))
    yield "escapes in a dtype", "is not known", npy(said("'\\x1b[2J'"), bytes(99))


def archives() -> Iterator[tuple[str, str, str, bytes]]:
    """Name, what comes of it, what is said, the file. What is wrong with a zip as such is in torch_files."""
    good = Entry("a.npy", GOOD)
    yield "one array", "ok", "a" + ROW, archive([good])
    yield "nothing", "ok", "", archive([])
    yield "a deflated one", "ok", "a" + ROW, archive([good._replace(method=8)])
    yield "names that are paths", "ok", "../../evil" + ROW, archive([good._replace(name="../../evil.npy"), good])
    yield "a name of nothing", "ok", ROW, archive([good._replace(name=".npy")])
    yield "a name that ends twice", "ok", "a.npy" + ROW, archive([good._replace(name="a.npy.npy")])
    yield "escapes in a name", "ok", "\\x1b[2J" + ROW, archive([good._replace(name="\x1b[2J.npy")])
    yield "objects", "ok", "a\tobject\t1", archive([Entry("a.npy", npy(said("'|O'", "(1,)"), b"cos\nsystem\n(S'touch canary'\ntR."))])
    yield "twins", "error", "two members of the zip are called 'a.npy'", archive([good, good])
    yield "a member that is no array", "error", "array 'a': no array of numpy's", archive([Entry("a.npy", LURE.encode())])
    yield "a member that is empty", "error", "array 'a': truncated", archive([Entry("a.npy", b"")])
    yield "a member that is cut", "error", "array 'a': its elements take 8 bytes, the zip has 7", archive([Entry("a.npy", GOOD[:-1])])
    yield "two arrays in a member", "error", "its elements take 8 bytes, the zip has", archive([Entry("a.npy", GOOD + GOOD)])
    yield "a deflated one that is cut", "error", "its elements take 8", archive([Entry("a.npy", GOOD[:-1], method=8)])
    yield (
        "another method",
        "error",
        "compressed in a way that is not read",
        archive([good._replace(central={"method": 12}, local={"method": 12})]),
    )
    yield "other members beside", "warning", "beside it lie evil.py", archive([good, Entry("evil.py", LURE.encode())])
    yield "a deflated size that lies", "error", "broken", archive([Entry("a.npy", b"", method=8, central={"size": 80}, local={"size": 80})])
    yield "deflated garbage", "error", "broken", archive([good._replace(central={"method": 8}, local={"method": 8})])


def bomb(path: Path) -> None:
    """8 GB of zeros in 8 MB: the list needs the head alone, and who asks for values is refused."""
    head = npy(said("'|u1'", f"({8 << 30},)"))
    squeeze = compressobj(9, 8, -15)
    block, crc, packed = bytes(1 << 24), crc32(head), squeeze.compress(head)
    for _ in range(4):
        packed += squeeze.compress(block)
    packed += squeeze.flush()
    facts = {"method": 8, "crc": crc, "packed": len(packed), "size": len(head) + (8 << 30)}
    wide = pack("<HHQ", 1, 8, facts["size"])
    lies = facts | {"size": 0xFFFFFFFF}
    path.write_bytes(archive([Entry("a.npy", packed, extra_central=wide, local=lies, central=lies)]))


def large(path: Path) -> None:
    """10 TB on paper."""
    raw = npy(said("'|u1'", f"({10**13},)"))
    path.write_bytes(raw)
    os.truncate(path, len(raw) + 10**13)


def many(path: Path) -> None:
    path.write_bytes(archive([Entry(f"{number}.npy", GOOD) for number in range(60_000)]))


def cases() -> Iterator[Case]:
    for name, says, raw in accepted():
        yield Case(name, "ok", says, raw, "a.npy")
    for name, says, raw in refused():
        yield Case(name, "error", says, raw, "a.npy")
    for name, gives, says, raw in archives():
        yield Case(f"zip, {name}", gives, says, raw, "a.npz")
    yield Case("another array behind the first", "ok", "", GOOD + GOOD, "a.npy")
    yield Case("another array behind the first is cut off", "error", "truncated", GOOD + GOOD[:-1], "a.npy")
    yield Case("something else behind the first", "error", "stand after the array", GOOD + GOOD + b"x", "a.npy")
    yield Case("8 GB of deflated zeros", "error", "compressed in a way that is not read", bomb, "a.npz")
    yield Case("60,000 arrays", "ok", "59999" + ROW, many, "a.npz")
    yield Case("10 TB on paper", "ok", "\tuint8\t10000000000000", large, "a.npy")
