"""What people write by hand, as yardsticks and peers: `python naive.py WHAT FILE…` with torch or safetensors alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

BIAS = "head.bias"


def names(path: str) -> None:
    """Names, dtypes and shapes by safetensors' own reader; of a folder, those of all its files."""
    from safetensors import safe_open

    for file in sorted(glob(f"{path}/*.safetensors")) or [path]:
        with safe_open(file, "np") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                piece = opened.get_slice(name)
                piece.get_dtype(), piece.get_shape()


def load(path: str) -> None:
    _read(path, mmap=True)


def stats(path: str) -> None:
    for name, tensor in _read(path).items():
        wide = tensor.float()
        odd = [int(found.sum()) for found in (tensor == 0, tensor.isnan(), tensor.isinf())]
        print(name, *(figure.item() for figure in (tensor.min(), tensor.max(), wide.mean(), wide.std(), wide.norm())), *odd)


def digests(path: str) -> None:
    for name, tensor in _read(path).items():
        print(name, hashlib.sha256(tensor.numpy()).hexdigest())


def same(first: str, second: str) -> None:
    for name, a, b in _pairs(first, second):
        print(name, a.equal(b))


def compare(first: str, second: str) -> None:
    for name, a, b in _pairs(first, second):
        by, cosine = (a - b).float(), (a.flatten() @ b.flatten()) / (a.norm() * b.norm())
        print(name, int((a != b).sum()), by.abs().max().item(), (by.norm() / a.norm()).item(), cosine.item())


def edit(path: str, out: str) -> None:
    tensors = _read(path)
    tensors[BIAS].fill_(1)
    _write(tensors, out)


def draw(path: str, out: str) -> None:
    import torch

    tensors = _read(path)
    for tensor in tensors.values():
        torch.nn.init.normal_(tensor)
    _write(tensors, out)


def convert(path: str, out: str) -> None:
    _write(_read(path), out)


def cast(path: str, out: str) -> None:
    _write({name: tensor.bfloat16() for name, tensor in _read(path).items()}, out)


def mean(first: str, second: str, out: str) -> None:
    _write({name: ((a.float() + b.float()) / 2).to(a.dtype) for name, a, b in _pairs(first, second)}, out)


def mergekit(program: str, first: str, second: str, out: str) -> None:
    """The mean by mergekit, which writes a folder."""
    models = "".join(f"  - model: {path}\n    parameters: {{weight: 0.5}}\n" for path in (first, second))
    config = Path(out).with_name("out.yml")
    config.write_text(f"merge_method: linear\nmodels:\n{models}")
    subprocess.run([program, config, Path(out).with_name("out")], check=True)


def _read(path: str, mmap: bool = False) -> dict[str, Any]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    return torch.load(path, mmap=mmap, weights_only=True)


def _write(tensors: dict[str, Any], out: str) -> None:
    if Path(out).suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(tensors, out)
    else:
        import torch

        torch.save(tensors, out)


def _pairs(first: str, second: str) -> Iterator[tuple[str, Any, Any]]:
    there = _read(second)
    return ((name, tensor, there[name]) for name, tensor in _read(first).items())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
