"""Forms of torch's files besides zip and legacy: the tar of torch 0.1, an unpacked zip, torch.package. Read as torch itself reads them."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import legacy_tar
import pytest
import torch
from conftest import SAMPLES, Ckpt
from oracles import all_bits, read_bits

from ckpt_cli import reading


def old() -> dict[str, Any]:
    shared = torch.arange(12.0).view(3, 4)
    state = OrderedDict([("w", shared), ("t", shared.t()), ("row", shared[1]), ("tied", shared), ("i", torch.arange(3))])
    others = {"d": torch.ones(2, dtype=torch.float64), "b": torch.tensor([1, 2], dtype=torch.uint8), "h": torch.ones(2).half()}
    return {"epoch": 7, "state_dict": state, "best": 0.5, **others, "empty": torch.zeros(0)}


def test_a_tar_of_torch_0_1_is_what_torch_loads(tmp_path: Path, ckpt: Ckpt) -> None:
    path = legacy_tar.save(old(), tmp_path / "model.pth.tar")
    found = torch.load(path, weights_only=False)
    want = {f"state_dict.{key}": value for key, value in found["state_dict"].items()} | {
        key: value for key, value in found.items() if isinstance(value, torch.Tensor)
    }
    assert read_bits(path) == all_bits(want)
    rows = {row[0]: row for row in ckpt("ls", path).rows}
    assert rows["state_dict.tied"][5] == "state_dict.w" and ckpt("ls", path, "--json").json["format"] == "torch-tar"
    assert ("object", "epoch", "7") in [tuple(row) for row in ckpt("summary", path).rows]
    ckpt("convert", path, tmp_path / "a.pt")
    assert ckpt("diff", path, tmp_path / "a.pt").out == ""


def test_a_view_of_a_storage_in_a_tar(tmp_path: Path) -> None:
    path = legacy_tar.save({"w": torch.arange(6.0)[:3]}, tmp_path / "a.tar", {99: (1, 2, 3)})
    assert torch.load(path, weights_only=False)["w"].tolist() == [2, 3, 4]
    assert reading.open(str(path))["w"].array().tolist() == [2, 3, 4]


def test_a_tar_whose_pickle_runs_code_is_told(tmp_path: Path, ckpt: Ckpt) -> None:
    files = legacy_tar.parts({"w": torch.ones(2)})
    files["pickle"] = files["pickle"][:-1] + b"0cos\nsystem\n(X\x04\0\0\0truetR."
    (tmp_path / "a.tar").write_bytes(legacy_tar.tarred(files))
    assert "system" in ckpt("check", tmp_path / "a.tar", "--safe", status=1).out


@pytest.mark.parametrize("name", ["mlp.pt", "nested.pt", "shared-mlp.pt", "dtypes.pt", "training.ckpt"])
@pytest.mark.parametrize("by", ["the folder", "the folder above", "its pickle"])
def test_an_unpacked_zip_is_one_checkpoint(tmp_path: Path, ckpt: Ckpt, name: str, by: str) -> None:
    with zipfile.ZipFile(SAMPLES / name) as archive:
        archive.extractall(tmp_path / "out")
    [root] = os.listdir(tmp_path / "out")
    above = tmp_path / "out"
    path = {"the folder": above / root, "the folder above": above, "its pickle": above / root / "data.pkl"}[by]
    assert ckpt("ls", path).out == ckpt("ls", SAMPLES / name).out and ckpt("hash", path).out == ckpt("hash", SAMPLES / name).out
    ckpt("convert", path, tmp_path / "a.pt")
    assert read_bits(tmp_path / "a.pt") == read_bits(SAMPLES / name)
    assert ckpt("summary", tmp_path / "a.pt", "--json").json["objects"] == ckpt("summary", SAMPLES / name, "--json").json["objects"]


def unpacked(tmp_path: Path) -> Path:
    with zipfile.ZipFile(SAMPLES / "mlp.pt") as archive:
        archive.extractall(tmp_path / "out")
    return tmp_path / "out" / os.listdir(tmp_path / "out")[0]


def test_a_broken_unpacked_zip_is_one_line(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = unpacked(tmp_path)
    assert "is read, not written" in ckpt("set", folder, "*.bias = 0", "-i", status=2).err
    first = folder / "data" / "0"
    content = first.read_bytes()
    first.write_bytes(content[:-1])
    assert "storage '0' has" in ckpt("ls", folder, status=2).err
    first.unlink()
    assert "storage '0' is not in the" in ckpt("ls", folder, status=2).err
    (tmp_path / "elsewhere").write_bytes(content)
    first.symlink_to(tmp_path / "elsewhere")
    assert "leads out of the folder" in ckpt("ls", folder, status=2).err
    first.unlink()
    os.mkfifo(first)
    assert ckpt("ls", folder, status=2)


def package(path: Path, **resources: Any) -> Path:
    from torch.package import PackageExporter

    with PackageExporter(path) as exporter:
        exporter.extern("**")
        for name, thing in resources.items():
            exporter.save_pickle(name, f"{name}.pkl", thing)
        exporter.save_text("notes", "readme.txt", "hello")
    return path


def test_a_package_is_the_tensors_of_its_pickles(tmp_path: Path, ckpt: Ckpt) -> None:
    from torch.package import PackageImporter

    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    path = package(tmp_path / "p.pt", model=net)
    state = PackageImporter(path).load_pickle("model", "model.pkl").state_dict()
    assert read_bits(path) == all_bits(state) and ckpt("ls", path, "--json").json["format"] == "torch-package"
    assert all(form in ckpt("check", path, "--safe", status=1).out for form in ("torch.nn.modules.linear.Linear",))
    two = package(tmp_path / "two.pt", model=net, state={"w": torch.ones(2), "epoch": 3})
    assert {row[0] for row in ckpt("ls", two).rows} == {f"model/model.{key}" for key in state} | {"state/state.w"}


def test_values_in_a_package_are_written_where_they_lie(tmp_path: Path, ckpt: Ckpt) -> None:
    from torch.package import PackageImporter

    path = package(tmp_path / "p.pt", model=torch.nn.Linear(3, 4))
    ckpt("set", path, "bias = 7", "-i")
    assert PackageImporter(path).load_pickle("model", "model.pkl").bias.tolist() == [7] * 4
    assert "values alone are edited" in ckpt("drop", path, "bias", "-i", status=2).err
    shutil.copy(path, tmp_path / "q.pt")
    assert ckpt("check", tmp_path / "q.pt").out == ""
