"""What `ckpt merge` makes is what mergekit makes: of float32 to the last bit but for what is summed in another order.

In 16 bits mergekit rounds every difference from the base, which `ckpt` does not: there, methods without a base are compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("mergekit")
Run = Callable[..., str]
WITH_BASE = {"task_arithmetic": "task", "ties": "ties"}


@pytest.fixture(params=["float32", "bfloat16", "float16"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sources(folder: Path, dtype: str) -> list[Path]:
    """A base and three models."""
    paths = [folder / f"{name}.safetensors" for name in ("base", "a", "b", "c")]
    for seed, path in enumerate(paths):
        draw = torch.Generator().manual_seed(seed)
        shapes = {"layers.0.weight": (64, 48), "layers.0.bias": (64,), "head.weight": (30, 64)}
        save_file({name: torch.randn(shape, generator=draw).to(getattr(torch, dtype)) for name, shape in shapes.items()}, path)
    return paths


def by_mergekit(folder: Path, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    program = Path(sys.executable).with_name("mergekit-pytorch")
    subprocess.run([program, folder / "config.yml", folder / "theirs"], check=True, capture_output=True)
    return load_file(next((folder / "theirs").glob("*.safetensors")))


@pytest.mark.parametrize(
    ("method", "weights", "others"),
    [
        ("linear", None, {}),
        ("linear", [0.2, 0.3, 0.5], {}),
        ("linear", [1, 1, -0.5], {"normalize": False}),
        ("slerp", [0.7, 0.3], {"t": 0.3}),
        ("task_arithmetic", [0.7, 0.4, -0.2], {}),
        ("ties", [1, 1, 1], {"density": 0.3}),
        ("ties", [1, 0.5, 0.3], {"density": 0.5}),
        ("ties", [1, 0.5, -0.3], {"density": 1.0}),
    ],
    ids=str,
)
def test_the_result_is_mergekits(
    ckpt: Run, tmp_path: Path, dtype: str, method: str, weights: list[float] | None, others: dict[str, Any]
) -> None:
    if dtype != "float32" and method in WITH_BASE:
        pytest.skip("mergekit rounds differences to 16 bits")
    base, *models = sources(tmp_path, dtype)[: 3 if method == "slerp" else 4]
    listed = [{"model": str(path), "parameters": {"weight": weight}} for path, weight in zip(models, weights or [1, 1, 1], strict=False)]
    config = {"merge_method": method, "models": listed, "parameters": others, "dtype": dtype}
    based = {"slerp": str(models[0])} | dict.fromkeys(WITH_BASE, str(base))
    theirs = by_mergekit(tmp_path, config | ({"base_model": based[method]} if method in based else {}))
    options: list[object] = ["--weights", ",".join(map(str, weights))] if weights else []
    options += ["--base", base] if method in WITH_BASE else []
    options += ["--density", others["density"]] if "density" in others else []
    ckpt("merge", *models, "--method", WITH_BASE.get(method, method), *options, "-o", tmp_path / "ours.safetensors")
    ours = load_file(tmp_path / "ours.safetensors")
    rounding = torch.finfo(getattr(torch, dtype)).eps
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        torch.testing.assert_close(ours[name].double(), tensor.double(), rtol=rounding, atol=4e-7)
