"""MXNet 1.9 loads what ckpt wrote, bit for bit; its own fresh networks start as the preset says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon, nd, npx
from mxnet.gluon import nn

Run = Callable[..., str]


def dense(**more: object) -> nn.Sequential:
    net = nn.Sequential()
    net.add(nn.Dense(8, in_units=4, activation="relu"), nn.Dense(1, in_units=8))
    net.initialize(**more)
    return net


def conv() -> nn.HybridSequential:
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.PReLU(), nn.Flatten(), nn.Dense(3), nn.LayerNorm())
    net.initialize()
    net.hybridize()
    net(nd.ones((1, 3, 8, 8)))
    return net


def values(net: gluon.Block) -> dict[str, bytes]:
    return {name: each.data().asnumpy().tobytes() for name, each in net._collect_params_with_prefix().items()}


def bits(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (str(a.dtype), a.shape, a.asnumpy().tobytes()) for name, a in nd.load(str(path)).items()}


def test_gluon_loads_an_edit_in_place(tmp_path: Path, ckpt: Run) -> None:
    net, path = dense(), tmp_path / "net.params"
    net.save_parameters(str(path))
    ckpt("set", path, "0.bias = 42", "1.weight[0, 3] = -1", "-i")
    other = dense()
    other.load_parameters(str(path))
    assert (other[0].bias.data() == 42).asnumpy().all() and other[1].weight.data()[0, 3].asscalar() == -1
    assert other[0].weight.data().asnumpy().tobytes() == net[0].weight.data().asnumpy().tobytes()


def test_gluon_loads_what_was_rebuilt_and_what_came_from_another_format(tmp_path: Path, ckpt: Run) -> None:
    net = conv()
    net.save_parameters(str(tmp_path / "a.params"))
    ckpt("rename", tmp_path / "a.params", "*=net.*", "-o", tmp_path / "b.params")
    ckpt("convert", tmp_path / "b.params", tmp_path / "c.safetensors")
    ckpt("convert", tmp_path / "c.safetensors", tmp_path / "d.pt")
    ckpt("convert", tmp_path / "d.pt", tmp_path / "e.params", "--rename", "net.*=*")
    other = conv()
    other.load_parameters(str(tmp_path / "e.params"))
    assert values(other) == values(net)


def test_a_file_of_np_arrays_is_loaded_in_that_mode(tmp_path: Path, ckpt: Run) -> None:
    npx.set_np()
    try:
        arrays = {"s": mx.np.array(3.5), "z": mx.np.zeros((0, 3)), "w": mx.np.ones((2, 3))}
        npx.save(str(tmp_path / "a.params"), arrays)
        ckpt("set", tmp_path / "a.params", "s = 7", "-i")
        ckpt("convert", tmp_path / "a.params", tmp_path / "b.safetensors")
        ckpt("convert", tmp_path / "b.safetensors", tmp_path / "c.params")
        for name in ("a", "c"):
            found = npx.load(str(tmp_path / f"{name}.params"))
            assert found["s"].item() == 7 and found["z"].shape == (0, 3) and found["w"].asnumpy().tolist() == [[1, 1, 1]] * 2
    finally:
        npx.reset_np()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool"])
def test_every_dtype_comes_back_with_the_same_bits(dtype: str, tmp_path: Path, ckpt: Run) -> None:
    raw = np.random.RandomState(0).bytes(48)
    array = np.frombuffer(raw, dtype).reshape(2, -1) if dtype != "bool" else np.array([[True, False, True]])
    nd.save(str(tmp_path / "a.params"), {"x": nd.array(array, dtype=dtype), "y": nd.ones((2,))})
    ckpt("drop", tmp_path / "a.params", "y", "-o", tmp_path / "b.params")
    assert bits(tmp_path / "b.params") == {"x": (bits(tmp_path / "a.params")["x"])}
    assert bits(tmp_path / "b.params")["x"][2] == array.tobytes()


def test_a_list_stays_a_list(tmp_path: Path, ckpt: Run) -> None:
    nd.save(str(tmp_path / "x-file"), [nd.arange(4), nd.ones((2, 2))])
    ckpt("cast", tmp_path / "x-file", "float16", "-o", tmp_path / "y", "--format", "mxnet")
    found = nd.load(str(tmp_path / "y"))
    assert isinstance(found, list) and [a.asnumpy().tolist() for a in found] == [[0, 1, 2, 3], [[1, 1], [1, 1]]]


def test_sparse_arrays_are_carried_along(tmp_path: Path, ckpt: Run) -> None:
    rows = nd.sparse.row_sparse_array((np.ones((2, 3), "float32"), [1, 4]), shape=(6, 3))
    compressed = nd.sparse.csr_matrix((np.array([1.0, 2, 3], "float32"), [0, 2, 1], [0, 2, 2, 3]), shape=(3, 4))
    nd.save(
        str(tmp_path / "a.params"), {"rows": rows, "csr": compressed, "none": nd.sparse.zeros("row_sparse", (4, 2)), "x": nd.ones((2,))}
    )
    ckpt("rename", tmp_path / "a.params", "x=y", "-o", tmp_path / "b.params")
    found = nd.load(str(tmp_path / "b.params"))
    assert [found[name].stype for name in ("rows", "csr", "none", "y")] == ["row_sparse", "csr", "row_sparse", "default"]
    assert (found["csr"].asnumpy() == compressed.asnumpy()).all() and (found["rows"].asnumpy() == rows.asnumpy()).all()


def test_module_loads_a_checkpoint_that_was_edited(tmp_path: Path, ckpt: Run) -> None:
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    net = mx.sym.SoftmaxOutput(mx.sym.BatchNorm(net, name="bn1"), name="softmax")
    module = mx.mod.Module(net)
    module.bind([("data", (2, 3))], [("softmax_label", (2,))])
    module.init_params()
    module.save_checkpoint(str(tmp_path / "m"), 7)
    ckpt("set", tmp_path / "m-0007.params", "arg:fc1_bias = 5", "-i")
    ckpt("cast", tmp_path / "m-0007.params", "float64", "-o", tmp_path / "wide.params")
    ckpt("cast", tmp_path / "wide.params", "float32", "-o", tmp_path / "m-0008.params")
    loaded = mx.mod.Module.load(str(tmp_path / "m"), 8)
    loaded.bind([("data", (2, 3))], [("softmax_label", (2,))])
    assert loaded.get_params()[0]["fc1_bias"].asnumpy().tolist() == [5, 5, 5, 5]


def test_the_preset_starts_as_gluon_does(tmp_path: Path, ckpt: Run) -> None:
    """Constants are the same; weights lie in the same range and fill it."""
    net = conv()
    net.save_parameters(str(tmp_path / "a.params"))
    ckpt("set", tmp_path / "a.params", *(f"{name} = 9" for name in nd.load(str(tmp_path / "a.params"))), "-i")
    ckpt("reinit", tmp_path / "a.params", "--preset", "mxnet", "--seed", "0", "-i")
    fresh, theirs = nd.load(str(tmp_path / "a.params")), net._collect_params_with_prefix()
    for name, found in fresh.items():
        one, two = found.asnumpy(), theirs[name].data().asnumpy()
        if name.endswith("weight"):
            assert abs(one).max() <= 0.07 and abs(abs(one).max() - abs(two).max()) < 0.01, name
        else:
            assert (one == two).all(), name


def test_the_textbooks_initialisations(tmp_path: Path, ckpt: Run) -> None:
    """net.initialize(init=init.Normal(sigma=0.01)), Constant(1), and Xavier for one layer with Constant(42) for the other."""
    path = tmp_path / "a.params"
    dense(init=mx.init.Normal(sigma=0.01)).save_parameters(str(path))
    ckpt("reinit", path, "0.weight=Xavier", "1.weight=Constant(42)", "*.bias=Zero", "--seed", "0", "-i")
    net = dense()
    net.load_parameters(str(path))
    assert (net[1].weight.data() == 42).asnumpy().all() and abs(net[0].weight.data().asnumpy()).max() <= (6 / 12) ** 0.5


def rows(*layers: gluon.Block) -> nn.Sequential:
    net = nn.Sequential()
    net.add(*layers)
    return net


def shared() -> nn.Sequential:
    twice = nn.Dense(8, in_units=8)
    return rows(nn.Dense(8, in_units=4), twice, nn.Dense(8, in_units=8, params=twice.params), nn.Dense(1, in_units=8))


def nested() -> nn.Sequential:
    blocks = [rows(nn.Dense(8, in_units=4), nn.Dense(4, in_units=8)) for _ in range(4)]
    return rows(rows(*blocks), nn.Dense(1, in_units=4))


class Fancy(nn.HybridBlock):
    def __init__(self) -> None:
        super().__init__()
        self.rand_weight = self.params.get_constant("rand_weight", nd.zeros((20, 20)))
        self.dense = nn.Dense(20, in_units=20)


@pytest.mark.parametrize(("network", "make"), [("mlp", dense), ("nested", nested), ("shared-mlp", shared), ("fancy-mlp", Fancy)])
def test_a_new_network_of_the_chapter_is_loaded(network: str, make: Callable[[], gluon.Block], tmp_path: Path, ckpt: Run) -> None:
    path = tmp_path / "new.params"
    ckpt("new", network, "--framework", "mxnet", "--seed", "0", "-o", path)
    net = make()
    net.load_parameters(str(path))
    assert values(net) == {name: each[2] for name, each in bits(path).items()}
