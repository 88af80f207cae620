"""Keras' files: .keras, .weights.h5 and .h5 through the command line, held against what Keras had in memory when it wrote them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import h5py
import numpy as np
import pytest
from conftest import CASES, SAMPLES, WHOLE, Ckpt

from ckpt_cli import reading
from ckpt_cli.formats.keras import hdf5_sandbox, hdf5_walk

every_case = cases.every_case("keras3", "keras-h5")
some_cases = cases.every_case("keras3", "keras-h5", matching=lambda record: WHOLE or "tied" in record["file"] or "image" in record["file"])
MODELS = ("mlp.keras", "mlp.weights.h5", "mlp.h5")
every_model = pytest.mark.parametrize("name", MODELS)
FIRST = {"mlp.keras": "layers/dense/vars/0", "mlp.weights.h5": "layers/dense/vars/0", "mlp.h5": "model_weights/dense/dense/kernel:0"}


def hdf5(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Every dataset of a file, as h5py reads it."""
    found = {}
    source: Any = path
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            source = archive.open("model.weights.h5")
    with h5py.File(source) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def structure(path: Path) -> dict[str, Any]:
    """Groups, datasets and links of an HDF5 file with their attributes, without the values."""
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        kind = (str(item.dtype), item.shape) if isinstance(item, h5py.Dataset) else "group"
        found[name] = kind, {key: np.asarray(value).tolist() for key, value in item.attrs.items()}

    with h5py.File(path) as file:
        note("/", file)
        file.visititems(note)
    return found


def above(path: str, count: int) -> str:
    """The path without its last `count` parts."""
    return path.rsplit("/", count)[0]


# What Keras wrote


@every_case
def test_names_dtypes_shapes_and_bytes_are_those_that_keras_had_in_memory(record: dict[str, Any], ckpt: Ckpt) -> None:
    cases.is_as_told(record, ckpt)


@every_case
def test_the_order_is_that_of_get_weights_with_the_optimizer_last(record: dict[str, Any]) -> None:
    names = list(cases.opened(record))
    optimizer = [name for name in names if name.startswith("optimizer")]
    assert names[len(names) - len(optimizer) :] == optimizer
    numbers = [int(name.rpartition("/")[2]) for name in optimizer if name.startswith("optimizer/vars/")]
    assert numbers == sorted(numbers)


@every_case
def test_each_variable_is_called_in_its_layer_what_keras_calls_it(record: dict[str, Any]) -> None:
    checkpoint = cases.opened(record)
    for tensor in cases.expected(record)["tensors"]:
        if tensor.get("variables") and not tensor["name"].startswith("optimizer") and not tensor["name"].endswith("vars/2"):
            path, called = checkpoint.layer_of[tensor["name"]]
            said = tensor["variables"][0].split(":")[0].split("/")
            assert f"{path}/{called}".split("/")[-2:] == said[-2:]  # Keras 2 leaves out the models around a layer


@some_cases
def test_it_is_there_and_back_in_other_formats_without_a_difference(record: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    source = CASES / record["file"]
    for one in ("a.safetensors", "b.pt"):
        ckpt("convert", source, tmp_path / one)
        assert ckpt("diff", source, tmp_path / one).out == ""
        back = tmp_path / f"{one}.weights.h5"
        ckpt("convert", tmp_path / one, back)
        assert ckpt("diff", source, back).out == ""
        assert [row[0] for row in ckpt("hash", back).rows][-1] == [row[0] for row in ckpt("hash", source).rows][-1]


@some_cases
def test_a_rebuild_keeps_all_that_was_not_to_go(record: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    source = CASES / record["file"]
    gone, out = list(cases.opened(record))[-1], tmp_path / source.name
    ckpt("drop", source, gone, "-o", out)
    assert ckpt("diff", source, out, status=1).out.split("\t")[:2] == ["removed", gone]
    if source.suffix == ".keras":
        with zipfile.ZipFile(source) as before, zipfile.ZipFile(out) as after:
            assert after.testzip() is None and after.namelist() == before.namelist()
            same = [name for name in before.namelist() if name != "model.weights.h5"]
            assert [after.read(name) for name in same] == [before.read(name) for name in same]
    else:
        before, after = structure(source), structure(out)
        del before[gone]
        for group in [above(gone, count) for count in range(1, gone.count("/") + 1)]:  # the innermost group first
            if not any(name.startswith(f"{group}/") for name in before):
                del before[group]
            elif gone.removeprefix(f"{group}/") in (listed := before[group][1].get("weight_names", [])):
                listed.remove(gone.removeprefix(f"{group}/"))
        assert after == before
        ckpt("drop", source, gone, "-o", tmp_path / f"again {source.name}")
        assert out.read_bytes() == (tmp_path / f"again {source.name}").read_bytes(), "the same edit gives the same bytes"


# Layers


def picked(ckpt: Ckpt, path: Path, pattern: str) -> list[str]:
    return [row[0] for row in ckpt("ls", path, pattern).rows]


@every_model
def test_layers_are_picked_by_type_by_position_and_by_what_keras_calls_their_variables(name: str, ckpt: Ckpt) -> None:
    if name == "mlp.weights.h5":  # which says the types by its paths
        assert picked(ckpt, SAMPLES / name, "@Dense.kernel") == ["layers/dense/vars/0", "layers/dense_1/vars/0"]
    names = picked(ckpt, SAMPLES / name, "@Dense")
    assert len(names) == 4 and names[0] == FIRST[name]
    assert picked(ckpt, SAMPLES / name, "@Dense.kernel") == names[::2] and picked(ckpt, SAMPLES / name, "@Dense.bias") == names[1::2]
    assert picked(ckpt, SAMPLES / name, "[1]") == names[2:] == picked(ckpt, SAMPLES / name, "[-1]")
    assert picked(ckpt, SAMPLES / name, "[0].kernel") == names[:1] == picked(ckpt, SAMPLES / name, "dense[0]")
    assert "no layer of type 'Linear'" in ckpt("ls", SAMPLES / name, "@Linear", status=2).err
    assert ckpt("get", SAMPLES / name, f"{names[0]}[0, :2]").out == ckpt("get", SAMPLES / name, "[0].kernel[0, :2]").out


@pytest.mark.parametrize("name", ["keras3/rgnet.keras", "tf2_21/rgnet.h5", "tf2_21/rgnet.keras"])
def test_models_in_models_are_gone_through_as_in_python(name: str, case: Callable[[str], Path], ckpt: Ckpt) -> None:
    path = case(name)
    (bias,) = picked(ckpt, path, "[0][1][0].bias")
    assert reading.open(str(path)).layer_of[bias] == ("inner/block_1/dense_2", "bias")
    assert len(picked(ckpt, path, "inner[0]")) == 4 and len(picked(ckpt, path, "[0]")) == 16


SUMMARIES = {
    "keras3/rgnet.keras": (309, 0, ["inner", "inner/block_0", "inner/block_0/dense", "inner/block_0/dense_1", "inner/block_1"]),
    "keras3/tied.keras": (121, 0, ["input_layer", "dense", "shared", "dense_1"]),
    "tf2_21/conv.keras": (410, 8, ["conv2d", "batch_normalization", "flatten", "dense", "dropout"]),
    "keras3/image.legacy.h5": (290, 8, ["rescaling", "conv2d", "batch_normalization", "depthwise_conv2d", "flatten", "dense"]),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_summary_is_keras_own_with_layers_that_have_no_parameters(name: str, case: Callable[[str], Path], ckpt: Ckpt) -> None:
    params, buffers, layers = SUMMARIES[name]
    rows = ckpt("summary", case(name)).rows
    found = [row[1] for row in rows if row[0] == "layer"]
    assert found[0] == "" and found[1 : len(layers) + 1] == layers
    totals = {row[0]: int(row[1]) for row in rows if row[0] in ("params", "buffers")}
    assert totals == {"params": params, "buffers": buffers}
    assert [row[1] for row in rows if row[0] == "besides"] in (["optimizer"], ["optimizer_weights"])


def test_the_tree_of_names_is_divided_by_slashes(ckpt: Ckpt) -> None:
    lines = ckpt("ls", SAMPLES / "mlp.keras", "--tree").out.splitlines()
    assert lines[:4] == ["├── layers", "│   ├── dense", "│   │   └── vars", "│   │       ├── 0  float32 4x8"]


def test_completion_goes_from_slash_to_slash(ckpt: Ckpt, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for layer in range(40):
            file[f"layers/dense_{layer}/vars/0"] = file[f"layers/dense_{layer}/vars/1"] = 1.0
    found = ckpt("_complete", "zsh", "layers/dense_3", "get", tmp_path / "a.h5").out.splitlines()
    assert "+layers/dense_3/vars/0" in found
    found = ckpt("_complete", "zsh", "@", "get", SAMPLES / "mlp.keras").out.splitlines()
    assert "+@Dense" in found


@every_model
def test_the_preset_of_keras_knows_every_variable_by_its_layer(name: str, ckpt: Ckpt) -> None:
    rows = ckpt("reinit", SAMPLES / name, "--preset", "keras", "--seed", "0", "-n").out
    assert rows.count("linear, by type Dense") == 2 and rows.count("bias, by type Dense") == 2 and "optimizer" not in rows
    assert "uniform(-0.707107, 0.707107)" in rows  # the root of 6 / (4 + 8)


# Edits in place


@every_model
def test_an_edit_in_place_changes_the_values_and_no_other_byte(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = Path(shutil.copy(SAMPLES / name, tmp_path))
    before, values = path.read_bytes(), hdf5(path)
    ckpt("set", path, f"{FIRST[name]}[0, 0] = 42", "-i")
    after, edited = path.read_bytes(), hdf5(path)
    assert edited[FIRST[name]][0, 0] == 42
    values[FIRST[name]][0, 0] = 42
    assert all(np.array_equal(values[key], edited[key]) for key in values)
    changed = [at for at in range(len(before)) if before[at] != after[at]]
    allowed = 4 if name.endswith(".h5") else 4 + 2 * 4  # and the CRC-32 in its two places
    assert len(after) == len(before) and 0 < len(changed) <= allowed
    ckpt("check", path)
    assert len(ckpt("diff", SAMPLES / name, path, status=1).rows) == 1


@every_model
def test_values_are_edited_into_a_new_file_as_in_place(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, out = Path(shutil.copy(SAMPLES / name, tmp_path)), tmp_path / f"out.{name}"
    args = ("reinit", path, f"{FIRST[name]}=glorot_uniform", "--seed", "0")
    ckpt(*args, "-o", out)
    ckpt(*args, "-i")
    assert out.read_bytes() == path.read_bytes() != (SAMPLES / name).read_bytes()


def test_a_keras_file_whose_weights_were_changed_behind_its_back_does_not_hold(tmp_path: Path, ckpt: Ckpt) -> None:
    path = Path(shutil.copy(SAMPLES / "mlp.keras", tmp_path))
    tensor = reading.open(str(path))["layers/dense/vars/0"]
    raw = bytearray(path.read_bytes())
    raw[tensor.storage.place()] ^= 1  # type: ignore[attr-defined]
    path.write_bytes(raw)
    assert "checksum" in ckpt("check", path, status=1).out


# Writing


def test_names_of_another_format_are_kept_and_slashes_are_groups(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", SAMPLES / "nested.safetensors", tmp_path / "a.h5", "--rename", "*.weight=*/weight")
    listed = [row[0] for row in ckpt("ls", tmp_path / "a.h5").rows]
    want = [row[0].replace(".weight", "/weight") for row in ckpt("ls", SAMPLES / "nested.safetensors").rows]
    assert sorted(listed) == sorted(want) and set(hdf5(tmp_path / "a.h5")) == set(want)


def test_ties_are_hard_links(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", SAMPLES / "shared-mlp.pt", tmp_path / "a.h5")
    assert sorted(map(sorted, ckpt("tied", tmp_path / "a.h5").rows)) == [["2.bias", "4.bias", "tied"], ["2.weight", "4.weight", "tied"]]
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["2.weight"] == file["4.weight"]
    ckpt("convert", tmp_path / "a.h5", tmp_path / "b.pt")
    assert ckpt("diff", SAMPLES / "shared-mlp.pt", tmp_path / "b.pt").out == ""


def test_every_dtype_is_there_and_back_or_refused_by_name(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", SAMPLES / "dtypes.pt", tmp_path / "a.h5", "--drop", "complex32")
    ckpt("convert", tmp_path / "a.h5", tmp_path / "b.pt")
    ckpt("diff", SAMPLES / "dtypes.pt", tmp_path / "b.pt", status=1)
    assert [row[:2] for row in ckpt("diff", SAMPLES / "dtypes.pt", tmp_path / "b.pt", status=1).rows] == [["removed", "complex32"]]
    error = ckpt("convert", SAMPLES / "dtypes.pt", tmp_path / "c.h5", status=2).err
    assert "HDF5 cannot hold complex32" in error and not (tmp_path / "c.h5").exists()


@pytest.mark.parametrize(
    ("name", "says"), [("a//b", "no place for the name"), ("/a", "no place"), ("a/./b", "no place"), ("0.weight/x", "too")]
)
def test_a_name_that_hdf5_has_no_place_for_is_refused_before_the_first_byte(name: str, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("rename", SAMPLES / "mlp.safetensors", f"2.bias={name}", "-o", tmp_path / "a.safetensors")
    assert says in ckpt("convert", tmp_path / "a.safetensors", tmp_path / "a.h5", status=2).err
    assert not (tmp_path / "a.h5").exists()


def test_a_keras_file_is_written_of_a_keras_file_alone(tmp_path: Path, ckpt: Ckpt) -> None:
    for line in (["convert", SAMPLES / "mlp.pt", tmp_path / "a.keras"], ["new", "mlp", "--framework", "keras", "-o", tmp_path / "a.keras"]):
        said = ckpt(*line, status=2).err
        assert "a .keras is written from another .keras alone" in said and "write NAME.weights.h5" in said
    ckpt("convert", SAMPLES / "mlp.pt", tmp_path / "torch.weights.h5", "--map", "torch-to-keras")
    ckpt("diff", SAMPLES / "mlp.pt", tmp_path / "torch.weights.h5", "--map", "torch-to-keras")
    ckpt("convert", SAMPLES / "mlp.keras", tmp_path / "a.weights.h5")
    assert ckpt("diff", SAMPLES / "mlp.keras", tmp_path / "a.weights.h5").out == ""


@every_model
def test_casting_and_renaming_rebuild_the_file(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    out = tmp_path / name
    ckpt("cast", SAMPLES / name, "bfloat16", FIRST[name], "-o", out)
    assert ckpt("ls", out, FIRST[name]).rows[0][1] == "bfloat16"
    ckpt("rename", SAMPLES / name, f"{FIRST[name]}=new/name", "-o", tmp_path / f"renamed.{name}")
    assert np.array_equal(hdf5(tmp_path / f"renamed.{name}")["new/name"], hdf5(SAMPLES / name)[FIRST[name]])


# Other layouts of HDF5

CHUNKED = {
    "plain": {"chunks": (3, 4)},
    "deflated": {"chunks": (3, 4), "compression": "gzip"},
    "shuffled": {"chunks": (4, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "one chunk": {"chunks": (10, 7)},
    "of one element": {"chunks": (1, 1)},
    "larger than the data": {"chunks": (16, 16), "maxshape": (None, None)},
}


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("how", CHUNKED)
def test_chunks_are_read_and_stay_chunks_when_they_are_edited(how: str, libver: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, values = tmp_path / "a.h5", np.arange(70, dtype="f8").reshape(10, 7)
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("x", data=values, **CHUNKED[how])
        file.create_dataset("never written", (5, 3), "f4", chunks=(2, 2), fillvalue=7)
    assert np.array_equal(reading.open(str(path))["x"].array(), values)
    assert (reading.open(str(path))["never written"].array() == 7).all()
    ckpt("set", path, "x[9, 6] = -1", "-i")
    values[9, 6] = -1
    assert np.array_equal(hdf5(path)["x"], values)


@pytest.mark.parametrize("dtype", [">f4", ">i2", ">c16", "<u8", "?"])
def test_either_byte_order_is_read_as_it_is_meant(dtype: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, values = tmp_path / "a.h5", np.array([[1, 0], [3, 4]], dtype)
    with h5py.File(path, "w") as file:
        file["x"] = values
    assert np.array_equal(reading.open(str(path))["x"].array(), values)
    ckpt("set", path, "x[0, 0] = 0", "-i")
    assert hdf5(path)["x"].tolist()[0][0] == 0


def test_texts_and_links_are_objects_and_are_carried_along(tmp_path: Path, ckpt: Ckpt) -> None:
    path, out = tmp_path / "a.h5", tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file["x"] = file["y"] = np.arange(3.0)
        file["text"] = "grüße"
        file["texts"] = np.array([b"a", b"bc"])
        file["soft"] = h5py.SoftLink("/x")
        file["outside"] = h5py.ExternalLink("/etc/passwd", "/x")
        file.create_group("g").attrs["odd"] = np.array([[1, 2], [3, 4]], ">i2")
        file["cycle"] = file["/"]
    assert [row[0] for row in ckpt("ls", path).rows] == ["x", "y"]
    facts = {row[1]: row[2] for row in ckpt("summary", path).rows if row[0] == "object"}
    assert facts["text"] == "grüße" and "/etc/passwd" in facts["outside"] and set(facts) == {"text", "texts", "soft", "outside", "cycle"}
    ckpt("drop", path, "y", "-o", out)
    with h5py.File(out) as file:
        assert file["text"].asstr()[()] == "grüße" and file["texts"][:].tolist() == [b"a", b"bc"]
        assert file.get("soft", getlink=True).path == "/x" and file.get("outside", getlink=True).filename == "/etc/passwd"
        assert file["g"].attrs["odd"].tolist() == [[1, 2], [3, 4]] and file["g"].attrs["odd"].dtype == ">i2"
        assert file["cycle"] == file["/"] and "y" not in file


def test_what_cannot_be_written_again_is_refused_and_left_as_it_is_in_place(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.arange(3.0), np.arange(3.0)
        file["pairs"] = np.zeros(2, [("a", "i4"), ("b", "f4")])
    assert "pairs" in ckpt("drop", path, "y", "-i", status=2).err
    ckpt("set", path, "x = 5", "-i")
    assert hdf5(path)["x"].tolist() == [5, 5, 5] and len(hdf5(path)["pairs"]) == 2
    ckpt("drop", path, "y", "pairs", "-i")
    assert set(hdf5(path)) == {"x"}


def test_the_parent_never_loads_the_library(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys; from ckpt_cli.cli import main; main(sys.argv[1:]); print(sorted({'h5py', 'numpy'} & set(sys.modules)))"
    for name in MODELS:
        run = subprocess.run([sys.executable, "-c", code, "ls", str(SAMPLES / name)], capture_output=True, text=True, check=True)
        assert run.stdout.splitlines()[-1] == "[]"


def crash(window: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def spin(window: object) -> None:
    while True:
        pass


def sleep(window: object) -> None:
    time.sleep(60)


def eat(window: object) -> list[bytearray]:
    return [bytearray(1 << 28) for _ in range(100)]


@pytest.mark.parametrize(
    ("fault", "says"), [(crash, "crashes with signal 11"), (spin, "without an end"), (sleep, "without an end"), (eat, "too much memory")]
)
def test_a_file_at_which_the_library_goes_wrong_is_an_error_as_any_other(
    fault: Callable[[object], object], says: str, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_walk, "walk", fault)
    monkeypatch.setattr(hdf5_sandbox, "_CPU_SECONDS", 2)
    monkeypatch.setattr(hdf5_sandbox, "_WALL_SECONDS", 4)
    assert says in ckpt("ls", SAMPLES / "mlp.h5", status=2).err


def test_json_says_the_format(ckpt: Ckpt) -> None:
    assert [json.loads(ckpt("ls", SAMPLES / name, "--json").out)["format"] for name in MODELS] == ["keras", "hdf5", "hdf5"]


def test_a_new_nested_network_is_all_layers(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("new", "nested", "--framework", "keras", "--seed", "0", "-o", tmp_path / "n.weights.h5")
    told = ckpt("summary", tmp_path / "n.weights.h5", "--json").json
    assert told["params"] == 309 and not told["besides"]
    assert {row[0] for row in ckpt("ls", tmp_path / "n.weights.h5", "@Dense").rows} == {
        row[0] for row in ckpt("ls", tmp_path / "n.weights.h5").rows
    }


def test_a_bias_of_keras_2_is_drawn_by_the_kernel_beside_it(ckpt: Ckpt) -> None:
    """Its names end in `:0`."""
    rows = ckpt("reinit", SAMPLES / "mlp.h5", "--preset", "pytorch", "--seed", "0", "-n").rows
    assert {row[0].rpartition("/")[2]: row[2] for row in rows[:2]} == {"kernel:0": "uniform(-0.5, 0.5)", "bias:0": "uniform(-0.5, 0.5)"}


# What is no tensor


def beside(path: Path, value: int) -> Path:
    """A tensor, and all that is none; what is not read by h5py's names differs by `value`."""
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.arange(3.0), np.ones(2)
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
        file.create_virtual_dataset("virtual", layout)
        file["pairs"] = pairs = np.array([(1, 2.0), (3, value)], [("a", "i4"), ("b", "f4")])
        file.create_dataset("pieces", data=pairs, chunks=(1,), compression="gzip")
        file["kinds"] = np.array([0, value], h5py.enum_dtype({"A": 0, "B": 1, "C": 2}))
        file["ragged"] = np.array([np.arange(value), np.arange(3)], h5py.vlen_dtype("i4"))
        file["x"].attrs["pair"] = pairs[1:]
        file["x"].attrs["kind"] = np.array(value, h5py.enum_dtype({"A": 0, "B": 1, "C": 2}))
        file["y"].attrs["unit"] = "m" * value
    return path


def test_the_rest_of_a_file_with_a_virtual_dataset_opens_and_the_verdicts_say_what_was_not_read(tmp_path: Path, ckpt: Ckpt) -> None:
    path = beside(tmp_path / "a.h5", 1)
    said = ckpt("ls", path)
    assert [row[0] for row in said.rows] == ["kinds", "x", "y"] and said.err.count("virtual is made of other datasets") == 1
    assert {row[1] for row in ckpt("summary", path).rows if row[0] == "object"} >= {"virtual", "pairs", "ragged"}
    assert [row[:2] for row in ckpt("check", path, status=1).rows] == [["unread", "ragged"], ["unread", "virtual"]]
    shutil.copy(path, tmp_path / "b.h5")
    differences = ckpt("diff", path, tmp_path / "b.h5", status=1).rows
    assert [row[:2] for row in differences] == [["unread", "ragged"], ["unread", "virtual"]]
    ckpt("set", path, "y = 5", "-i")
    with h5py.File(path) as file:
        assert file["virtual"].is_virtual and file["y"][0] == 5


def test_bytes_of_other_types_are_compared_and_attributes_noted(tmp_path: Path, ckpt: Ckpt) -> None:
    one, two = beside(tmp_path / "a.h5", 1), beside(tmp_path / "b.h5", 2)
    for path in (one, two):
        with h5py.File(path, "a") as file:
            del file["virtual"], file["ragged"]
    found = ckpt("diff", one, two, status=1)
    assert [row[:2] for row in found.rows] == [["changed", "kinds"], ["changed", "pairs"], ["changed", "pieces"]]
    assert "metadata differ, too: x@kind, x@pair, y@unit" in found.err
    assert ckpt("hash", one).rows[-1] != ckpt("hash", two).rows[-1]


def test_an_attribute_alone_is_a_note(tmp_path: Path, ckpt: Ckpt) -> None:
    for name in ("a", "b"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["g/x"] = np.ones(3)
            file["g"].attrs["made by"] = name
    found = ckpt("diff", tmp_path / "a.h5", tmp_path / "b.h5")
    assert found.out == "" and "metadata differ, too: g@made by" in found.err
    shutil.copy(tmp_path / "a.h5", tmp_path / "c.h5")
    assert ckpt("diff", tmp_path / "a.h5", tmp_path / "c.h5").err == ""


def test_attributes_of_types_that_are_not_decoded_are_carried(tmp_path: Path, ckpt: Ckpt) -> None:
    path, out = beside(tmp_path / "a.h5", 1), tmp_path / "out.h5"
    ckpt("drop", path, "virtual", "pairs", "pieces", "ragged", "y", "-o", out)
    with h5py.File(path) as before, h5py.File(out) as after:
        assert before["kinds"].id.get_type() == after["kinds"].id.get_type()
        for name in ("pair", "kind"):
            one, two = before["x"].attrs.get_id(name), after["x"].attrs.get_id(name)
            assert one.get_type() == two.get_type() and before["x"].attrs[name].tobytes() == after["x"].attrs[name].tobytes()


def test_an_attribute_that_refers_to_other_parts_is_refused_where_they_move(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.ones(3), np.ones(3)
        file["x"].attrs["see"] = file["y"].ref
    before = path.read_bytes()
    assert "references" in ckpt("rename", path, "x=z", "-i", status=2).err and path.read_bytes() == before
    ckpt("set", path, "x = 2", "-i")


def test_a_quantised_model_lists_all_its_variables(case: Callable[[str], Path], ckpt: Ckpt) -> None:
    path = case("reports/keras-int8/model.keras")
    with zipfile.ZipFile(path) as archive:
        want = {name: (str(value.dtype), value.shape) for name, value in hdf5(path).items()}
        assert "int8" in archive.read("config.json").decode()
    rows = ckpt("ls", path).rows
    assert {row[0]: (row[1], tuple(int(n) for n in row[2].split("x") if n)) for row in rows} == want
    assert "int8" in {row[1] for row in rows}
    ckpt("check", path)
