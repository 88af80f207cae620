"""Sharded models: what an index may name, and what it may not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from judge import Case
from pickles import pickled, tensor
from safetensors_files import NUMBERS, entry, packed
from zips import torch_zip

INDEX = "model.safetensors.index.json"
A, B = packed({"a": entry()}, bytes(4)), packed({"b": entry()}, bytes(4))
BOTH = {"a": "1.safetensors", "b": "2.safetensors"}
LISTED = "a\tfloat32\t1\t1\t4\t\nb\tfloat32\t1\t1\t4\t\n"
Build = Callable[[Path], object]


def index(weight_map: Any, **more: Any) -> bytes:
    return json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map} | more).encode()


def model(document: bytes, one: bytes | None = A, two: bytes | None = B, more: Build | None = None) -> Build:
    """A folder with an index and two shards, and what `more` does to it."""

    def build(path: Path) -> None:
        path.write_bytes(document)
        for name, data in (("1.safetensors", one), ("2.safetensors", two)):
            if data is not None:
                (path.parent / name).write_bytes(data)
        if more:
            more(path.parent)

    return build


def case(name: str, gives: str, says: str, build: Build | bytes) -> Case:
    return Case(name, gives, says, build, INDEX)


def names() -> Iterator[Case]:
    """A shard's name is that of a file beside the index."""
    for name in [
        "../x.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a//b.safetensors",
        "a/./b.safetensors",
        "sub/..",
        "a\\b",
        "..\\x",
        "http://x/y",
        "https://x/y.safetensors",
        "file:///etc/passwd",
        "s3://a/b",
        "\\\\host\\x",
        "./1.safetensors",
        "1.safetensors/",
        "1.safetensors\0",
        "//1.safetensors",
        "sub/../1.safetensors",
    ]:
        yield case(f"the shard {name!r}", "error", "no plain file name", model(index({"a": name})))
    for name in [
        "a/b.safetensors",
        "1.safetensors/2.safetensors",
        "C:x",
        "C:1.safetensors",
        "~",
        "~root",
        "$HOME",
        "${PATH}",
        "*",
        "?.safetensors",
        "[12].safetensors",
        "{1,2}.safetensors",
        "`id`",
        "$(touch canary)",
        "|touch canary",
        "--help",
        "-",
        "%00",
        "nul",
        " ",
        "x" * 300,
        "\u2025",
        "\uff0e\uff0e\uff0f1.safetensors",
        "\ud800",
        "\x1b[2J",
        "a\nb",
        "1.safetensors ",
        "1.SAFETENSORS",
    ]:
        yield case(f"the shard {name[:30]!r}", "error", "", model(index({"a": name})))
    for name in ["a b.safetensors", "-1", "--help", "*", "[0]", "$HOME", "~", "\u00e9", "x.y.z", "no suffix", "%s", "C:x", "http:x"]:
        yield case(
            f"a shard that is called {name!r}",
            "ok",
            "a\tfloat32",
            model(index({"a": name}), more=lambda folder, name=name: (folder / name).write_bytes(A)),
        )
    yield case("a shard in a folder below", "ok", "a\tfloat32", model(index({"a": "sub/x"}), more=lambda folder: below(folder / "sub")))
    yield case(
        "a shard in a folder that is a link out",
        "error",
        "leads out of the folder",
        model(index({"a": "sub/x"}), more=lambda folder: (folder / "sub").symlink_to(below(folder.parent / "other"))),
    )
    yield case("the index as a shard", "error", "not a checkpoint", model(index({"a": INDEX})))
    yield case(
        "an index as a shard",
        "error",
        "not a checkpoint",
        model(index({"a": "x.index.json"}), more=lambda folder: (folder / "x.index.json").write_bytes(index({"a": "1.safetensors"}))),
    )
    yield case("a lure as a shard", "error", "not a checkpoint", model(index({"a": "json.py"})))


def below(folder: Path) -> Path:
    """A new folder with a shard in it."""
    folder.mkdir()
    (folder / "x").write_bytes(A)
    return folder


def places() -> Iterator[Case]:
    """What lies where a shard should."""

    def instead(make: Callable[[Path], object]) -> Build:
        return model(index(BOTH), two=None, more=lambda folder: make(folder / "2.safetensors"))

    def outside(shard: Path) -> Path:
        other = shard.parent.parent / f"outside-{shard.parent.name}.safetensors"
        other.write_bytes(B)
        return other

    def linked(shard: Path) -> None:
        shard.symlink_to(outside(shard))

    def by_folder(shard: Path) -> None:
        (shard.parent / "up").symlink_to("..")
        shard.symlink_to(f"up/{outside(shard).name}")

    def chain(shard: Path) -> None:
        (shard.parent / "one").symlink_to(outside(shard))
        shard.symlink_to("one")

    def socket(shard: Path) -> None:
        os.mknod(shard, 0o140644)

    out = "leads out of the folder"
    yield case("two shards", "ok", LISTED, model(index(BOTH)))
    yield case("a shard that is missing", "error", "no such file", model(index(BOTH), two=None))
    yield case("a FIFO as a shard", "error", "a FIFO, not a file", instead(os.mkfifo))
    yield case("a folder as a shard", "error", "a folder, not a file", instead(Path.mkdir))
    yield case("a socket as a shard", "error", "a socket, not a file", instead(socket))
    yield case("a link out of the folder", "error", out, instead(linked))
    yield case("a link out of the folder by a relative way", "error", out, instead(by_folder))
    yield case("a link to a link out of the folder", "error", out, instead(chain))
    yield case("a link to a device", "error", out, instead(lambda shard: shard.symlink_to("/dev/zero")))
    yield case("a link to a file of the system", "error", out, instead(lambda shard: shard.symlink_to("/etc/passwd")))
    yield case("a link to nowhere", "error", "", instead(lambda shard: shard.symlink_to("nowhere")))
    yield case("a link to itself", "error", "", instead(lambda shard: shard.symlink_to(shard.name)))
    yield case("a link into a folder below", "ok", LISTED, instead(lambda shard: blob(shard, "blobs")))
    yield case("a link to blobs beside the folder", "error", out, instead(lambda shard: blob(shard, "../blobs")))
    yield case(
        "a link within the folder", "ok", LISTED, instead(lambda shard: ((shard.parent / "real").write_bytes(B), shard.symlink_to("real")))
    )
    yield case("a link to the other shard", "error", "where it is not", instead(lambda shard: shard.symlink_to("1.safetensors")))
    for what, data, says in [
        ("an empty", b"", "the file is empty"),
        ("a cut", B[:-1], "truncated"),
        ("a cut header of a", B[:20], "truncated"),
        ("an HTML page as a", b"<!DOCTYPE html>", "a web page"),
        ("an LFS pointer as a", b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
        ("a broken", packed({"b": 1}), "its entry is no JSON object"),
    ]:
        yield case(f"{what} shard", "error", says, model(index(BOTH), two=data))
    yield case("a pickle shard beside another", "ok", "b\tfloat32\t2x2", model(index(BOTH), two=torch_zip(pickled({"b": tensor()}))))


def blob(shard: Path, to: str) -> None:
    """A link into a folder called blobs beside the shards."""
    (shard.parent / to).mkdir()
    (shard.parent / to / "x").write_bytes(B)
    shard.symlink_to(f"{to}/x")


def hub(path: Path) -> None:
    """The cache of the hub: the model's folder is a snapshot whose files are links into blobs two folders up."""
    blobs = path.parent.parent.parent / "blobs"
    blobs.mkdir()
    for name, data in (("1.safetensors", A), ("2.safetensors", B), (INDEX, index(BOTH))):
        (blobs / f"sha-{name[0]}").write_bytes(data)
        (path.parent / name).symlink_to(f"../../blobs/sha-{name[0]}")


def agreements() -> Iterator[Case]:
    """The index and the shards are held against each other."""
    yield case("a name that its shard lacks", "error", "where it is not", model(index(BOTH | {"ghost": "1.safetensors"})))
    yield case(
        "a name that the index lacks",
        "error",
        "which the index does not say",
        model(index(BOTH), one=packed({"a": entry(), "x": entry(begin=4, end=8)}, bytes(8))),
    )
    yield case("names the wrong way round", "error", "where it is not", model(index({"a": "2.safetensors", "b": "1.safetensors"})))
    yield case(
        "one name in two shards",
        "error",
        "which the index does not say",
        model(index(BOTH), two=packed({"a": entry(), "b": entry(begin=4, end=8)}, bytes(8))),
    )
    yield case("case twins that are not there", "error", "where it is not", model(index(BOTH | {"A": "1.safetensors"})))
    yield case("a name twice in the index", "error", "twice", model(b'{"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}}'))
    yield case("two weight maps", "error", "twice", model(b'{"weight_map": {}, "weight_map": {"a": "1.safetensors"}}'))
    yield case(
        "a key twice in the metadata",
        "error",
        "twice",
        model(b'{"metadata": {"x": 1, "x": 2}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'),
    )
    yield case("an index of nothing", "ok", "", model(index({})))
    yield case("an index without metadata", "ok", LISTED, model(json.dumps({"weight_map": BOTH}).encode()))
    yield case(
        "an index of another order", "ok", "b\tfloat32\t1\t1\t4\t\na\tfloat32", model(index({"b": "2.safetensors", "a": "1.safetensors"}))
    )
    for what, value in {
        "a list": [],
        "None": None,
        "text": "x",
        "a number": 1,
        "names of numbers": {"a": 1},
        "names of lists": {"a": ["1.safetensors"]},
        "names of None": {"a": None},
    }.items():
        yield case(f"a weight map that is {what}", "error", "weight_map", model(index(value)))
    for what, value in {"a list": [], "None": None, "text": "x", "a number": 1}.items():
        yield case(f"metadata that are {what}", "error", "metadata are no object", model(index(BOTH, metadata=value)))
    for what, number in NUMBERS:
        if len(number) < 99:  # what the index's own metadata say is not believed
            yield case(
                f"a total size of {what}", "ok", LISTED, model(index(BOTH).replace(b'"total_size": 8', f'"total_size": {number}'.encode()))
            )
    for what, text in {
        "no JSON": b'{"weight_map"',
        "NaN": b'{"weight_map": {}, "x": NaN}',
        "a list": b'["weight_map"]',
        "UTF-8 that is none": b'{"weight_map": {"\xff": "x"}}',
        "half a surrogate": b'{"weight_map": {"\\ud800": "1.safetensors"}}',
        "a nest": b'{"weight_map":' + b"[" * 200_000,
        "text behind": b'{"weight_map": {}} x',
        "10,000 digits": b'{"weight_map": {}, "x": ' + b"9" * 10_000 + b"}",
    }.items():
        yield case(f"an index of {what}", "error", "", model(text))
    for at in range(1, len(index(BOTH)), 9):
        yield case(f"an index cut after {at} bytes", "error", "", model(index(BOTH)[:at]))
    yield case(
        "100,000 shards that are not there", "error", "no such file", model(index({f"t{i}": f"{i}.safetensors" for i in range(100_000)}))
    )


def cases() -> Iterator[Case]:
    yield from names()
    yield from places()
    yield from agreements()
    yield Case("the cache of the hub", "ok", LISTED, hub, INDEX)
    yield Case(
        "a folder of two shards without an index",
        "error",
        "the folder holds several models",
        lambda path: (path.mkdir(), (path / "1.safetensors").write_bytes(A), (path / "2.safetensors").write_bytes(B)),
        "model",
    )
    yield Case(
        "an optimizer beside the model",
        "warning",
        "beside it lie optimizer.pt",
        lambda path: (
            path.mkdir(),
            (path / "model.safetensors").write_bytes(A),
            (path / "optimizer.pt").write_bytes(torch_zip(pickled({}))),
        ),
        "model",
    )
    yield Case(
        "a name of escapes beside the model",
        "warning",
        "beside it lie \\x1b[2J",
        lambda path: (path.mkdir(), (path / "model.safetensors").write_bytes(A), (path / "\x1b[2J\n.pt").write_bytes(b"x")),
        "model",
    )
