"""Files that are small enough to come by mail and take a careless reader's whole memory, or its day: near every limit, and beyond it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

from judge import Build, Case
from legacy import MAGIC, replaced
from pickles import pickled, storage, tensor
from safetensors_files import entry, packed
from zips import Entry, archive, end, end64, local_part, plain, record, torch_zip

HEADER = 99_000_000  # bytes: just below what the format allows
GOOD = json.dumps({"a": entry()}).encode()


def filled(first: bytes, unit: bytes, last: bytes, size: int = HEADER) -> bytes:
    return first + unit * ((size - len(first) - len(last)) // len(unit)) + last


def headers() -> Iterator[Case]:
    """safetensors and index.json: every header of up to 100 MB is taken or refused."""

    def case(name: str, gives: str, says: str, header: Callable[[], bytes], data: bytes = bytes(4)) -> Case:
        return Case(name, gives, says, lambda path: path.write_bytes(packed(header(), data)), "a.safetensors")

    def names() -> bytes:
        """Sorted keys, and spaces: what the quick reader does not read."""
        empty = json.dumps(dict(sorted(entry(shape=(0,), end=0).items())))
        return ("{" + ", ".join(f'"m{i}": {empty}' for i in range(300_000)) + "}").encode()

    yield case("300,000 names, sorted and with spaces", "ok", "m299999\tfloat32\t0", names, b"")
    yield case("a name of 99 MB", "ok", "aaaa\tfloat32\t1", lambda: b'{"' + b"a" * HEADER + b'":' + GOOD[6:])
    yield case("a name of 99 MB without an entry", "error", "its entry is no JSON object", lambda: b'{"' + b"a" * HEADER + b'":1}')
    yield case("a name of 16 MB of escapes", "error", "its entry", lambda: b'{"' + b"\\u001b" * 2_700_000 + b'":1}')
    yield case("a dtype of 99 MB", "error", "is not known", lambda: GOOD.replace(b"F32", b"F" * HEADER))
    yield case("99 MB of metadata in one string", "ok", "", lambda: b'{"__metadata__":{"k":"' + b"v" * HEADER + b'"}}', b"")
    yield case("99 MB of empty lists", "error", "its entry is no JSON object", lambda: filled(b'{"a":[', b"[],", b"[]]}"))
    yield case("99 MB of opening brackets", "error", "the JSON header is broken", lambda: filled(b'{"a":', b"[", b""))
    yield case("99 MB of spaces", "ok", "a\tfloat32\t1", lambda: GOOD + b" " * HEADER)
    yield Case(
        "an index of 99 MB of empty lists",
        "error",
        "weight_map is not an object",
        lambda path: path.write_bytes(filled(b'{"weight_map":[', b"[],", b"[]]}")),
        "a.index.json",
    )
    yield Case(
        "an index whose shard has a name of 99 MB",
        "error",
        "",
        lambda path: path.write_bytes(b'{"weight_map":{"a":"' + b"x" * HEADER + b'"}}'),
        "a.index.json",
    )
    yield Case("an index of 1,000,000 shards", "error", "no such file", many_shards, "a.index.json")


def many_shards(path: Path) -> None:
    path.write_bytes(json.dumps({"weight_map": {f"t{i}": f"s{i}" for i in range(1_000_000)}}).encode())


def pickles() -> Iterator[Case]:
    """Each opcode that makes something, as often as takes memory or time."""
    objects, wide = "a pickle of over 5,000,000 objects", "a container of over 3,000,000 items"
    for what, count, first, unit, last, says in [
        ("marks", 20_500_000, b"\x80\x02", b"(", b"", "a pickle of over 20,000,000 opcodes"),
        ("lists", 5_500_000, b"\x80\x02(", b"]", b"t.", objects),
        ("pushes and pops", 5_500_000, b"\x80\x02", b"N0", b"N.", objects),
        ("memo entries", 5_500_000, b"\x80\x04N", b"\x94", b".", objects),
        ("integers in one list", 5_500_000, b"\x80\x02](", b"J\xff\xff\xff\x7f", b"e.", objects),
        ("small integers in one list", 9_000_000, b"\x80\x02](", b"K\x07", b"e.", wide),
        ("objects of classes", 700_000, b"\x80\x02](", b"(i\n\n", b"e.", ""),
        ("calls of one another", 1_700_000, b"\x80\x02N", b")R", b".", ""),
    ]:
        gives = "error" if says else "ok"
        yield Case(f"a pickle of {count:,} {what}", gives, says, zipped(first, unit, count, last))
    yield Case(
        "a storage whose key has 1,000,000 characters",
        "error",
        "is not in the archive",
        torch_zip(pickled({"w": tensor(storage(key="7" * 1_000_000))})),
    )
    head = b"\x80\x02" + b"N0" * 9_000_000 + b"N."
    yield Case("a legacy file whose facts take 18 MB", "error", "a pickle of over 65,536 bytes", replaced(2, head, pickled({})))
    yield Case(
        "a legacy file whose keys take 5.5 MB", "error", "objects", replaced(4, b"\x80\x02(" + b"]" * 5_500_000 + b"l.", pickled({}))
    )
    text = pickled(MAGIC) + pickled(1001) + pickled({}) + b"\x80\x02X\xff\xff\xff\xff"
    yield Case("a legacy file of one string of 4 GiB on paper", "error", "bytes", on_paper(text, 6 << 30), "a.pt")


def zips() -> Iterator[Case]:
    members = [*plain(pickled({})), *(Entry(f"a/x/{i}", b"") for i in range(70_000))]
    yield Case("a zip of 70,000 members", "ok", "", lambda path: path.write_bytes(archive(members, wide={})))
    yield Case(
        "a zip of 70,000 members without a 64-bit end",
        "error",
        "the zip",
        lambda path: path.write_bytes(archive(members, count=0xFFFF, here=0xFFFF)),
    )
    yield Case("a zip whose data.pkl has 6 GiB on paper", "error", "bytes; over 1,073,741,824 are not read", large_pickle)
    yield Case("a zip whose directory has 6 GiB on paper", "error", "a directory of over", large_directory)


def zipped(first: bytes, unit: bytes, count: int, last: bytes) -> Build:
    return lambda path: path.write_bytes(torch_zip(first + unit * count + last))


def on_paper(head: bytes, size: int) -> Build:
    def build(path: Path) -> None:
        path.write_bytes(head)
        os.truncate(path, size)

    return build


def large_pickle(path: Path) -> None:
    size = 6 << 30
    big = {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "crc": 0}
    extra = pack("<HH2Q", 1, 16, size, size)
    member = Entry("a/data.pkl", b"", local=big, central=big, extra=extra, extra_central=extra)
    head, directory = local_part(member), record(member, 0)
    at = len(head) + size
    ends = end64(1, len(directory), at, at + len(directory)) + end(1, 0, 0, here=1, count=1, size=0xFFFFFFFF, offset=0xFFFFFFFF)
    with path.open("wb") as file:
        file.write(head)
        file.seek(at)
        file.write(directory + ends)


def large_directory(path: Path) -> None:
    head, size = local_part(plain(pickled({}))[0]), 6 << 30
    ends = end64(99, size, len(head), len(head) + size) + end(99, 0, 0, size=0xFFFFFFFF, offset=0xFFFFFFFF)
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + size)
        file.write(ends)


def cases() -> Iterator[Case]:
    for part in (headers, pickles, zips):
        yield from part()
