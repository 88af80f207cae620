"""Hostile and odd archives with a checkpoint in them."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from judge import Case
from zips import Entry, archive

GOOD = (Path(__file__).parents[2] / "sample_models" / "mlp.safetensors").read_bytes()


def header(name: bytes, size: bytes, kind: bytes = b"0", magic: bytes = b"ustar\00000", prefix: bytes = b"") -> bytes:
    """A header of 512 bytes, with its checksum."""
    block = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size.ljust(12, b"\0") + b"0" * 11 + b"\0" + b" " * 8 + kind
    block = (block + bytes(100) + magic).ljust(345, b"\0") + prefix
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def member(content: bytes = GOOD, name: bytes = b"a.st", size: bytes = b"", kind: bytes = b"0") -> bytes:
    filling = -len(content) % 512
    return header(name, size or b"%011o" % len(content), kind) + content + bytes(filling)


END = bytes(1024)


def sparse() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a.st")
        info.pax_headers = {"GNU.sparse.major": "1"}
        tar.addfile(info)
    return buffer.getvalue()


def zeros(megabytes: int, wrapping: int, before: bytes = b"") -> bytes:
    """Deflated data of so many megabytes of zeros: one block over and over."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, wrapping)
    data = squeeze.compress(before) + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return data + block * megabytes + squeeze.flush()


def bomb() -> bytes:
    """Gzip data of a tar whose one member is 8 GB of zeros."""
    return zeros(600, 31, header(b"a.st", b"%011o" % (8 << 30)))


def zip_bomb() -> bytes:
    packed = zeros(600, -15)
    lies = {"method": 8, "size": 600 << 20}
    return archive([Entry("a.st", packed, 0, 0, lies, lies)])


def tars() -> Iterator[tuple[str, str, bytes]]:
    yield "a member that is cut", "truncated", member()[:-300]
    yield "a tar without an end", "truncated", member()
    yield "a tar with half an end", "truncated", member() + END[:512]
    yield "bytes behind the end", "bytes stand after", member() + END + b"x"
    yield "megabytes of zeros behind the end", "bytes stand after", member() + bytes(2 << 20)
    yield "two members of one name", "two members", member() + member() + END
    yield "one name written in two ways", "two members", member() + member(name=b"./a.st") + END
    yield "a header with a wrong checksum", "no header", member() + b"x" + member(b"x", b"b")[1:] + END
    yield "a size of an exabyte", "truncated", member(size=b"\x80\0\0\0\x10" + bytes(7)) + END
    yield "a size that is no number", "no number", member(size=b"12x") + END
    yield "a size in other digits", "no number", member(size=b"00000000889") + END
    yield "a negative size", "truncated", member(size=b"\x80" + b"\xff" * 11) + END
    yield "a sparse member", "type 'S'", member(kind=b"S") + END
    yield "a sparse member of pax", "sparse", sparse()
    yield "a member of a type that nobody knows", "type 'Q'", member(kind=b"Q") + END
    yield "an extended header that lies", "broken extended header", member(b"99 path=x\n", b"p", kind=b"x") + member() + END
    yield "an extended header without end", "broken extended header", member(b"0 path=x\n", b"p", kind=b"x") + member() + END
    yield "an extended size that is no number", "no number", member(b"11 size=-1\n", b"p", kind=b"x") + member() + END
    yield "a long name of a gigabyte", "truncated", header(b"l", b"10000000000", b"L") + member() + END
    yield "a long name of 2 MB", "extended header of", member(b"x" * (2 << 20), b"l", kind=b"L") + member() + END
    yield "a path for all members", "broken extended header", member(b"14 path=a.st\n\n"[:13] + b"\n", b"g", kind=b"g") + member() + END
    yield "no checkpoint in it", "not a checkpoint", member(b"hello", b"readme") + END
    yield "two checkpoints in it", "holds 2 checkpoints", member() + member(name=b"b.st") + END
    yield "a broken checkpoint in it", "a.st: ", member(GOOD[:-1] + b"xx") + END
    yield "an archive in an archive", "not a checkpoint", member(member() + END, b"inner.tar") + END
    yield "a link alone", "not a checkpoint", header(b"a.st", b"0", b"2") + END


def cases() -> Iterator[Case]:
    """Tars, plain and in gzip, and zips."""
    for number, (name, says, content) in enumerate(tars()):
        yield Case(name, "error", says, content, "a.tar")
        if number % 4 == 0:
            yield Case(f"{name}, in gzip", "error", says, gzip.compress(content, 1), "a.tar.gz")
    yield Case("a tar", "warning", "a.st is opened", member() + END, "a.tar")
    yield Case(
        "a tar of the oldest kind", "warning", "is opened", header(b"a.st", b"%o" % len(GOOD), b"\0", b"") + member()[512:] + END, "a.tar"
    )
    yield Case("a gzip bomb", "error", "it is not read", bomb(), "a.tar.gz")
    packed = gzip.compress(member() + END)
    yield Case("gzip data that are cut", "error", "truncated", packed[:-9], "a.tar.gz")
    yield Case("gzip data of another checksum", "error", "broken", packed[:-8] + b"\1" + packed[-7:], "a.tar.gz")
    yield Case("bytes behind gzip data", "error", "its compressed data", packed + b"x", "a.tar.gz")
    yield Case("a zip", "warning", "is opened", archive([Entry("a.st", GOOD)]), "a.zip")
    yield Case("a deflated zip", "warning", "is opened", archive([Entry("a.st", GOOD, 8)]), "a.zip")
    yield Case(
        "a member of another size",
        "error",
        "length or checksum",
        archive([Entry("a.st", GOOD, 8, 0, {"size": 999}, {"size": 999})]),
        "a.zip",
    )
    yield Case(
        "a member of another sum", "error", "length or checksum", archive([Entry("a.st", GOOD, 8, 0, {"crc": 9}, {"crc": 9})]), "a.zip"
    )
    yield Case("a zip bomb", "error", "it is not read", zip_bomb(), "a.zip")
    yield Case("an encrypted member", "error", "encrypted", archive([Entry("a.st", GOOD, 0, 1)]), "a.zip")
