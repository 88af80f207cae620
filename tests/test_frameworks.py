"""`ckpt new --framework`: the chapter's networks as Keras, TensorFlow and Gluon name them, lay them out and draw them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import CASES, Ckpt
from oracles import all_bits, loaded

FRAMEWORKS = ["keras", "tensorflow", "mxnet"]
NETWORKS = ["mlp", "nested", "shared-mlp", "fancy-mlp"]


def fresh(ckpt: Ckpt, folder: Path, *args: object) -> dict[str, torch.Tensor]:
    path = folder / "new.pt"
    ckpt("new", *args, "-o", path, "--force")
    return loaded(path)


# What each framework calls them: by what it wrote (keras3/rgnet, mxnet/tied, mxnet/fancy, tf2_10/plain_tf among the real checkpoints).
NAMES = [
    ("keras", ("mlp",), {"layers/dense/vars/0": (4, 8), "layers/dense/vars/1": (8,),
                         "layers/dense_1/vars/0": (8, 1), "layers/dense_1/vars/1": (1,)}),
    ("keras", ("shared-mlp",), {f"layers/dense{k}/vars/{v}": shape for k, sizes in (("", (4, 8)), ("_1", (8, 8)), ("_2", (8, 1)))
                                for v, shape in ((0, sizes), (1, sizes[1:]))}),
    ("keras", ("fancy-mlp",), {"dense/vars/0": (20, 20), "dense/vars/1": (20,)}),
    ("tensorflow", ("mlp", "hidden=5"), {"layer_with_weights-0/kernel": (4, 5), "layer_with_weights-0/bias": (5,),
                                        "layer_with_weights-1/kernel": (5, 1), "layer_with_weights-1/bias": (1,)}),
    ("tensorflow", ("shared-mlp",), {f"layer_with_weights-{k}/{v}": shape for k, sizes in enumerate(((4, 8), (8, 8), (8, 1)))
                                     for v, shape in (("kernel", sizes), ("bias", sizes[1:]))}),
    ("mxnet", ("mlp",), {"0.weight": (8, 4), "0.bias": (8,), "1.weight": (1, 8), "1.bias": (1,)}),
    ("mxnet", ("shared-mlp",), {f"{k}.{v}": shape for k, sizes in enumerate(((8, 4), (8, 8), (8, 8), (1, 8)))
                                for v, shape in (("weight", sizes), ("bias", sizes[:1]))}),
    ("mxnet", ("fancy-mlp",), {"rand_weight": (20, 20), "dense.weight": (20, 20), "dense.bias": (20,)}),
    ("mxnet", ("fancy-mlp", "buffer=false"), {"dense.weight": (20, 20), "dense.bias": (20,)}),
]  # fmt: skip


@pytest.mark.parametrize(("framework", "args", "want"), NAMES, ids=str)
def test_names_and_shapes(framework: str, args: tuple[str, ...], want: dict[str, tuple[int, ...]], tmp_path: Path, ckpt: Ckpt) -> None:
    found = fresh(ckpt, tmp_path, *args, "--framework", framework)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == want


@pytest.mark.parametrize(
    ("framework", "network", "case"),
    [
        ("keras", "mlp", "keras3__plain.weights.h5"),
        ("keras", "nested", "keras3__rgnet.keras"),
        ("keras", "shared-mlp", "keras3__tied.weights.h5"),
        ("tensorflow", "mlp", "tf2_10__plain_tf__weights"),
        ("mxnet", "mlp", "mxnet__plain.np.params"),
        ("mxnet", "nested", "mxnet__rgnet.np.params"),
        ("mxnet", "shared-mlp", "mxnet__tied.nd.params"),
        ("mxnet", "fancy-mlp", "mxnet__fancy.np.params"),
    ],
)
def test_names_are_those_of_the_frameworks_own_file(framework: str, network: str, case: str, tmp_path: Path, ckpt: Ckpt) -> None:
    record = CASES / "expect" / f"{case}.json"
    if not record.is_file():
        pytest.skip(f"no real checkpoints at {CASES}: set CKPT_CASES")
    held = [tensor["name"].removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") for tensor in json.loads(record.read_text())["tensors"]]
    want = {name for name in held if "optimizer" not in name and not name.startswith("_")}
    assert set(fresh(ckpt, tmp_path, network, "--framework", framework)) == want


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_is_the_network_that_torch_has(framework: str, network: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """The map there finds every layer: values differ, and nothing else."""
    a, b = tmp_path / "a.safetensors", tmp_path / "b.pt"
    ckpt("new", network, "--framework", framework, "-o", a)
    ckpt("new", network, *(["buffer=true"] if "rand_weight" in loaded(a) else []), "-o", b)
    found = ckpt("diff", a, b, "--map", f"{framework}-to-torch", status=1).rows
    assert {row[0] for row in found} == {"changed"}


@pytest.mark.parametrize(("framework", "least", "most"), [("keras", 0.16, 0.1616), ("tensorflow", 0.16, 0.1616), ("mxnet", 0.0699, 0.07)])
def test_the_first_values_are_what_the_frameworks_layers_draw(
    framework: str, least: float, most: float, tmp_path: Path, ckpt: Ckpt
) -> None:
    """Keras' Dense: ±√(6/(in+out)), Gluon's: ±0.07; biases 0."""
    found = fresh(ckpt, tmp_path, "mlp", "inputs=200", "hidden=30", "--framework", framework)
    weight = next(tensor for tensor in found.values() if tensor.numel() == 6000)
    assert least < weight.abs().max() <= most
    assert all(not tensor.any() for name, tensor in found.items() if name.endswith(("bias", "vars/1")))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_seed_decides(framework: str, tmp_path: Path, ckpt: Ckpt) -> None:
    one, same, other = (all_bits(fresh(ckpt, tmp_path, "mlp", "--framework", framework, "--seed", seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_the_values_are_those_that_reinit_draws(tmp_path: Path, ckpt: Ckpt) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    ckpt("new", "nested", "--framework", "mxnet", "--seed", 3, "-o", a)
    ckpt("reinit", a, "--preset", "mxnet", "--seed", 3, "-o", b)
    assert a.read_bytes() == b.read_bytes()


def test_what_is_used_twice_is_tied_where_a_framework_has_it_twice(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("new", "shared-mlp", "--framework", "mxnet", "-o", tmp_path / "a.pt")
    assert [set(row) & {"1.weight", "2.weight"} for row in ckpt("tied", tmp_path / "a.pt").rows].count({"1.weight", "2.weight"}) == 1


def test_ones_own_architecture(tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "own.py").write_text(
        "from torch.nn import *\ndef make():\n    return Sequential(Conv2d(3, 6, 3), BatchNorm2d(6), Flatten(), Linear(24, 2))\n"
    )
    found = fresh(ckpt, tmp_path, f"{tmp_path / 'own.py'}:make", "--framework", "keras")
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        "layers/conv2d/vars/0": (3, 3, 3, 6), "layers/conv2d/vars/1": (6,), "layers/dense/vars/0": (24, 2), "layers/dense/vars/1": (2,),
        **{f"layers/batch_normalization/vars/{number}": (6,) for number in range(4)},
    }  # fmt: skip


def test_a_framework_that_is_none_is_one_line(tmp_path: Path, ckpt: Ckpt) -> None:
    says = ckpt("new", "mlp", "--framework", "kers", "-o", tmp_path / "a.pt", status=2).err
    assert "no framework is called 'kers' (did you mean keras?)" in says


@pytest.mark.parametrize("network", ["mlp", "nested", "shared-mlp"])
@pytest.mark.parametrize(("framework", "name"), [("tensorflow", "model"), ("mxnet", "model.params"), ("mxnet", "model")])
def test_the_frameworks_own_file_holds_the_network_to_the_last_bit(
    framework: str, name: str, network: str, tmp_path: Path, ckpt: Ckpt
) -> None:
    """A name without a suffix is written as that framework's own format."""
    own, torchs = tmp_path / name, tmp_path / "torch.pt"
    ckpt("new", network, "--framework", framework, "-o", own)
    assert ckpt("ls", own, "--json").json["format"] == framework
    ckpt("convert", own, torchs, "--map", f"{framework}-to-torch", "--arch", network)
    assert ckpt("diff", own, torchs, "--map", f"{framework}-to-torch").out == ""
    assert ckpt("diff", torchs, own, "--map", f"torch-to-{framework}").out == ""
