"""Pickles of arrays: what runs when another program loads it, what lies about its sizes, what is cut."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from judge import Case
from pickles import Raw, call, enc, name, pickled

ARRAY = {"w": np.zeros((2, 2), "f4")}
DTYPE = Raw(enc(Raw(name("numpy", "dtype") + enc(("f4", False, True)) + b"R")) + enc((3, "<", None, None, None, -1, -1, 0)) + b"b")


def array(shape: object = (2, 2), data: object = bytes(16), dtype: object = DTYPE) -> Raw:
    made = call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), (0,), b"b")
    return Raw(made + enc((1, shape, dtype, False, data)) + b"b")


def cut(path: Path) -> None:
    whole = pickle.dumps({"w": np.zeros(10_000)}, 4)
    path.write_bytes(whole[:60_000])


def giant(path: Path) -> None:
    """An array of 8 GB that is said to be there, and of which nothing is."""
    path.write_bytes(pickled({"w": array((2**31,), Raw(b"\x8e" + (2**33).to_bytes(8, "little")))}, 4))


def cases() -> Iterator[Case]:
    listed = "w\tfloat32\t2x2\t4\t16\t"

    def case(what: str, gives: str, says: str, raw: object) -> Case:
        return Case(what, gives, says, raw, "a.pkl")  # type: ignore[arg-type]

    yield case("an array", "ok", listed, pickled({"w": array()}))
    yield case("two names of one array", "ok", "v\tfloat32\t2x2\t4\t16\tw", pickle.dumps({"w": (x := np.zeros((2, 2), "f4")), "v": x}))
    for what, function in {"os.system": name("posix", "system"), "eval": name("builtins", "eval"), "a lure": name("evil", "x")}.items():
        yield case(f"a call of {what} beside an array", "ok", listed, pickled({"w": array(), "x": call(function, "touch canary")}))
        yield case(f"a call of {what} as the root", "ok", "", pickled(call(function, "touch canary", array())))
    yield case("an array whose bytes are a call", "error", "without data", pickled({"w": array(data=call(name("os", "urandom"), 16))}))
    yield case("an array of too few bytes", "error", "with 8 bytes", pickled({"w": array(data=bytes(8))}))
    yield case("an array of a negative size", "error", "without a shape", pickled({"w": array(shape=(-2, -2))}))
    yield case("an array of an endless size", "error", "bytes", pickled({"w": array(shape=(2**62, 2**62))}))
    yield case("an array of True elements", "error", "without a shape", pickled({"w": array(shape=(True, 4))}))
    yield case("an array of another dtype's class", "error", "none of numpy's", pickled({"w": array(dtype=call(name("evil", "x"), 1))}))
    yield case("an array that is cut", "error", "truncated", cut)
    yield case("8 GB that are not there", "error", "truncated", giant)
    yield case("bytes after the end", "error", "stand after the end", pickled({"w": array()}) + b"x")
    yield case("a tensor of torch's without its storages", "error", "", pickle.dumps({"w": np.zeros(2)}, 2)[:-2] + b"u.")
    yield case("numpy in a text", "error", "not a checkpoint", b"cat numpy\n" * 9)
    deep = b"\x80\x02" + b"](" * 5000 + enc(array()) + b"e" * 5000 + b"."
    yield case("5,000 lists within one another", "error", "", deep)
    shared = b"\x80\x02" + enc(array()) + b"q\0" + b"h\0\x86" * 0 + b"\x85q\1" + b"".join(b"h\1h\1\x86q\1" for _ in range(60)) + b"."
    yield case("a tuple of itself, 60 deep", "error", "", shared)
    yield case("10 GB of a hole behind a pickle", "error", "", lambda path: hole(path))


def hole(path: Path) -> None:
    path.write_bytes(pickled({"w": array()}))
    os.truncate(path, 10**10)
