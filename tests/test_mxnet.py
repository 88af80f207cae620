"""MXNet's `.params`: what `net.save_parameters`, `nd.save` and Module write is listed, edited where it lies, and written as MXNet does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import cases
import pytest
from conftest import CASES, SAMPLES, Ckpt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ndarrays import FLAGS, array, csr, listed, row_sparse, versions
from oracles import DTYPES, all_bits, example, read_bits
from safetensors.torch import save_file

from ckpt_cli import files

every_case = cases.every_case("mxnet-params")
TWO = pack("<2f", 1, 2)
SIZES = {name: 1 << (0 if "8" in name or name == "bool" else 1 if "16" in name else 2 if "32" in name else 3) for name in FLAGS}


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """A file of the arrays given."""

    def make(*arrays: bytes, names: tuple[str, ...] | None = None) -> Path:
        path = tmp_path / "made.params"
        path.write_bytes(listed(*arrays, names=names))
        return path

    return make


# Real files


@every_case
def test_it_is_what_mxnet_had_in_memory(record: dict[str, Any], ckpt: Ckpt) -> None:
    cases.is_as_told(record, ckpt)
    assert list(cases.opened(record)) == [tensor["name"] for tensor in cases.expected(record)["tensors"]]
    assert cases.opened(record).ties() == []


@every_case
def test_it_is_there_and_back_by_way_of_the_others_without_a_difference(record: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    source = CASES / record["file"]
    for suffix in ("safetensors", "pt"):
        ckpt("convert", source, tmp_path / f"a.{suffix}")
        ckpt("convert", tmp_path / f"a.{suffix}", tmp_path / f"{suffix}.params")
        assert ckpt("diff", source, tmp_path / f"{suffix}.params").out == ""
        whole = [ckpt("hash", path).rows[-1][0] for path in (source, tmp_path / f"a.{suffix}", tmp_path / f"{suffix}.params")]
        assert len(set(whole)) == 1


@every_case
def test_written_anew_it_is_the_same_to_the_byte(record: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    """Version, devices, names and order are kept: a cast to float64 and back changes nothing in a file of floats."""
    source, wide, back = CASES / record["file"], tmp_path / "wide.params", tmp_path / "back.params"
    dtype = cases.expected(record)["tensors"][0]["dtype"]
    ckpt("cast", source, "float64", "-o", wide, "--format", "mxnet")
    ckpt("cast", wide, dtype, "-o", back)
    assert back.read_bytes() == source.read_bytes()


@every_case
def test_an_edit_in_place_writes_the_bytes_of_that_tensor_alone(record: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    path = Path(shutil.copy(CASES / record["file"], tmp_path / Path(record["file"]).name))
    path.chmod(0o644)
    name, before = cases.expected(record)["tensors"][0]["name"], path.read_bytes()
    extent = files.open(str(path))[name].storage
    start, stop = extent.place(), extent.place() + extent.nbytes  # type: ignore[attr-defined]
    ckpt("set", path, f"{name} += 1", "-i")
    after = path.read_bytes()
    assert after[:start] + after[stop:] == before[:start] + before[stop:] and after[start:stop] != before[start:stop]


def test_what_is_tied_in_the_net_is_found_by_its_bytes(case: Callable[[str], Path], ckpt: Ckpt) -> None:
    rows = ckpt("tied", "--equal", case("mxnet/tied.nd.params")).rows
    groups = [set(row) & {"1.weight", "2.weight", "1.bias", "2.bias", "0.weight"} for row in rows]
    assert {"1.weight", "2.weight"} in groups


def test_a_list_without_names_is_called_by_positions_and_stays_without_names(made: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    path = made(array(TWO, 2), array(TWO + TWO, 4), names=())
    assert [row[0] for row in ckpt("ls", path).rows] == ["0", "1"]
    ckpt("cast", path, "float64", "1", "-o", tmp_path / "b.params")
    assert (tmp_path / "b.params").read_bytes() == listed(array(TWO, 2), array(pack("<4d", 1, 2, 1, 2), 4, flag=1), names=())
    ckpt("drop", path, "0", "-o", tmp_path / "c.params")
    assert (tmp_path / "c.params").read_bytes() == listed(array(TWO + TWO, 4), names=("1",))


# What the format can hold


@pytest.mark.parametrize("name", FLAGS)
def test_every_dtype_is_read_as_what_it_is(name: str, made: Callable[..., Path], ckpt: Ckpt) -> None:
    data = bytes(range(2 * SIZES[name])) if name != "bool" else b"\0\1"
    path = made(array(data, 2, flag=FLAGS.index(name)))
    assert ckpt("ls", path).rows == [["a", name, "2", "2", str(len(data)), ""]]
    assert files.open(str(path))["a"].tobytes() == data


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_is_written_or_refused_before_a_byte(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """MXNet 1.9 knows eight dtypes and bfloat16."""
    tensors = {"a": example(name, 2, 3), "b": example(name, 5, seed=1)}
    source, path = tmp_path / "a.pt", tmp_path / "b.params"
    import torch

    torch.save(tensors, source)
    if name in FLAGS[:8] or name == "bfloat16":
        ckpt("convert", source, path)
        assert read_bits(path) == all_bits(tensors)
        return
    assert f"cannot hold a, which is {name}" in ckpt("convert", source, path, status=2).err
    assert not path.exists()


def test_what_mxnet_1_9_does_not_know_is_written_where_it_was_read(made: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    path = made(array(bytes(4), 2, flag=9), array(TWO, 2))
    ckpt("drop", path, "b", "-o", tmp_path / "b.params")
    assert (tmp_path / "b.params").read_bytes() == listed(array(bytes(4), 2, flag=9))


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_every_version_is_read_and_the_old_ones_become_the_second(
    version: int, made: Callable[..., Path], tmp_path: Path, ckpt: Ckpt
) -> None:
    path = made(array(TWO, 2, version=version), array(TWO + TWO, 2, 2, version=version))
    assert [row[2] for row in ckpt("ls", path).rows] == ["2", "2x2"]
    ckpt("rename", path, "b=c", "-o", tmp_path / "b.params")
    new = max(version, 2)
    assert (tmp_path / "b.params").read_bytes() == listed(array(TWO, 2, version=new), array(TWO + TWO, 2, 2, version=new), names=("a", "c"))


def test_a_scalar_and_an_empty_array_make_it_the_third_version_throughout(tmp_path: Path, ckpt: Ckpt) -> None:
    """MXNet takes no file of both: the second version has no such shapes."""
    import torch

    tensors = {"a": torch.tensor(3.5), "b": torch.zeros(0, 3), "c": torch.ones(2)}
    save_file(tensors, tmp_path / "a.safetensors")
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "a.params")
    assert versions((tmp_path / "a.params").read_bytes()) == [3, 3, 3]
    assert read_bits(tmp_path / "a.params") == all_bits(tensors)
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "b.params", "--select", "c")
    assert versions((tmp_path / "b.params").read_bytes()) == [2]


def test_the_devices_of_the_arrays_stay_what_they_are(made: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    gpu = pack("<ii", 2, 3)
    path = made(array(TWO, 2, device=gpu), array(TWO, 2))
    ckpt("rename", path, "a=x", "-o", tmp_path / "b.params")
    assert (tmp_path / "b.params").read_bytes() == listed(array(TWO, 2, device=gpu), array(TWO, 2), names=("x", "b"))


def test_sparse_arrays_are_listed_refused_for_values_and_carried_along(made: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    arrays = row_sparse(TWO + TWO, [1, 4], 6, 2), csr(TWO, [0, 1, 1, 2], [0, 3], 3, 4)
    path = made(*arrays, array(TWO, 2))
    assert [row[:3] for row in ckpt("ls", path).rows] == [
        ["a", "float32 (sparse_row)", "6x2"],
        ["b", "float32 (sparse_csr)", "3x4"],
        ["c", "float32", "2"],
    ]
    for args in (["get", path, "a"], ["set", path, "b = 1", "-i"], ["convert", path, tmp_path / "a.safetensors"]):
        assert "sparse_" in ckpt(*args, status=2).err
    ckpt("drop", path, "c", "-o", tmp_path / "b.params")
    assert (tmp_path / "b.params").read_bytes() == listed(*arrays)
    assert "nan" not in ckpt("check", path, "--finite").out.lower()
    ckpt("set", path, "c = 7", "-i")
    assert path.read_bytes() == listed(*arrays, array(pack("<2f", 7, 7), 2))


def test_ties_are_left_behind_and_each_name_has_its_own_copy(tmp_path: Path, ckpt: Ckpt) -> None:
    found = ckpt("convert", SAMPLES / "shared-mlp.pt", tmp_path / "a.params")
    assert "MXNet's .params has no place for ties, and each name has its own copy (4.weight = 2.weight, 4.bias = 2.bias)" in found.err
    assert ckpt("tied", tmp_path / "a.params").out == ""
    assert ckpt("diff", SAMPLES / "shared-mlp.pt", tmp_path / "a.params", "--name-only", status=1).out
    assert len(ckpt("tied", "--equal", tmp_path / "a.params").rows) == 2


# Initialising


def test_the_preset_gives_every_parameter_of_gluon_its_own_start(tmp_path: Path, ckpt: Ckpt) -> None:
    out = tmp_path / "fresh.params"
    ckpt("reinit", SAMPLES / "convbn.params", "--preset", "mxnet", "--seed", "0", "-o", out)
    figures = {t["name"]: (t["min"], t["max"]) for t in json.loads(ckpt("stats", out, "--json").out)["tensors"]}
    same = {"0.bias": 0, "1.gamma": 1, "1.beta": 0, "1.running_mean": 0, "1.running_var": 1, "2.bias": 0}
    assert {name: figures[name] for name in same} == {name: (value, value) for name, value in same.items()}
    for name in ("0.weight", "2.weight"):
        least, most = figures[name]
        assert -0.07 <= least < -0.06 and 0.06 < most <= 0.07


@pytest.mark.parametrize(("prefix", "aux"), [("", ""), ("arg:", "aux:")])
def test_the_preset_knows_the_names_of_module_too(prefix: str, aux: str, made: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    """What `Module.save_checkpoint` and `HybridBlock.export` write."""
    arguments = {
        "fc1_weight": (4, 3),
        "fc1_bias": (4,),
        "bn1_gamma": (4,),
        "bn1_beta": (4,),
        "prelu0_alpha": (1,),
        "lstm0_l0_h2h_bias": (4,),
    }
    auxiliary = {"bn1_moving_mean": (4,), "bn1_moving_var": (4,)}
    named = {prefix + name: sizes for name, sizes in arguments.items()} | {aux + name: sizes for name, sizes in auxiliary.items()}
    data = [array(pack("<f", 9) * (12 if len(sizes) == 2 else sizes[0]), *sizes) for sizes in named.values()]
    path = made(*data, names=tuple(named))
    ckpt("reinit", path, "--preset", "mxnet", "--seed", "0", "-i")
    figures = {
        t["name"].partition(":")[2] or t["name"]: (t["min"], t["max"]) for t in json.loads(ckpt("stats", path, "--json").out)["tensors"]
    }
    weight = figures.pop("fc1_weight")
    assert -0.07 <= weight[0] < weight[1] <= 0.07
    zeros = ("fc1_bias", "bn1_beta", "lstm0_l0_h2h_bias", "bn1_moving_mean")
    wanted = dict.fromkeys(zeros, 0) | {"bn1_gamma": 1, "bn1_moving_var": 1, "prelu0_alpha": 0.25}
    assert figures == {name: (value, value) for name, value in wanted.items()}


# Any file


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ANY = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_ANY
@given(names=st.lists(_NAMES, unique=True, min_size=1, max_size=6), data=st.data())
def test_whatever_names_dtypes_and_shapes_there_are_an_edit_writes_them_back(
    names: list[str], data: st.DataObject, tmp_path: Path, ckpt: Ckpt
) -> None:
    version = data.draw(st.sampled_from([0, 1, 2, 3]))
    arrays = []
    for _ in names:
        sizes = data.draw(st.lists(st.integers(0 if version == 3 else 1, 4), min_size=0 if version == 3 else 1, max_size=4))
        flag = data.draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 12]))
        count = SIZES[FLAGS[flag]]
        for n in sizes:
            count *= n
        arrays.append((sizes, flag, data.draw(st.binary(min_size=count, max_size=count))))

    def file(version: int, before: str = "") -> bytes:
        return listed(*(array(b, *s, flag=f, version=version) for s, f, b in arrays), names=tuple(before + name for name in names))

    source, other = tmp_path / "a.params", tmp_path / "b.params"
    source.write_bytes(file(version))
    other.unlink(missing_ok=True)
    ckpt("rename", source, r"re:\A=x.", "-o", other)
    assert other.read_bytes() == file(max(version, 2), "x.")
