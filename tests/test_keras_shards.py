"""Keras' sharded weights: X.weights.json with its .weights.h5 files is one checkpoint, read, edited and written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import SAMPLES, Ckpt

# A model of three layers; the second one lies in two files, as Keras divides it where its kernel fills a shard.
VALUES = {f"layers/{layer}/vars/{number}": np.full((4, 3) if number == 0 else 3, 10 * place + number, "f4")
          for place, layer in enumerate(("dense", "dense_1", "dense_2")) for number in (0, 1)}  # fmt: skip
FILES = [["layers/dense/vars/0", "layers/dense/vars/1", "layers/dense_1/vars/0"], ["layers/dense_1/vars/1"],
         ["layers/dense_2/vars/0", "layers/dense_2/vars/1"]]  # fmt: skip


def written(folder: Path, stem: str = "model", as_text: bool = False) -> Path:
    """An index and its files, as ShardedH5IOStore of Keras writes them; since 3.11 a group in one file has its name, not a list."""
    folder.mkdir(exist_ok=True)
    weight_map: dict[str, Any] = {}
    for number, names in enumerate(FILES):
        file_name = f"{stem}_{number:05}.weights.h5"
        with h5py.File(folder / file_name, "w") as file:
            if number == 0:
                file.create_group("vars").attrs["name"] = "net"
            for name in names:
                file[name] = VALUES[name]
                group = name.rpartition("/")[0]
                weight_map[f"/{group}"] = list(dict.fromkeys([*weight_map.get(f"/{group}", []), file_name]))
    if as_text:
        weight_map = {group: files[0] if len(files) == 1 else files for group, files in weight_map.items()}
    index = folder / f"{stem}.weights.json"
    index.write_text(json.dumps({"metadata": {"total_size": 180.0}, "weight_map": weight_map}, indent=4))
    return index


def by_map(index: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The values as Keras finds them: each group in the files that the map names. The first file is opened by the index's name."""
    found = {}
    assert (index.parent / f"{index.name.removesuffix('.weights.json')}_00000.weights.h5").is_file()
    for group, files in json.loads(index.read_text())["weight_map"].items():
        for name in files:
            with h5py.File(index.parent / name) as file:
                assert len(file[group]), "Keras counts what is there"
                found.update({f"{group[1:]}/{key}": value[()] for key, value in file[group].items()})
    return found


def same(one: dict[str, np.ndarray[Any, Any]], two: dict[str, np.ndarray[Any, Any]]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) and one[name].dtype == two[name].dtype for name in one)


@pytest.mark.parametrize("as_text", [False, True])
def test_the_index_and_its_folder_open_as_one(as_text: bool, tmp_path: Path, ckpt: Ckpt) -> None:
    index = written(tmp_path / "model", as_text=as_text)
    for path in (index, index.parent):
        said = ckpt("ls", path)
        assert [row[0] for row in said.rows] == list(VALUES) and said.err == ""
    assert ckpt("ls", index, "--json").json["format"] == "keras-shards"
    assert [row[1] for row in ckpt("summary", index).rows if row[0] == "layer"] == ["", "dense", "dense_1", "dense_2"]
    ckpt("check", index)


def test_the_reported_files(case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    """keras-hub#2084."""
    folder = case("reports/keras-shards/model")
    right = folder.parent / "right.weights.h5"
    assert ckpt("diff", folder, right).out == "" and len(ckpt("ls", folder / "model.weights.json").rows) == 6
    assert ckpt("hash", folder).rows[-1][0] == ckpt("hash", right).rows[-1][0]
    ckpt("convert", folder, tmp_path / "one.weights.h5")
    with h5py.File(tmp_path / "one.weights.h5") as one, h5py.File(right) as two:
        names: dict[str, list[str]] = {"one": [], "two": []}
        one.visit(names["one"].append)
        two.visit(names["two"].append)
        assert names["one"] == names["two"]
        assert all(dict(one[name].attrs) == dict(two[name].attrs) for name in names["one"])


def test_one_shard_says_which_it_is(tmp_path: Path, ckpt: Ckpt) -> None:
    index = written(tmp_path / "model")
    said = ckpt("ls", index.parent / "model_00001.weights.h5")
    assert "part 2 of 3" in said.err and [row[0] for row in said.rows] == FILES[1]
    (alone := tmp_path / "alone").mkdir()
    shutil.copy(index.parent / "model_00001.weights.h5", alone)
    assert ckpt("ls", alone / "model_00001.weights.h5").err == ""


@pytest.mark.parametrize("where", ["in place", "elsewhere"])
def test_an_edit_goes_to_the_shard_it_falls_on(where: str, tmp_path: Path, ckpt: Ckpt) -> None:
    index = written(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in index.parent.iterdir()}
    out = index if where == "in place" else tmp_path / "out.weights.json"
    arguments = ["set", index, "layers/dense_1/vars/1[0] = 9", "layers/dense_2/vars/0 = 1"]
    ckpt(*arguments, *(["-i"] if where == "in place" else ["-o", out]))
    want = VALUES | {"layers/dense_1/vars/1": np.array([9, 11, 11], "f4"), "layers/dense_2/vars/0": np.ones((4, 3), "f4")}
    assert same(by_map(out), want) and not list(index.parent.glob("*ckpt*"))
    if where == "in place":
        changed = {name for name, raw in before.items() if (index.parent / name).read_bytes() != raw}
        assert changed == {"model_00001.weights.h5", "model_00002.weights.h5"}
    else:
        assert {path.name for path in tmp_path.glob("out*")} == {out.name, *(f"out_0000{number}.weights.h5" for number in range(3))}


def test_names_may_change_and_shards_may_go(tmp_path: Path, ckpt: Ckpt) -> None:
    index = written(tmp_path / "model")
    ckpt("rename", index, "layers/dense_2/*=layers/head/*", "-i")
    want = {name.replace("dense_2", "head"): value for name, value in VALUES.items()}
    assert same(by_map(index), want)
    ckpt("drop", index, "layers/head/*", "-i")
    assert not (index.parent / "model_00002.weights.h5").exists() and len(by_map(index)) == 4
    assert json.loads(index.read_text())["metadata"]["total_size"] == 120
    ckpt("drop", index, *FILES[0], "-i")
    assert list(by_map(index)) == FILES[1] and len(ckpt("ls", index).rows) == 1


@pytest.mark.parametrize("size", ["50B", "100B", "1GB"])
def test_shards_of_any_size_are_written(size: str, tmp_path: Path, ckpt: Ckpt) -> None:
    index = written(tmp_path / "model")
    ckpt("convert", index, tmp_path / "one.weights.h5")
    ckpt("convert", tmp_path / "one.weights.h5", tmp_path / "new.weights.json", "--shard-size", size)
    assert same(by_map(tmp_path / "new.weights.json"), VALUES)
    assert len(list(tmp_path.glob("new_*"))) == {"50B": 6, "100B": 3, "1GB": 1}[size]
    for file in tmp_path.glob("new_*"):
        with h5py.File(file) as opened:
            held = [opened[name].nbytes for name in VALUES if name in opened]
            assert sum(held) <= {"50B": 50, "100B": 100, "1GB": 1_000_000_000}[size]
    ckpt("diff", index, tmp_path / "new.weights.json")
    ckpt("convert", SAMPLES / "mlp.pt", tmp_path / "torch.weights.json", "--map", "torch-to-keras")
    ckpt("diff", SAMPLES / "mlp.pt", tmp_path / "torch.weights.json", "--map", "torch-to-keras")


def broken(index: Path, how: str) -> None:
    document = json.loads(index.read_text())
    shard, group = index.parent / "model_00001.weights.h5", "/layers/dense_1/vars"
    match how:
        case "a shard is missing":
            shard.unlink()
        case "a shard is no HDF5":
            shard.write_bytes(b"x" * 1000)
        case "a shard is cut":
            shard.write_bytes(shard.read_bytes()[:-100])
        case "the map names too few":
            document["weight_map"][group] = ["model_00000.weights.h5"]
        case "the map lacks a file's group":
            document["weight_map"] = {"/layers/dense/vars": document["weight_map"]["/layers/dense/vars"]}
        case "the map names too many":
            document["weight_map"]["/layers/dense/vars"].append("model_00002.weights.h5")
        case "a path leads out":
            document["weight_map"]["/layers/dense/vars"] = ["../model_00000.weights.h5"]
        case "a link leads out":
            shutil.move(shard, index.parent.parent / "elsewhere.h5")
            shard.symlink_to(index.parent.parent / "elsewhere.h5")
        case "a file is a number":
            document["weight_map"][group] = ["model_00000.weights.h5", 7]
        case "a file is a pipe":
            import os

            shard.unlink()
            os.mkfifo(shard)
        case "one dataset is in two files":
            with h5py.File(shard, "a") as file:
                file["layers/dense_1/vars/0"] = np.zeros((4, 3), "f4")
        case "metadata are a list":
            document["metadata"] = [1]
    index.write_text(json.dumps(document))


BROKEN = {
    "a shard is missing": "model_00001.weights.h5",
    "a shard is no HDF5": "no HDF5 file",
    "a shard is cut": "truncated",
    "the map names too few": "they hold 168",
    "the map lacks a file's group": "the index does not say",
    "the map names too many": "where none are",
    "a path leads out": "no plain file name",
    "a link leads out": "leads out of the folder",
    "a file is a number": "does not say which files",
    "a file is a pipe": "a FIFO, not a file",
    "one dataset is in two files": "another shard",
    "metadata are a list": "not both objects",
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_wrong_is_said_in_one_line(how: str, tmp_path: Path, ckpt: Ckpt) -> None:
    index = written(tmp_path / "model")
    broken(index, how)
    said = ckpt("ls", index, status=2).err
    assert BROKEN[how] in said and said.count("\n") == 1


def test_a_folder_of_shards_without_their_index_says_so(tmp_path: Path, ckpt: Ckpt) -> None:
    written(tmp_path / "model").unlink()
    assert "index (model.weights.json) is missing" in ckpt("ls", tmp_path / "model", status=2).err
