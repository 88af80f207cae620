"""torch.distributed.checkpoint: what torch saved is read from its metadata, edited in place, and loaded by torch again."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pytest
import torch
import torch.distributed.checkpoint as dcp
from conftest import SAMPLES, Ckpt
from hypothesis import given
from hypothesis import strategies as st
from oracles import all_bits, example, read_bits
from ranks import whole
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from ckpt_cli import reading
from ckpt_cli.storage.storage import Memory
from ckpt_cli.storage.tiles import tiled

pytestmark = pytest.mark.filterwarnings("ignore")
every_case = cases.every_case("torch-dcp")


def saved(folder: Path, state: dict[str, Any]) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, checkpoint_id=str(folder))
    return folder


def loaded(folder: Path) -> dict[str, Any]:
    """What torch makes of the folder, by the way that asks for nothing in advance."""
    target = folder.with_suffix(".loaded.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp_to_torch_save(str(folder), str(target))
    found: dict[str, Any] = torch.load(target, weights_only=False)
    return found


def trained() -> dict[str, Any]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 4)).sum().backward()
    adam.step()
    odd = {"t": torch.arange(12.0).reshape(3, 4).t(), "channels": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)}
    return {"model": net.state_dict(), "optimizer": adam.state_dict(), "odd": odd, "none": torch.zeros(0, 3), "epoch": 3, "note": "x"}


@pytest.fixture(scope="session")
def of_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What four processes saved together."""
    folder = tmp_path_factory.mktemp("ranks") / "sharded"
    script = Path(__file__).with_name("ranks.py")
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, timeout=300)
    assert (folder / ".metadata").exists(), done.stderr[-2000:]
    return folder


@pytest.fixture
def sharded(of_ranks: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(of_ranks, tmp_path / "sharded"))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return saved(tmp_path / "plain", trained())


@every_case
def test_a_real_one_is_as_told(record: dict[str, Any], ckpt: Ckpt) -> None:
    cases.is_as_told(record, ckpt)


@every_case
def test_a_real_one_is_there_and_back_without_a_difference(record: dict[str, Any], ckpt: Ckpt, tmp_path: Path) -> None:
    source = cases.CASES / record["file"]
    ckpt("convert", source, tmp_path / "a.safetensors")
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "b", "--format", "dcp")
    assert ckpt("diff", source, tmp_path / "b").out == ""
    assert ckpt("hash", source).rows[-1] == ckpt("hash", tmp_path / "b").rows[-1] == ckpt("hash", tmp_path / "a.safetensors").rows[-1]
    assert all_bits(loaded(tmp_path / "b")) == read_bits(source)


def test_tensors_and_objects_are_those_that_torch_saved(plain: Path, ckpt: Ckpt) -> None:
    state = trained()
    want = {f"model.{name}": value for name, value in state["model"].items()} | {
        f"odd.{name}": value for name, value in state["odd"].items()
    }
    assert {name: value for name, value in read_bits(plain).items() if name in want} == all_bits(want)
    assert ckpt("ls", plain, "none").rows == [["none", "float32", "0x3", "0", "0", ""]]
    assert ckpt("get", plain, "optimizer.state.0.step").out == "1.0\n"
    objects = reading.open(str(plain)).objects
    assert (objects["epoch"], objects["note"], objects["optimizer.param_groups.0.lr"]) == (3, "x", 0.001)


def test_the_metadata_alone_are_listed(plain: Path, ckpt: Ckpt) -> None:
    before = ckpt("ls", plain).out
    (plain / "__0_0.distcp").write_bytes(bytes((plain / "__0_0.distcp").stat().st_size))
    assert ckpt("ls", plain).out == ckpt("ls", plain / ".metadata").out == before
    assert "end of the zip is missing" in ckpt("get", plain, "odd.t", status=2).err


def test_one_of_its_files_says_that_the_folder_is_the_checkpoint(plain: Path, ckpt: Ckpt) -> None:
    assert f"which is the folder (give {plain})\n" in ckpt("ls", plain / "__0_0.distcp", status=2).err


def test_what_ranks_saved_together_is_put_together(of_ranks: Path, ckpt: Ckpt) -> None:
    want = {f"model.{name}": value for name, value in whole().items()}
    assert read_bits(of_ranks) == all_bits(want)
    assert len(ckpt("ls", of_ranks).rows) == len(want)
    assert ckpt("get", of_ranks, "model.grid[4:6, 3, 1]", "--format", "json").json["values"] == whole()["grid"][4:6, 3, 1].tolist()
    assert ckpt("check", of_ranks).status == 0


EDITS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "model.rows[3, 2] = 42": lambda t: t["rows"].__setitem__((3, 2), 42),
    "model.rows[2:9] = 1": lambda t: t["rows"][2:9].fill_(1),
    "model.columns[:, 1:8] += 1": lambda t: t["columns"][:, 1:8].add_(1),
    "model.grid *= 2": lambda t: t["grid"].mul_(2),
    "model.grid[::2, 3] = 7": lambda t: t["grid"][::2, 3].fill_(7),
    "model.line[12] = 5": lambda t: t["line"].__setitem__(12, 5),
    "model.half[1:, 2] = 3": lambda t: t["half"][1:, 2].fill_(3),
    "model.whole[0] = 9": lambda t: t["whole"].__setitem__(0, 9),
}


def test_values_are_set_in_place_through_all_the_chunks(sharded: Path, ckpt: Ckpt) -> None:
    before = {path.name: path.read_bytes() for path in sharded.iterdir()}
    ckpt("set", sharded, *EDITS, "-i")
    tensors = whole()
    for edit in EDITS.values():
        edit(tensors)
    want = {f"model.{name}": value for name, value in tensors.items()}
    assert read_bits(sharded) == all_bits(want)
    assert all_bits(loaded(sharded)["model"]) == all_bits(tensors)
    after = {path.name: path.read_bytes() for path in sharded.iterdir()}
    assert {name: len(data) for name, data in after.items()} == {name: len(data) for name, data in before.items()}
    assert after[".metadata"] == before[".metadata"]
    assert ckpt("check", sharded).status == 0


def test_only_the_bytes_of_one_element_and_its_checksums_change(sharded: Path, ckpt: Ckpt) -> None:
    before = {path.name: path.read_bytes() for path in sharded.iterdir()}
    ckpt("set", sharded, "model.columns[5, 9] = 42", "-i")
    changed = {name: sum(a != b for a, b in zip(data, (sharded / name).read_bytes(), strict=True)) for name, data in before.items()}
    assert [count for count in changed.values() if count] == [max(changed.values())] and max(changed.values()) <= 4 + 2 * 4


def test_strided_values_are_set_where_they_lie(plain: Path, ckpt: Ckpt) -> None:
    size = (plain / "__0_0.distcp").stat().st_size
    ckpt("set", plain, "odd.t[1, 2] = 42", "odd.channels[1] *= 3", "model.0.bias += 1", "-i")
    state = trained()
    state["odd"]["t"][1, 2] = 42
    state["odd"]["channels"][1] *= 3
    state["model"]["0.bias"] += 1
    found = loaded(plain)
    assert (plain / "__0_0.distcp").stat().st_size == size
    assert all_bits(found["odd"]) == all_bits(state["odd"]) and all_bits(found["model"]) == all_bits(state["model"])
    assert found["odd"]["t"].stride() == (1, 4) or found["odd"]["t"].is_contiguous()
    assert ckpt("check", plain).status == 0


def test_an_edit_into_another_folder_leaves_the_first_one(plain: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    before = {path.name: path.read_bytes() for path in plain.iterdir()}
    ckpt("set", plain, "model.0.bias = 0", "-o", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in plain.iterdir()} == before
    assert loaded(tmp_path / "out")["model"]["0.bias"].count_nonzero() == 0
    assert loaded(tmp_path / "out")["epoch"] == 3
    assert [row[:2] for row in ckpt("diff", plain, tmp_path / "out", status=1).rows] == [["changed", "model.0.bias"]]


def test_a_reinitialised_one_is_that_of_the_flat_file(sharded: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", sharded, tmp_path / "flat.safetensors")
    for path in (sharded, tmp_path / "flat.safetensors"):
        ckpt("reinit", path, "model.{rows,columns,grid}=xavier_uniform", "--seed", "0", "-i")
    assert ckpt("diff", sharded, tmp_path / "flat.safetensors").out == ""
    assert all_bits(loaded(sharded)["model"])["grid"] == read_bits(tmp_path / "flat.safetensors")["model.grid"]


@pytest.mark.parametrize(
    ("args", "want"),
    [
        (["rename", "model.*=net.*"], lambda s: {"net": s["model"]}),
        (["drop", "optimizer.*", "odd.*"], lambda s: {"model": s["model"]}),
        (["cast", "bfloat16", "model.*"], lambda s: {"model": {name: value.bfloat16() for name, value in s["model"].items()}}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_structure_is_edited_and_the_objects_stay(
    plain: Path, tmp_path: Path, ckpt: Ckpt, args: list[str], want: Callable[[Any], dict[str, Any]]
) -> None:
    ckpt(args[0], plain, *args[1:], "-o", tmp_path / "out")
    ckpt(args[0], plain, *args[1:], "-i")
    for folder in (plain, tmp_path / "out"):
        found = loaded(folder)
        for name, tensors in want(trained()).items():
            assert all_bits(found[name]) == all_bits(tensors)
        assert (found["epoch"], found["note"]) == (3, "x")
        assert ckpt("check", folder).status == 0


def test_the_files_of_other_ranks_go_when_all_is_in_one(sharded: Path, ckpt: Ckpt) -> None:
    assert len(list(sharded.glob("*.distcp"))) == 4
    ckpt("drop", sharded, "model.every", "-i")
    assert sorted(path.name for path in sharded.iterdir()) == [".metadata", "__0_0.distcp"]
    want = {name: value for name, value in whole().items() if name != "every"}
    assert all_bits(loaded(sharded)["model"]) == all_bits(want) and loaded(sharded)["epoch"] == 3


def test_torch_loads_a_converted_file_into_a_module_as_it_loads_its_own(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", SAMPLES / "mlp.safetensors", tmp_path / "out", "--format", "dcp")
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    state = net.state_dict()
    dcp.load(state, checkpoint_id=str(tmp_path / "out"))
    assert all_bits(state) == read_bits(SAMPLES / "mlp.safetensors")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".metadata", "__0_0.distcp"]


def test_every_dtype_of_torch_is_held(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", SAMPLES / "dtypes.pt", tmp_path / "out", "--format", "dcp", "--drop", "complex32")  # which dcp.load refuses
    assert all_bits(loaded(tmp_path / "out")) == {
        name: bits for name, bits in read_bits(SAMPLES / "dtypes.pt").items() if name != "complex32"
    }


def test_what_it_has_no_place_for_is_said(tmp_path: Path, ckpt: Ckpt) -> None:
    said = ckpt("convert", SAMPLES / "shared-mlp.pt", tmp_path / "tied", "--format", "dcp").err
    assert "no place for ties, and each name has its own copy (4.weight = 2.weight" in said
    torch.save({"a": torch.zeros(2), "b": torch.zeros(2).to_sparse()}, tmp_path / "sparse.pt")
    assert "b, which is sparse_coo" in ckpt("convert", tmp_path / "sparse.pt", tmp_path / "no", "--format", "dcp", status=2).err
    assert not (tmp_path / "no").exists()
    ckpt("convert", SAMPLES / "training.ckpt", tmp_path / "training", "--format", "dcp")
    assert loaded(tmp_path / "training")["epoch"] == reading.open(str(SAMPLES / "training.ckpt")).objects["epoch"]


def test_a_folder_that_holds_one_already_is_not_written_over(plain: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    before = {path.name: path.read_bytes() for path in plain.iterdir()}
    assert "is there already" in ckpt("convert", SAMPLES / "mlp.pt", plain, "--format", "dcp", status=2).err
    assert {path.name: path.read_bytes() for path in plain.iterdir()} == before
    ckpt("convert", SAMPLES / "mlp.pt", plain, "--format", "dcp", "--force")
    assert ckpt("diff", SAMPLES / "mlp.pt", plain).out == ""


def edited(folder: Path, change: Callable[[Any], object]) -> Path:
    """The folder, with its metadata changed by torch's own classes."""
    path = folder / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))
    return folder


def test_a_missing_file_a_hole_and_an_overlap_are_errors(sharded: Path, ckpt: Ckpt) -> None:
    shutil.move(sharded / "__2_0.distcp", sharded / "away")
    assert "__2_0.distcp: no such file" in ckpt("ls", sharded, status=2).err
    shutil.move(sharded / "away", sharded / "__2_0.distcp")
    edited(sharded, lambda m: m.state_dict_metadata["model.rows"].chunks.pop())
    assert "model.rows': its chunks leave out" in ckpt("ls", sharded, status=2).err

    def overlap(metadata: Any) -> None:
        chunks = metadata.state_dict_metadata["model.grid"].chunks
        chunks[1] = chunks[0]

    edited(sharded, lambda m: m.state_dict_metadata.pop("model.rows"))
    edited(sharded, overlap)
    assert "two of its chunks overlap" in ckpt("ls", sharded, status=2).err


def test_what_went_through_an_extension_is_refused(plain: Path, ckpt: Ckpt) -> None:
    def compress(metadata: Any) -> None:
        next(iter(metadata.storage_data.values())).transform_descriptors = ["stream.zstd"]

    assert "went through an extension" in ckpt("ls", edited(plain, compress), status=2).err


def test_a_link_out_of_the_folder_is_refused_and_that_of_the_hubs_cache_is_followed(plain: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    shutil.move(plain / "__0_0.distcp", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", plain / "__0_0.distcp")
    assert "leads out of the folder" in ckpt("ls", plain, status=2).err
    (tmp_path / "hub" / "blobs").mkdir(parents=True)
    shutil.move(tmp_path / "elsewhere", tmp_path / "hub" / "blobs" / "abc")
    inside = tmp_path / "hub" / "snapshots" / "1" / "model"
    shutil.copytree(plain, inside, symlinks=True)
    (inside / "__0_0.distcp").unlink()
    os.symlink("../../../blobs/abc", inside / "__0_0.distcp")
    assert ckpt("ls", inside).rows


@given(data=st.data())
def test_boxes_are_read_as_numpy_cuts_them(data: st.DataObject) -> None:
    """Any tiling by a grid, any element size, any run of bytes."""
    dtype = data.draw(st.sampled_from(["uint8", "bfloat16", "float32", "complex128"]))
    shape = tuple(data.draw(st.lists(st.integers(1, 5), max_size=4)))
    tensor = example(dtype, *shape)
    cuts = [sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=2))}) for n in shape]
    boxes = [(Memory(raw(tensor)), [])] if not shape else []
    for starts in torch.cartesian_prod(*[torch.arange(len(cut) - 1) for cut in cuts]).reshape(-1, len(shape)).tolist() if shape else ():
        begin = tuple(cut[i] for cut, i in zip(cuts, starts, strict=True))
        end = tuple(cut[i + 1] for cut, i in zip(cuts, starts, strict=True))
        part = tensor[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))]
        boxes.append((Memory(raw(part)), [(a, b - a) for a, b in zip(begin, end, strict=True)]))
    found, want = tiled(tensor.element_size(), shape, boxes), raw(tensor)
    start = data.draw(st.integers(0, len(want)))
    stop = data.draw(st.integers(start, len(want)))
    assert found.nbytes == len(want) and found.read(start, stop) == want[start:stop]


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
