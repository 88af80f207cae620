"""Legacy .h5 of Keras: the lists of names by which Keras loads a file follow the tensors, through every rename and drop."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import Ckpt

LAYERS = {
    "flatten": [],
    "conv1": ["net/conv1/kernel", "net/conv1/bias"],
    "block/dense": ["block/dense/kernel:0", "block/dense/bias:0"],
    "bn1": ["net/bn1/gamma", "net/bn1/beta", "net/bn1/moving_mean", "net/bn1/moving_variance"],
    "predictions": ["net/predictions/kernel", "net/predictions/bias"],
}
OPTIMIZER = ["adam/iteration", "adam/conv1_kernel_m"]


def put(group: h5py.Group, name: str, texts: Sequence[str], fixed: bool) -> None:
    """A list as Keras writes it: nothing is an empty array of floats; Keras 2 has texts of one length, Keras 3 of any."""
    group.attrs[name] = np.array([text.encode() for text in texts], "S" if fixed and texts else None) if fixed or not texts else list(texts)


def written(path: Path, root: str, fixed: bool) -> Path:
    """A file as save_weights_to_hdf5_group of Keras lays it out, in `root`."""
    with h5py.File(path, "w") as file:
        top = file.require_group(root) if root else file
        put(top, "layer_names", list(LAYERS), fixed)
        top.attrs["keras_version"], number = "3.15.1", 0
        for layer, weights in {**LAYERS, "top_level_model_weights": []}.items():
            group = top.create_group(layer)
            put(group, "weight_names", weights, fixed)
            for weight in weights:
                group[weight], number = np.full(3, number, "f4"), number + 1
        if root:
            group = file.create_group("optimizer_weights")
            put(group, "weight_names", OPTIMIZER, fixed)
            for weight in OPTIMIZER:
                group[weight], number = np.full(2, number, "f4"), number + 1
    return path


@pytest.fixture(params=[("", True), ("", False), ("model_weights", True), ("model_weights", False)], ids=str)
def legacy(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    root, fixed = request.param
    return written(tmp_path / "weights.h5", root, fixed), f"{root}/" if root else ""


def texts(group: h5py.Group, name: str) -> list[str]:
    """A list as load_attributes_from_hdf5_group of Keras reads it."""
    parts = [name] if name in group.attrs else [f"{name}{part}" for part in range(len(group.attrs)) if f"{name}{part}" in group.attrs]
    return [text.decode() if isinstance(text, bytes) else text for part in parts for text in group.attrs[part]]


def loaded(path: Path, root: str) -> dict[str, dict[str, float]]:
    """The layers and their weights, each with its first element, as Keras finds them: each name is a group, or a dataset."""
    with h5py.File(path) as file:
        top = file[root] if root else file
        layers = {layer: top[layer] for layer in [*texts(top, "layer_names"), "top_level_model_weights"] if layer in top}
        assert all(isinstance(group, h5py.Group) for group in layers.values())
        found = {layer: {weight: float(group[weight][0]) for weight in texts(group, "weight_names")} for layer, group in layers.items()}
        if root:
            group = file["optimizer_weights"]
            found["optimizer"] = {weight: float(group[weight][0]) for weight in texts(group, "weight_names")}
        listed = sum(len(weights) for weights in found.values())
        assert listed == len(datasets(file)), "a dataset is not listed"
    return {layer: weights for layer, weights in found.items() if layer != "top_level_model_weights"}


def datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


Change = Callable[[dict[str, dict[str, float]]], dict[str, dict[str, float]]]


def renamed(old: str, new: str) -> Change:
    """The layer of that name is called anew, and so is every part `old` of the names of its weights."""

    def change(layers: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        inner = {weight.replace(old, new): value for weight, value in layers[old].items()}
        return {new if name == old else name: inner if name == old else weights for name, weights in layers.items()}

    return change


def without(layer: str, *weights: str) -> Change:
    def change(layers: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        left = {weight: value for weight, value in layers[layer].items() if weight not in weights}
        changed = {name: left if name == layer else each for name, each in layers.items()}
        return changed if weights and left else {name: each for name, each in changed.items() if name != layer}

    return change


def called(**names: str) -> Change:
    """Layers of other names; those of their weights stay."""
    return lambda layers: {names.get(name.replace("/", "_"), name): each for name, each in layers.items()}


SWAPPED = ["{root}conv1/*={root}x/*", "{root}predictions/*={root}conv1/*", "{root}x/*={root}predictions/*"]
MOVED = {"conv1": {"net/conv1/kernel": 0.0}, "bn1": {"net/bn1/bias": 1.0, **{name: 4.0 + k for k, name in enumerate(LAYERS["bn1"])}}}
EDITS: dict[str, tuple[list[str], Change]] = {
    "a whole layer": (["rename", "{root}conv1/net/conv1/*={root}stem/net/stem/*"], renamed("conv1", "stem")),
    "a layer, with an expression": (["rename", r"re:(^|/)conv1/=\1stem/", "re:/conv1/=/stem/"], renamed("conv1", "stem")),
    "a layer of two parts": (["rename", "{root}block/dense/block/*={root}block/head/block/*"], called(block_dense="block/head")),
    "the group alone": (["rename", "{root}conv1/*={root}stem/*"], called(conv1="stem")),
    "one weight": (
        ["rename", "{root}conv1/net/conv1/kernel={root}conv1/net/conv1/weight"],
        lambda layers: layers | {"conv1": {"net/conv1/weight": 0, "net/conv1/bias": 1}},
    ),
    "one weight into another layer": (
        ["rename", "{root}conv1/net/conv1/bias={root}bn1/net/bn1/bias"], lambda layers: layers | MOVED,
    ),
    "two layers that change places": (["rename", *SWAPPED], called(conv1="predictions", predictions="conv1")),
    "a weight dropped": (["drop", "{root}bn1/net/bn1/moving_mean"], without("bn1", "net/bn1/moving_mean")),
    "a layer dropped": (["drop", "{root}predictions/*"], without("predictions")),
    "a layer of two parts dropped": (["drop", "{root}block/*"], without("block/dense")),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_each_listed_layer_is_a_group_and_each_listed_weight_a_dataset_in_the_old_order(
    edit: str, legacy: tuple[Path, str], tmp_path: Path, ckpt: Ckpt
) -> None:
    path, root = legacy
    (verb, *arguments), change = EDITS[edit]
    before = loaded(path, root)
    ckpt(verb, path, *[argument.format(root=root) for argument in arguments], "-o", tmp_path / "out.h5")
    after = loaded(tmp_path / "out.h5", root)
    assert after == change(before) and list(after) == list(change(before))
    assert [list(weights) for weights in after.values()] == [list(weights) for weights in change(before).values()]
    ckpt(verb, path, *[argument.format(root=root) for argument in arguments], "-i")
    assert path.read_bytes() == (tmp_path / "out.h5").read_bytes()


def test_a_dropped_layer_leaves_no_empty_group_and_layers_without_weights_stay(legacy: tuple[Path, str], ckpt: Ckpt) -> None:
    path, root = legacy
    ckpt("drop", path, f"{root}predictions/*", "-i")
    with h5py.File(path) as file:
        assert f"{root}predictions" not in file and f"{root}flatten" in file and f"{root}top_level_model_weights" in file


def test_a_weight_that_went_to_no_layer_finds_its_place_again(legacy: tuple[Path, str], tmp_path: Path, ckpt: Ckpt) -> None:
    path, root = legacy
    before = loaded(path, root)
    ckpt("rename", path, f"{root}conv1/net/conv1/kernel=elsewhere", "-o", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert texts(file[f"{root}conv1"], "weight_names") == ["net/conv1/bias"]
    ckpt("rename", tmp_path / "a.h5", f"elsewhere={root}conv1/net/conv1/kernel", "-i")
    assert loaded(tmp_path / "a.h5", root) == before


def test_a_conversion_to_a_new_file_has_right_lists(legacy: tuple[Path, str], tmp_path: Path, ckpt: Ckpt) -> None:
    path, root = legacy
    before = loaded(path, root)
    ckpt("convert", path, tmp_path / "all.h5")
    assert loaded(tmp_path / "all.h5", root) == before
    optimizer = ["--select", "optimizer_weights/*"] if root else []
    ckpt("convert", path, tmp_path / "some.h5", "--select", f"{root}bn1/*", *optimizer, "--rename", f"{root}bn1/*={root}norm/*")
    want = {"flatten": {}, "norm": before["bn1"]} | ({"optimizer": before["optimizer"]} if root else {})
    assert loaded(tmp_path / "some.h5", root) == want
    ckpt("convert", path, tmp_path / "a.safetensors")
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "plain.h5")
    assert ckpt("diff", path, tmp_path / "plain.h5").out == ""


def test_the_optimizers_list_follows_too(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(tmp_path / "m.h5", "model_weights", True)
    ckpt("rename", path, "optimizer_weights/adam/conv1_kernel_m=optimizer_weights/adam/stem_kernel_m", "-i")
    assert list(loaded(path, "model_weights/")["optimizer"]) == ["adam/iteration", "adam/stem_kernel_m"]
    ckpt("drop", path, "optimizer_weights/*", "-i")
    with h5py.File(path) as file:
        assert "optimizer_weights" not in file


@pytest.mark.parametrize("count", [1, 1300])
def test_a_list_of_over_64_kb_is_divided_as_keras_does_and_grows_and_shrinks(count: int, tmp_path: Path, ckpt: Ckpt) -> None:
    path, names = tmp_path / "long.h5", [f"{'layer' * 12}_{number:04}/kernel" for number in range(count)]
    with h5py.File(path, "w") as file:
        group = file.create_group("one")
        file.attrs["layer_names"] = [b"one"]
        parts = np.array_split(np.array(names, "S"), 2 if count > 1 else 1)
        for number, part in enumerate(parts):
            group.attrs[f"weight_names{number}" if count > 1 else "weight_names"] = part
        for number, name in enumerate(names):
            group[name] = np.float32(number)
    ckpt("rename", path, f"one/*=one/{'renamed' * 8}_*", "-i")
    with h5py.File(path) as file:
        found = texts(file["one"], "weight_names")
        assert found == [f"{'renamed' * 8}_{name}" for name in names] and [file["one"][name][()] for name in found] == list(range(count))
        assert all(attribute.nbytes <= 64512 for attribute in map(np.asarray, file["one"].attrs.values()))
        assert ("weight_names2" in file["one"].attrs) == (count > 1) and ("weight_names" in file["one"].attrs) == (count == 1)
    if count > 1:
        ckpt("drop", path, "one/*_0[1-9]*", "one/*_1*", "-i")
        with h5py.File(path) as file:
            assert list(file["one"].attrs) == ["weight_names"] and len(texts(file["one"], "weight_names")) == 100


def test_ties_stay_ties_and_both_names_are_listed(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(tmp_path / "w.h5", "", False)
    with h5py.File(path, "a") as file:
        file["tied/w"] = file["conv1/net/conv1/kernel"]
        file["tied"].attrs["weight_names"] = ["w"]
        file.attrs["layer_names"] = [*texts(file, "layer_names"), "tied"]
    ckpt("rename", path, "tied/w=a/w", "conv1/net/*=stem/net/*", "-i")
    with h5py.File(path) as file:
        assert file["a/w"] == file["stem/net/conv1/kernel"]
        assert texts(file, "layer_names") == ["flatten", "stem", *list(LAYERS)[2:], "a"] and texts(file["a"], "weight_names") == ["w"]
    ckpt("drop", path, "stem/net/conv1/kernel", "-i")
    with h5py.File(path) as file:
        assert texts(file["stem"], "weight_names") == ["net/conv1/bias"] and file["a/w"][0] == 0


def test_groups_of_keras_3_take_their_attributes_along(tmp_path: Path, ckpt: Ckpt, case: Callable[[str], Path]) -> None:
    path = Path(shutil.copy(case("reports/keras-shards/right.weights.h5"), tmp_path / "a.weights.h5"))
    path.chmod(0o600)
    ckpt("rename", path, "layers/dense/*=layers/dense_7/*", "-i")
    ckpt("drop", path, "layers/dense_2/*", "-i")
    with h5py.File(path) as file:
        assert set(file["layers"]) == {"dense_1", "dense_7"} and file["layers/dense_7/vars"].attrs["name"] == "a"
        assert file["vars"].attrs["name"] == "sequential_2"


def test_the_reported_file(case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    """keras#5509."""
    source, out = case("reports/keras-h5-names/weights.h5"), tmp_path / "out.h5"
    ckpt("rename", source, "conv1/sequential/conv1/*=stem/sequential/stem/*", "-o", out)
    ckpt("drop", out, "predictions/*", "-i")
    with h5py.File(out) as file:
        assert texts(file, "layer_names") == ["stem", "bn1"] and set(file) == {"stem", "bn1", "top_level_model_weights"}
        assert texts(file["stem"], "weight_names") == ["sequential/stem/kernel", "sequential/stem/bias"]
        assert file.attrs["keras_version"] == "3.15.1" and file.attrs["backend"] == "torch"
    before: Any = h5py.File(source)
    with before, h5py.File(out) as after:
        assert np.array_equal(before["conv1/sequential/conv1/kernel"], after["stem/sequential/stem/kernel"])
