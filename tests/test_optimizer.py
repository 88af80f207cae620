"""`ckpt ls --optimizer`: what optimizers keep, matched to the parameters that they were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES, Ckpt
from torch import nn


def trained(net: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    net(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    return optimizer


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def square() -> nn.Sequential:
    """Two weights of one shape."""
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))


def shared() -> nn.Sequential:
    layer = nn.Linear(4, 4)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(4, 1))


def of(ckpt: Ckpt, path: object) -> dict[str, str]:
    return {row[0]: row[5] for row in ckpt("ls", path, "--optimizer").rows}


def truth(net: nn.Module, optimizer: torch.optim.Optimizer, home: str = "optimizer", before: str = "model.") -> dict[str, str]:
    """By identity: the states that the optimizer keeps of each parameter object."""
    names = {id(parameter): before + name for name, parameter in net.named_parameters()}
    ids = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    state = optimizer.state_dict()["state"]
    return {
        f"{home}.state.{key}.{slot}": names[ids[key]]
        for key, slots in state.items()
        for slot, value in slots.items()
        if torch.is_tensor(value)
    }


@pytest.mark.parametrize("build", [mlp, square, shared])
@pytest.mark.parametrize(
    "make",
    [
        lambda net: torch.optim.SGD(net.parameters(), 0.1, momentum=0.9),
        lambda net: torch.optim.Adam(net.parameters(), amsgrad=True),
        lambda net: torch.optim.RMSprop(net.parameters(), momentum=0.9, centered=True),
        lambda net: torch.optim.AdamW(net.named_parameters()),
    ],
    ids=["sgd", "adam", "rmsprop", "adamw, named"],
)
def test_each_state_is_of_the_parameter_that_the_optimizer_was_given(
    ckpt: Ckpt, tmp_path: Path, build: Callable[[], nn.Module], make: Callable[[nn.Module], torch.optim.Optimizer]
) -> None:
    net = build()
    optimizer = trained(net, make(net))
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    assert of(ckpt, tmp_path / "a.pt") == truth(net, optimizer)


def test_of_several_groups_names_tell_and_else_a_shape_that_only_one_has(ckpt: Ckpt, tmp_path: Path) -> None:
    net = square()
    named = dict(net.named_parameters())
    groups = [[pair for pair in named.items() if pair[0].endswith(leaf)] for leaf in ("weight", "bias")]
    optimizer = trained(net, torch.optim.Adam([{"params": group} for group in groups]))
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "named.pt")
    assert of(ckpt, tmp_path / "named.pt") == truth(net, optimizer)
    bare = optimizer.state_dict()
    for group in bare["param_groups"]:
        del group["param_names"]
    torch.save({"model": net.state_dict(), "optimizer": bare}, tmp_path / "bare.pt")
    found = of(ckpt, tmp_path / "bare.pt")
    assert {name: parameter for name, parameter in found.items() if parameter} == {
        name: parameter for name, parameter in truth(net, optimizer).items() if parameter in ("model.4.weight", "model.4.bias")
    }


def test_several_optimizers_and_an_average(ckpt: Ckpt, tmp_path: Path) -> None:
    net, ema = mlp(), mlp()
    both = [trained(net, torch.optim.Adam(net.parameters())) for _ in range(2)]
    states = {"state_dict": net.state_dict(), "optimizer_states": [one.state_dict() for one in both], "ema": {"module": ema.state_dict()}}
    torch.save(states, tmp_path / "a.ckpt")
    want = truth(net, both[0], "optimizer_states.0", "state_dict.") | truth(net, both[1], "optimizer_states.1", "state_dict.")
    want |= {f"ema.module.{name}": f"state_dict.{name}" for name in ema.state_dict()}
    assert of(ckpt, tmp_path / "a.ckpt") == want


def test_master_weights_are_those_of_the_groups(ckpt: Ckpt, tmp_path: Path) -> None:
    net = mlp().bfloat16()
    inner = {"state": {}, "param_groups": [{"lr": 1, "params": [0, 1, 2, 3]}]}
    masters = [[parameter.detach().float() for parameter in net.parameters()]]
    names = [f"model.{name}" for name, _ in net.named_parameters()]
    for optimizer in (inner, {"optimizer": inner}):  # the latter as Megatron-LM has it
        torch.save({"model": net.state_dict(), "optimizer": {**optimizer, "fp32_from_fp16_params": masters}}, tmp_path / "a.pt")
        assert of(ckpt, tmp_path / "a.pt") == {f"optimizer.fp32_from_fp16_params.0.{number}": name for number, name in enumerate(names)}


def test_an_optimizer_alone_lists_its_states_and_says_nothing_of_what_is_not_there(ckpt: Ckpt, tmp_path: Path) -> None:
    net = mlp()
    torch.save(trained(net, torch.optim.Adam(net.parameters())).state_dict(), tmp_path / "optimizer.pt")
    found = of(ckpt, tmp_path / "optimizer.pt")
    assert len(found) == 12 and set(found.values()) == {""}


def test_real_checkpoints(ckpt: Ckpt, case: Callable[[str], Path]) -> None:
    by_name = of(ckpt, case("torch_dcp/train_adamw_converted.pt"))
    assert by_name["optim.state.0.weight.exp_avg"] == "model.0.weight" and len(by_name) == 12
    found = of(ckpt, case("torch/train_adam.ckpt"))
    assert found["optimizer.state.2.max_exp_avg_sq"] == found["ema.module.2.weight"] == found["ema_alias.2.weight"] == "model.2.weight"


REAL = {
    "keras3/tied.keras": (14, {"optimizer/vars/1": "",
        "optimizer/vars/9": "layers/dense_1/vars/1", "optimizer/vars/12": "layers/dense_2/vars/1"}),
    "keras3/tied.weights.h5": (14, {"optimizer/vars/9": "layers/dense_1/vars/1"}),
    # without its config, the order of layers of several classes is not known: one shape alone tells
    "keras3/image.weights.h5": (18, {"optimizer/vars/3": "layers/conv2d/vars/0", "optimizer/vars/5": "", "optimizer/vars/7": ""}),
    "keras3/image.legacy.h5": (
        18,
        {
            "optimizer_weights/adam/learning_rate": "",
            "optimizer_weights/adam/sequential_dense_bias_velocity": "model_weights/dense/sequential/dense/bias",
        },
    ),
    "tf2_10/plain.h5": (9, {"optimizer_weights/Adam/iter:0": "",
        "optimizer_weights/Adam/dense_1/kernel/v:0": "model_weights/dense_1/dense_1/kernel:0"}),
    "tf2_10/plain_tf": (13, {"optimizer/iter": "", "layer_with_weights-1/bias/.OPTIMIZER_SLOT/optimizer/v": "layer_with_weights-1/bias"}),
    "tf2_21/saver_v2": (2, {"dense/kernel/Adam": "dense/kernel", "dense/kernel/Adam_1": "dense/kernel"}),
    "tf1_15/saver_v1": (2, {"dense/kernel/Adam": "dense/kernel", "dense/kernel/Adam_1": "dense/kernel"}),
    "tf2_21/conv_ckpt": (14, {"optimizer/_iterations": "", "optimizer/_variables/7": "optimizer/_trainable_variables/2",
        "optimizer/_variables/13": "optimizer/_trainable_variables/5"}),
}  # fmt: skip


@pytest.mark.parametrize("path", REAL)
def test_what_keras_and_tensorflow_keep(path: str, ckpt: Ckpt, case: Callable[[str], Path]) -> None:
    count, some = REAL[path]
    found = of(ckpt, case(path))
    assert len(found) == count and {name: found[name] for name in some} == some


def test_what_optax_keeps(ckpt: Ckpt) -> None:
    found = of(ckpt, SAMPLES / "train-state.msgpack")
    assert found["opt_state.0.mu.Dense_0.kernel"] == found["opt_state.0.nu.Dense_0.kernel"] == "params.Dense_0.kernel"
    assert found["opt_state.0.count"] == ""


def test_a_name_is_refuted_by_its_shape(ckpt: Ckpt, tmp_path: Path) -> None:
    tensors = {
        "params.a": torch.ones(2),
        "opt_state.0.mu.a": torch.ones(2),
        "opt_state.0.nu.a": torch.ones(3),
        "opt_state.0.nu.b": torch.ones(2),
    }
    torch.save(tensors, tmp_path / "a.pt")
    assert of(ckpt, tmp_path / "a.pt") == {"opt_state.0.mu.a": "params.a", "opt_state.0.nu.a": "", "opt_state.0.nu.b": ""}


def test_patterns_sorting_json_and_errors(ckpt: Ckpt) -> None:
    sample = SAMPLES / "training.ckpt"
    assert [row[0] for row in ckpt("ls", sample, "*.0.exp_avg", "--optimizer").rows] == ["optimizer.state.0.exp_avg"]
    assert [row[3] for row in ckpt("ls", sample, "--optimizer", "--sort", "params").rows[:3]] == ["32", "32", "8"]
    found = ckpt("ls", sample, "--optimizer", "--json").json
    assert found["params"] == 102 and found["tensors"][1]["of"] == "model.0.weight"
    assert "there is no state of an optimizer" in ckpt("ls", SAMPLES / "mlp.pt", "--optimizer", status=2).err
    assert "nothing matches 'model.*'" in ckpt("ls", sample, "model.*", "--optimizer", status=2).err
    assert "leave out --tree and --fold" in ckpt("ls", sample, "--optimizer", "--tree", status=2).err
