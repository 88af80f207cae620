"""NumPy's `.npy` and `.npz`: numpy is the judge of what is read and of what is written; what it would unpickle is never loaded."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import numpy
import pytest
import torch
from conftest import CASES, SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_arrays
from oracles import DTYPES, example

from ckpt_cli import reading

every_case = cases.every_case("npy", "npz")
_WORDS = "b1 u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8 c8 c16"
CODES = _WORDS.split()
ODD = {
    "text": numpy.array(["a", "né"]),
    "bytes": numpy.array([b"a", b"bcd"]),
    "dates": numpy.array(["2020-01-01", "NaT"], "M8[D]"),
    "records": numpy.array([(1, 2.5), (3, 4.5)], [("id", "<i4"), ("x", "<f8")]),
    "long": numpy.array([1.5, 2.5], numpy.longdouble),
    "void": numpy.zeros(2, "V3"),
}


def saved(path: Path, **arrays: Any) -> Path:
    """A .npy of one array, or a .npz of them all, as numpy writes it."""
    if path.suffix == ".npy":
        numpy.save(path, *arrays.values())
    else:
        numpy.savez(path, **arrays)
    return path


def loaded(path: Path) -> dict[str, Any]:
    found = numpy.load(path, allow_pickle=True)
    return {"": found} if path.suffix == ".npy" else dict(found)


def same(one: Any, two: Any) -> bool:
    """Dtype, shape and bits."""
    return bool(
        one.dtype == two.dtype and one.shape == two.shape and numpy.array(one, order="C").tobytes() == numpy.array(two, order="C").tobytes()
    )


# Real files


@every_case
def test_it_is_what_numpy_had_in_memory(record: dict[str, Any], ckpt: Ckpt) -> None:
    if record["file"] == "numpy2/two_arrays.npy":
        assert [row[:3] for row in ckpt("ls", CASES / record["file"]).rows] == [["0", "float32", "2x3"], ["1", "float32", "3"]]
    elif record["file"].startswith("py2/"):
        held = numpy.load(CASES / record["file"], allow_pickle=True, encoding="latin1").item()
        arrays = {"list.0": held["list"][0], "unicode 层": held["unicode 层"]} | {f"conv1.{k}": v for k, v in held["conv1"].items()}
        rows = ckpt("ls", CASES / record["file"]).rows
        assert [row[:3] for row in rows] == [[name, str(array.dtype), "x".join(map(str, array.shape))] for name, array in arrays.items()]
    elif "object" in record["file"]:
        rows = ckpt("ls", CASES / record["file"]).rows
        assert [row[1] for row in rows] == ["object"]
    else:
        cases.is_as_told(record, ckpt)


@every_case
def test_written_anew_numpy_reads_the_same(record: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    source = CASES / record["file"]
    out = tmp_path / f"out{source.suffix}"
    ckpt("convert", source, out)
    assert out.read_bytes() == source.read_bytes() or source.suffix == ".npz"
    for name, before in loaded(source).items() if "object" not in source.name and "dict" not in source.name else ():
        assert same(loaded(out)[name], before)


def test_several_arrays_in_one_file_are_numbered_and_stay(case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    path = Path(shutil.copy(case("numpy2/two_arrays.npy"), tmp_path / "a.npy"))
    path.chmod(0o644)
    ckpt("cast", path, "float64", "0", "-o", tmp_path / "b.npy")
    with (tmp_path / "b.npy").open("rb") as file:
        assert numpy.load(file).dtype == "float64" and numpy.load(file).tolist() == [0, 1, 2]
    ckpt("set", path, "1[0] = 7", "-i")
    with path.open("rb") as file:
        assert numpy.load(file).shape == (2, 3) and numpy.load(file).tolist() == [7, 1, 2]


# One array


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_every_dtype_is_read_edited_where_it_lies_and_loaded_by_numpy(
    suffix: str, code: str, order: str, tmp_path: Path, ckpt: Ckpt
) -> None:
    before = numpy.arange(6).reshape(2, 3).astype(order + code)
    path = saved(tmp_path / f"a{suffix}", a=before)
    name = "" if suffix == ".npy" else "a"
    assert ckpt("ls", path).rows == [[name, before.dtype.name, "2x3", "6", str(before.nbytes), ""]]
    ckpt("set", path, f"{name}[1, 0] = {'1' if code == 'b1' else '7'}", "-i")
    after = before.copy()
    after[1, 0] = 7
    assert same(loaded(path)[name], after)
    assert path.read_bytes() == saved(tmp_path / f"b{suffix}", a=after).read_bytes() or suffix == ".npz"


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_fortran_order_is_a_view_and_is_kept(suffix: str, tmp_path: Path, ckpt: Ckpt) -> None:
    before = numpy.asfortranarray(numpy.arange(24.0).reshape(2, 3, 4))
    path, name = saved(tmp_path / f"a{suffix}", a=before), "" if suffix == ".npy" else "a"
    assert reading.open(str(path))[name].strides == (1, 2, 6)
    assert ckpt("get", path, f"{name}[1, 2]").out == "[20. 21. 22. 23.]\n"
    ckpt("set", path, f"{name}[0, 1, :] = [9, 8, 7, 6]", "-i")
    after = before.copy(order="F")
    after[0, 1] = [9, 8, 7, 6]
    assert same(loaded(path)[name], after) and loaded(path)[name].flags.f_contiguous
    ckpt("convert", path, tmp_path / "b.safetensors")
    ckpt("rename", path, f"re:^{name}$=x", "-o", tmp_path / "c.npz")
    assert ckpt("diff", path, tmp_path / "b.safetensors").out == ""
    assert same(loaded(tmp_path / "c.npz")["x"], after) and loaded(tmp_path / "c.npz")["x"].flags.f_contiguous


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_is_no_number_is_listed_refused_for_values_and_carried_along(kind: str, suffix: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = saved(tmp_path / f"a{suffix}", a=ODD[kind])
    [row] = ckpt("ls", path).rows
    assert row[1:3] == [str(ODD[kind].dtype), "2"]
    assert "cannot be edited or read element by element" in ckpt("get", path, row[0], status=2).err
    assert "cannot hold" in ckpt("convert", path, tmp_path / "b.safetensors", status=2).err
    ckpt("rename", path, f"re:^{row[0]}$=x", "-o", tmp_path / "b.npz")
    assert same(loaded(tmp_path / "b.npz")["x"], ODD[kind])


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_objects_are_pickles_that_are_carried_along_and_never_loaded(suffix: str, tmp_path: Path, ckpt: Ckpt) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return open, (str(tmp_path / "canary"), "w")

    path = tmp_path / f"a{suffix}"
    array = numpy.array([Bomb(), 1], object)
    numpy.save(path, array, allow_pickle=True) if suffix == ".npy" else numpy.savez(path, a=array, b=numpy.ones(2))
    assert ckpt("ls", path).rows[0][1] == "object"
    for args in (["get", path, "*"], ["stats", path], ["hash", path], ["check", path], ["set", path, "* = 1", "-n"]):
        ckpt(*args, status=None)
    assert not (tmp_path / "canary").exists()
    if suffix == ".npz":
        ckpt("drop", path, "b", "-o", tmp_path / "b.npz")
        with zipfile.ZipFile(path) as one, zipfile.ZipFile(tmp_path / "b.npz") as two:
            assert one.read("a.npy") == two.read("a.npy") and two.namelist() == ["a.npy"]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_edit_keeps_the_objects_of_an_array_of_objects_and_says_so(suffix: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, out = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    array = numpy.array([numpy.zeros(2000), {"x": numpy.ones(1), "y": 7, "n": "text"}], object)
    numpy.save(path, array, allow_pickle=True) if suffix == ".npy" else numpy.savez(path, o=array, w=numpy.ones(2))
    below = "o." if suffix == ".npz" else ""
    assert ckpt("set", path, f"{below}0[5] = 3", "-i").err == "" and ckpt("convert", path, out).err == ""
    for file in (path, out):
        read = numpy.load(file, allow_pickle=True)
        first, second = read["o"] if suffix == ".npz" else read
        assert first[5] == 3 and first.sum() == 3 and second == {"x": numpy.ones(1), "y": 7, "n": "text"}
    said = ckpt("drop", path, f"{below}1.y", "-i", status=2).err  # which stays in the pickle
    assert f"{below}1.y lies in a pickle, from which no object is taken out" in said
    said = ckpt("convert", path, tmp_path / "a.safetensors").err
    assert f"2 objects besides tensors ({below}1.y, {below}1.n): left behind" in said
    if suffix == ".npz":
        assert ckpt("convert", path, tmp_path / "w.npz", "--select", "w").err == ""
        assert set(numpy.load(tmp_path / "w.npz")) == {"w"}


@pytest.mark.parametrize("name", DTYPES)
def test_what_numpy_has_no_dtype_for_is_refused_before_a_byte(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save({"a": example(name, 2, 3)}, tmp_path / "a.pt")
    for out in (tmp_path / "a.npz", tmp_path / "a.npy"):
        if hasattr(numpy, name):
            ckpt("convert", tmp_path / "a.pt", out)
            [found] = loaded(out).values()
            assert found.tobytes() == example(name, 2, 3).numpy().tobytes() and found.dtype == name
        else:
            assert f"numpy has no {name}" in ckpt("convert", tmp_path / "a.pt", out, status=2).err and not out.exists()


def test_a_npy_holds_one_array(tmp_path: Path, ckpt: Ckpt) -> None:
    found = ckpt("convert", SAMPLES / "mlp.pt", tmp_path / "a.npy", status=2)
    assert "a .npy file holds one array, not 4 (write .npz, or choose one: --select NAME)" in found.err
    found = ckpt("convert", SAMPLES / "mlp.pt", tmp_path / "a.npy", "--select", "0.bias")
    assert "no place for the name 0.bias: left behind" in found.err
    assert numpy.load(tmp_path / "a.npy").tolist() == torch.load(SAMPLES / "mlp.pt")["0.bias"].tolist()


# Several


def test_numpy_loads_a_model_and_it_is_there_and_back(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", SAMPLES / "nested.pt", tmp_path / "a.npz")
    state = torch.load(SAMPLES / "nested.pt")
    assert list(loaded(tmp_path / "a.npz")) == list(state)
    assert all((value == state[name].numpy()).all() for name, value in loaded(tmp_path / "a.npz").items())
    ckpt("convert", tmp_path / "a.npz", tmp_path / "b.pt")
    assert ckpt("diff", SAMPLES / "nested.pt", tmp_path / "b.pt").out == ""
    assert ckpt("hash", tmp_path / "a.npz").rows[-1] == ckpt("hash", SAMPLES / "nested.pt").rows[-1]
    assert ckpt("check", tmp_path / "a.npz", "--finite", "--json").json["holds"]


def test_an_edit_in_place_changes_the_values_and_both_checksums(tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = {"w": numpy.zeros(100_000, "f4"), "b": numpy.ones(3, "f4")}
    path = saved(tmp_path / "a.npz", **tensors)
    before = path.read_bytes()
    ckpt("set", path, "w[50000] = 7", "-i")
    after = path.read_bytes()
    changed = [at for at in range(len(before)) if before[at] != after[at]]
    assert len(before) == len(after) and 4 < len(changed) <= 12
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    tensors["w"][50000] = 7
    assert all(same(loaded(path)[name], value) for name, value in tensors.items())
    assert ckpt("check", path).status == 0


def test_a_checksum_that_is_wrong_is_found(tmp_path: Path, ckpt: Ckpt) -> None:
    path = saved(tmp_path / "a.npz", w=numpy.zeros(100, "f4"))
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"\n") + 9] ^= 1
    path.write_bytes(raw)
    assert ckpt("check", path, status=1).rows[0][:2] == ["checksum", "w.npy"]


def test_compressed_arrays_are_read_and_an_edit_stores_them(tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = {
        "w": numpy.random.default_rng(0).normal(size=(300, 1000)).astype("f4"),
        "i": numpy.arange(5000),
        "f": numpy.eye(9, order="F")[:, :5],
    }
    path = tmp_path / "a.npz"
    numpy.savez_compressed(path, **tensors)
    assert all(same(reading.open(str(path))[name].array(), value) for name, value in tensors.items())
    assert ckpt("get", path, "i[4990:4993]").out == "[4990 4991 4992]\n"
    ckpt("check", path, "--finite")
    ckpt("set", path, "w[0] = 1", "-i")
    tensors["w"][0] = 1
    assert all(same(loaded(path)[name], value) for name, value in tensors.items())


def test_a_compressed_array_that_is_broken_is_an_error(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.npz"
    numpy.savez_compressed(path, w=numpy.random.default_rng(0).normal(size=100_000))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    assert ckpt("ls", path).rows[0][0] == "w"
    for args in (["hash", path], ["stats", path], ["convert", path, tmp_path / "b.safetensors"]):
        assert "member 'w.npy' is broken" in ckpt(*args, status=2).err


def test_nothing_at_all_is_a_file_too(tmp_path: Path, ckpt: Ckpt) -> None:
    path = saved(tmp_path / "a.npz")
    assert path.stat().st_size == 22 and ckpt("ls", path).out == ""
    ckpt("convert", path, tmp_path / "b.npz")
    assert (tmp_path / "b.npz").read_bytes() == path.read_bytes()


def test_names_with_slashes_make_a_tree(tmp_path: Path, ckpt: Ckpt) -> None:
    path = saved(tmp_path / "a.npz", **{"params/Dense_0/kernel": numpy.ones((2, 3)), "params/Dense_0/bias": numpy.zeros(3)})
    assert "Dense_0" in ckpt("ls", path, "--tree").out
    assert ckpt("ls", path, "params/*/bias").rows[0][0] == "params/Dense_0/bias"


def test_ties_are_left_behind(tmp_path: Path, ckpt: Ckpt) -> None:
    found = ckpt("convert", SAMPLES / "shared-mlp.pt", tmp_path / "a.npz")
    assert "a .npz file has no place for ties, and each name has its own copy (4.weight = 2.weight, 4.bias = 2.bias)" in found.err
    assert len(ckpt("tied", "--equal", tmp_path / "a.npz").rows) == 2


def test_in_a_folder_an_array_is_no_model(tmp_path: Path, ckpt: Ckpt) -> None:
    saved(tmp_path / "a.npy", a=numpy.ones(3))
    saved(tmp_path / "b.npz", a=numpy.ones(3))
    assert "the folder holds no model" in ckpt("ls", tmp_path, status=2).err
    shutil.copy(SAMPLES / "mlp.pt", tmp_path / "mlp.pt")
    assert ckpt("ls", tmp_path).rows == ckpt("ls", SAMPLES / "mlp.pt").rows


def test_listing_does_not_import_numpy(tmp_path: Path) -> None:
    paths = [saved(tmp_path / "a.npy", a=numpy.ones(3)), saved(tmp_path / "b.npz", a=numpy.ones(3))]
    numpy.savez_compressed(tmp_path / "c.npz", a=numpy.ones(3))
    code = "import sys; from ckpt_cli.cli import main; [main(['ls', path]) for path in sys.argv[1:]]; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *paths, tmp_path / "c.npz"], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


# Any array


_SHAPES = numpy_arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
_FIELDS = numpy_arrays.array_dtypes(numpy_arrays.scalar_dtypes(), max_size=3)
_KINDS = st.one_of(
    numpy_arrays.scalar_dtypes(), numpy_arrays.byte_string_dtypes(max_len=4), numpy_arrays.unicode_string_dtypes(max_len=4), _FIELDS
)
_ANY = settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])


@_ANY
@given(dtype=_KINDS, shape=_SHAPES, order=st.sampled_from("CF"), seed=st.integers(0, 99))
def test_any_array_of_numpys_is_listed_as_numpy_calls_it_and_written_as_numpy_writes_it(
    dtype: Any, shape: tuple[int, ...], order: str, seed: int, tmp_path: Path, ckpt: Ckpt
) -> None:
    count = int(numpy.prod(shape)) * dtype.itemsize
    raw = numpy.random.RandomState(seed).bytes(count) if dtype.kind in "iufc" else bytes(count)
    array = numpy.frombuffer(raw, dtype).reshape(shape) if dtype.itemsize else numpy.zeros(shape, dtype)
    path = tmp_path / "a.npz"
    numpy.savez(path, a=numpy.array(array, order=order))  # type: ignore[call-overload]
    [[name, said, sizes, *_]] = ckpt("ls", path).rows
    native = array.dtype.newbyteorder("<") if array.dtype.kind in "biufc" else array.dtype
    assert (name, sizes) == ("a", "x".join(map(str, shape))) and said in (native.name, str(array.dtype))
    ckpt("rename", path, "a=b", "-o", tmp_path / "b.npz")
    found = loaded(tmp_path / "b.npz")["b"]
    assert numpy.array_equal(found.astype(array.dtype).tobytes(), array.tobytes()) and found.shape == array.shape
    if array.dtype == native:
        buffer = io.BytesIO()
        numpy.save(buffer, numpy.array(array, order=order))  # type: ignore[call-overload]
        with zipfile.ZipFile(tmp_path / "b.npz") as archive:
            assert archive.read("b.npy") == buffer.getvalue()
    (tmp_path / "b.npz").unlink()
