"""safetensors: what is odd and right, what is broken, what is meant to deceive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from judge import Case

HUGE = 10**30


def entry(dtype: Any = "F32", shape: Any = (1,), begin: Any = 0, end: Any = 4, **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end], **more}


def packed(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with any header at all: a document, text, or bytes."""
    raw = header if isinstance(header, bytes) else header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def tight(header: Any, data: bytes = b"") -> bytes:
    """As nearly all writers write it, which is what the quick reader reads."""
    return packed(json.dumps(header, separators=(",", ":"), ensure_ascii=False), data)


def row(begin: int, name: str, size: int = 4) -> dict[str, Any]:
    return {name: entry("U8", (size,), begin, begin + size)}


def accepted() -> Iterator[tuple[str, str, Any, bytes]]:
    """Name, what the list says, header, data."""
    yield "one tensor", "a\tfloat32\t1\t1\t4\t\n", {"a": entry()}, bytes(4)
    yield "no tensors", "", {}, b""
    yield "metadata only", "", {"__metadata__": {"format": "pt"}}, b""
    yield "empty metadata", "a\t", {"__metadata__": {}, "a": entry()}, bytes(4)
    yield "MLX's metadata of null", "a\t", {"__metadata__": None, "a": entry()}, bytes(4)
    yield "an empty tensor", "a\tfloat32\t0\t0\t0", {"a": entry(shape=(0,), end=0)}, b""
    yield (
        "empty tensors between others",
        "b\tfloat32\t3x0x2",
        {"a": entry(), "b": entry(shape=(3, 0, 2), begin=4, end=4), "c": entry(begin=4, end=8)},
        bytes(8),
    )
    yield "an empty tensor of huge axes", f"a\tfloat32\t{2**62}x0", {"a": entry(shape=(2**62, 0), end=0)}, b""
    yield "a scalar", "a\tfloat32\t\t1\t4", {"a": entry(shape=())}, bytes(4)
    yield "64 axes", "a\tfloat32\t1x1x1", {"a": entry(shape=(1,) * 64)}, bytes(4)
    yield "any order of offsets", "b\tuint8\t4\t4\t4\t\na\t", row(4, "b") | row(0, "a"), bytes(8)
    yield "metadata last", "a\t", {"a": entry(), "__metadata__": {"x": "y"}}, bytes(4)
    yield "unknown fields in an entry", "a\t", {"a": entry(note="hm")}, bytes(4)
    yield "sub-byte values that fill a byte", "a\tfloat4_e2m1fn\t2\t2\t1", {"a": entry("F4", (2,), 0, 1)}, bytes(1)
    yield "six-bit values that fill three bytes", "a\tfloat6_e3m2fn\t4\t4\t3", {"a": entry("F6_E3M2", (4,), 0, 3)}, bytes(3)
    for name in [
        "a b",
        "[0]",
        "*",
        "{a,b}",
        "re:x",
        "@Linear",
        "a.b.c",
        ".",
        "..",
        "",
        " ",
        "--help",
        "-",
        "-o",
        "~",
        "$HOME",
        "a/b",
        "/etc/passwd",
        "'",
        '"',
        "\\",
        "a[0, :5]",
        "é",
        "名前",
        "🙂",
        "NaN",
        "null",
        "__proto__",
        "#",
        "%s%n",
        "{}",
        "\ufffd",
        "[red]x[/red]",
        "x" * 10_000,
    ]:
        shown = name if len(name) < 9000 else name[:9000]
        yield f"the name {name[:20]!r}", shown, {name: entry()}, bytes(4)
    yield "case twins", "a\tuint8\t4\t4\t4\t\nA\t", row(0, "a") | row(4, "A"), bytes(8)
    yield "twins but for normalisation", "\u00e9\tuint8\t4\t4\t4\t\ne\u0301\t", row(0, "\u00e9") | row(4, "e\u0301"), bytes(8)
    yield "twins but for a zero-width space", "a\u200b\tuint8", row(0, "a") | row(4, "a\u200b"), bytes(8)
    yield "a dotted name beside its prefix", "a\tuint8\t4\t4\t4\t\na.b\t", row(0, "a") | row(4, "a.b"), bytes(8)
    yield "metadata that alias a tensor", "b\tfloat32\t1\t1\t4\ta", {"__metadata__": {"b": "a"}, "a": entry()}, bytes(4)
    yield "metadata that point to themselves", "a\tfloat32\t1\t1\t4\t\n", {"__metadata__": {"b": "c", "c": "b"}, "a": entry()}, bytes(4)
    yield "metadata called as a tensor", "a\tfloat32\t1\t1\t4\t\n", {"__metadata__": {"a": "a"}, "a": entry()}, bytes(4)
    yield "metadata of a megabyte", "a\t", {"__metadata__": {"k": "v" * 1_000_000}, "a": entry()}, bytes(4)
    yield (
        "metadata that look like an entry",
        "a\t",
        {"__metadata__": {"x": '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'}, "a": entry()},
        bytes(4),
    )


CONTROL = {
    "escape": "\x1b[2J",
    "line feed": "a\nb",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "bell": "\x07",
    "null": "\0",
    "C1": "\x9b31m",
    "bidi": "\u202eabc",
    "isolate": "\u2066",
    "line separator": "\u2028",
    "mark": "\u200f",
    "byte order mark": "\ufeff",
    "delete": "\x7f",
}


def controls() -> Iterator[Case]:
    """Foreign text: wherever it stands, it is printed escaped, on the one line of its record."""
    for what, text in CONTROL.items():
        shown = "\\"
        yield Case(f"{what} in a name", "ok", shown, packed({text: entry()}, bytes(4)))
        yield Case(f"{what} in metadata", "ok", "a\t", packed({"__metadata__": {text: text}, "a": entry()}, bytes(4)))
        yield Case(f"{what} in a bad entry's name", "error", "its entry is no JSON object", packed({text: 1}))
        yield Case(f"{what} in an unknown dtype", "error", "is not known", packed({"a": entry(text)}, bytes(4)))
        yield Case(f"{what} in a name that is there twice", "error", "twice", packed(f"{{{json.dumps(text)}: 1, {json.dumps(text)}: 2}}"))


GOOD = json.dumps({"a": entry()})


def json_that_is_none() -> Iterator[tuple[str, str, bytes]]:
    yield "no JSON", "the JSON header is broken", b"{nonsense"
    yield "an open string", "the JSON header is broken", b'{"a'
    yield "a trailing comma", "the JSON header is broken", b'{"__metadata__":{},}'
    yield "two documents", "the JSON header is broken", GOOD.encode() + GOOD.encode()
    yield "text behind", "the JSON header is broken", GOOD.encode() + b" x"
    yield "zeros behind", "the JSON header is broken", GOOD.encode() + bytes(8)
    yield "single quotes", "the JSON header is broken", GOOD.replace('"', "'").encode()
    yield "a comment", "the JSON header is broken", GOOD.encode() + b" // x"
    yield "a raw line feed in a name", "the JSON header is broken", GOOD.replace('"a"', '"a\n"').encode()
    yield "a raw escape in a name", "the JSON header is broken", GOOD.replace('"a"', '"\x1b[2J"').encode()
    yield "NaN", "holds NaN", b'{"a": NaN}'
    yield "Infinity", "holds Infinity", b'{"a": Infinity}'
    yield "NaN in the metadata", "holds NaN", b'{"__metadata__": {"a": NaN}}'
    yield "NaN as a size", "holds NaN", GOOD.replace("[1]", "[NaN]").encode()
    yield "a byte that is no UTF-8", "is not UTF-8", b'{"\xff": 1}'
    yield "an overlong form", "is not UTF-8", b'{"\xc0\x80": 1}'
    yield "a surrogate in UTF-8", "is not UTF-8", b'{"\xed\xa0\x80": 1}'
    yield "half a surrogate", "is not UTF-8", b'{"\\ud800": 1}'
    yield "the other half", "is not UTF-8", b'{"\\udc00": 1}'
    yield "half a surrogate in the metadata", "is not UTF-8", b'{"__metadata__": {"a": "\\udfff"}}'
    yield "UTF-16", "not a checkpoint", GOOD.encode("utf-16")
    yield "a byte order mark", "not a checkpoint", b"\xef\xbb\xbf" + GOOD.encode()
    yield "a list", "not a checkpoint", b"[]"
    yield "a nest of lists", "the JSON header is broken", b'{"a":' + b"[" * 200_000
    yield "a nest of objects", "the JSON header is broken", b'{"a":' * 200_000
    yield "a nest in the metadata", "the JSON header is broken", b'{"__metadata__":' + b'{"a":' * 100_000
    yield "a nest that is closed", "the JSON header is broken", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "an integer of 10,000 digits", "the JSON header is broken", b'{"a":' + b"9" * 10_000 + b"}"
    yield "a name twice", "twice", b'{"a": 1, "a": 2}'
    yield "a name twice, once escaped", "twice", b'{"a": 1, "\\u0061": 2}'
    yield "a name twice in good entries", "twice", f'{{"a":{json.dumps(entry())},"a":{json.dumps(entry(begin=4, end=8))}}}'.encode()
    yield (
        "a name twice, tightly",
        "twice",
        f'{{"a":{json.dumps(entry(), separators=(",", ":"))},"a":{json.dumps(entry(), separators=(",", ":"))}}}'.encode(),
    )
    yield "a field twice", "twice", b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    yield "a shape twice", "twice", b'{"a": {"dtype": "F32", "shape": [1], "shape": [1], "data_offsets": [0, 4]}}'
    yield "metadata twice", "twice", b'{"__metadata__": {}, "__metadata__": {}}'
    yield "a key of the metadata twice", "twice", b'{"__metadata__": {"k": "1", "k": "2"}}'
    yield "a key of an unknown field twice", "twice", b'{"a": {"x": {"y": 1, "y": 2}}}'


NUMBERS: list[tuple[str, str]] = [
    ("True", "true"),
    ("False", "false"),
    ("null", "null"),
    ("a float", "4.0"),
    ("an exponent", "4e0"),
    ("text", '"4"'),
    ("a list", "[4]"),
    ("a negative one", "-4"),
    ("minus zero as a float", "-0.0"),
    ("two to the 63", str(2**63)),
    ("two to the 64", str(2**64)),
    ("thirty digits", str(HUGE)),
    ("4,000 digits", "9" * 4000),
    ("an object", "{}"),
    ("1e400", "1e400"),
]


def integers() -> Iterator[Case]:
    """Wherever JSON promises an integer, it is one, and of a size that can be."""
    for what, number in NUMBERS:
        for where, text in {
            "begin": f'{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[{number},4]}}}}',
            "end": f'{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,{number}]}}}}',
            "size": f'{{"a":{{"dtype":"U8","shape":[{number}],"data_offsets":[0,4]}}}}',
        }.items():
            yield Case(f"{what} as a {where}", "error", "tensor 'a'", packed(text, bytes(4)))
    for what, text in {"04": "04", "+4": "+4", "0x4": "0x4", "٤": "٤", "4_0": "4_0", "4.": "4."}.items():
        raw = f'{{"a":{{"dtype":"U8","shape":[{text}],"data_offsets":[0,{text}]}}}}'
        yield Case(f"a number spelt {what}", "error", "the JSON header is broken", packed(raw, bytes(40)))
    for what, shape in {
        "no list": 4,
        "text": "4",
        "an object": {},
        "null": None,
        "65 axes": (1,) * 65,
        "a million axes": (2**62,) * 300_000,
        "a nested list": ([1],),
    }.items():
        yield Case(f"a shape that is {what}", "error", "tensor 'a'", packed({"a": entry(shape=shape)}, bytes(4)))
    for what, offsets in {
        "no list": 4,
        "one": [0],
        "three": [0, 4, 8],
        "null": None,
        "text": "04",
        "an object": {"0": 0},
        "empty": [],
    }.items():
        yield Case(f"offsets that are {what}", "error", "tensor 'a'", packed({"a": entry() | {"data_offsets": offsets}}, bytes(4)))


def entries() -> Iterator[tuple[str, str, Any, bytes]]:
    for key in ("dtype", "shape", "data_offsets"):
        yield f"no {key}", f"{key} is missing", {"a": {k: v for k, v in entry().items() if k != key}}, bytes(4)
    for what, value in {"number": 1, "list": [], "null": None, "text": "x", "True": True}.items():
        yield f"an entry that is a {what}", "its entry is no JSON object", {"a": value}, bytes(4)
    for dtype in ("F99", "f32", "F32 ", "", "float32", "F32\0", "\u24bb32", "I4", "BF16X2"):
        yield f"the dtype {dtype!r}", "is not known", {"a": entry(dtype)}, bytes(4)
    for what, value in {"list": [], "number": 32, "null": None, "object": {}, "True": True}.items():
        yield f"a dtype that is a {what}", "is not known", {"a": entry(value)}, bytes(4)
    for what, value in {
        "list": [],
        "number": 1,
        "text": "x",
        "number in it": {"a": 1},
        "list in it": {"a": []},
        "null in it": {"a": None},
    }.items():
        yield f"metadata that are a {what}", "__metadata__ is not a JSON object of strings", {"__metadata__": value, "a": entry()}, bytes(4)
    yield "offsets backwards", "not two ordered integers", {"a": entry(begin=4, end=0)}, bytes(4)
    yield "a shape too large", "takes 8 bytes, the data has 4", {"a": entry(shape=(2,))}, bytes(4)
    yield "a shape too small", "takes 4 bytes, the data has 8", {"a": entry(end=8)}, bytes(8)
    yield "a shape of zero with data", "takes 0 bytes, the data has 4", {"a": entry(shape=(0,))}, bytes(4)
    yield "sizes whose product wraps to four", "takes", {"a": entry("U8", (2**32, 2**32, 4))}, bytes(4)
    yield "sizes whose product wraps to zero", "takes", {"a": entry("U8", (2**32, 2**32), 0, 0)}, b""
    yield "huge sizes", "takes", {"a": entry(shape=(2**62,) * 60)}, bytes(4)
    yield "seven six-bit values in six bytes", "ends within a byte", {"a": entry("F6_E2M3", (7,), 0, 6)}, bytes(6)
    yield "three four-bit values in two bytes", "ends within a byte", {"a": entry("F4", (3,), 0, 2)}, bytes(2)
    yield "nine four-bit values in five bytes", "ends within a byte", {"a": entry("F4", (3, 3), 0, 5)}, bytes(5)
    yield "eight four-bit values in three bytes", "takes 4 bytes", {"a": entry("F4", (8,), 0, 3)}, bytes(3)


def tilings() -> Iterator[tuple[str, str, Any, bytes]]:
    """The tensors tile the data section exactly. Each with and without spaces: there are two readers."""
    yield "data cut", "truncated: 1 of 4 bytes of data are missing", {"a": entry()}, bytes(3)
    yield "no data", "truncated: 4 of 4 bytes of data are missing", {"a": entry()}, b""
    yield "one byte behind", "1 bytes stand after the last tensor", {"a": entry()}, bytes(5)
    yield "bytes behind no tensors", "8 bytes stand after the last tensor", {}, bytes(8)
    yield "an overlap", "overlap at byte 2", row(0, "a") | row(2, "b"), bytes(6)
    yield "one range twice", "overlap at byte 0", row(0, "a") | row(0, "b"), bytes(4)
    yield "one within another", "overlap at byte 2", row(0, "a", 8) | row(2, "b", 2), bytes(8)
    yield "an overlap out of order", "overlap at byte 2", row(2, "b") | row(0, "a"), bytes(6)
    yield "a hole at the start", "a hole at byte 0", row(4, "a"), bytes(8)
    yield "a hole between", "a hole at byte 4", row(0, "a") | row(8, "b"), bytes(12)
    yield "a hole of one byte", "a hole at byte 4", row(0, "a") | row(5, "b"), bytes(9)
    yield "a hole at the end", "4 bytes stand after the last tensor", row(0, "a"), bytes(8)
    yield "an empty tensor far away", "a hole", row(0, "a") | {"b": entry(shape=(0,), begin=99, end=99)}, bytes(4)
    yield "an empty tensor within another", "overlap", row(0, "a") | {"b": entry(shape=(0,), begin=2, end=2)}, bytes(4)
    yield "an end beyond all", "truncated", {"a": entry(shape=(2**40,), end=2**42)}, bytes(4)
    yield "an exabyte", "truncated", {"a": entry("U8", (2**60,), 0, 2**60)}, bytes(4)


def lengths() -> Iterator[Case]:
    good = packed(GOOD, bytes(4))
    for says, length in (
        ("100,000,000", 100_000_001),
        ("100,000,000", 2**31),
        ("of the header are missing", 1000),
        ("of the header are missing", 99_999_999),
    ):
        yield Case(f"a header of {length:,} bytes", "error", says, packed(GOOD, bytes(4), length))
    for length in (2**63, 2**64 - 1, 2**64 - 8, 2**48, 2**32):
        yield Case(f"a header of {length:,} bytes", "error", "not a checkpoint of any known format", packed(GOOD, bytes(4), length))
    for length in (0, 1, 5, len(GOOD) - 1):
        yield Case(f"a header cut to {length} bytes", "error", "header", packed(GOOD, bytes(4), length))
    yield Case("a header that takes the data, too", "error", "the JSON header is broken", packed(GOOD, bytes(4), len(GOOD) + 4))
    for at in range(1, len(good)):
        says = "truncated" if at > 8 else "not a checkpoint"
        yield Case(f"cut after {at} bytes", "error", says, good[:at])


def many(path: Path) -> None:
    """200,000 names of empty tensors."""
    head = {f"model.layers.{i // 10}.block{i % 10}.weight": entry(shape=(0,), end=0) for i in range(200_000)}
    path.write_bytes(tight(head))


def many_twins(path: Path) -> None:
    raw = tight({f"model.{i}.weight": entry(shape=(0,), end=0) for i in range(200_000)})
    path.write_bytes(raw.replace(b'"model.199999.weight"', b'"model.100000.weight"'))


def sparse(path: Path) -> None:
    """24 GiB on paper, a header on disk."""
    count = 24 << 30
    head = tight({"a": entry("U8", (count,), 0, count)})
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + count)


def spaces(path: Path) -> None:
    """A header of 9 MB, nearly all of it padding."""
    path.write_bytes(packed(GOOD + " " * 9_000_000, bytes(4)))


def cases() -> Iterator[Case]:
    for name, says, header, data in accepted():
        yield Case(name, "ok", says, packed(header, data))
        if name != "metadata of a megabyte":
            yield Case(f"{name}, tight", "ok", says, tight(header, data))
    for padding in (" ", " " * 37, "\n", "\t\r\n ", " " * 100_000):
        yield Case(f"padded with {len(padding)} × {padding[0]!r}", "ok", "a\tfloat32\t1\t1\t4", packed(GOOD + padding, bytes(4)))
    yield Case("escapes in a name", "ok", "a.weight\t", packed('{"\\u0061.weight":' + json.dumps(entry()) + "}", bytes(4)))
    yield Case("a pair of surrogates in escapes", "ok", "🙂\t", packed('{"\\ud83d\\ude42":' + json.dumps(entry()) + "}", bytes(4)))
    yield Case("200,000 names", "ok", "model.layers.19999.block9.weight\tfloat32\t0", many)
    yield Case("200,000 names of which two are one", "error", "twice", many_twins)
    yield Case("24 GiB on paper", "ok", f"a\tuint8\t{24 << 30}", sparse)
    yield Case("megabytes of padding", "ok", "a\tfloat32\t1\t1\t4", spaces)
    yield from controls()
    for name, says, raw in json_that_is_none():
        yield Case(name, "error", says, packed(raw, bytes(8 if "twice" in name else 4)))
    yield from integers()
    for name, says, header, data in entries():
        yield Case(name, "error", says, packed(header, data))
    for name, says, header, data in tilings():
        yield Case(name, "error", says, packed(header, data))
        yield Case(f"{name}, tight", "error", says, tight(header, data))
    yield from lengths()
