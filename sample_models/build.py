"""Rebuilds the sample models, byte for byte: `make samples`. Every file is written by torch or safetensors themselves.

Two things that those leave to chance are pinned: the keys of storages in legacy files (addresses), and the order of metadata in
safetensors (so the one sample that has ties is written by `ckpt convert`).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ckpt_cli.cli import main

HERE = Path(__file__).resolve().parent


class FancyMLP(nn.Module):
    """One layer used twice around a constant, untrained random weight."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rand_weight", torch.rand((20, 20)), persistent=False)
        self.linear = nn.Linear(20, 20)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def nested() -> nn.Module:
    def block() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())

    blocks = nn.Sequential()
    for i in range(4):
        blocks.add_module(f"block {i}", block())
    return nn.Sequential(blocks, nn.Linear(4, 1))


def shared_mlp() -> nn.Module:
    shared = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 1))


NETS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "nested": nested, "shared-mlp": shared_mlp, "fancy-mlp": FancyMLP}


def training(net: nn.Module) -> dict[str, Any]:
    """Three steps of Adam, and what a training script keeps beside the weights."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    losses = []
    for _ in range(3):
        x = torch.rand(16, 4)
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return {
        "epoch": 3,
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "losses": losses,
        "args": argparse.Namespace(lr=0.01, name="run 1"),
        "rng": random.Random(0).getstate()[1][:8],
    }


def every_dtype() -> dict[str, torch.Tensor]:
    """One 2x3 tensor of every dtype that torch can save, with NaN, infinities and extremes where they exist."""
    floats = torch.tensor([[0.0, -0.5, 1.5], [float("nan"), float("inf"), -2.0]])
    whole = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
    wide = ["float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"]
    narrow = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
    found = {}
    for name in [*whole, *wide, *narrow]:
        dtype = getattr(torch, name)
        if dtype.is_floating_point or dtype.is_complex:
            found[name] = floats.to(dtype)
        else:
            found[name] = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    return found


def save_legacy(thing: Any, path: Path) -> None:
    """torch's own legacy writer, with storages numbered in the order in which they are met instead of named by their address."""
    numbers: dict[int, int] = {}
    before = torch.UntypedStorage.__dict__.get("_cdata")
    torch.UntypedStorage._cdata = property(lambda self: numbers.setdefault(self.data_ptr(), len(numbers)))  # type: ignore[assignment,misc]
    try:
        torch.save(thing, path, _use_new_zipfile_serialization=False)
    finally:
        if before is None:
            del torch.UntypedStorage._cdata
        else:
            torch.UntypedStorage._cdata = before


def save_safetensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """The library's own writer; it makes files that nobody else may read."""
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def build(folder: Path) -> None:
    """All samples, into `folder`."""
    for seed, (name, make) in enumerate(NETS.items()):
        torch.manual_seed(seed)
        state = make().state_dict()
        torch.save(state, folder / f"{name}.pt")
        save_legacy(state, folder / f"{name}.legacy.pt")
        target = folder / f"{name}.safetensors"
        target.unlink(missing_ok=True)
        if name == "shared-mlp":
            main(["convert", str(folder / f"{name}.pt"), str(target)])
        else:
            save_safetensors(state, target)
    torch.manual_seed(9)
    torch.save(training(mlp()), folder / "training.ckpt")
    torch.save(mlp(), folder / "module.pt")
    dtypes = every_dtype()
    torch.save(dtypes, folder / "dtypes.pt")
    plain = {name: tensor for name, tensor in dtypes.items() if name not in ("complex32", "complex128")}
    save_safetensors(plain, folder / "dtypes.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE)
    build(parser.parse_args().folder)
