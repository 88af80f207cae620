"""Pickles of numpy arrays and of Paddle's tensors: read as symbols, whatever protocol and Python wrote them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from conftest import Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ckpt_cli import reading
from ckpt_cli.formats import formats
from ckpt_cli.storage.file import File
from ckpt_cli.storage.storage import Extent

every_case = cases.every_case("pickle", "paddle")
every_protocol = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))


@every_case
def test_a_real_one_is_as_told(record: dict[str, Any], ckpt: Ckpt) -> None:
    cases.is_as_told(record, ckpt)
    checkpoint = cases.opened(record)
    told = cases.expected(record)
    assert sorted(map(sorted, checkpoint.ties())) == sorted(map(sorted, told.get("same_object", [])))
    for leaf in told.get("leaves", []):
        assert str(checkpoint.objects[leaf["name"]]) == str(leaf["value"])


@every_case
def test_a_real_one_is_of_one_format_and_there_and_back(record: dict[str, Any], ckpt: Ckpt, tmp_path: Path) -> None:
    source = cases.CASES / record["file"]
    assert [form.name for form in formats.values() if form.sniff(File(str(source)))] == [record["format"]]
    drops = [arg for name, tensor in cases.opened(record).items() if tensor.layout for arg in ("--drop", name)]
    ckpt("convert", source, tmp_path / "a.safetensors", *drops)
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "b.pt")
    assert ckpt("diff", tmp_path / "a.safetensors", tmp_path / "b.pt").out == ""
    left = {*drops[1::2], *cases.opened(record).undecoded}
    assert {row[1] for row in ckpt("diff", source, tmp_path / "b.pt", status=None).rows if row[0] != "untied"} == left


@every_protocol
def test_every_kind_of_array_is_read_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    wanted = {
        "a": np.arange(6, dtype="f4").reshape(2, 3), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "big": np.arange(3, dtype=">i4"),
        "none": np.zeros((0, 2), "i8"), "one": np.array(2, "u2"), "half": np.arange(3, dtype="f2"), "c": np.array([1 + 2j], "c8"),
        "every byte": np.arange(256, dtype="u1"), "long": np.arange(5000, dtype="i2"),
    }  # fmt: skip
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(wanted, protocol))
    found = reading.open(str(path))
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].array().tolist() == array.tolist() and found[name].shape == array.shape
        assert found[name].dtype.name == array.dtype.newbyteorder("=").name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@given(data=st.data(), protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_any_array_is_what_numpy_pickled(data: st.DataObject, protocol: int, tmp_path: Path) -> None:
    kinds = st.one_of(
        arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(), arrays.floating_dtypes(sizes=(16, 32, 64)), arrays.boolean_dtypes()
    )
    array = data.draw(arrays.arrays(kinds, arrays.array_shapes(max_dims=4, max_side=4)))
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"x": [array, 1]}, protocol))
    tensor = reading.open(str(path))["x.0"]
    want = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
    assert tensor.tobytes() == want.tobytes() and tensor.shape == array.shape


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_long_arrays_stay_in_the_file(protocol: int, tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"w": np.arange(100_000.0), "epoch": 3}, protocol))
    tensor = reading.open(str(path))["w"]
    assert isinstance(tensor.storage, Extent) and path.read_bytes()[tensor.storage.place() :][:16] == np.arange(2.0).tobytes()
    assert ckpt("get", path, "w[99999]").out == "99999.0\n"
    assert ("object", "epoch", "3") in [tuple(row) for row in ckpt("summary", path).rows]


class Tensor:
    """Pickles itself as Paddle's tensors do."""

    def __init__(self, array: np.ndarray, how: str) -> None:
        self.array, self.how = array, how

    def __reduce__(self) -> Any:
        if self.how == "eval":
            return eval, ("data", {"data": self.array})
        return tuple, (("linear_0.w_0", self.array),)


@pytest.mark.parametrize("how", ["tuple", "eval"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_paddles_calls_are_tensors_that_nobody_makes(how: str, protocol: int, tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pdz"
    bits = np.array([0x3F80, 0x4000], "u2")
    path.write_bytes(pickle.dumps({"w": Tensor(np.ones((2, 3), "f4"), how), "bf16": Tensor(bits, how), "epoch": 3}, protocol))
    assert [row[:3] for row in ckpt("ls", path).rows] == [["w", "float32", "2x3"], ["bf16", "bfloat16", "2"]]
    assert ckpt("get", path, "bf16").out == "[1.0 2.0]\n"
    assert ckpt("ls", path, "--json").json["format"] == "paddle"


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_state_dict_of_paddles_is_told_by_its_table_of_names(protocol: int, tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pdparams"
    table = {"StructuredToParameterName@@": {"w": "linear_0.w_0"}}
    path.write_bytes(pickle.dumps({"w": np.ones((200, 300), "f4")} | table, protocol))
    assert [row[:3] for row in ckpt("ls", path).rows] == [["w", "float32", "200x300"]]
    assert ckpt("ls", path, "--json").json["format"] == "paddle"
