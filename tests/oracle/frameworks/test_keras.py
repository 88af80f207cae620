"""Keras as the judge of its formats: it loads what ckpt wrote, with the same bits; and a preset draws what its layers draw."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np
import pytest

Run = Callable[..., str]
L = keras.layers


def everything() -> Any:
    """A functional model of most layers that have variables."""
    inputs = keras.Input((8, 6))
    x = L.LSTM(4, return_sequences=True)(inputs)
    x = L.Bidirectional(L.GRU(3, return_sequences=True))(x)
    x = L.TimeDistributed(L.Dense(5, activation="relu"))(x)
    x = L.MultiHeadAttention(2, 4)(x, x)
    x = L.BatchNormalization()(L.LayerNormalization()(x))
    x = L.PReLU()(L.SeparableConv1D(4, 2)(x)) + 1.0
    x = L.SimpleRNN(3)(L.Conv1D(5, 2, use_bias=False)(x))
    return keras.Model(inputs, L.Dense(2, name="head")(L.Dropout(0.5)(x)))


def nested() -> Any:
    blocks = [keras.Sequential([L.Dense(8, activation="relu"), L.Dense(4, activation="relu")], name=f"block_{i}") for i in range(3)]
    return keras.Sequential([keras.Input((4,)), keras.Sequential(blocks, name="inner"), L.Dense(1)])


def shared() -> Any:
    inputs, twice = keras.Input((4,)), L.Dense(4, name="shared")
    return keras.Model(inputs, L.Dense(1)(twice(L.ReLU()(twice(L.Dense(4)(inputs))))))


def image() -> Any:
    layers = [L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU(), L.DepthwiseConv2D(3), L.GroupNormalization(2), L.Flatten(), L.Dense(2)]
    return keras.Sequential([keras.Input((8, 8, 3)), L.Rescaling(1 / 255), *layers])


def text() -> Any:
    return keras.Sequential([keras.Input((7,)), L.Embedding(50, 6), L.GRU(4), L.Dense(3)])


MODELS = {make.__name__: make for make in (everything, nested, shared, image, text)}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
every_suffix = pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])


def trained(make: Callable[[], Any]) -> Any:
    keras.utils.set_random_seed(0)
    model = make()
    model.compile("adam", "mse")
    shape = model.input_shape[1:]
    data = np.random.default_rng(0).integers(0, 5, (8, *shape)).astype("float32")
    model.fit(data, np.zeros((8, *model.output_shape[1:])), verbose=0)
    return model


def saved(model: Any, path: Path) -> Path:
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return path


def loaded(path: Path, make: Callable[[], Any]) -> Any:
    # Keras 3 takes the operation + in a .h5 of its own for the layer Add, and fails: it loads the weights of that one alone.
    if path.name.endswith(".weights.h5") or (path.suffix == ".h5" and make is everything):
        model = make()
        model.load_weights(path)
        return model
    return keras.models.load_model(path, compile=path.suffix == ".keras")  # "mse" in a .h5 is a name that Keras 3 no longer finds


def same(one: list[Any], two: list[Any]) -> bool:
    return len(one) == len(two) and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@every_suffix
@every_model
def test_an_edited_file_is_loaded_with_that_edit_alone(make: Callable[[], Any], suffix: str, tmp_path: Path, ckpt: Run) -> None:
    model = trained(make)
    path = saved(model, tmp_path / f"m{suffix}")
    name = ckpt("ls", path).split("\t")[0]
    ckpt("set", path, f"{name} *= 2", "-i")
    want = model.get_weights()
    after = loaded(path, make).get_weights()
    changed = [not np.array_equal(a, b) for a, b in zip(want, after, strict=True)]
    assert sum(changed) == 1 and np.array_equal(after[changed.index(True)], want[changed.index(True)] * 2)


@every_suffix
@every_model
def test_a_rebuilt_file_is_loaded_with_the_same_bits(make: Callable[[], Any], suffix: str, tmp_path: Path, ckpt: Run) -> None:
    model = trained(make)
    path, out = saved(model, tmp_path / f"m{suffix}"), tmp_path / f"out{suffix}"
    names = [line.split("\t")[0] for line in ckpt("ls", path).splitlines()]
    ckpt("rename", path, f"{names[0]}=elsewhere", "-o", tmp_path / f"renamed{suffix}")
    ckpt("rename", tmp_path / f"renamed{suffix}", f"elsewhere={names[0]}", "-o", out)
    after = loaded(out, make)
    assert same(after.get_weights(), model.get_weights())
    if suffix == ".keras":
        assert same([v.numpy() for v in after.optimizer.variables], [v.numpy() for v in model.optimizer.variables])


@every_model
def test_weights_that_went_through_other_formats_are_loaded_with_the_same_bits(make: Callable[[], Any], tmp_path: Path, ckpt: Run) -> None:
    model = trained(make)
    for suffix in (".keras", ".weights.h5"):
        ckpt("convert", saved(model, tmp_path / f"m{suffix}"), tmp_path / f"a{suffix}.safetensors")
        ckpt("convert", tmp_path / f"a{suffix}.safetensors", tmp_path / f"b{suffix}.weights.h5")
        assert same(loaded(tmp_path / f"b{suffix}.weights.h5", make).get_weights(), model.get_weights())


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@every_model
def test_the_order_of_the_list_is_that_of_get_weights(make: Callable[[], Any], suffix: str, tmp_path: Path, ckpt: Run) -> None:
    model = trained(make)
    path = saved(model, tmp_path / f"m{suffix}")
    rows = [line.split("\t") for line in ckpt("ls", path).splitlines()]
    shapes = ["x".join(map(str, weights.shape)) for weights in model.get_weights()]
    in_model = [row for row in rows if not row[0].startswith("optimizer") and row[1] == "float32"]
    assert [row[2] for row in in_model] == shapes
    digests = {line.split("\t")[1]: line.split("\t")[0] for line in ckpt("hash", path).splitlines()}
    assert [digests[row[0]] for row in in_model] == [hashlib.sha256(weights.tobytes()).hexdigest() for weights in model.get_weights()]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@every_model
def test_the_summary_has_the_layers_and_counts_of_model_summary(make: Callable[[], Any], suffix: str, tmp_path: Path, ckpt: Run) -> None:
    model = trained(make)
    sheet = json.loads(ckpt("summary", saved(model, tmp_path / f"m{suffix}"), "--json"))
    top = [(row["path"], row["type"]) for row in sheet["layers"] if row["path"] and "/" not in row["path"]]
    assert top == [(layer.name, type(layer).__name__) for layer in model.layers]
    for layer in model.layers:
        inside = [row for row in sheet["layers"] if row["path"] == layer.name or row["path"].startswith(f"{layer.name}/")]
        assert sum(row["params"] + row["buffers"] for row in inside) == layer.count_params()
    assert sheet["params"] + sheet["buffers"] == model.count_params()


@every_suffix
@every_model
def test_the_preset_draws_what_the_layers_draw(make: Callable[[], Any], suffix: str, tmp_path: Path, ckpt: Run) -> None:
    """Where Keras draws a constant, the same; where it draws at random, numbers of the same limits, or the same orthogonality."""
    path = saved(trained(make), tmp_path / f"m{suffix}")
    ckpt("reinit", path, "--preset", "keras", "--seed", "0", "-i")
    keras.utils.set_random_seed(1)
    for drawn, fresh in zip(loaded(path, make).weights, make().weights, strict=True):
        ours, theirs = drawn.numpy(), fresh.numpy()
        if np.unique(theirs).size <= 2:
            assert np.array_equal(ours, theirs), drawn.path
        elif drawn.path.endswith("recurrent_kernel"):
            gram = ours @ ours.T if ours.shape[0] <= ours.shape[1] else ours.T @ ours
            assert np.allclose(gram, np.eye(len(gram)), atol=1e-5), drawn.path
        else:
            limit = limit_of(fresh)
            assert abs(ours).max() <= limit * (1 + 1e-6) and not np.array_equal(ours, theirs), drawn.path
            assert ours.size < 20 or abs(ours).max() > 0.7 * limit, drawn.path


def limit_of(variable: Any) -> float:
    """The limit of the uniform distribution that Keras draws a variable from."""
    if "embedding" in variable.path:
        return 0.05
    from keras.src.initializers.random_initializers import compute_fans

    return float(np.sqrt(6 / sum(compute_fans(tuple(variable.shape)))))


# Legacy .h5, which is loaded by the lists of names in it


def legacy(tmp_path: Path) -> tuple[Any, Path, list[str]]:
    """A trained model of several layers, its weights in a legacy .h5, and their names in the file."""
    from keras.src.legacy.saving import legacy_h5_format

    model, path = trained(image), tmp_path / "legacy.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    with h5py.File(path) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return model, path, names


def test_a_legacy_file_with_other_names_is_loaded_with_the_same_bits(tmp_path: Path, ckpt: Run) -> None:
    model, path, names = legacy(tmp_path)
    ckpt("rename", path, "*conv2d*=a_*stem*", "*dense*=zz*head*", "-i")
    after = image()
    after.load_weights(path)
    assert same(after.get_weights(), model.get_weights())
    assert not any(name in ckpt("ls", path) for name in names if "conv2d" in name)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_legacy_file_without_its_last_layer_is_loaded_by_order_and_by_name(by_name: bool, tmp_path: Path, ckpt: Run) -> None:
    model, path, names = legacy(tmp_path)
    head = next(name.split("/")[0] for name in names if "dense" in name)
    ckpt("drop", path, f"{head}/*", "-i")
    if by_name:  # the model has the layer, which stays as it was drawn
        after = keras.models.clone_model(model)
        after.load_weights(path, by_name=True)
        assert same(after.get_weights()[:-2], model.get_weights()[:-2]) and not same(after.get_weights()[-2:-1], model.get_weights()[-2:-1])
    else:
        after = keras.Sequential([keras.Input((8, 8, 3)), *keras.models.clone_model(model).layers[:-1]])
        after.load_weights(path)
        assert same(after.get_weights(), model.get_weights()[:-2])


# Sharded weights


@every_model
def test_sharded_weights_are_loaded_with_the_same_bits(make: Callable[[], Any], tmp_path: Path, ckpt: Run) -> None:
    model = trained(make)
    kept, divided, one = tmp_path / "kept.weights.json", tmp_path / "divided.weights.json", saved(model, tmp_path / "one.weights.h5")
    model.save_weights(kept, max_shard_size=4000 / 1024**3)
    assert ckpt("diff", kept, one) == ""
    ckpt("convert", one, divided, "--shard-size", "3000B")
    name = ckpt("ls", kept).split("\t")[0]
    ckpt("set", kept, f"{name} *= 2", "-i")
    ckpt("convert", kept, tmp_path / "elsewhere.weights.json")
    for path, changes in ((divided, 0), (kept, 1), (tmp_path / "elsewhere.weights.json", 1)):
        after = make()
        after.load_weights(path)
        assert sum(not np.array_equal(a, b) for a, b in zip(model.get_weights(), after.get_weights(), strict=True)) == changes
