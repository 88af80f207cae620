"""timm's models in commands, and configs that would have timm fetch, read or run something."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import Ckpt

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed: `make models`")


def saved(name: str, folder: Path, **arguments: Any) -> Any:
    """A model of timm in a folder as timm writes it: config.json and model.safetensors."""
    import timm
    from safetensors.torch import save_file
    from timm.models._hub import save_config_for_hf

    module = timm.create_model(name, **arguments)
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, folder / "model.safetensors")
    save_config_for_hf(module, str(folder / "config.json"), model_config={"num_classes": module.num_classes})
    return module.eval()


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("resnet10t", {"num_classes": 7}, "2x3x64x64"),
        ("vit_tiny_patch16_224", {"num_classes": 0, "img_size": 32, "depth": 2}, "1x3x32x32"),
        ("convnext_atto", {"in_chans": 1}, "1x1x32x32"),
        ("mixer_s32_224", {"num_classes": 3}, "1x3x224x224"),
    ],
)
def test_a_folder_as_timm_writes_it(name: str, arguments: dict[str, Any], shape: str, tmp_path: Path, ckpt: Ckpt) -> None:
    import torch

    module = saved(name, tmp_path, **arguments)
    assert ckpt("check", tmp_path, "--arch", "auto").out == ""
    rows = {row["path"]: row for row in ckpt("summary", tmp_path, "--types", "--input", shape, "--json").json["layers"]}
    assert {path: row["type"] for path, row in rows.items()} == {path: type(each).__name__ for path, each in module.named_modules()}
    with torch.no_grad():
        assert rows[""]["output"] == list(module(torch.zeros(*map(int, shape.split("x")))).shape)


def test_a_model_can_be_named(tmp_path: Path, ckpt: Ckpt) -> None:
    saved("resnet10t", tmp_path, num_classes=7)
    alone = (tmp_path / "model.safetensors").rename(tmp_path.parent / "alone.safetensors")
    assert ckpt("check", alone, "--arch", "timm:resnet10t(num_classes=7)").out == ""
    wrong = ckpt("check", alone, "--arch", "timm:resnet10t", status=1).rows
    assert [row[:2] for row in wrong] == [["shape", "fc.weight"], ["shape", "fc.bias"]]
    assert len(ckpt("ls", alone, "@BasicBlock", "--arch", "timm:resnet10t(num_classes=7)").rows) > 20
    assert "did you mean resnet10t" in ckpt("ls", alone, "@Conv2d", "--arch", "timm:resnet10", status=2).err


CANARY = "canary"
HOSTILE: dict[str, dict[str, Any]] = {
    "a_callable": {"architecture": "resnet10t", "model_args": {"block": "os.system"}},
    "a_path_of_weights": {"architecture": "resnet10t", "model_args": {"checkpoint_path": CANARY, "cache_dir": CANARY}},
    "weights_in_the_config": {"architecture": "resnet10t", "pretrained_cfg": {"file": CANARY, "custom_load": True, "hf_hub_id": "a/b"}},
    "pretrained": {"architecture": "resnet10t", "model_args": {"pretrained": True, "pretrained_cfg": {"url": "http://localhost:1/x"}}},
    "the_hub": {"architecture": "hf-hub:timm/resnet10t.c3_in1k"},
    "a_folder": {"architecture": "local-dir:."},
    "a_path": {"architecture": "../resnet10t"},
    "a_number": {"architecture": "resnet10t", "model_args": {"num_classes": 10**12}},
    "a_nest": {"architecture": "resnet10t", "model_args": {"layers": [[[[[[[[[[1]]]]]]]]]]}},
    "deep": {"architecture": "resnet10t", "model_args": {"layers": [10**6, 1, 1, 1]}},
    "wide": {"architecture": "vit_tiny_patch16_224", "model_args": {"depth": 10**6}},
    "arguments_of_another_type": {"architecture": "resnet10t", "model_args": ["--help"]},
    "features": {"architecture": "resnet10t", "model_args": {"features_only": True, "feature_cls": "fx", "out_indices": [99]}},
    "a_pickle": {"architecture": "resnet10t", "model_args": {"pretrained_cfg_overlay": {"state_dict": CANARY}}},
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_config_runs_and_fetches_nothing(
    entries: dict[str, Any], tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary is a pickle that makes a file when it is loaded."""
    import torch

    class Canary:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "sings"),)

    monkeypatch.chdir(tmp_path)
    saved("resnet10t", tmp_path)
    torch.save({"x": Canary()}, CANARY)
    (tmp_path / "config.json").write_text(json.dumps(entries))
    (tmp_path / "timm.py").write_text("import os; os.mkdir('sings')")
    for command in (["check", ".", "--arch", "auto"], ["summary", ".", "--types"], ["ls", ".", "@BasicBlock"]):
        result = ckpt(*command, status=None)
        assert result.status in (0, 1, 2) and "fault in ckpt" not in result.err, result.err
    assert not (tmp_path / "sings").exists()
