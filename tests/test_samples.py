"""The sample models: small real checkpoints, each told apart by its bytes, listed, converted, survived when cut, and rebuilt alike."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES, WHOLE, Ckpt
from oracles import SAFE_DTYPES, all_bits, loaded, read_bits

from ckpt_cli import reading
from ckpt_cli.formats import formats
from ckpt_cli.storage.file import File

FILES = sorted(p.name for p in SAMPLES.iterdir() if p.is_file() and p.suffix != ".py")
NAMES = [name for name in FILES if name.endswith((".pt", ".ckpt", ".safetensors"))]  # those that torch and safetensors read
# Which format a sample is of, by the end of its name; the longest that fits.
FORMATS = {
    ".pt": "torch",
    ".ckpt": "torch",
    ".legacy.pt": "torch-legacy",
    ".safetensors": "safetensors",
    ".params": "mxnet",
    ".keras": "keras",
    ".h5": "hdf5",
    "saver-v1": "tensorflow-v1",
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".npy": "npy",
    ".npz": "npz",
    ".pkl": "pickle",
    ".pdz": "paddle",
    ".torchscript": "torchscript",
    ".pt2": "pt2",
    ".msgpack": "flax-msgpack",
    ".package": "torch-package",
    ".states": "mxnet-states",
}
every_file = pytest.mark.parametrize("name", FILES)
every_sample = pytest.mark.parametrize("name", NAMES)


def test_every_architecture_is_there_in_every_format() -> None:
    wanted = {f"{a}.{suffix}" for a in ("mlp", "nested", "shared-mlp", "fancy-mlp") for suffix in ("pt", "legacy.pt", "safetensors")}
    assert wanted | {"training.ckpt", "module.pt", "dtypes.pt", "dtypes.safetensors"} <= set(NAMES)


@every_file
def test_exactly_one_format_claims_it_by_its_bytes(name: str, tmp_path: Path) -> None:
    copy = shutil.copy(SAMPLES / name, tmp_path / "no suffix")
    claims = [form.name for form in formats.values() if form.sniff(File(str(copy)))]
    assert claims == [FORMATS[max((end for end in FORMATS if name.endswith(end)), key=len)]]


@every_file
def test_it_is_small(name: str) -> None:
    assert (SAMPLES / name).stat().st_size <= 50_000


@every_sample
def test_it_is_listed_and_read_as_its_own_library_reads_it(name: str, ckpt: Ckpt) -> None:
    listed = [row[0] for row in ckpt("ls", SAMPLES / name).rows]
    found = loaded(SAMPLES / name, weights_only=False)
    found = found["model"] if "model" in found else found if isinstance(found, dict) else found.state_dict()
    prefix = "model." if name == "training.ckpt" else ""
    bits = read_bits(SAMPLES / name)
    assert set(listed) == set(bits) and len(listed) == len(bits)
    for key, value in all_bits(found).items():
        assert bits[prefix + key] == value, key


@every_sample
def test_it_is_there_and_back_without_a_difference(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    first, second = (
        (tmp_path / "a.pt", tmp_path / "b.safetensors")
        if name.endswith(".safetensors")
        else (tmp_path / "a.safetensors", tmp_path / "b.pt")
    )
    drops = ["--drop", "complex{32,128}"] if name == "dtypes.pt" else []
    ckpt("convert", SAMPLES / name, first, *drops)
    ckpt("convert", first, second)
    assert ckpt("diff", first, second).out == ""
    if not drops:
        assert ckpt("diff", SAMPLES / name, second).out == ""


@every_file
def test_cut_off_anywhere_it_is_one_line(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    raw, path = (SAMPLES / name).read_bytes(), tmp_path / "cut"
    step = max(61, len(raw) // 200)
    cuts = range(len(raw)) if len(raw) < 1000 else {*range(200), *range(200, len(raw), step), *range(len(raw) - 120, len(raw))}
    for size in sorted(cuts)[:: 1 if WHOLE else 16]:
        path.write_bytes(raw[:size])
        error = ckpt("ls", path, status=2).err
        assert str(path) in error and "fault in ckpt" not in error, size
    assert [p.name for p in tmp_path.iterdir()] == ["cut"]


def test_the_samples_of_every_dtype_are_whole() -> None:
    assert set(loaded(SAMPLES / "dtypes.safetensors")) == set(SAFE_DTYPES)
    assert set(loaded(SAMPLES / "dtypes.pt")) == {*SAFE_DTYPES, "complex32", "complex128"}


def test_the_tied_samples_are_tied(ckpt: Ckpt) -> None:
    for suffix in ("pt", "legacy.pt", "safetensors"):
        rows = ckpt("tied", SAMPLES / f"shared-mlp.{suffix}").rows
        assert sorted(map(sorted, rows)) == [["2.bias", "4.bias", "tied"], ["2.weight", "4.weight", "tied"]]
        assert ckpt("ls", SAMPLES / f"shared-mlp.{suffix}", "--json").json["params"] == 121


def shape_of(thing: object) -> object:
    """What there is in a checkpoint, without the floats."""
    if isinstance(thing, torch.Tensor):
        return str(thing.dtype), tuple(thing.shape)
    if isinstance(thing, dict):
        return {key: shape_of(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [shape_of(value) for value in thing]
    return type(thing).__name__ if isinstance(thing, float) else repr(vars(thing)) if hasattr(thing, "__dict__") else repr(thing)


def test_rebuilding_the_samples_gives_the_same_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SAMPLES / "build.py", tmp_path], check=True, capture_output=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == NAMES
    for name in NAMES:
        if name == "training.ckpt":  # three steps of Adam: the last bits are the processor's
            old, new = (torch.load(folder / name, weights_only=False) for folder in (SAMPLES, tmp_path))
            assert shape_of(old) == shape_of(new)
        else:
            assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes(), name


@pytest.mark.skipif(not WHOLE, reason="takes half a minute: make test-all")
def test_rebuilding_the_bert_gives_its_files(tmp_path: Path, ckpt: Ckpt) -> None:
    subprocess.run([sys.executable, SAMPLES / "build_bert.py", tmp_path], check=True, capture_output=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in (SAMPLES / "bert").iterdir())
    assert (tmp_path / "config.json").read_bytes() == (SAMPLES / "bert/config.json").read_bytes()
    assert ckpt("ls", tmp_path).rows == ckpt("ls", SAMPLES / "bert").rows


def test_each_sample_stays_what_it_is_while_it_is_read(ckpt: Ckpt) -> None:
    before = {name: (SAMPLES / name).read_bytes() for name in FILES}
    for name in FILES:
        ckpt("tied", "--equal", SAMPLES / name)
        reading.open(str(SAMPLES / name))
    assert before == {name: (SAMPLES / name).read_bytes() for name in FILES}
