"""`ckpt set`: values by hand, and not a byte besides."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import DTYPES, bits, example, members

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(80))

INTEGERS = [name for name in DTYPES if "int" in name]
SIGNED = [name for name in INTEGERS if not name.startswith("u")]
PLAIN = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
WIDENED = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]  # torch has no arithmetic in them


def assigned(ckpt: Ckpt, folder: Path, tensor: torch.Tensor, *assignments: str) -> torch.Tensor:
    torch.save({"t": tensor}, folder / "a.pt")
    ckpt("set", folder / "a.pt", *assignments, "-i")
    return torch.load(folder / "a.pt")["t"]


def in_torch(tensor: torch.Tensor, op: str, value: Any) -> torch.Tensor:
    made = tensor.clone()
    made = {
        "=": lambda: torch.full_like(made, value),
        "+=": lambda: made.add_(value),
        "-=": lambda: made.sub_(value),
        "*=": lambda: made.mul_(value),
        "/=": lambda: made.div_(value),
    }[op]()
    return made


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("op", ["=", "+=", "-=", "*=", "/="])
@pytest.mark.parametrize("value", [0.1, -3, 1e-3, 2.5, float("inf"), float("nan")])
def test_arithmetic_with_a_number_is_torchs(ckpt: Ckpt, tmp_path: Path, dtype: str, op: str, value: float) -> None:
    tensor = torch.linspace(-3, 3, 50).to(getattr(torch, dtype))
    found = assigned(ckpt, tmp_path, tensor, f"t {op} {value}")
    wide = tensor.float() if dtype in ("float16", "bfloat16") else tensor  # 16 bits by way of float32, rounded once
    expected = in_torch(wide, op, value).to(tensor.dtype)
    if dtype.startswith("complex") and op in ("+=", "-=") and not math.isfinite(value):
        assert not found.isfinite().any()  # torch makes the imaginary part NaN by way of alpha
    elif dtype.startswith("complex") and (op == "/=" or not math.isfinite(value)):
        torch.testing.assert_close(found, expected, rtol=1e-6 if dtype == "complex64" else 1e-15, atol=0, equal_nan=True)
    else:
        assert found.dtype == tensor.dtype and torch.equal(found.nan_to_num(7), expected.nan_to_num(7))
        assert torch.equal(found.isnan(), expected.isnan())


@pytest.mark.parametrize("dtype", WIDENED)
@pytest.mark.parametrize(("op", "value"), [("=", 0.3), ("+=", 0.3), ("-=", 1), ("*=", 1.7), ("/=", 3)])
def test_arithmetic_in_the_smallest_floats_is_by_way_of_float32(ckpt: Ckpt, tmp_path: Path, dtype: str, op: str, value: float) -> None:
    tensor = torch.linspace(-3, 3, 50).to(getattr(torch, dtype))
    expected = in_torch(tensor.float(), op, value).to(tensor.dtype)
    assert bits(assigned(ckpt, tmp_path, tensor, f"t {op} {value}")) == bits(expected)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_complex32_takes_numbers_lists_and_arithmetic(ckpt: Ckpt, tmp_path: Path) -> None:
    tensor = torch.tensor([1 + 2j, 0, -1j]).to(torch.complex32)
    found = assigned(ckpt, tmp_path, tensor, "t[0] = 0.1-2j", "t[1:] = [3, inf]", "t[1] *= 2")
    assert found.dtype == torch.complex32
    assert found.to(torch.complex64).tolist() == [complex(np.float16(0.1), -2), 6, complex(math.inf, 0)]


@pytest.mark.parametrize(
    "written",
    [
        "[nan, inf, -inf, 1]", "[NaN, Infinity, -Infinity, 1.0]", '["NaN", "Infinity", "-Infinity", 1]', "[NAN,+inf,-INF,1e0]",
        "[ nan , infinity , -infinity , 1 ]",
    ],
)  # fmt: skip
def test_a_list_may_hold_what_is_no_number_however_it_is_written(ckpt: Ckpt, tmp_path: Path, written: str) -> None:
    found = assigned(ckpt, tmp_path, torch.zeros(4), f"t = {written}")
    assert str(found.tolist()) == "[nan, inf, -inf, 1.0]"


@pytest.mark.parametrize("written", ["[nano]", "[1.inf]", "[x-inf]", "['nan']", '["nan"]', "[--inf]", "[1, two]", "[1 2]"])
def test_a_list_that_is_none_is_refused_with_one_that_is(ckpt: Ckpt, tmp_path: Path, written: str) -> None:
    torch.save({"t": torch.zeros(2)}, tmp_path / "a.pt")
    error = ckpt("set", tmp_path / "a.pt", f"t = {written}", "-i", status=2).err
    assert "(as in [[1, -2.5e3], [nan, inf]])" in error and written[1:-1] in error


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(("op", "value"), [("=", 100), ("+=", 3), ("-=", 1), ("*=", 2), ("*=", 1.0), ("=", "1e2"), ("+=", True)])
def test_integers_are_computed_as_torch_does_where_they_fit(ckpt: Ckpt, tmp_path: Path, dtype: str, op: str, value: Any) -> None:
    tensor = torch.tensor([1, 2, 3, 40], dtype=torch.int64)
    expected = in_torch(tensor, op, int(float(value))).to(getattr(torch, dtype))
    assert bits(assigned(ckpt, tmp_path, tensor.to(getattr(torch, dtype)), f"t {op} {value}")) == bits(expected)


@relaxed
@given(st.sampled_from(INTEGERS), st.sampled_from(["=", "+=", "-=", "*="]), st.integers(-(2**65), 2**65), st.data())
def test_integers_are_exact_or_an_error(ckpt: Ckpt, tmp_path: Path, dtype: str, op: str, value: int, data: st.DataObject) -> None:
    info = torch.iinfo(getattr(torch, dtype))
    start = data.draw(st.integers(info.min, info.max))
    value = value if data.draw(st.booleans()) else value % 7
    torch.save({"t": torch.tensor([start, 0], dtype=getattr(torch, dtype))}, tmp_path / "a.pt")
    exact = [{"=": value, "+=": each + value, "-=": each - value, "*=": each * value}[op] for each in (start, 0)]
    fits = all(info.min <= each <= info.max for each in exact)
    before = (tmp_path / "a.pt").read_bytes()
    for written in (str(value), f"[{value}, {value}]"):
        (tmp_path / "a.pt").write_bytes(before)
        found = ckpt("set", tmp_path / "a.pt", f"t {op} {written}", "-i", status=0 if fits else 2)
        if fits:
            assert torch.load(tmp_path / "a.pt")["t"].tolist() == exact
        else:
            assert f"t: {dtype} cannot hold" in found.err and (tmp_path / "a.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("dtype", "assignment"),
    [
        ("uint8", "t = 256"),
        ("uint8", "t = -1"),
        ("int8", "t += 127"),
        ("int8", "t = 1.5"),
        ("int8", "t = nan"),
        ("int64", "t = inf"),
        ("int64", "t += 0.5"),
        ("int64", "t += inf"),
        ("int32", "t /= 2"),
        ("int32", "t = [1, 2.5]"),
        ("int32", "t += [1, 2.5]"),
        ("int32", "t += [1, 1e300]"),
        ("int32", 't = [1, "NaN"]'),
        ("int64", "t = 1e300"),
        ("bool", "t = 2"),
        ("bool", "t = nan"),
        ("bool", "t = [1, 2]"),
        ("bool", "t += 1"),
        ("float32", "t = 1j"),
        ("float32", "t += 1j"),
        ("int32", "t += 1j"),
        ("float16", "t = 70000"),
        ("float16", "t[0] = -1e9"),
        ("float32", "t = 1e39"),
        ("bfloat16", "t = 1" + "0" * 400),
        ("float64", "t = -1" + "0" * 400),
        ("float8_e4m3fn", "t = 1000"),
        ("float8_e4m3fn", "t = inf"),
        ("float8_e4m3fn", "t = [1, 1000]"),
        ("float8_e8m0fnu", "t = -2"),
        ("float8_e5m2", "t = 1e6"),
        ("complex64", "t = 1" + "0" * 400),
        ("complex64", "t = 1+1e39j"),
        ("complex32", "t[0] = 70000"),
        ("float32", "t *= 1e39"),
        ("float32", "t += [0, 1e39]"),
        ("float64", "t += -1" + "0" * 400),
        ("complex64", "t *= 1e39j"),
        ("complex64", "t *= [0, 1e39]"),
    ],
)
def test_a_value_that_the_dtype_cannot_hold_is_an_error_that_names_file_and_tensor(
    ckpt: Ckpt, tmp_path: Path, dtype: str, assignment: str
) -> None:
    path = tmp_path / "a.pt"
    torch.save({"t": torch.ones(2).to(getattr(torch, dtype))}, path)
    before = path.read_bytes()
    for where in (["-i"], ["-n"], ["-i", "--backup", ".old"]):
        found = ckpt("set", path, assignment, *where, status=2)
        assert found.err.startswith(f"ckpt: error: {path}: t: ") and not found.out
    assert (
        f"{tmp_path / 'b.pt'}: t: " in ckpt("set", path, assignment, "-o", tmp_path / "b.pt", status=2).err
        or not (tmp_path / "b.pt").exists()
    )
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.pt"]


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float32", "3.4028235e38", 3.4028234663852886e38),
        ("float32", "nan", math.nan),
        ("float32", "-inf", -math.inf),
        ("float32", "Infinity", math.inf),
        ("float16", "65504", 65504.0),
        ("float16", "-inf", -math.inf),
        ("float32", ".5", 0.5),
        ("float32", "+5.", 5.0),
        ("float32", "1_000", 1000.0),
        ("float32", "-0.0", -0.0),
        ("float32", "true", 1.0),
        ("bool", "true", True),
        ("bool", "False", False),
        ("bool", "1", True),
        ("uint64", str(2**64 - 1), 2**64 - 1),
        ("int64", str(2**53 + 1), 2**53 + 1),
        ("complex64", "1-2j", 1 - 2j),
        ("complex64", "(1 + 2j)", 1 + 2j),
        ("complex128", "2", 2 + 0j),
    ],
)
def test_a_value_may_be_written_so(ckpt: Ckpt, tmp_path: Path, dtype: str, value: str, expected: Any) -> None:
    found = assigned(ckpt, tmp_path, torch.zeros(2).to(getattr(torch, dtype)), f"t[0]={value}").tolist()
    assert repr(found[0]) == repr(expected) and not found[1]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "int8"])
@pytest.mark.parametrize("value", ["1e999", "-1e999", "[1, 1e999]", "1e999j", "1+1e999j", "(1e999+1j)"])
@pytest.mark.parametrize("op", ["=", "*="])
def test_a_number_that_only_rounding_makes_infinite_is_refused(ckpt: Ckpt, tmp_path: Path, dtype: str, value: str, op: str) -> None:
    path = saved(tmp_path, torch.ones(2).to(getattr(torch, dtype)))
    error = ckpt("set", path, f"t {op} {value}", "-i", status=2).err
    assert "is beyond the numbers of every dtype (write inf if that is meant)" in error


@pytest.mark.parametrize(
    ("dtype", "values", "assignment", "told"),
    [
        ("float32", [1, 2, -4, 8], "t *= 1e38", "float32 cannot hold -4 * 1e+38 at [1,0] (it would become -inf)"),
        ("float32", [1, 1, 3e38, 1], "t += 3e38", "float32 cannot hold 3e+38 + 3e+38 at [1,0] (it would become inf)"),
        ("float32", [1, 1, -3e38, 1], "t -= [0, 3e38]", ""),
        ("float32", [1, 1, 1, -3e38], "t -= [0, 3e38]", "float32 cannot hold -3e+38 - 3e+38 at [1,1] (it would become -inf)"),
        ("float32", [1, 1, 1, 1], "t /= 1e-39", "float32 cannot hold 1 / 1e-39 at [0,0] (it would become inf)"),
        ("float64", [1, 1, 1, 1], "t *= 1e308", ""),
        ("float64", [1, 2, 1, 1], "t *= 1e308", "float64 cannot hold 2 * 1e+308 at [0,1] (it would become inf)"),
        ("float16", [1, 1, 1, 40000], "t *= 2", "float16 cannot hold 40000 * 2 at [1,1] (it would become inf)"),
        ("float16", [0.5, 0, 0.25, 0], "t *= 70000", ""),
        ("bfloat16", [1, 1, 3e38, 1], "t *= 2", "bfloat16 cannot hold"),
        ("float8_e5m2", [1, 1, 1, 40000], "t *= 2", "float8_e5m2 cannot hold 40960 * 2 at [1,1] (it would become inf)"),
        ("float8_e4m3fn", [1, 1, 448, 1], "t *= 2", "float8_e4m3fn cannot hold 448 * 2 at [1,0] (it would become NaN)"),
        ("float8_e4m3fn", [1, 1, 1, 1], "t += inf", "float8_e4m3fn cannot hold 1 + inf at [0,0] (it would become NaN)"),
        ("complex64", [1, 1, 4, 1], "t *= 1e38j", "complex64 cannot hold 4+0j * 0+1e+38j at [1,0]"),
        ("float32", [1, math.inf, math.nan, 1], "t *= 2", ""),
        ("float32", [1, 1, 1, 1], "t *= inf", ""),
        ("float16", [1, 1, 1, 1], "t += [inf, nan]", ""),
    ],
)
def test_a_result_that_becomes_infinite_is_refused_by_its_first_element(
    ckpt: Ckpt, tmp_path: Path, dtype: str, values: list[float], assignment: str, told: str
) -> None:
    path = saved(tmp_path, torch.tensor(values).reshape(2, 2).to(getattr(torch, dtype)))
    before = path.read_bytes()
    error = ckpt("set", path, assignment, "-i", status=2 if told else 0).err
    assert f"t: {told}" in error if told else path.read_bytes() != before


def test_the_first_element_is_named_in_a_tensor_of_many_blocks(ckpt: Ckpt, tmp_path: Path) -> None:
    tensor = torch.ones(3, 1_000_000)
    tensor[2, 70_000] = tensor[2, 900_000] = 3e38
    error = ckpt("set", saved(tmp_path, tensor), "t *= 2", "-o", tmp_path / "b.pt", status=2).err
    assert "float32 cannot hold 3e+38 * 2 at [2,70000]" in error and os.listdir(tmp_path) == ["a.pt"]


def test_an_npy_file_beyond_the_dtype_is_refused(ckpt: Ckpt, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([1, 1e39, np.inf]))
    path = saved(tmp_path, torch.ones(3))
    assert "t: float32 cannot hold 1e+39 (it would become inf)" in ckpt("set", path, f"t = @{tmp_path / 'v.npy'}", "-i", status=2).err
    assert "t: float32 has no arithmetic with 1e+39" in ckpt("set", path, f"t += @{tmp_path / 'v.npy'}", "-i", status=2).err
    np.save(tmp_path / "v.npy", np.array([1, 1e38, np.inf]))
    ckpt("set", path, f"t = @{tmp_path / 'v.npy'}", "-i")
    assert torch.load(path)["t"].tolist()[::2] == [1, math.inf]


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        ("[1, 2, 3]", (2, 3), [[1, 2, 3], [1, 2, 3]]),
        ("[[1], [2]]", (2, 3), [[1, 1, 1], [2, 2, 2]]),
        ("[[1, 2, 3], [4, 5, 6]]", (2, 3), [[1, 2, 3], [4, 5, 6]]),
        ("[7]", (), 7),
        ('["Infinity", -0.5]', (2,), [math.inf, -0.5]),
        ("[]", (0,), []),
    ],
)
def test_a_list_broadcasts_as_in_numpy(ckpt: Ckpt, tmp_path: Path, value: str, shape: tuple[int, ...], expected: Any) -> None:
    if shape == ():
        ckpt("set", saved(tmp_path, torch.zeros(())), f"t = {value}", "-n", status=2)  # one axis too many
    else:
        assert assigned(ckpt, tmp_path, torch.zeros(shape), f"t = {value}").tolist() == expected
        assert assigned(ckpt, tmp_path, torch.zeros(shape), f"t += {value}").tolist() == expected


def saved(folder: Path, tensor: torch.Tensor) -> Path:
    torch.save({"t": tensor}, folder / "a.pt")
    return folder / "a.pt"


def test_a_list_of_integers_is_exact(ckpt: Ckpt, tmp_path: Path) -> None:
    tensor = torch.zeros(3, dtype=torch.uint64)
    assert assigned(ckpt, tmp_path, tensor, f"t = [{2**64 - 1}, 1, {2**53 + 1}]").tolist() == [2**64 - 1, 1, 2**53 + 1]
    assert assigned(ckpt, tmp_path, tensor, f"t = [{2**63 + 1}, 1.0, 0]", "t += [2, 1, 0]").tolist() == [2**63 + 3, 2, 0]


@pytest.mark.parametrize("dtype", ["float64", "float32", ">f4", "float16", "int8", "uint64", "bool", "complex64"])
@pytest.mark.parametrize("target", ["float32", "bfloat16", "complex64"])
def test_an_npy_file_is_a_value(ckpt: Ckpt, tmp_path: Path, dtype: str, target: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    np.save(tmp_path / "v.npy", array)
    path = saved(tmp_path, torch.full((2, 3), 2.0).to(getattr(torch, target)))
    if dtype == "complex64" and target != "complex64":
        ckpt("set", path, f"t = @{tmp_path / 'v.npy'}", "-i", status=2)
        ckpt("set", path, f"t += @{tmp_path / 'v.npy'}", "-i", status=2)
        return
    ckpt("set", path, f"t = @{tmp_path / 'v.npy'}", "-i")
    assert torch.load(path)["t"].tolist() == array.tolist()
    ckpt("set", path, f"t += @{tmp_path / 'v.npy'}", "-i")
    assert torch.load(path)["t"].tolist() == (array.astype("complex128") * 2).tolist()


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "complex32"])
def test_what_get_writes_as_npy_set_takes(ckpt: Ckpt, tmp_path: Path, dtype: str) -> None:
    tensor = example(dtype, 3, 2)
    ckpt("get", saved(tmp_path, tensor), "t", "--format", "npy", "-o", tmp_path / "v.npy")
    ckpt("set", saved(tmp_path, torch.zeros_like(tensor)), f"t = @{tmp_path / 'v.npy'}", "-i")
    found = torch.load(tmp_path / "a.pt")["t"]
    if dtype.startswith(("float8", "bfloat")):
        found, tensor = found.float(), tensor.float()  # a NaN may lose its payload
    assert torch.equal(torch.isnan(found), torch.isnan(tensor)) and torch.equal(torch.nan_to_num(found), torch.nan_to_num(tensor))


@pytest.mark.parametrize("what", ["missing", "folder", "text", "npz", "strings", "records", "objects", "shape", "zip", "empty", "raw"])
def test_an_npy_file_that_is_none_is_an_error(ckpt: Ckpt, tmp_path: Path, what: str) -> None:
    value = tmp_path / "v.npy"
    if what == "folder":
        value.mkdir()
    elif what in ("text", "zip", "empty"):
        value.write_bytes({"text": b"1, 2", "zip": b"PK\x03\x04 and so on", "empty": b""}[what])
    elif what == "npz":
        with value.open("wb") as file:
            np.savez(file, a=np.ones(3))
    elif what != "missing":
        records = np.zeros(3, [("x", "f4")])
        arrays = {"strings": np.array(["1", "2", "3"]), "records": records, "shape": np.ones((2, 2)), "raw": np.zeros(3, "V3")}
        np.save(value, arrays.get(what, np.array([1, None, 2], dtype=object)))
    path = saved(tmp_path, torch.zeros(3))
    before = path.read_bytes()
    for op in ("=", "+="):
        ckpt("set", path, f"t {op} @{value}", "-i", status=2)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "assignment",
    ["t", "t =", "= 3", "t = x", "t + 3", "t = 1__0", "t = 1_", "t = [1, 2", "t = {}", 't = ["x"]', "t = [[1], 2]", "t = [null]",
     "t = @", "", "t = 0x10", "t = 1 2", "u = 3", "t = [1, 2]", "t[3] = 1", "t[0][0] = 1"],
)  # fmt: skip
def test_what_is_no_assignment_is_an_error(ckpt: Ckpt, tmp_path: Path, assignment: str) -> None:
    ckpt("set", saved(tmp_path, torch.zeros(3)), assignment, "-i", status=2)


@pytest.mark.parametrize(
    ("name", "assignment"),
    [("a=b", "a=b = 3"), ("x +", "x + = 3"), ("a -= 1", "a -= 1 = 3"), ("a b", "a b=3"), ("é[0]", "é[0] = 3"), ("*", "* = 3"),
     ("=", "== 3"), ("a\nb", "a\nb=3")],
)  # fmt: skip
def test_any_name_can_be_assigned_to(ckpt: Ckpt, tmp_path: Path, name: str, assignment: str) -> None:
    torch.save({name: torch.zeros(2), "other": torch.zeros(2)}, tmp_path / "a.pt")
    ckpt("set", tmp_path / "a.pt", "-i", "--", assignment)
    found = torch.load(tmp_path / "a.pt")
    assert found[name].tolist() == [3, 3] and found["other"].tolist() == [0, 0]


def test_assignments_are_made_left_to_right(ckpt: Ckpt, sample: Any) -> None:
    path = sample("mlp.pt")
    weight = torch.load(path)["0.weight"]
    ckpt("set", path, "0.weight += 1", "0.weight[0,0] = 42", "0.weight[:, 1] *= 2", "0.weight[0,0] -= 2", "-i")
    expected = weight + 1
    expected[:, 1] *= 2
    expected[0, 0] = 40
    assert torch.equal(torch.load(path)["0.weight"], expected)


@pytest.mark.parametrize(
    ("pattern", "picked"),
    [("*.bias", ["0.bias", "2.bias"]), ("re:^0", ["0.weight", "0.bias"]), ("*.weigh[t]", ["0.weight", "2.weight"]),
     ("[0]", ["0.weight", "0.bias"]),
     ("*[st]", ["0.weight", "0.bias", "2.weight", "2.bias"])],
)  # fmt: skip
def test_a_pattern_assigns_to_all_that_it_picks(ckpt: Ckpt, sample: Any, pattern: str, picked: list[str]) -> None:
    path = sample("mlp.pt")
    ckpt("set", path, f"{pattern} = 5", "-i")
    assert [name for name, tensor in torch.load(path).items() if (tensor == 5).all()] == picked


def test_layers_of_a_type_can_be_assigned_to(ckpt: Ckpt, sample: Any) -> None:
    path = sample("module.pt")
    ckpt("set", path, "@Linear.bias = 0", "-i")
    net = torch.load(path, weights_only=False)
    assert not net[0].bias.any() and not net[2].bias.any() and net[0].weight.all()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".legacy.pt"])
@pytest.mark.parametrize("name", ["2.weight", "4.weight", "{2,4}.weight"])
def test_whatever_is_tied_follows_and_is_changed_once(ckpt: Ckpt, sample: Any, suffix: str, name: str) -> None:
    path = sample(f"shared-mlp{suffix}")
    before = torch.load(SAMPLES / "shared-mlp.pt")["2.weight"]
    ckpt("set", path, f"{name} += 1", "-i")
    assert ["4.weight", "2.weight"] in [[row[0], row[5]] for row in ckpt("ls", path).rows]
    found = torch.tensor(ckpt("get", path, "4.weight", "--json").json["values"])
    assert torch.equal(found, before + 1)
    if suffix != ".safetensors":
        state = torch.load(path)
        assert state["2.weight"].data_ptr() == state["4.weight"].data_ptr()


def test_views_of_one_storage_are_edited_alone(ckpt: Ckpt, tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    path = tmp_path / "a.pt"
    torch.save({"base": base, "t": base.t(), "s": base[1:3, ::2], "row": base[3], "e": torch.zeros(1).expand(5)}, path)
    ckpt("set", path, "s = [[-1, -2, -3], [-4, -5, -6]]", "t[5] += 100", "row[-1] = 7", "e += 1", "-i")
    base[1:3, ::2] = torch.tensor([[-1.0, -2, -3], [-4, -5, -6]])
    base.t()[5] += 100
    base[3, -1] = 7
    found = torch.load(path)
    assert torch.equal(found["base"], base) and torch.equal(found["t"], base.t()) and torch.equal(found["s"], base[1:3, ::2])
    assert found["t"].data_ptr() == found["base"].data_ptr() and found["e"].tolist() == [1] * 5 and found["e"].stride() == (0,)


def test_elements_that_share_their_memory_take_one_value_only(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path, torch.zeros(2, 1).expand(2, 3))
    assert "share their memory" in ckpt("set", path, "t = [1, 2, 3]", "-i", status=2).err
    ckpt("set", path, "t = [[1], [2]]", "-i")
    assert torch.load(path)["t"].tolist() == [[1] * 3, [2] * 3]


@pytest.mark.parametrize("assignment", ["model.0.weight += 1", "model.0.bias[3] = 9", "optimizer.state.*.exp_avg = 0"])
def test_everything_else_of_a_torch_file_stays_byte_for_byte(ckpt: Ckpt, sample: Any, assignment: str) -> None:
    path = sample("training.ckpt")
    before, raw = members(path), path.read_bytes()
    ckpt("set", path, assignment, "-i")
    after = members(path)
    assert zipfile.ZipFile(path).testzip() is None
    changed = [name for name in before if before[name] != after[name]]
    assert list(before) == list(after) and changed and all(name.startswith("data/") for name in changed)
    with zipfile.ZipFile(path) as archive:  # what differs is those data and their checksums, nothing else
        spared = [
            (i.header_offset, i.header_offset + i.file_size + 256) for i in archive.infolist() if i.filename.split("/", 1)[1] in changed
        ]
        central = archive.start_dir
    now = path.read_bytes()
    assert len(now) == len(raw)
    outside = [i for i in range(len(raw)) if raw[i] != now[i] and not any(a <= i < b for a, b in spared) and i < central]
    assert not outside and sum(a != b for a, b in zip(raw[central:], now[central:], strict=True)) <= 4 * len(changed)
    loaded = torch.load(path, weights_only=False)
    assert loaded["epoch"] == 3 and loaded["args"].name == "run 1"


def test_everything_else_of_a_safetensors_file_stays_byte_for_byte(ckpt: Ckpt, sample: Any) -> None:
    path = sample("mlp.safetensors")
    before = path.read_bytes()
    ckpt("set", path, "0.bias[2] = 1", "-i")
    after = path.read_bytes()
    different = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert 0 < len(different) <= 4 and different[-1] - different[0] < 4
    assert safetensors.torch.load_file(path)["0.bias"][2] == 1


def test_without_a_place_for_the_result_nothing_is_written(ckpt: Ckpt, sample: Any) -> None:
    path = sample("mlp.pt")
    before = path.read_bytes()
    found = ckpt("set", path, "0.bias = 0", status=2)
    assert "where should the result go? (-o OUT writes a new file, -i changes this one, -n shows the plan)" in found.err
    assert path.read_bytes() == before and os.listdir(path.parent) == ["mlp.pt"]


def test_a_dry_run_prints_the_diff_and_writes_nothing(ckpt: Ckpt, sample: Any) -> None:
    path = sample("mlp.pt")
    before = path.read_bytes(), path.stat().st_mtime_ns
    plan = ckpt("set", path, "0.bias = 0", "-n", "-i")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before and os.listdir(path.parent) == ["mlp.pt"]
    document = ckpt("set", path, "0.bias = 0", "-n", "--json").json
    ckpt("set", path, "0.bias = 0", "-o", path.parent / "b.pt")
    assert plan.rows == ckpt("diff", path, path.parent / "b.pt", status=1).rows
    assert document["differences"] == ckpt("diff", path, path.parent / "b.pt", "--json", status=1).json["differences"]
    nothing = ckpt("set", path, "0.bias += 0", "-n")
    assert nothing.out == "" and nothing.err == "ckpt: nothing would change\n"


def test_an_existing_file_is_replaced_by_force_only(ckpt: Ckpt, sample: Any) -> None:
    path = sample("mlp.pt")
    other = path.parent / "b.pt"
    other.write_bytes(b"mine")
    assert "is there already (--force replaces it" in ckpt("set", path, "0.bias = 0", "-o", other, status=2).err
    assert "is there already" in ckpt("set", path, "0.bias = 0", "-o", path, status=2).err
    assert other.read_bytes() == b"mine"
    assert ckpt("set", path, "0.bias = 0", "-o", other, "--force").out == ""
    assert not torch.load(other)["0.bias"].any() and torch.load(path)["0.bias"].any()
    ckpt("set", path, "0.bias = 0", "-o", path, "--force")
    assert not torch.load(path)["0.bias"].any()


def test_a_backup_keeps_the_old_file_and_goes_with_in_place(ckpt: Ckpt, sample: Any) -> None:
    path = sample("mlp.pt")
    before = path.read_bytes()
    path.chmod(0o640)
    ckpt("set", path, "0.bias = 0", "-i", "--backup", ".old")
    assert (path.parent / "mlp.pt.old").read_bytes() == before and path.read_bytes() != before
    assert path.stat().st_mode & 0o777 == 0o640 and sorted(os.listdir(path.parent)) == ["mlp.pt", "mlp.pt.old"]
    assert "--backup goes with -i" in ckpt("set", path, "0.bias = 0", "-o", path.parent / "b.pt", "--backup", ".o", status=2).err
    assert "suffix" in ckpt("set", path, "0.bias = 0", "-i", "--backup", "", status=2).err
    assert "exclude each other" in ckpt("set", path, "0.bias = 0", "-i", "-o", path.parent / "b.pt", status=2).err
    assert sorted(os.listdir(path.parent)) == ["mlp.pt", "mlp.pt.old"]


def test_the_suffix_of_the_output_chooses_the_format_and_an_option_overrides(ckpt: Ckpt, sample: Any) -> None:
    path = sample("mlp.pt")
    ckpt("set", path, "0.bias = 3", "-o", path.parent / "b.safetensors")
    assert safetensors.torch.load_file(path.parent / "b.safetensors")["0.bias"].tolist() == [3] * 8
    ckpt("set", path, "0.bias = 3", "-o", path.parent / "c.pt", "--format", "safetensors")
    assert safetensors.torch.load_file(path.parent / "c.pt")["0.bias"].tolist() == [3] * 8


@pytest.mark.parametrize("tensor", [torch.zeros(0, 3), torch.tensor(2.0), torch.zeros(3, 0).t()], ids=["empty", "0-d", "empty-t"])
def test_tensors_without_elements_or_without_axes_can_be_assigned_to(ckpt: Ckpt, tmp_path: Path, tensor: torch.Tensor) -> None:
    assert torch.equal(assigned(ckpt, tmp_path, tensor, "t = 5", "t += 1", "t[...] -= 2"), torch.full_like(tensor, 4))


def test_what_has_no_plain_elements_is_refused_and_left_as_it_is_by_other_edits(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(
            {"q": torch.quantize_per_tensor(torch.ones(4), 0.1, 3, torch.qint8), "s": torch.eye(3).to_sparse(), "t": torch.ones(2)}, path
        )
    for name in "qs":
        for assignment in (f"{name} = 1", f"{name}[0] = 1", f"{name} += 1", "* = 1"):
            assert "element by element" in ckpt("set", path, assignment, "-i", status=2).err
    ckpt("set", path, "t = 7", "-i")
    found = torch.load(path, weights_only=False)
    assert torch.equal(found["s"].to_dense(), torch.eye(3)) and found["t"].tolist() == [7, 7]
    assert torch.equal(found["q"].int_repr(), torch.full((4,), 13, dtype=torch.int8))


@pytest.mark.parametrize("assignment", ["*=0", "*.bias=0", "0.*=0", "0.*=0", "* = 0", "0.bias*=0", "0.bias *= 0"])
def test_a_star_before_the_sign_of_equality_belongs_to_the_pattern_where_that_names_something(
    assignment: str, ckpt: Ckpt, sample: Callable[[str], Path]
) -> None:
    path = sample("mlp.pt")
    ckpt("set", path, assignment, "-i")
    assert not torch.load(path)["0.bias"].any()
