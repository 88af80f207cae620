"""TorchScript and torch.export archives: the state dict of a program, edited where it lies; torch runs what comes of it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pytest
import torch
from conftest import Ckpt
from oracles import all_bits, read_bits

from ckpt_cli import reading
from ckpt_cli.formats import formats
from ckpt_cli.storage.file import File

pytestmark = pytest.mark.filterwarnings("ignore")
every_case = cases.every_case("pt2")


class Inner(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 8)
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("scale", torch.full((8,), 2.0))
        self.size: int = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.scale


class Net(torch.nn.Module):
    """Modules within modules, a tied weight, buffers, and a tensor that is in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8, bias=False))
        self.layers[2].weight = self.layers[0].weight
        self.norm = torch.nn.BatchNorm1d(8)
        self.loose = torch.ones(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layers(self.inner(x))) + self.loose.sum()


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


X = torch.arange(8.0).reshape(2, 4)


def scripted(path: Path) -> None:
    torch.jit.save(torch.jit.script(net()), str(path))


def traced(path: Path) -> None:
    torch.jit.save(torch.jit.trace(net(), X), str(path))


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(net(), (X,)), path)


def old_export(path: Path) -> None:
    """As torch 2.1 to 2.7 wrote it: a torch file within a zip."""
    inner = io.BytesIO()
    torch.save(net().state_dict(), inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", inner.getvalue())
        archive.writestr("version", "7.2")


def run(path: Path) -> torch.Tensor:
    """What the program in a file makes of X."""
    program = torch.export.load(path).module() if path.suffix == ".pt2" else torch.jit.load(str(path))
    with torch.no_grad():
        found: torch.Tensor = program(X)
    return found


WRITERS: dict[str, Callable[[Path], None]] = {"script.pt": scripted, "trace.pt": traced, "export.pt2": exported}
every_program = pytest.mark.parametrize("name", WRITERS)


@every_program
def test_names_and_values_are_those_of_the_state_dict(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    assert read_bits(path) == all_bits(net().state_dict())
    rows = {row[0]: row for row in ckpt("ls", path).rows}
    assert rows["layers.2.weight"][5] == "layers.0.weight"
    assert [form.name for form in formats.values() if form.sniff(File(str(path)))] == ["pt2" if name.endswith("pt2") else "torchscript"]
    assert ckpt("check", path).status == 0


@pytest.mark.parametrize("name", ["script.pt", "export.pt2"])
def test_a_tensor_that_is_in_no_state_dict_is_an_object(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    objects = reading.open(str(tmp_path / name)).objects
    assert any(key.endswith("loose") and value.text == "3 of float32" for key, value in objects.items())
    assert name != "script.pt" or objects["inner.size"] == 3


@every_program
def test_values_are_edited_and_torch_runs_the_program_with_them(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, other = tmp_path / name, tmp_path / f"other-{name}"
    WRITERS[name](path)
    size = path.stat().st_size
    edits = ["layers.0.weight *= 2", "inner.linear.bias[3] = 42", "norm.running_mean += 1"]
    ckpt("set", path, *edits, "-o", other)
    ckpt("set", path, *edits, "-i")
    model = net()
    with torch.no_grad():
        model.layers[0].weight *= 2
        model.inner.linear.bias[3] = 42
        model.norm.running_mean += 1
        want = model(X)
    for found in (path, other):
        assert found.stat().st_size == size and ckpt("check", found).status == 0
        assert read_bits(found) == all_bits(model.state_dict())
        assert torch.allclose(run(found), want)


@every_program
def test_one_that_is_initialised_anew_is_that_of_the_flat_file(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, flat = tmp_path / name, tmp_path / "flat.safetensors"
    WRITERS[name](path)
    ckpt("convert", path, flat)
    for one in (path, flat):
        ckpt("reinit", one, "*.weight=normal", "--seed", "0", "-i")
    assert ckpt("diff", path, flat, "*").out == ""
    assert ckpt("hash", path, "*").rows[-1] == ckpt("hash", flat).rows[-1]
    assert {row[0] for row in ckpt("diff", path, flat, status=None).rows} <= {"removed"}  # constants of the program


@every_program
@pytest.mark.parametrize("args", [["drop", "norm.*"], ["rename", "inner.*=outer.*"], ["cast", "float16"], ["untie", "layers.2.weight"]])
def test_names_shapes_and_dtypes_are_the_programs(name: str, args: list[str], tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    before = path.read_bytes()
    for where in (["-i"], ["-n"], ["-o", tmp_path / f"out-{name}"]):
        assert "values alone are edited" in ckpt(args[0], path, *args[1:], *where, status=2).err
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [name]
    ckpt("convert", path, tmp_path / "state.pt", "--format", "torch")
    assert all_bits(torch.load(tmp_path / "state.pt")) == all_bits(net().state_dict())


def test_the_export_of_an_older_torch_is_read(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "old.pt2"
    old_export(path)
    assert read_bits(path) == all_bits(net().state_dict())
    assert "of torch before 2.8 is read, not written" in ckpt("set", path, "norm.weight = 1", "-i", status=2).err
    ckpt("convert", path, tmp_path / "a.safetensors")
    assert ckpt("diff", path, tmp_path / "a.safetensors").out == ""


@every_case
def test_a_real_one_is_as_told(record: dict[str, Any], ckpt: Ckpt) -> None:
    cases.is_as_told(record, ckpt)
    checkpoint = cases.opened(record)
    assert sorted(map(sorted, checkpoint.ties())) == sorted(map(sorted, cases.expected(record)["same_view"]))
    assert list(checkpoint) == [tensor["name"] for tensor in cases.expected(record)["tensors"]]


def test_the_files_of_a_program_are_counted(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Identity(), torch.ones(1)), str(path))
    with zipfile.ZipFile(path) as archive:
        count = sum(name.partition("/")[2].startswith("code/") and name.endswith(".py") for name in archive.namelist())
    assert count == 1 and "a TorchScript program of 1 file, which" in ckpt("check", path, "--safe", status=1).out
