"""ONNX, judged by the onnx package: what it writes is read to the same bits, and what ckpt edits it loads and finds right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import ROOT, Run
from onnx import TensorProto, helper, numpy_helper

SAMPLE = ROOT / "sample_models" / "conv.onnx"
_NAMES = (
    "FLOAT UINT8 INT8 UINT16 INT16 INT32 INT64 BOOL FLOAT16 DOUBLE UINT32 UINT64 COMPLEX64 COMPLEX128 BFLOAT16 "
    "FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ FLOAT8E8M0"
)
TYPES = _NAMES.split()


def arrays(path: Path) -> dict[str, Any]:
    model = onnx.load(path)
    onnx.checker.check_model(str(path))
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def saved(path: Path, tensors: list[TensorProto], **how: Any) -> Path:
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Constant", [], ["y"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0]))
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [output], tensors)), path, **how)
    return path


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_in_either_field_is_read_to_the_same_bits(name: str, raw: bool, ckpt: Run, tmp_path: Path) -> None:
    kind = getattr(TensorProto, name)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    values = np.array([[1, 0, 2], [3, 1, 4]]).astype(dtype)
    tensor = helper.make_tensor("x", kind, (2, 3), values.tobytes() if raw else values.flatten(), raw=raw)
    path, out = saved(tmp_path / "a.onnx", [tensor]), tmp_path / "x.raw"
    ckpt("get", path, "x", "-o", out)
    assert out.read_bytes() == arrays(path)["x"].tobytes()
    (row,) = json.loads(ckpt("ls", path, "--json"))["tensors"]
    assert (row["dtype"], row["shape"]) == (str(dtype), [2, 3])


def test_what_is_set_in_place_is_loaded(ckpt: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(SAMPLE.read_bytes())
    ckpt("set", path, "fc.weight[1,2] = 42", "fc.bias = 0.5", "-i")
    want = {name: value.copy() for name, value in arrays(SAMPLE).items()}
    want["fc.weight"][1, 2], want["fc.bias"][:] = 42, 0.5
    assert {name: value.tobytes() for name, value in arrays(path).items()} == {name: value.tobytes() for name, value in want.items()}


def test_external_data_are_read_and_edited(ckpt: Run, tmp_path: Path) -> None:
    tensors = [numpy_helper.from_array(np.arange(2000, dtype="f4") + i, f"w{i}") for i in range(3)]
    path = saved(tmp_path / "a.onnx", tensors, save_as_external_data=True, location="a.data")
    ckpt("reinit", path, "w1=constant(7)", "-i")
    found = arrays(path)
    assert (found["w1"] == 7).all() and (found["w0"] == np.arange(2000)).all() and (found["w2"] == np.arange(2000) + 2).all()
    (tmp_path / "b").mkdir()
    ckpt("set", path, "w2 = 1", "-o", tmp_path / "b" / "a.onnx")
    assert (arrays(tmp_path / "b" / "a.onnx")["w2"] == 1).all()
