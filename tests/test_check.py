"""`ckpt check` and `ckpt spec`: a file is whole, and is what it should be, or there is a line for each thing that is not."""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import pty
import struct
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import CASES, SAMPLES, Ckpt
from oracles import DTYPES, SAFE_DTYPES, example, safetensors_file
from torch.serialization import set_crc32_options

from ckpt_cli import reading
from ckpt_cli.checking.checks import Asked, verify
from ckpt_cli.checking.finite import Finite, all_finite, may_be_infinite
from ckpt_cli.formats.torch.safe_globals import ALLOWED
from ckpt_cli.numbers.dtypes import DTYPES as DTYPE_TABLE
from ckpt_cli.numbers.dtypes import to_numpy
from ckpt_cli.tensors.blocks import ITEM

pytestmark = pytest.mark.filterwarnings("ignore")
SAMPLE_FILES = sorted(path for path in SAMPLES.iterdir() if path.is_file() and path.suffix != ".py")


def real_cases() -> list[str]:
    index = CASES / "expect" / "INDEX.json"
    records = json.loads(index.read_text()) if index.is_file() else []
    known = ("torch-zip", "torch-legacy", "safetensors", "hf-dir")
    return [record["file"] for record in records if record["format"] in known]


def saved(path: Path, value: Any, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def spec_of(folder: Path, text: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(text)
    return path


def found(ckpt: Ckpt, *args: object) -> list[tuple[str, str, str]]:
    """The violations; none where the exit status is 0."""
    result = ckpt("check", *args, status=None)
    assert result.status == bool(result.rows) and all(len(row) == 3 for row in result.rows), result
    return [(row[0], row[1], row[2]) for row in result.rows]


# A file that is whole


@pytest.mark.parametrize("path", SAMPLE_FILES, ids=lambda path: path.name)
def test_a_whole_file_holds_and_nothing_is_said(path: Path, ckpt: Ckpt) -> None:
    result = ckpt("check", path)
    assert result.out == "" and result.err == ""


@pytest.mark.parametrize("path", SAMPLE_FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("options", [(), ("--hash",), ("--finite",)], ids=" ".join)
def test_a_file_holds_its_own_spec(path: Path, options: tuple[str, ...], ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("spec", path, *options, "-o", tmp_path / "spec.toml")
    assert found(ckpt, path, "--spec", tmp_path / "spec.toml") == []


@pytest.mark.parametrize("name", real_cases() or [pytest.param("", marks=pytest.mark.skip(reason="set CKPT_CASES"))])
def test_a_real_file_is_whole_and_holds_its_own_spec(name: str, ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("spec", CASES / name, "--hash", "--finite", "-o", tmp_path / "spec.toml")
    violations = found(ckpt, CASES / name, "--spec", tmp_path / "spec.toml")
    assert [kind for kind, *_ in violations] == ["unread"] * (2 if name == "torch/storages.pt" else 0)


# Checksums


def records(path: Path) -> dict[str, tuple[int, bytes]]:
    """Where the data of each member begin, and what they are."""
    raw = path.read_bytes()
    places = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name, extra = struct.unpack_from("<2H", raw, info.header_offset + 26)
            start = info.header_offset + 30 + name + extra
            places[info.filename] = start, raw[start : start + info.file_size]
    return places


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


WEIGHTS = {"a": torch.arange(6.0), "b": torch.zeros(3), "c": torch.ones(2, 2)}
LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": torch.clone,
    "sparse_coo": torch.Tensor.to_sparse,
    "sparse_csr": torch.Tensor.to_sparse_csr,
    "quantised": lambda dense: torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("record", ["data/0", "data/1", "data/2", "version", ".data/serialization_id"])
def test_one_flipped_bit_is_found_in_every_record(record: str, ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", WEIGHTS | {"tied": WEIGHTS["a"]})
    start, data = records(path)[f"m/{record}"]
    flip(path, start + len(data) - 1)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() == f"m/{record}"  # the oracle says so, too
    ((kind, name, what),) = found(ckpt, path)
    assert (kind, name) == ("checksum", f"m/{record}") and "CRC-32" in what
    holds = {"data/0": "it holds a, tied", "data/1": "it holds b", "data/2": "it holds c"}.get(record, "")
    assert what.endswith(holds)


def test_a_byte_order_that_is_none_is_an_error_when_the_file_is_opened(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", WEIGHTS)
    start, _ = records(path)["m/byteorder"]
    flip(path, start + 5)
    assert "byte order is neither little nor big" in ckpt("check", path, status=2).err


def test_a_flipped_bit_in_the_pickle_is_found_where_the_pickle_can_still_be_read(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", {"name": torch.zeros(2)})
    start, data = records(path)["m/data.pkl"]
    flip(path, start + data.index(b"name"))
    ((kind, name, _),) = found(ckpt, path)
    assert (kind, name) == ("checksum", "m/data.pkl")


@pytest.mark.parametrize("place", ["directory", "behind the data"])
def test_both_places_of_a_checksum_are_compared(place: str, ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", WEIGHTS)
    start, data = records(path)["m/data/1"]
    raw = path.read_bytes()
    flip(path, start + len(data) + 5 if place == "behind the data" else raw.rindex(b"m/data/1") - 46 + 17)
    ((kind, name, _),) = found(ckpt, path)
    assert (kind, name) == ("checksum", "m/data/1")


@pytest.mark.parametrize("at", [0, ITEM - 1, ITEM, 3 * ITEM + 7, -1])
def test_a_storage_of_many_parts_has_one_checksum(at: int, ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", {"t": torch.ones(3 * ITEM // 4 + 1000), "u": torch.ones(3)})
    assert found(ckpt, path, "--finite") == []
    start, data = records(path)["m/data/0"]
    flip(path, start + at % len(data))
    assert [row[:2] for row in found(ckpt, path)] == [("checksum", "m/data/0")]


def test_where_torch_computed_no_checksums_there_are_none_to_be_wrong(ckpt: Ckpt, tmp_path: Path) -> None:
    set_crc32_options(False)
    try:
        path = saved(tmp_path / "m.pt", WEIGHTS)
    finally:
        set_crc32_options(True)
    with pytest.raises(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:  # an ordinary reader takes it for broken
        archive.read("m/data/0")
    document = ckpt("check", path, "--json").json
    assert document["holds"] and document["checked"]["checksums"] == 0 and document["checked"]["without"] == len(records(path))


def test_a_shard_with_a_wrong_checksum_is_named(ckpt: Ckpt, tmp_path: Path) -> None:
    saved(tmp_path / "one.bin", {"a": torch.ones(3)})
    saved(tmp_path / "two.bin", {"b": torch.ones(3)})
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "one.bin", "b": "two.bin"}}))
    assert found(ckpt, tmp_path) == []
    flip(tmp_path / "two.bin", records(tmp_path / "two.bin")["two/data/0"][0])
    (wrong,) = ckpt("check", tmp_path, "--json", status=1).json["violations"]
    assert wrong["kind"] == "checksum" and wrong["tensors"] == ["b"] and wrong["file"].endswith("two.bin")
    (tmp_path / "two.bin").unlink()
    assert ["index", "two.bin"] in [row[:2] for row in ckpt("check", tmp_path, status=1).rows]


@pytest.mark.parametrize("name", ["mlp.pt", "mlp.safetensors", "mlp.legacy.pt"])
@pytest.mark.parametrize("kept", [0, 1, 40, 300, -1])
def test_a_truncated_file_cannot_be_opened(name: str, kept: int, ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes((SAMPLES / name).read_bytes()[:kept])
    assert ckpt("check", path, "--json", status=2).out == ""


def test_a_member_whose_header_was_overwritten_cannot_be_read(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", WEIGHTS)
    with path.open("r+b") as file:
        file.seek(path.read_bytes().index(b"m/data/1") - 30)
        file.write(b"\0\0\0\0")
    rows = found(ckpt, path, "--finite")
    assert [row[:2] for row in rows] == [("unreadable", "m/data/1")] and rows[0][2].endswith("it holds b")


@pytest.mark.parametrize("name", ["mlp.pt", "mlp.safetensors", "mlp.legacy.pt"])
def test_a_file_that_becomes_shorter_while_it_is_read(name: str, sample: Callable[[str], Path]) -> None:
    path = sample(name)
    checkpoint = reading.open(str(path))
    os.truncate(path, min(storage_ends(checkpoint)) - 1)
    report = verify(checkpoint, Asked(finite=True))
    tensors = {name for violation in report.violations for name in violation.facts["tensors"]}
    assert {violation.kind for violation in report.violations} == {"unreadable"} and tensors == set(checkpoint)


def storage_ends(checkpoint: Any) -> list[int]:
    return [tensor.storage.place() + tensor.storage.nbytes for tensor in checkpoint.values()]


def test_with_a_pattern_other_records_are_not_read(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", WEIGHTS)
    flip(path, records(path)["m/data/1"][0])
    assert found(ckpt, path, "a", "c") == [] and len(found(ckpt, path, "[bc]")) == 1
    assert ckpt("check", path, "a", "--json").json["checked"]["bytes"] == 24


# What is finite


def bad_elements(tensor: torch.Tensor) -> torch.Tensor:
    """Where an element is NaN or infinite, by torch or, where it has no opinion, by ml_dtypes."""
    if tensor.dtype == torch.complex32:
        return ~torch.isfinite(torch.view_as_real(tensor).float()).all(-1)
    if tensor.dtype.itemsize == 1 and tensor.dtype.is_floating_point:
        import ml_dtypes

        kind = getattr(ml_dtypes, str(tensor.dtype).removeprefix("torch."))
        return torch.from_numpy(~np.isfinite(tensor.contiguous().view(torch.uint8).numpy().view(kind).astype("float32")))
    return ~torch.isfinite(tensor)


def wanted(tensor: torch.Tensor) -> list[Any]:
    bad = bad_elements(tensor).nonzero()
    return [bad[0].tolist(), len(bad)] if len(bad) else []


def reported(ckpt: Ckpt, path: Path, name: str = "t") -> list[Any]:
    rows = [row for row in ckpt("check", path, "--finite", "--json", status=None).json["violations"] if row["name"] == name]
    return [rows[0]["index"], rows[0]["nan"] + rows[0]["inf"]] if rows else []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(3))
def test_random_bits_of_every_dtype(dtype: str, seed: int, ckpt: Ckpt, tmp_path: Path) -> None:
    """In torch's zip, strided and whole; in safetensors where it has the dtype."""
    tensor = example(dtype, 40, 7, seed=seed)
    path = saved(tmp_path / "m.pt", {"t": tensor, "strided": tensor.t(), "part": tensor[7:, 2:5]})
    for name, view in {"t": tensor, "strided": tensor.t(), "part": tensor[7:, 2:5]}.items():
        assert reported(ckpt, path, name) == wanted(view), name
    if dtype in SAFE_DTYPES:
        safetensors.torch.save_file({"t": tensor}, tmp_path / "m.safetensors")
        assert reported(ckpt, tmp_path / "m.safetensors") == wanted(tensor)


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name.startswith("float8")])
def test_every_value_of_an_eight_bit_float(dtype: str, ckpt: Ckpt, tmp_path: Path) -> None:
    """Each alone, so that none hides another."""
    every = torch.arange(256, dtype=torch.uint8).view(getattr(torch, dtype))
    path = saved(tmp_path / "m.pt", {f"v{code}": every[code : code + 1].clone() for code in range(256)})
    names = {row[1] for row in found(ckpt, path, "--finite")}
    assert names == {f"v{code}" for code in bad_elements(every).nonzero().flatten().tolist()} and names


SUB_BYTE = {"F4": ("float4_e2m1fn", 4), "F6_E2M3": ("float6_e2m3fn", 6), "F6_E3M2": ("float6_e3m2fn", 6)}


@pytest.mark.parametrize("code", SUB_BYTE)
def test_floats_below_a_byte_are_finite_by_nature(code: str, ckpt: Ckpt, tmp_path: Path) -> None:
    """Every pattern of bits that there is; ml_dtypes says so, too."""
    import ml_dtypes

    name, bits = SUB_BYTE[code]
    assert np.isfinite(np.arange(1 << bits, dtype="u1").view(getattr(ml_dtypes, name)).astype("float32")).all()
    packed = sum(value << bits * value for value in range(1 << bits)).to_bytes((bits << bits) // 8, "little")
    entry = {"dtype": code, "shape": [1 << bits], "data_offsets": [0, len(packed)]}
    (tmp_path / "m.safetensors").write_bytes(safetensors_file({"t": entry}, packed))
    assert found(ckpt, tmp_path / "m.safetensors", "--finite") == []
    assert ckpt("ls", tmp_path / "m.safetensors").rows[0][1] == name


def test_every_float_of_the_table_is_judged_as_ml_dtypes_judges_it() -> None:
    """All patterns of the upper two bytes of each, so every sign and exponent: a type that is added to the table is tried, too."""
    for dtype in DTYPE_TABLE.values():
        if not may_be_infinite(dtype) or dtype.kind == "c":
            continue
        width = min(dtype.nbytes, 2)
        codes = np.arange(1 << 8 * width, dtype=f"<u{width}").view("u1").reshape(-1, width)
        raw = np.zeros((len(codes), dtype.nbytes), "u1")
        raw[:, -width:] = codes
        with np.errstate(all="ignore"):
            expected = np.isfinite(raw.reshape(-1).view(to_numpy(dtype)).astype("float64"))
        assert [all_finite(dtype, bytearray(each)) for each in raw] == expected.tolist(), dtype.name
        fold = Finite(dtype)
        fold.add(bytearray(raw.tobytes()))
        assert (fold.nan + fold.inf, fold.first) == ((~expected).sum(), (~expected).argmax()), dtype.name


SPECIAL = {"nan": (math.nan, "NaN"), "inf": (math.inf, "Infinity"), "-inf": (-math.inf, "-Infinity")}


@pytest.mark.parametrize("which", SPECIAL)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"])
def test_the_last_element_alone(dtype: str, which: str, ckpt: Ckpt, tmp_path: Path) -> None:
    value, shown = SPECIAL[which]
    tensor = torch.ones(5, 3, dtype=getattr(torch, dtype))
    tensor[4, 2] = complex(1, value) if dtype.startswith("complex") else value
    path = saved(tmp_path / "m.pt", {"t": tensor, "tied": tensor, "strided": tensor.t(), "fine": torch.ones(2)})
    rows = ckpt("check", path, "--finite", "--json", status=1).json["violations"]
    assert [(row["name"], row["index"], row["value"]) for row in rows] == [
        ("t", [4, 2], shown),
        ("tied", [4, 2], shown),
        ("strided", [2, 4], shown),
    ]
    assert found(ckpt, path) == [] == found(ckpt, path, "fine", "--finite")


@pytest.mark.parametrize("at", [0, ITEM // 4 - 1, ITEM // 4, 2 * ITEM // 4 + 98])
@pytest.mark.parametrize("strided", [False, True], ids=["whole", "strided"])
def test_the_index_counts_over_parts_and_workers(at: int, strided: bool, ckpt: Ckpt, tmp_path: Path) -> None:
    tensor = torch.zeros(2 * ITEM // 4 + 100, 1 + strided)[:, strided:]
    tensor[at], tensor[-1] = math.nan, math.inf
    (wrong,) = ckpt("check", saved(tmp_path / "m.pt", {"t": tensor}), "--finite", "--json", status=1).json["violations"]
    assert (wrong["index"], wrong["value"], wrong["nan"], wrong["inf"]) == ([at, 0], "NaN", 1, 1)


def test_what_is_expanded_is_looked_at_once(ckpt: Ckpt, tmp_path: Path) -> None:
    """Its elements, one by one, would be more than any machine reads."""
    tensors = {"fine": torch.ones(1).expand(1 << 50), "bad": torch.tensor([[1.0], [math.nan]]).expand(2, 1 << 50)}
    (wrong,) = ckpt("check", saved(tmp_path / "m.pt", tensors), "--finite", "--json", status=1).json["violations"]
    assert wrong["name"] == "bad" and wrong["index"] == [1, 0]


def test_sparse_quantised_and_conjugate_tensors(ckpt: Ckpt, tmp_path: Path) -> None:
    dense = torch.tensor([[0.0, 1.0], [math.nan, 0.0]])
    tensors = {
        "coo": dense.to_sparse(),
        "csr": dense.to_sparse_csr(),
        "fine": torch.eye(3).to_sparse(),
        "int8": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "conj": torch.tensor([1j, complex(0, math.inf)]).conj(),
    }
    rows = found(ckpt, saved(tmp_path / "m.pt", tensors), "--finite")
    assert [(row[0], row[1]) for row in rows] == [("finite", "coo"), ("finite", "csr"), ("finite", "conj")]
    assert "NaN at [1] of its parts" in rows[0][2]


# Code


class Runs:
    """Calls `function` when it is unpickled."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


LOADED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "weights": (lambda: WEIGHTS, []),
    "all that torch takes": (
        lambda: (
            {name: lay(torch.eye(2)) for name, lay in LAYOUTS.items()}
            | {"p": torch.nn.Parameter(torch.ones(1)), "size": torch.Size([1]), "dtype": torch.int8, "complex": 1j, "set": {1}, "raw": b"x"}
            | {"counter": Counter("ab"), "device": torch.device("cpu"), "array": bytearray(b"x")}
        ),
        [],
    ),
    "a command": (lambda: WEIGHTS | {"x": Runs(os.system, "touch canary")}, ["posix.system"]),
    "twice": (
        lambda: [Runs(os.system, "touch canary"), Runs(os.system, "touch canary"), Runs(eval, "1")],
        ["posix.system", "builtins.eval"],
    ),
    "as a key": (lambda: {Runs(os.system, "touch canary"): 1}, ["posix.system"]),
    "a class": (lambda: WEIGHTS | {"args": argparse.Namespace(lr=0.1)}, ["argparse.Namespace"]),
    "a class alone": (lambda: WEIGHTS | {"class": argparse.Namespace}, ["argparse.Namespace"]),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("which", LOADED)
def test_code_that_other_programs_would_run_is_told(
    which: str, zipped: bool, ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, expected = LOADED[which]
    path = saved(tmp_path / "m.pt", make(), _use_new_zipfile_serialization=zipped)
    rows = found(ckpt, path, "--safe")
    assert [row[:2] for row in rows] == [("code", name) for name in expected] and all("imports it" in row[2] for row in rows)
    assert found(ckpt, path) == [] and not Path("canary").exists()
    if zipped:
        assert set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) == set(expected)
    if not expected:
        torch.load(path, weights_only=True)


def test_what_is_called_and_thrown_away_is_code_too(ckpt: Ckpt, tmp_path: Path) -> None:
    """In a legacy file's first pickle, whose value is torch's magic number after all."""
    path = saved(tmp_path / "m.pt", WEIGHTS, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    end = data.index(b".", 4 + 10)
    path.write_bytes(data[:end] + b"(S'touch canary'\nios\nsystem\n0" + data[end:])
    assert [row[:2] for row in found(ckpt, path, "--safe")] == [("code", "os.system")]


def test_all_that_torch_itself_takes_is_no_code() -> None:
    assert set(torch._weights_only_unpickler._get_allowed_globals()) <= ALLOWED


def test_code_in_a_shard_is_told_with_its_file(ckpt: Ckpt, tmp_path: Path) -> None:
    saved(tmp_path / "one.bin", {"a": torch.ones(3)})
    saved(tmp_path / "two.bin", {"b": torch.ones(3), "x": Runs(os.system, "touch canary")})
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "one.bin", "b": "two.bin"}}))
    (wrong,) = ckpt("check", tmp_path, "--safe", "--json", status=1).json["violations"]
    assert (wrong["kind"], wrong["name"]) == ("code", "posix.system") and wrong["file"].endswith("two.bin")
    assert found(ckpt, tmp_path, "a", "--safe") == []


# What is code in samples that torch.load does not read.
OF_OTHERS = {
    "shared-mlp.torchscript": {"code/__torch__"},
    "linear.package": {"torch.nn.modules.linear.Linear"},
    "trainer.states": {"mxnet.ndarray.ndarray.NDArray", "mxnet.optimizer.optimizer.Adam"},
}


@pytest.mark.parametrize("path", [*SAMPLE_FILES, *(CASES / name for name in real_cases())], ids=lambda path: path.name)
def test_torch_names_the_same_code_in_a_real_file(path: Path, ckpt: Ckpt) -> None:
    ours = {row[1] for row in found(ckpt, path, "--safe")}
    if path.suffix not in (".pt", ".pth", ".ckpt"):  # no pickle at all
        assert ours == OF_OTHERS.get(path.name, set())
        return
    try:
        theirs = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) if zipfile.is_zipfile(path) else None
    except pickle.UnpicklingError as error:
        pytest.skip(f"torch knows the opcodes of protocol 2 alone: {error}")
    if theirs is not None:  # where torch.distributed is imported it allows some of its own
        assert theirs <= ours and all(name.startswith("torch.distributed.") for name in ours - theirs)
    elif ours:  # of a legacy file it lists none
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)


# Names and architectures


def test_same_names_as(ckpt: Ckpt, tmp_path: Path) -> None:
    one = saved(tmp_path / "one.pt", {"a": torch.ones(1), "b": torch.ones(1)})
    two = saved(tmp_path / "two.pt", {"b": torch.ones(2), "c": torch.ones(1)})
    assert found(ckpt, one, "--same-names-as", two) == [
        ("missing", "c", f"{two} has it"),
        ("unexpected", "a", f"{two} has none of this name"),
    ]
    assert found(ckpt, one, "b", "--same-names-as", two) == [] and len(found(ckpt, one, "c", "--same-names-as", two)) == 1
    assert found(ckpt, SAMPLES / "mlp.pt", "--same-names-as", SAMPLES / "mlp.safetensors") == []


@pytest.mark.parametrize(
    ("has", "wanted", "hint", "rule"),
    [
        ("", "model.", "all names lack 'model.'", "*=model.*"),
        ("module.", "", "all names have 'module.' before them", "module.*=*"),
        ("model.module.", "model.", "all names begin with 'model.module.' instead of 'model.'", "model.module.*=model.*"),
        ("net.", "model.", "all names begin with 'net.' instead of 'model.'", "net.*=model.*"),
        ("", "a*b.", "", ""),
    ],
)
@pytest.mark.parametrize("how", ["--same-names-as", "--spec"])
def test_names_that_differ_by_a_prefix_alone_have_one_mend(
    how: str, has: str, wanted: str, hint: str, rule: str, ckpt: Ckpt, tmp_path: Path
) -> None:
    """Each is still told; the hint, on standard error, makes them right."""
    path = saved(tmp_path / "m.pt", {has + name: value for name, value in BLOCKS.items()})
    right = saved(tmp_path / "right.pt", {wanted + name: value for name, value in BLOCKS.items()})
    ckpt("spec", right, "-o", tmp_path / "s.toml")
    asked = (how, right if how == "--same-names-as" else tmp_path / "s.toml")
    said = ckpt("check", path, *asked, status=1)
    assert len(said.rows) == 2 * len(BLOCKS)
    assert said.err == (f"ckpt: {hint} (ckpt rename CKPT '{rule}')\n" if hint else "")
    if rule:
        ckpt("rename", path, rule, "-i")
        assert found(ckpt, path, *asked) == []


def test_names_of_which_more_than_a_prefix_differs_have_no_hint(ckpt: Ckpt, tmp_path: Path) -> None:
    right = saved(tmp_path / "right.pt", {f"model.{name}": value for name, value in BLOCKS.items()})
    for others in ({"x": torch.ones(1)}, {"model.out.w": torch.ones(1)}):
        said = ckpt("check", saved(tmp_path / "m.pt", BLOCKS | others), "--same-names-as", right, status=1)
        assert said.err == "" and said.rows


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("auto", []),
        ("mlp", []),
        ("mlp(hidden=8)", []),
        ("mlp(inputs=5)", [("shape", "0.weight", "8x4, not 8x5")]),
        ("shared-mlp", [("missing", "6.weight", "has it: 1x8"), ("missing", "6.bias", "shared-mlp"), ("shape", "2.bias", "1, not 8")]),
    ],
)
def test_an_architecture(arch: str, expected: list[tuple[str, str, str]], ckpt: Ckpt) -> None:
    rows = found(ckpt, SAMPLES / "mlp.pt", "--arch", arch)
    assert bool(rows) == bool(expected)
    for kind, name, what in expected:
        assert any(row[:2] == (kind, name) and what in row[2] for row in rows), rows


def test_an_architecture_of_ones_own(ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net(hidden=8):\n    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 1))\n"
    )
    assert found(ckpt, SAMPLES / "mlp.pt", "--arch", f"{tmp_path / 'net.py'}:net") == []
    rows = found(ckpt, SAMPLES / "mlp.pt", "--arch", f"{tmp_path / 'net.py'}:net(hidden=9)")
    assert [row[:2] for row in rows] == [("shape", "0.weight"), ("shape", "0.bias"), ("shape", "2.weight")]


def test_no_architecture_is_recognised(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", {"what": torch.ones(3, 3, 3)})
    assert [row[:2] for row in found(ckpt, path, "--arch", "auto")] == [("architecture", "")]
    assert "no architecture is called" in ckpt("check", path, "--arch", "nothing", status=2).err


# Specs

BLOCKS = {f"h.{i}.w": torch.full((4, 6), float(i)) for i in range(3)} | {"out.w": torch.tensor([3.0, -4.0])}
ENTRY = '"h.{0-2}.w" = { count = 3, dtype = "float32", shape = [4, 6] }\n"out.w" = { dtype = "float32", shape = [2] }\n'


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    return saved(tmp_path / "blocks.pt", BLOCKS)


def test_a_spec_folds_repeated_blocks_and_says_ties(ckpt: Ckpt, blocks: Path, tmp_path: Path) -> None:
    assert tomllib.loads(ckpt("spec", blocks).out) == {
        "params": 74,
        "extra": "forbid",
        "ties": [],
        "tensors": {
            "h.{0-2}.w": {"count": 3, "dtype": "float32", "shape": [4, 6]},
            "out.w": {"dtype": "float32", "shape": [2]},
        },
    }
    assert tomllib.loads(ckpt("spec", SAMPLES / "shared-mlp.pt").out)["ties"] == [["2.weight", "4.weight"], ["2.bias", "4.bias"]]
    held = tomllib.loads(ckpt("spec", blocks, "--hash", "--finite").out)
    digests = {row[1]: row[0] for row in ckpt("hash", blocks).rows}
    assert held["finite"] is True and held["tensors"]["h.1.w"]["sha256"] == digests["h.1.w"]


SPECS: dict[str, list[tuple[str, str]]] = {
    ENTRY: [],
    "params = 74\n[tensors]\n" + ENTRY: [],
    'params = "70-80"\n[tensors]\n' + ENTRY: [],
    "params = 75\n[tensors]\n" + ENTRY: [("params", "")],
    'extra = "allow"': [],
    'extra = "allow"\n[tensors]\n"h.{0-4}.w" = { count = "1-5" }': [],
    'extra = "allow"\n[tensors]\n"h.{0-4}.w" = {}': [("missing", "h.3.w"), ("missing", "h.4.w")],
    'extra = "allow"\n[tensors]\n"h.{0-4}.w" = { count = 5 }': [("missing", "h.3.w"), ("missing", "h.4.w")],
    '[tensors]\n"h.*" = { count = 4 }\n"*" = {}': [("count", "h.*")],
    '[tensors]\n"h.*" = { count = "4-*" }\n"*" = {}': [("count", "h.*")],
    '[tensors]\n"h.*" = {}\n"out.?" = {}': [],
    '[tensors]\n"re:^h" = { count = 3 }\n"[o]ut.w" = {}': [],
    '[tensors]\n"h.*" = {}': [("unexpected", "out.w")],
    '[tensors]\n"nothing*" = {}\n"*" = {}': [("count", "nothing*")],
    '[tensors]\n"nothing*" = { count = "*" }\n"*" = {}': [],
    '[tensors]\n"*" = { dtype = ["bf16", "float32"] }': [],
    '[tensors]\n"*" = { dtype = "bf16" }': [("dtype", name) for name in BLOCKS],
    '[tensors]\n"*" = {}\n"h.*" = { shape = ["1-8", "*"] }': [],
    '[tensors]\n"*" = {}\n"h.*" = { shape = ["5-*", 6] }': [("shape", f"h.{i}.w") for i in range(3)],
    '[tensors]\n"*" = { shape = [4, 6] }': [("shape", "out.w")],
    '[tensors]\n"*" = {}\n"h.0.w" = { layout = "sparse_coo" }': [("layout", "h.0.w")],
    '[tensors]\n"*" = {}\n"out.w" = { min = [-4, -4], max = [3, 3], mean = [-0.5, -0.5], std = [3.5, 3.5], l2 = [5, 5] }': [],
    '[tensors]\n"*" = {}\n"out.w" = { min = [-3, 0], l2 = [4.0, inf] }': [("figure", "out.w")],
    '[tensors]\n"*" = {}\n"h.{1-2}.w" = { max = [1.5, 9] }': [("figure", "h.1.w")],
    '[tensors]\n"h.*" = { shape = [4, 6] }\n"*" = { max = [-inf, 10] }': [("unexpected", "out.w")],
    '[tensors]\n"h.*" = { dtype = "float32" }\n"*" = { finite = true, min = [-10, inf], l2 = [0, 99] }': [("unexpected", "out.w")],
    '[tensors]\n"h.*" = { layout = "plain" }\n"*" = { max = [-inf, 2.5] }': [("unexpected", "out.w"), ("figure", "out.w")],
    '[tensors]\n"h.*" = {}\n"*" = { count = 4, max = [-inf, 10] }': [],
    '[tensors]\n"h.*" = {}\n"out.{w,b}" = { count = 1, max = [-inf, 10] }': [],
    'ties = [["h.0.w", "h.1.w"]]\n[tensors]\n"*" = {}': [("tied", "h.1.w")],
    f'[tensors]\n"*" = {{}}\n"out.w" = {{ sha256 = "{"0" * 64}" }}': [("sha256", "out.w")],
}


@pytest.mark.parametrize(("text", "expected"), SPECS.items())
def test_a_spec_holds_or_says_what_does_not(text: str, expected: list[tuple[str, str]], ckpt: Ckpt, blocks: Path, tmp_path: Path) -> None:
    text = f"[tensors]\n{text}" if text == ENTRY else text
    assert [row[:2] for row in found(ckpt, blocks, "--spec", spec_of(tmp_path, text))] == expected


@pytest.mark.parametrize("held", LAYOUTS)
@pytest.mark.parametrize("wanted", LAYOUTS)
def test_a_tensor_of_another_layout_does_not_hold(held: str, wanted: str, ckpt: Ckpt, tmp_path: Path) -> None:
    """Though names, shapes and, mostly, dtypes are the same."""
    ckpt("spec", saved(tmp_path / "wanted.pt", {"t": LAYOUTS[wanted](torch.eye(2))}), "-o", tmp_path / "spec.toml")
    assert ("layout" in (tmp_path / "spec.toml").read_text()) == (wanted != "plain")
    rows = found(ckpt, saved(tmp_path / "held.pt", {"t": LAYOUTS[held](torch.eye(2))}), "--spec", tmp_path / "spec.toml")
    assert [row for row in rows if row[0] == "layout"] == ([] if held == wanted else [("layout", "t", f"{held}, not {wanted}")])


def test_an_entry_that_says_no_dtype_and_no_shape_leaves_the_layout_open(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", {"t": torch.eye(2).to_sparse()})
    for text in ("{}", "{ count = 1 }", '{ dtype = "float32", shape = [2, 2], layout = "*" }'):
        assert found(ckpt, path, "--spec", spec_of(tmp_path, f'[tensors]\n"t*" = {text}')) == []
    for text in ('{ dtype = "float32" }', "{ shape = [2, 2] }", '{ layout = "plain" }'):
        assert found(ckpt, path, "--spec", spec_of(tmp_path, f'[tensors]\n"t*" = {text}')) == [("layout", "t", "sparse_coo, not plain")]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('"out.w" = { max = [-inf, 1] }', ("figure", "out.w", "max is 3, above 1")),
        ('"out.w" = { max = [5, 9] }', ("figure", "out.w", "max is 3, below 5")),
        ('"out.w" = { min = [-1e9, -7] }', ("figure", "out.w", "min is -4, above -7")),
        ('"nothing*" = {}', ("count", "nothing*", "nothing matches it")),
        ('"nothing*" = { count = 2 }', ("count", "nothing*", "nothing matches it, not 2 tensors")),
        ('"h*" = { count = "4-5" }', ("count", "h*", "3 tensors match, not 4-5")),
        ('"out*" = { count = 2 }', ("count", "out*", "1 tensor matches, not 2")),
        ('"none" = {}', ("missing", "none", "the spec has it")),
        ('"h.{2-3}.w" = {}', ("missing", "h.3.w", "the spec has it (h.{2-3}.w)")),
    ],
)
def test_a_violation_says_what_was_expected(entry: str, told: tuple[str, str, str], ckpt: Ckpt, blocks: Path, tmp_path: Path) -> None:
    assert found(ckpt, blocks, "--spec", spec_of(tmp_path, f'extra = "allow"\n[tensors]\n{entry}')) == [told]


@pytest.mark.parametrize(("bounds", "shown"), {"-inf, 1": "at most 1", "1, inf": "at least 1", "1, 2": "from 1 to 2"}.items())
def test_a_figure_that_there_is_not(bounds: str, shown: str, ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", {"t": torch.tensor([math.nan])})
    rows = found(ckpt, path, "--spec", spec_of(tmp_path, f"[tensors]\nt = {{ max = [{bounds}] }}"))
    assert rows == [("figure", "t", f"has no max; it should be {shown}")]


def test_ties_that_came_and_went(ckpt: Ckpt, tmp_path: Path) -> None:
    one, two = torch.ones(2), torch.ones(2)
    tied = saved(tmp_path / "tied.pt", {"a": one, "b": one, "c": two})
    apart = saved(tmp_path / "apart.pt", {"a": one, "b": one.clone(), "c": two})
    for name, path in {"tied": tied, "apart": apart}.items():
        ckpt("spec", path, "-o", tmp_path / f"{name}.toml")
    rows = found(ckpt, apart, "--spec", tmp_path / "tied.toml")
    assert [row for row in rows if row[0] == "tied"] == [("tied", "b", "is not tied to a")]
    assert ("tied", "b", "is tied to a, which the spec does not say") in found(ckpt, tied, "--spec", tmp_path / "apart.toml")


def test_a_spec_may_ask_for_finite_values_of_all_or_of_some(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", {"a": torch.tensor([math.nan]), "b": torch.ones(2)})
    every = '[tensors]\n"*" = {}\n'
    assert [row[:2] for row in found(ckpt, path, "--spec", spec_of(tmp_path, "finite = true\n" + every))] == [("finite", "a")]
    assert found(ckpt, path, "--spec", spec_of(tmp_path, every + "b = { finite = true }")) == []
    assert len(found(ckpt, path, "--spec", spec_of(tmp_path, every + "a = { finite = true }"))) == 1
    held = tomllib.loads(ckpt("spec", path, "--finite").out)
    assert "finite" not in held and "finite" not in held["tensors"]["a"] and held["tensors"]["b"]["finite"] is True


ODD = [
    "a*b",
    "a?b",
    "a[0]",
    "[0].w",
    "{0-3}",
    "a{x,y}",
    "@Linear",
    "re:x",
    "a\nb",
    'a"b',
    "a\\b",
    "\x7f",
    "é",
    "\u202e",
    "h.0.[w]",
    "h.1.[w]",
    "",
]


def test_names_that_look_like_patterns_are_names(ckpt: Ckpt, tmp_path: Path) -> None:
    """The spec of one file with odd names says all of each of them alone."""
    path = saved(tmp_path / "m.pt", {name: torch.ones(2) for name in ODD})
    ckpt("spec", path, "-o", tmp_path / "spec.toml")
    assert (tmp_path / "spec.toml").read_text() == ckpt("spec", path).out
    assert found(ckpt, path, "--spec", tmp_path / "spec.toml") == []
    for name in ODD:
        less = saved(tmp_path / "less.pt", {other: torch.ones(2) for other in ODD if other != name} | {"axb": torch.ones(2)})
        kinds = {(kind, text == "axb") for kind, text, _ in found(ckpt, less, "--spec", tmp_path / "spec.toml")}
        assert kinds == {("missing", False), ("unexpected", True)}, name


def test_names_that_toml_cannot_hold_are_left_open(ckpt: Ckpt, tmp_path: Path) -> None:
    one = torch.ones(2)
    path = saved(tmp_path / "m.pt", {"half \ud800": one, "tied \ud800": one, "plain": torch.ones(1)})
    ckpt("spec", path, "-o", tmp_path / "spec.toml")
    assert found(ckpt, path, "--spec", tmp_path / "spec.toml") == []
    assert "ties" not in tomllib.loads((tmp_path / "spec.toml").read_text())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parms = 3", "a spec has no parms (did you mean params?)"),
        ('[tensors]\n"a" = { dtyp = "float32" }', "a: an entry of a tensor has no dtyp (did you mean dtype?)"),
        ("[tensors]\n0.weight = { shape = [1] }", "in quotes"),
        ('[tensors]\n"a" = 3', "a is a table"),
        ('[tensors]\n"a" = { shape = 3 }', "shape is a list of sizes"),
        ('[tensors]\n"a" = { shape = ["3-"] }', "shape is a whole number"),
        ('[tensors]\n"a" = { shape = [-1] }', "shape is a whole number"),
        ('[tensors]\n"a" = { std = [2, 1] }', "std is two numbers, the lower first"),
        ('[tensors]\n"a" = { std = 1 }', "std is two numbers"),
        ('[tensors]\n"a" = { sha256 = "abc" }', "sha256 is 64 hexadecimal digits"),
        ('[tensors]\n"a" = { dtype = [] }', "dtype is a dtype"),
        ('[tensors]\n"a" = { dtype = "flaot32" }', "a: an entry of a tensor: no dtype is called 'flaot32' (did you mean float32"),
        ('[tensors]\n"a" = { dtype = ["float32", "F33"] }', "no dtype is called 'F33'"),
        ('[tensors]\n"a.{0-99999999}" = {}', "more than 1,000,000 names"),
        ("params = true", "params is a whole number"),
        ('extra = "maybe"', 'extra is "allow" or "forbid"'),
        ("finite = 1", "finite is true or false"),
        ('ties = ["a"]', "ties is a list of lists of names"),
        ("params = ", "this is no TOML"),
    ],
)
def test_a_spec_that_makes_no_sense_is_an_error_that_says_why(text: str, told: str, ckpt: Ckpt, tmp_path: Path) -> None:
    error = ckpt("check", SAMPLES / "mlp.pt", "--spec", spec_of(tmp_path, text), status=2).err
    assert told in error and "spec.toml" in error


def test_a_spec_is_written_over_a_file_by_force_alone(ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("spec", SAMPLES / "mlp.pt", "-o", tmp_path / "spec.toml")
    before = (tmp_path / "spec.toml").read_bytes()
    ckpt("spec", SAMPLES / "shared-mlp.pt", "-o", tmp_path / "spec.toml", status=2)
    assert (tmp_path / "spec.toml").read_bytes() == before
    ckpt("spec", SAMPLES / "shared-mlp.pt", "-o", tmp_path / "spec.toml", "--force")
    assert (tmp_path / "spec.toml").read_text() == ckpt("spec", SAMPLES / "shared-mlp.pt").out


def test_with_a_pattern_only_those_tensors_are_held_against_the_spec(ckpt: Ckpt, blocks: Path, tmp_path: Path) -> None:
    spec = spec_of(tmp_path, 'params = 1\n[tensors]\n"h.*" = { count = 9, dtype = "int8" }\nlost = {}')
    assert [row[:2] for row in found(ckpt, blocks, "h.1.*", "--spec", spec)] == [("dtype", "h.1.w")]
    assert [row[:2] for row in found(ckpt, blocks, "lost", "--spec", spec)] == [("missing", "lost")]
    assert "nothing matches" in ckpt("check", blocks, "other", "--spec", spec, status=2).err


# How it is said


def test_json(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", {"a": torch.tensor([[1.0, -math.inf]]), "b": torch.ones(2)})
    result = ckpt("check", path, "--finite", "--json", status=1)
    assert "NaN" not in result.out.replace('"', "").replace("NaN and", "") and result.json["holds"] is False
    assert list(result.json) == ["path", "format", "holds", "checked", "violations"] and result.json["format"] == "torch"
    assert result.json["checked"] == {
        "tensors": 2,
        "bytes": sum(len(data) for _, data in records(path).values()),
        "checksums": len(records(path)),
        "without": 0,
        "finite": 2,
    }
    (wrong,) = result.json["violations"]
    assert wrong == {
        "kind": "finite",
        "name": "a",
        "what": "-Infinity at [0,1]; 0 NaN and 1 infinite among 2 elements",
        "index": [0, 1],
        "value": "-Infinity",
        "nan": 0,
        "inf": 1,
    }


def in_terminal(*args: object) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "ckpt_cli", *map(str, args)]
    done = subprocess.run(program, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=os.environ | {"NO_COLOR": "1"})
    os.close(theirs)
    shown = os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(ours)
    return done.returncode, shown


def test_in_a_terminal_one_line_says_what_was_checked(tmp_path: Path) -> None:
    path = SAMPLES / "mlp.pt"
    assert in_terminal("check", path, "--finite", "--arch", "mlp") == (
        0,
        f"{path} holds: 4 tensors, 720 B read, 10 checksums right, all finite, as in mlp\n",
    )
    assert "no checksums in the file" in in_terminal("check", SAMPLES / "mlp.safetensors")[1]
    status, shown = in_terminal("check", saved(tmp_path / "m.pt", {"a": torch.tensor(math.nan)}), "--finite")
    assert status == 1 and shown.split("\n")[0].split() == ["KIND", "NAME", "WHAT"] and "finite  a     NaN at []" in shown
