"""torch.distributed.checkpoint: metadata that lie about files, offsets, chunks and classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from judge import Case
from pickles import Raw, built, call, enc, name, pickled, storage, tensor
from zips import torch_zip

META = "torch.distributed.checkpoint.metadata"
ITEM = torch_zip(pickled(tensor()))
LISTED = "w\tfloat32\t2x2\t4\t16\t"
SIZE = len(ITEM)
Build = Callable[[Path], object]


def made(cls: str, state: Any, module: str = META) -> Raw:
    return built(name(module, cls), state)


def size(*shape: Any) -> Raw:
    return call(name("torch", "Size"), shape)


def chunk(offsets: Any = (0, 0), sizes: Any = (2, 2)) -> Raw:
    return made("ChunkStorageMetadata", {"offsets": size(*offsets), "sizes": size(*sizes)})


def entry(shape: Any = (2, 2), chunks: Any = None, dtype: Raw | None = None) -> Raw:
    properties = built(name(META, "TensorProperties"), (dtype or name("torch", "float32"), 0, False, 0, False))
    facts = {"properties": properties, "size": size(*shape), "chunks": [chunk()] if chunks is None else chunks}
    return made("TensorStorageMetadata", facts)


def index(fqn: Any = "w", offset: Any = (0, 0)) -> Raw:
    return made("MetadataIndex", {"fqn": fqn, "index": 0} | ({} if offset is None else {"offset": size(*offset)}))


def place(path: Any = "__0_0.distcp", offset: Any = 0, length: Any = SIZE, **more: Any) -> Raw:
    facts = {"relative_path": path, "offset": offset, "length": length} | more
    return made("_StorageInfo", facts, "torch.distributed.checkpoint.filesystem")


def metadata(entries: Any = None, places: Any = None, **more: Any) -> bytes:
    told = pairs([("w", entry())] if entries is None else entries) if not isinstance(entries, Raw) else entries
    where = pairs([(index(), place())] if places is None else places) if not isinstance(places, Raw) else places
    facts = {"state_dict_metadata": told, "storage_data": where, "planner_data": {"w": ("w",)}, "version": "1.0.0"} | more
    return pickled(made("Metadata", facts))


def pairs(items: list[tuple[Any, Any]]) -> Raw:
    return Raw(b"}(" + b"".join(enc(key) + enc(value) for key, value in items) + b"u")


def folder(document: bytes, item: bytes | None = ITEM, more: Build | None = None) -> Build:
    def build(path: Path) -> None:
        path.write_bytes(document)
        if item is not None:
            (path.parent / "__0_0.distcp").write_bytes(item)
        if more:
            more(path.parent)

    return build


def case(what: str, gives: str, says: str, build: Build, values: str = "") -> Case:
    return Case(what, gives, says, build, ".metadata", values)


def cases() -> Iterator[Case]:
    yield case("one tensor", "ok", LISTED, folder(metadata()))
    yield from files()
    yield from chunks()
    yield from parts()


def files() -> Iterator[Case]:
    """A file's name is that of one beside the metadata."""
    for path in ["../x", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "http://x/y", "x\0", "./__0_0.distcp", "\ud800"]:
        yield case(f"the file {path!r}", "error", "no plain file name", folder(metadata(places=[(index(), place(path))])))
    for path in ["~", "$HOME", "*", "`id`", "|touch canary", "--help", "-", "x" * 300, "\x1b[2J", "a\nb", "C:x"]:
        yield case(f"the file {path[:20]!r}", "error", "", folder(metadata(places=[(index(), place(path))])))
    yield case("no file", "error", "no such file", folder(metadata(), None))
    yield case("a folder instead of the file", "error", "", folder(metadata(), None, lambda at: (at / "__0_0.distcp").mkdir()))
    yield case("a FIFO instead of the file", "error", "FIFO", folder(metadata(), None, lambda at: os.mkfifo(at / "__0_0.distcp")))
    yield case("a link to a device", "error", "", folder(metadata(), None, lambda at: os.symlink("/dev/zero", at / "__0_0.distcp")))
    yield case(
        "a link that leads out", "error", "leads out", folder(metadata(), None, lambda at: os.symlink("/etc/passwd", at / "__0_0.distcp"))
    )
    for what, at, nbytes in [("beyond", 0, len(ITEM) + 1), ("far beyond", 2**62, 4), ("before", -1, 9), ("less than nothing", 0, -4)]:
        yield case(f"an item {what} the file", "error", "truncated", folder(metadata(places=[(index(), place(offset=at, length=nbytes))])))
    for what, at in [("True", True), ("a float", 0.0), ("None", None)]:
        yield case(f"an offset that is {what}", "error", "two integers", folder(metadata(places=[(index(), place(offset=at))])))
    compressed = place(transform_descriptors=["stream.zstd"])
    yield case("a compressed stream", "error", "extension", folder(metadata(places=[(index(), compressed)])))
    yield case("a stream through no extension", "ok", LISTED, folder(metadata(places=[(index(), place(transform_descriptors=[]))])))


def chunks() -> Iterator[Case]:
    """Chunks tile their tensor."""

    def of(*boxes: tuple[Any, Any], shape: Any = (4, 4)) -> Build:
        def build(path: Path) -> None:  # when it is asked for: some have very many boxes
            told = [("w", entry(shape, [chunk(*box) for box in boxes]))]
            places = [(index(offset=offset), place()) for offset in dict.fromkeys(offset for offset, _ in boxes)]
            folder(metadata(told, places))(path)

        return build

    halves = ((0, 0), (2, 4)), ((2, 0), (2, 4))
    yield case("two halves", "ok", "w\tfloat32\t4x4\t16\t64\t", of(*halves), "the metadata say that a chunk is 2x4")
    yield case("a pinwheel", "ok", "w\tfloat32\t3x3", of(*PINWHEEL, shape=(3, 3)), "the metadata say")
    yield case("an empty chunk beside", "ok", "w\tfloat32\t4x4", of(*halves, ((4, 0), (0, 4))), "the metadata say")
    yield case("a hole", "error", "leave out 8 of 16", of(halves[0]))
    yield case("one chunk twice", "error", "overlap", of(halves[0], halves[0]))
    yield case("an overlap and a hole", "error", "overlap", of(((0, 0), (2, 4)), ((1, 0), (2, 4))))
    yield case("too many elements", "error", "overlap", of(*halves, ((1, 1), (1, 1))))
    yield case("a chunk outside", "error", "lies outside", of(halves[0], ((3, 0), (2, 4))))
    yield case("a chunk of other dimensions", "error", "lies outside", of(((0,), (16,))))
    yield case("an exabyte in one chunk", "ok", "w\tfloat32\t1152921504606846976", of(((0,), (2**60,)), shape=(2**60,)), "the metadata say")
    yield case("no chunk", "error", "leave out 16", of())
    many = [((i, 0), (1, 1)) for i in range(30_000)]
    yield case("30,000 chunks in a row", "ok", "w\tfloat32\t30000x1", of(*many, shape=(30_000, 1)), "the metadata say")
    crossed = [((0, i), (2, 1)) if i % 2 else ((0, i), (1, 1)) for i in range(20_000)]
    yield case("20,000 chunks side by side, one lacking", "error", "leave out", of(*crossed[1:], shape=(2, 20_000)))
    yield case("no place for the chunk", "error", "do not say where", folder(metadata(places=[(index(offset=(1, 1)), place())])))
    yield case("two places for it", "error", "two places", folder(metadata(places=[(index(), place()), (index(), place())])))


PINWHEEL = (((0, 0), (1, 2)), ((0, 2), (2, 1)), ((2, 1), (1, 2)), ((1, 0), (2, 1)), ((1, 1), (1, 1)))


def parts() -> Iterator[Case]:
    """What the metadata are made of, and what the items hold."""
    evil = call(name("posix", "system"), "touch canary")
    yield case("a call beside", "ok", LISTED, folder(metadata(storage_meta=evil)))
    yield case("a call as the planner's data", "ok", LISTED, folder(metadata(planner_data=evil)))
    yield case("a call in place of the tensors", "error", "state_dict_metadata is no dict", folder(metadata(Raw(evil))))
    yield case("a call in place of a tensor", "error", "TensorStorageMetadata", folder(metadata([("w", evil)])))
    yield case("a name twice", "error", "twice", folder(metadata([("w", entry()), ("w", entry())])))
    yield case("a name that is a number", "error", "no string", folder(metadata([(7, entry())])))
    yield case("a dtype that is not torch's", "error", "not known", folder(metadata([("w", entry(dtype=name("torch", "load")))])))
    for shape in [(-1, 2), (True, 2), (2.0, 2), (2**64, 1), ("2", 2)]:
        yield case(f"a shape of {shape}", "error", "no list of integers", folder(metadata([("w", entry(shape))])))
    yield case("65 dimensions", "error", "no list of integers", folder(metadata([("w", entry((1,) * 65))])))
    yield case("metadata that are cut", "error", "truncated", folder(metadata()[:-20]))
    yield case("no storage data", "error", "storage_data", folder(metadata(places=Raw(b"N"))))
    yield case("another class", "error", "no Metadata", folder(pickled((META, 1), 4)))
    objects = [("w", entry()), ("epoch", made("BytesStorageMetadata", {}))]
    where = [(index(), place()), (index("epoch", None), place(offset=0, length=len(ITEM)))]
    yield case("an object that is a tensor", "ok", LISTED, folder(metadata(objects, where)))
    for what, item, says in [
        ("an item that is no zip", b"x" * len(ITEM), "the end of the zip is missing"),
        ("an item that is cut", ITEM[:-30] + bytes(30), "the end of the zip is missing"),
        ("an item of another dtype", torch_zip(pickled(tensor(storage("IntStorage")))), "the metadata say"),
        ("an item of another shape", torch_zip(pickled(tensor(shape=(4,), strides=(1,)))), "the metadata say"),
        ("an item that is no tensor", torch_zip(pickled(evil)), "the metadata say"),
        ("an item that reaches out of its storage", torch_zip(pickled(tensor(strides=(9, 1)))), "outside of its storage"),
    ]:
        document = metadata(places=[(index(), place(length=len(item)))])
        yield case(what, "ok", LISTED, folder(document, item), says)
