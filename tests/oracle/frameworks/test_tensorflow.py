"""TensorFlow loads what ckpt wrote, and gives the same bits; ckpt reads what TensorFlow wrote, odd names and partitions and all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
tf = pytest.importorskip("tensorflow")
tf1 = tf.compat.v1
Run = Callable[..., str]
KINDS = ["float32", "float64", "int32", "uint8", "int16", "int8", "complex64", "int64", "bool", "bfloat16", "uint16", "complex128", "half"]
KINDS += ["uint32", "uint64", "float8_e5m2", "float8_e4m3fn"]


def every_kind() -> dict[str, Any]:
    made = {kind: tf.constant(numpy.arange(6).reshape(2, 3).astype(tf.as_dtype(kind).as_numpy_dtype)) for kind in KINDS}
    return made | {"scalar": tf.constant(3.5), "empty": tf.zeros((0, 3)), "text": tf.constant(["a", "", "é" * 300])}


def bits(value: Any) -> bytes:
    return numpy.ascontiguousarray(value).tobytes()


def saved(path: Path, tensors: dict[str, Any], slices: list[str] | None = None) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(path), tensor_names=list(tensors), shape_and_slices=slices or [""] * len(tensors), tensors=list(tensors.values())
    )


def loaded(path: Path) -> dict[str, Any]:
    reader = tf.train.load_checkpoint(str(path))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_every_kind_is_kept_through_an_edit_and_a_rebuild(tmp_path: Path, ckpt: Run) -> None:
    tensors = every_kind()
    saved(tmp_path / "a", tensors)
    ckpt("set", tmp_path / "a", "float32 += 1", "-i")
    ckpt("check", tmp_path / "a")
    ckpt("rename", tmp_path / "a", "scalar=skalar", "-o", tmp_path / "b")
    want = {name: bits(value) for name, value in tensors.items() if name != "text"} | {"float32": bits(tensors["float32"] + 1)}
    found = loaded(tmp_path / "a")
    assert {name: bits(value) for name, value in found.items() if name != "text"} == want
    again = loaded(tmp_path / "b")
    want["skalar"] = want.pop("scalar")
    assert {name: bits(value) for name, value in again.items() if name != "text"} == want
    assert list(found["text"]) == list(again["text"]) == [b"a", b"", ("é" * 300).encode()]


def test_a_new_bundle_from_another_format(tmp_path: Path, ckpt: Run) -> None:
    from safetensors.numpy import save_file

    arrays = {f"block.{i}.weight": numpy.random.default_rng(i).normal(size=(i + 1, 7)).astype("f4") for i in range(40)}
    save_file(arrays, tmp_path / "a.safetensors")
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "new.index")
    assert {name: bits(value) for name, value in loaded(tmp_path / "new").items()} == {name: bits(value) for name, value in arrays.items()}


def test_tied_names_are_read_by_both(tmp_path: Path, ckpt: Run) -> None:
    saved(tmp_path / "a", {"one": tf.range(6.0), "two": tf.range(6.0), "three": tf.zeros(2)})
    ckpt("tie", tmp_path / "a", "one", "two", "-i")
    ckpt("set", tmp_path / "a", "two = 4", "-i")
    found = loaded(tmp_path / "a")
    assert list(found["one"]) == list(found["two"]) == [4.0] * 6


@pytest.mark.parametrize("size", [1, 63, 64, 100, 9000])
def test_partitions_of_any_size_are_one_tensor(size: int, tmp_path: Path, ckpt: Run) -> None:
    """Slices of rows and of columns: their keys are numbers in several widths."""
    whole = numpy.arange(3.0 * 2 * size, dtype="f4").reshape(2 * size, 3)
    names, slices, tensors = [], [], []
    for name, cuts in {
        "rows": [(0, size, 0, 3), (size, size, 0, 3)],
        "grid": [(a, size, b, n) for a in (0, size) for b, n in ((0, 2), (2, 1))],
    }.items():
        for a, m, b, n in cuts:
            names.append(name)
            slices.append(f"{2 * size} 3 {a},{m}:{b},{n}" if n < 3 else f"{2 * size} 3 {a},{m}:-")
            tensors.append(tf.constant(whole[a : a + m, b : b + n]))
    tf.raw_ops.SaveV2(prefix=str(tmp_path / "a"), tensor_names=names, shape_and_slices=slices, tensors=tensors)
    ckpt("check", tmp_path / "a")
    ckpt("set", tmp_path / "a", f"rows[{size}, 1] = -7", f"grid[{size}, 1] = -7", "-i")
    whole[size, 1] = -7
    for path in (tmp_path / "a", tmp_path / "b"):
        if path.name == "b":
            ckpt("cast", tmp_path / "a", "float64", "-o", path)
        found = loaded(path)
        assert all(numpy.array_equal(found[name], whole) for name in ("rows", "grid"))


def test_a_rebuilt_checkpoint_is_restored_by_slices(tmp_path: Path, ckpt: Run) -> None:
    """What was saved in slices and is whole now gives each slice that is asked for."""
    whole = numpy.arange(12, dtype="f4").reshape(6, 2)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "a"), tensor_names=["w", "w"], shape_and_slices=["6 2 0,4:-", "6 2 4,2:-"], tensors=[whole[:4], whole[4:]]
    )
    ckpt("rename", tmp_path / "a", "w=v", "-i")
    found = tf.raw_ops.RestoreV2(prefix=str(tmp_path / "a"), tensor_names=["v"], shape_and_slices=["6 2 4,2:-"], dtypes=[tf.float32])
    assert numpy.array_equal(found[0], whole[4:])


def test_an_object_graph_restores_into_its_objects(tmp_path: Path, ckpt: Run) -> None:
    def network() -> Any:
        return tf.Module(), tf.Variable(tf.ones((3, 2))), tf.Variable(tf.zeros(2)), tf.Variable(5, dtype=tf.int64)

    def holder(parts: Any) -> Any:
        return tf.train.Checkpoint(kernel=parts[1], bias=parts[2], step=parts[3])

    path = holder(network()).save(str(tmp_path / "ckpt"))
    ckpt("set", path, "kernel[1, 1] = 42", "-i")
    parts = network()
    holder(parts).restore(path).assert_consumed()
    assert parts[1].numpy()[1, 1] == 42
    ckpt("reinit", path, "kernel=constant(3)", "-o", tmp_path / "new")
    holder(parts).restore(str(tmp_path / "new")).assert_consumed()
    assert (parts[1].numpy() == 3).all()
    ckpt("drop", path, "bias", "-i")
    holder(parts).restore(path).expect_partial()
    assert parts[3].numpy() == 5


def test_a_renamed_variable_is_still_that_of_its_object(tmp_path: Path, ckpt: Run) -> None:
    path = tf.train.Checkpoint(kernel=tf.Variable(tf.range(4.0))).save(str(tmp_path / "ckpt"))
    ckpt("rename", path, "kernel=core", "-i")
    target = tf.Variable(tf.zeros(4))
    tf.train.Checkpoint(kernel=target).restore(path).assert_existing_objects_matched()
    assert list(target.numpy()) == [0, 1, 2, 3] and "core/.ATTRIBUTES/VARIABLE_VALUE" in loaded(Path(path))


def test_keras_restores_a_model_and_its_optimizer(tmp_path: Path, ckpt: Run) -> None:
    import keras

    def network() -> Any:
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, name="one"), keras.layers.Dense(1, name="two")])
        model.compile(optimizer="adam", loss="mse")
        return model

    model = network()
    model.fit(numpy.ones((8, 4)), numpy.ones((8, 1)), verbose=0)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "k"))
    names = [line.split("\t")[0] for line in ckpt("ls", path).splitlines() if "\t4x8\t" in line]
    ckpt("set", path, *(f"{name} = 0.25" for name in names), "-i")
    fresh = network()
    fresh.optimizer.build(fresh.trainable_variables)
    tf.train.Checkpoint(model=fresh, optimizer=fresh.optimizer).restore(path).expect_partial()
    assert (fresh.layers[0].kernel.numpy() == 0.25).all()
    assert numpy.array_equal(fresh.layers[1].kernel.numpy(), model.layers[1].kernel.numpy())


def test_a_saved_model_is_edited(tmp_path: Path, ckpt: Run) -> None:
    class Net(tf.Module):
        def __init__(self) -> None:
            self.weight = tf.Variable(tf.ones((3, 1)))

        @tf.function(input_signature=[tf.TensorSpec((None, 3))])
        def __call__(self, x: Any) -> Any:
            return x @ self.weight

    tf.saved_model.save(Net(), str(tmp_path / "net"))
    ckpt("set", tmp_path / "net", "weight = 5", "-i")
    assert tf.saved_model.load(str(tmp_path / "net"))(tf.ones((1, 3))).numpy().tolist() == [[15.0]]


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_savers_of_both_versions(version: str, tmp_path: Path, ckpt: Run) -> None:
    with tf.Graph().as_default(), tf1.Session() as session:
        values = {
            "a/w": numpy.arange(-6, 6, dtype="f4").reshape(4, 3),
            "a/b": numpy.array([-1, 0, 300], "i4"),
            "h": numpy.array([0.5, -2], "f2"),
        }
        values |= {"flag": numpy.array([True, False]), "long": numpy.array([-1, 1 << 60]), "c": numpy.array([1 + 2j], "c16")}
        variables = {name: tf1.get_variable(name, initializer=value, use_resource=False) for name, value in values.items()}
        table = tf1.get_variable("table", (7, 2), partitioner=tf1.fixed_size_partitioner(3), use_resource=False)
        session.run(tf1.global_variables_initializer())
        values["table"] = session.run(tf.convert_to_tensor(table))
        saver = tf1.train.Saver(write_version=getattr(tf1.train.SaverDef, version))
        path = saver.save(session, str(tmp_path / "model"), write_meta_graph=False)
        ckpt("check", path)
        ckpt("set", path, "a/w[1, 1] = 7", "-o", tmp_path / "new.index")
        values["a/w"][1, 1] = 7
        found = loaded(tmp_path / "new")
        assert {name: bits(value) for name, value in found.items()} == {name: bits(value) for name, value in values.items()}
        saver.restore(session, str(tmp_path / "new"))
        assert session.run(variables["a/w"])[1, 1] == 7


@pytest.mark.parametrize("name", ["a b", "a.b/c", "é🙂", "x" * 3000, "w:0", "[0]", "-", "a/.ATTRIBUTES/VARIABLE_VALUE", "0\x01"])
def test_odd_names(name: str, tmp_path: Path, ckpt: Run) -> None:
    saved(tmp_path / "a", {name: tf.range(3.0), "other": tf.zeros(1)}, ["3 0,3" if len(name) < 9 else "", ""])
    ckpt("set", tmp_path / "a", "other = 1", "-i")
    ckpt("convert", tmp_path / "a", tmp_path / "b.index")
    for path in ("a", "b"):
        found = loaded(tmp_path / path)
        assert list(found[name]) == [0, 1, 2] and list(found["other"]) == [1]


def test_many_tensors(tmp_path: Path, ckpt: Run) -> None:
    """An index of several blocks."""
    tensors = {f"{'deep/' * 20}{i:05d}/{'n' * (i % 50)}": tf.fill((i % 4,), float(i)) for i in range(5000)}
    saved(tmp_path / "a", tensors)
    ckpt("check", tmp_path / "a")
    ckpt("convert", tmp_path / "a", tmp_path / "b.index")
    assert {name: bits(value) for name, value in loaded(tmp_path / "b").items()} == {name: bits(value) for name, value in tensors.items()}
