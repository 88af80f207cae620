"""MXNet's `.params`: what `net.save_parameters`, `nd.save` and Module write is listed, edited where it lies, and written as MXNet does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path
from struct import pack
from typing import Any

import cases
import pytest
from conftest import CASES, SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ndarrays import FLAGS, array, csr, listed, row_sparse, versions
from oracles import DTYPES, all_bits, example, read_bits
from safetensors.torch import save_file

from ckpt_cli import reading

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
    extent = reading.open(str(path))[name].storage
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
    assert reading.open(str(path))["a"].tobytes() == data


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


# Layers, as the graph beside the file tells them


def graph(*nodes: tuple[str, str, list[int]]) -> str:
    """What Symbol.save writes: op, name, the numbers of what it takes."""
    told = [{"op": op, "name": name, "inputs": [[at, 0, 0] for at in takes]} for op, name, takes in nodes]
    variables = [at for at, (op, _, _) in enumerate(nodes) if op == "null"]
    return json.dumps(
        {"nodes": told, "arg_nodes": variables, "heads": [[len(nodes) - 1, 0, 0]], "attrs": {"mxnet_version": ["int", 10901]}}
    )


def symbol(*layers: tuple[str, str, list[str]]) -> str:
    """A chain of layers, each with its op, its name and its variables."""
    nodes: list[tuple[str, str, list[int]]] = [("null", "data", [])]
    last = 0
    for op, name, variables in layers:
        first = len(nodes)
        nodes += [("null", variable, []) for variable in variables]
        nodes.append((op, name, [last, *range(first, len(nodes))]))
        last = len(nodes) - 1
    return graph(*nodes)


MODULE = symbol(
    ("Embedding", "embed", ["embed_weight"]),
    ("Convolution", "conv1", ["conv1_weight", "conv1_bias"]),
    ("BatchNorm", "bn", ["bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var"]),
    ("Activation", "relu1", []),
    ("LeakyReLU", "act", ["act_gamma"]),
    ("transpose", "transpose0", []),
    ("FullyConnected", "fc1", ["fc1_weight", "fc1_bias"]),
)
SHAPES: dict[str, tuple[int, ...]] = {
    "arg:embed_weight": (5, 3), "arg:conv1_weight": (4, 3, 1, 1), "arg:conv1_bias": (4,), "arg:bn_gamma": (4,), "arg:bn_beta": (4,),
    "arg:act_gamma": (4,), "arg:fc1_weight": (2, 4), "arg:fc1_bias": (2,), "aux:bn_moving_mean": (4,), "aux:bn_moving_var": (4,),
}  # fmt: skip


def saved(folder: Path, shapes: dict[str, tuple[int, ...]], symbol: str | bytes | None, name: str = "model-0007") -> Path:
    """The two files of Module.save_checkpoint(PREFIX, 7)."""
    path = folder / f"{name}.params"
    path.write_bytes(listed(*(array(pack("<f", 9) * prod(sizes), *sizes) for sizes in shapes.values()), names=tuple(shapes)))
    if symbol is not None:
        (folder / "model-symbol.json").write_bytes(symbol if isinstance(symbol, bytes) else symbol.encode())
    return path


def picked(ckpt: Ckpt, path: Path, pattern: str) -> list[str]:
    return [row[0] for row in ckpt("ls", path, pattern).rows]


@pytest.mark.parametrize("name", ["model-0007", "model"])
def test_the_graph_beside_it_tells_the_types_of_the_layers(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = saved(tmp_path, SHAPES, MODULE, name)
    assert picked(ckpt, path, "@FullyConnected") == ["arg:fc1_weight", "arg:fc1_bias"]
    assert picked(ckpt, path, "@FullyConnected.weight") == ["arg:fc1_weight"]
    assert picked(ckpt, path, "@BatchNorm") == ["arg:bn_gamma", "arg:bn_beta", "aux:bn_moving_mean", "aux:bn_moving_var"]
    layers = {row["path"]: (row["type"], row["params"], row["buffers"]) for row in ckpt("summary", path, "--json").json["layers"]}
    assert layers == {
        "": ("Symbol", 0, 0), "embed": ("Embedding", 15, 0), "conv1": ("Convolution", 16, 0), "bn": ("BatchNorm", 8, 8),
        "relu1": ("Activation", 0, 0), "act": ("LeakyReLU", 4, 0), "fc1": ("FullyConnected", 10, 0),
    }  # fmt: skip
    ckpt("reinit", path, "--preset", "mxnet", "--seed", "0", "-i")
    assert ckpt("get", path, "arg:act_gamma").out == "[0.25 0.25 0.25 0.25]\n"


def test_gluon_calls_the_node_of_a_layer_its_forward_and_an_rnn_joins_its_weights(tmp_path: Path, ckpt: Ckpt) -> None:
    shapes: dict[str, tuple[int, ...]] = {"arg:lstm0_l0_i2h_weight": (8, 2), "arg:lstm0_l0_i2h_bias": (8,), "arg:dense0_weight": (1, 2)}
    told = graph(
        ("null", "data", []),
        ("null", "lstm0_l0_i2h_weight", []),
        ("Reshape", "lstm0_reshape0", [1]),
        ("null", "lstm0_l0_i2h_bias", []),
        ("_rnn_param_concat", "lstm0__rnn_param_concat0", [2, 3]),
        ("RNN", "lstm0_rnn0", [0, 4]),
        ("null", "dense0_weight", []),
        ("FullyConnected", "dense0_fwd", [5, 6]),
        ("FullyConnected", "dense0_fwd", [7, 6]),
    )
    path = saved(tmp_path, shapes, told)
    assert picked(ckpt, path, "@RNN") == ["arg:lstm0_l0_i2h_weight", "arg:lstm0_l0_i2h_bias"]
    assert {row["path"]: row["type"] for row in ckpt("summary", path, "--json").json["layers"]} == {
        "": "Symbol", "lstm0_rnn0": "RNN", "dense0": "FullyConnected",
    }  # fmt: skip


def test_what_the_graph_leaves_out_is_of_the_layer_of_its_name_or_of_none(tmp_path: Path, ckpt: Ckpt) -> None:
    """Graphs from before 0.9 have no auxiliary states; a file may hold more than the network takes."""
    told = symbol(("BatchNorm", "bn", ["bn_gamma"]))
    path = saved(tmp_path, {"arg:bn_gamma": (4,), "aux:bn_moving_mean": (4,), "arg:more": (3,)}, told)
    assert picked(ckpt, path, "@BatchNorm") == ["arg:bn_gamma", "aux:bn_moving_mean"]
    assert ckpt("summary", path, "--json").json["params"] == 7


BROKEN = {
    "no JSON": ('{"nodes": [', "broken"),
    "a key twice": ('{"nodes": [], "nodes": []}', "twice"),
    "no graph": ("[]", "no nodes"),
    "nodes that are none": ('{"nodes": [1]}', "no op and name"),
    "a node that takes itself": (graph(("FullyConnected", "fc1", [0])), "no earlier nodes"),
    "a number that is a truth": (
        '{"nodes": [{"op": "null", "name": "a", "inputs": []}, {"op": "b", "name": "b", "inputs": [[true]]}]}',
        "earlier",
    ),
    "a nest": ("[" * 100_000, "broken"),
    "too many bytes": (" " * (1 << 24) + "{}", "more than any"),
    "another network": (symbol(("FullyConnected", "other", ["other_weight"])), "of another network"),
}  # fmt: skip


@pytest.mark.parametrize("told", BROKEN)
def test_a_graph_that_is_broken_tells_nothing_and_that_is_said(told: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = saved(tmp_path, SHAPES, BROKEN[told][0])
    found = ckpt("ls", path)
    assert len(found.rows) == len(SHAPES) and "tells of no layers" in found.err and BROKEN[told][1] in found.err
    assert found.err.count("\n") == 1
    assert {row["type"] for row in ckpt("summary", path, "--json").json["layers"]} == {None}


def test_without_a_graph_nothing_is_told_nor_said(tmp_path: Path, ckpt: Ckpt) -> None:
    path = saved(tmp_path, SHAPES, None)
    assert ckpt("ls", path).err == ""
    assert "layer types of this file are not known" in ckpt("ls", path, "@FullyConnected", status=2).err


@pytest.mark.parametrize("kind", ["a link out", "a FIFO", "a folder", "a link to nothing"])
def test_only_a_plain_file_beside_it_is_opened(kind: str, tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "in").mkdir()
    beside, out = tmp_path / "in" / "model-symbol.json", tmp_path / "out.json"
    out.write_text(MODULE)
    path = saved(tmp_path / "in", SHAPES, None)
    if kind == "a FIFO":
        os.mkfifo(beside)
    elif kind == "a folder":
        beside.mkdir()
    else:
        beside.symlink_to(out if kind == "a link out" else tmp_path / "in" / "nothing")
    found = ckpt("ls", path)
    assert len(found.rows) == len(SHAPES) and "tells of no layers" in found.err


@given(data=st.data())
@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_graph_at_all_is_an_answer(data: st.DataObject, tmp_path: Path, ckpt: Ckpt) -> None:
    names = st.sampled_from(["", ".", "a", "a_fwd", "fc1_weight", "fc1_bias", "bn_gamma", "a.b", "a.b.c", "bn_moving_mean"])
    nodes = []
    for at in range(data.draw(st.integers(0, 12))):
        takes = data.draw(st.lists(st.integers(0, at - 1), max_size=3)) if at else []
        nodes.append((data.draw(st.sampled_from(["null", "null", "BatchNorm", "RNN", "dot", ""])), data.draw(names), takes))
    path = saved(tmp_path, SHAPES, graph(*nodes))
    assert sum(row["params"] + row["buffers"] for row in ckpt("summary", path, "--json").json["layers"]) == 61


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
_ANY = settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])


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
