"""Constants of TensorFlow's graphs: every field that a TensorProto may have its elements in, as tensor.cc takes them."""

from __future__ import annotations

import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tensorflow_graphs as tf
from conftest import Ckpt
from onnx_models import data, number, varint, varints

from ckpt_cli import reading

W = np.arange(6, dtype="f4").reshape(2, 3)


def bits(array: np.ndarray) -> list[int]:
    return [int(bit) for bit in array.view("u2")]


HALVES, BRAINS = np.array([1.5, -2, 3], "f2"), np.array([1.5, -2, 3], ml_dtypes.bfloat16)
ELEMENTS = {
    "content": (tf.FLOAT, (2, 3), data(4, W.tobytes()), W),
    "content of int64": (tf.INT64, (2,), data(4, np.array([1, -2]).tobytes()), np.array([1, -2])),
    "packed floats": (tf.FLOAT, (2, 3), data(5, W.tobytes()), W),
    "floats, a field each": (tf.FLOAT, (2,), b"".join(varint(5 << 3 | 5) + struct.pack("<f", x) for x in (1, 2)), np.array([1, 2], "f4")),
    "one float for all": (tf.FLOAT, (2, 3), data(5, struct.pack("<f", 7)), np.full((2, 3), 7, "f4")),
    "the last float for the rest": (tf.FLOAT, (5,), data(5, W.tobytes()[4:12]), np.array([1, 2, 2, 2, 2], "f4")),
    "no float: zeros": (tf.FLOAT, (2, 3), b"", np.zeros((2, 3), "f4")),
    "doubles": (tf.DOUBLE, (2,), data(6, np.array([1.0, 2.0]).tobytes()), np.array([1.0, 2.0])),
    "ints": (tf.INT32, (3,), varints(7, 1, -2, 300), np.array([1, -2, 300], "i4")),
    "the last int for the rest": (tf.INT32, (5,), varints(7, 1, 300), np.array([1, 300, 300, 300, 300], "i4")),
    "one int for all": (tf.INT64, (2, 2), varints(10, -5), np.full((2, 2), -5)),
    "an int in a field of its own": (tf.INT32, (), number(7, 9), np.array(9, "i4")),
    "ints, a field each": (tf.INT64, (3,), number(10, 1) + number(10, 2), np.array([1, 2, 2])),
    "bytes": (tf.UINT8, (2,), varints(7, 200, 1), np.array([200, 1], "u1")),
    "shorts": (tf.INT16, (2,), varints(7, -1, 1), np.array([-1, 1], "i2")),
    "int8": (tf.INT8, (2,), varints(7, -1, 1), np.array([-1, 1], "i1")),
    "bools": (tf.BOOL, (3,), varints(11, 1, 0, 1), np.array([True, False, True])),
    "halves": (tf.HALF, (3,), varints(13, *bits(HALVES)), HALVES),
    "one half for all": (tf.HALF, (2,), varints(13, *bits(HALVES[:1])), np.array([1.5, 1.5], "f2")),
    "bfloat16": (tf.BFLOAT16, (3,), varints(13, *bits(BRAINS)), BRAINS),
    "complex": (tf.COMPLEX64, (2,), data(9, np.array([1 + 2j, 3], "c8").tobytes()), np.array([1 + 2j, 3], "c8")),
    "uint32": (tf.UINT32, (2,), varints(16, 1 << 31, 1), np.array([1 << 31, 1], "u4")),
    "uint64": (tf.UINT64, (2,), varints(17, 1 << 63, 1), np.array([1 << 63, 1], "u8")),
    "many ints and a rest": (tf.INT32, (9000,), varints(7, *range(8000)), np.array([*range(8000), *[7999] * 1000], "i4")),
    "nothing of an empty one": (tf.FLOAT, (0, 3), b"", np.zeros((0, 3), "f4")),
}  # fmt: skip


@pytest.mark.parametrize("how", ELEMENTS)
def test_elements_in_every_field(how: str, tmp_path: Path) -> None:
    kind, sizes, content, want = ELEMENTS[how]
    path = tmp_path / "frozen.pb"
    path.write_bytes(tf.graph(tf.constant("a/w", tf.tensor(kind, sizes, content))))
    tensor = reading.open(str(path))["a/w"]
    assert tensor.shape == want.shape and tensor.tobytes() == want.tobytes() and tensor.dtype.name == want.dtype.name


def test_a_frozen_graph_is_its_constants(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "frozen.pb"
    strings = tf.tensor(tf.STRING, (2,), data(8, "cat") + data(8, "dog"))
    placeholder = data(1, "x") + data(2, "Placeholder")
    inner = tf.function("f", tf.constant("c", tf.tensor(tf.FLOAT, (), data(5, struct.pack("<f", 3)))))
    odd = data(1, "odd") + data(2, "Fancy") + tf.attribute("table", data(8, tf.tensor(tf.INT32, (1,), varints(7, 4))))
    path.write_bytes(
        tf.graph(
            placeholder,
            tf.constant("w", tf.tensor(tf.FLOAT, (2, 3), data(4, W.tobytes()))),
            tf.constant("labels", strings),
            odd,
            functions=inner,
        )
    )
    assert [row[:3] for row in ckpt("ls", path).rows] == [["w", "float32", "2x3"], ["odd/table", "int32", "1"], ["f/c", "float32", ""]]
    assert ckpt("ls", path, "--json").json["format"] == "tensorflow-graph"
    assert reading.open(str(path)).objects == {"labels": ["cat", "dog"]}
    ckpt("convert", path, tmp_path / "a.npz")
    assert np.array_equal(np.load(tmp_path / "a.npz")["w"], W)
    before = path.read_bytes()
    ckpt("set", path, "w[0, 0] = 42", "-i")
    assert path.read_bytes() == before.replace(W.tobytes(), struct.pack("<f", 42) + W.tobytes()[4:])
    assert "read, not edited" in ckpt("set", path, "odd/table = 2", "-i", status=2).err
    assert "values alone are edited" in ckpt("drop", path, "w", "-i", status=2).err


def test_long_strings_are_bytes_that_are_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.pb"
    path.write_bytes(tf.graph(tf.constant("s", tf.tensor(tf.STRING, (1,), data(8, "x" * 5000)))))
    storage = reading.open(str(path)).undecoded["s"].storage
    assert storage is not None and b"x" * 5000 in storage.read()


@pytest.mark.parametrize("count", [1, 2])
def test_a_saved_model_without_variables_is_its_constants(tmp_path: Path, ckpt: Ckpt, count: int) -> None:
    one = tf.graph(tf.constant("w", tf.tensor(tf.FLOAT, (2, 3), data(4, W.tobytes()))))
    (tmp_path / "saved_model.pb").write_bytes(tf.saved_model(*[one] * count))
    (tmp_path / "fingerprint.pb").write_bytes(number(1, 5))
    names = ["w"] if count == 1 else ["meta_graphs[0]/w", "meta_graphs[1]/w"]
    assert [row[0] for row in ckpt("ls", tmp_path).rows] == [row[0] for row in ckpt("ls", tmp_path / "saved_model.pb").rows] == names
