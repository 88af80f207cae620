"""TensorFlow's bundles and the tables that they are in: what is odd and right, what is broken, what is meant to deceive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
from bundles import HEADER, Part, bundle, data_of, entry, index, part
from judge import Build, Case

from ckpt_cli.formats.encodings.protobuf import fixed32, integer, nested, number
from ckpt_cli.formats.tensorflow import sstable
from ckpt_cli.formats.tensorflow.tensor_protos import encoded_shape, slice_key

ONE = {b"a": entry()}
FLOATS = numpy.arange(6, dtype="<f4").reshape(2, 3)


def built(items: dict[bytes, bytes], header: bytes | None = HEADER, data: bytes | None = bytes(64)) -> Build:
    """An index of any entries beside a data file."""

    def build(path: Path) -> None:
        index(path, items, header)
        if data is not None:
            data_of(path).write_bytes(data)

    return build


def raw(content: bytes, data: bytes = bytes(64)) -> Build:
    def build(path: Path) -> None:
        path.write_bytes(content)
        data_of(path).write_bytes(data)

    return build


def good(*parts: Part) -> Build:
    return lambda path: bundle(path, parts)


def accepted() -> Iterator[tuple[str, str, Build]]:
    yield "one tensor", "a\tfloat32\t2x3\t6\t24\t\n", good(part(b"a", FLOATS))
    yield "no tensors", "", built({})
    yield "a scalar", "a\tfloat32\t\t1\t4\t\n", good(part(b"a", FLOATS[0, 0]))
    yield "an empty tensor", "a\tfloat32\t0x3\t0\t0\t\n", good(part(b"a", FLOATS[:0]))
    yield "an empty tensor of huge axes", f"a\tfloat32\t{2**62}x0\t", built({b"a": entry(shape=(2**62, 0), size=0)})
    yield "a shape that is left out", "a\tfloat32\t\t1\t4", built({b"a": integer(1, 1) + integer(5, 4)})
    yield "254 axes", "a\tfloat32\t1x1x1", built({b"a": entry(shape=(1,) * 254)})
    yield "a hole between tensors", "b\tfloat32", built({b"a": entry(), b"b": entry(offset=40)})
    yield "two entries of the same bytes", "b\tfloat32\t1\t1\t4\ta\n", built({b"a": entry(), b"b": entry()})
    yield "fields that are not known", "a\tfloat32", built({b"a": entry() + integer(99, 7) + nested(100, b"x")})
    yield "a name within the suffix", "/.ATTRIBUTES/VARIABLE_VALUE\t", built({b"/.ATTRIBUTES/VARIABLE_VALUE": entry()})
    yield (
        "twins but for the suffix",
        "a\tfloat32\t1\t1\t4\t\na/.ATTRIBUTES/VARIABLE_VALUE\t",
        built({b"a": entry(), b"a/.ATTRIBUTES/VARIABLE_VALUE": entry(offset=8)}),
    )
    yield "a slice that is all", "w\tfloat32\t2x3", good(part(b"w", FLOATS, [((0, -1), (0, -1))]))
    yield "slices in a grid", "w\tfloat32\t2x3", good(part(b"w", FLOATS, [((i, 1), (j, 1)) for i in range(2) for j in range(3)]))
    yield "strings", "", built({b"a": entry(7, (2,), size=16)})
    yield "strings without end", "", built({b"a": entry(7, (2**60,), size=16)})
    yield "a variant", "", built({b"a": entry(21, (), size=16)})
    for name in ("a b", "[0]", "*", "--help", "/etc/passwd", "../x", "é", "🙂", "{}", "%s", "x" * 5000):
        yield f"the name {name[:20]!r}", name, built({name.encode(): entry()})
    for what, text in {"escape": "\x1b[2J", "line feed": "a\nb", "tab": "a\tb", "bidi": "\u202eabc", "null": "a\0b"}.items():
        yield f"{what} in a name", "\\", built({text.encode(): entry()})


def entries() -> Iterator[tuple[str, str, Any]]:
    """What the index says of a tensor."""
    yield "a dtype that is not known", "dtype 99 is not known", entry(99)
    yield "no dtype", "dtype 0 is not known", entry(0)
    yield "a reference", "dtype 101 is not known", entry(101)
    yield "a shape too large", "takes 8 bytes, the data has 4", entry(shape=(2,))
    yield "a shape too small", "takes 4 bytes, the data has 8", entry(size=8)
    yield "sizes whose product wraps", "more elements than there can be", entry(shape=(2**32, 2**32), size=0)
    yield "254 huge axes", "more elements than there can be", entry(shape=(2**62,) * 254)
    yield "strings in 254 huge axes", "more elements than there can be", entry(7, (2**62,) * 254)
    yield "a negative axis", "its shape is not known", entry(shape=(-1,))
    yield "an unknown rank", "its shape is not known", integer(1, 1) + nested(2, integer(3, 1)) + integer(5, 4)
    yield "255 axes", "too many axes", entry(shape=(1,) * 255)
    yield "a negative size", "negative", entry(size=-4)
    yield "a negative offset", "negative", entry(offset=-4)
    yield "a negative data file", "negative", entry(shard=-1)
    yield "a data file that is none", "data file 7 of 1", entry(shard=7)
    yield "data beyond the file", "truncated: 4 bytes are missing", entry(offset=64)
    yield "data an exabyte away", "truncated", entry(offset=2**60)
    yield "an exabyte of data", "truncated", entry(shape=(2**58,), size=2**60)
    yield "strings beyond the file", "truncated", entry(7, (), size=2**40)
    yield "a field twice", "field 1 is there twice", entry() + integer(1, 1)
    yield "a shape twice", "field 2 is there twice", entry() + nested(2, b"")
    yield "a field of another type", "field 4 is of wire type 5", integer(1, 1) + fixed32(4, 4)
    yield "a field beyond its message", "lacks", entry() + number(7 << 3 | 2) + number(1000)
    yield "a field of number 0", "has the number 0", entry() + b"\0\0"
    yield "a group", "wire type 3", entry() + b"\x0b\x0c"
    yield "a number of 80 bits", "longer than 64 bits", b"\x08" + b"\xff" * 11
    yield "a number that is cut off", "cut off", b"\x08\x80"


def headers() -> Iterator[tuple[str, str, bytes | None]]:
    yield "no header", "does not begin with its header", None
    yield "an empty header", "0 data files", b""
    yield "no data files", "0 data files", integer(3, 0) + nested(3, integer(1, 1))
    yield "a billion data files", "1,000,000,000 data files", integer(1, 10**9)
    yield "minus one data files", "-1 data files", integer(1, -1)
    yield "the other byte order", "big-endian", integer(1, 1) + integer(2, 1)
    yield "a version to come", "of version 7", integer(1, 1) + nested(3, integer(1, 9) + integer(2, 7))
    yield "a header that is text", "wire type", b"hello, world"


def overlaps() -> Iterator[tuple[str, str, Build]]:
    yield "half an overlap", "overlap at byte 4", built({b"a": entry(shape=(2,), size=8), b"b": entry(offset=4)})
    yield "one tensor within another", "overlap", built({b"a": entry(shape=(4,), size=16), b"b": entry(offset=8)})
    yield "strings over a tensor", "overlap", built({b"a": entry(), b"s": entry(7, (), offset=2, size=8)})
    yield "no data file", "is not beside the index", built(ONE, data=None)
    yield "a data file of two", "a.data-00000-of-00002", built(ONE, header=integer(1, 2))
    yield "an empty data file", "truncated: 4 bytes", built(ONE, data=b"")


def slices() -> Iterator[tuple[str, str, Build]]:
    box = ((0, 1), (0, -1))
    row = entry(shape=(1, 3), size=12)
    said = integer(1, 1) + nested(2, encoded_shape((2, 3)))

    def whole(*boxes: Any) -> bytes:
        extents = (b"".join(nested(1, integer(1, start) + (integer(2, n) if n >= 0 else b"")) for start, n in one) for one in boxes)
        return said + b"".join(nested(7, one) for one in extents)

    first = {slice_key(b"w", box): row}
    yield "a slice that is missing", "do not make up the whole", built({b"w": whole(box)} | first)
    yield "a slice that is not in the index", "is not in the index", built({b"w": whole(box, ((1, 1), (0, -1)))} | first)
    yield "a slice twice", "overlap", built({b"w": whole(box, box)} | first)
    yield "a slice that belongs to no tensor", "belongs to no tensor", built(first)
    yield "slices that overlap", "overlap", built({b"w": whole(((0, 2), (0, 2)), ((1, 1), (1, 2)))})
    yield "a slice beyond the shape", "reaches beyond its shape", built({b"w": whole(((1, 2), (0, -1)))})
    yield "a slice before the shape", "reaches beyond its shape", built({b"w": whole(((-1, 2), (0, -1)))})
    yield "a slice of one axis", "has 1 axes instead of 2", built({b"w": whole(((0, 2),))})
    yield "10,000 slices", "10,000 slices", built({b"w": whole(*[((0, 0), (0, -1))] * 10_000)})
    other = {slice_key(b"w", ((0, -1), (0, -1))): entry(2, (2, 3), size=48)}
    yield "a slice of another dtype", "another shape or dtype", built({b"w": whole(((0, -1), (0, -1)))} | other)
    nest = {slice_key(b"w", ((0, -1), (0, -1))): whole(((0, -1), (0, -1)))}
    yield "a slice of slices", "another shape or dtype", built({b"w": whole(((0, -1), (0, -1)))} | nest)


def table(**changes: Any) -> bytes:
    """A table of one block, put together by hand so that any of its parts can be another."""
    block = changes.get("block", plain([(b"", HEADER), (b"a", entry())]))
    packed = changes.get("packed", b"\0")
    first = block + packed + bytes(4)
    handles = changes.get("handles", [(0, len(block))])
    inner = changes.get("index", plain([(b"b" * (i + 1), number(at) + number(size)) for i, (at, size) in enumerate(handles)]))
    meta = plain([]) + b"\0" + bytes(4)
    where = number(len(first)) + number(len(meta) - 5) + number(len(first + meta)) + number(len(inner))
    footer = changes.get("footer", where).ljust(40, b"\0") + sstable.MAGIC
    return bytes(first + meta + inner + b"\0" + bytes(4) + footer)


def plain(items: list[tuple[bytes, bytes]], restarts: list[int] | None = None) -> bytes:
    """A block in which no key is shared."""
    body = b"".join(number(0) + number(len(key)) + number(len(value)) + key + value for key, value in items)
    offsets = [0] if restarts is None else restarts
    return body + b"".join(at.to_bytes(4, "little") for at in (*offsets, len(offsets)))


def snappy(plain: bytes) -> bytes:
    """As literals alone."""
    runs = [plain[at : at + 60] for at in range(0, len(plain), 60)]
    return number(len(plain)) + b"".join(bytes([len(run) - 1 << 2]) + run for run in runs)


GOOD = [(b"", HEADER), (b"a", entry())]


def tables() -> Iterator[tuple[str, str, bytes]]:
    yield "a footer that points nowhere", "reaches beyond the end", table(footer=number(2**60) + number(9) + number(2**60) + number(9))
    yield "a footer of numbers without end", "longer than 64 bits", table(footer=b"\xff" * 40)
    yield "an index that is cut", "cut off", table(index=b"\1")
    yield "an index of a billion restarts", "cut off", table(index=bytes(8) + (10**9).to_bytes(4, "little"))
    yield "a block beyond the file", "reaches beyond the end", table(handles=[(0, 2**40)])
    yield "a block twice", "not in order", table(handles=[(0, len(plain(GOOD)))] * 2)
    yield "a block a million times", "not in order", table(handles=[(0, len(plain(GOOD)))] * 1000)
    yield "a handle with more behind it", "not in order", table(index=plain([(b"b", number(0) + number(40) + b"\1")]))
    yield "a compression that is not known", "compressed in a way (7)", table(packed=b"\7")
    yield "a compression that is none", "snappy", table(packed=b"\1")
    yield "a name twice", "there twice", table(block=plain([*GOOD, (b"a", entry(offset=8))]))
    yield "names out of order", "not in order", table(block=plain([(b"", HEADER), (b"b", entry()), (b"a", entry(offset=8))]))
    yield "a restart that is no entry", "a restart", table(block=plain(GOOD, [0, 3]))
    yield "a restart beyond the block", "a restart", table(block=plain(GOOD, [0, 2**31]))
    yield "a key that shares more than there is", "beyond its block", table(block=b"\5\1\1aa" + plain([]))
    yield "a value beyond the block", "beyond its block", table(block=b"\0\1\x7fa" + plain([]))
    yield "a key of a megabyte", "beyond its block", table(block=plain([(b"", HEADER), (b"a" * (1 << 20), entry())]))
    yield "a name that is no UTF-8", "not UTF-8", table(block=plain([(b"", HEADER), (b"\xff\xfe", entry())]))
    yield "a nest of shared keys", "beyond its block", table(block=shared(2000))
    yield "snappy of an exabyte", "snappy", table(packed=b"\1", block=number(2**60) + b"\0a")
    yield "snappy of copies of nothing", "snappy", table(packed=b"\1", block=number(60) + b"\xfe\xff\xff")
    yield "snappy that copies from before", "snappy", table(packed=b"\1", block=number(9) + b"\0a\x19\7")
    yield "snappy that is cut", "snappy", table(packed=b"\1", block=snappy(plain(GOOD))[:-3])
    yield "snappy with more behind it", "snappy", table(packed=b"\1", block=snappy(plain(GOOD)) + b"\0a")


def shared(count: int) -> bytes:
    """Keys of 60,000 bytes, each of which takes a few."""
    head = number(0) + number(60_000) + number(0) + b"k" * 60_000
    return head + b"".join(number(60_000) + number(2) + number(0) + i.to_bytes(2, "big") for i in range(count)) + plain([])[-8:]


def first(tensors: bytes, items: dict[bytes, bytes]) -> Build:
    """A file of the first version."""
    return lambda path: index(path, {b"": nested(1, tensors)} | items, None)


def old(name: bytes = b"w", shape: tuple[int, ...] = (2,), dtype: int = 1, boxes: int = 1) -> bytes:
    """What the first value says of a tensor in slices that are all of it."""
    whole = b"".join(nested(1, b"") for _ in shape)
    return nested(1, nested(1, name) + nested(2, encoded_shape(shape)) + integer(3, dtype) + nested(4, whole) * boxes)


def values(proto: bytes, name: bytes = b"w", axes: int = 1) -> dict[bytes, bytes]:
    return {slice_key(name, ((0, -1),) * axes): nested(2, nested(1, name) + nested(3, proto))}


def firsts() -> Iterator[tuple[str, str, str, Build]]:
    yield "floats", "ok", "w\tfloat32\t2\t2\t8\t\n", first(old(), values(nested(5, bytes(8))))
    yield "integers", "ok", "w\tint32\t2\t2\t8\t\n", first(old(dtype=3), values(nested(7, number(5) + number(-1))))
    yield "strings", "ok", "", first(old(dtype=7), values(nested(8, b"a") + nested(8, b"b")))
    yield "strings that are not there", "ok", "", first(old(dtype=7, shape=(2**60,)), values(b""))
    yield "contents as they are", "ok", "w\tint16\t2", first(old(dtype=5), values(nested(4, bytes(4))))
    yield "no tensors", "ok", "", first(b"", {b"x": b"y"})
    yield "too few floats", "error", "take 8 bytes, the data has 4", first(old(), values(nested(5, bytes(4))))
    yield "no floats", "error", "take 8 bytes, the data has 0", first(old(), values(b""))
    yield "too few integers", "error", "are not in 1 bytes", first(old(dtype=3), values(nested(7, b"\1")))
    yield "too many integers", "error", "are not in 30 bytes", first(old(dtype=3), values(nested(7, b"\1" * 30)))
    yield "an exabyte of integers", "error", "are not in", first(old(dtype=3, shape=(2**60,)), values(nested(7, b"\1")))
    yield "floats in two runs", "error", "an unusual way", first(old(), values(nested(5, bytes(4)) * 2))
    yield "floats one by one", "error", "an unusual way", first(old(), values(fixed32(5, 1) * 2))
    yield "a slice that is not there", "error", "is not in the file", first(old(), {b"x": b"y"})
    yield "a slice twice", "error", "do not make up", first(old(boxes=2), values(nested(5, bytes(8))))
    yield "a tensor twice", "error", "is there twice", first(old() * 2, values(nested(5, bytes(8))))
    yield "a dtype that is not known", "error", "dtype 99 is not known", first(old(dtype=99), values(nested(5, bytes(8))))
    yield "no name", "error", "has no name", first(nested(1, integer(3, 1)), {b"x": b"y"})
    yield "a version to come", "error", "of version 9", first(nested(2, integer(2, 9)), {b"x": b"y"})


def places(name: str) -> Build:
    """A bundle whose data file is something else."""

    def build(path: Path) -> None:
        index(path, ONE)
        data = data_of(path)
        if name == "a folder":
            data.mkdir()
        elif name == "a FIFO":
            os.mkfifo(data)
        else:
            data.symlink_to("/dev/zero" if name == "a device" else "/etc/passwd")

    return build


def cases() -> Iterator[Case]:
    for name, says, build in accepted():
        yield Case(name, "ok", says, build, "a.index")
    for name, says, value in entries():
        yield Case(name, "error", says, built({b"a": value}), "a.index")
    for name, says, header in headers():
        yield Case(name, "error", says, built(ONE, header=header), "a.index")
    for name, says, build in (*overlaps(), *slices()):
        yield Case(name, "error", says, build, "a.index")
    for name, says, content in tables():
        yield Case(f"a table with {name}", "error", says, raw(content), "a.index")
    yield Case("a table that is packed by snappy", "ok", "a\tfloat32", raw(table(packed=b"\1", block=snappy(plain(GOOD)))), "a.index")
    yield Case("a table put together by hand", "ok", "a\tfloat32", raw(table()), "a.index")
    for name, gives, says, build in firsts():
        yield Case(f"the first version, {name}", gives, says, build, "model.ckpt-1")
    for name, says in {"a folder": "not a file", "a FIFO": "not a file", "a device": "leads out", "a link": "leads out"}.items():
        yield Case(f"{name} in place of the data", "error", says, places(name), "a.index")
