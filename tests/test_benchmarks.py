"""The benchmarks measure what they say, and clean up; nothing here is timed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from string import Formatter

import pytest
import torch
from conftest import ROOT, Ckpt, heeds_ctrl_c
from safetensors.torch import load_file

BENCHMARKS = ROOT / "benchmarks"


def run(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / script, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_training_checkpoint_is_what_torch_would_have_saved(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "training.pt"
    run("inputs.py", "--size", "24MB", "--optimizer", path)
    assert path.stat().st_size == pytest.approx(24e6, rel=0.02)
    loaded = torch.load(path, weights_only=True)
    model, optimizer = loaded["model"], loaded["optimizer"]
    parameters = [torch.nn.Parameter(tensor) for tensor in model.values()]
    torch.optim.AdamW(parameters).load_state_dict(optimizer)
    assert [state["exp_avg"].shape for state in optimizer["state"].values()] == [tensor.shape for tensor in parameters]
    assert all((state["exp_avg_sq"] >= 0).all() and state["step"] == 12000 for state in optimizer["state"].values())
    assert [row[0] for row in ckpt("ls", path, "model.*").rows] == [f"model.{name}" for name in model]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_inputs_of_each_dtype_are_normally_distributed(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "model.safetensors"
    run("inputs.py", "--size", "4MB", "--dtype", dtype, path)
    tensors = load_file(path)
    numbers = torch.cat([tensor.flatten() for tensor in tensors.values()]).double()
    assert {tensor.dtype for tensor in tensors.values()} == {getattr(torch, dtype)}
    assert abs(numbers.mean()) < 0.01 and abs(numbers.std() - 1) < 0.01


def test_nothing_is_overwritten_by_an_input(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("mine")
    with pytest.raises(subprocess.CalledProcessError):
        run("inputs.py", "--size", "1MB", path)
    assert path.read_text() == "mine"


def test_what_is_watched_is_the_whole_family(tmp_path: Path) -> None:
    """Two processes share 50 MB and have 50 MB each of their own; the child writes a file of 3 MB."""
    program = f"""
import os, time
shared = os.urandom(50_000_000)
child = os.fork()
own = os.urandom(50_000_000)
time.sleep(0.3)
if child:
    os.wait()
else:
    open({str(tmp_path / "file")!r}, "wb").write(own[:3_000_000])
"""
    status, seconds, memory, written = run("watch.py", sys.executable, "-c", program).stdout.split()
    assert int(status) == 0 and float(seconds) > 0.3
    assert 150e6 < int(memory) < 190e6
    assert 3_000_000 <= int(written) < 3_200_000


def test_every_word_of_every_row_has_a_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    inputs, rows = import_module("inputs"), import_module("rows")
    peers = [command for commands in rows.PEER_COMMANDS.values() for command in commands.values()]
    templates = [*(row.command for row in rows.ROWS), *(row.yardstick for row in rows.ROWS), *peers]
    words = {word for template in templates for _, word, _, _ in Formatter().parse(template) if word}
    assert words <= inputs.INPUTS.keys() | rows.PROGRAMS.keys() | {"out", "out_torch", "turn"}
    assert rows.PEER_COMMANDS.keys() <= {row.task for row in rows.ROWS}


def test_a_row_runs(tmp_path: Path) -> None:
    done = run("run.py", "--megabytes", 1, "--seconds", 0, "--rounds", 1, "--only", "hash", "--folder", tmp_path)
    assert [line.partition(" ")[0] for line in done.stdout.splitlines()[-2:]] == ["task", "hash"]
    assert " MB " in done.stdout.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_interrupts_finds_nothing_left(tmp_path: Path, number: int) -> None:
    command = [sys.executable, BENCHMARKS / "run.py", "--megabytes", "20", "--only", "hash", "--rounds", "1000", "--folder", tmp_path]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=heeds_ctrl_c)
    while not list(tmp_path.rglob("*.safetensors")):
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(20) == 130
    assert not list(tmp_path.iterdir())
