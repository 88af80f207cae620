"""torchvision's models in commands: there is no config, `--arch torchvision:NAME` names one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import Ckpt

pytestmark = pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed: `make models`")


def saved(name: str, path: Path, **arguments: Any) -> Any:
    import torch
    from torchvision import models

    module = models.get_model(name, weights=None, **arguments)
    torch.save(module.state_dict(), path)
    return module.eval()


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("resnet18(num_classes=10)", {"num_classes": 10}),
        ("regnet_y_400mf(num_classes=3)", {"num_classes": 3}),  # its constructor needs values
        ("swin_t", {}),
        ("fcn_resnet50(num_classes=4)", {"num_classes": 4, "weights_backbone": None}),
        ("ssdlite320_mobilenet_v3_large(num_classes=5)", {"num_classes": 5, "weights_backbone": None}),
    ],
)
def test_names_types_and_initialisation_are_those_of_the_library(call: str, arguments: dict[str, Any], tmp_path: Path, ckpt: Ckpt) -> None:
    module, path = saved(call.partition("(")[0], tmp_path / "m.pt", **arguments), tmp_path / "m.pt"
    assert ckpt("check", path, "--arch", f"torchvision:{call}").out == ""
    rows = {row["path"]: row["type"] for row in ckpt("summary", path, "--arch", f"torchvision:{call}", "--json").json["layers"]}
    assert rows == {name: type(each).__name__ for name, each in module.named_modules(remove_duplicate=False)}
    plan = ckpt("reinit", path, "--preset", "own", "--arch", f"torchvision:{call}", "-n", "--seed", "1").rows
    assert len(plan) == len(module.state_dict()) and all(row[1] for row in plan)


def test_outputs_gradients_and_a_training_checkpoint(tmp_path: Path, ckpt: Ckpt) -> None:
    import torch

    module = saved("resnet18", tmp_path / "m.pt", num_classes=10)
    torch.save({"model": module.state_dict(), "epoch": 3}, tmp_path / "training.pt")
    arch = ("--arch", "torchvision:resnet18(num_classes=10)")
    for name, prefix in (("m.pt", ""), ("training.pt", "model.")):
        rows = {
            row["path"]: row["output"] for row in ckpt("summary", tmp_path / name, *arch, "--input", "2x3x64x64", "--json").json["layers"]
        }
        assert rows[prefix.rstrip(".")] == [2, 10] and rows[f"{prefix}layer4"] == [2, 512, 2, 2]
    found = ckpt("grad", tmp_path / "m.pt", *arch, "--random", "2x3x64x64", "--seed", "1").rows
    assert {row[0] for row in found} >= {name for name, _ in module.named_parameters()}
    names = [row[0] for row in ckpt("ls", tmp_path / "training.pt", "@BasicBlock.conv1.weight", *arch).rows]
    assert names == [f"model.layer{layer}.{block}.conv1.weight" for layer in (1, 2, 3, 4) for block in (0, 1)]


def test_a_new_model(tmp_path: Path, ckpt: Ckpt) -> None:
    call = "torchvision:resnet18(num_classes=10)"
    ckpt("new", call, "--seed", "1", "-o", tmp_path / "new.pt")
    assert ckpt("check", tmp_path / "new.pt", "--arch", call).out == ""
    ckpt("reinit", tmp_path / "new.pt", "--preset", "own", "--arch", call, "--seed", "1", "-o", tmp_path / "again.pt")
    assert ckpt("diff", tmp_path / "new.pt", tmp_path / "again.pt").out == ""
    assert "has no config" in ckpt("new", call, "-o", f"{tmp_path}/folder/", status=2).err


def test_what_does_not_agree_is_noted_where_the_file_is_shown(tmp_path: Path, ckpt: Ckpt) -> None:
    saved("resnet18", tmp_path / "m.pt", num_classes=10)
    plan = ckpt("reinit", tmp_path / "m.pt", "--preset", "own", "--select", "layer4.*", "--arch", "torchvision:resnet18", "-n", status=None)
    assert "resnet18 does not agree with the file: of another shape fc.weight (10x512, not 1000x512)" in plan.err


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("resnet81", "torchvision has no model 'resnet81' (did you mean resnet18"),
        ("resnet18(depth=3)", "unexpected keyword argument 'depth'"),
        ("resnet18(num_classes='x')", "torchvision"),
        ("os.system", "torchvision has no model 'os.system'"),
        ("resnet18", "does not hold torchvision:resnet18: of another shape fc.weight (10x512, not 1000x512)"),
    ],
)
def test_what_does_not_fit_is_one_line(call: str, error: str, tmp_path: Path, ckpt: Ckpt) -> None:
    saved("resnet18", tmp_path / "m.pt", num_classes=10)
    assert error in ckpt("summary", tmp_path / "m.pt", "--arch", f"torchvision:{call}", status=2).err
