"""Maps across frameworks: one network, saved as Keras, TensorFlow, Gluon and torch name it and lay it out, is the same to the last bit.

What a framework's file holds is written down here by hand, from what that framework computes, apart from the conventions of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import all_bits, loaded
from safetensors.torch import save_file
from torch import nn

from ckpt_cli import reading
from ckpt_cli.edits.map import carry
from ckpt_cli.mapping.convention import framework_names
from ckpt_cli.mapping.rules import parse_rules

State = dict[str, torch.Tensor]


def network() -> nn.Module:
    """A layer of every kind, drawn anew; statistics and scales are no defaults."""
    torch.manual_seed(7)
    layers = {
        "stem": nn.Conv2d(3, 6, (3, 2)), "bn": nn.BatchNorm2d(6), "depth": nn.Conv2d(6, 12, 3, groups=6),
        "up": nn.ConvTranspose2d(12, 5, 2), "wave": nn.Conv1d(4, 7, 3, bias=False), "emb": nn.Embedding(11, 4),
        "ln": nn.LayerNorm(9), "rnn": nn.LSTM(4, 3),
        "fc": nn.Linear(9, 10), "last": nn.Linear(10, 2, bias=False),
    }  # fmt: skip
    net = nn.ModuleDict(layers)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    return net


def as_keras(state: State, of: Callable[[str, str, int], str]) -> State:
    """The arrays as Keras has them: `of(class, own name, number)` is what it calls a variable."""
    hwio = {"stem": "conv2d", "depth": "depthwise_conv2d", "up": "conv2d_transpose"}
    made = {of(kind, "bias", 1): state[f"{name}.bias"] for name, kind in hwio.items()}
    made[of("conv2d", "kernel", 0)] = state["stem.weight"].permute(2, 3, 1, 0)
    made[of("depthwise_conv2d", "kernel", 0)] = state["depth.weight"].reshape(6, 2, 3, 3).permute(2, 3, 0, 1)
    made[of("conv2d_transpose", "kernel", 0)] = state["up.weight"].permute(2, 3, 1, 0)
    made[of("conv1d", "kernel", 0)] = state["wave.weight"].permute(2, 1, 0)
    made[of("embedding", "embeddings", 0)] = state["emb.weight"]
    for number, (own, name) in enumerate(zip(("gamma", "beta", "moving_mean", "moving_variance"), BN, strict=True)):
        made[of("batch_normalization", own, number)] = state[f"bn.{name}"]
    made[of("layer_normalization", "gamma", 0)], made[of("layer_normalization", "beta", 1)] = state["ln.weight"], state["ln.bias"]
    made[of("lstm", "kernel", 0)], made[of("lstm", "recurrent_kernel", 1)] = state["rnn.weight_ih_l0"].T, state["rnn.weight_hh_l0"].T
    made[of("lstm", "bias", 2)] = state["rnn.bias_ih_l0"]
    made[of("dense", "kernel", 0)], made[of("dense", "bias", 1)] = state["fc.weight"].T, state["fc.bias"]
    made[of("dense_1", "kernel", 0)] = state["last.weight"].T
    return {name: tensor.contiguous() for name, tensor in made.items()}


BN = ("weight", "bias", "running_mean", "running_var")


def keras3(kind: str, own: str, number: int) -> str:
    return f"layers/{kind}/{'cell/' if kind == 'lstm' else ''}vars/{number}"


def keras2(kind: str, own: str, number: int) -> str:
    own = "depthwise_kernel" if kind.startswith("depth") and own == "kernel" else own
    return f"model_weights/{kind}/{kind}/{'lstm_cell/' if kind == 'lstm' else ''}{own}:0"


ORDER = ("conv2d", "batch_normalization", "depthwise_conv2d", "conv2d_transpose", "conv1d", "embedding", "layer_normalization", "lstm",
         "dense", "dense_1")  # fmt: skip


def tensorflow(kind: str, own: str, number: int) -> str:
    own = "depthwise_kernel" if kind.startswith("depth") and own == "kernel" else own
    return f"layer_with_weights-{ORDER.index(kind)}/{'cell/' if kind == 'lstm' else ''}{own}/.ATTRIBUTES/VARIABLE_VALUE"


def as_mxnet(state: State) -> State:
    """Gluon has torch's layouts and calls a few variables otherwise."""
    new = {"bn.weight": "bn.gamma", "bn.bias": "bn.beta", "ln.weight": "ln.gamma", "ln.bias": "ln.beta"}
    new |= {f"rnn.{what}_{one}_l0": f"rnn.l0_{two}_{what}" for what in ("weight", "bias") for one, two in (("ih", "i2h"), ("hh", "h2h"))}
    return {new.get(name, name): tensor for name, tensor in state.items() if "num_batches" not in name}


def state_of(net: nn.Module) -> State:
    """Torch's two biases of an LSTM are one in Keras: here the second is 0."""
    state = dict(net.state_dict())
    state["rnn.bias_hh_l0"].zero_()
    return state


def there(framework: str, state: State) -> State:
    made = {
        "keras": lambda: as_keras(state, keras3) | {"optimizer/vars/2": torch.ones(10)},
        "keras2": lambda: as_keras(state, keras2) | {"optimizer_weights/Adam/dense/kernel/m:0": torch.ones(9, 10)},
        "tensorflow": lambda: as_keras(state, tensorflow) | {"save_counter/.ATTRIBUTES/VARIABLE_VALUE": torch.tensor(1)},
        "mxnet": lambda: as_mxnet(state),
        "torch": lambda: state,
    }[framework]()
    return {name: made[name].clone() for name in sorted(made)}  # HDF5 and TensorFlow sort names


FRAMEWORKS = ["keras", "keras2", "tensorflow", "mxnet", "torch"]


def written(folder: Path, name: str, state: State) -> Path:
    path = folder / f"{name}.safetensors"
    save_file(state, path)
    return path


def map_of(one: str, two: str) -> str:
    return f"{one.removesuffix('2')}-to-{two.removesuffix('2')}"


@pytest.mark.parametrize("two", FRAMEWORKS)
@pytest.mark.parametrize("one", FRAMEWORKS)
def test_the_same_network_of_two_frameworks_is_the_same_to_the_last_bit(one: str, two: str, tmp_path: Path, ckpt: Ckpt) -> None:
    if map_of(one, one) == map_of(one, two):
        return
    state = state_of(network())
    a, b = written(tmp_path, "a", there(one, state)), written(tmp_path, "b", there(two, state))
    assert ckpt("diff", a, b, "--map", map_of(one, two)).out == ""


@pytest.mark.parametrize("two", FRAMEWORKS)
@pytest.mark.parametrize("one", FRAMEWORKS)
def test_convert_gives_the_names_and_the_bits_of_the_other_framework(one: str, two: str, tmp_path: Path, ckpt: Ckpt) -> None:
    if map_of(one, one) == map_of(one, two):
        return
    state = state_of(network())
    like = there(two, {name: torch.zeros_like(tensor) for name, tensor in state.items()})
    a, b, out = written(tmp_path, "a", there(one, state)), written(tmp_path, "b", like), tmp_path / "out.safetensors"
    ckpt("convert", a, out, "--map", map_of(one, two), "--like", b)
    want = {name: tensor for name, tensor in there(two, state).items() if "optim" not in name and "counter" not in name}
    assert all_bits(loaded(out)) == all_bits(want)


def test_what_differs_is_told_by_the_name_there(tmp_path: Path, ckpt: Ckpt) -> None:
    state = state_of(network())
    a = written(tmp_path, "a", there("keras", state))
    state["fc.weight"][3, 2] += 1
    found = ckpt("diff", a, written(tmp_path, "b", state), "--map", "keras-to-torch", status=1)
    assert [(row[0], row[1], row[-1]) for row in found.rows] == [("changed", "fc.weight", "[3,2]")]
    assert "not compared: optimizer/vars/*, bn.num_batches_tracked" in found.err


def test_what_the_network_computes_is_the_same_in_either_layout() -> None:
    net = network()
    arrays = {name: tensor.numpy() for name, tensor in as_keras(state_of(net), keras3).items()}
    x = torch.rand(2, 9)
    dense = x.numpy() @ arrays["layers/dense/vars/0"] + arrays["layers/dense/vars/1"]  # Keras' Dense
    assert np.allclose(net["fc"](x).detach().numpy(), dense, atol=1e-5)  # type: ignore[index]
    image = torch.rand(1, 3, 4, 4)
    patches = np.lib.stride_tricks.sliding_window_view(image.numpy()[0].transpose(1, 2, 0), (3, 2), axis=(0, 1))  # type: ignore[call-overload]
    conv = np.einsum("yxiHW,HWio->yxo", patches, arrays["layers/conv2d/vars/0"]) + arrays["layers/conv2d/vars/1"]
    assert np.allclose(net["stem"](image).detach().numpy()[0].transpose(1, 2, 0), conv, atol=1e-4)  # type: ignore[index]
    steps = torch.rand(5, 1, 4)
    assert np.allclose(net["rnn"](steps)[0].detach().numpy()[:, 0], keras_lstm(steps.numpy()[:, 0], arrays), atol=1e-5)  # type: ignore[index]


def keras_lstm(steps: Any, arrays: dict[str, Any]) -> Any:
    """Keras' LSTM cell: gates i, f, c, o side by side in the last axis of its kernels."""
    kernel, recurrent, bias = (arrays[f"layers/lstm/cell/vars/{number}"] for number in range(3))
    h = c = np.zeros(3, "float32")
    outputs = []
    for x in steps:
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        outputs.append(h)
    return np.array(outputs)


def test_two_biases_become_their_sum_and_a_sum_the_first_of_two(tmp_path: Path, ckpt: Ckpt) -> None:
    torch.manual_seed(0)
    rnn = nn.LSTM(4, 3)
    a, keras, back = written(tmp_path, "a", dict(rnn.state_dict())), tmp_path / "k.safetensors", tmp_path / "back.safetensors"
    said = ckpt("convert", a, keras, "--map", "torch-to-keras").err
    assert "layers/lstm/cell/vars/2 is the sum of bias_ih_l0 and bias_hh_l0" in said
    assert torch.equal(loaded(keras)["layers/lstm/cell/vars/2"], (rnn.bias_ih_l0 + rnn.bias_hh_l0).detach())
    said = ckpt("convert", keras, back, "--map", "keras-to-torch", "--like", a).err
    assert "layers/lstm/cell/vars/2 becomes bias_ih_l0, and bias_hh_l0 is 0" in said
    rnn.load_state_dict(loaded(back))


def test_layers_in_the_order_that_a_format_sorts_them_find_their_place(tmp_path: Path, ckpt: Ckpt) -> None:
    """dense_10 comes before dense_2 in a file that sorts names."""
    state = {f"{2 * k}.weight": torch.full((4, 4), float(k)) for k in range(12)}
    keras = {f"layers/dense{f'_{k}' if k else ''}/vars/0": state[f"{2 * k}.weight"].T.contiguous() for k in range(12)}
    a, b = written(tmp_path, "a", {name: keras[name] for name in sorted(keras)}), tmp_path / "b.pt"
    torch.save(state, b)
    assert ckpt("diff", a, b, "--map", "keras-to-torch").out == ""
    assert ckpt("diff", b, a, "--map", "torch-to-keras").out == ""


def blocks() -> State:
    torch.manual_seed(0)
    block = lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())  # noqa: E731
    factory = nn.Sequential()
    for number in range(4):
        factory.add_module(f"block {number}", block())
    return dict(nn.Sequential(factory, nn.Linear(4, 1)).state_dict())


def test_the_chapters_nested_blocks_as_each_framework_nests_them(tmp_path: Path, ckpt: Ckpt) -> None:
    """The names are those of the real checkpoints of this network by Keras 3 and Gluon."""
    state = blocks()
    keras, gluon = {}, {}
    for number in range(4):
        for layer in (0, 1):
            weight, bias = (state[f"0.block {number}.{2 * layer}.{what}"] for what in ("weight", "bias"))
            home = f"layers/sequential/layers/sequential{f'_{number}' if number else ''}/layers/dense{'_1' if layer else ''}/vars"
            keras |= {f"{home}/0": weight.T.contiguous(), f"{home}/1": bias}
            gluon |= {f"0.{number}.{layer}.weight": weight, f"0.{number}.{layer}.bias": bias}
    keras |= {"layers/dense/vars/0": state["1.weight"].T.contiguous(), "layers/dense/vars/1": state["1.bias"]}
    gluon |= {"1.weight": state["1.weight"], "1.bias": state["1.bias"]}
    a, b = (written(tmp_path, name, {key: of[key] for key in sorted(of)}) for name, of in (("k", keras), ("m", gluon)))
    out = tmp_path / "out.pt"
    for path, by in ((a, "keras-to-torch"), (b, "mxnet-to-torch")):
        ckpt("convert", path, out, "--map", by, "--arch", "nested", "--force")
        assert all_bits(loaded(out)) == all_bits(state)
        assert list(loaded(out)) == list(state)
    assert ckpt("diff", a, b, "--map", "keras-to-mxnet").out == ""


def test_a_layer_used_twice_is_once_in_keras_twice_in_torch_and_two_copies_in_gluon(tmp_path: Path, ckpt: Ckpt) -> None:
    state = torch.load(SAMPLES / "shared-mlp.pt")
    layers = ("0", "2", "6")
    keras = {f"layers/dense{f'_{k}' if k else ''}/vars/0": state[f"{n}.weight"].T.contiguous() for k, n in enumerate(layers)}
    keras |= {f"layers/dense{f'_{k}' if k else ''}/vars/1": state[f"{n}.bias"] for k, n in enumerate(layers)}
    gluon = {f"{int(name[0]) // 2}{name[1:]}": tensor.clone() for name, tensor in state.items()}
    paths = {"keras": written(tmp_path, "k", keras), "mxnet": written(tmp_path, "m", gluon), "torch": SAMPLES / "shared-mlp.pt"}
    for one, two in (("keras", "torch"), ("torch", "keras"), ("mxnet", "torch"), ("torch", "mxnet")):
        assert ckpt("diff", paths[one], paths[two], "--map", f"{one}-to-{two}").out == ""
    out = tmp_path / "out.pt"
    ckpt("convert", paths["keras"], out, "--map", "keras-to-torch", "--arch", "shared-mlp")
    assert ckpt("tied", out).rows == ckpt("tied", paths["torch"]).rows
    ckpt("convert", paths["torch"], out, "--map", "torch-to-keras", "--force")
    assert {row[0] for row in ckpt("ls", out).rows} == set(keras)


def test_a_batch_norm_gets_its_counter_and_loses_it(tmp_path: Path, ckpt: Ckpt) -> None:
    keras = {f"layers/batch_normalization/vars/{k}": torch.full((3,), float(k)) for k in range(4)}
    a, there, back = written(tmp_path, "a", keras), tmp_path / "b.pt", tmp_path / "c.safetensors"
    ckpt("convert", a, there, "--map", "keras-to-torch")
    assert nn.Sequential(nn.BatchNorm1d(3)).load_state_dict(torch.load(there))
    assert torch.load(there)["0.num_batches_tracked"].dtype == torch.int64
    assert "left out: *.num_batches_tracked" in ckpt("convert", there, back, "--map", "torch-to-keras").err
    assert all_bits(loaded(back)) == all_bits(keras)


def test_keras_3_under_tf_train_checkpoint_calls_some_variables_by_their_attribute(tmp_path: Path, ckpt: Ckpt) -> None:
    """`model/_functional/_operations/1/_kernel`: as tf.train.Checkpoint(model=model).save of Keras 3.15 names them."""
    state = torch.load(SAMPLES / "mlp.pt")
    home, leaf = "model/_functional/_operations", ".ATTRIBUTES/VARIABLE_VALUE"
    held = {f"{home}/{k}/_kernel/{leaf}": state[f"{2 * k - 2}.weight"].T.contiguous() for k in (1, 2)}
    held |= {f"{home}/{k}/bias/{leaf}": state[f"{2 * k - 2}.bias"] for k in (1, 2)}
    assert ckpt("diff", written(tmp_path, "a", held), SAMPLES / "mlp.pt", "--map", "tensorflow-to-torch").out == ""


def test_a_recipe_has_a_step_for_it(tmp_path: Path, ckpt: Ckpt) -> None:
    state = torch.load(SAMPLES / "mlp.pt")
    keras = {"layers/dense/vars/0": state["0.weight"].T, "layers/dense/vars/1": state["0.bias"], "optimizer/vars/0": torch.tensor(1)}
    keras |= {"layers/dense_1/vars/0": state["2.weight"].T, "layers/dense_1/vars/1": state["2.bias"]}
    a, recipe, out = written(tmp_path, "a", {k: v.contiguous() for k, v in keras.items()}), tmp_path / "r.toml", tmp_path / "out.pt"
    recipe.write_text('[[step]]\nmap = "keras-to-torch"\narch = "mlp"\n[[step]]\nset = ["0.bias = 1"]\n')
    assert "left out: optimizer/vars/*" in ckpt("apply", a, recipe, "-o", out).err
    state["0.bias"].fill_(1)
    assert all_bits(loaded(out)) == all_bits(state)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ('map = "keras-to-troch"', "step 1 (map): no map is called 'keras-to-troch'"),
        ('map = "keras-to-torch"\nrest = "no"', 'step 1 (map): rest takes "keep", "drop" or "error"'),
        ('map = "mxnet-to-torch"\nlike = "no.pt"', "step 1 (map): no.pt: no such file"),
        ('map = "torch-to-keras"\narch = "mlp"', "step 1 (map): --arch mlp has the names of torch"),
        ('map = "keras-to-torch"', "step 1 (map): the map has no place for 0.weight, 0.bias, 2.weight, 2.bias"),
    ],
    ids=str,
)
def test_a_step_that_makes_no_sense_is_one_line(step: str, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "r.toml").write_text(f"[[step]]\n{step}\n")
    assert says in ckpt("apply", SAMPLES / "mlp.pt", tmp_path / "r.toml", "-n", status=2).err


@pytest.mark.parametrize(
    ("by", "name"),
    [("tensorflow-to-torch", "optimizer/_trainable_variables/0"), ("mxnet-to-torch", "rand_weight"), ("torch-to-keras", "mask")],
)
def test_what_may_be_a_weight_is_never_left_out_in_silence(by: str, name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """Keras 3 under tf.train.Checkpoint; a Constant of Gluon; a buffer of torch."""
    layer = {"tensorflow-to-torch": "dense/kernel", "mxnet-to-torch": "0.weight", "torch-to-keras": "0.weight"}[by]
    a, out = written(tmp_path, "a", {name: torch.ones(4, 4), layer: torch.ones(4, 4)}), tmp_path / "out.pt"
    assert f"the map has no place for {name} (--rest drop" in ckpt("convert", a, out, "--map", by, status=2).err
    ckpt("convert", a, out, "--map", by, "--rest", "keep")
    assert name in loaded(out)


# Files of rules


RULES = """
[[rule]]
from = "{layer}/kernel"
to = "{layer}.weight"
layout = "io->oi"

[[rule]]
from = "{layer}/kernel"
to = "{layer}.weight"
layout = "HWIO->OIHW"

[[rule]]
from = "{layer}/bias"
to = "{layer}.bias"
"""


def test_rules_carry_names_and_layouts(tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    state = {"a/b/kernel": torch.rand(4, 8), "a/b/bias": torch.rand(8), "c/kernel": torch.rand(3, 2, 5, 6)}
    a, out, back = written(tmp_path, "a", state), tmp_path / "out.pt", tmp_path / "back.safetensors"
    ckpt("convert", a, out, "--map", tmp_path / "rules.toml")
    want = {"a/b.weight": state["a/b/kernel"].T, "a/b.bias": state["a/b/bias"], "c.weight": state["c/kernel"].permute(3, 2, 0, 1)}
    assert all_bits(loaded(out)) == all_bits({name: tensor.contiguous() for name, tensor in want.items()})
    assert ckpt("diff", a, out, "--map", tmp_path / "rules.toml").out == ""
    ckpt("convert", out, back, "--map", f"inverse:{tmp_path / 'rules.toml'}")
    assert all_bits(loaded(back)) == all_bits(state)


def test_a_dense_layer_after_an_image_laid_flat(tmp_path: Path, ckpt: Ckpt) -> None:
    """Keras flattens H×W×C, torch C×H×W: the rows of the kernel change places."""
    rules = '[[rule]]\nfrom = "kernel"\nto = "weight"\nlayout = "(HWC)o->o(CHW)"\nsizes = {H = 2, W = 3}\n'
    (tmp_path / "rules.toml").write_text(rules)
    kernel, image = torch.rand(2 * 3 * 4, 5), torch.rand(2, 3, 4)
    a, out = written(tmp_path, "a", {"kernel": kernel}), tmp_path / "out.pt"
    ckpt("convert", a, out, "--map", tmp_path / "rules.toml")
    assert torch.allclose(loaded(out)["weight"] @ image.permute(2, 0, 1).flatten(), image.flatten() @ kernel)


@pytest.mark.parametrize(
    ("rules", "options", "says"),
    [
        ("", (), "the map has no rules (each begins with the line"),
        ("rest = 'keep'", (), "the map has no rules"),
        ("[[rule]]\nfrom = 3", (), "rule 1: from and to are names"),
        ("[[rule]]\nto = 'a'", (), "rule 1: nothing says which names"),
        ("[[rule]]\nfrom = 'a'\nfrm = 'b'", (), "rule 1: a rule has no 'frm' (did you mean from?)"),
        ("[[rule]]\nfrom = '{x}.a'\nto = '{y}.a'", (), "the names have different parts in braces"),
        ("[[rule]]\nfrom = 'w'\nto = 'v'\nlayout = 'io->oj'", (), "layout = 'io->oj' has other letters after than before"),
        ("[[rule]]\nfrom = 'w'\nto = 'v'\nlayout = 'oi'", (), "layout = 'oi' says no change of axes"),
        ("[[rule]]\nfrom = 'w'\nto = 'v'\npermute = [0, 2]", (), "permute = [0, 2] is no order of axes"),
        (
            "[[rule]]\nfrom = 'w'\nto = 'v'\nlayout = '(ab)c->abc'",
            ("--rest", "drop"),
            "w: nothing tells the size of a (say it: sizes = {a = 1})",
        ),
        ("[[rule]]\nfrom = 'w'\nto = 'v'\nlayout = '(ab)c->abc'\nsizes = {a = 3}", ("--rest", "drop"), "w has shape 4x2, which axes (ab)c"),
        ("[[rule]]\nfrom = 'b'\nto = 'v'\nlayout = 'io->oi'", (), "rule 1: b has 1 axes"),
        ("[[rule]]\nfrom = 'no'\nto = 'v'", (), "rule 1: nothing matches 'no'"),
        ("[[rule]]\nfrom = 'w'\nto = 'v'", (), "the map has no place for b (--rest drop leaves them out"),
        ("[[rule]]\nfrom = 'w'\nto = 'v'\n[[rule]]\nfrom = '{x}'\nto = '{x}.x'", (), "rule 2: rule 1 speaks of w, too"),
        ("[[rule]]\nfrom = 'w'\nto = 'v'\n[[rule]]\nfrom = 'b'\nto = 'v'", (), "w and b would both be called 'v'"),
        ("rest = 'no'\n[[rule]]\nfrom = 'w'\nto = 'v'", (), "rest = 'no' makes no sense (one of keep, drop, error)"),
        ("[[rule]]\nfrom = 'w'\nto = 'b'", ("--rest", "keep"), "two tensors would both be called 'b'"),
        ("rule =", (), "this is no TOML"),
    ],
    ids=str,
)
def test_rules_that_make_no_sense_are_one_line(rules: str, options: tuple[str, ...], says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "rules.toml").write_text(rules)
    a, out = written(tmp_path, "a", {"w": torch.ones(4, 2), "b": torch.ones(3)}), tmp_path / "out.pt"
    assert says in ckpt("convert", a, out, "--map", tmp_path / "rules.toml", *options, status=2).err
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--map", "keras-to-troch"), "no map is called 'keras-to-troch' (did you mean keras-to-torch"),
        (("--map", "torch-to-torch"), "no map is called 'torch-to-torch'"),
        (("--map", "no.toml"), "no.toml: no such file"),
        (("--like", SAMPLES / "mlp.pt"), "--like and --rest go with --map"),
        (("--map", "torch-to-keras", "--arch", "mlp"), "--arch mlp has the names of torch"),
        (
            ("--map", "mxnet-to-torch", "--like", SAMPLES / "nested.pt"),
            "0.weight could become 0.block 0.0.weight, 0.block 1.0.weight, 0.block 2.0.weight, 0.block 3.0.weight: neither names nor",
        ),
        (
            ("--map", "mxnet-to-torch", "--like", SAMPLES / "shared-mlp.pt", "--rest", "drop"),
            "nothing here becomes 2.weight, 2.bias",
        ),
        (("--map", "mxnet-to-torch", "--arch", "mlp(hidden=9)"), "the map has no place for"),
    ],
    ids=str,
)
def test_maps_that_make_no_sense_are_one_line(options: tuple[object, ...], says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    assert says in ckpt("convert", SAMPLES / "mlp.pt", tmp_path / "out.pt", *options, status=2).err


def test_a_layer_of_a_kind_that_no_map_knows_is_told(tmp_path: Path, ckpt: Ckpt) -> None:
    """Keras' GRU without reset_after, which has one row of biases, computes what no other framework does."""
    gru = {
        "layers/gru/cell/vars/0": torch.ones(4, 12),
        "layers/gru/cell/vars/1": torch.ones(4, 12),
        "layers/gru/cell/vars/2": torch.ones(12),
    }
    dense = {"layers/dense/vars/0": torch.ones(4, 1)}
    a, out = written(tmp_path, "a", gru | dense), tmp_path / "out.pt"
    assert "the map has no place for layers/gru/cell/vars/0" in ckpt("convert", a, out, "--map", "keras-to-torch", status=2).err
    ckpt("convert", a, out, "--map", "keras-to-torch", "--rest", "drop")
    assert list(loaded(out)) == ["0.weight"]


# Properties


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_layout_and_back_is_the_identity_and_moves_what_numpy_moves(tmp_path: Path, ckpt: Ckpt, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    before = "abcd"[:count]
    after = "".join(data.draw(st.permutations(before)))
    cut = data.draw(st.integers(0, count))  # the first axes after are one
    merged = f"({after[:cut]}){after[cut:]}" if cut > 1 else after
    said = ", ".join(f"{letter} = {n}" for letter, n in zip(before, sizes, strict=True))
    rule = f'[[rule]]\nfrom = "x"\nto = "y"\nlayout = "{before}->{merged}"\nsizes = {{{said}}}\n'
    (tmp_path / "rules.toml").write_text(rule)
    values = torch.arange(float(np.prod(sizes))).reshape(sizes)
    a, b, c = written(tmp_path, "a", {"x": values}), tmp_path / "b.pt", tmp_path / "c.pt"
    ckpt("convert", a, b, "--map", tmp_path / "rules.toml", "--force")
    moved = values.permute([before.index(letter) for letter in after])
    assert torch.equal(loaded(b)["y"], moved.reshape(-1, *moved.shape[cut:]) if cut > 1 else moved)
    ckpt("convert", b, c, "--map", f"inverse:{tmp_path / 'rules.toml'}", "--force")
    assert torch.equal(loaded(c)["x"], values)


def test_a_transposed_tensor_is_a_view_of_the_same_storage(tmp_path: Path) -> None:
    path = written(tmp_path, "a", {"w": torch.arange(6.0).view(2, 3)})
    before = reading.open(str(path))
    after = carry(before, parse_rules('[[rule]]\nfrom = "w"\nto = "v"\nlayout = "io->oi"')).checkpoint
    assert after["v"].storage is before["w"].storage


@pytest.mark.parametrize("framework", [name for name in framework_names() if name != "torch"])
def test_new_names_are_read_back_as_what_they_were_made_of(framework: str, tmp_path: Path, ckpt: Ckpt) -> None:
    state = state_of(network())
    if framework == "flax":  # its ConvTranspose is another kind
        state = {name: tensor for name, tensor in state.items() if not name.startswith("up.")}
    a, out = written(tmp_path, "a", state), tmp_path / "out.safetensors"
    ckpt("convert", a, out, "--map", f"torch-to-{framework}")
    assert ckpt("diff", out, a, "--map", f"{framework}-to-torch").out == ""
    assert ckpt("diff", a, out, "--map", f"torch-to-{framework}").out == ""
