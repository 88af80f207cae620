"""Times whole commands against yardsticks in the same run: `make bench`. A benchmark is no test; it exits 0 always.

Each row runs its command and its yardstick in turn, A B A B …, and prints the medians, the median of the ratios pair by pair, and the
goal. Inputs are made once and removed. Files are warm: each command has one run that is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

CKPT = str(Path(sys.executable).parent / "ckpt")
PASS = [sys.executable, "-c", "pass"]


class Row(NamedTuple):
    """A task: what it is, the command, the yardstick, and the ratio to reach."""

    task: str
    command: list[str]
    yardstick: list[str]
    goal: float
    runs: int = 7


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start


def measure(row: Row) -> str:
    seconds(row.command), seconds(row.yardstick)
    pairs = [(seconds(row.command), seconds(row.yardstick)) for _ in range(row.runs)]
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    verdict = "" if ratio <= row.goal else "  MISSED"
    return f"{row.task:44} {ours * 1000:9.1f} ms {theirs * 1000:9.1f} ms {ratio:7.2f} × (goal ≤ {row.goal:g}){verdict}"


def many_tensors(path: Path, count: int) -> None:
    import torch

    torch.save({f"layers.{i}.weight": torch.zeros(4, 4) for i in range(count)}, path)


def big(path: Path, megabytes: int) -> None:
    """A safetensors file of random float32 layers of 64 MB, and a bias of 16 kB."""
    import numpy
    from safetensors.numpy import save_file

    draw = numpy.random.default_rng(0)
    layers = {f"layers.{i}.weight": draw.standard_normal((4096, 4096), numpy.float32) for i in range(max(1, megabytes // 64))}
    save_file(layers | {"head.bias": numpy.zeros(4096, numpy.float32)}, path)


def rows(folder: Path, megabytes: int) -> list[Row]:
    samples = Path(__file__).resolve().parent.parent / "sample_models"
    small, one, two, out = str(samples / "mlp.pt"), folder / "one.safetensors", folder / "two.safetensors", str(folder / "out.safetensors")
    big(one, megabytes)
    subprocess.run(["cp", one, two], check=True)
    other = folder / "other.safetensors"
    subprocess.run([CKPT, "set", one, "* += 0.01", "-o", other], check=True)
    made = [Row(f"{name} of a small file", [CKPT, *args], PASS, 6.5, 15) for name, args in _small(small).items()]
    for count, goal in ((1000, 1 / 16), (20_000, 1 / 12)):
        path = folder / f"{count}.pt"
        many_tensors(path, count)
        load = [sys.executable, "-c", f"import torch; torch.load({str(path)!r}, mmap=True, weights_only=True)"]
        made.append(Row(f"ls of a .pt with {count:,} tensors", [CKPT, "ls", str(path)], load, goal, 5))
    copy = ["cp", str(one), out]
    return [
        *made,
        Row(f"diff of equal files, {megabytes} MB", [CKPT, "diff", str(one), str(two)], ["cmp", str(one), str(two)], 0.35, 5),
        Row("diff, every element different", [CKPT, "diff", str(one), str(other)], ["cmp", str(one), str(two)], 0.7, 3),
        Row("stats, float32", [CKPT, "stats", str(one)], ["cat", str(one)], 2.5, 5),
        Row("hash", [CKPT, "hash", str(one)], ["sha256sum", str(one)], 0.6, 3),
        Row("set one bias, -o", [CKPT, "set", str(one), "head.bias = 1", "-o", out, "--force"], copy, 1.15, 5),
        Row("reinit '*=normal', -o", [CKPT, "reinit", str(one), "*=normal", "--seed", "0", "-o", out, "--force"], copy, 1.3, 3),
        Row("cast to bfloat16", [CKPT, "cast", str(one), "bfloat16", "-o", out, "--force"], copy, 1.5, 3),
        Row("convert to .pt", [CKPT, "convert", str(one), str(folder / "out.pt"), "--force"], copy, 1.2, 3),
    ]


def _small(path: str) -> dict[str, list[str]]:
    return {"ls": ["ls", path], "get": ["get", path, "2.bias[0]"], "tied": ["tied", path]}


def main(show: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024, help="the size of the big files")
    size = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory() as name:
        show(f"{os.cpu_count()} processors, Python {sys.version.split()[0]}; ckpt, yardstick, ratio")
        for row in rows(Path(name), size):
            show(measure(row))


if __name__ == "__main__":
    main()
