"""Rank files of FSDP1 and FSDP2: what torch put on a mesh and saved rank by rank is read as what torch gathers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Ckpt
from oracles import all_bits, bits, read_bits

sys.path.append(str(Path(__file__).parent / "hostile"))
import zips
from pickles import Raw, built, call, name, pickled, storage, tensor

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets that four processes saved: see `rank_files`."""
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("rank_files.py")
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, timeout=300)
    assert (folder / "flat.pt").exists(), done.stderr[-2000:]
    return folder


@pytest.fixture
def ranks(saved: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one set, to be changed."""
    return lambda which: Path(shutil.copytree(saved / which, tmp_path / which))


@pytest.mark.parametrize("which", ["uneven", "grid", "fsdp1"])
def test_a_folder_of_ranks_is_what_torch_gathers(saved: Path, ckpt: Ckpt, tmp_path: Path, which: str) -> None:
    want = torch.load(saved / f"{which}.pt")
    assert read_bits(saved / which) == all_bits(want)
    assert [row[:3] for row in ckpt("ls", saved / which).rows] == [
        [key, str(value.dtype).removeprefix("torch."), "x".join(map(str, value.shape))] for key, value in want.items()
    ]
    ckpt("convert", saved / which, tmp_path / "out.safetensors")
    ckpt("convert", saved / which, tmp_path / "out.safetensors.index.json", "--shard-size", "100B")
    for made in ("out.safetensors", "out.safetensors.index.json"):
        assert read_bits(tmp_path / made) == all_bits(want)
        assert ckpt("hash", tmp_path / made).rows[-1] == ckpt("hash", saved / which).rows[-1]
    assert ckpt("check", saved / which, "--finite").out == ""
    first, tensor = next(iter(want.items()))
    assert ckpt("get", saved / which, f"{first}[-1]", "--format", "json").json["values"] == tensor[-1].tolist()


def test_names_of_one_tensor_stay_tied(saved: Path, ckpt: Ckpt, tmp_path: Path) -> None:
    assert [row[-1] for row in ckpt("ls", saved / "uneven").rows if row[0] == "tied"] == ["rows"]
    ckpt("convert", saved / "uneven", tmp_path / "out.pt")
    loaded = torch.load(tmp_path / "out.pt")
    assert loaded["rows"].data_ptr() == loaded["tied"].data_ptr()


def test_one_file_alone_is_the_part_of_its_rank(saved: Path, ckpt: Ckpt, tmp_path: Path) -> None:
    file = saved / "uneven" / "model_world_size_3_rank_1.pt"
    listed = ckpt("ls", file)
    assert "part 2 of 3" in listed.err and "give the folder" in listed.err
    assert {row[0]: row[2] for row in listed.rows}["rows"] == "3x3"
    converted = ckpt("convert", file, tmp_path / "out.safetensors")
    assert "part 2 of 3" in converted.err
    assert read_bits(tmp_path / "out.safetensors")["rows"] == bits(torch.load(saved / "uneven.pt")["rows"][3:6])
    assert "part 4 of 4" in ckpt("diff", saved / "fsdp1" / "pytorch_model_3.bin", file, status=1).err


def test_a_missing_rank_is_named(ranks: Callable[[str], Path], ckpt: Ckpt) -> None:
    for which, gone in (
        ("uneven", "model_world_size_3_rank_1.pt"),
        ("uneven", "model_world_size_3_rank_2.pt"),
        ("grid", "model.rank3.pt"),
        ("fsdp1", "pytorch_model_0.bin"),
    ):
        folder = ranks(which)
        (folder / gone).unlink()
        assert f"part {gone} of {3 if which == 'uneven' else 4} is missing" in ckpt("ls", folder, status=2).err
        shutil.rmtree(folder)


def test_parts_of_other_sets_are_no_parts(ranks: Callable[[str], Path], saved: Path, ckpt: Ckpt) -> None:
    folder = ranks("uneven")
    shutil.copy(folder / "model_world_size_3_rank_0.pt", folder / "model_world_size_3_rank_1.pt")  # one rank twice
    assert "do not make up the whole" in ckpt("ls", folder, status=2).err
    shutil.copy(saved / "grid" / "model.rank1.pt", folder / "model_world_size_3_rank_1.pt")
    assert "is of 4 ranks" in ckpt("ls", folder, status=2).err
    shutil.rmtree(folder)
    folder = ranks("uneven")
    shutil.copytree(saved / "grid", folder, dirs_exist_ok=True)
    assert "several sets" in ckpt("ls", folder, status=2).err


def test_what_no_file_says_is_refused(saved: Path, ckpt: Ckpt) -> None:
    assert "sum: a distributed tensor is Partial" in ckpt("ls", saved / "partial", status=2).err
    assert "_flat_param is a flat parameter" in ckpt("ls", saved / "flat", status=2).err


def test_optimizers_of_the_ranks_are_named_and_not_read(ranks: Callable[[str], Path], ckpt: Ckpt) -> None:
    folder = ranks("uneven")
    for rank in range(3):
        shutil.copy(folder / "model_world_size_3_rank_0.pt", folder / f"optim_world_size_3_rank_{rank}.pt")
    assert "beside it lie optim_world_size_3_rank_0.pt" in ckpt("ls", folder).err


EDITS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "replicas[8, 1, 1] = 42": lambda t: t["replicas"].__setitem__((8, 1, 1), 42),
    "replicas[4:6] = 2": lambda t: t["replicas"][4:6].fill_(2),
    "both[:, 1:5] += 1": lambda t: t["both"][:, 1:5].add_(1),
    "both_turned *= 2": lambda t: t["both_turned"].mul_(2),
    "twice[::3, 2] = 7": lambda t: t["twice"][::3, 2].fill_(7),
    "strided[3:5] = 5": lambda t: t["strided"][3:5].fill_(5),
    "middle[1, :, 0] = 3": lambda t: t["middle"][1, :, 0].fill_(3),
    "net.1.weight[2] = 9": lambda t: t["net.1.weight"][2].fill_(9),
}


def test_values_are_set_in_place_in_every_part_and_copy(ranks: Callable[[str], Path], saved: Path, ckpt: Ckpt) -> None:
    folder = ranks("grid")
    ckpt("set", folder, *EDITS, "-i")
    want = torch.load(saved / "grid.pt")
    for edit in EDITS.values():
        edit(want)
    assert read_bits(folder) == all_bits(want)
    assert ckpt("check", folder).out == ""
    for file in folder.iterdir():
        assert file.stat().st_size == (saved / "grid" / file.name).stat().st_size
        torch.load(file, weights_only=False)
    assert not list(folder.glob(".*"))


def test_one_element_changes_in_one_file_alone(ranks: Callable[[str], Path], saved: Path, ckpt: Ckpt) -> None:
    folder = ranks("uneven")
    ckpt("set", folder, "rows[6, 0] = 42", "-i")
    changed = [file.name for file in sorted(folder.iterdir()) if file.read_bytes() != (saved / "uneven" / file.name).read_bytes()]
    assert changed == ["model_world_size_3_rank_2.pt"]
    ckpt("set", folder, "count = 3", "-i")  # whole on every rank
    assert all("3" in ckpt("get", file, "count").out for file in folder.iterdir())


def test_structure_is_edited_into_a_new_file_alone(ranks: Callable[[str], Path], ckpt: Ckpt, tmp_path: Path) -> None:
    folder = ranks("uneven")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert "values alone are edited" in ckpt("rename", folder, "rows=lines", "-i", status=2).err
    assert "values alone are edited" in ckpt("cast", folder, "float16", "rows", "-n", status=2).err
    ckpt("rename", folder, "rows=lines", "-o", tmp_path / "out.pt")
    assert "lines" in torch.load(tmp_path / "out.pt")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_copies_that_differ_are_found(ranks: Callable[[str], Path], ckpt: Ckpt, tmp_path: Path) -> None:
    folder = ranks("uneven")
    shutil.copytree(folder, tmp_path / "alike")
    ckpt("set", folder / "model_world_size_3_rank_2.pt", "every[0, 0] = 9", "-i")
    ckpt("set", folder / "model_world_size_3_rank_1.pt", "count = 9", "-i")
    assert [row[:2] for row in ckpt("check", folder, status=1).rows] == [["copies", "every"], ["copies", "count"]]
    assert len(ckpt("ls", folder).rows) == 9
    for odd, other, rank in (("count", "every", 1), ("every", "count", 2)):
        part = folder / f"model_world_size_3_rank_{rank}.pt"
        convert, diff = ("convert", folder, tmp_path / "out.pt", "--drop", other), ("diff", folder, tmp_path / "alike", odd)
        for command in (convert, diff):
            said = ckpt(*command, status=2).err
            assert said.startswith(f"ckpt: error: {part}: {odd} is to be the same in all parts") and f"--drop '{odd}'`" in said
    assert not (tmp_path / "out.pt").exists()
    ckpt("convert", folder, tmp_path / "out.pt", "--drop", "count", "--drop", "every")


def test_replicas_of_shards_are_compared_by_check(ranks: Callable[[str], Path], ckpt: Ckpt, tmp_path: Path) -> None:
    folder = ranks("grid")
    ckpt("set", folder / "model.rank3.pt", "replicas[0, 0, 0] = 9", "-i")
    assert [row[:2] for row in ckpt("check", folder, status=1).rows] == [["copies", "replicas"]]
    ckpt("convert", folder, tmp_path / "out.pt")


def test_the_reported_set_is_read(case: Callable[[str], Path], ckpt: Ckpt, tmp_path: Path) -> None:
    folder = case("reports/fsdp2")
    ckpt("convert", folder / "ranks", tmp_path / "out.safetensors")
    assert ckpt("diff", tmp_path / "out.safetensors", folder / "right.pt", "--exact").out == ""
    assert "part 1 of 2" in ckpt("ls", folder / "ranks" / "model_world_size_2_rank_0.pt").err


# --- Pickles of other versions of torch, and of nobody


def distributed(rank: Any, mesh: dict[str, Any], shape: tuple[int, ...] = (4, 2), dim: Any = 0, placements: Any = None) -> Raw:
    """A DTensor as torch 2.4 pickles it, of a rank that holds two rows."""
    module = "torch.distributed._tensor.placement_types"
    meta = call(name(module, "TensorMeta"), call(name("torch", "Size"), shape), (2, 1), name("torch", "float32"))
    mesh_node = built(
        name("torch.distributed.device_mesh", "DeviceMesh"), {"_coordinate_on_dim": rank if isinstance(rank, tuple) else [rank]} | mesh
    )
    spec = {"mesh": mesh_node, "placements": placements or (built(name(module, "Shard"), {"dim": dim}),), "tensor_meta": meta}
    state = {"_local_tensor": tensor(), "_spec": built(name(module, "DTensorSpec"), spec)}
    wrapper = (name("torch._utils", "_rebuild_wrapper_subclass"), name("torch.distributed._tensor.api", "DTensor"), (), state)
    return call(name("torch._tensor", "_rebuild_from_type_v2"), *wrapper)


def old_mesh(*sizes: int) -> dict[str, Any]:
    ranks = call(name("torch._utils", "_rebuild_tensor_v2"), storage("IntStorage", "1", 4), 0, sizes, (1,) * len(sizes), False, ())
    return {"mesh": ranks}


def layout(shape: Any) -> dict[str, Any]:
    return {"_layout": built(name("torch.distributed._mesh_layout", "_MeshLayout"), {"shape": shape, "stride": 1})}


def written(folder: Path, *roots: Raw) -> Path:
    folder.mkdir()
    for number, root in enumerate(roots):
        data = {"0": torch.full((2, 2), float(number)).numpy().tobytes(), "1": bytes(16)}
        (folder / f"model_{number}.pt").write_bytes(zips.torch_zip(pickled({"w": root}), data))
    return folder


@pytest.mark.parametrize(
    "mesh", [old_mesh(2), layout(2), layout((2,)), layout(((2, 1),))], ids=["a tensor", "a number", "a tuple", "nested"]
)
def test_meshes_of_other_versions_are_read(mesh: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = written(tmp_path / "set", distributed(0, mesh), distributed(1, mesh))
    assert ckpt("get", folder, "w", "--format", "json").json["values"] == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert "part 2 of 2" in ckpt("ls", folder / "model_1.pt").err


def test_an_axis_cut_twice_before_torch_2_5_is_refused(tmp_path: Path, ckpt: Ckpt) -> None:
    module = "torch.distributed._tensor.placement_types"
    cuts = (built(name(module, "Shard"), {"dim": 0}),) * 2
    roots = [distributed((number // 2, number % 2), old_mesh(2, 2), (8, 2), placements=cuts) for number in range(4)]
    assert "does not say in which order" in ckpt("ls", written(tmp_path / "set", *roots), status=2).err


def test_code_that_a_part_names_is_told(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = written(tmp_path / "set", distributed(0, layout(2)), distributed(1, layout(2)))
    names = [row[1] for row in ckpt("check", folder, "--safe", status=1).rows]
    assert names.count("torch.distributed.device_mesh.DeviceMesh") == 2


@pytest.mark.parametrize(
    ("root", "says"),
    [
        (distributed(2, layout(2)), "outside of its mesh"),
        (distributed(-1, layout(2)), "no tuple of sizes"),
        (distributed(0, {}), "unknown way"),
        (distributed(0, layout(10**18)), "is of 1000000000000000000 ranks"),
        (distributed(0, layout((2, 2))), "outside of its mesh"),
        (distributed(0, layout(2), shape=(2**62, 2)), "should hold"),
        (distributed(0, layout(2), shape=(-4, 2)), "no tuple of sizes"),
        (distributed(0, layout(2), dim=2), "does not have"),
        (distributed(0, layout(2), dim="0"), "does not have"),
        (distributed(0, layout(2), shape=(4, 3)), "should hold 2x3"),
    ],
)
def test_what_cannot_be_is_an_error_of_the_set_and_the_file_still_opens(root: Raw, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    folder = written(tmp_path / "set", root, distributed(1, layout(2)))
    assert says in ckpt("ls", folder, status=2).err
    assert ckpt("ls", folder / "model_0.pt").rows == [["w", "float32", "2x2", "4", "16", ""]]


def test_bytes_that_are_in_no_tensor_count_in_every_part(tmp_path: Path, ckpt: Ckpt) -> None:
    folders = []
    for last in (b"\0", b"\1"):
        folder = written(tmp_path / f"set{last[0]}", distributed(0, layout(2)), distributed(1, layout(2)))
        root = pickled({"w": distributed(1, layout(2)), "blob": bytes(4095) + last})
        (folder / "model_1.pt").write_bytes(zips.torch_zip(root, {"0": bytes(16)}))
        folders.append(folder)
    assert ckpt("hash", folders[0]).rows[-1] != ckpt("hash", folders[1]).rows[-1]
    assert "blob" in ckpt("diff", *folders, status=1).out
    assert ckpt("diff", folders[0], shutil.copytree(folders[0], tmp_path / "copy")).out == ""
