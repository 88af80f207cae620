"""ONNX: initialisers as the graph names them, wherever their bytes are; values overwritten where they lie, and nothing else."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cases
import numpy as np
import onnx_models as om
import pytest
from conftest import Ckpt, Result, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_cli import reading

REUSE = settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(path: Path, *tensors: bytes, more: bytes = b"") -> Path:
    path.write_bytes(om.model(om.graph(*tensors), more=more))
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A model with weights in two files beside it."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "w.data").write_bytes(bytes(64) + np.arange(6, dtype="<f4").tobytes())
    (folder / "sub" / "b.data").write_bytes(np.ones(3, "<f4").tobytes())
    weight = om.tensor("w", (2, 3), content=om.external("w.data", offset=64, length=24))
    return put(folder / "m.onnx", weight, om.tensor("b", (3,), content=om.external("sub/b.data")), om.tensor("c", (2,)))


# The tensors of Constant nodes, which are listed with the initialisers; the records tell of initialisers alone.
CONSTANTS_IN = {"helper.onnx": ["c"], "torch_convbn_classic.onnx": ["/Constant_output_0"]}


@cases.every_case("onnx")
def test_every_real_model_is_as_told(record: dict[str, Any], ckpt: Ckpt) -> None:
    told, found = cases.expected(record), cases.opened(record)
    constants = [name for name in found if name not in {tensor["name"] for tensor in told["tensors"]}]
    assert constants == CONSTANTS_IN.get(Path(record["file"]).name, [])

    def initialisers(*args: object, status: int | None = 0) -> Result:
        listed = ckpt(*args, status=status)
        return listed._replace(out="".join(line for line in listed.out.splitlines(True) if line.partition("\t")[0] not in constants))

    cases.is_as_told(record, initialisers)
    assert found.metadata["ir_version"] == str(told["ir_version"]) and found.metadata.get("producer_name", "") == told["producer"]
    assert found.metadata["opset_import"] == ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in told["opset"])
    assert told.get("metadata", {}).items() <= found.metadata.items()


@cases.every_case("onnx", matching=lambda record: "sparse" in record["file"])
def test_what_is_sparse_or_of_a_subgraph_is_an_object(record: dict[str, Any], ckpt: Ckpt) -> None:
    objects = cases.opened(record).objects
    assert objects["sp"].text == "float32 2x3, 2 values"
    assert sorted(path.rpartition(".")[2] for path in objects if path != "sp") == cases.expected(record)["subgraph_initializers"]


@pytest.mark.parametrize(
    ("kind", "content", "dtype", "values"),
    [
        (om.FLOAT, om.floats(1.5, -2), "float32", [1.5, -2]),
        (om.DOUBLE, om.data(10, struct.pack("<2d", 1.5, -2)), "float64", [1.5, -2]),
        (om.INT64, om.varints(7, -1, 1 << 62), "int64", [-1, 1 << 62]),
        (om.INT32, om.varints(5, -7, 2**31 - 1), "int32", [-7, 2**31 - 1]),
        (om.INT8, om.varints(5, -128, 127), "int8", [-128, 127]),
        (om.BOOL, om.varints(5, 1, 0), "bool", [True, False]),
        (om.UINT64, om.varints(11, 2**64 - 1, 0), "uint64", [2**64 - 1, 0]),
        (om.FLOAT16, om.varints(5, 0x3C00, 0xC000), "float16", [1, -2]),
        (om.BFLOAT16, om.varints(5, 0x3F80, 0xC000), "bfloat16", [1, -2]),
        (14, om.floats(1, 2, 3, 4), "complex64", None),
        (22, om.data(9, b"\x21"), "int4", None),
    ],
    ids=str,
)
def test_elements_are_read_from_every_field(kind: int, content: bytes, dtype: str, values: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    path = put(tmp_path / "a.onnx", om.tensor("x", (2,), kind, content))
    assert ckpt("ls", path).rows[0][:3] == ["x", dtype, "2"]
    if values is not None:
        assert ckpt("get", path, "x", "--json").json["values"] == values


@REUSE
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=60), times=st.sampled_from([1, 3000]), data=st.data())
def test_numbers_of_any_length_are_read_from_anywhere(values: list[int], times: int, data: st.DataObject, tmp_path: Path) -> None:
    values = values * times
    path = put(tmp_path / "a.onnx", om.tensor("x", (len(values),), om.INT64, om.varints(7, *values)))
    storage = reading.open(str(path))["x"].storage
    want = np.array(values, "<i8").tobytes()
    for _ in range(3):
        start = data.draw(st.integers(0, len(want)))
        stop = data.draw(st.integers(start, len(want)))
        assert storage.read(start, stop) == want[start:stop]


def test_an_empty_tensor_needs_no_data_and_texts_are_objects(tmp_path: Path, ckpt: Ckpt) -> None:
    texts = om.tensor("t", (2,), om.STRING, om.data(6, "a") + om.data(6, "b"))
    path = put(tmp_path / "a.onnx", om.tensor("x", (0, 3), content=b""), texts)
    assert ckpt("ls", path).rows == [["x", "float32", "0x3", "0", "0", ""]]
    assert ckpt("get", path, "t").out == "string 2\n"


# Editing


def test_a_value_is_set_in_place_and_no_other_byte_changes(tmp_path: Path, ckpt: Ckpt) -> None:
    path = put(tmp_path / "a.onnx", om.tensor("raw", (2, 2)), om.tensor("typed", (2,), content=om.floats(1, 2)))
    before = path.read_bytes()
    ckpt("set", path, "raw[1,1] = 5", "typed[0] = 7", "-i")
    after = path.read_bytes()
    assert len(after) == len(before) and sum(a != b for a, b in zip(before, after, strict=True)) <= 8
    assert ckpt("get", path, "raw", "--json").json["values"] == [[0, 0], [0, 5]]
    assert ckpt("get", path, "typed", "--json").json["values"] == [7, 2]


def test_an_edited_copy_and_a_dry_run(sample: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    source, out = sample("conv.onnx"), tmp_path / "b.onnx"
    before = source.read_bytes()
    said = ckpt("set", source, "*.weight = 2", "-n").out
    assert said.split("\t")[:2] == ["changed", "fc.weight"] and not out.exists()
    ckpt("reinit", source, "*.weight=constant(2)", "-o", out)
    assert source.read_bytes() == before and len(out.read_bytes()) == len(before)
    assert [row[:2] for row in ckpt("diff", source, out, status=1).rows] == [["changed", "fc.weight"]]


def test_weights_beside_the_model_are_read_and_edited_where_they_lie(outside: Path, ckpt: Ckpt) -> None:
    assert ckpt("get", outside, "w", "--json").json["values"] == [[0, 1, 2], [3, 4, 5]]
    before, beside = outside.read_bytes(), (outside.parent / "w.data").read_bytes()
    ckpt("set", outside, "w[1,2] = 50", "b = 2", "-i")
    assert outside.read_bytes() == before
    assert (outside.parent / "w.data").read_bytes() == beside[:-4] + struct.pack("<f", 50)
    assert (outside.parent / "sub" / "b.data").read_bytes() == np.full(3, 2, "<f4").tobytes()
    ckpt("set", outside, "c = 3", "-i")
    assert ckpt("get", outside, "c", "--json").json["values"] == [3, 3]
    assert ckpt("summary", outside, "--json").json["bytes"] == len(before) + 88 + 12


def test_a_copy_takes_the_weights_along_and_never_those_of_the_source(outside: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "other" / "sub").mkdir(parents=True)
    ckpt("set", outside, "w = 9", "-o", tmp_path / "other" / "n.onnx")
    assert ckpt("diff", outside, tmp_path / "other" / "n.onnx", "--name-only", status=1).out == "w\n"
    before = (outside.parent / "w.data").read_bytes()
    assert "belong to the model that was read" in ckpt("set", outside, "w = 9", "-o", outside.parent / "n.onnx", status=2).err
    ckpt("set", outside, "c = 9", "-o", outside.parent / "n.onnx")
    assert ckpt("diff", outside, outside.parent / "n.onnx", "--name-only", status=1).out == "c\n"
    assert (outside.parent / "w.data").read_bytes() == before


def test_what_lies_twice_at_one_place_is_tied(tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "w").write_bytes(bytes(8))
    path = put(tmp_path / "a.onnx", *(om.tensor(name, (2,), content=om.external("w")) for name in "ab"))
    assert ckpt("tied", path).rows[0][:2] == ["tied", "a"]
    ckpt("set", path, "b = 3", "-i")
    assert ckpt("get", path, "a", "--json").json["values"] == [3, 3]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (["rename", "x=y"], "belong to its graph (only values are edited: set, reinit)"),
        (["cast", "float16"], "belong to its graph"),
        (["drop", "x"], "belong to its graph"),
        (["set", "n = 3"], "n is kept as numbers of any length: it is read, not edited"),
    ],
)
@pytest.mark.parametrize("place", [["-n"], ["-i"], ["-o"]])
def test_what_the_graph_has_a_say_in_is_refused(edit: list[str], says: str, place: list[str], tmp_path: Path, ckpt: Ckpt) -> None:
    path = put(tmp_path / "a.onnx", om.tensor("x", (2,)), om.tensor("n", (2,), om.INT64, om.varints(7, 1, 2)))
    before, out = path.read_bytes(), tmp_path / "b.onnx"
    assert says in ckpt(edit[0], path, *edit[1:], *place, *([out] if place == ["-o"] else []), status=2).err
    assert path.read_bytes() == before and not out.exists()


def test_weights_alone_make_no_graph(sample: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    assert "weights alone do not make" in ckpt("convert", sample("mlp.pt"), tmp_path / "a.onnx", status=2).err
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_go_elsewhere_without_a_difference(suffix: str, sample: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    source, target = sample("conv.onnx"), tmp_path / f"a{suffix}"
    ckpt("convert", source, target)
    assert ckpt("diff", source, target).out == "" and ckpt("hash", source).rows == ckpt("hash", target).rows
    assert ckpt("stats", source).rows == ckpt("stats", target).rows and ckpt("check", source, "--finite").status == 0


def attribute(name: str, content: bytes) -> bytes:
    return om.data(1, name) + content


def fixed(field: int, value: float) -> bytes:
    return om.varint(field << 3 | 5) + struct.pack("<f", value)


CONSTANTS = {
    "value": (om.data(5, om.tensor("inner", (2,), content=om.floats(1.5, 2))), "float32", [1.5, 2]),
    "value_float": (fixed(2, 0.5), "float32", 0.5),
    "value_floats": (fixed(7, 0.5) + fixed(7, 2), "float32", [0.5, 2]),
    "value_int": (om.number(3, -4), "int64", -4),
    "value_ints": (om.number(8, 3) + om.number(8, -1), "int64", [3, -1]),
}
PACKED = {
    "value_floats": (om.data(7, struct.pack("<2f", 0.5, 2)), "float32", [0.5, 2]),
    "value_ints": (om.varints(8, 3, -1, 300), "int64", [3, -1, 300]),
}


@pytest.mark.parametrize(("name", "told"), [*CONSTANTS.items(), *PACKED.items()], ids=str)
def test_a_constant_is_a_tensor_by_the_name_of_its_output(name: str, told: tuple[bytes, str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    content, dtype, values = told
    node = om.data(2, "c") + om.node("Constant", attribute(name, content))
    path = tmp_path / "a.onnx"
    path.write_bytes(om.model(om.graph(om.tensor("w", (2,)), more=om.data(1, node))))
    assert {row[0]: row[1] for row in ckpt("ls", path).rows} == {"w": "float32", "c": dtype}
    assert ckpt("get", path, "c", "--json").json["values"] == values and reading.open(str(path))["c"].dtype.name == dtype


def test_constants_of_subgraphs_and_functions_are_bytes_that_are_not_decoded(tmp_path: Path) -> None:
    constant = om.data(2, "c") + om.node("Constant", attribute("value_floats", om.data(7, struct.pack("<f", 7.5))))
    branch = om.graph(more=om.data(1, constant))
    choice = om.node("If", attribute("then_branch", om.data(6, branch)), attribute("else_branch", om.data(6, branch)))
    function = om.data(25, om.data(1, "f") + om.data(7, constant))
    path = tmp_path / "a.onnx"
    path.write_bytes(om.model(om.graph(om.tensor("w", (2,)), more=om.data(1, choice) * 2), more=function))
    found = reading.open(str(path))
    names = ["If.then_branch.c", "If.else_branch.c", "If.then_branch.c[2]", "If.else_branch.c[2]", "f.c"]
    assert list(found) == ["w"] and list(found.objects) == names == list(found.undecoded)
    assert all(struct.pack("<f", 7.5) in undecoded.storage.read() for undecoded in found.undecoded.values() if undecoded.storage)


def test_values_of_a_constant_are_written_where_they_lie(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.onnx"
    node = om.data(2, "c") + om.node("Constant", attribute("value_float", fixed(2, 0.5)))
    path.write_bytes(om.model(om.graph(om.tensor("w", (2,)), more=om.data(1, node))))
    before = path.read_bytes()
    ckpt("set", path, "c = 8", "-i")
    assert path.read_bytes() == before.replace(struct.pack("<f", 0.5), struct.pack("<f", 8))
