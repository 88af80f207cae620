"""Flax's msgpack: trees of arrays as Flax wrote them, edited in place, rebuilt, converted. Flax itself judges in tests/oracle."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import cases
import numpy
import pytest
from conftest import CASES, SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import SAFE_DTYPES, all_bits, example, read_bits
from safetensors.torch import save_file

from ckpt_cli import reading

sys.path.insert(0, str(Path(__file__).parent / "hostile"))
from msgpack_files import array, chunked, counted, packed

STATE = SAMPLES / "train-state.msgpack"


def extents(path: Path) -> set[int]:
    """The bytes of a file in which arrays lie."""
    storages = [piece for tensor in reading.open(str(path)).values() for piece in tensor.storage.parts() or (tensor.storage,)]
    return {at for piece in storages for at in range(piece.place(), piece.place() + piece.nbytes)}  # type: ignore[attr-defined]


@cases.every_case("flax-msgpack")
def test_a_real_one_is_as_flax_had_it_in_memory(record: dict[str, Any], ckpt: Ckpt) -> None:
    cases.is_as_told(record, ckpt)


@cases.every_case("flax-msgpack")
def test_a_rebuilt_one_has_the_bytes_that_flax_wrote(record: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("rename", CASES / record["file"], "*=x.*", "-o", tmp_path / "other.msgpack")
    ckpt("rename", tmp_path / "other.msgpack", "x.*=*", "-o", tmp_path / "same.msgpack")
    assert (tmp_path / "same.msgpack").read_bytes() == (CASES / record["file"]).read_bytes()


def test_what_is_no_array_is_an_object() -> None:
    found = reading.open(str(STATE)).objects
    expected = {"list.1.x": None, "list.1.y": 1.5, "note": "a text", "opt_state.1": {}, "raw": b"\0\1", "step": 0, "z": 1 + 2j}
    assert dict(found) == expected


def test_an_array_in_chunks_is_one_tensor(ckpt: Ckpt) -> None:
    assert ckpt("get", STATE, "big[1:3, ::3]", "--format", "json").json["values"] == [[8, 11, 14], [16, 19, 22]]
    assert (reading.open(str(STATE))["big"].array() == numpy.arange(40).reshape(5, 8)).all()


@pytest.mark.parametrize(
    "assignment",
    ["params.Dense_0.kernel[1] = 5", "params.Dense_0.kernel[:, 0] *= 2", "bf16 += 1", "numpy = 7", "big[1:3] += 1", "big[:, 2] = -1"],
)
def test_an_edit_of_values_touches_their_bytes_alone(assignment: str, sample: Any, ckpt: Ckpt) -> None:
    path = sample(STATE.name)
    before, inside = path.read_bytes(), extents(path)
    ckpt("set", path, assignment, "-i")
    after = path.read_bytes()
    changed = {at for at in range(len(before)) if before[at] != after[at]}
    assert len(after) == len(before) and changed and changed <= inside
    other = sample(STATE.name)
    ckpt("set", STATE, assignment, "-o", other, "--force")
    assert other.read_bytes() == after


def test_an_array_in_chunks_is_edited_in_place(sample: Any, ckpt: Ckpt) -> None:
    path = sample(STATE.name)
    ckpt("set", path, "big[0:4] *= 2", "big[:, 7] = 1", "-i")
    wanted = numpy.arange(40).reshape(5, 8)
    wanted[0:4] *= 2
    wanted[:, 7] = 1
    assert (reading.open(str(path))["big"].array() == wanted).all()


@pytest.mark.parametrize("there", ["x.safetensors", "x.pt"])
def test_it_is_there_and_back_without_a_difference(there: str, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", STATE, tmp_path / there)
    ckpt("convert", tmp_path / there, tmp_path / "back.msgpack")
    for a, b in ((STATE, tmp_path / there), (tmp_path / there, tmp_path / "back.msgpack"), (STATE, tmp_path / "back.msgpack")):
        assert ckpt("diff", a, b).out == ""
        assert ckpt("hash", a).rows[-1] == ckpt("hash", b).rows[-1]
    assert ckpt("stats", STATE).out.splitlines() == ckpt("stats", tmp_path / there).out.splitlines()


def test_all_else_stays_through_a_rebuild(tmp_path: Path, ckpt: Ckpt) -> None:
    out = tmp_path / "out.msgpack"
    ckpt("rename", STATE, "*.kernel=*.w", "-o", out)
    before, after = reading.open(str(STATE)), reading.open(str(out))
    assert dict(after.objects) == dict(before.objects)
    assert [name.replace(".kernel", ".w") for name in before] == list(after)
    ckpt("drop", out, "list.0", "step", "-o", tmp_path / "less.msgpack")
    less = reading.open(str(tmp_path / "less.msgpack"))
    assert set(after.objects) - set(less.objects) == {"step"} and set(after) - set(less) == {"list.0"}
    ckpt("cast", out, "float16", "*.w", "-o", tmp_path / "half.msgpack")
    assert reading.open(str(tmp_path / "half.msgpack"))["params.Dense_0.w"].dtype.name == "float16"


def test_check_reads_all_of_it(sample: Any, ckpt: Ckpt) -> None:
    path = sample(STATE.name)
    ckpt("check", path, "--finite")
    ckpt("set", path, "params.Dense_0.bias[1] = nan", "-i")
    assert "params.Dense_0.bias" in ckpt("check", path, "--finite", status=1).out


def test_a_layer_is_drawn_as_flax_draws_it(ckpt: Ckpt) -> None:
    lines = ckpt("reinit", STATE, "--preset", "flax", "--seed", 0, "-n").out.splitlines()
    drawn = {line.split("\t")[0]: line for line in lines}
    layers = ["BatchNorm_0.bias", "BatchNorm_0.scale", "Conv_0.bias", "Conv_0.kernel", "Dense_0.bias", "Dense_0.kernel"]
    layers += ["Embed_0.embedding", "LayerNorm_0.bias", "LayerNorm_0.scale"]
    norm = {"batch_stats.BatchNorm_0.mean", "batch_stats.BatchNorm_0.var"}
    assert {f"params.{layer}" for layer in layers} | norm <= set(drawn)
    assert not any(name.startswith("opt_state") for name in drawn)
    said = {"BatchNorm_0.scale": "constant(1)", "Conv_0.bias": "constant(0)", "Embed_0.embedding": "normal(0, 0.5)"}
    said["Dense_0.kernel"] = f"{3**-0.5 / 0.87962566103423978:.6g}"  # 3 inputs
    said["Conv_0.kernel"] = f"{8**-0.5 / 0.87962566103423978:.6g}"  # 4 channels, 2 wide
    assert all(words in drawn[f"params.{layer}"] for layer, words in said.items()), drawn


TREES = st.recursive(
    st.sampled_from(SAFE_DTYPES[:8]),
    lambda inner: (
        st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, min_size=1, max_size=3) | st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    if isinstance(tree, str):
        return [(path, tree)]
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [leaf for key, inner in pairs for leaf in leaves(inner, (*path, key))]


def of_arrays(tree: Any) -> Any:
    if isinstance(tree, str):
        width = {"bool": 1, "uint8": 1, "int8": 1}.get(tree, int("".join(c for c in tree if c.isdigit()) or 8) // 8)
        return array((2,), tree, bytes(range(2 * width)) if tree != "bool" else b"\0\1")
    if isinstance(tree, dict):
        return {key: of_arrays(inner) for key, inner in tree.items()}
    return [of_arrays(inner) for inner in tree]


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.dictionaries(st.text(st.characters(categories=["L", "P"]), min_size=1, max_size=3), TREES, min_size=1, max_size=3))
def test_any_tree_is_read_and_rebuilt(tree: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    path, again = tmp_path / "a.msgpack", tmp_path / "b.msgpack"
    path.write_bytes(packed(of_arrays(tree)))
    found = reading.open(str(path))
    assert [(tensor.dtype.name, tensor.shape) for tensor in found.values()] == [(dtype, (2,)) for _, dtype in leaves(tree)]
    ckpt("rename", path, f"re:^{re.escape(next(iter(found)))}$=new", "-o", again, "--force")
    before = read_bits(path)
    assert list(read_bits(again).values()) == list(before.values())
    assert list(read_bits(again))[1:] == list(before)[1:] or any(name[:1] == "[" or "\\" in name or ".[" in name for name in before)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text("ab.\\\n", max_size=5), min_size=1, max_size=6, unique=True), data=st.data())
def test_any_names_are_read_back_or_refused(names: list[str], data: st.DataObject, tmp_path: Path, ckpt: Ckpt) -> None:
    shapes = st.lists(st.integers(0, 3), max_size=3)
    tensors = {n: example(data.draw(st.sampled_from(SAFE_DTYPES)), *data.draw(shapes), seed=i) for i, n in enumerate(names)}
    save_file(tensors, tmp_path / "a.safetensors")
    done = ckpt("convert", tmp_path / "a.safetensors", tmp_path / "b.msgpack", "--force", status=None)
    if done.status == 0:
        assert read_bits(tmp_path / "b.msgpack") == all_bits(tensors)
    else:
        assert "two names would be one path" in done.err


def test_a_name_beside_its_own_prefix_keeps_its_dot(tmp_path: Path, ckpt: Ckpt) -> None:
    save_file({"a": example("float32", 2), "a.b": example("int8", 3), "c.d": example("int8", 1)}, tmp_path / "a.safetensors")
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "b.msgpack")
    assert ckpt("diff", tmp_path / "a.safetensors", tmp_path / "b.msgpack").out == ""
    raw = (tmp_path / "b.msgpack").read_bytes()
    assert b"\xa3a.b" in raw and b"\xa1c\x81\xa1d" in raw


def test_what_a_list_loses_makes_a_map_of_it(tmp_path: Path, ckpt: Ckpt) -> None:
    """As Flax has lists in its state dicts."""
    path, out = tmp_path / "a.msgpack", tmp_path / "b.msgpack"
    path.write_bytes(packed({"x": [array(), array(), array()]}))
    ckpt("drop", path, "x.1", "-o", out)
    assert list(reading.open(str(out))) == ["x.0", "x.2"]
    assert out.read_bytes().startswith(b"\x81\xa1x\x82\xa10\xc7")


def test_chunks_of_any_size_are_one_array(tmp_path: Path, ckpt: Ckpt) -> None:
    values = numpy.arange(12, dtype="float32")
    pieces = [array((n,), "float32", values[at : at + n].tobytes()) for at, n in ((0, 5), (5, 1), (6, 6))]
    path = tmp_path / "a.msgpack"
    path.write_bytes(packed({"x": chunked(counted(3, 4), counted(*pieces))}))
    assert (reading.open(str(path))["x"].array() == values.reshape(3, 4)).all()
    assert ckpt("check", path).status == 0


@pytest.mark.parametrize(
    ("dtype", "says"),
    [("complex32", "Flax msgpack cannot hold w, which is complex32")],
)
def test_what_has_no_place_is_refused(dtype: str, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    import torch

    torch.save({"w": example(dtype, 2)}, tmp_path / "a.pt")
    assert says in ckpt("convert", tmp_path / "a.pt", tmp_path / "b.msgpack", status=2).err
    assert not (tmp_path / "b.msgpack").exists()


def test_plain_objects_of_other_formats_come_along(tmp_path: Path, ckpt: Ckpt) -> None:
    source = SAMPLES / "training.ckpt"
    done = ckpt("convert", source, tmp_path / "a.msgpack")
    before, after = reading.open(str(source)), reading.open(str(tmp_path / "a.msgpack"))
    plain = {name: value for name, value in before.objects.items() if type(value) in (int, float, str, bool, type(None))}
    assert plain and plain.items() <= dict(after.objects).items()
    odd = set(before.objects) - set(after.objects)
    assert not odd or "no place" in done.err


def test_ties_are_told_to_be_copies(tmp_path: Path, ckpt: Ckpt) -> None:
    done = ckpt("convert", SAMPLES / "shared-mlp.pt", tmp_path / "a.msgpack")
    assert "each name has its own copy (4.weight = 2.weight" in done.err


def test_types_of_less_than_a_byte_stay_what_they_are(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.msgpack"
    path.write_bytes(packed({"a": array((3,), "int4", b"\1\2\3"), "b": array((2,), "float4_e2m1fn", b"\1\2"), "c": array()}))
    ckpt("drop", path, "c", "-o", tmp_path / "b.msgpack")
    assert {name: (t.dtype.name, t.tobytes()) for name, t in reading.open(str(tmp_path / "b.msgpack")).items()} == {
        "a": ("int4", b"\1\2\3"),
        "b": ("float4_e2m1fn", b"\1\2"),
    }
    assert "cannot hold b, which is unpacked" in ckpt("convert", path, tmp_path / "x.safetensors", "--select", "b", status=2).err


def test_a_truncated_one_says_so(tmp_path: Path, ckpt: Ckpt) -> None:
    path = Path(shutil.copy(STATE, tmp_path / "a.msgpack"))
    path.write_bytes(path.read_bytes()[:-5])
    assert "truncated" in ckpt("ls", path, status=2).err
