"""Floats of less than a byte: torch's `float4_e2m1fn_x2`, and the F4, F6 and F8_E8M0 of safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_models as om
import pytest
import safetensors.torch
import torch
from conftest import CASES, Ckpt

FLOAT4 = CASES / "reports" / "float4"


def packed(values: np.ndarray) -> torch.Tensor:
    """Two values a byte, the first in the low four bits; ml_dtypes rounds them."""
    bits = values.astype(ml_dtypes.float4_e2m1fn).view("u1").reshape(*values.shape[:-1], -1, 2)
    return torch.from_numpy(bits[..., 0] | bits[..., 1] << 4).view(torch.float4_e2m1fn_x2)


VALUES = np.array([[0, 0.5, -0.5, 6], [1, 1.5, -2, 3], [4, -6, -1.5, -0.0], [2, -3, -4, -1]], "f4")
WHOLE = packed(VALUES)
VIEWS = {
    "whole": (WHOLE, VALUES),
    "row": (WHOLE[1], VALUES[1]),
    "rows": (WHOLE[1:3], VALUES[1:3]),
    "every other row": (WHOLE[::2], VALUES[::2]),
    "columns": (WHOLE[:, 1:], VALUES[:, 2:]),
    "three axes": (WHOLE.reshape(2, 2, 2), VALUES.reshape(2, 2, 4)),
    "permuted": (WHOLE.reshape(2, 2, 2).permute(1, 0, 2), VALUES.reshape(2, 2, 4).transpose(1, 0, 2)),
    "empty": (WHOLE[:0], VALUES[:0]),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("legacy", [False, True])
def test_float4_is_read_as_its_values_and_written_back_as_torch_loads_it(ckpt: Ckpt, tmp_path: Path, name: str, legacy: bool) -> None:
    tensor, values = VIEWS[name]
    path = tmp_path / "a.pt"
    torch.save({"w": tensor, "n": torch.ones(2)}, path, _use_new_zipfile_serialization=not legacy)
    shape = "x".join(map(str, values.shape))
    assert ckpt("ls", path, "w").rows == [["w", "float4_e2m1fn", shape, str(values.size), str(values.size // 2), ""]]
    ckpt("get", path, "w", "-o", tmp_path / "w.npy")
    found = np.load(tmp_path / "w.npy")
    assert found.shape == values.shape and found.tobytes() == values.tobytes()  # and so is -0
    ckpt("convert", path, tmp_path / "f.safetensors", "--dtype", "float32")
    assert safetensors.torch.load_file(tmp_path / "f.safetensors")["w"].numpy().tobytes() == values.tobytes()
    ckpt("rename", path, "w=v", "-o", tmp_path / "b.pt")
    again = torch.load(tmp_path / "b.pt")["v"]
    assert again.dtype == torch.float4_e2m1fn_x2 and again.shape == tensor.shape
    assert torch.equal(again.contiguous().view(torch.uint8), tensor.contiguous().view(torch.uint8))
    ckpt("set", path, "n = 3", "-i")
    assert torch.load(path)["n"].tolist() == [3, 3] and torch.equal(torch.load(path)["w"].view(torch.uint8), tensor.view(torch.uint8))


def test_float4_is_compared_counted_and_cast(ckpt: Ckpt, tmp_path: Path) -> None:
    other = VALUES.copy()
    other[2, 1] = 2
    torch.save({"w": WHOLE}, tmp_path / "a.pt")
    torch.save({"w": packed(other)}, tmp_path / "b.pt")
    assert ckpt("diff", tmp_path / "a.pt", tmp_path / "a.pt").out == ""
    row = ckpt("diff", tmp_path / "a.pt", tmp_path / "b.pt", status=1).rows[0]
    assert row[0] == "changed" and row[4] == "1/16" and float(row[5]) == 8
    assert ckpt("hash", tmp_path / "a.pt").out != ckpt("hash", tmp_path / "b.pt").out
    figures = ckpt("stats", tmp_path / "a.pt", "--json").json["tensors"][0]
    assert figures["min"] == -6 and figures["max"] == 6 and figures["mean"] == VALUES.mean() and figures["zeros"] == 2
    for dtype in ("bf16", "fp16", "fp8", "float64"):
        ckpt("cast", tmp_path / "a.pt", dtype, "-o", tmp_path / "c.pt", "--force")
        assert torch.load(tmp_path / "c.pt")["w"].double().numpy().tolist() == VALUES.tolist()
    ckpt("set", tmp_path / "c.pt", f"w = this + 2 * @{tmp_path}/a.pt", "-i")
    assert torch.load(tmp_path / "c.pt")["w"].tolist() == (3 * VALUES).tolist()


def test_float4_goes_to_safetensors_and_back(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"w": WHOLE}, tmp_path / "a.pt")
    ckpt("convert", tmp_path / "a.pt", tmp_path / "a.safetensors")
    raw = (tmp_path / "a.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["w"]["dtype"] == "F4" and header["w"]["shape"] == [4, 4]
    safetensors.torch.save_file({"w": WHOLE}, tmp_path / "theirs.safetensors")
    assert ckpt("diff", tmp_path / "a.safetensors", tmp_path / "theirs.safetensors").out == ""
    ckpt("convert", tmp_path / "theirs.safetensors", tmp_path / "b.pt")
    assert torch.equal(torch.load(tmp_path / "b.pt")["w"].view(torch.uint8), WHOLE.view(torch.uint8))


@pytest.mark.parametrize("target", ["b.npz", "b.h5", "b.gguf", "b.msgpack"])
def test_what_has_no_place_for_float4_says_so_in_a_line(ckpt: Ckpt, tmp_path: Path, target: str) -> None:
    torch.save({"w": WHOLE}, tmp_path / "a.pt")
    found = ckpt("convert", tmp_path / "a.pt", tmp_path / target, status=None)
    assert found.status in (0, 2) and ("float4_e2m1fn" in found.err or not found.status)
    ckpt("convert", tmp_path / "a.pt", tmp_path / target, "--force", "--dtype", "float32")


def test_values_that_do_not_follow_each_other_are_refused(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"w": WHOLE.t()}, tmp_path / "a.pt")
    assert "do not follow each other along the last axis" in ckpt("ls", tmp_path / "a.pt", status=2).err


def one_tensor(path: Path, code: str, shape: list[int], data: bytes) -> Path:
    header = json.dumps({"w": {"dtype": code, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


@pytest.mark.parametrize(
    ("code", "dtype", "shape", "nbytes"),
    [("F4", "float4_e2m1fn", [3, 4], 6), ("F6_E2M3", "float6_e2m3fn", [2, 4], 6),
     ("F6_E3M2", "float6_e3m2fn", [8], 6), ("F8_E8M0", "float8_e8m0fnu", [3], 3)],
)  # fmt: skip
def test_the_short_floats_of_safetensors_are_listed_and_kept(
    ckpt: Ckpt, tmp_path: Path, code: str, dtype: str, shape: list[int], nbytes: int
) -> None:
    path = one_tensor(tmp_path / "a.safetensors", code, shape, bytes(range(100, 100 + nbytes)))
    assert ckpt("ls", path).rows[0][:3] == ["w", dtype, "x".join(map(str, shape))]
    ckpt("rename", path, "w=v", "-o", tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes().endswith(bytes(range(100, 100 + nbytes)))
    one_tensor(tmp_path / "short.safetensors", code, shape, bytes(nbytes - 1))
    ckpt("ls", tmp_path / "short.safetensors", status=2)


@pytest.mark.parametrize(
    ("code", "shape", "nbytes"), [("F4", [3], 2), ("F4", [3, 3], 5), ("F6_E2M3", [4], 3), ("F6_E3M2", [5], 4)], ids=str
)  # fmt: skip
def test_what_torch_has_no_dtype_for_is_no_pt_file(ckpt: Ckpt, tmp_path: Path, code: str, shape: list[int], nbytes: int) -> None:
    path = one_tensor(tmp_path / "a.safetensors", code, shape, bytes(nbytes))
    ckpt("convert", path, tmp_path / "b.pt", status=2)
    assert not (tmp_path / "b.pt").exists()


def test_float4_of_onnx_is_decoded_and_carried_where_its_last_byte_is_full(ckpt: Ckpt, tmp_path: Path) -> None:
    full = om.tensor("x", (2, 2), 23, om.data(9, b"\x21\x9f"))  # the low four bits first
    (tmp_path / "a.onnx").write_bytes(om.model(om.graph(full)))
    assert ckpt("get", tmp_path / "a.onnx", "x", "--json").json["values"] == [[0.5, 1], [-6, -0.5]]
    ckpt("convert", tmp_path / "a.onnx", tmp_path / "a.pt")
    assert torch.load(tmp_path / "a.pt")["x"].view(torch.uint8).tolist() == [[0x21], [0x9F]]
    (tmp_path / "odd.onnx").write_bytes(om.model(om.graph(om.tensor("x", (3,), 23, om.data(9, b"\x21\x0f")))))
    for target in ("b.pt", "b.safetensors"):
        ckpt("convert", tmp_path / "odd.onnx", tmp_path / target, status=2)
        assert not (tmp_path / target).exists()


def test_a_float8_that_torch_lacks_is_no_pt_file(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    for command in (["cast", tmp_path / "a.pt", "float8_e4m3b11fnuz", "-o"], ["convert", "--dtype", "e4m3b11fnuz", tmp_path / "a.pt"]):
        assert "a .pt file cannot hold float8_e4m3b11fnuz (w)" in ckpt(*command, tmp_path / "b.pt", status=2).err
    assert not (tmp_path / "b.pt").exists()


@pytest.mark.skipif(not FLOAT4.exists(), reason="the real files are not here")
def test_the_report_on_float4(ckpt: Ckpt, tmp_path: Path) -> None:
    assert [row[:3] for row in ckpt("ls", FLOAT4 / "model.pt").rows] == [["w", "float4_e2m1fn", "2x8"], ["n", "float32", "2"]]
    ckpt("get", FLOAT4 / "model.pt", "w", "-o", tmp_path / "w.npy")
    assert np.load(tmp_path / "w.npy").tobytes() == np.load(FLOAT4 / "right.npy").tobytes()
