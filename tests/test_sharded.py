"""Sharded checkpoints: an index and its shards are one checkpoint in every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Ckpt
from safetensors.torch import load_file, save_file

WIDE = {f"layers.{i}.weight": torch.arange(16.0).reshape(4, 4) + i for i in range(5)} | {"head.bias": torch.ones(4)}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A model in three shards with its index, as save_pretrained writes them."""
    folder = tmp_path / "model"
    folder.mkdir()
    names, weight_map = list(WIDE), {}
    for i in range(3):
        file = f"model-{i + 1:05d}-of-00003.safetensors"
        part = names[2 * i : 2 * i + 2]
        save_file({name: WIDE[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    write_index(folder, weight_map)
    return folder


def write_index(folder: Path, weight_map: object, metadata: object = None) -> None:
    size = sum(tensor.nbytes for tensor in WIDE.values())
    document = {"metadata": metadata or {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(document, indent=2) + "\n")


def index_of(folder: Path) -> dict[str, dict[str, object]]:
    return json.loads(next(folder.glob("*.index.json")).read_text())  # type: ignore[no-any-return]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in dict.fromkeys(index_of(folder)["weight_map"].values()):
        path = folder / str(file)
        found |= load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    return found


@pytest.mark.parametrize("way", ["folder", "index"])
def test_the_folder_and_the_index_mean_the_whole_model(way: str, shards: Path, ckpt: Ckpt) -> None:
    path = shards if way == "folder" else shards / "model.safetensors.index.json"
    assert [row[0] for row in ckpt("ls", path).rows] == list(WIDE)
    assert ckpt("get", path, "layers.3.weight[0, 0]").out == "3.0\n"
    assert ckpt("ls", path, "--json").json["format"] == "sharded"


def test_an_edit_of_values_in_place_rewrites_the_shard_that_it_touches_alone(shards: Path, ckpt: Ckpt) -> None:
    before = contents(shards)
    ckpt("set", shards, "layers.2.weight[0, 0] = 42", "-i")
    after = contents(shards)
    assert [name for name in before if before[name] != after[name]] == ["model-00002-of-00003.safetensors"]
    assert set(after) == set(before) and loaded(shards)["layers.2.weight"][0, 0] == 42


def test_a_new_place_gets_all_shards_and_the_index(shards: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "new").mkdir()
    ckpt("set", shards, "head.bias = 2", "-o", tmp_path / "new" / "model.safetensors.index.json")
    assert [row[:2] for row in ckpt("diff", shards, tmp_path / "new", status=1).rows] == [["changed", "head.bias"]]
    assert loaded(tmp_path / "new").keys() == WIDE.keys()


def test_another_file_gets_the_whole_model(shards: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", shards, tmp_path / "whole.safetensors")
    assert load_file(tmp_path / "whole.safetensors").keys() == WIDE.keys()
    assert ckpt("diff", shards, tmp_path / "whole.safetensors").out == ""


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_convert_divides_by_size_and_back_without_a_difference(suffix: str, shards: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    ckpt("convert", shards, folder / f"model{suffix}", "--shard-size", "130B")
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*(f"model-{i}-of-00003{suffix}".replace(f"-{i}-", f"-{i:05d}-") for i in (1, 2, 3)), f"model{suffix}.index.json"]
    assert index_of(folder)["metadata"]["total_size"] == sum(tensor.nbytes for tensor in WIDE.values())
    assert all(torch.equal(loaded(folder)[name], tensor) for name, tensor in WIDE.items())
    assert ckpt("diff", folder, shards).out == ""


def test_ties_keep_to_one_shard(tmp_path: Path, sample: Callable[[str], Path], ckpt: Ckpt) -> None:
    ckpt("convert", sample("shared-mlp.pt"), tmp_path / "model.safetensors", "--shard-size", "200B")
    index = tmp_path / "model.safetensors.index.json"
    assert sorted(ckpt("tied", index).rows) == [["tied", "2.bias", "4.bias"], ["tied", "2.weight", "4.weight"]]
    assert ckpt("diff", index, tmp_path / "shared-mlp.pt").out == ""


def test_dropping_all_of_a_shard_removes_it_and_keeps_the_index_true(shards: Path, ckpt: Ckpt) -> None:
    ckpt("drop", shards, "layers.{2,3}.*", "-i")
    assert not (shards / "model-00002-of-00003.safetensors").exists()
    assert loaded(shards).keys() == WIDE.keys() - {"layers.2.weight", "layers.3.weight"}
    assert index_of(shards)["metadata"]["total_size"] == 3 * 64 + 16


def test_a_rename_keeps_each_tensor_in_its_shard(shards: Path, ckpt: Ckpt) -> None:
    before = index_of(shards)["weight_map"]
    ckpt("rename", shards, "layers.*=blocks.*", "-i")
    assert index_of(shards)["weight_map"] == {name.replace("layers", "blocks"): file for name, file in sorted(before.items())}
    assert loaded(shards).keys() == {name.replace("layers", "blocks") for name in WIDE}


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "..", "", "a/../b.safetensors", "a//b", "a\\b", "http://x/y"])
def test_a_shard_must_be_a_plain_name_beside_the_index(name: str, shards: Path, ckpt: Ckpt) -> None:
    write_index(shards, {"head.bias": name})
    assert "plain file name" in ckpt("ls", shards, status=2).err


def test_a_link_out_of_the_folder_is_refused_but_for_the_cache_of_the_hub(shards: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "abc", tmp_path / "hub" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in shards.iterdir():
        shutil.copy(path, blobs / path.name[::-1])
        os.symlink(f"../../blobs/{path.name[::-1]}", snapshot / path.name)
    assert [row[0] for row in ckpt("ls", snapshot).rows] == list(WIDE)
    assert f"name a snapshot: {snapshot}" in ckpt("ls", tmp_path / "hub", status=2).err
    assert "the hub's cache" in ckpt("set", snapshot, "head.bias = 1", "-i").err
    assert "cache" not in ckpt("set", snapshot, "head.bias = 2", "-o", f"{tmp_path}/out/").err
    first = snapshot / "model-00001-of-00003.safetensors"
    first.unlink()
    first.symlink_to(shards / first.name)
    assert "leads out" in ckpt("ls", snapshot, status=2).err


def test_a_missing_shard_or_a_name_that_one_side_lacks_is_an_error(shards: Path, ckpt: Ckpt) -> None:
    weight_map = index_of(shards)["weight_map"]
    write_index(shards, weight_map | {"ghost": "model-00001-of-00003.safetensors"})
    assert "where it is not" in ckpt("ls", shards, status=2).err
    write_index(shards, {name: file for name, file in weight_map.items() if name != "head.bias"})
    assert "which the index does not say" in ckpt("ls", shards, status=2).err
    write_index(shards, weight_map)
    (shards / "model-00003-of-00003.safetensors").unlink()
    assert "no such file" in ckpt("ls", shards, status=2).err


@pytest.mark.parametrize(
    "text", ['{"weight_map": []}', '{"weight_map": {"a": 1}}', '{"metadata": 1, "weight_map": {}}', '{"weight_map": {"a": "b", "a": "c"}}']
)
def test_a_broken_index_is_one_line(text: str, tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    ckpt("ls", tmp_path / "model.safetensors.index.json", status=2)


@pytest.mark.parametrize("size", ["0", "-1GB", "5XB", "x", "GB"])
def test_a_size_that_is_none_is_refused(size: str, sample: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    assert "is no size" in ckpt("convert", sample("mlp.pt"), tmp_path / "m.safetensors", "--shard-size", size, status=2).err


def test_the_order_of_the_tensors_goes_through_shards_and_back(tmp_path: Path, ckpt: Ckpt) -> None:
    names = ["wte.weight", *(f"h.{i}.weight" for i in range(12)), "a.weight"]
    torch.save({name: torch.ones(4) for name in names}, tmp_path / "m.pt")
    ckpt("convert", tmp_path / "m.pt", tmp_path / "m.safetensors", "--shard-size", "0.032kB")
    assert [row[0] for row in ckpt("ls", tmp_path / "m.safetensors.index.json").rows] == names
    ckpt("convert", tmp_path / "m.safetensors.index.json", tmp_path / "back.pt")
    assert list(torch.load(tmp_path / "back.pt")) == names


def test_a_size_without_a_unit_is_not_taken_for_bytes(tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save({"w": torch.ones(4)}, tmp_path / "m.pt")
    assert "'5' would be bytes (give a unit" in ckpt("convert", tmp_path / "m.pt", tmp_path / "m.bin", "--shard-size", "5", status=2).err


def test_an_edit_of_more_shards_than_files_may_be_open_at_first(tmp_path: Path, ckpt: Ckpt) -> None:
    """The soft limit is raised to the hard one; and a shard takes few open files."""
    save_file({f"{i:02d}": torch.full((64,), float(i)) for i in range(60)}, tmp_path / "m.safetensors")
    index = tmp_path / "model.safetensors.index.json"

    def limited(hard: int, *args: object) -> None:
        line = f'ulimit -Sn 64; ulimit -Hn {hard}; exec "$@"'
        words = [sys.executable, "-m", "ckpt_cli", *map(str, args)]
        run = subprocess.run(["bash", "-c", line, "bash", *words], capture_output=True, text=True)
        assert run.returncode == 0 and not run.stderr, run.stderr

    limited(160, "convert", tmp_path / "m.safetensors", index, "--shard-size", "256B")
    assert len(list(tmp_path.glob("model-*"))) == 60
    for edit in (["set", "*[0] = -1"], ["set", "* = -2"], ["cast", "float16"]):
        limited(160, edit[0], index, edit[1], "-i")
    assert loaded(tmp_path)["59"].tolist() == [-2] * 64
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
