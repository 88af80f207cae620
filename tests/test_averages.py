"""The averages of a training (EMA, SWA): found where programs keep them, matched to their parameters, and put in place by `set`.

The files are made as the programs make them; the comment of each names the code. What is right is what the program itself would copy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy
import pytest
import safetensors.torch
import torch
from conftest import SAMPLES, Ckpt
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

State = dict[str, Any]


def network() -> nn.Sequential:
    """Two weights and three biases of one shape; buffers; more layers than one digit counts."""
    more = [layer for _ in range(5) for layer in (nn.ReLU(), nn.Linear(4, 4, bias=False))]
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), *more, nn.Linear(4, 2))


def trained(use_buffers: bool = False, decay: float = 0.9) -> tuple[nn.Module, AveragedModel, torch.optim.Optimizer]:
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=use_buffers)
    for _ in range(2):
        net(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        average.update_parameters(net)
    return net, average, optimizer


def swa_utils(net: nn.Module, average: AveragedModel) -> State:  # torch/optim/swa_utils.py
    return {"model": net.state_dict(), "swa_model": average.state_dict(), "epoch": 3}


def timm(net: nn.Module, average: AveragedModel) -> State:  # timm/utils/checkpoint_saver.py
    return {"epoch": 3, "arch": "net", "state_dict": net.state_dict(), "state_dict_ema": average.module.state_dict()}


def detr(net: nn.Module, average: AveragedModel) -> State:  # lyuwenyu/RT-DETR src/optim/ema.py
    return {"model": net.state_dict(), "ema": {"module": average.module.state_dict(), "updates": 3}}


def distributed(net: nn.Module, average: AveragedModel) -> State:  # torch/nn/parallel/distributed.py, whose names begin with module
    return {"model": {f"module.{name}": value for name, value in net.state_dict().items()}, "ema_model": average.module.state_dict()}


def basicsr(net: nn.Module, average: AveragedModel) -> State:  # basicsr/models/base_model.py
    return {"params": net.state_dict(), "params_ema": average.module.state_dict()}


def compvis(net: nn.Module, average: AveragedModel) -> State:  # CompVis/latent-diffusion ldm/modules/ema.py: LitEma
    kept = {name.replace(".", ""): value.detach() for name, value in average.module.named_parameters()}
    model = {f"model.{name}": value for name, value in net.state_dict().items()}
    count = {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(2, dtype=torch.int)}
    return {"state_dict": {"betas": torch.ones(3), **model, **count, **{f"model_ema.{name}": value for name, value in kept.items()}}}


def lists(net: nn.Module, average: AveragedModel) -> State:  # diffusers/training_utils.py: EMAModel.state_dict
    shadow = [value.detach().clone() for value in average.module.parameters()]
    return {"model": net.state_dict(), "ema": {"decay": 0.9, "optimization_step": 2, "shadow_params": shadow}}


def torch_ema(net: nn.Module, average: AveragedModel) -> State:  # fadel/pytorch_ema torch_ema/ema.py, within `average_parameters()`
    shadow, trained = ([value.detach().clone() for value in each.parameters()] for each in (average.module, net))
    ema = {"decay": 0.9, "num_updates": 2, "shadow_params": shadow, "collected_params": trained}
    return {"state_dict": net.state_dict(), "ema": ema}


def nemo(net: nn.Module, average: AveragedModel) -> State:  # NVIDIA/NeMo nemo/collections/common/callbacks/ema.py: EMAOptimizer
    kept = tuple(value.detach().clone() for value in average.module.parameters())
    state = {"opt": {"state": {}, "param_groups": []}, "ema": kept, "current_step": 2, "decay": 0.9, "every_n_steps": 1}
    return {"state_dict": net.state_dict(), "optimizer_states": [state]}


def lightning(net: nn.Module, average: AveragedModel) -> State:  # pytorch_lightning/callbacks/stochastic_weight_avg.py
    named = {"n_averaged": 2, "average_model_state": average.module.state_dict()}
    return {"state_dict": net.state_dict(), "callbacks": {"StochasticWeightAveraging": named}}


def ema_pytorch(net: nn.Module, average: AveragedModel) -> State:  # lucidrains/ema-pytorch ema_pytorch.py, with its online model
    online, kept = ({f"{called}.{k}": v.clone() for k, v in each.state_dict().items()} for called, each in
                    (("online_model", net), ("ema_model", average.module)))  # fmt: skip
    state = {"initted": torch.tensor(True), "step": torch.tensor(2)}
    return {"model": net.state_dict(), "opt": {"state": {}, "param_groups": []}, "ema": {**online, **kept, **state}}


def escaped(net: nn.Module, average: AveragedModel) -> State:  # Lightning's keys of callbacks hold their arguments
    return {"state_dict": net.state_dict(), "callbacks": {"EMA{'decay': 0.99}": {"ema_weights": average.module.state_dict()}}}


NAMED = [swa_utils, timm, detr, distributed, basicsr, lightning, ema_pytorch, escaped]  # buffers are in them, too
PARAMETERS = [compvis, lists, torch_ema, nemo]


def owners(ckpt: Ckpt, path: Path) -> dict[str, str]:
    return {row[0]: row[5] for row in ckpt("ls", path, "--optimizer").rows}


def flat(value: Any, path: str = "") -> dict[str, torch.Tensor]:
    """The tensors in nested containers, by path."""
    if torch.is_tensor(value):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {name: each for key, inner in items for name, each in flat(inner, f"{path}.{key}" if path else str(key)).items()}


def check(path: Path, before: State, net: nn.Module, right: nn.Module, buffers: bool) -> None:
    """The model in the file is `right`; all else is as it was."""
    now, then = flat(torch.load(path, weights_only=False)), flat(before)
    moved = dict(right.state_dict() if buffers else right.named_parameters())
    of = {id(value): moved[name] for name, value in net.state_dict().items() if name in moved}
    top = next(key for key in ("model", "state_dict", "params") if key in before)
    assert now.keys() == then.keys()
    for name, value in then.items():
        want = next((moved[own] for own in moved if name in ends(top, own)), value)
        assert torch.equal(now[name], want), name
    assert of or moved


def ends(top: str, own: str) -> set[str]:
    return {f"{top}.{own}", f"{top}.module.{own}", f"{top}.model.{own}"}


@pytest.mark.parametrize("program", [*NAMED, *PARAMETERS], ids=lambda program: program.__name__)
def test_an_average_is_put_in_place_as_its_program_does(ckpt: Ckpt, tmp_path: Path, program: Callable[..., State]) -> None:
    net, average, optimizer = trained()
    content = {**program(net, average), "optimizer": optimizer.state_dict()}
    torch.save(content, tmp_path / "last.pt")
    done = ckpt("set", tmp_path / "last.pt", "* = average", "-o", tmp_path / "out.pt")
    check(tmp_path / "out.pt", content, net, average.module, program in NAMED)
    left = "have no average" if program not in PARAMETERS else "running_mean"
    assert ("stay as they are" in done.err) == (program in PARAMETERS) and (left in done.err) == (program in PARAMETERS)


@pytest.mark.parametrize("program", [*NAMED, *PARAMETERS], ids=lambda program: program.__name__)
def test_each_average_is_listed_with_its_parameter(ckpt: Ckpt, tmp_path: Path, program: Callable[..., State]) -> None:
    net, average, _ = trained()
    content = program(net, average)
    torch.save(content, tmp_path / "last.pt")
    found = owners(ckpt, tmp_path / "last.pt")
    values = flat(content)
    shared = {name for name, _ in net.named_parameters()}
    assert len({owner for owner in found.values() if owner}) == (len(net.state_dict()) if program in NAMED else len(shared))
    want = dict(average.module.state_dict())
    for name, owner in found.items():
        own = next((each for each in want if owner.endswith(f".{each}") and f".{owner}".split(each)[0].endswith(".")), None)
        assert not owner or torch.equal(values[name.replace("\\", "")], want[own]), (name, owner)


def test_summary_tells_of_averages_and_counts_none_of_them(ckpt: Ckpt, tmp_path: Path) -> None:
    net, average, optimizer = trained()
    for number, program in enumerate([*NAMED, *PARAMETERS]):
        path = tmp_path / f"{number}.pt"
        torch.save({**program(net, average), "optimizer": optimizer.state_dict()}, path)
        found = ckpt("summary", path, "--json").json
        assert (found["params"], found["buffers"]) == (141 if program is compvis else 138, 9), program  # betas
        (told,) = found["averages"]
        assert told["in_place"] is False and told["parameters"] == len(net.state_dict() if program in NAMED else list(net.parameters()))
        assert told["decay"] in (None, 0.9, numpy.float32(0.9)) and told["updates"] in (None, 2, 3)
        assert f"ckpt set {path} '* = average' -o OUT" in ckpt("summary", path, "--color", "always").out


def test_values_are_cast_and_rounded_once(ckpt: Ckpt, tmp_path: Path) -> None:
    weights, kept = torch.randn(3, 5).bfloat16(), torch.randn(3, 5)
    torch.save({"model": {"w": weights}, "ema": {"w": kept}}, tmp_path / "a.pt")
    ckpt("set", tmp_path / "a.pt", "model.* = average", "-o", tmp_path / "out.pt")
    assert torch.equal(torch.load(tmp_path / "out.pt")["model"]["w"], kept.bfloat16())
    ckpt("set", tmp_path / "a.pt", "model.w = 0.5 * this + 0.5 * average", "-o", tmp_path / "half.pt")
    assert torch.equal(torch.load(tmp_path / "half.pt")["model"]["w"], (0.5 * weights.float() + 0.5 * kept).bfloat16())
    ckpt("set", tmp_path / "a.pt", "model.w[1] -= average", "-o", tmp_path / "row.pt")
    assert torch.equal(torch.load(tmp_path / "row.pt")["model"]["w"][1], (weights[1].float() - kept[1]).bfloat16())


def several(tmp_path: Path) -> tuple[Path, list[AveragedModel]]:
    net, slow, _ = trained()
    fast = AveragedModel(net)
    for value in fast.module.parameters():
        value.data += 1
    content = {"model": net.state_dict(), "ema_0.9999": slow.module.state_dict(), "ema_0.99": fast.module.state_dict()}
    torch.save(content, tmp_path / "several.pt")
    return tmp_path / "several.pt", [slow, fast]


def test_of_several_averages_one_is_chosen(ckpt: Ckpt, tmp_path: Path) -> None:
    path, (_, fast) = several(tmp_path)
    said = ckpt("set", path, "* = average", "-n", status=2).err
    assert "has several averages (choose one: average(ema_0.9999.*) or average(ema_0.99.*))" in said
    ckpt("set", path, "* = average(ema_0.99.*)", "-o", tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt")["model"]
    assert all(torch.equal(found[name], value) for name, value in fast.module.state_dict().items())
    net = trained()[0]
    torch.save(net.state_dict(), tmp_path / "other.pt")
    assert "has several averages" in ckpt("set", tmp_path / "other.pt", f"* = average(@{path})", "-n", status=2).err
    ckpt("set", tmp_path / "other.pt", f"* = average(@{path}#ema_0.99.*)", "-i")
    torch.save(compvis(net, fast), tmp_path / "compvis.ckpt")
    copy = ckpt("set", tmp_path / "other.pt", f"* = average(@{tmp_path}/compvis.ckpt#state_dict.model_ema.*)", "-o", tmp_path / "more.pt")
    assert "running_mean" in copy.err and torch.equal(torch.load(tmp_path / "more.pt")["0.weight"], fast.module[0].weight)
    assert torch.equal(torch.load(tmp_path / "other.pt")["0.weight"], found["0.weight"])


def test_one_storage_under_two_names_is_one_average(ckpt: Ckpt, tmp_path: Path) -> None:
    kept = {"w": torch.ones(3)}
    torch.save({"model": {"w": torch.zeros(3)}, "ema": kept, "ema_alias": kept}, tmp_path / "a.pt")
    ckpt("set", tmp_path / "a.pt", "model.* = average", "-i")
    assert torch.load(tmp_path / "a.pt")["model"]["w"].tolist() == [1, 1, 1]


def test_tied_parameters_and_averages_that_are_the_weights_themselves(ckpt: Ckpt, tmp_path: Path) -> None:
    weight, other, kept = torch.zeros(4, 2), torch.randn(2), torch.randn(4, 2)
    model = {"embed.weight": weight, "norm.weight": other, "head.weight": weight}
    average = {"embed.weight": kept, "norm.weight": other, "head.weight": kept.clone()}  # cloned one by one
    torch.save({"model": model, "ema": average}, tmp_path / "a.pt")
    ckpt("set", tmp_path / "a.pt", "* = average", "-o", tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt")["model"]
    assert torch.equal(found["head.weight"], kept) and found["head.weight"].data_ptr() == found["embed.weight"].data_ptr()
    assert torch.equal(found["norm.weight"], other)
    once = [kept, other]  # parameters() has what is tied once
    torch.save({"model": model, "ema": {"shadow_params": once}}, tmp_path / "list.pt")
    ckpt("set", tmp_path / "list.pt", "* = average", "-i")
    assert torch.equal(torch.load(tmp_path / "list.pt")["model"]["head.weight"], kept)


OTHERS: dict[str, Callable[[nn.Module, AveragedModel], State]] = {
    "an AveragedModel": lambda net, average: average.state_dict(),
    "its module": lambda net, average: average.module.state_dict(),
    "a whole training": swa_utils,
    "names without dots": lambda net, average: {n.replace(".", "_"): v.detach() for n, v in average.module.named_parameters()},
    "a list": lambda net, average: lists(net, average)["ema"],
    "lists beside weights": lists,
    "ema_pytorch": lambda net, average: ema_pytorch(net, average)["ema"],
    "CompVis": compvis,
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_average_in_another_file_is_matched_though_names_differ(ckpt: Ckpt, tmp_path: Path, other: str, wrapped: bool) -> None:
    net, average, _ = trained()
    names = {f"encoder.{name}" if wrapped else name: value for name, value in net.state_dict().items()}
    torch.save(names, tmp_path / "model.pt")
    torch.save(OTHERS[other](net, average), tmp_path / "ema.pt")
    ckpt("set", tmp_path / "model.pt", f"* = average(@{tmp_path}/ema.pt)", "-o", tmp_path / "out.safetensors")
    found = safetensors.torch.load_file(tmp_path / "out.safetensors")
    for name, value in average.module.named_parameters():
        assert torch.equal(found[f"encoder.{name}" if wrapped else name], value)


def test_a_list_is_not_matched_to_a_file_that_sorts_names(ckpt: Ckpt, tmp_path: Path) -> None:
    """All shapes are one: ten weights in the order of the model are not the ten of a file that has 10 before 2."""
    values = [torch.full((3,), float(number)) for number in range(12)]
    torch.save({"shadow_params": values}, tmp_path / "ema.pt")
    named = {f"layers.{number}.weight": value for number, value in enumerate(values)}
    safetensors.torch.save_file(dict(sorted(named.items())), tmp_path / "model.safetensors")
    said = ckpt("set", tmp_path / "model.safetensors", f"* = average(@{tmp_path}/ema.pt)", "-n", status=2).err
    assert "match it to no tensor" in said
    torch.save(named, tmp_path / "model.pt")
    ckpt("set", tmp_path / "model.pt", f"* = 0 * this + average(@{tmp_path}/ema.pt)", "-o", tmp_path / "out.pt")
    assert torch.load(tmp_path / "out.pt")["layers.10.weight"].tolist() == [10, 10, 10]


SWAPPED = {
    # pytorch_lightning/callbacks/weight_averaging.py: on_save_checkpoint
    "Lightning": (
        {
            "state_dict": {"w": torch.ones(2)},
            "current_model_state": {"w": torch.zeros(2)},
            "averaging_state": {"n_averaged": torch.tensor(7)},
        },
        "its weights are the average, and current_model_state.* what was trained (average(current_model_state.*) takes these)",
    ),
    # mmengine/hooks/ema_hook.py: _swap_ema_state_dict
    "mmengine": (
        {
            "meta": {"mmengine_version": "0.10"},
            "state_dict": {"w": torch.ones(2)},
            "ema_state_dict": {"module.w": torch.zeros(2), "steps": torch.tensor(7)},
        },
        "its weights are the average, and ema_state_dict.* what was trained",
    ),
    # mmcv/runner/hooks/ema.py: names have underscores, and are swapped by after_train_epoch alone
    "mmcv": (
        {"meta": {"mmcv_version": "1.7"}, "state_dict": {"a.w": torch.ones(2), "ema_a_w": torch.zeros(2)}},
        "mmcv swaps them as it saves after an epoch (average(state_dict.ema_*) takes these)",
    ),
    "an AveragedModel": (
        {"n_averaged": torch.tensor(7), "module.w": torch.ones(2)},
        "its weights are an average, and nothing in it is what was trained",
    ),
}


@pytest.mark.parametrize("program", SWAPPED)
def test_where_the_weights_are_the_average_this_is_said(ckpt: Ckpt, tmp_path: Path, program: str) -> None:
    content, said = SWAPPED[program]
    path = tmp_path / "a.pt"
    torch.save(content, path)
    assert said in ckpt("set", path, "* = average", "-i", status=2).err
    (told,) = ckpt("summary", path, "--json").json["averages"]
    assert told["in_place"] is (None if program == "mmcv" else True) and told["updates"] == (None if program == "mmcv" else 7)
    assert ckpt("summary", path, "--json").json["params"] == 2
    if told["parameters"]:
        ckpt("set", path, f"* = average({told['pattern']})", "-i")
        assert all(value.tolist() == [0, 0] for name, value in flat(torch.load(path)["state_dict"]).items())
    model = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"a.w" if program == "mmcv" else "w": torch.full((2,), 9.0)}, model)
    torch.save(content, path)
    ckpt("set", model, f"* = average(@{path})", "-i", status=2 if program == "mmcv" else 0)
    if program != "mmcv":
        assert safetensors.torch.load_file(model)["w"].tolist() == [1, 1]


def test_a_teacher_is_a_model_of_its_own_and_taken_when_asked_for(ckpt: Ckpt, tmp_path: Path) -> None:
    """facebookresearch/dino main_dino.py: the student is distributed, the teacher is not."""
    student, teacher = network(), network()
    content = {"student": {f"module.backbone.{k}": v for k, v in student.state_dict().items()}, "teacher": teacher.state_dict()}
    torch.save(content, tmp_path / "dino.pth")
    assert "there is no average" in ckpt("set", tmp_path / "dino.pth", "* = average", "-n", status=2).err
    assert ckpt("summary", tmp_path / "dino.pth", "--json").json["params"] == 276
    ckpt("set", tmp_path / "dino.pth", "student.* = average(teacher.*)", "-i")
    found = torch.load(tmp_path / "dino.pth")["student"]
    assert all(torch.equal(found[f"module.backbone.{name}"], value) for name, value in teacher.state_dict().items())


def test_two_models_and_an_average_of_each(ckpt: Ckpt, tmp_path: Path) -> None:
    """Names and shapes of both are alike: what the averages are called decides; else it is not known."""
    states = {name: {"w.weight": torch.full((2,), float(number))} for number, name in enumerate(("G", "D", "G_ema", "D_ema"))}
    torch.save(states, tmp_path / "gan.pt")
    ckpt("set", tmp_path / "gan.pt", "* = average", "-o", tmp_path / "out.pt")
    assert {name: state["w.weight"][0].item() for name, state in torch.load(tmp_path / "out.pt").items()} == {
        "G": 2,
        "D": 3,
        "G_ema": 2,
        "D_ema": 3,
    }
    torch.save({"left": states["G"], "right": states["D"], "ema": states["G_ema"]}, tmp_path / "unclear.pt")
    assert owners(ckpt, tmp_path / "unclear.pt") == {"ema.w.weight": ""}
    said = ckpt("set", tmp_path / "unclear.pt", "* = average", "-n", status=2).err
    assert "ema.* could be matched to no parameter" in said and len(said.splitlines()) == 1


def test_layers_that_are_called_so_are_layers(ckpt: Ckpt, tmp_path: Path) -> None:
    state = {f"layer.{n}.{part}": torch.ones(2, n + 1) for n in range(2) for part in ("conv.weight", "ema.conv1x1.weight", "ema.gn.weight")}
    torch.save({"model": state, "avg": {"x.weight": torch.ones(1)}}, tmp_path / "a.pt")
    assert "there is no state" in ckpt("ls", tmp_path / "a.pt", "--optimizer", status=2).err
    assert ckpt("summary", tmp_path / "a.pt", "--json").json["params"] == sum(value.numel() for value in state.values()) + 1
    assert "there is no average" in ckpt("set", tmp_path / "a.pt", "* = average", "-n", status=2).err


def test_what_does_not_fit_is_left_unmatched_and_said(ckpt: Ckpt, tmp_path: Path) -> None:
    model = {
        "layers.1.1.w": torch.zeros(2),
        "layers.11.w": torch.zeros(2),
        "a.w": torch.zeros(3),
        "b.w": torch.zeros(3),
        "c.w": torch.zeros(3),
    }
    average = {"layers11w": torch.ones(2), "aw": torch.ones(4), "bw": torch.ones(3), "cw": torch.ones(3)}
    torch.save({"model": model, "model_ema": average}, tmp_path / "a.pt")
    want = {"model_ema.layers11w": "", "model_ema.aw": "", "model_ema.bw": "model.b.w", "model_ema.cw": "model.c.w"}
    assert owners(ckpt, tmp_path / "a.pt") == want
    done = ckpt("set", tmp_path / "a.pt", "model.* = average", "-n")
    assert "3 tensors have no average and stay as they are: model.layers.1.1.w, model.layers.11.w, model.a.w" in done.err
    assert "model.a.w has no average" in ckpt("set", tmp_path / "a.pt", "model.a.w = average", "-n", status=2).err
    assert "model.a.w has no average" in ckpt("set", tmp_path / "a.pt", "model.a.w[0] = average", "-n", status=2).err
    assert "none of the 2 tensors has an average" in ckpt("set", tmp_path / "a.pt", "model.layers.* = average", "-n", status=2).err
    torch.save({"model": model, "ema": {"shadow_params": [torch.ones(2)] * 3}}, tmp_path / "short.pt")
    said = ckpt("set", tmp_path / "short.pt", "* = average", "-n", status=2).err
    assert "number and order, do not agree" in said and len(said.splitlines()) == 1


def test_a_folder_of_an_average_says_so(ckpt: Ckpt, tmp_path: Path) -> None:
    """diffusers/training_utils.py: EMAModel.save_pretrained registers its state to the config of the model."""
    for name, more in (("unet", {}), ("unet_ema", {"decay": 0.9, "min_decay": 0.0, "optimization_step": 7, "update_after_step": 0})):
        (tmp_path / name).mkdir()
        safetensors.torch.save_file({"w": torch.full((2,), 1.0 + bool(more))}, tmp_path / name / "diffusion_pytorch_model.safetensors")
        (tmp_path / name / "config.json").write_text(json.dumps({"_class_name": "Net", "_diffusers_version": "0.42", **more}))
    assert ckpt("summary", tmp_path / "unet", "--json").json["averages"] == []
    (told,) = ckpt("summary", tmp_path / "unet_ema", "--json").json["averages"]
    assert (told["in_place"], told["decay"], told["updates"]) == (True, 0.9, 7)
    ckpt("set", tmp_path / "unet", f"* = average(@{tmp_path}/unet_ema)", "-i")
    assert ckpt("get", tmp_path / "unet", "w", "--json").json["values"] == [2, 2]


def test_errors_in_one_line(ckpt: Ckpt, tmp_path: Path) -> None:
    net, average, _ = trained()
    torch.save(swa_utils(net, average), tmp_path / "a.pt")
    for value, part in {
        "average(": "is expected",
        "average()": "a pattern or @FILE is expected",
        "average(nothing.*)": "nothing matches 'nothing.*'",
        "average(@none.pt)": "none.pt",
        "averge": "did you mean average",
        f"average(@{SAMPLES}/bert)": "match it to no tensor",
    }.items():
        said = ckpt("set", tmp_path / "a.pt", f"model.* = {value}", "-n", status=2).err
        assert part in said and len(said.splitlines()) == 1, value
    torch.save({"model": None, "ema": net.state_dict(), "updates": 5}, tmp_path / "yolo.pt")  # ultralytics/engine/trainer.py: save_model
    assert "there are no weights beside ema.*" in ckpt("set", tmp_path / "yolo.pt", "* = average", "-n", status=2).err
    assert "there is no average of a training in it" in ckpt("set", SAMPLES / "mlp.pt", "* = average", "-n", status=2).err


def test_a_recipe_puts_the_average_in_place_and_drops_it(ckpt: Ckpt, tmp_path: Path) -> None:
    net, average, _ = trained()
    torch.save(swa_utils(net, average), tmp_path / "a.pt")
    printed = ckpt("set", tmp_path / "a.pt", "* = average", "--print-recipe").out
    assert printed == '[[step]]\nset = ["* = average"]\n'
    (tmp_path / "r.toml").write_text(f'{printed}[[step]]\ndrop = ["swa_model.*"]\n')
    ckpt("apply", tmp_path / "a.pt", tmp_path / "r.toml", "-o", tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt")
    assert found.keys() == {"model", "epoch"} and torch.equal(found["model"]["0.weight"], average.module[0].weight)


# tf.train.ExponentialMovingAverage names an average after its variable, TensorFlow Addons' MovingAverage has a slot `average`.
TENSORFLOW = {
    "ExponentialMovingAverage": ("tf2_21/saver_v2", "*/Adam_1=*/ExponentialMovingAverage", "dense/kernel", "/ExponentialMovingAverage"),
    "a slot": (
        "tf2_10/plain_tf",
        "*/.OPTIMIZER_SLOT/optimizer/m=*/.OPTIMIZER_SLOT/optimizer/average",
        "layer_with_weights-0/kernel",
        "/.OPTIMIZER_SLOT/optimizer/average",
    ),
}


@pytest.mark.parametrize("kind", TENSORFLOW)
def test_tensorflow_averages(ckpt: Ckpt, case: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    """Real files, whose slots are called so."""
    folder, renaming, name, end = TENSORFLOW[kind]
    path = tmp_path / "ema.ckpt"
    ckpt("rename", next(case(folder).glob("*.index")).with_suffix(""), renaming, "-o", path, "--format", "tensorflow")
    assert owners(ckpt, path)[name + end] == name
    (told,) = ckpt("summary", path, "--json").json["averages"]
    assert told["pattern"] == f"*{end}"
    done = ckpt("set", path, "* = average", "-i")
    assert "OPTIMIZER_SLOT" not in done.err and "Adam" not in done.err
    same = [ckpt("get", path, each, "--json").json["values"] for each in (name, name + end)]
    assert same[0] == same[1]


@pytest.mark.parametrize("slots", [0, 1, 2])
@pytest.mark.parametrize("use_ema", [True, False])
def test_keras_averages(ckpt: Ckpt, tmp_path: Path, slots: int, use_ema: bool) -> None:
    """keras/src/optimizers/base_optimizer.py: build; iteration and learning rate, the averages, then `slots` of each variable."""
    import io
    import zipfile

    import h5py

    layers = [{"class_name": "Dense", "config": {"name": name, "units": 4, "use_bias": True}} for name in ("dense", "dense_1")]
    optimizer = {"class_name": "Adam", "config": {"name": "adam", "use_ema": use_ema, "ema_momentum": 0.9}}
    config = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}, "compile_config": {"optimizer": optimizer}}
    variables = [f"layers/{layer}/vars/{at}" for layer in ("dense", "dense_1") for at in range(2)]
    shapes = [(4, 4), (4,)] * 2
    averages = [numpy.full(shape, 10.0 + at, "float32") for at, shape in enumerate(shapes)] if use_ema else []
    moments = [numpy.full(shape, 20.0 + at, "float32") for at, shape in enumerate(shapes) for _ in range(slots)]
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        for at, (name, shape) in enumerate(zip(variables, shapes, strict=True)):
            file[name] = numpy.full(shape, at, "float32")
        for number, value in enumerate([numpy.int64(3), numpy.float32(0.1), *averages, *moments]):
            file[f"optimizer/vars/{number}"] = value
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", held.getvalue())
    if not use_ema:
        assert "there is no average" in ckpt("set", tmp_path / "net.keras", "* = average", "-n", status=2).err
        return
    (told,) = ckpt("summary", tmp_path / "net.keras", "--json").json["averages"]
    assert told == {"pattern": "optimizer/vars/{2-5}", "parameters": 4, "in_place": False, "decay": 0.9, "updates": None}
    found = owners(ckpt, tmp_path / "net.keras")
    assert [found[f"optimizer/vars/{number}"] for number in range(2, 6 + 4 * slots)] == [
        *variables,
        *(n for n in variables for _ in range(slots)),
    ]
    ckpt("set", tmp_path / "net.keras", "* = average", "-i")
    for at, name in enumerate(variables):
        assert ckpt("stats", tmp_path / "net.keras", name, "--json").json["tensors"][0]["mean"] == 10 + at


def test_flax_averages(ckpt: Ckpt, tmp_path: Path) -> None:
    """Trees of parameters as arrays: a train state with ema_params beside params, and optax.ema, whose average is of updates."""
    layers = {"Dense_0/kernel": (3, 2), "Dense_0/bias": (2,), "Dense_1/kernel": (3, 2)}
    values = {f"{tree}/{name}": numpy.full(shape, at, "float32") for at, tree in enumerate(("params", "ema_params", "opt_state/0/ema"))
              for name, shape in layers.items()}  # fmt: skip
    numpy.savez(tmp_path / "state.npz", **values)
    found = owners(ckpt, tmp_path / "state.npz")
    assert found["ema_params/Dense_1/kernel"] == "params/Dense_1/kernel" and found["opt_state/0/ema/Dense_0/bias"] == "params/Dense_0/bias"
    (told,) = ckpt("summary", tmp_path / "state.npz", "--json").json["averages"]
    assert told["pattern"] == "ema_params/*" and told["parameters"] == 3
    ckpt("set", tmp_path / "state.npz", "* = average", "-i")
    assert (numpy.load(tmp_path / "state.npz")["params/Dense_1/kernel"] == 1).all()


def test_many_names(ckpt: Ckpt, tmp_path: Path) -> None:
    """Of each 4,000 that end alike: `11.1` and `1.11` are told apart by what separates them."""
    names = [f"layers.{a}.experts.{b}.w" for a in range(40) for b in range(100)]
    header = {}
    for at, start in enumerate(("model.", "ema.module.")):
        for number, name in enumerate(names):
            first = 4 * (at * len(names) + number)
            header[start + name] = {"dtype": "F32", "shape": [1], "data_offsets": [first, first + 4]}
    text = json.dumps(header).encode()
    values = numpy.arange(2 * len(names), dtype="<f4")
    (tmp_path / "many.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + values.tobytes())
    ckpt("set", tmp_path / "many.safetensors", "* = average", "-o", tmp_path / "out.safetensors")
    found = safetensors.torch.load_file(tmp_path / "out.safetensors")
    assert [found[f"model.{name}"].item() for name in names] == values[len(names) :].tolist()


def test_copies_are_not_mistaken_for_the_average(ckpt: Ckpt, tmp_path: Path) -> None:
    net, average, _ = trained()
    content = ema_pytorch(net, deepcopy(average))
    torch.save(content, tmp_path / "a.pt")
    found = owners(ckpt, tmp_path / "a.pt")
    assert {owner for name, owner in found.items() if ".online_model." in name} == {""} and found["ema.step"] == ""


def test_an_average_without_an_update_is_not_put_in_place(ckpt: Ckpt, tmp_path: Path) -> None:
    """AveragedModel and Lightning keep a copy of the weights from before the training until the first update."""
    net = network()
    average = AveragedModel(net)
    path, raw = str(tmp_path / "early.pt"), str(tmp_path / "raw.pt")
    torch.save({"model": net.state_dict(), "swa_model": average.state_dict()}, path)
    torch.save(net.state_dict(), raw)
    assert json.loads(ckpt("summary", path, "--json").out)["averages"][0]["updates"] == 0
    for file, taken in ((path, "average(swa_model.*)"), (raw, f"average(@{path}#swa_model.*)")):
        value = taken.replace("swa_model.*", "").replace("#", "").replace("()", "")
        said = ckpt("set", file, f"* = {value}", "-n", status=2).err
        assert f"swa_model.* is no average yet: it has had no update ({taken} takes it all the same)" in said
        ckpt("set", file, f"* = {taken}", "-n")
