"""`ckpt get`: the values of one parameter or a part of it, exactly."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import DTYPES, bits, example

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))

FLOATS = [name for name in DTYPES if "float" in name]
COMPLEX = [name for name in DTYPES if "complex" in name]


def parsed(text: str, dtype: str) -> list[Any]:
    """The numbers in what `get` prints."""
    words = re.sub(r"[\[\]()]", " ", text)
    if dtype.startswith("complex"):
        words = re.sub(r"(?<=[\d.naif])\s*([-+])\s*([\d.naife+-]*?)\s*j", r"\1\2j", words)  # numpy pads the parts
        return [complex(word) for word in words.split()]
    return [{"True": True, "False": False}.get(word, None if dtype == "bool" else int(word) if "int" in dtype else float(word))
            if dtype == "bool" or "int" in dtype else float(word) for word in words.split()]  # fmt: skip


def same(numbers: list[Any], tensor: torch.Tensor) -> bool:
    """True where the numbers, rounded to the tensor's dtype, are its elements bit by bit; one NaN is as good as another."""
    name = str(tensor.dtype).removeprefix("torch.")
    wide = torch.complex128 if name.startswith("complex") else torch.float64
    if "float" not in name and "complex" not in name:
        return numbers == tensor.reshape(-1).tolist()
    found = torch.tensor(numbers, dtype=wide).to(tensor.dtype).to(wide).reshape(-1)
    expected = tensor.to(wide).reshape(-1)
    halves = (lambda t: torch.view_as_real(t)) if wide is torch.complex128 else (lambda t: t)
    a, b = halves(found), halves(expected)
    return bool(((a == b) & (a.signbit() == b.signbit()) | a.isnan() & b.isnan()).all())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 2), (2, 2, 2)])
def test_text_parses_back_to_the_identical_values(ckpt: Ckpt, tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    for seed in range(3):
        tensor = example(dtype, *shape, seed=seed)
        torch.save({"t": tensor}, tmp_path / "a.pt")
        text = ckpt("get", tmp_path / "a.pt", "t").out
        assert text.endswith("\n") and same(parsed(text, dtype), tensor), text


@pytest.mark.parametrize("dtype", DTYPES)
def test_json_values_are_the_identical_values(ckpt: Ckpt, tmp_path: Path, dtype: str) -> None:
    tensor = example(dtype, 4, 3)
    torch.save({"t": tensor}, tmp_path / "a.pt")
    found = ckpt("get", tmp_path / "a.pt", "t", "--json").json
    assert list(found) == ["path", "name", "dtype", "shape", "values"]
    assert (found["path"], found["name"], found["dtype"], found["shape"]) == (str(tmp_path / "a.pt"), "t", dtype, [4, 3])
    assert [len(row) for row in found["values"]] == [3, 3, 3, 3]
    numbers = [item for row in found["values"] for item in row]
    if dtype in COMPLEX:
        numbers = [complex(*map(float, pair)) for pair in numbers]
    assert same([float(item) if isinstance(item, str) else item for item in numbers], tensor)


def test_json_says_what_it_has_no_number_for_in_strings(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"t": torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])}, tmp_path / "a.pt")
    assert ckpt("get", tmp_path / "a.pt", "t", "--format", "json").out.endswith('"values": ["NaN", "Infinity", "-Infinity", -0.0]}\n')


@pytest.mark.parametrize("dtype", DTYPES)
def test_raw_is_the_elements_as_c_contiguous_little_endian_bytes(ckpt: Ckpt, tmp_path: Path, dtype: str) -> None:
    tensor = example(dtype, 5, 3)
    torch.save({"t": tensor.t()}, tmp_path / "a.pt")
    assert ckpt("get", tmp_path / "a.pt", "t", "--format", "raw").raw == bits(tensor.t())[2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_npy_is_what_numpy_loads(ckpt: Ckpt, tmp_path: Path, dtype: str) -> None:
    tensor = example(dtype, 2, 3)
    torch.save({"t": tensor}, tmp_path / "a.pt")
    found = ckpt("get", tmp_path / "a.pt", "t", "--format", "npy", "-o", tmp_path / "t.npy")
    array = np.load(tmp_path / "t.npy", allow_pickle=False)
    assert not found.out and array.shape == (2, 3)
    if dtype == "bfloat16" or dtype.startswith("float8"):  # raw elements, with a note
        assert f"ml_dtypes.{dtype}" in found.err and array.dtype.kind == "V"
        array = array.view(getattr(ml_dtypes, dtype))
    elif dtype == "complex32":  # numpy has none: wider
        assert np.array_equal(array, tensor.to(torch.complex64).numpy(), equal_nan=True)
        return
    assert str(array.dtype) == dtype and array.tobytes() == bits(tensor)[2]


@pytest.mark.parametrize("form", ["text", "json", "npy", "raw"])
def test_an_output_file_holds_what_would_be_printed_and_an_existing_one_is_replaced_by_force_alone(
    ckpt: Ckpt, tmp_path: Path, form: str
) -> None:
    out = tmp_path / "out"
    printed = ckpt("get", SAMPLES / "mlp.pt", "0.weight", "--format", form).raw
    assert ckpt("get", SAMPLES / "mlp.pt", "0.weight", "--format", form, "-o", out).raw == b""
    assert out.read_bytes() == printed
    out.write_bytes(b"mine")
    refused = ckpt("get", SAMPLES / "mlp.pt", "0.weight", "--format", form, "-o", out, status=2)
    assert "is there already (--force replaces it" in refused.err
    assert out.read_bytes() == b"mine" and os.listdir(tmp_path) == ["out"]
    ckpt("get", SAMPLES / "mlp.pt", "0.weight", "--format", form, "-o", out, "--force")
    assert out.read_bytes() == printed


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (torch.tensor(0.1), "0.1\n"),
        (torch.tensor(0.1, dtype=torch.float64), "0.1\n"),
        (torch.tensor(0.1, dtype=torch.bfloat16), "0.1\n"),
        (torch.tensor(1e-45), "1e-45\n"),
        (torch.tensor(-0.0), "-0.0\n"),
        (torch.tensor(float("nan")), "nan\n"),
        (torch.tensor(True), "True\n"),
        (torch.tensor(7, dtype=torch.uint8), "7\n"),
        (torch.tensor(1 - 2j), "(1.0-2.0j)\n"),
        (torch.tensor(complex(0, float("inf"))), "(0.0+infj)\n"),
        (torch.tensor([1.0, 2.5, -3.0]), "[ 1.   2.5 -3. ]\n"),
        (torch.tensor([0.1, 2.0], dtype=torch.bfloat16), "[0.1 2.0]\n"),
        (torch.tensor([[1, 2], [30, 4]]), "[[ 1  2]\n [30  4]]\n"),
        (torch.zeros(0), "[]\n"),
        (torch.tensor([2**64 - 1, 2**53 + 1, 0], dtype=torch.uint64), "[18446744073709551615     9007199254740993                    0]\n"),
        (torch.tensor(2**64 - 1, dtype=torch.uint64), "18446744073709551615\n"),
        (torch.tensor(-(2**63)), "-9223372036854775808\n"),
    ],
    ids=str,
)
def test_text_is_as_numpy_prints_it(ckpt: Ckpt, tmp_path: Path, tensor: torch.Tensor, text: str) -> None:
    torch.save({"t": tensor}, tmp_path / "a.pt")
    assert ckpt("get", tmp_path / "a.pt", "t").out == text


def test_text_leaves_nothing_out_however_large(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"t": torch.arange(5000)}, tmp_path / "a.pt")
    assert parsed(ckpt("get", tmp_path / "a.pt", "t").out, "int64") == list(range(5000))


@pytest.mark.parametrize(
    ("value", "precision", "text"),
    [
        (2 / 3, 2, "0.67\n"),
        (2 / 3, 0, "1\n"),
        ([2 / 3, 1.0], 3, "[0.667 1.000]\n"),
        (1e-9, 2, "1e-09\n"),
        (7, 2, "7\n"),
        (True, 1, "True\n"),
    ],
)
def test_precision_rounds(ckpt: Ckpt, tmp_path: Path, value: Any, precision: int, text: str) -> None:
    torch.save({"t": torch.tensor(value)}, tmp_path / "a.pt")
    assert ckpt("get", tmp_path / "a.pt", "t", "--precision", precision).out == text


@relaxed
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
def test_integers_make_no_detour_through_floats(ckpt: Ckpt, tmp_path: Path, values: list[int]) -> None:
    torch.save({"t": torch.tensor(values, dtype=torch.uint64)}, tmp_path / "a.pt")
    assert ckpt("get", tmp_path / "a.pt", "t", "--json").json["values"] == values
    assert ckpt("get", tmp_path / "a.pt", "t[-1]").out == f"{values[-1]}\n"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_all_formats_of_one_model_give_one_answer(ckpt: Ckpt, form: str, suffix: str) -> None:
    answers = [ckpt("get", SAMPLES / f"mlp{s}", "0.weight", "--format", form).out.split('"name"')[-1] for s in (".legacy.pt", suffix)]
    assert answers[0] == answers[1]


def test_a_pattern_that_means_one_is_as_good_as_its_name_and_several_are_an_error(ckpt: Ckpt) -> None:
    path = SAMPLES / "mlp.pt"
    assert ckpt("get", path, "2*s").out == ckpt("get", path, "2.bias").out
    found = ckpt("get", path, "*.bias", status=2)
    assert "'*.bias' means 2 tensors: 0.bias, 2.bias (name one of them)" in found.err


@pytest.fixture(scope="module")
def opaque(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import warnings

    path = tmp_path_factory.mktemp("opaque") / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(
            {
                "quantised": torch.quantize_per_tensor(torch.ones(4), 0.1, 3, torch.qint8),
                "coo": torch.eye(3).to_sparse(),
                "csr": torch.eye(3).to_sparse_csr(),
                "plain": torch.ones(2),
            },
            path,
        )
    return path


@pytest.mark.parametrize("name", ["quantised", "coo", "csr"])
@pytest.mark.parametrize("form", ["text", "json", "npy", "raw"])
def test_what_has_no_plain_elements_is_refused_in_one_clear_line(ckpt: Ckpt, opaque: Path, name: str, form: str) -> None:
    for reference in (name, f"{name}[0]"):
        found = ckpt("get", opaque, reference, "--format", form, status=2)
        assert name in found.err and "element" in found.err and not found.out
    assert ckpt("get", opaque, "plain").out == "[1. 1.]\n"


def test_only_the_bytes_that_are_needed_are_read(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    header = b'{"t":{"dtype":"F32","shape":[1000000,250000],"data_offsets":[0,1000000000000]}}'
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 10**12)
        file.seek(8 + len(header) + 4 * (250000 * 999999 + 5))
        file.write(np.float32(1.5).tobytes())
    assert ckpt("get", path, "t[-1, 4:7]").out == "[0.  1.5 0. ]\n"
    assert ckpt("get", path, "t[999999,5]").out == "1.5\n"


@pytest.mark.parametrize("name", ["bool", "int8", "uint64", "float16", "bfloat16", "float32", "float64", "complex32"])
def test_one_number_is_had_without_numpy(name: str) -> None:
    code = "import sys; from ckpt_cli.cli import main; main(sys.argv[1:]); print({'numpy', 'torch', 'rich'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code, "get", str(SAMPLES / "dtypes.pt"), f"{name}[0, 1]"], capture_output=True, text=True)
    assert run.stdout.splitlines()[1:] == ["set()"] and not run.stderr


def test_an_output_file_has_the_mode_that_the_umask_leaves(ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("get", SAMPLES / "mlp.pt", "0.bias", "--format", "npy", "-o", tmp_path / "a.npy")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.npy").stat().st_mode) == 0o666 & ~mask


def test_what_is_no_tensor_is_printed_by_its_path(ckpt: Ckpt) -> None:
    path = SAMPLES / "training.ckpt"
    assert ckpt("get", path, "epoch").out == "3\n"
    assert ckpt("get", path, "optimizer.param_groups.0.lr", "--json").json["value"] == 0.001


@pytest.mark.parametrize("shape", [(7, 300), (2, 3, 400), (3000,), (2, 2, 2, 200), (1500, 1), (0, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.float64, torch.bool])
def test_many_values_are_a_line_a_row_in_numpys_brackets(shape: tuple[int, ...], dtype: torch.dtype, ckpt: Ckpt, tmp_path: Path) -> None:
    values = (torch.randn(shape) * 100).to(dtype)
    torch.save({"w": values}, tmp_path / "a.pt")
    out = ckpt("get", tmp_path / "a.pt", "w").out
    if values.numel():
        assert out.count("\n") == values.numel() // shape[-1]
    commas = re.sub(r"(?<=[\w.\]])\s+(?=[-\w\[])", ", ", out.strip())
    found = torch.tensor(eval(commas)).to(dtype)  # the text is numbers and brackets of this test's own making
    assert torch.equal(found.reshape(shape), values)


def test_the_suffix_of_the_output_chooses_the_format(ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("get", SAMPLES / "mlp.pt", "0.weight", "-o", tmp_path / "w.npy")
    assert np.load(tmp_path / "w.npy").shape == (8, 4)


def test_a_container_of_what_is_no_tensor_is_a_record_a_value(ckpt: Ckpt) -> None:
    found = ckpt("get", SAMPLES / "training.ckpt", "losses")
    assert [row[0] for row in found.rows] == ["losses.0", "losses.1", "losses.2"]
    assert ckpt("get", SAMPLES / "training.ckpt", "args", "--json").json["values"] == {"args.lr": 0.01, "args.name": "run 1"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_whole_numbers_are_printed_as_what_they_are(dtype: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """12032 is the bfloat16 next to 12000; the fewest digits that give it back would say 12000."""
    values = torch.tensor([1.0, 12032.0, 300.0, 448.0, -208.0]).to(getattr(torch, dtype))
    values = values[values.float().isfinite()]
    torch.save({"w": values, **{f"w{i}": value for i, value in enumerate(values)}}, tmp_path / "m.pt")
    want = [float(value) for value in values]
    assert [float(word) for word in ckpt("get", tmp_path / "m.pt", "w").out.strip("[]\n ").split()] == want
    assert [float(ckpt("get", tmp_path / "m.pt", f"w{i}").out) for i in range(len(want))] == want
