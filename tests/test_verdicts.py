"""Nothing that was not read counts as fine: what `diff`, `hash` and `check` say of files whose tensors are not plain ones."""

from __future__ import annotations

import array
import base64
import bz2
import functools
import gzip
import lzma
import pickle
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import Ckpt

Case = Callable[[str], Path]


def save(thing: Any, path: Path) -> Path:
    torch.save(thing, path)
    return path


def names(ckpt: Ckpt, path: Path) -> list[str]:
    return [row[0] for row in ckpt("ls", path).rows]


def values(ckpt: Ckpt, path: Path, name: str, tmp_path: Path) -> Any:
    (tmp_path / "value.npy").unlink(missing_ok=True)
    ckpt("get", path, name, "-o", tmp_path / "value.npy")
    return np.load(tmp_path / "value.npy")


def differ(ckpt: Ckpt, one: Path, two: Path) -> list[list[str]]:
    """What `diff` says of two files, whose hashes differ, too. Each is the same as a copy of itself."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(one, folder)
        assert ckpt("diff", one, copy).out == ""
        assert ckpt("hash", one).out == ckpt("hash", copy).out
    assert ckpt("hash", one).rows[-1] != ckpt("hash", two).rows[-1]
    return ckpt("diff", one, two, status=1).rows


# Files as people report them. `right.*` is what the writer's own library says.


@pytest.mark.parametrize(
    ("one", "two", "changed"),
    [
        ("torchao-int8/a.pt", "torchao-int8/b.pt", ["0.weight.tensor_impl.scale"]),
        ("torch-qint8/a.pt", "torch-qint8/b.pt", ["fc.weight"]),
        ("conjugate/conj.pt", "conjugate/plain.pt", ["w"]),
        ("haiku-pickle/x.pkl", "haiku-pickle/y.pkl", ["mlp/~/linear_0.b"]),
        ("equinox/a.eqx", "equinox/b.eqx", ["0", "1", "2", "3", "4", "5"]),
        ("two-streams/a.pt", "two-streams/b.pt", ["1.dec.weight"]),
    ],
)
def test_files_with_other_values_are_different(one: str, two: str, changed: list[str], ckpt: Ckpt, case: Case) -> None:
    assert [row[1] for row in differ(ckpt, case(f"reports/{one}"), case(f"reports/{two}"))] == changed


def test_a_tensor_subclass_lists_what_it_wraps(ckpt: Ckpt, case: Case) -> None:
    found = {row[0]: row[1:3] for row in ckpt("ls", case("reports/torchao-int8/a.pt")).rows}
    assert found == {
        "0.weight.tensor_impl.int_data": ["int8", "32x64"],
        "0.weight.tensor_impl.scale": ["bfloat16", "32"],
        "0.weight.tensor_impl.zero_point": ["int64", "32"],
        "0.bias": ["bfloat16", "32"],
        "1.weight": ["bfloat16", "32"],
        "1.bias": ["bfloat16", "32"],
    }


def test_a_scale_that_is_nan_is_found_in_a_tensor_subclass(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    ckpt("set", case("reports/torchao-int8/a.pt"), "0.weight.tensor_impl.scale[3] = nan", "-o", path)
    assert [row[:2] for row in ckpt("check", path, "--finite", status=1).rows] == [["finite", "0.weight.tensor_impl.scale"]]
    assert ckpt("diff", case("reports/torchao-int8/a.pt"), path, status=1).rows[0][4] == "1/32"


def test_conjugated_values_are_the_logical_ones(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    right = torch.load(case("reports/conjugate/right.pt"))
    right = right["w"] if isinstance(right, dict) else right
    assert np.array_equal(values(ckpt, case("reports/conjugate/conj.pt"), "w", tmp_path), right.resolve_conj().numpy())


def test_arrays_of_objects_are_the_tree_that_they_hold(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    path = case("reports/vgg-npy/vgg16.npy")
    held = np.load(path, allow_pickle=True, encoding="latin1").item()
    for layer, (weights, biases) in held.items():
        assert np.array_equal(values(ckpt, path, f"{layer}.0", tmp_path), weights)
        assert np.array_equal(values(ckpt, path, f"{layer}.1", tmp_path), biases)
    assert len(names(ckpt, path)) == 2 * len(held)
    ckpt("convert", path, tmp_path / "out.npz")
    assert len(np.load(tmp_path / "out.npz")) == 2 * len(held)


def test_pickled_arrays_of_jax_are_read(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    path, right = case("reports/haiku-pickle/x.pkl"), np.load(case("reports/haiku-pickle/right_x.npz"))
    found = {row[0]: row[1] for row in ckpt("ls", path).rows}
    assert list(found.values()) == ["float32", "float32", "bfloat16", "float32"] and len(right.files) == 4
    ckpt("cast", path, "float32", "-o", tmp_path / "x.safetensors")
    for name, wanted in zip(found, (right[key] for key in right.files), strict=True):
        assert np.array_equal(values(ckpt, tmp_path / "x.safetensors", name, tmp_path), wanted)


def test_torch_tensors_that_pickle_dump_wrote_are_read(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    path, right = case("reports/pickled-tensors/state.pkl"), torch.load(case("reports/pickled-tensors/right.pt"))
    ckpt("convert", path, tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt")
    assert {name: value for name, value in found.items() if not isinstance(value, torch.Tensor)} == {}
    assert all(torch.equal(found[name], value) for name, value in right.items() if isinstance(value, torch.Tensor))
    assert "name" in ckpt("summary", path).out


def test_arrays_that_follow_one_another_are_numbered(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    path, right = case("reports/equinox/a.eqx"), np.load(case("reports/equinox/right_a.npz"))
    assert names(ckpt, path) == [str(i) for i in range(len(right.files))]
    for i, name in enumerate(right.files):
        assert np.array_equal(values(ckpt, path, str(i), tmp_path), right[name])
    rows = ckpt("diff", path, case("reports/equinox/b.eqx"), status=1).rows
    assert [row[:2] for row in rows] == [*(["shape", str(i)] for i in range(5)), ["changed", "5"]]


def test_a_line_of_json_before_the_arrays_is_metadata(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "m.eqx"
    with path.open("wb") as file:
        file.write(b'{"width": 3}\n')
        np.save(file, np.arange(3.0))
        np.save(file, np.int32(7))
    assert [row[:3] for row in ckpt("ls", path).rows] == [["0", "float64", "3"], ["1", "int32", ""]]
    ckpt("set", path, "0[1] = 9", "-i")
    raw = path.read_bytes()
    assert raw.startswith(b'{"width": 3}\n')
    with path.open("rb") as file:
        file.readline()
        assert np.load(file).tolist() == [0, 9, 2] and np.load(file) == 7


# Objects of classes that hold tensors, wherever a pickle puts them


class InState:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class InSlots:
    __slots__ = ("tensor",)

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class InArguments:
    def __init__(self, tensor: torch.Tensor) -> None:
        self._held = tensor

    def __reduce__(self) -> Any:
        return InArguments, (self._held,)


class InTupleState:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.held = tensor

    def __getstate__(self) -> Any:
        return ("version", [self.held])

    def __setstate__(self, state: Any) -> None:
        self.held = state[1][0]


class InBareState:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.held = tensor

    def __getstate__(self) -> Any:
        return self.held

    def __setstate__(self, state: Any) -> None:
        self.held = state


class InKeywords:
    def __new__(cls, *, tensor: Any) -> InKeywords:
        made = super().__new__(cls)
        made._held = tensor
        return made

    def __getnewargs_ex__(self) -> Any:
        return (), {"tensor": self._held}

    def __getstate__(self) -> Any:
        return None

    _held: Any


class ListWithAttributes(list[Any]):
    pass


def beside_items(tensor: torch.Tensor) -> Any:
    made = ListWithAttributes([1, 2])
    made.tensor = tensor  # type: ignore[attr-defined]
    return made


def nested_part(tensor: torch.Tensor) -> Any:
    return functools.partial(len, tensor)


class Subclass(torch.Tensor):
    """A tensor that keeps another one beside its elements."""


class Wrapper(torch.Tensor):
    """A tensor without elements of its own, as torchao has them."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapper:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)  # type: ignore[no-any-return, attr-defined]

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    def __tensor_flatten__(self) -> Any:
        return ["inner"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*(a.inner if isinstance(a, Wrapper) else a for a in args), **(kwargs or {}))


def object_array(tensor: torch.Tensor) -> Any:
    made = np.empty(3, dtype=object)
    made[:] = [None, tensor, "a"]
    return made


def with_scale(tensor: torch.Tensor) -> torch.Tensor:
    made = torch.ones(3).as_subclass(Subclass)
    made.scale = tensor
    return made


def parameter_with_state(tensor: torch.Tensor) -> torch.Tensor:
    made = torch.nn.Parameter(torch.ones(3))
    made.scale = tensor
    return made


HOLDERS: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "state": (InState, "x.tensor"),
    "slots": (InSlots, "x.tensor"),
    "arguments": (InArguments, "x.0"),
    "state that is a tuple": (InTupleState, "x.1.0"),
    "bare state": (InBareState, "x.state"),
    "attributes of a list": (beside_items, "x.tensor"),
    "partial": (nested_part, "x.state.1.0"),
    "subclass": (with_scale, "x.scale"),
    "parameter": (parameter_with_state, "x.scale"),
    "wrapper": (Wrapper, "x.inner"),
    "array of objects": (object_array, "x.1"),
}


@pytest.mark.parametrize("kind", HOLDERS)
@pytest.mark.parametrize("suffix", [".pt", ".legacy.pt", ".pkl"])
def test_tensors_inside_objects_are_listed_and_compared(kind: str, suffix: str, ckpt: Ckpt, tmp_path: Path) -> None:
    hold, name = HOLDERS[kind]
    paths = [tmp_path / f"{side}{suffix}" for side in "ab"]
    for path, tensor in zip(paths, (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])), strict=True):
        thing = {"w": torch.ones(2), "x": hold(tensor)}
        if suffix == ".pkl":
            path.write_bytes(pickle.dumps(thing))
        else:
            torch.save(thing, path, _use_new_zipfile_serialization=suffix == ".pt")
    assert name in names(ckpt, paths[0])
    rows = differ(ckpt, *paths)
    assert [row[:2] for row in rows] == [["changed", name]] and rows[0][4] == "1/2"


@pytest.mark.parametrize("kind", [kind for kind in HOLDERS if kind != "array of objects"])
def test_an_edit_carries_objects_and_changes_what_lies_in_them(kind: str, ckpt: Ckpt, tmp_path: Path) -> None:
    hold, name = HOLDERS[kind]
    path = save({"w": torch.ones(2), "x": hold(torch.tensor([1.0, 2.0]))}, tmp_path / "a.pt")
    ckpt("set", path, f"{name}[1] = 5", "-i")
    ckpt("rename", path, "w=v", "-o", tmp_path / "b.pt")
    assert values(ckpt, tmp_path / "b.pt", name, tmp_path).tolist() == [1, 5]
    assert list(torch.load(tmp_path / "b.pt", weights_only=False)) == ["v", "x"]


# Bytes that are in no tensor


def bare(byte: int) -> torch.UntypedStorage:
    return torch.UntypedStorage(5).fill_(byte)


@pytest.mark.parametrize(
    ("make", "name"),
    [(lambda byte: bare(byte), "x"), (lambda byte: bytes([byte]) * 5000, "x"), (lambda byte: InArguments(bytearray([byte]) * 5000), "x.0")],
    ids=["storage", "bytes", "bytes in an object"],
)
def test_bytes_that_no_tensor_has_are_compared_and_hashed(make: Callable[[int], Any], name: str, ckpt: Ckpt, tmp_path: Path) -> None:
    one, two = (save({"w": torch.ones(2), "x": make(byte)}, tmp_path / f"{byte}.pt") for byte in (1, 2))
    rows = differ(ckpt, one, two)
    assert [row[:2] for row in rows] == [["changed", name]]
    ckpt("check", one)
    assert [row[:2] for row in ckpt("check", one, "--finite", status=1).rows] == [["unread", name]]
    assert f"{name}: not decoded" in ckpt("stats", one).err
    assert name.split(".")[0] in ckpt("convert", one, tmp_path / "out.safetensors").err
    assert ckpt("diff", one, tmp_path / "out.safetensors", status=1).rows[0][:2] == ["removed", name]


def test_a_storage_that_nothing_refers_to_is_compared_and_carried(ckpt: Ckpt, tmp_path: Path) -> None:
    paths = [save({"w": torch.ones(2)}, tmp_path / f"{byte}.pt") for byte in (1, 2)]
    for byte, path in enumerate(paths):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"{path.stem}/data/1", bytes([byte]) * 8)
    assert [row[:2] for row in differ(ckpt, *paths)] == [["changed", "data/1"]]
    ckpt("rename", paths[0], "w=v", "-i")
    with zipfile.ZipFile(paths[0]) as archive:
        assert archive.read("1/data/1") == bytes(8)
    assert torch.equal(torch.load(paths[0])["v"], torch.ones(2))


def test_the_same_storages_elsewhere_in_the_file_are_the_same(ckpt: Ckpt, tmp_path: Path) -> None:
    one = save({"w": torch.ones(2), "x": bare(1)}, tmp_path / "a.pt")
    two = save({"x": bare(1), "w": torch.ones(2)}, tmp_path / "b.pt")
    assert ckpt("diff", one, two).out == ""


def test_a_record_that_torch_does_not_write_is_compared_and_carried(ckpt: Ckpt, tmp_path: Path) -> None:
    paths = [save({"w": torch.ones(2)}, tmp_path / f"{byte}.pt") for byte in (1, 2)]
    for byte, path in enumerate(paths):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"{path.stem}/extra.bin", bytes([byte]) * 8)
    assert [row[:2] for row in differ(ckpt, *paths)] == [["changed", "extra.bin"]]
    assert ckpt("rename", paths[0], "w=v", "-i").err == ""
    with zipfile.ZipFile(paths[0]) as archive:
        assert archive.read("1/extra.bin") == bytes(8)


# Several objects in one file


@pytest.mark.parametrize("how", ["legacy", "pickles"])
def test_every_object_that_was_saved_to_one_file_is_read(how: str, ckpt: Ckpt, tmp_path: Path) -> None:
    paths = [tmp_path / f"{side}.{'pt' if how == 'legacy' else 'pkl'}" for side in "ab"]
    for path, last in zip(paths, (2.0, 3.0), strict=True):
        with path.open("wb") as file:
            for value in (1.0, last):
                thing = {"w": torch.tensor([value]), "n": 1}
                torch.save(thing, file, _use_new_zipfile_serialization=False) if how == "legacy" else pickle.dump(thing, file)
    assert names(ckpt, paths[0]) == ["0.w", "1.w"]
    assert [row[:2] for row in differ(ckpt, *paths)] == [["changed", "1.w"]]
    if how == "legacy":
        assert "one after another" in ckpt("set", paths[0], "0.w = 2", "-i", status=2).err


# joblib

# Numbers of numpy's, and bytes within objects


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (np.float32, "x"),
        (lambda number: Holder(np.float64(number)), "x.held"),
        (lambda number: np.ma.array([number, 2.0], mask=[False, True]), "x.state.4"),
        (lambda number: Holder(bytes([number, 1, 2])), "x.held"),
        (lambda number: InKeywords(tensor=np.full(2, number)), "x.tensor"),
        (lambda number: Holder(array.array("B", [number, 7])), "x.held.3"),
    ],
    ids=["scalar", "scalar in an object", "masked array", "bytes in an object", "keywords", "array of Python"],
)
def test_numbers_that_are_no_arrays_are_compared_and_hashed(make: Callable[[int], Any], name: str, ckpt: Ckpt, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.pkl" for number in (1, 2)]
    for number, path in enumerate(paths, 1):
        path.write_bytes(pickle.dumps({"w": np.ones(2), "x": make(number)}))
    assert name in [row[1] for row in differ(ckpt, *paths)]


def test_a_number_of_numpys_that_is_not_finite_is_found(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"w": np.ones(2), "x": np.float32(np.inf), "y": np.float32(1)}))
    assert [row[:2] for row in ckpt("check", path, "--finite", status=1).rows] == [["finite", "x"]]


def test_a_link_to_another_file_is_not_said_to_be_the_same(ckpt: Ckpt, tmp_path: Path) -> None:
    for folder, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        with h5py.File(tmp_path / folder / "t.h5", "w") as file:
            file["q"] = [value]
        with h5py.File(tmp_path / folder / "m.h5", "w") as file:
            file["w"], file["x"] = [1.0], h5py.ExternalLink("t.h5", "q")
    one, two = tmp_path / "a/m.h5", tmp_path / "b/m.h5"
    assert [row[:2] for row in ckpt("diff", one, two, status=1).rows] == [["unread", "x"]]
    assert [row[:2] for row in ckpt("check", one, status=1).rows] == [["unread", "x"]]
    assert "x is a link to another file" in ckpt("hash", one, status=2).err


def test_datasets_of_texts_are_compared(ckpt: Ckpt, tmp_path: Path) -> None:
    for name in "ab":
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["w"], file["words"] = [1.0], ["x", name]
    assert [row[:2] for row in differ(ckpt, tmp_path / "a.h5", tmp_path / "b.h5")] == [["changed", "words"]]
    ckpt("check", tmp_path / "a.h5", "--finite")


# joblib 1.6: dump({"w": float32 2x3, "f": float64 2x3 in Fortran order, "o": [int64 2, None] of objects, "name": "x"}), counting from 0.
JOBLIB = base64.b64decode(
    """
    gASV2gAAAAAAAAB9lCiMAXeUjBNqb2JsaWIubnVtcHlfcGlja2xllIwRTnVtcHlBcnJheVdyYXBwZXKUk5QpgZR9lCiMCHN1YmNsYXNzlIwFbnVtcHmUjAdu
    ZGFycmF5lJOUjAVzaGFwZZRLAksDhpSMBW9yZGVylIwBQ5SMBWR0eXBllGgIjAVkdHlwZZSTlIwCZjSUiYiHlFKUKEsDjAE8lE5OTkr/////Sv////9LAHSU
    YowKYWxsb3dfbW1hcJSIjBtudW1weV9hcnJheV9hbGlnbm1lbnRfYnl0ZXOUSxB1Ygr/////////////AAAAAAAAgD8AAABAAABAQAAAgEAAAKBAlU0AAAAA
    AAAAjAFmlGgEKYGUfZQoaAdoCmgLSwJLA4aUaA2MAUaUaA9oEYwCZjiUiYiHlFKUKEsDaBVOTk5K/////0r/////SwB0lGJoF4hoGEsQdWIB/wAAAAAAAAAA
    AAAAAAAACEAAAAAAAADwPwAAAAAAABBAAAAAAAAAAEAAAAAAAAAUQJVLAAAAAAAAAIwBb5RoBCmBlH2UKGgHaApoC0sChZRoDWgOaA9oEYwCTziUiYiHlFKU
    KEsDjAF8lE5OTkr/////Sv////9LP3SUYmgXiWgYSxB1YoAFlf4AAAAAAAAAjBZudW1weS5fY29yZS5tdWx0aWFycmF5lIwMX3JlY29uc3RydWN0lJOUjAVu
    dW1weZSMB25kYXJyYXmUk5RLAIWUQwFilIeUUpQoSwFLAoWUaAOMBWR0eXBllJOUjAJPOJSJiIeUUpQoSwOMAXyUTk5OSv////9K/////0s/dJRiiV2UKIwT
    bnVtcHkuX2NvcmUubnVtZXJpY5SMC19mcm9tYnVmZmVylJOUKJYQAAAAAAAAAAAAAAAAAAAAAQAAAAAAAACUaAyMAmk4lImIh5RSlChLA4wBPJROTk5K////
    /0r/////SwB0lGJLAoWUjAFDlHSUUpROZXSUYi6VDQAAAAAAAACMBG5hbWWUjAF4lHUu
    """
)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda raw: lzma.compress(raw, lzma.FORMAT_ALONE),
}


@pytest.mark.parametrize("codec", COMPRESS)
def test_joblib_files_are_read(codec: str, ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.joblib"
    path.write_bytes(COMPRESS[codec](JOBLIB))
    assert [row[:3] for row in ckpt("ls", path).rows] == [["w", "float32", "2x3"], ["f", "float64", "2x3"], ["o.0", "int64", "2"]]
    assert values(ckpt, path, "w", tmp_path).tolist() == values(ckpt, path, "f", tmp_path).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert values(ckpt, path, "o.0", tmp_path).tolist() == [0, 1]
    path.write_bytes(COMPRESS[codec](JOBLIB)[:-9])
    assert "truncated" in ckpt("ls", path, status=2).err


@pytest.mark.parametrize("codec", ["zlib", "gzip", "bzip2", "xz"])
def test_a_bomb_in_joblib_is_refused(codec: str, ckpt: Ckpt, tmp_path: Path) -> None:
    wrapper = JOBLIB[: JOBLIB.index(b"numpy_array_alignment_bytes")]
    path = tmp_path / "a.joblib"
    path.write_bytes(COMPRESS[codec](wrapper + bytes(64 << 20)))
    assert ckpt("ls", path, status=2).err.count("\n") == 1


# Pickles within arrays


def npz(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays) if path.stem.startswith("deflated") else np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("stem", ["stored", "deflated"])
def test_objects_in_npz_are_the_tree_that_they_hold(stem: str, ckpt: Ckpt, tmp_path: Path) -> None:
    held = {"layer": {"w": np.arange(6.0).reshape(2, 3)}, "n": 3}
    path = npz(tmp_path / f"{stem}.npz", plain=np.ones(2), tree=np.array(held, dtype=object), words=np.array(["a", None], dtype=object))
    assert [row[:3] for row in ckpt("ls", path).rows] == [
        ["plain", "float64", "2"], ["tree.layer.w", "float64", "2x3"], ["words", "object", "2"],
    ]  # fmt: skip
    other = npz(tmp_path / f"{stem}2.npz", plain=np.ones(2), tree=np.array(held, dtype=object), words=np.array(["b", None], dtype=object))
    assert [row[1] for row in differ(ckpt, path, other)] == ["words"]
    held["layer"]["w"][1, 2] = 9  # type: ignore[index]
    third = npz(tmp_path / f"{stem}3.npz", plain=np.ones(2), tree=np.array(held, dtype=object), words=np.array(["a", None], dtype=object))
    assert [row[1] for row in differ(ckpt, path, third)] == ["tree.layer.w"]
    ckpt("set", path, "plain[0] = 4", "-o", tmp_path / "out.npz")
    out = np.load(tmp_path / "out.npz", allow_pickle=True)
    assert out["plain"].tolist() == [4, 1] and out["tree"].item()["layer"]["w"][1, 2] == 5 and out["words"].tolist() == ["a", None]


def test_a_quantised_tensor_differs_by_its_quantiser_alone(ckpt: Ckpt, tmp_path: Path) -> None:
    integers = torch.arange(6, dtype=torch.int8).reshape(2, 3)
    made = {
        "a": torch._make_per_tensor_quantized_tensor(integers, 0.5, 0),
        "scale": torch._make_per_tensor_quantized_tensor(integers, 0.25, 0),
        "zero": torch._make_per_tensor_quantized_tensor(integers, 0.5, 1),
        "axis": torch._make_per_channel_quantized_tensor(integers, torch.tensor([0.5, 0.5]), torch.tensor([0, 0]), 0),
    }
    paths = {name: save({"w": tensor}, tmp_path / f"{name}.pt") for name, tensor in made.items()}
    for name in ("scale", "zero", "axis"):
        assert [row[:2] + row[4:5] for row in differ(ckpt, paths["a"], paths[name])] == [["changed", "w", "6/6"]]
    integers[1, 2] = 9
    other = save({"w": torch._make_per_tensor_quantized_tensor(integers, 0.5, 0)}, tmp_path / "other.pt")
    assert ckpt("diff", paths["a"], other, status=1).rows[0][4::4] == ["1/6", "[1,2]"]
    ckpt("spec", paths["a"], "-o", tmp_path / "spec.toml")
    ckpt("check", paths["a"], "--spec", tmp_path / "spec.toml")
    for name in ("scale", "zero", "axis"):
        assert ckpt("check", paths[name], "--spec", tmp_path / "spec.toml", status=1).rows[0][1] == "w"


def test_sparse_tensors_differ_by_their_values_and_by_their_places(ckpt: Ckpt, tmp_path: Path) -> None:
    eye = torch.eye(3)
    moved = torch.eye(3)[[1, 0, 2]]
    one, two, three = (save({"w": t.to_sparse()}, tmp_path / f"{i}.pt") for i, t in enumerate((eye, 2 * eye, moved)))
    assert [row[1] for row in differ(ckpt, one, two)] == ["w"] == [row[1] for row in differ(ckpt, one, three)]
