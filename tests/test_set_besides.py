"""What stands beside the tensors: set, made, replaced, dropped, in every format that holds it; each result read by another library."""

from __future__ import annotations

import argparse
import importlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy
import onnx_models
import pytest
import torch
from conftest import SAMPLES, Ckpt
from safetensors import safe_open
from safetensors.torch import save_file
from torch.distributed.checkpoint import save
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

CONFIG = {"lr": 0.5, "layers": [1, 2], "name": "run"}


def state() -> dict[str, Any]:
    return {"model": {"w": torch.ones(2, 3)}, "epoch": 3, "config": dict(CONFIG), "args": argparse.Namespace(lr=0.1)}


def arrays() -> dict[str, Any]:
    return {"model": {"w": numpy.ones((2, 3), "f4")}, "epoch": 3, "config": dict(CONFIG)}


def loaded(path: Path) -> Any:
    return torch.load(path, weights_only=False)


def unpickled(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(arrays(), protocol=4))


def paddle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": numpy.ones(2, "f4"), "epoch": 3, "config": dict(CONFIG)}, protocol=4))


def dcp(path: Path) -> None:
    with _quiet():
        save({"model": {"w": torch.ones(2, 3)}, "epoch": 3, "config": dict(CONFIG)}, checkpoint_id=str(path))


def _quiet() -> Any:
    import warnings

    context = warnings.catch_warnings()
    warnings.simplefilter("ignore")
    return context


def from_dcp(path: Path) -> Any:
    with _quiet():
        dcp_to_torch_save(str(path), str(path) + ".pt")
    return loaded(Path(str(path) + ".pt"))


def flax(path: Path) -> None:
    msgpack = importlib.import_module("pip._vendor.msgpack")
    array = msgpack.ExtType(1, msgpack.packb([[2], "float32", numpy.ones(2, "<f4").tobytes()], use_bin_type=True))
    path.write_bytes(msgpack.packb({"w": array, "epoch": 3, "config": dict(CONFIG)}, use_bin_type=True))


def from_flax(path: Path) -> Any:
    return importlib.import_module("pip._vendor.msgpack").unpackb(path.read_bytes(), raw=False, strict_map_key=False)


class Objects(NamedTuple):
    """A format that holds objects: how a file of it is made, and read by its own library."""

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], Any]


HOLD_OBJECTS = [
    Objects("zip.pt", lambda path: torch.save(state(), path), loaded),
    Objects("legacy.pt", lambda path: torch.save(state(), path, _use_new_zipfile_serialization=False), loaded),
    Objects("arrays.pkl", pickled, unpickled),
    Objects("paddle.pdparams", paddle, unpickled),
    Objects("folder.dcp", dcp, from_dcp),
    Objects("state.msgpack", flax, from_flax),
]  # fmt: skip

# What is asked for, and the change of what the library reads.
OBJECT_EDITS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "set": ("epoch = 10", lambda d: d.update(epoch=10)),
    "set-text": ('config.name = "a = b"', lambda d: d["config"].update(name="a = b")),
    "set-in-a-list": ("config.layers.1 = 7", lambda d: d["config"].update(layers=[1, 7])),
    "new-at-the-top": ("object:seed = 1.5", lambda d: d.update(seed=1.5)),
    "new-in-a-dict": ("object:config.seed = null", lambda d: d["config"].update(seed=None)),
    "new-is-there": ("object:epoch = 4", lambda d: d.update(epoch=4)),
    "end-of-a-list": ("object:config.layers.2 = 3", lambda d: d["config"].update(layers=[1, 2, 3])),
    "nested": ('object:extra = {"a": {"b": 1}}', lambda d: d.update(extra={"a": {"b": 1}})),
    "replaced": ('config = {"lr": 1, "deep": {"x": true}}', lambda d: d.update(config={"lr": 1, "deep": {"x": True}})),
    "by-null": ("config = null", lambda d: d.update(config=None)),
    "by-a-number": ("object:config = 5", lambda d: d.update(config=5)),
}


def plain(value: Any) -> Any:
    """What a library read, to be compared: arrays as lists, lists as Flax may keep them."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items() if not str(key).startswith("StructuredTo")}
    if isinstance(value, torch.Tensor | numpy.ndarray):
        return value.tolist()
    return vars(value) if isinstance(value, argparse.Namespace) else value


@pytest.mark.parametrize("edit", OBJECT_EDITS)
@pytest.mark.parametrize("kind", HOLD_OBJECTS, ids=lambda kind: kind.name)
def test_objects(ckpt: Ckpt, tmp_path: Path, kind: Objects, edit: str) -> None:
    path = tmp_path / kind.name
    kind.make(path)
    expected = plain(kind.read(path))
    assignment, change = OBJECT_EDITS[edit]
    change(expected)
    if kind.name == "folder.dcp" and "list" in edit:  # a list is one object there
        assert ckpt("set", path, assignment, "-i", status=2).err.count("\n") == 1
        assignment = f"config.layers = {json.dumps(expected['config']['layers'])}"
    told = ckpt("set", path, assignment, "-n").err
    assert " become" in told or "(new)" in told
    (tmp_path / "r.toml").write_text(ckpt("set", path, assignment, "--print-recipe").out)
    before = path.read_bytes() if path.is_file() else b""
    ckpt("set", path, assignment, "-i")
    assert plain(kind.read(path)) == expected
    if before:
        path.write_bytes(before)
        ckpt("apply", path, tmp_path / "r.toml", "-i")
        assert plain(kind.read(path)) == expected


@pytest.mark.parametrize("kind", HOLD_OBJECTS, ids=lambda kind: kind.name)
def test_objects_that_are_dropped(ckpt: Ckpt, tmp_path: Path, kind: Objects) -> None:
    path = tmp_path / kind.name
    kind.make(path)
    expected = plain(kind.read(path))
    ckpt("drop", path, "epoch", "config.lr", "-i")
    del expected["epoch"], expected["config"]["lr"]
    assert plain(kind.read(path)) == expected
    ckpt("drop", path, "config.*", "-i")
    del expected["config"]
    assert plain(kind.read(path)) == expected


@pytest.mark.parametrize("kind", HOLD_OBJECTS, ids=lambda kind: kind.name)
def test_a_typo_is_an_error_and_says_how_a_new_one_is_made(ckpt: Ckpt, tmp_path: Path, kind: Objects) -> None:
    path = tmp_path / kind.name
    kind.make(path)
    told = ckpt("set", path, "epohc = 10", "-i", status=2).err
    assert "nothing matches 'epohc' (did you mean epoch? 'object:epohc = 10' makes a new object)" in told
    assert "'object:config.seed = 3' makes a new object" in ckpt("set", path, "config.seed = 3", "-i", status=2).err


def gguf_file(path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.eps", 0.5)
    writer.add_string("general.name", "old")
    writer.add_tensor("w", numpy.ones((2, 4), "f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def from_gguf(path: Path) -> dict[str, Any]:
    fields = pytest.importorskip("gguf").GGUFReader(path).fields
    return {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["w"] = numpy.ones(2, "f4")
        file.attrs["note"], file.attrs["number"] = "old", 3


def onnx(path: Path) -> None:
    graph = onnx_models.graph(onnx_models.tensor("w", (2,)))
    path.write_bytes(onnx_models.model(graph, more=onnx_models.data(14, onnx_models.entry("note", "old"))))


def from_onnx(path: Path) -> dict[str, str]:
    """The metadata_props by a reader of a dozen lines: tags are bytes, lengths below 2^14."""
    raw, at, found = path.read_bytes(), 0, {}

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value

    while at < len(raw):
        tag = number()
        size = number()
        if tag & 7 == 2:
            if tag >> 3 == 14:
                key, value = raw[at + 2 : at + 2 + raw[at + 1]], raw[at + 4 + raw[at + 1] : at + size]
                found[key.decode()] = value.decode()
            at += size
    return found


def from_safetensors(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def from_hdf5(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return dict(file.attrs)


HOLD_METADATA = [
    Objects("a.safetensors", lambda path: save_file({"w": torch.ones(2)}, path, {"note": "old"}), from_safetensors),
    Objects("a.gguf", gguf_file, from_gguf),
    Objects("a.h5", hdf5, from_hdf5),
    Objects("a.onnx", onnx, from_onnx),
]


@pytest.mark.parametrize("kind", HOLD_METADATA, ids=lambda kind: kind.name)
def test_metadata(ckpt: Ckpt, tmp_path: Path, kind: Objects) -> None:
    path = tmp_path / kind.name
    kind.make(path)
    expected = kind.read(path)
    key = "general.name" if kind.name == "a.gguf" else "note"
    for assignment, entry in (
        (f"metadata:{key} = newer and longer", (key, "newer and longer")),
        (f'{key} = "é"', (key, "é")),
        ('metadata:author = "me"', ("author", "me")),
        ('metadata:a "b" = x = y', ('a "b"', "x = y")),
        ("author = you", ("author", "you")),
    ):
        told = ckpt("set", path, assignment, "-n").err
        assert " becomes " in told or "(new)" in told
        ckpt("set", path, assignment, "-i")
        expected[entry[0]] = entry[1]
        assert kind.read(path) == expected
    assert f"metadata {key}: 'é' is dropped" in ckpt("drop", path, f"metadata:{key}", "-n").err
    recipe = ckpt("drop", path, f"metadata:{key}", "--print-recipe").out
    (tmp_path / "r.toml").write_text(recipe)
    ckpt("apply", path, tmp_path / "r.toml", "-i")
    del expected[key]
    assert kind.read(path) == expected
    assert "did you mean author" in ckpt("drop", path, "metadata:autor", "-i", status=2).err
    ckpt("drop", path, "metadata:a*", "-i")
    assert kind.read(path) == {each: text for each, text in expected.items() if not each.startswith("a")}
    assert ckpt("ls", path).rows[0][0] == "w"
    assert "valid Unicode" in ckpt("set", path, "metadata:\udcff = 1", "-i", status=2).err.replace(
        "surrogates not allowed", "valid Unicode"
    )


def test_metadata_and_values_of_onnx_change_in_one_edit(ckpt: Ckpt, tmp_path: Path) -> None:
    onnx(tmp_path / "a.onnx")
    ckpt("set", tmp_path / "a.onnx", "w[1] = 5", "metadata:note = new", "metadata:other = 1", "-o", tmp_path / "b.onnx")
    assert from_onnx(tmp_path / "b.onnx") == {"note": "new", "other": "1"}
    assert json.loads(ckpt("get", tmp_path / "b.onnx", "w", "--json").out)["values"] == [0, 5]
    told = ckpt("set", tmp_path / "a.onnx", "metadata:ir_version = 3", "-i", status=2).err
    assert "ir_version is a field of the model, not of its metadata" in told


def test_new_entries_of_gguf_have_types(ckpt: Ckpt, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    gguf_file(tmp_path / "a.gguf")
    typed = {
        "a": ("7", "UINT32", 7),
        "b": ("-7", "INT32", -7),
        "c": ("0.25", "FLOAT32", 0.25),
        "d": ("true", "BOOL", True),
        "e": ('"7"', "STRING", "7"),
        "f": ("5000000000", "UINT64", 5_000_000_000),
        "g": ("x7", "STRING", "x7"),
        "h": ("1e3", "FLOAT32", 1000),
    }
    ckpt("set", tmp_path / "a.gguf", *(f"metadata:{key} = {text}" for key, (text, _, _) in typed.items()), "metadata:a = 8", "-i")
    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields
    typed["a"] = ("8", "UINT32", 8)
    assert {key: (fields[key].types[0].name, fields[key].contents()) for key in typed} == {key: each[1:] for key, each in typed.items()}
    assert "uint32 and cannot hold 'x'" in ckpt("set", tmp_path / "a.gguf", "llama.block_count = x", "-i", status=2).err
    assert "uint32 and cannot hold '-1'" in ckpt("set", tmp_path / "a.gguf", "llama.block_count = -1", "-i", status=2).err


def test_metadata_of_shards_are_those_of_each(ckpt: Ckpt, tmp_path: Path) -> None:
    save_file({f"t{k}": torch.ones(8) for k in range(4)}, tmp_path / "a.safetensors", {"format": "pt"})
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "m" / "model.safetensors.index.json", "--shard-size", "40B", status=None)
    if not (tmp_path / "m").exists():
        (tmp_path / "m").mkdir()
        ckpt("convert", tmp_path / "a.safetensors", tmp_path / "m" / "model.safetensors.index.json", "--shard-size", "40B")
    shards = sorted((tmp_path / "m").glob("*.safetensors"))
    ckpt("set", tmp_path / "m", "metadata:author = me", "-i")
    assert len(shards) > 1 and all(from_safetensors(shard) == {"format": "pt", "author": "me"} for shard in shards)
    ckpt("drop", tmp_path / "m", "metadata:author", "t0", "-i")
    assert all(from_safetensors(shard) == {"format": "pt"} for shard in sorted((tmp_path / "m").glob("*.safetensors")))


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("object: = 3", "is no path of an object"),
        ("object:a. = 3", "is no path of an object"),
        ("object:x = [1", "is no JSON"),
        ("object:x = ten", "is no JSON"),
        ("object:x = " + "[" * 100_000, "is no JSON"),
        ("object:x = " + "[" * 500 + "]" * 500, "holds containers in one another over 100 times"),
        ("object:model = 3", "model holds tensors, and no object takes its place"),
        ("object:model.w = 3", "model.w is a tensor, and no object takes its place"),
        ("object:model.w.x = 3", "model.w is a tensor, and holds no objects"),
        ("object:epoch.x = 3", "epoch is 3, into which nothing is put (replace it: 'epoch = …')"),
        ("object:config.layers.9 = 3", "config.layers is a list of 2, and a new entry goes to its end (call it config.layers.2)"),
        ("object:config.layers.x = 3", "config.layers is a list of 2"),
        ("metadata:author = me", "torch has no metadata that can be edited ('object:KEY = …' makes an object)"),
        ("config = 3", "config holds 4 entries, and 3 is one value (assign to one of them: 'config.lr = …', or to all: 'config = {…}')"),
        ("model = 3", "nothing matches 'model' (did you mean 'model.*'?)"),
        ("config += 1", "config is no tensor"),
        ("config.layers = nan nan", "is no JSON"),
    ],
)
def test_what_makes_no_sense_is_one_line(ckpt: Ckpt, tmp_path: Path, assignment: str, told: str) -> None:
    path = tmp_path / "a.pt"
    torch.save(state(), path)
    before = path.read_bytes()
    for where in ("-i", "-n"):
        error = ckpt("set", path, assignment, where, status=2).err
        assert told in error and len(error) < 400
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["mlp.npz", "mlp.params", "mlp.safetensors", "mlp.keras", "shared-mlp.torchscript", "conv.onnx", "fortran.npy"]
)
def test_a_format_without_a_place_for_objects_says_so(ckpt: Ckpt, name: str) -> None:
    told = ckpt("set", SAMPLES / name, "object:epoch = 3", "-n", status=2).err
    assert "takes no objects besides tensors" in told


@pytest.mark.parametrize(
    "name", ["mlp.npz", "mlp.params", "mlp.keras", "tensorflow", "mlp.dcp", "train-state.msgpack", "checkpoint.pdz", "mlp.pkl"]
)
def test_a_format_without_metadata_says_so(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    assert "has no metadata that can be edited" in ckpt("set", SAMPLES / name, "metadata:a = b", "-n", status=2).err
    assert "has no metadata that can be edited" in ckpt("drop", SAMPLES / name, "metadata:a", "-n", status=2).err


def test_several_assignments_see_each_other(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(state(), path)
    edits = ['config = {"a": [1]}', "config.a.0 = 2", "object:config.b = 3", "object:config.a.1 = 4", "object:new = {}", "object:new.x = 5"]
    ckpt("set", path, *edits, "object:args.seed = 1", "-i")
    found = loaded(path)
    assert found["config"] == {"a": [2, 4], "b": 3} and found["new"] == {"x": 5} and vars(found["args"]) == {"lr": 0.1, "seed": 1}


def test_a_shard_of_torch_has_no_metadata(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00001.bin")
    index = {"metadata": {"total_size": 8}, "weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    told = ckpt("set", tmp_path / "pytorch_model.bin.index.json", "metadata:x = y", "-i", status=2).err
    assert "torch shards have no metadata" in told
