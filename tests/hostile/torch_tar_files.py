"""Broken tars of torch 0.1 and broken packages of torch's."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import cache
from struct import pack

from judge import Case
from zips import Entry, archive


def dumped(thing: object) -> bytes:
    return pickle.dumps(thing, 2)


@cache
def good() -> dict[str, bytes]:
    """A float tensor of two elements, put together by hand: torch is not imported for it."""
    head = b"\x80\x02(K\x01X\x03\0\0\0cpuctorch\nFloatStorage\nt."
    return {
        "sys_info": dumped({}),
        "storages": dumped(1) + head + pack("<q", 2) + pack("<2f", 1, 2) + dumped([]),
        "tensors": dumped(1) + b"\x80\x02(K\x05K\x01Nt." + pack("<ii", 1, 0) + pack("<3q", 2, 1, 0),
        "pickle": b"\x80\x02}X\x01\0\0\0wX\x01\0\0\x005Qs.",
    }


def tar(**changed: bytes) -> bytes:
    from archive_files import END, member

    return b"".join(member(content, name.encode()) for name, content in (good() | changed).items()) + END


def broken() -> Iterator[tuple[str, str, dict[str, bytes]]]:
    parts = good()
    storages, tensors = parts["storages"], parts["tensors"]
    yield "cut storages", "truncated", {"storages": storages[:-6]}
    yield "a storage of an exabyte", "truncated", {"storages": storages.replace(pack("<q", 2), pack("<q", 1 << 60))}
    yield "a storage of a negative size", "-1 elements", {"storages": storages.replace(pack("<q", 2), pack("<q", -1))}
    yield "a count of storages", "things in", {"storages": dumped(1 << 40)}
    yield "a negative count of storages", "things in", {"storages": dumped(-1)}
    yield "a count that is a text", "no number", {"storages": dumped("x")}
    yield "a class of storages that is none", "not known", {"storages": storages.replace(b"FloatStorage", b"OtherStorage")}
    yield "bytes behind the storages", "stand after", {"storages": storages + b"x"}
    yield "a view of what is no storage", "a view of", {"storages": storages[: -len(dumped([]))] + dumped([(9, 8, 0, 1)])}
    yield "a view beyond its storage", "outside of", {"storages": storages[: -len(dumped([]))] + dumped([(9, 1, 1, 2)])}
    yield "a view before its storage", "outside of", {"storages": storages[: -len(dumped([]))] + dumped([(9, 1, -1, 2)])}
    yield "cut tensors", "truncated", {"tensors": tensors[:-1]}
    yield "a tensor of many axes", "axes", {"tensors": tensors.replace(pack("<ii", 1, 0), pack("<ii", 1 << 30, 0))}
    yield "a tensor of minus one axis", "axes", {"tensors": tensors.replace(pack("<ii", 1, 0), pack("<ii", -1, 0))}
    yield "a tensor of no storage", "no storage", {"tensors": tensors.replace(b"K\x01N", b"K\x02N")}
    yield "a tensor beyond its storage", "outside of its storage", {"tensors": tensors[:-24] + pack("<3q", 3, 1, 0)}
    yield "a tensor before its storage", "outside of its storage", {"tensors": tensors[:-24] + pack("<3q", 2, 1, -1)}
    yield "a negative size", "do not agree", {"tensors": tensors[:-24] + pack("<3q", -2, 1, 0)}
    yield "bytes behind the tensors", "stand after", {"tensors": tensors + b"x"}
    yield "a key of no tensor", "is not in the file", {"pickle": parts["pickle"].replace(b"5Q", b"6Q")}
    yield "a cut pickle", "truncated", {"pickle": parts["pickle"][:-1]}
    yield "bytes behind the pickle", "stand after", {"pickle": parts["pickle"] + b"x"}


def package(**changed: bytes) -> bytes:
    """A package whose one pickle is a tensor of two floats."""
    tensor = (
        b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
        b"X\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89}tRs."
    )
    members = {"m/model.pkl": tensor, ".data/0.storage": pack("<2f", 1, 2), ".data/extern_modules": b"", "m/evil.py": b"1/0"}
    return archive([Entry(f"p/{name}", content) for name, content in (members | changed).items()])


def cases() -> Iterator[Case]:
    yield Case("a tar of torch 0.1", "ok", "w\tfloat32\t2\t2\t8\t\n", tar(), "a.tar")
    for name, says, changed in broken():
        yield Case(name, "error", says, tar(**changed), "a.tar")
    yield Case("a package", "ok", "w\tfloat32\t2\t2\t8\t\n", package(), "a.pt")
    yield Case("a package with a short storage", "error", "the pickle says", package(**{".data/0.storage": b"1234"}), "a.pt")
    yield Case("a package with a broken pickle", "error", "pickle", package(**{"m/model.pkl": b"\x80\x02."}), "a.pt")
    yield Case("a package with two pickles", "ok", "m/model.w\tfloat32", package(**{"m/b.pkl": b"\x80\x02}."}), "a.pt")
