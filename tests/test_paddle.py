"""Paddle's inference parameters: a row of tensors whose names are in the program beside them, edited where they lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from struct import pack
from typing import Any

import cases
import numpy as np
import pytest
from conftest import Ckpt

from ckpt_cli import reading

every_case = cases.every_case("paddle-jit")
W, B = np.arange(6, dtype="f4").reshape(2, 3), np.arange(3, dtype="i8")


def tensor(array: np.ndarray, kind: int = 5, packed: bool = False) -> bytes:
    """As Paddle serialises it: versions, a protobuf of type and dims, elements."""
    dims = b"\x12" + bytes([array.ndim, *array.shape]) if packed else b"".join(b"\x10" + bytes([n]) for n in array.shape)
    desc = bytes([8, kind]) + dims
    return bytes(16) + pack("<i", len(desc)) + desc + array.tobytes()


def program(shapes: dict[str, list[int]]) -> bytes:
    ops = [
        {"#": "p", "A": [0, 1, 1, name], "O": {"%": 1, "TT": {"#": "0.t_dtensor", "D": [{"#": "0.t_f32"}, shape]}}}
        for name, shape in shapes.items()
    ]
    return json.dumps({"program": {"regions": [{"blocks": [{"ops": [*ops, {"#": "1.data"}]}]}]}}).encode()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.pdiparams"
    path.write_bytes(tensor(B, 3) + tensor(W, packed=True))
    path.with_suffix(".json").write_bytes(program({"linear.w_0": [2, 3], "linear.b_0": [3]}))
    return path


@every_case
def test_a_real_one_is_as_told_but_for_its_names(record: dict[str, Any], ckpt: Ckpt) -> None:
    """The record counts the tensors; their names are in the program."""
    called = dict(zip((t["name"] for t in cases.expected(record)["tensors"]), cases.opened(record), strict=True))
    cases.is_as_told(record, ckpt, lambda tensor: called[tensor["name"]])
    assert list(called.values())[-2:] == ["linear_1.b_0", "linear_1.w_0"]


@every_case
def test_a_real_one_is_edited_where_it_lies(record: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = Path(shutil.copytree(cases.CASES / record["file"], tmp_path / "jit", copy_function=shutil.copyfile))
    path = folder / "net.pdiparams"
    before = path.read_bytes()
    ckpt("set", folder, "linear_1.b_0 = 42", "-i")
    after = path.read_bytes()
    assert len(after) == len(before) and sum(a != b for a, b in zip(before, after, strict=True)) <= 4
    assert ckpt("get", folder, "linear_1.b_0").out == "[42.]\n"
    assert "values alone are edited" in ckpt("drop", folder, "linear_1.*", "-i", status=2).err
    ckpt("convert", folder, tmp_path / "a.safetensors")
    assert ckpt("diff", folder, tmp_path / "a.safetensors").out == ""


def test_names_are_those_of_the_program_in_their_order(model: Path, ckpt: Ckpt) -> None:
    found = reading.open(str(model))
    assert list(found) == ["linear.b_0", "linear.w_0"]
    assert found["linear.w_0"].array().tolist() == W.tolist() and found["linear.b_0"].array().tolist() == B.tolist()


def test_without_a_program_that_fits_tensors_are_numbered(model: Path, ckpt: Ckpt) -> None:
    model.with_suffix(".json").write_bytes(program({"a": [4], "b": [2, 3]}))
    found = ckpt("ls", model)
    assert [row[0] for row in found.rows] == ["param_0", "param_1"] and "of another model" in found.err
    model.with_suffix(".json").unlink()
    found = ckpt("ls", model)
    assert [row[0] for row in found.rows] == ["param_0", "param_1"] and "not there" in found.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw[:-1], "truncated: 1 bytes are missing"),
        (lambda raw: raw[: len(tensor(B, 3))], "truncated: 1 of the program's 2 parameters"),
        (lambda raw: raw + b"x", "truncated"),
        (lambda raw: raw + bytes(40), "begins no tensor"),
        (lambda raw: raw + tensor(W, 99), "data type 99"),
        (lambda raw: raw + bytes(4) + b"\1" + bytes(15), "levels of detail"),
        (lambda raw: raw + bytes(16) + pack("<i", 12) + b"\x08\x05\x10" + b"\xff" * 8 + b"\x7f", "bytes are missing"),
        (lambda raw: raw + bytes(16) + pack("<i", 13) + b"\x08\x05\x10" + b"\xff" * 9 + b"\x01", "of a negative one"),
        (lambda raw: raw + bytes(16) + pack("<i", 5) + b"\x08\x05\x10\xff\xff", "cut off"),
        (lambda raw: raw + bytes(16) + pack("<i", 4) + b"\x08\x05\x2a\x00", "unknown way"),
        (lambda raw: raw + bytes(16) + pack("<i", 2**31 - 1), "begins no tensor"),
    ],
)
def test_what_lies_about_itself_is_an_error(model: Path, ckpt: Ckpt, change: Any, says: str) -> None:
    model.write_bytes(change(model.read_bytes()))
    assert says in ckpt("ls", model, status=2).err


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"program": {"regions": []}}', b"[" * 99999, program({"a": [3]}).replace(b'"a"', b"7")]
)
def test_a_program_that_makes_no_sense_gives_no_names(model: Path, ckpt: Ckpt, document: bytes) -> None:
    model.with_suffix(".json").write_bytes(document)
    assert [row[0] for row in ckpt("ls", model).rows] == ["param_0", "param_1"]
