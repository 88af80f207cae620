"""Files of `torch.save`, zipped and legacy: all that torch writes is read without torch, all that ckpt writes torch loads."""

from __future__ import annotations

import collections
import io
import os
import pickle
import re
import runpy
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import DTYPES, all_bits, bits, example, loaded, members, read_bits
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore")
SHAPES: list[tuple[int, ...]] = [(), (0,), (3, 0, 2), (1,), (2, 3), (1, 2, 1, 3)]
LEGACY = [name for name in DTYPES if name not in ("uint16", "uint32", "uint64") and not name.startswith("float8")]


def save(thing: Any, path: Path, legacy: bool = False, protocol: int = 2) -> Path:
    torch.save(thing, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return path


def names(ckpt: Ckpt, path: Path) -> list[str]:
    return [row[0] for row in ckpt("ls", path).rows]


def touched(ckpt: Ckpt, path: Path) -> Path:
    """The file rebuilt: by dropping a tensor that was put there for it."""
    out = path.with_name("rebuilt.pt")
    ckpt("drop", path, "extra", "-o", out, "--force")
    return out


# What torch writes is read.


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_read_and_rewritten_bit_for_bit(dtype: str, tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = {f"t{i}": example(dtype, *shape) for i, shape in enumerate(SHAPES)}
    path = save(tensors | {"extra": torch.ones(1)}, tmp_path / "a.pt")
    rows = {row[0]: row for row in ckpt("ls", path).rows}
    for name, tensor in tensors.items():
        assert rows[name][1:3] == [dtype, "x".join(map(str, tensor.shape))]
    out = touched(ckpt, path)
    assert read_bits(out) == all_bits(tensors)
    assert all_bits(loaded(out)) == all_bits(tensors)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", LEGACY)
def test_legacy_files_of_every_dtype_are_read_and_rewritten_as_a_zip(dtype: str, protocol: int, tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = {f"t{i}": example(dtype, *shape) for i, shape in enumerate(SHAPES)}
    path = save(tensors | {"extra": torch.ones(1)}, tmp_path / "a.pt", legacy=True, protocol=protocol)
    assert ckpt("ls", path, "--json").json["format"] == "torch-legacy"
    assert read_bits(path) == all_bits(tensors | {"extra": torch.ones(1)})
    out = touched(ckpt, path)
    assert zipfile.is_zipfile(out)
    assert all_bits(loaded(out, weights_only=protocol == 2)) == all_bits(tensors)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_pickle_protocol_that_torch_takes_is_read_and_kept(protocol: int, tmp_path: Path, ckpt: Ckpt) -> None:
    thing = {"w": torch.ones(2), "extra": torch.ones(1), "note": "x" * 300, "raw": b"\0\xff", "set": {1, 2}, "big": 2**70, "pair": (1, 2.5)}
    out = touched(ckpt, save(thing, tmp_path / "a.pt", protocol=protocol))
    after = loaded(out, weights_only=False)
    assert bits(after.pop("w")) == bits(thing.pop("w"))
    assert after == {key: value for key, value in thing.items() if key != "extra"}


def geometry(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.untyped_storage().nbytes()


def views() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0)
    matrix = base.view(4, 6)
    return {
        "base": base,
        "matrix": matrix,
        "transposed": matrix.t(),
        "slice": matrix[1:3, ::2],
        "row": matrix[2],
        "scalar": base[7],
        "expanded": base[3:4].expand(5),
        "expanded2": base[:4].view(4, 1).expand(4, 3),
        "windows": base.unfold(0, 4, 2),
        "diagonal": matrix.diagonal(),
        "permuted": base.view(2, 3, 4).permute(2, 0, 1),
        "empty at the end": base[24:],
        "channels last": torch.arange(48.0).view(1, 3, 4, 4).to(memory_format=torch.channels_last),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_views_keep_their_storage_strides_and_offsets_when_rewritten(legacy: bool, tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = views()
    path = save(tensors | {"extra": torch.ones(1)}, tmp_path / "a.pt", legacy)
    assert {n: v for n, v in read_bits(path).items() if n != "extra"} == all_bits(tensors)
    after = loaded(touched(ckpt, path))
    assert {name: geometry(t) for name, t in after.items()} == {name: geometry(t) for name, t in tensors.items()}
    assert all_bits(after) == all_bits(tensors)
    assert len({t.untyped_storage().data_ptr() for name, t in after.items() if name != "channels last"}) == 1


def test_a_value_set_in_one_view_is_seen_in_all_and_nowhere_else(tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = views()
    path = save(tensors, tmp_path / "a.pt")
    ckpt("set", path, "transposed[2, 1] = 99", "slice[1] = -1", "-i")
    tensors["transposed"][2, 1] = 99
    tensors["slice"][1] = -1
    assert all_bits(loaded(path)) == all_bits(tensors)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_strided_view_is_read_as_torch_reads_it(tmp_path: Path, ckpt: Ckpt, data: st.DataObject) -> None:
    base = torch.arange(64).to(getattr(torch, data.draw(st.sampled_from(["uint8", "int16", "float32", "complex64"]))))
    shape = data.draw(st.lists(st.integers(0, 4), max_size=4))
    strides = data.draw(st.lists(st.integers(0, 5), min_size=len(shape), max_size=len(shape)))
    view = base.as_strided(shape, strides, data.draw(st.integers(0, 3)))
    path = save({"v": view, "extra": torch.ones(1)}, tmp_path / "a.pt")
    assert read_bits(path)["v"] == bits(view)
    out = touched(ckpt, path)
    assert geometry(loaded(out)["v"]) == geometry(view)
    ckpt("convert", out, tmp_path / "a.safetensors", "--force")
    assert bits(loaded(tmp_path / "a.safetensors")["v"]) == bits(view)


def training() -> dict[str, Any]:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.rand(5, 3)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "model": net.state_dict(), "optimizer": optimizer.state_dict(), "losses": [1.5, float("nan")], "note": None}


def test_nested_containers_are_named_by_their_path_and_the_rest_are_objects(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save(training(), tmp_path / "a.ckpt")
    listed = names(ckpt, path)
    assert listed[:3] == ["model.0.weight", "model.0.bias", "model.1.weight"]
    assert {"model.1.num_batches_tracked", "optimizer.state.0.exp_avg", "optimizer.state.5.step"} <= set(listed)
    from ckpt_cli import reading

    objects = reading.open(str(path)).objects
    assert objects["epoch"] == 3 and objects["optimizer.param_groups.0.lr"] == 0.001 and objects["note"] is None
    assert objects["optimizer.param_groups.0.betas.1"] == 0.999 and objects["losses.0"] == 1.5


TWINS: list[tuple[str, dict[Any, Any], list[str]]] = [
    ("an integer beside its text", {7: 1, "7": 2}, ["[7]", "7"]),
    ("dots inside a key", {"a.b": 1, "a": {"b": 2}}, ["a\\.b", "a.b"]),
    ("a backslash too", {"a.b": 1, "a": {"b": 2}, "a\\.b": 3}, ["a\\.b", "a.b", "a\\\\\\.b"]),
    ("deep twins", {"s": {0: {"m": 1}, "0": {"m": 2}}}, ["s.[0].m", "s.0.m"]),
    ("other keys beside their text", {None: 1, "None": 2, True: 3, "True": 4}, ["[None]", "None", "[True]", "True"]),
    ("a tuple beside its text", {(0, 1): 1, "(0, 1)": 2}, ["[(0, 1)]", "(0, 1)"]),
    ("no twins, no marks", {"a.b": 1, 7: 2, "c": {"d.e": 3}}, ["a.b", "7", "c.d.e"]),
    ("odd names", {"": 1, " ": 2, "a b": 3, "ä": 4, ".": {"": 5}}, ["", " ", "a b", "ä", ".."]),
]


def filled(tree: Any) -> Any:
    return {key: filled(value) for key, value in tree.items()} if isinstance(tree, dict) else torch.full((2,), float(tree))


@pytest.mark.parametrize(("tree", "expected"), [row[1:] for row in TWINS], ids=[row[0] for row in TWINS])
def test_paths_that_join_to_one_text_are_told_apart(tree: dict[Any, Any], expected: list[str], tmp_path: Path, ckpt: Ckpt) -> None:
    path = save(filled(tree), tmp_path / "a.pt")
    assert names(ckpt, path) == expected
    for i, name in enumerate(expected, 1):
        assert ckpt("get", path, name, "--json").json["values"] == [i, i]


def test_a_tensor_and_an_object_of_one_path_are_told_apart(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"a.b": torch.ones(1), "a": {"b": 3}, "w": torch.ones(1)}, tmp_path / "a.pt")
    assert names(ckpt, path) == ["a\\.b", "w"]
    ckpt("drop", path, "a\\.b", "-i")
    assert loaded(path)["a"] == {"b": 3}
    ckpt("drop", path, "a.b", "-i")
    assert set(loaded(path)) == {"w"}


class Colour(Enum):
    red = 1
    blue = 2


def test_keys_of_foreign_classes_do_not_make_twins(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({Colour.red: torch.zeros(1), Colour.blue: torch.ones(1), "extra": torch.ones(1)}, tmp_path / "a.pt")
    assert [name.split(".")[-1] for name in names(ckpt, path)] == ["Colour(1)", "Colour(2)", "extra"]
    after = loaded(touched(ckpt, path), weights_only=False)
    assert {key: value.item() for key, value in after.items()} == {Colour.red: 0, Colour.blue: 1}


def test_twins_are_renamed_and_dropped_one_at_a_time(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({7: torch.zeros(1), "7": torch.ones(1), "a.b": torch.full((1,), 2.0), "a": {"b": torch.full((1,), 3.0)}}, tmp_path / "a.pt")
    ckpt("rename", path, "[7]=eight", "a\\.b=a.c", "-i")
    after = loaded(path)
    assert list(after) == ["eight", "7", "a"] and after["eight"].item() == 0
    assert {key: value.item() for key, value in after["a"].items()} == {"b": 3, "c": 2}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_are_part_of_the_name_and_are_stripped_by_a_rename(prefix: str, tmp_path: Path, ckpt: Ckpt) -> None:
    state = nn.Linear(2, 2).state_dict()
    path = save(OrderedDict((prefix + name, t) for name, t in state.items()), tmp_path / "a.pt")
    assert names(ckpt, path) == [prefix + "weight", prefix + "bias"]
    ckpt("rename", path, f"{prefix}*=*", "-i")
    assert all_bits(loaded(path)) == all_bits(state)


def test_a_lightning_like_file_keeps_everything_besides(tmp_path: Path, ckpt: Ckpt) -> None:
    state = OrderedDict((f"model.{name}", t) for name, t in nn.Linear(2, 2).state_dict().items())
    beside = {"epoch": 1, "pytorch-lightning_version": "2.6", "callbacks": {"ModelCheckpoint{'monitor': None}": {"best": "a.ckpt"}}}
    path = save(beside | {"state_dict": state, "optimizer_states": [{"state": {}, "param_groups": []}]}, tmp_path / "a.ckpt")
    assert names(ckpt, path) == ["state_dict.model.weight", "state_dict.model.bias"]
    ckpt("rename", path, "state_dict.model.*=state_dict.net.*", "-i")
    after = loaded(path)
    assert list(after["state_dict"]) == ["net.weight", "net.bias"]
    assert {key: after[key] for key in beside} == beside and after["optimizer_states"] == [{"state": {}, "param_groups": []}]


def test_parameters_stay_parameters(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"w": nn.Parameter(torch.ones(2)), "f": nn.Parameter(torch.ones(2), requires_grad=False)}, tmp_path / "a.pt")
    ckpt("rename", path, "w=v", "-i")
    ckpt("cast", path, "float16", "v", "-i")
    after = loaded(path)
    assert isinstance(after["v"], nn.Parameter) and after["v"].requires_grad and after["v"].dtype == torch.float16
    assert isinstance(after["f"], nn.Parameter) and not after["f"].requires_grad


def test_the_metadata_of_a_state_dict_survive_structure_edits(tmp_path: Path, ckpt: Ckpt) -> None:
    state = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict()
    path = save(state, tmp_path / "a.pt")
    for edit in (
        ["drop", path, "0.bias"],
        ["rename", path, "0.weight=0.kernel"],
        ["cast", path, "float16"],
        ["tie", path, "1.weight", "1.bias"],
    ):
        ckpt(*edit, "-i")
    after = loaded(path)
    assert isinstance(after, OrderedDict) and after._metadata == state._metadata and after._metadata["1"] == {"version": 2}


# Whole modules, of classes that nobody can import.

PROGRAM = """
import sys, torch
from torch import nn
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.ones(3))
        self.register_buffer("count", torch.tensor(5))
        self.register_buffer("quiet", torch.zeros(2), persistent=False)
        self.constant = torch.rand(4)
        self.note = "text"
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = self.blocks[0].inner
        self.nothing = None
torch.manual_seed(0)
net = Net()
torch.save(net, sys.argv[1], _use_new_zipfile_serialization=sys.argv[3] == "zip")
torch.save(net.state_dict(), sys.argv[2])
"""
CHECK = PROGRAM.split("torch.manual_seed")[0] + "torch.save(torch.load(sys.argv[1], weights_only=False).state_dict(), sys.argv[2])"


def run_in_a_child(script: Path, *args: object) -> None:
    """`python SCRIPT ARGS…` in a fork, which has torch already; its classes stay there."""
    pid = os.fork()
    if pid == 0:
        try:
            sys.argv = [str(script), *map(str, args)]
            runpy.run_path(str(script), run_name="__main__")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_a_module_whose_class_cannot_be_imported_is_listed_edited_and_loads_where_it_can_be(kind: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, state, back = tmp_path / "a.pt", tmp_path / "state.pt", tmp_path / "back.pt"
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    run_in_a_child(script, path, state, kind)
    expected = all_bits(torch.load(state))
    found = read_bits(path)
    assert {name: found[name] for name in expected} == expected
    assert [name for name in found if name in expected] == list(expected)
    from ckpt_cli import reading

    checkpoint = reading.open(str(path))
    assert checkpoint.layers["blocks.0"] == "Block" and checkpoint.layers["blocks.1.inner"] == "Linear" and checkpoint.layers[""] == "Net"
    assert names(ckpt, path) == list(found)
    assert {row[0] for row in ckpt("ls", path, "@Linear").rows} == {n for n in expected if ".inner." in n or n.startswith("head.")}
    out = tmp_path / "out.pt"
    ckpt("cast", path, "float64", "blocks.1.scale", "-o", out)
    script.write_text(CHECK)
    run_in_a_child(script, out, back)
    after = torch.load(back)
    assert bits(after.pop("blocks.1.scale")) == bits(torch.ones(3, dtype=torch.float64))
    assert all_bits(after) == {name: value for name, value in expected.items() if name != "blocks.1.scale"}
    assert after["head.weight"].data_ptr() == after["blocks.0.inner.weight"].data_ptr()


# Tensors that are not plain ones.


def unusual() -> dict[str, torch.Tensor]:
    return {
        "coo": torch.eye(4).to_sparse(),
        "csr": torch.eye(4).to_sparse_csr(),
        "quantised": torch.quantize_per_tensor(torch.arange(4.0), 0.5, 2, torch.quint8),
        "channels": torch.quantize_per_channel(torch.ones(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8),
    }


SHOWN = {
    "coo": "float32 (sparse_coo)", "csr": "float32 (sparse_csr)", "quantised": "quint8", "channels": "qint8",
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_unusual_tensors_are_listed_refused_by_value_edits_and_carried_along(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    tensor = unusual()[name]
    path = save({name: tensor, "twin": unusual()[name], "w": torch.ones(2), "extra": torch.ones(1)}, tmp_path / "a.pt")
    row = next(row for row in ckpt("ls", path).rows if row[0] == name)
    assert row[1:3] == [SHOWN[name], "x".join(map(str, tensor.shape))]
    before = path.read_bytes()
    for edit in (["set", path, f"{name} = 1"], ["cast", path, "float16", name], ["tie", path, name, "twin"]):
        assert re.search(rf" {name}( \(.*\))? is ", ckpt(*edit, "-i", status=2).err)
    assert "cannot" in ckpt("convert", path, tmp_path / "a.safetensors", status=2).err
    assert path.read_bytes() == before
    ckpt("rename", path, "w=v", f"{name}=renamed", "-i")
    ckpt("cast", path, "float16", "v", "extra", "-i")
    after = loaded(touched(ckpt, path), weights_only=False)
    kept = after["renamed"]
    assert kept.layout == tensor.layout and kept.is_quantized == tensor.is_quantized and kept.dtype == tensor.dtype
    dense = (lambda t: t.dequantize()) if tensor.is_quantized else (lambda t: t.to_dense())
    assert torch.equal(dense(kept), dense(tensor)) and list(after) == ["renamed", "twin", "v"]


COMPLEX = torch.tensor([[1 + 2j, 3 - 4j], [0.5j, -1 + 0j]])
TURNED = {
    "conjugate": COMPLEX.conj(),
    "column": COMPLEX.conj()[:, 1],
    "adjoint": COMPLEX.mH,
    "double": COMPLEX.to(torch.complex128).conj(),
    "negative": COMPLEX.conj().imag,
    "both": torch._neg_view(COMPLEX.conj()),
}


@pytest.mark.parametrize("name", TURNED)
def test_values_that_torch_turns_when_they_are_read_are_the_turned_ones(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    tensor = TURNED[name]
    assert tensor.is_conj() or tensor.is_neg()
    plain = tensor.resolve_conj().resolve_neg().contiguous()
    path, other = save({"w": tensor, "x": torch.ones(2)}, tmp_path / "a.pt"), save({"w": plain, "x": torch.ones(2)}, tmp_path / "b.pt")
    ckpt("get", path, "w", "-o", tmp_path / "w.npy")
    assert np.array_equal(np.load(tmp_path / "w.npy"), plain.numpy())
    assert ckpt("diff", path, other, "--exact").out == ""
    assert ckpt("hash", path).out == ckpt("hash", other).out
    unturned = save({"w": torch._neg_view(plain).resolve_neg(), "x": torch.ones(2)}, tmp_path / "c.pt")
    assert ckpt("diff", path, unturned, status=1).rows[0][:2] == ["changed", "w"]
    ckpt("set", path, "x = 2", "-i")
    assert torch.equal(torch.load(path)["w"], tensor)
    ckpt("set", path, f"w[{', '.join('0' * tensor.ndim)}] = 7", "-i")
    plain[(0,) * tensor.ndim] = 7
    assert torch.equal(torch.load(path)["w"], plain)


def test_sparse_tensors_are_never_read_as_if_they_were_dense(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"a": torch.eye(40).to_sparse(), "b": torch.eye(40).to_sparse(), "x": torch.ones(2), "y": torch.ones(2)}, tmp_path / "a.pt")
    assert ckpt("tied", "--equal", path).rows == [["equal", "a", "b"], ["equal", "x", "y"]]
    assert "sparse_coo" in ckpt("get", path, "a", status=2).err


# Foreign classes, numpy, and everything else a training script keeps.


@dataclass
class Config:
    width: int
    name: str


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a, self.b = 1, "two"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slotted) and (self.a, self.b) == (other.a, other.b)

    __hash__ = None  # type: ignore[assignment]


Pair = collections.namedtuple("Pair", "left right")


def foreign() -> dict[str, Any]:
    counts: Any = defaultdict(int, a=1)
    loop: list[Any] = [1]
    loop.append({"me": loop})
    return {
        "config": Config(8, "x"), "slots": Slotted(), "pair": Pair(1, Config(2, "y")), "args": Namespace(lr=0.1), "counts": counts,
        "path": Path("a/b"), "size": torch.Size([1, 2]), "dtype": torch.float16, "device": torch.device("cpu"), "colour": Colour.blue,
        "set": {1, "two"}, "frozen": frozenset({3}), "range": range(3), "slice": slice(1, None), "complex": 1 + 2j, "bytes": b"\0\xff" * 9,
        "long": -(2**100), "nan": float("inf"), "class": Config, "function": os.path.join, "deque": collections.deque([1], 3),
    }  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_foreign_objects_are_carried_through_structure_edits(legacy: bool, protocol: int, tmp_path: Path, ckpt: Ckpt) -> None:
    things = foreign() | {"bytearray": bytearray(b"ab")} if protocol == 5 else foreign()
    path = save(things | {"w": torch.ones(2), "extra": torch.zeros(3)}, tmp_path / "a.pt", legacy, protocol)
    out = touched(ckpt, path)
    ckpt("rename", out, "w=v", "-i")
    ckpt("cast", out, "bfloat16", "-i")
    after = loaded(out, weights_only=False)
    assert bits(after.pop("v")) == bits(torch.ones(2, dtype=torch.bfloat16))
    assert after == things and list(after) == list(things)
    assert {key: type(value) for key, value in after.items()} == {key: type(value) for key, value in things.items()}


ARRAYS = {
    "plain": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype="i2").reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">f4"),
    "scalar": np.array(5, "u8"),
    "empty": np.zeros((0, 2), "c16"),
    "flags": np.array([True, False]),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", ARRAYS)
def test_numpy_arrays_in_the_pickle_are_tensors_too(name: str, protocol: int, tmp_path: Path, ckpt: Ckpt) -> None:
    array = ARRAYS[name]
    path = save({"array": array, "w": torch.ones(2), "extra": torch.ones(1)}, tmp_path / "a.pt", protocol=protocol)
    array = loaded(path, weights_only=False)["array"]  # numpy below protocol 5 turns big-endian arrays round
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).reshape(array.shape)
    assert read_bits(path)["array"] == (str(little.dtype), array.shape, little.tobytes())
    after = loaded(touched(ckpt, path), weights_only=False)["array"]
    assert after.dtype == array.dtype and np.array_equal(after, array) and after.flags.f_contiguous == array.flags.f_contiguous
    if array.size:
        ckpt("set", path, "array = 1", "-i")
        after = loaded(path, weights_only=False)
        assert np.array_equal(after["array"], np.ones_like(little)) and after["w"].tolist() == [1, 1]


def test_a_numpy_array_takes_numpy_s_dtypes_alone(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"array": np.arange(3.0), "w": torch.ones(2)}, tmp_path / "a.pt")
    for dtype in ("bfloat16", "float8_e4m3fn", "complex32"):
        assert f"cannot be {dtype}" in ckpt("cast", path, dtype, "array", "-i", status=2).err or dtype == "complex32"
    ckpt("cast", path, "float16", "-i")
    after = loaded(path, weights_only=False)
    assert after["array"].dtype == np.float16 and after["array"].tolist() == [0, 1, 2] and after["w"].dtype == torch.float16


def test_other_arrays_are_listed_as_what_they_are_and_carried_along(tmp_path: Path, ckpt: Ckpt) -> None:
    things = {"text": np.array(["a", "bcd"]), "objects": np.array([1, "a", None], dtype=object), "when": np.array(["2020-01-01"], "M8[D]")}
    path = save(things | {"w": torch.ones(2), "extra": torch.ones(1)}, tmp_path / "a.pt")
    assert {row[0]: row[1] for row in ckpt("ls", path).rows}.items() >= {"text": "<U3", "objects": "object"}.items()
    after = loaded(touched(ckpt, path), weights_only=False)
    assert all(np.array_equal(after[key], value) and after[key].dtype == value.dtype for key, value in things.items())


def test_integers_of_thousands_of_digits_are_one_line(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({10**4999: torch.ones(1)}, tmp_path / "a.pt")
    assert "an integer of over 4,000 digits" in ckpt("ls", path, status=2).err


# Edits.


def test_a_value_edit_leaves_every_other_byte_as_it_was(tmp_path: Path, ckpt: Ckpt) -> None:
    thing = training() | {"args": Namespace(lr=1), "config": Config(1, "x"), "raw": torch.UntypedStorage(8)}
    path = save(thing, tmp_path / "a.ckpt")
    before, raw = members(path), path.read_bytes()
    key = next(name for name, data in before.items() if data == thing["model"]["0.weight"].numpy().tobytes())
    ckpt("set", path, "model.0.weight[0, 1] = 42", "-i")
    after = members(path)
    assert len(path.read_bytes()) == len(raw) and list(after) == list(before)
    assert [name for name in before if before[name] != after[name]] == [key]
    assert zipfile.ZipFile(path).testzip() is None
    assert loaded(path, weights_only=False)["model"]["0.weight"][0, 1] == 42
    changed = [i for i, (x, y) in enumerate(zip(raw, path.read_bytes(), strict=True)) if x != y]
    assert len(changed) <= 4 + 4 + 4  # the element, and its member's checksum in two places


def test_dropping_the_optimizer_takes_its_groups_too_and_shrinks_the_file(tmp_path: Path, ckpt: Ckpt) -> None:
    thing = training()
    path, out = save(thing, tmp_path / "a.ckpt"), tmp_path / "b.ckpt"
    ckpt("drop", path, "optimizer.*", "-o", out)
    after = loaded(out)
    assert list(after) == ["epoch", "model", "losses", "note"] and all_bits(after["model"]) == all_bits(thing["model"])
    assert out.stat().st_size < path.stat().st_size / 2
    assert len([name for name in members(out) if name.startswith("data/")]) == len(thing["model"])


@pytest.mark.parametrize("pattern", ["args.*", "deep.*", "list.*", "pair.*"])
def test_a_container_that_a_drop_empties_is_gone(pattern: str, tmp_path: Path, ckpt: Ckpt) -> None:
    thing = {
        "w": torch.ones(1),
        "args": Namespace(a=1, b=2),
        "deep": [{"x": [1, 2], "y": {"z": torch.ones(1)}}],
        "list": [1, 2],
        "pair": (3,),
    }
    path = save(thing, tmp_path / "a.pt")
    ckpt("drop", path, pattern, "-i")
    assert set(loaded(path, weights_only=False)) == set(thing) - {pattern[:-2]}


def test_containers_that_were_empty_before_stay(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"w": torch.ones(1), "extra": torch.ones(1), "none": {}, "list": [], "inner": {"state": {}}}, tmp_path / "a.pt")
    assert {k: v for k, v in loaded(touched(ckpt, path)).items() if k != "w"} == {"none": {}, "list": [], "inner": {"state": {}}}


def test_plain_state_dicts_are_loaded_with_weights_only_after_every_structure_edit(tmp_path: Path, ckpt: Ckpt) -> None:
    state = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).state_dict()
    edits = (["rename", "*.weight=*.kernel"], ["drop", "1.bias"], ["tie", "0.weight", "1.weight"], ["cast", "bfloat16"])
    for i, (command, *args) in enumerate(edits):
        for legacy in (False, True):
            path = save(state, tmp_path / f"{i}{legacy}.pt", legacy)
            ckpt(command, path, *args, "-i")
            assert isinstance(torch.load(path, weights_only=True), OrderedDict)


def test_what_is_written_is_a_plain_stored_archive_with_aligned_storages(tmp_path: Path, ckpt: Ckpt) -> None:
    out = touched(ckpt, save({f"t{i}": torch.ones(i) for i in range(5)} | {"extra": torch.ones(1)}, tmp_path / "a.pt"))
    raw = out.read_bytes()
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            start = info.header_offset + 30 + int.from_bytes(raw[info.header_offset + 26 :][:2], "little")
            start += int.from_bytes(raw[info.header_offset + 28 :][:2], "little")
            assert start % 64 == 0, info.filename


def test_the_same_edit_gives_the_same_bytes(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save(training(), tmp_path / "a.ckpt")
    for name in ("x.ckpt", "y.ckpt"):
        ckpt("drop", path, "optimizer.*", "-o", tmp_path / name)
    assert (tmp_path / "x.ckpt").read_bytes() == (tmp_path / "y.ckpt").read_bytes()


def test_records_that_torch_keeps_beside_the_pickle_are_kept(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"w": torch.ones(2), "extra": torch.ones(1)}, tmp_path / "a.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/extra/notes.txt", "kept")
        archive.writestr("a/extra/packed.txt", "kept, too" * 20, zipfile.ZIP_DEFLATED)
    after = members(touched(ckpt, path))
    assert after["extra/notes.txt"] == b"kept" and after["extra/packed.txt"] == b"kept, too" * 20


# Odd files.


def big_endian(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    """The file as torch writes it on a big-endian machine."""
    save(tensors, path)
    before = members(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in before.items():
            if name == "byteorder":
                data = b"big"
            if name.startswith("data/"):
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            archive.writestr(f"a/{name}", data)
    return path


def test_a_big_endian_file_is_read_and_rewritten_as_a_little_endian_one(tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = {"a": torch.rand(3), "b": torch.rand(2, 2), "extra": torch.ones(1)}
    path = big_endian(tensors, tmp_path / "a.pt")
    assert read_bits(path) == all_bits(tensors) == all_bits(loaded(path))
    ckpt("set", path, "a[0] = 3", "-i")
    tensors["a"][0] = 3
    assert all_bits(loaded(path)) == all_bits(tensors)


def test_an_untyped_storage_of_a_big_endian_file_is_refused_not_misread(tmp_path: Path, ckpt: Ckpt) -> None:
    path = big_endian({"w": torch.tensor([1, 2], dtype=torch.uint16)}, tmp_path / "a.pt")
    assert "its byte order cannot be told" in ckpt("ls", path, status=2).err


def test_a_deflated_pickle_is_read_and_deflated_storages_are_refused(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"w": torch.ones(50), "extra": torch.ones(1)}, tmp_path / "a.pt")
    before = members(path)
    for packed, fine in (("data.pkl", True), ("data/0", False)):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in before.items():
                archive.writestr(f"a/{name}", data, zipfile.ZIP_DEFLATED if name == packed else zipfile.ZIP_STORED)
        assert names(ckpt, path) == ["w", "extra"]
        result = ckpt("get", path, "w[0]", status=None)
        assert (result.status, result.out.strip()) == (0, "1.0") if fine else "is compressed" in result.err


def test_two_pickles_in_one_archive_are_refused(tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"w": torch.ones(2)}, tmp_path / "a.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"N.")
    assert "more than one" in ckpt("ls", path, status=2).err


def legacy_file(pickled: bytes, keys: list[str], storages: list[tuple[int, bytes]]) -> bytes:
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, info))
    return head + pickled + pickle.dumps(keys, 2) + b"".join(count.to_bytes(8, "little") + data for count, data in storages)


def test_a_python_2_file_with_views_of_storages_is_read_and_rewritten(tmp_path: Path, ckpt: Ckpt) -> None:
    """As torch ≤ 0.4 wrote them: byte strings, and ('storage', class, key, location, numel, (view key, offset, size))."""
    rebuild, storage = b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"
    view = b"(U\x02v1K\x04K\x02t"
    pid = b"(U\x07storage" + storage + b"U\x01kU\x03cpuK\x06" + view + b"tQ"
    tensor = rebuild + b"(" + pid + b"K\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    pickled = b"\x80\x02}(U\x01w" + tensor + b"U\x05extraU\x04textu."
    path = tmp_path / "a.pth"
    path.write_bytes(legacy_file(pickled, ["k"], [(6, torch.arange(6.0).numpy().tobytes())]))
    assert ckpt("get", path, "w", "--json").json["values"] == [4, 5]
    assert loaded(path, weights_only=False)["w"].tolist() == [4, 5]
    ckpt("rename", path, "w=v", "-o", tmp_path / "b.pt")
    assert loaded(tmp_path / "b.pt", weights_only=False)["v"].tolist() == [4, 5]
    ckpt("drop", path, "extra", "-o", tmp_path / "c.pt")
    assert loaded(tmp_path / "c.pt", weights_only=False)["w"].tolist() == [4, 5]


LEGACY_BROKEN = [
    ("storage cut", lambda raw: raw[:-3], "truncated: 3 bytes are missing"),
    ("trailing bytes", lambda raw: raw + b"xyz", "3 bytes stand after the last storage"),
    ("pickles cut", lambda raw: raw[:60], "the file ends within its pickles"),
    ("another count", lambda raw: raw[:-16] + (3).to_bytes(8, "little") + raw[-8:], "are missing"),
]


@pytest.mark.parametrize(("change", "says"), [row[1:] for row in LEGACY_BROKEN], ids=[row[0] for row in LEGACY_BROKEN])
def test_a_broken_legacy_file_is_one_line(change: Any, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"w": torch.ones(2)}, tmp_path / "a.pt", legacy=True)
    path.write_bytes(change(path.read_bytes()))
    assert says in ckpt("ls", path, status=2).err


class Canary:
    """Calls whatever it is told to when a pickle of it is loaded."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("how", ["system", "exec", "eval", "open"])
def test_reading_and_editing_a_file_never_runs_what_is_in_it(how: str, legacy: bool, tmp_path: Path, ckpt: Ckpt) -> None:
    canary = tmp_path / "canary"
    calls = {
        "system": (os.system, f"touch {canary}"),
        "exec": (exec, f"open({str(canary)!r}, 'w')"),
        "eval": (eval, f"open({str(canary)!r}, 'w')"),
        "open": (open, str(canary), "w"),
    }
    thing = {"w": torch.ones(2), "extra": torch.ones(1), "evil": Canary(*calls[how]), Canary(*calls[how]): 1} if how != "open" else None
    thing = thing or {"w": torch.ones(2), "extra": torch.ones(1), "evil": Canary(*calls[how])}
    path = save(thing, tmp_path / "a.pt", legacy)
    for args in (["ls", path], ["summary", path], ["tied", path], ["get", path, "w"], ["diff", path, path]):
        ckpt(*args)
    ckpt("rename", touched(ckpt, path), "w=v", "-i")
    ckpt("convert", path, tmp_path / "a.safetensors")
    assert not canary.exists()
    try:
        torch.load(tmp_path / "rebuilt.pt", weights_only=False)
    except (OSError, TypeError):
        pass
    assert canary.exists()  # the call is carried along, and would have told


ARCHIVES = [
    ("end cut", lambda raw: raw[:-1], "the end of the zip is missing|more than one end"),
    ("half of it", lambda raw: raw[: len(raw) // 2], "truncated"),
    ("bytes after", lambda raw: raw + b"x", "bytes after it"),
    ("bytes before", lambda raw: b"PK\3\4" + raw, "does not end where|disagree|lies outside|64-bit end record is broken"),
]


@pytest.mark.parametrize(("change", "says"), [row[1:] for row in ARCHIVES], ids=[row[0] for row in ARCHIVES])
def test_a_broken_archive_is_one_line(change: Any, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"w": torch.ones(2)}, tmp_path / "a.pt")
    path.write_bytes(change(path.read_bytes()))
    assert any(part in ckpt("ls", path, status=2).err for part in says.split("|"))


def repickled(path: Path, pickled: bytes) -> Path:
    """The archive with another pickle in it."""
    before = members(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in before.items():
            archive.writestr(f"a/{name}", pickled if name == "data.pkl" else data)
    return path


LIES = [
    ("a larger storage", (b"K\x02tq\x07Q", b"K\x03tq\x07Q"), "has 8 bytes, the pickle says 12"),
    ("a larger shape", (b"K\x02\x85", b"K\x05\x85"), "lies outside of its storage"),
    ("a missing storage", (b"X\x01\0\0\x000", b"X\x01\0\0\x009"), "storage '9' is not in the archive"),
    ("an unknown class", (b"FloatStorage", b"FooooStorage"), "storages of class 'torch.FooooStorage' are not known"),
    ("True as a size", (b"K\x02\x85", b"\x88\x85"), "whose size is no tuple of integers"),
]


@pytest.mark.parametrize(("change", "says"), [row[1:] for row in LIES], ids=[row[0] for row in LIES])
def test_a_tensor_that_lies_about_its_storage_is_one_line(change: tuple[bytes, bytes], says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = save({"w": torch.ones(2)}, tmp_path / "a.pt")
    pickled = members(path)["data.pkl"]
    assert change[0] in pickled
    assert says in ckpt("ls", repickled(path, pickled.replace(*change, 1)), status=2).err


def test_a_root_that_is_a_tensor_or_a_list_is_read(tmp_path: Path, ckpt: Ckpt) -> None:
    one = save(torch.ones(2, 2), tmp_path / "one.pt")
    assert ckpt("ls", one).rows == [["", "float32", "2x2", "4", "16", ""]]
    ckpt("cast", one, "float16", "-i")
    assert loaded(one).dtype == torch.float16
    many = save([torch.ones(1), (torch.zeros(2), 5)], tmp_path / "many.pt")
    assert names(ckpt, many) == ["0", "1.0"]
    ckpt("drop", many, "0", "-i")
    assert torch.equal(loaded(many)[0][0], torch.zeros(2)) and len(loaded(many)) == 1


def test_a_buffer_in_memory_that_torch_wrote_is_as_good_as_a_file(tmp_path: Path, ckpt: Ckpt) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2)}, buffer)
    (tmp_path / "no suffix").write_bytes(buffer.getvalue())
    assert names(ckpt, tmp_path / "no suffix") == ["w"]
