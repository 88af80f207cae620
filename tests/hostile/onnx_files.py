"""ONNX: what is odd and right, what is broken, what is meant to deceive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from judge import Case
from onnx_models import FLOAT16, INT64, STRING, data, external, floats, graph, model, node, number, tensor, varint, varints

HUGE = 2**62
ONE = tensor("a", (1,))


def one(*tensors: bytes, more: bytes = b"") -> bytes:
    return model(graph(*tensors, more=more))


def outside(location: str, **more: object) -> bytes:
    return one(tensor("a", (2,), content=external(location, **more)))


def accepted() -> Iterator[tuple[str, str, bytes]]:
    yield "one tensor", "a\tfloat32\t1\t1\t4\t\n", one(ONE)
    yield "no tensors", "", one()
    yield "a scalar", "a\tfloat32\t\t1\t4", one(tensor("a", ()))
    yield "an empty tensor", "a\tfloat32\t0x3\t0\t0", one(tensor("a", (0, 3), content=b""))
    yield "an empty tensor of huge axes", f"a\tfloat32\t{HUGE}x0\t0\t0", one(tensor("a", (HUGE, 0), content=b""))
    yield "unknown fields", "a\t", model(graph(ONE, more=data(99, "hm") + number(98, 1)), more=data(77, "x"))
    yield "fields of four and eight bytes", "a\t", model(graph(ONE), more=varint(90 << 3 | 5) + bytes(4) + varint(91 << 3 | 1) + bytes(8))
    yield "dims in one field", "a\tfloat32\t2x3", one(data(1, b"\2\3") + number(2, 1) + data(8, "a") + data(9, bytes(24)))
    yield (
        "numbers of needless length",
        "a\tfloat32",
        one(tensor("a", (1,), content=data(9, bytes(4))).replace(b"\x10\x01", b"\x10\x81\x00", 1)),
    )
    yield "a name that is no UTF-8", "\\xff\tfloat32", one(tensor(b"\xff", (1,)))
    yield "texts", "a\t", one(ONE, tensor("t", (1,), STRING, data(6, "x")))
    for name in ("a b", "*", "re:x", "@Gemm", "/conv/Weight", "..", "层", "[red]x[/red]", "a\x1b[2Jb", "a\nb", "\u202eb", ""):
        shown = name.replace("\x1b", "\\x1b").replace("\n", "\\n").replace("\u202e", "\\u202e")
        yield f"the name {name!r}", shown, one(tensor(name, (1,)))


def broken() -> Iterator[tuple[str, str, bytes]]:
    yield "no opset", "no opset is said", model(graph(ONE), opset=b"")[: -len(data(8, b""))]
    yield "two graphs", "2 graphs", model(graph(ONE), more=data(7, graph(ONE)))
    yield "a graph longer than the file", "truncated: a field lacks", number(1, 9) + data(7, b"", 10**9)
    yield "a tensor longer than the graph", "truncated: a field lacks", model(graph(more=data(5, b"", 1000)))
    yield "a number of eleven bytes", "longer than 64 bits", model(graph(more=b"\x80" * 11 + b"\1"))
    yield "a field without a number", "has the number 0", model(graph(more=b"\0\0"))
    yield "a group", "wire type 3", model(graph(more=varint(5 << 3 | 3)))
    yield "a tensor that is a number", "a tensor at byte", model(graph(more=number(5, 3)))
    yield "a node that is a number", "a node at byte", model(graph(more=number(1, 3)))
    yield "two tensors of one name", "there are two tensors 'a'", one(ONE, ONE)
    yield "an unknown data type", "data type 99 is not known", one(tensor("a", (1,), 99))
    yield "no data type", "data type 0 is not known", one(tensor("a", (1,), 0))
    yield "a negative dimension", "negative", one(tensor("a", (-1,), content=data(9, bytes(4))))
    yield "65 dimensions", "over 64", one(tensor("a", (1,) * 65))
    yield "fewer bytes than the shape takes", "takes 16 bytes, the data has 4", one(tensor("a", (4,), content=data(9, bytes(4))))
    yield "more bytes than the shape takes", "takes 4 bytes, the data has 8", one(tensor("a", (1,), content=data(9, bytes(8))))
    yield "a shape of an exabyte", "takes", one(tensor("a", (2**31, 2**31), content=data(9, bytes(4))))
    yield "no data", "no data are there", one(tensor("a", (1,), content=b""))
    yield "data twice", "in 2 pieces", one(tensor("a", (1,), content=data(9, bytes(4)) + floats(1)))
    yield "data of another type", "have no place", one(tensor("a", (1,), FLOAT16, floats(1)))
    yield "fewer numbers than the shape has", "do not hold 9 numbers", one(tensor("a", (9,), INT64, varints(7, 1, 2)))
    yield "segments", "in segments", one(ONE + data(3, number(1, 0)))
    yield "metadata twice", "there twice", model(graph(ONE), more=data(14, data(1, "k")) * 2)
    nested = graph()
    for _ in range(150):
        nested = graph(more=data(1, node("If", data(1, "then") + data(6, nested))))
    yield "graphs in graphs", "graphs in one another", model(nested)
    for what, location in [
        ("absolute", "/etc/passwd"),
        ("above", "../secret"),
        ("above, in disguise", "sub/../../secret"),
        ("of a drive", "C:\\secret"),
        ("a URL", "https://example.org/w"),
        ("nothing", ""),
        ("this folder", "."),
        ("with a null", "a\0b"),
        ("escapes", "../\x1b[2J"),
    ]:
        yield f"external data: {what}", "no plain path below the folder", outside(location)
    yield "external data that are not there", "no such file", outside("missing.data")
    yield "external data in a folder", "a folder, not a file", outside("folder")


def beside(what: bytes, build: Callable[[Path], object]) -> Callable[[Path], None]:
    """The model, and what `build` lays beside it."""

    def made(path: Path) -> None:
        path.write_bytes(what)
        build(path.parent)

    return made


def lying(**more: object) -> Callable[[Path], None]:
    return beside(outside("w.data", **more), lambda folder: (folder / "w.data").write_bytes(bytes(8)))


def link(target: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder.parent / "secret").write_bytes(bytes(8))
        os.symlink(target, folder / "w.data")

    return beside(outside("w.data"), build)


def _blob(folder: Path) -> None:
    blobs = folder.parent.parent / "blobs"
    blobs.mkdir()
    (blobs / "abc").write_bytes(bytes(8))
    os.symlink("../../blobs/abc", folder / "w.data")


def cases() -> Iterator[Case]:
    for name, says, raw in accepted():
        yield Case(name, "ok", says, raw, "a.onnx")
    yield Case("external data", "ok", "a\tfloat32\t2", lying(offset=0, length=8), "a.onnx")
    yield Case("external data in the hub's cache", "ok", "a\tfloat32\t2", beside(outside("w.data"), _blob), "a.onnx")
    for name, says, raw in broken():
        build = beside(raw, lambda folder: (folder / "folder").mkdir()) if "in a folder" in name else raw
        yield Case(name, "error", says, build, "a.onnx")
    for name, says, made in [
        ("external data cut off", "bytes of 'w.data' are missing", lying(offset=4)),
        ("external data beyond all", "bytes of 'w.data' are missing", lying(offset=HUGE)),
        ("external data of another length", "are said to be 4", lying(length=4)),
        ("an offset below 0", "no number", lying(offset=-4)),
        ("an offset of 30 digits", "no number", lying(offset=10**30)),
        ("external data by a link above", "a link that leads out of the folder", link("../secret")),
        ("external data by an absolute link", "a link that leads out of the folder", link("/etc/passwd")),
        ("external data in a FIFO", "a FIFO, not a file", beside(outside("w.data"), lambda folder: os.mkfifo(folder / "w.data"))),
    ]:
        yield Case(name, "error", says, made, "a.onnx")
    yield Case("numbers that are none when read", "ok", "a\tint64", one(tensor("a", (2,), INT64, data(7, b"\x80" * 4))), "a.onnx")
