"""Recurrent layers, attention and separable convolutions across frameworks: what torch computes with the weights that a map made is what
the other framework's own formula gives, written out here in numpy. The way back gives the file again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import Ckpt
from oracles import all_bits, loaded
from safetensors.numpy import save_file
from torch import nn

Arrays = dict[str, Any]
RANDOM = np.random.default_rng(5)


def drawn(*shape: int) -> Any:
    return RANDOM.normal(size=shape).astype("float32") / 2


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def written(path: Path, arrays: Arrays) -> Path:
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return path


def into_torch(arrays: Arrays, net: nn.Module, framework: str, folder: Path, ckpt: Ckpt, exact: bool = True) -> None:
    """Give the network the weights of the other framework; back again, they are what they were."""
    a, like = written(folder / "a.safetensors", arrays), folder / "like.pt"
    torch.save(net.state_dict(), like)
    out, back = folder / "out.pt", folder / "back.safetensors"
    ckpt("convert", a, out, "--map", f"{framework}-to-torch", "--like", like)
    assert list(loaded(out)) == list(net.state_dict())
    net.load_state_dict(loaded(out))
    ckpt("convert", out, back, "--map", f"torch-to-{framework}", "--like", a)
    assert all_bits(loaded(back)) == all_bits(loaded(a))
    assert ckpt("diff", a, out, "--map", f"{framework}-to-torch").out == "" or not exact


def computed(net: nn.Module, *inputs: Any) -> Any:
    result = net.eval()(*map(torch.from_numpy, inputs))
    return (result[0] if isinstance(result, tuple) else result).detach().numpy()


# Recurrent layers: a step is a function of x, h and the state


def keras_gru(kernel: Any, recurrent: Any, bias: Any) -> Callable[[Any, Any], Any]:
    """keras/src/layers/rnn/gru.py, reset_after: gates z, r, h side by side; rows of the bias for the input and the recurrence."""

    def step(x: Any, h: Any) -> Any:
        xz, xr, xh = np.split(x @ kernel + bias[0], 3, -1)
        hz, hr, hh = np.split(h @ recurrent + bias[1], 3, -1)
        z = sigmoid(xz + hz)
        return z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)

    return step


def flax_gru(cell: Arrays) -> Callable[[Any, Any], Any]:
    """flax/linen/recurrent.py, GRUCell: a Dense for each gate."""

    def dense(gate: str, x: Any) -> Any:
        return x @ cell[f"{gate}.kernel"] + cell.get(f"{gate}.bias", 0)

    def step(x: Any, h: Any) -> Any:
        r, z = sigmoid(dense("ir", x) + dense("hr", h)), sigmoid(dense("iz", x) + dense("hz", h))
        return (1 - z) * np.tanh(dense("in", x) + r * dense("hn", h)) + z * h

    return step


def run(step: Callable[[Any, Any], Any], xs: Any, units: int, backward: bool = False) -> Any:
    """The outputs of all steps: xs is time × batch × features."""
    h, outputs = np.zeros((xs.shape[1], units), "float32"), []
    for x in xs[::-1] if backward else xs:
        h = step(x, h)
        outputs.append(h)
    return np.array(outputs[::-1] if backward else outputs)


def test_the_gru_of_keras_in_the_report(case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    h5, right, out, back = (
        case("reports/keras-gru/gru.weights.h5"),
        case("reports/keras-gru/right.pt"),
        tmp_path / "o.pt",
        tmp_path / "b.weights.h5",
    )
    ckpt("convert", h5, out, "--map", "keras-to-torch", "--like", right)
    assert all_bits(loaded(out)) == all_bits(loaded(right))
    assert ckpt("diff", h5, right, "--map", "keras-to-torch").out == ckpt("diff", right, h5, "--map", "torch-to-keras").out == ""
    for like in ((), ("--like", h5)):  # new names are those of Keras, too
        ckpt("convert", right, back, "--map", "torch-to-keras", *like, "--force")
        assert ckpt("diff", back, h5, "--exact").out == ""


KERAS_CELLS = {
    "weights.h5": ("layers/{}/cell/vars/", ("0", "1", "2"), ""),
    "keras 2": ("model_weights/{0}/{0}/cell/", ("kernel", "recurrent_kernel", "bias"), ":0"),
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("units", [3, 5])
@pytest.mark.parametrize("style", KERAS_CELLS)
def test_grus_of_keras_in_layers_and_directions(style: str, units: int, bidirectional: bool, tmp_path: Path, ckpt: Ckpt) -> None:
    """With 5 units, input and recurrent kernel have one shape, and so have all layers but for their inputs."""
    home, leaves, end = KERAS_CELLS[style]
    arrays: Arrays = {}
    xs = want = drawn(6, 2, 5)
    for layer in range(3):
        outputs = []
        for backward in (False, True)[: 1 + bidirectional]:
            name = f"gru{f'_{layer}' if layer else ''}" if not bidirectional else f"bidirectional{f'_{layer}' if layer else ''}/"
            name += ("backward_layer" if backward else "forward_layer") if bidirectional else ""
            cell = [drawn(want.shape[-1], 3 * units), drawn(units, 3 * units), drawn(2, 3 * units)]
            arrays |= {f"{home.format(name)}{leaf}{end}": array for leaf, array in zip(leaves, cell, strict=True)}
            outputs.append(run(keras_gru(*cell), want, units, backward))
        want = np.concatenate(outputs, -1)
    net = nn.GRU(5, units, 3, bidirectional=bidirectional)
    into_torch({name: arrays[name] for name in sorted(arrays)}, net, "keras", tmp_path, ckpt)
    assert np.allclose(computed(net, xs), want, atol=1e-5)


def test_a_gru_of_flax_has_a_layer_for_each_gate(tmp_path: Path, ckpt: Ckpt) -> None:
    xs = want = drawn(6, 2, 5)
    arrays: Arrays = {}
    for layer in range(2):
        cell = {f"i{gate}.kernel": drawn(want.shape[-1], 4) for gate in "rzn"} | {f"h{gate}.kernel": drawn(4, 4) for gate in "rzn"}
        cell |= {f"{name}.bias": drawn(4) for name in ("ir", "iz", "in", "hn")}
        arrays |= {f"params.GRUCell_{layer}.{name}": array for name, array in cell.items()}
        want = run(flax_gru(cell), want, 4)
    net = nn.GRU(5, 4, 2)
    into_torch(arrays, net, "flax", tmp_path, ckpt)
    assert np.allclose(computed(net, xs), want, atol=1e-5)


def test_the_lstm_of_flax_has_its_gates_apart(tmp_path: Path, ckpt: Ckpt) -> None:
    """flax/linen/recurrent.py, LSTMCell: biases of the recurrence alone."""
    cell = {f"i{gate}.kernel": drawn(5, 4) for gate in "ifgo"} | {f"h{gate}.kernel": drawn(4, 4) for gate in "ifgo"}
    cell |= {f"h{gate}.bias": drawn(4) for gate in "ifgo"}
    net, xs, c, h, want = nn.LSTM(5, 4), drawn(6, 2, 5), np.zeros((2, 4)), np.zeros((2, 4)), []
    into_torch({f"params.RNN_0.cell.{name}": array for name, array in cell.items()}, net, "flax", tmp_path, ckpt)
    for x in xs:
        i, f, g, o = (x @ cell[f"i{gate}.kernel"] + h @ cell[f"h{gate}.kernel"] + cell[f"h{gate}.bias"] for gate in "ifgo")
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        want.append(h)
    assert np.allclose(computed(net, xs), np.array(want), atol=1e-5)


def test_a_simple_rnn_of_keras(tmp_path: Path, ckpt: Ckpt) -> None:
    kernel, recurrent, bias = drawn(5, 4), drawn(4, 4), drawn(4)
    net, xs = nn.RNN(5, 4), drawn(6, 2, 5)
    into_torch({f"layers/simple_rnn/cell/vars/{k}": each for k, each in enumerate((kernel, recurrent, bias))}, net, "keras", tmp_path, ckpt)
    assert np.allclose(computed(net, xs), run(lambda x, h: np.tanh(x @ kernel + h @ recurrent + bias), xs, 4), atol=1e-5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("framework", ["mxnet", "paddle"])
def test_gluon_and_paddle_have_the_gates_of_torch(framework: str, kind: type[nn.RNNBase], tmp_path: Path, ckpt: Ckpt) -> None:
    """rnn_cell.py of Gluon: i2h and h2h, `l0_` and `r0_`; paddle/nn/layer/rnn.py writes torch's names."""
    net = kind(5, 4, 2, bidirectional=True)
    names = {name: name for name in net.state_dict()}
    if framework == "mxnet":
        for name in names:
            what, gates, layer, *reverse = name.split("_")
            names[name] = f"{'r' if reverse else 'l'}{layer[1:]}_{gates.replace('ih', 'i2h').replace('hh', 'h2h')}_{what}"
    arrays = {f"rnn.{names[name]}": tensor.numpy() for name, tensor in net.state_dict().items()}
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    into_torch(arrays, net, framework, tmp_path, ckpt)
    assert all_bits(dict(net.state_dict())) == all_bits(before)


class Stack(nn.Module):
    """Bidirectional layers, each a module of its own: as maps number them where nothing says their names."""

    def __init__(self, kind: type[nn.RNNBase], layers: int) -> None:
        super().__init__()
        for layer in range(layers):
            self.add_module(str(layer), kind(8 if layer else 5, 4, bidirectional=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x, _ = layer(x)
        return x


@pytest.mark.parametrize("layers", [1, 2, 3, 11])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("framework", ["keras", "tensorflow", "mxnet", "flax", "paddle"])
def test_both_directions_stay_one_layer_under_new_names(
    framework: str, kind: type[nn.RNNBase], layers: int, tmp_path: Path, ckpt: Ckpt
) -> None:
    """There and back without --like: what torch computes is the same."""
    if framework == "flax" and kind is nn.RNN:
        return
    net, stack, xs = kind(5, 4, layers, bidirectional=True), Stack(kind, layers), drawn(6, 2, 5)
    a, there, back = (tmp_path / f"{name}.safetensors" for name in ("a", "there", "back"))
    written(a, {name: tensor.numpy() for name, tensor in net.state_dict().items()})
    ckpt("convert", a, there, "--map", f"torch-to-{framework}")
    ckpt("convert", there, back, "--map", f"{framework}-to-torch")
    stack.load_state_dict(loaded(back))
    assert np.allclose(computed(stack, xs), computed(net, xs), atol=1e-5)
    for like in ((), ("--like", a)):
        ckpt("convert", there, back, "--map", f"{framework}-to-torch", *like, "--force")
        assert ckpt("diff", there, back, "--map", f"{framework}-to-torch").out == ""


NEW_NAMES = {
    "keras": "layers/bidirectional_1/backward_layer/cell/vars/0",
    "tensorflow": "layer_with_weights-1/backward_layer/cell/kernel",
    "mxnet": "1.r0_i2h_weight",
    "flax": "params.Bidirectional_1.backward_rnn.cell.ii.kernel",
    "paddle": "1.weight_ih_l0_reverse",
}


@pytest.mark.parametrize("framework", NEW_NAMES)
def test_the_second_layer_backward_is_called_as_the_framework_calls_it(framework: str, tmp_path: Path, ckpt: Ckpt) -> None:
    a, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    net = nn.LSTM(5, 4, 2, bidirectional=True)
    written(a, {f"rnn.{name}": tensor.numpy() for name, tensor in net.state_dict().items()})
    ckpt("convert", a, out, "--map", f"torch-to-{framework}")
    weight = net.weight_ih_l1_reverse.detach()
    found = loaded(out)[NEW_NAMES[framework]]
    assert torch.equal(found, weight[:4].T if framework == "flax" else weight if framework in ("mxnet", "paddle") else weight.T)


BIDIRECTIONAL = {
    "keras 3": ("layers/bidirectional/{}_layer/cell/vars/", ("0", "1", "2")),
    "keras 3, in a model": ("functional/layers/encoder/bidirectional_3/{}_layer/cell/vars/", ("0", "1", "2")),
    "keras 2": ("model_weights/my_bi/my_bi/{}_gru/gru_cell_{}/", ("kernel:0", "recurrent_kernel:0", "bias:0")),
    "keras 2, the layer alone": ("bidirectional/{}_gru/", ("kernel:0", "recurrent_kernel:0", "bias:0")),
}


@pytest.mark.parametrize("style", BIDIRECTIONAL)
def test_a_bidirectional_of_keras_becomes_one_of_torch(style: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """Cells of Keras 2 are numbered throughout the model, so that the two directions have other numbers."""
    home, leaves = BIDIRECTIONAL[style]
    cells = {direction: [drawn(5, 12), drawn(4, 12), drawn(2, 12)] for direction in ("backward", "forward")}
    arrays = {
        home.format(direction, number) + leaf: array
        for number, direction in enumerate(cells, 1)
        for leaf, array in zip(leaves, cells[direction], strict=True)
    }
    net, xs = Stack(nn.GRU, 1), drawn(6, 2, 5)
    ckpt("convert", written(tmp_path / "a.safetensors", arrays), tmp_path / "out.pt", "--map", "keras-to-torch")
    net.load_state_dict(loaded(tmp_path / "out.pt"))
    want = [run(keras_gru(*cells[direction]), xs, 4, direction == "backward") for direction in ("forward", "backward")]
    assert np.allclose(computed(net, xs), np.concatenate(want, -1), atol=1e-5)


def test_names_of_mxnet_keep_their_directions(tmp_path: Path, ckpt: Ckpt) -> None:
    arrays = {f"arg:enc_{end}0_{name}_weight": drawn(16, 5 if name == "i2h" else 4) for end in "rl" for name in ("i2h", "h2h")}
    ckpt("convert", written(tmp_path / "a.safetensors", arrays), tmp_path / "out.pt", "--map", "mxnet-to-torch")
    found = loaded(tmp_path / "out.pt")
    ends = {name.rpartition(".")[2]: tensor for name, tensor in found.items()}
    assert len({name.rpartition(".")[0] for name in found}) == 1
    assert np.array_equal(ends["weight_ih_l0_reverse"].numpy(), arrays["arg:enc_r0_i2h_weight"])


def halves(*sides: tuple[str, tuple[tuple[int, int], ...]], cells: tuple[str, ...] = ("cell",)) -> dict[str, tuple[int, int]]:
    """The shapes of a Bidirectional of Keras: those of the kernels of each direction."""
    home = "layers/bidirectional/{}_layer/{}/vars/{}"
    return {home.format(way, cell, k): shape for way, shapes in sides for cell in cells for k, shape in enumerate(shapes)}


LSTM_4, LSTM_3, RNN_4 = ((4, 16), (4, 16)), ((4, 12), (3, 12)), ((4, 4), (4, 4))
ODD = {
    "no forward direction": ("torch-to-keras", {"weight_ih_l0_reverse": (16, 5), "weight_hh_l0_reverse": (16, 4)}),
    "other sizes": ("keras-to-torch", halves(("forward", LSTM_4), ("backward", LSTM_3))),
    "other kinds": ("keras-to-torch", halves(("forward", LSTM_4), ("backward", RNN_4))),
    "stacked": (
        "keras-to-torch",
        halves(("forward", LSTM_4), ("backward", LSTM_4), cells=("cell/cells/lstm_cell", "cell/cells/lstm_cell_1")),
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_directions_that_are_no_pair_are_refused(odd: str, tmp_path: Path, ckpt: Ckpt) -> None:
    way, shapes = ODD[odd]
    a, out = written(tmp_path / "a.safetensors", {name: drawn(*shape) for name, shape in shapes.items()}), tmp_path / "o.safetensors"
    said = ckpt("convert", a, out, "--map", way, status=2).err
    assert not out.exists() and said.count("\n") == 1 and said.count("(") == 1
    assert any(name in said for name in shapes if "backward" in name or "reverse" in name) and "(--like FILE says what it becomes)" in said


def test_one_direction_goes_on_alone(tmp_path: Path, ckpt: Ckpt) -> None:
    """Names with such words are of layers of one direction where nothing makes them two of one."""
    net = nn.ModuleDict({"reverse_lstm": nn.LSTM(5, 4), "r": nn.LSTM(5, 4), "forward_lstm": nn.LSTM(5, 4), "backward": nn.LSTM(5, 4)})
    torch.save(net.state_dict(), tmp_path / "a.pt")
    ckpt("convert", tmp_path / "a.pt", tmp_path / "o.safetensors", "--map", "torch-to-keras")
    layers = {name.split("/cell")[0] for name in loaded(tmp_path / "o.safetensors")}
    assert layers == {"layers/lstm", "layers/lstm_1", "layers/lstm_2", "layers/lstm_3"}


def test_layers_of_one_direction_are_not_those_of_two(tmp_path: Path, ckpt: Ckpt) -> None:
    """Four layers of one direction do not compare with two of both."""
    state = nn.LSTM(5, 4, 2, bidirectional=True).state_dict()
    apart = {f"{n}.{name.split('_l')[0]}_l0": tensor.numpy() for n, at in enumerate(("l0_reverse", "l0", "l1_reverse", "l1"))
             for name, tensor in state.items() if name.endswith(at)}  # fmt: skip
    a, b, h5 = written(tmp_path / "a.safetensors", apart), tmp_path / "b.pt", tmp_path / "c.safetensors"
    torch.save(state, b)
    ckpt("convert", b, h5, "--map", "torch-to-keras")
    said = ckpt("diff", h5, a, "--map", "keras-to-torch", status=2).err
    assert "neither names nor sizes decide, and so for 1 more group of layers (say which" in said and said.count("(") == 1
    assert ckpt("diff", b, h5, "--map", "torch-to-keras").out == ""


def test_a_gru_of_keras_without_reset_after_is_refused(tmp_path: Path, ckpt: Ckpt) -> None:
    arrays = {f"layers/gru/cell/vars/{k}": each for k, each in enumerate((drawn(5, 12), drawn(4, 12), drawn(12)))}
    a, like = written(tmp_path / "a.safetensors", arrays), tmp_path / "like.pt"
    torch.save(nn.GRU(5, 4).state_dict(), like)
    assert "no place for layers/gru" in ckpt("convert", a, tmp_path / "o.pt", "--map", "keras-to-torch", "--like", like, status=2).err


# Attention


def attention(query: Any, key: Any, value: Any, w: Arrays) -> Any:
    """keras/src/layers/attention/multi_head_attention.py and flax's MultiHeadDotProductAttention: heads are an axis of the kernels."""
    q, k, v = (np.einsum("bti,inh->btnh", x, w[f"{n}_w"]) + w[f"{n}_b"] for n, x in (("query", query), ("key", key), ("value", value)))
    scores = np.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("btnh,nho->bto", np.einsum("bnts,bsnh->btnh", weights, v), w["output_w"]) + w["output_b"]


HEADS = {
    "keras": ("layers/multi_head_attention/{}_dense/vars/", "0", "1", "output"),
    "tensorflow": ("layer_with_weights-0/{}/", "kernel", "bias", "attention_output"),
    "flax": ("params.MultiHeadDotProductAttention_0.{}.", "kernel", "bias", "out"),
}


@pytest.mark.parametrize("sizes", [(8, 8, 8), (8, 5, 3)], ids=["one width", "kdim and vdim"])
@pytest.mark.parametrize("framework", HEADS)
def test_attention_with_heads_as_an_axis(framework: str, sizes: tuple[int, int, int], tmp_path: Path, ckpt: Ckpt) -> None:
    """torch has the projections in one matrix where all widths are one, and apart where they are not, with their biases in one."""
    w = {f"{name}_w": drawn(size, 2, 4) for name, size in zip(("query", "key", "value"), sizes, strict=True)}
    w |= {f"{name}_b": drawn(2, 4) for name in ("query", "key", "value")} | {"output_w": drawn(2, 4, 8), "output_b": drawn(8)}
    home, kernel, bias, output = HEADS[framework]
    arrays = {
        home.format(output if name[:-2] == "output" else name[:-2]) + (kernel if name[-1] == "w" else bias): array
        for name, array in w.items()
    }
    net = nn.MultiheadAttention(8, 2, kdim=sizes[1], vdim=sizes[2], batch_first=True)
    into_torch(arrays, net, framework, tmp_path, ckpt)
    inputs = [drawn(2, steps, size) for steps, size in zip((7, 6, 6), sizes, strict=True)]
    assert np.allclose(computed(net, *inputs), attention(*inputs, w), atol=1e-5)
    new = tmp_path / "new.pt"
    ckpt("convert", tmp_path / "a.safetensors", new, "--map", f"{framework}-to-torch")
    assert sorted(loaded(new)) == sorted(f"0.{name}" for name in net.state_dict())
    says = ckpt("convert", new, tmp_path / "x.pt", "--map", f"torch-to-{framework}", status=2).err
    assert "nothing tells the size of n" in says and "name a checkpoint that it is to be like" in says


def test_heads_of_keras_are_layers_of_their_own_elsewhere(tmp_path: Path, ckpt: Ckpt) -> None:
    """Projections of torch that are Linear layers: `attention.query`, and no nn.MultiheadAttention."""
    home = "layers/multi_head_attention/{}_dense/vars/{}"
    names = ("query", "key", "value", "output")
    arrays = {home.format(name, 0): drawn(8, 2, 4) if name != "output" else drawn(2, 4, 8) for name in names}
    arrays |= {home.format(name, 1): drawn(2, 4) if name != "output" else drawn(8) for name in names}
    net = nn.ModuleDict({name: nn.Linear(8, 8) for name in ("value", "output", "query", "key")})
    into_torch(arrays, net, "keras", tmp_path, ckpt)
    for name in names[:3]:
        assert np.array_equal(net[name].weight.detach().numpy().T, arrays[home.format(name, 0)].reshape(8, 8)), name
    assert np.array_equal(net["output"].weight.detach().numpy().T, arrays[home.format("output", 0)].reshape(8, 8))


# Convolutions


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(
    ("depthwise", "pointwise", "bias"),
    [
        ("layers/separable_conv2d/vars/0", "layers/separable_conv2d/vars/1", "layers/separable_conv2d/vars/2"),
        ("model_weights/sep/sep/depthwise_kernel:0", "model_weights/sep/sep/pointwise_kernel:0", "model_weights/sep/sep/bias:0"),
    ],
)
def test_a_separable_convolution_is_two(depthwise: str, pointwise: str, bias: str, multiplier: int, tmp_path: Path, ckpt: Ckpt) -> None:
    """keras/src/layers/convolutional/base_separable_conv.py: each channel alone, `multiplier` outputs for each; then 1×1."""
    d, p, b = drawn(3, 2, 3, multiplier), drawn(1, 1, 3 * multiplier, 6), drawn(6)
    net = nn.Sequential(nn.Conv2d(3, 3 * multiplier, (3, 2), groups=3, bias=False), nn.Conv2d(3 * multiplier, 6, 1))
    into_torch({depthwise: d, pointwise: p, bias: b}, net, "keras", tmp_path, ckpt)
    image = drawn(1, 5, 5, 3)
    patches = np.lib.stride_tricks.sliding_window_view(image[0], (3, 2), axis=(0, 1))  # type: ignore[call-overload]
    want = np.einsum("yxcHW,HWcm->yxcm", patches, d).reshape(3, 4, -1) @ p[0, 0] + b
    assert np.allclose(computed(net, image.transpose(0, 3, 1, 2))[0].transpose(1, 2, 0), want, atol=1e-5)


def test_a_convolution_transposed_of_flax_is_refused(tmp_path: Path, ckpt: Ckpt) -> None:
    """Its kernel is not flipped: carried as it is, it would be another one."""
    a, like = written(tmp_path / "a.safetensors", {"params.ConvTranspose_0.kernel": drawn(2, 2, 3, 4)}), tmp_path / "like.pt"
    torch.save(nn.ConvTranspose2d(3, 4, 2, bias=False).state_dict(), like)
    for options in ((), ("--like", like)):
        assert (
            "no place for params.ConvTranspose_0.kernel"
            in ckpt("convert", a, tmp_path / "o.pt", "--map", "flax-to-torch", *options, status=2).err
        )


# Flax and Paddle


def test_a_network_of_flax(tmp_path: Path, ckpt: Ckpt) -> None:
    """Two collections, `params` and `batch_stats`, hold what is one layer; a grouped convolution has one input channel a group."""
    arrays = {
        "params.Conv_0.kernel": drawn(3, 2, 3, 6), "params.Conv_0.bias": drawn(6), "params.BatchNorm_0.scale": drawn(6),
        "params.BatchNorm_0.bias": drawn(6), "batch_stats.BatchNorm_0.mean": drawn(6), "batch_stats.BatchNorm_0.var": drawn(6) ** 2,
        "params.Conv_1.kernel": drawn(2, 2, 1, 12), "params.LayerNorm_0.scale": drawn(12), "params.LayerNorm_0.bias": drawn(12),
        "params.Dense_0.kernel": drawn(12, 12), "params.Dense_1.kernel": drawn(12, 12), "params.Embed_0.embedding": drawn(12, 12),
    }  # fmt: skip
    net = nn.ModuleDict({"stem": nn.Conv2d(3, 6, (3, 2)), "bn": nn.BatchNorm2d(6), "depth": nn.Conv2d(6, 12, 2, groups=6, bias=False)})
    net.update({"ln": nn.LayerNorm(12), "embed": nn.Embedding(12, 12), "fc1": nn.Linear(12, 12, False), "fc2": nn.Linear(12, 12, False)})
    into_torch(arrays, net, "flax", tmp_path, ckpt)
    x, image = drawn(2, 12), drawn(1, 4, 4, 3)
    assert np.allclose(computed(net["fc2"], x), x @ arrays["params.Dense_1.kernel"], atol=1e-5)
    assert np.array_equal(net["embed"].weight.detach().numpy(), arrays["params.Embed_0.embedding"])
    patches = np.lib.stride_tricks.sliding_window_view(image[0], (3, 2), axis=(0, 1))  # type: ignore[call-overload]
    conv = np.einsum("yxiHW,HWio->yxo", patches, arrays["params.Conv_0.kernel"]) + arrays["params.Conv_0.bias"]
    normal = (conv - arrays["batch_stats.BatchNorm_0.mean"]) / np.sqrt(arrays["batch_stats.BatchNorm_0.var"] + 1e-5)
    want = normal * arrays["params.BatchNorm_0.scale"] + arrays["params.BatchNorm_0.bias"]
    found = computed(nn.Sequential(net["stem"], net["bn"]), image.transpose(0, 3, 1, 2))
    assert np.allclose(found[0].transpose(1, 2, 0), want, rtol=1e-3, atol=1e-3)


def test_a_network_of_paddle(tmp_path: Path, ckpt: Ckpt) -> None:
    """paddle/nn/functional/common.py: linear is x @ weight + bias, with a weight of in × out; square ones, too."""
    arrays = {f"{name}.{leaf}": drawn(4, 4) if leaf == "weight" else drawn(4) for name in ("0", "3") for leaf in ("weight", "bias")}
    arrays |= {"1.weight": drawn(4), "1.bias": drawn(4), "1._mean": drawn(4), "1._variance": drawn(4) ** 2, "emb.weight": drawn(4, 4)}
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
    net.add_module("emb", nn.Embedding(4, 4))
    into_torch(arrays, net, "paddle", tmp_path, ckpt)
    x = drawn(3, 4)
    assert np.allclose(computed(net[3], x), x @ arrays["3.weight"] + arrays["3.bias"], atol=1e-6)
    normal = (x - arrays["1._mean"]) / np.sqrt(arrays["1._variance"] + 1e-5) * arrays["1.weight"] + arrays["1.bias"]
    assert np.allclose(computed(net[1], x), normal, rtol=1e-3, atol=1e-3)
    assert np.array_equal(net.emb.weight.detach().numpy(), arrays["emb.weight"])


@pytest.mark.parametrize(("one", "two"), [("keras", "flax"), ("flax", "keras"), ("paddle", "keras"), ("keras", "mxnet")])
def test_frameworks_without_torch_between_them(one: str, two: str, tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save(nn.GRU(5, 4).state_dict(), tmp_path / "a.safetensors")
    paths = [tmp_path / f"{name}.safetensors" for name in ("one", "two", "back")]
    ckpt("convert", tmp_path / "a.safetensors", paths[0], "--map", f"torch-to-{one}")
    ckpt("convert", paths[0], paths[1], "--map", f"{one}-to-{two}")
    ckpt("convert", paths[1], paths[2], "--map", f"{two}-to-{one}")
    if "flax" not in (one, two):  # where two biases are one, their sum is kept
        assert ckpt("diff", paths[2], paths[0]).out == ""
    assert ckpt("diff", paths[1], paths[2], "--map", f"{two}-to-{one}").out == ""


@pytest.mark.parametrize("count", [1, 3])
def test_numbers_of_variables_say_nothing_where_some_are_missing(count: int, tmp_path: Path, ckpt: Ckpt) -> None:
    """vars/0 of a LayerNormalization is beta with scale=False; with center=False or scale=False, BatchNormalization has three variables."""
    kind = "layer_normalization" if count == 1 else "batch_normalization"
    a = written(tmp_path / "a.safetensors", {f"layers/{kind}/vars/{k}": drawn(4) for k in range(count)})
    assert f"no place for layers/{kind}/vars/0" in ckpt("convert", a, tmp_path / "o.pt", "--map", "keras-to-torch", status=2).err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"recurrent_activation": "hard_sigmoid", "activation": "tanh"}, "recurrent_activation = hard_sigmoid"),
        ({"activation": {"class_name": "function", "config": {"name": "relu"}}}, "activation = relu"),
        ({"activation": {"class_name": "Mine", "config": {}}}, "activation = Mine"),
        ({"recurrent_activation": "sigmoid", "activation": "tanh"}, ""),
        ({"activation": ["odd"]}, "activation = ['odd']"),
    ],
    ids=str,
)
def test_what_a_config_says_of_a_layer_is_told(arguments: Arrays, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    layer = {"class_name": "GRU", "config": {"name": "my_gru", "units": 4, "reset_after": True} | arguments}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}})
        names = [f"my_gru/gru_cell/{name}:0" for name in ("kernel", "recurrent_kernel", "bias")]
        for name, array in zip(names, (drawn(5, 12), drawn(4, 12), drawn(2, 12)), strict=True):
            file[f"model_weights/my_gru/{name}"] = array
        file["model_weights"].attrs["layer_names"] = [b"my_gru"]
        file["model_weights/my_gru"].attrs["weight_names"] = [name.encode() for name in names]
    said = ckpt("convert", tmp_path / "a.h5", tmp_path / "o.pt", "--map", "keras-to-torch").err
    assert (f"has {says}: its weights are carried" in said) == bool(says)
    assert ckpt("diff", tmp_path / "a.h5", tmp_path / "o.pt", "--map", "keras-to-torch").out == ""


@pytest.mark.parametrize(("merge", "says"), [("concat", ""), ("sum", "merge_mode = sum"), (None, "merge_mode = None"), ("", "")])
def test_how_a_bidirectional_merges_its_directions_is_told(merge: str | None, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    inner = {"class_name": "GRU", "config": {"name": "gru", "units": 4, "reset_after": True, "activation": "tanh"}}
    layer = {"class_name": "Bidirectional", "config": {"name": "bi", "layer": inner} | ({} if merge == "" else {"merge_mode": merge})}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}})
        leaves = {"kernel": (5, 12), "recurrent_kernel": (4, 12), "bias": (2, 12)}
        names = {f"bi/{way}_gru/gru_cell/{leaf}:0": shape for way in ("forward", "backward") for leaf, shape in leaves.items()}
        for name, shape in names.items():
            file[f"model_weights/bi/{name}"] = drawn(*shape)
        file["model_weights"].attrs["layer_names"] = [b"bi"]
        file["model_weights/bi"].attrs["weight_names"] = [name.encode() for name in names]
    said = ckpt("convert", tmp_path / "a.h5", tmp_path / "o.pt", "--map", "keras-to-torch").err
    assert (f"has {says}: its weights are carried" in said) == bool(says)
    assert "0.weight_ih_l0_reverse" in loaded(tmp_path / "o.pt")


def test_cells_of_flax_that_could_be_directions_are_told(tmp_path: Path, ckpt: Ckpt) -> None:
    """linen names cells by class and number where Bidirectional and its cells are made in one compact method: no name says a direction."""
    arrays = {
        f"params.OptimizedLSTMCell_{n}.{side}{gate}.kernel": drawn(4 if side == "h" else size, 4)
        for n, size in enumerate((8, 8, 5))
        for side in "ih"
        for gate in "ifgo"
    }
    said = ckpt("convert", written(tmp_path / "a.safetensors", arrays), tmp_path / "o.pt", "--map", "flax-to-torch").err
    assert "one direction, which their names do not say: OptimizedLSTMCell_0, OptimizedLSTMCell_1 (rules tell it" in said
    like, two = tmp_path / "like.pt", {name: array for name, array in arrays.items() if "Cell_2" not in name}
    torch.save(nn.LSTM(8, 4, bidirectional=True, bias=False).state_dict(), like)
    a = written(tmp_path / "a.safetensors", two)
    ckpt("convert", a, tmp_path / "o2.pt", "--map", "flax-to-torch", "--like", like, status=2)
