"""Orbax's folders: what is odd and right, what is broken, what is meant to deceive. `build` makes folders of any arrays of zarr."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from judge import Case

SAMPLE = Path(__file__).resolve().parents[2] / "sample_models" / "orbax"


class Made(NamedTuple):
    """An array: its header (of version 2 or 3), what its keys hold, what the tree says it is."""

    header: Any
    chunks: dict[str, bytes]
    kind: str = "jax.Array"


def version_2(shape: Any = (1,), chunks: Any = (1,), dtype: Any = "<f4", data: dict[str, bytes] | None = None, **more: Any) -> Made:
    header = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": dtype, "compressor": None, "fill_value": None}
    header |= {"order": "C", "filters": None, "dimension_separator": "."} | more
    return Made(header, {"0": bytes(4)} if data is None else data)


def version_3(shape: Any = (1,), chunks: Any = (1,), dtype: Any = "float32", data: dict[str, bytes] | None = None, **more: Any) -> Made:
    header = {"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": dtype, "fill_value": 0}
    header |= {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}, "chunk_key_encoding": {"name": "default"}}
    header |= {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]} | more
    return Made(header, {"c/0": bytes(4)} if data is None else data)


def sharded(index: bytes, *, parts: Any = (1,), location: str = "end") -> Made:
    inner = [{"name": "bytes", "configuration": {"endian": "little"}}]
    settings = {"chunk_shape": parts, "codecs": inner, "index_codecs": [*inner, {"name": "crc32c"}], "index_location": location}
    return version_3(codecs=[{"name": "sharding_indexed", "configuration": settings}], data={"c/0": index})


def tree(arrays: dict[tuple[str, ...], Made]) -> dict[str, Any]:
    """_METADATA, as Orbax writes it."""
    entries = {
        str(path): {
            "key_metadata": [{"key": key, "key_type": 2} for key in path],
            "value_metadata": {"value_type": made.kind, "skip_deserialize": False},
        }
        for path, made in arrays.items()
    }
    return {"tree_metadata": entries, "use_ocdbt": False, "use_zarr3": False}


def build(arrays: dict[Any, Made]) -> Callable[[Path], None]:
    def made(path: Path) -> None:
        named = {key if isinstance(key, tuple) else (key,): value for key, value in arrays.items()}
        path.write_text(json.dumps(tree(named)))
        for keys, array in named.items():
            folder = path.parent / ".".join(keys)
            if array.header is None or ".." in folder.parts or os.path.isabs(".".join(keys)):
                continue
            folder.mkdir(parents=True)
            version = array.header.get("zarr_format") if isinstance(array.header, dict) else 2
            header = array.header if isinstance(array.header, str) else json.dumps(array.header)
            (folder / ("zarr.json" if version == 3 else ".zarray")).write_text(header)
            for key, data in array.chunks.items():
                (folder / key).parent.mkdir(parents=True, exist_ok=True)
                (folder / key).write_bytes(data)

    return made


def linked(what: str) -> Callable[[Path], None]:
    """An array of which a part is a link that leads out of the folder."""

    def made(path: Path) -> None:
        build({"a": version_2()})(path)
        (path.parent.parent / "secret").mkdir()
        target = path.parent / what
        target.rename(path.parent.parent / "secret" / target.name)
        target.symlink_to(path.parent.parent / "secret" / target.name)

    return made


def database(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """The sample, with something done to it."""

    def made(path: Path) -> None:
        shutil.copytree(SAMPLE, path.parent, dirs_exist_ok=True)
        change(path.parent)

    return made


def cut(name: str, count: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next(folder.glob(name))
        path.write_bytes(path.read_bytes()[:count])

    return change


def spoilt(name: str, at: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next(folder.glob(name))
        raw = bytearray(path.read_bytes())
        raw[at] ^= 1
        path.write_bytes(raw)

    return change


def accepted() -> Iterator[tuple[str, str, Any]]:
    yield "one array", "a\tfloat32\t1\t1\t4\t\n", build({"a": version_2()})
    yield "version 3", "a\tfloat32\t1\t1\t4\t\n", build({"a": version_3()})
    yield "a path of keys", "a.b.c\tfloat32", build({("a", "b", "c"): version_2()})
    yield "a slash in a key", "a/b\tfloat32", build({"a/b": version_2()})
    yield "an empty array of huge axes", f"a\tfloat32\t{2**62}x0", build({"a": version_2((2**62, 0), (1, 1), data={})})
    yield "a chunk that is larger than the array", "a\tfloat32\t1\t1\t4", build({"a": version_2((1,), (4,), data={"0": bytes(16)})})
    yield "an exabyte that is not there", f"a\tfloat32\t{2**58}", build({"a": version_2((2**58,), (2**58,), data={})})
    yield "a type of less than a byte", "a\tint4\t4\t4\t4", build({"a": version_3((4,), (4,), "int4")})
    yield "an unknown type of leaf", "a\tfloat32", build({"a": version_2()._replace(kind="jax_array_of_tomorrow")})
    yield "no arrays", "", build({})
    yield "a database", "params.Dense_1.kernel\tfloat32\t20x24", database(lambda folder: None)


def rejected() -> Iterator[tuple[str, str, Any]]:
    yield "a tree that is a list", "tree_metadata is no JSON object", lambda path: path.write_text('{"tree_metadata": []}')
    yield "a tree that is cut", "JSON header is broken", lambda path: path.write_text('{"tree_metadata": {')
    yield "a tree with a key twice", "the key 'a' twice", lambda path: path.write_text('{"tree_metadata": {"a": 1, "a": 2}}')
    yield "an entry that says nothing", "does not say its keys", lambda path: path.write_text('{"tree_metadata": {"a": {}}}')
    yield "an array that is not there", "a: the array is not in the folder", build({"a": Made(None, {})})
    yield "a name that leads up", "no plain path", build({"../a": version_2()})
    yield "a name that is absolute", "no plain path", build({"/etc/passwd": version_2()})
    yield "a name with a NUL", "no plain path", build({"a\0b": Made(None, {})})
    yield "two arrays of one name", "two tensors go by the same path", twins
    yield "a header that is a link", "leads out of the folder", linked("a/.zarray")
    yield "a folder that is a link", "leads out of the folder", linked("a")
    yield "a header that is a FIFO", "a FIFO, not a file", fifo
    yield "a header that is a number", "does not say what an array is", build({"a": Made("7", {})})
    yield "a header without a shape", "does not say what an array is", build({"a": Made({"zarr_format": 2}, {})})
    yield "a negative axis", "no list of integers", build({"a": version_2((-1,))})
    yield "a true axis", "no list of integers", build({"a": version_2((True,))})
    yield "an axis beyond 64 bits", "no list of integers", build({"a": version_2((2**64,))})
    yield "a chunk of nothing", "no list of integers", build({"a": version_2((1,), (0,))})
    yield "chunks of another rank", "do not agree", build({"a": version_2((1,), (1, 1))})
    yield "Fortran's order", "no plain zarr array", build({"a": version_2(order="F")})
    yield "filters", "no plain zarr array", build({"a": version_2(filters=[{"id": "delta"}])})
    yield "an unknown dtype", "its dtype '<U3' is not known", build({"a": version_2(dtype="<U3")})
    yield "a structured dtype", "its dtype is no text", build({"a": version_2(dtype=[["a", "<f4"]])})
    yield "an unknown compression", "its compression 'blosc' is not known", build({"a": version_2(compressor={"id": "blosc"})})
    yield "an unknown codec", "its codecs are not known", build({"a": version_3(codecs=[{"name": "transpose"}, {"name": "bytes"}])})
    yield "a chunk grid that is irregular", "no plain zarr array", build({"a": version_3(chunk_grid={"name": "rectangular"})})
    yield "a manifest that is cut", "does not begin as it should", database(cut("manifest.ocdbt", 60))
    yield "a manifest of nothing", "the manifest of 0 bytes", database(cut("manifest.ocdbt", 0))
    yield "a manifest of which a bit is changed", "CRC-32C of the manifest", database(spoilt("manifest.ocdbt", 50))
    yield "a node of which a bit is changed", "CRC-32C of a node", database(spoilt("d/*", 60))
    yield "a node that is cut", "bytes of a data file are missing", database(cut("d/*", 100))
    yield "a data file that is missing", "is missing", database(lambda folder: next(folder.glob("d/*")).unlink())


def twins(path: Path) -> None:
    build({("a", "b"): version_2()})(path)
    document = json.loads(path.read_text())
    document["tree_metadata"]["again"] = next(iter(document["tree_metadata"].values()))
    path.write_text(json.dumps(document))


def fifo(path: Path) -> None:
    build({"a": version_2()})(path)
    (path.parent / "a" / ".zarray").unlink()
    os.mkfifo(path.parent / "a" / ".zarray")


def cases() -> Iterator[Case]:
    for name, says, content in accepted():
        yield Case(name, "ok", says, content, "_METADATA")
    for name, says, content in rejected():
        yield Case(name, "error", says, content, "_METADATA")
