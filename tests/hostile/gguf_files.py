"""GGUF: what is odd and right, what is broken, what is meant to deceive."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from judge import Case

HUGE = 2**63
F32, F16, Q4_0, Q4_K = 0, 1, 2, 12
U32, STRING, ARRAY = 4, 8, 9


def text(value: str | bytes, length: int | None = None) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


def info(name: str | bytes = "a", ne: tuple[int, ...] = (1,), kind: int = F32, offset: int = 0, axes: int | None = None) -> bytes:
    sizes = struct.pack(f"<I{len(ne)}Q", len(ne) if axes is None else axes, *ne)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def packed(pairs: list[bytes], infos: list[bytes], data: bytes = b"", **how: Any) -> bytes:
    """A file with these parts; `counts`, `version` and `alignment` may lie."""
    tensors, values = how.get("counts", (len(infos), len(pairs)))
    head = b"GGUF" + struct.pack("<IQQ", how.get("version", 3), tensors, values) + b"".join(pairs) + b"".join(infos)
    return head + bytes(-len(head) % how.get("alignment", 32)) + data


ARCHITECTURE = pair("general.architecture", STRING, text("llama"))


def one(**how: Any) -> bytes:
    return packed([ARCHITECTURE], [info(**how)], bytes(32))


def accepted() -> Iterator[tuple[str, str, bytes]]:
    yield "one tensor", "a\tfloat32\t1\t1\t4\t\n", one()
    yield "no tensors and no padding", "", packed([ARCHITECTURE], [], alignment=1)
    yield "nothing at all", "", packed([], [], alignment=1)
    yield "version 2", "a\tfloat32", packed([], [info()], bytes(32), version=2)
    yield "no padding behind the last tensor", "a\tfloat32\t1", packed([], [info()], bytes(4))
    yield "a scalar", "a\tfloat32\t\t1\t4", one(ne=())
    yield "an empty tensor", "a\tfloat32\t0x3\t0\t0", packed([], [info(ne=(3, 0))])
    yield "an empty tensor of huge axes", f"a\tfloat32\t0x{2**62}\t0\t0", packed([], [info(ne=(2**62, 0))])
    yield "blocks", "a\tQ4_0\t1x32\t32\t18", one(ne=(32, 1), kind=Q4_0)
    yield (
        "an alignment of 8",
        "b\tfloat32",
        packed([pair("general.alignment", U32, struct.pack("<I", 8))], [info(), info("b", offset=8)], bytes(16), alignment=8),
    )
    yield (
        "an alignment of a megabyte",
        "a\tfloat32",
        packed([pair("general.alignment", U32, struct.pack("<I", 1 << 20))], [info()], bytes(4), alignment=1 << 20),
    )
    yield "a long name", "x" * 64, one(name="x" * 64)
    yield "an empty name", "\tfloat32", one(name="")
    yield "an empty array", "a\t", packed([pair("k", ARRAY, array(STRING, 0))], [info()], bytes(4))
    yield "arrays in arrays", "a\t", packed([pair("k", ARRAY, array(ARRAY, 2, array(U32, 1, bytes(4)) * 2))], [info()], bytes(4))
    yield "a value that is no UTF-8", "a\t", packed([pair("k", STRING, text(b"\xff\xfe"))], [info()], bytes(4))
    yield "a string of a megabyte", "a\t", packed([pair("k", STRING, text("v" * 1_000_000))], [info()], bytes(4))
    yield "200,000 strings", "a\t", packed([pair("k", ARRAY, array(STRING, 200_000, text("ab") * 200_000))], [info()], bytes(4))
    for name in ("a b", "[0]", "*", "re:x", "@Linear", "..", "--help", "/etc/passwd", "层", "[red]x[/red]", "a\x1b[2Jb", "a\nb", "\u202eb"):
        shown = name.replace("\x1b", "\\x1b").replace("\n", "\\n").replace("\u202e", "\\u202e")
        yield f"the name {name!r}", shown, one(name=name)


def broken() -> Iterator[tuple[str, str, bytes]]:
    yield "version 1", "GGUF version 1 is not read", packed([], [], version=1)
    yield "version 4", "version 4 is not known", packed([], [], version=4)
    yield "nothing but the magic", "bytes of the header are missing", b"GGUF"
    yield "more tensors than bytes", "tensors do not fit", packed([], [], counts=(HUGE, 0))
    yield "more key/values than bytes", "key/values do not fit", packed([], [], counts=(0, HUGE))
    yield "a tensor that is not there", "bytes", packed([], [], bytes(30), counts=(1, 0))
    yield "a key longer than the file", "bytes of the header are missing", packed([text(b"", HUGE)], [], bytes(64))
    yield "a string longer than the file", "bytes of the header are missing", packed([pair("k", STRING, text(b"", HUGE))], [], bytes(64))
    yield "a key that is no UTF-8", "a key is no UTF-8", packed([pair(b"\xff\xfe", U32, bytes(4))], [], bytes(64))
    yield "a name that is no UTF-8", "a tensor's name is no UTF-8", one(name=b"\xc3\x28")
    yield "a name with half a surrogate", "a tensor's name is no UTF-8", one(name="\ud800")
    yield "a key that is there twice", "the key 'k' is there twice", packed([pair("k", U32, bytes(4))] * 2, [])
    yield "an unknown value type", "value type 13 is not known", packed([pair("k", 13, bytes(8))], [], bytes(64))
    yield "an array of an unknown type", "value type 99 is not known", packed([pair("k", ARRAY, array(99, 1, bytes(8)))], [], bytes(64))
    yield "an array of more numbers than bytes", "elements of k do not fit", packed([pair("k", ARRAY, array(U32, HUGE))], [], bytes(64))
    yield "an array of more strings than bytes", "strings of k do not fit", packed([pair("k", ARRAY, array(STRING, HUGE))], [], bytes(64))
    yield "an array of more arrays than bytes", "elements of k do not fit", packed([pair("k", ARRAY, array(ARRAY, HUGE))], [], bytes(64))
    yield "arrays nested deep", "arrays nest too deep", packed([pair("k", ARRAY, array(ARRAY, 1) * 50 + array(U32, 0))], [], bytes(64))
    yield (
        "a string of an array that is too long",
        "header are missing",
        packed([pair("k", ARRAY, array(STRING, 2, text("ab") + text(b"", HUGE)))], [], bytes(64)),
    )
    yield "five dimensions", "5 dimensions; GGUF has 4 at most", one(ne=(1,) * 5)
    yield "2^32 - 1 dimensions", "4,294,967,295 dimensions", one(axes=2**32 - 1)
    yield "an unknown type", "type 999 of ggml is not known", one(kind=999)
    yield "a type that was taken back", "type 4 of ggml is not known", one(kind=4)
    yield "a row of half a block", "no whole blocks of Q4_0", one(ne=(16, 2), kind=Q4_0)
    yield "a scalar of blocks", "no whole blocks of Q4_K", one(ne=(), kind=Q4_K)
    yield "two tensors of one name", "there are two tensors 'a'", packed([], [info(), info(offset=32)], bytes(64))
    yield "tensors that overlap", "not at", packed([], [info(ne=(16,)), info("b", offset=32)], bytes(128))
    yield "a hole between tensors", "not at", packed([], [info(), info("b", offset=64)], bytes(128))
    yield "an offset beyond the file", "not at", one(offset=HUGE)
    yield "an offset that is not aligned", "not at", one(offset=4)
    yield "a tensor beyond the file", "bytes of data are missing", packed([], [info(ne=(9,))], bytes(32))
    yield "a tensor of an exabyte", "bytes of data are missing", one(ne=(2**58,))
    yield "a product beyond 64 bits", "bytes of data are missing", one(ne=(2**32,) * 4)
    for what, kind, value in [
        ("0", U32, bytes(4)),
        ("3", U32, struct.pack("<I", 3)),
        ("a string", STRING, text("32")),
        ("a byte", 0, b"\x20"),
        ("an array", ARRAY, array(U32, 1, struct.pack("<I", 32))),
    ]:
        yield f"an alignment of {what}", "general.alignment is", packed([pair("general.alignment", kind, value)], [info()], bytes(64))
    big = b"GGUF" + struct.pack(">IQQ", 3, 1, 0) + struct.pack(">Q", 1) + b"a" + struct.pack(">IQIQ", 1, 32, Q4_0, 0)
    yield "blocks in big-endian order", "big-endian order are not read", big + bytes(-len(big) % 32) + bytes(32)


def cases() -> Iterator[Case]:
    for name, says, raw in accepted():
        yield Case(name, "ok", says, raw, "a.gguf")
    yield Case("bytes behind the last tensor", "ok", "a\t", one() + bytes(100), "a.gguf")
    for name, says, raw in broken():
        yield Case(name, "error", says, raw, "a.gguf")
    yield Case("a header of 2 GB of strings on paper", "error", "no vocabulary has", _endless, "a.gguf")


def _endless(path: Path) -> None:
    """Strings without a letter, as far as the file goes, which takes no room on the disk."""
    head = packed([pair("k", ARRAY, array(STRING, (2 << 30) // 8))], [], alignment=1)
    with path.open("wb") as out:
        out.write(head)
        out.truncate(3 << 30)
