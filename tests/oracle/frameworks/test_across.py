"""One network as the frameworks save it, carried across by a ready map, is the same to the last bit; what `ckpt new` writes is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

Run = Callable[..., str]
Arrays = dict[str, Any]
L = keras.layers


def mlp() -> Any:
    return keras.Sequential([keras.Input((4,)), L.Dense(8, activation="relu"), L.Dense(1)])


def image() -> Any:
    return keras.Sequential(
        [
            keras.Input((6, 7, 3)),
            L.Conv2D(5, (3, 2)),
            L.BatchNormalization(),
            L.DepthwiseConv2D(3, depth_multiplier=2),
            L.Flatten(),
            L.Dense(2),
        ]
    )


def up() -> Any:
    return keras.Sequential([keras.Input((4, 4, 3)), L.Conv2DTranspose(5, 2)])


def text() -> Any:
    return keras.Sequential([keras.Input((7,)), L.Embedding(50, 6), L.Conv1D(4, 2, use_bias=False), L.LayerNormalization(), L.LSTM(3)])


def state_dict(model: Any) -> Arrays:
    """What torch's layers would hold to compute the same: their names by number, their layouts as torch.nn documents them."""
    held: Arrays = {}
    with_weights = [layer for layer in model.layers if layer.weights]
    for number, layer in enumerate(with_weights):
        held |= {f"{number}.{name}": array for name, array in OF[type(layer).__name__](*layer.get_weights()).items()}
    return {name: np.array(array, order="C") for name, array in held.items()}


def normalised(gamma: Any, beta: Any, *running: Any) -> Arrays:
    statistics = {"running_mean": running[0], "running_var": running[1], "num_batches_tracked": np.array(0)} if running else {}
    return {"weight": gamma, "bias": beta} | statistics


def convolved(kernel: Any, *bias: Any) -> Arrays:
    """H×W×in×out to out×in×H×W, in one axis or two."""
    return {"weight": np.moveaxis(kernel, (-1, -2), (0, 1))} | dict(zip(("bias",), bias, strict=False))


def recurrent(kernel: Any, own: Any, bias: Any) -> Arrays:
    return {"weight_ih_l0": kernel.T, "weight_hh_l0": own.T, "bias_ih_l0": bias, "bias_hh_l0": np.zeros_like(bias)}


OF: dict[str, Callable[..., Arrays]] = {
    "Dense": lambda kernel, bias: {"weight": kernel.T, "bias": bias},
    "Conv2D": convolved,
    "Conv1D": convolved,
    "Conv2DTranspose": convolved,  # H×W×out×in to in×out×H×W
    "DepthwiseConv2D": lambda kernel, bias: {"weight": kernel.reshape(*kernel.shape[:2], -1).transpose(2, 0, 1)[:, None], "bias": bias},
    "Embedding": lambda table: {"weight": table},
    "BatchNormalization": normalised,
    "LayerNormalization": normalised,
    "LSTM": recurrent,
}


def drawn(make: Callable[[], Any]) -> Any:
    """With no weight at its default."""
    model, rng = make(), np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, each.shape).astype("f4") for each in model.get_weights()])
    return model


def saved(model: Any, folder: Path, how: str) -> Path:
    if how == "checkpoint":
        return Path(tf.train.Checkpoint(model=model).save(str(folder / "model")))
    path = folder / f"model{how}"
    model.save_weights(path) if how == ".weights.h5" else model.save(path)
    return path


@pytest.mark.parametrize("how", [".weights.h5", ".keras", ".h5", "checkpoint"])
@pytest.mark.parametrize("make", [mlp, image, up, text])
def test_what_keras_saved_is_torchs_to_the_last_bit_and_back(make: Callable[[], Any], how: str, tmp_path: Path, ckpt: Run) -> None:
    model = drawn(make)
    path, like, out = saved(model, tmp_path, how), tmp_path / "like.safetensors", tmp_path / "out.safetensors"
    want = state_dict(model)
    save_file({name: np.zeros_like(array) for name, array in want.items()}, like)
    framework = "tensorflow" if how == "checkpoint" else "keras"
    ckpt("convert", path, out, "--map", f"{framework}-to-torch", "--like", like)
    found = load_file(out)
    assert {name: (array.dtype, array.shape, array.tobytes()) for name, array in found.items()} == {
        name: (array.dtype, array.shape, array.tobytes()) for name, array in want.items()
    }
    assert ckpt("diff", path, out, "--map", f"{framework}-to-torch") == ""
    back = tmp_path / "back.weights.h5"
    like = path if how != "checkpoint" else saved(model, tmp_path, ".weights.h5")
    ckpt("convert", out, back, "--map", "torch-to-keras", "--like", like)
    if how != ".h5":  # else it has the names of Keras 2
        fresh = make()
        fresh.load_weights(back)
        assert all(one.tobytes() == two.tobytes() for one, two in zip(fresh.get_weights(), model.get_weights(), strict=True))


def test_the_chapters_network_is_one_in_all_files_of_the_frameworks(tmp_path: Path, ckpt: Run) -> None:
    model = drawn(mlp)
    one, two = saved(model, tmp_path, ".weights.h5"), saved(model, tmp_path, "checkpoint")
    assert ckpt("diff", one, two, "--map", "keras-to-tensorflow") == ckpt("diff", two, one, "--map", "tensorflow-to-keras") == ""
    ckpt("convert", one, tmp_path / "gluon.params", "--map", "keras-to-mxnet")
    assert ckpt("diff", tmp_path / "gluon.params", two, "--map", "mxnet-to-tensorflow") == ""


def nested() -> Any:
    blocks = [keras.Sequential([L.Dense(8, activation="relu"), L.Dense(4, activation="relu")]) for _ in range(4)]
    return keras.Sequential([keras.Input((4,)), keras.Sequential(blocks), L.Dense(1)])


def shared_mlp() -> Any:
    inputs, shared = keras.Input((4,)), L.Dense(8, activation="relu")
    return keras.Model(inputs, L.Dense(1)(shared(shared(L.Dense(8, activation="relu")(inputs)))))


class Fancy(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = L.Dense(20, activation="relu")

    def build(self, shape: Any) -> None:
        self.dense.build(shape)
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


def fancy_mlp() -> Any:
    model = Fancy()
    model.build((2, 20))
    return model


@pytest.mark.parametrize("make", [mlp, nested, shared_mlp, fancy_mlp])
def test_a_new_network_of_the_chapter_is_loaded_by_keras(make: Callable[[], Any], tmp_path: Path, ckpt: Run) -> None:
    path = tmp_path / "new.weights.h5"
    ckpt("new", make.__name__.replace("_", "-"), "--framework", "keras", "--seed", 0, "-o", path)
    model = make()
    model.load_weights(path)
    ckpt("convert", path, tmp_path / "new.safetensors")
    held = [array.tobytes() for array in load_file(tmp_path / "new.safetensors").values()]
    assert sorted(each.tobytes() for each in model.get_weights()) == sorted(held)


@pytest.mark.parametrize("network", ["mlp", "nested", "shared-mlp", "fancy-mlp"])
def test_a_new_network_of_the_chapter_is_restored_by_tensorflow(network: str, tmp_path: Path, ckpt: Run) -> None:
    """By the variables' names: it has no graph of objects."""
    path = tmp_path / "new"
    ckpt("new", network, "--framework", "tensorflow", "--seed", 0, "-o", f"{path}.index")
    shapes = tf.train.load_checkpoint(str(path)).get_variable_to_shape_map()
    variables = [tf.Variable(tf.fill(shape, 9.0), name=name) for name, shape in shapes.items()]
    tf.train.Checkpoint(variables=variables).restore(str(path)).assert_existing_objects_matched().initialize_or_restore()
    ckpt("convert", path, tmp_path / "new.safetensors")
    held = load_file(tmp_path / "new.safetensors")
    assert {each.name.removesuffix(":0"): each.numpy().tobytes() for each in variables} == {name: held[name].tobytes() for name in held}
