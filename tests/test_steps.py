"""A folder of numbered steps is its newest step, by number, and a note says which."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES, Ckpt
from safetensors.numpy import save_file


def holding(path: Path, value: float) -> None:
    """A model of one tensor of one value, as its place asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({"w": np.float32([value])}, path)
    else:
        torch.save({"w": torch.tensor([float(value)])}, path)


# Where the models lie, {} being the number; numbers; what the note says.
STEPS = {
    "the Trainer": ("checkpoint-{}/model.safetensors", (50, 1000, 500), "checkpoint-1000 is opened, the newest of 3 steps"),
    "zeros in front": ("step_{:06d}/model.safetensors", (5, 40, 100), "step_000100 is opened, the newest of 3 steps"),
    "Accelerate": ("checkpoint_{}/pytorch_model.bin", (9, 10), "checkpoint_10 is opened, the newest of 2 steps"),
    "a name before": ("run-7-checkpoint-{}/model.safetensors", (9, 10), "run-7-checkpoint-10 is opened, the newest of 2 steps"),
    "bare numbers": ("{}/model.safetensors", (0, 9, 10), "10 is opened, the newest of 3 steps"),
    "items below": ("{}/ema/model.safetensors", (9, 10), "10 is opened, the newest of 2 steps"),
    "one": ("checkpoint-{}/model.safetensors", (7,), "checkpoint-7 is opened, the only step"),
    "files": ("checkpoint-{}.pt", (9, 100), "checkpoint-100.pt is opened, the newest of 2 steps"),
    "Lightning": ("epoch=1-step={}.ckpt", (90, 100), "epoch=1-step=100.ckpt is opened, the newest of 2 steps"),
    "no suffix": ("checkpoint_{}", (5, 10), "checkpoint_10 is opened, the newest of 2 steps"),
}


@pytest.mark.parametrize("what", STEPS)
def test_the_newest_step_is_opened_and_said(what: str, tmp_path: Path, ckpt: Ckpt) -> None:
    pattern, numbers, note = STEPS[what]
    for number in numbers:
        holding(tmp_path / pattern.format(number), number)
    found = ckpt("get", tmp_path, "w")
    assert found.out == f"[{max(numbers)}.]\n" and f"ckpt: {tmp_path}: {note}\n" in found.err


def test_flax_writes_files_without_a_suffix(tmp_path: Path, ckpt: Ckpt) -> None:
    for step in (5, 10):
        shutil.copy(SAMPLES / "train-state.msgpack", tmp_path / f"checkpoint_{step}")
    found = ckpt("ls", tmp_path)
    assert "checkpoint_10 is opened, the newest of 2 steps" in found.err and found.out == ckpt("ls", SAMPLES / "train-state.msgpack").out


def test_epochs_of_lightning_grow_with_the_step(tmp_path: Path, ckpt: Ckpt) -> None:
    for epoch, step in ((9, 90), (10, 100), (2, 20)):
        holding(tmp_path / f"epoch={epoch}-step={step}.ckpt", step)
    assert ckpt("get", tmp_path, "w").out == "[100.]\n"
    holding(tmp_path / "last.ckpt", 5)
    assert "several models" in ckpt("ls", tmp_path, status=2).err


OTHERS = ["best/model.safetensors", "step-7/model.safetensors", "checkpoint-0100/model.safetensors"]


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_series_is_listed(other: str, tmp_path: Path, ckpt: Ckpt) -> None:
    for path in ("checkpoint-9/model.safetensors", "checkpoint-100/model.safetensors", other):
        holding(tmp_path / path, 1)
    error = ckpt("ls", tmp_path, status=2).err
    assert "several models" in error and other in error


def test_the_folders_own_model_comes_first_and_the_steps_are_named(tmp_path: Path, ckpt: Ckpt) -> None:
    for path in ("checkpoint-9/model.safetensors", "checkpoint-100/model.safetensors", "model.safetensors"):
        holding(tmp_path / path, len(path))
    found = ckpt("get", tmp_path, "w")
    assert found.out == "[17.]\n"
    assert found.err == f"ckpt: {tmp_path}: beside the model lie steps, each opened by its own path: checkpoint-100, checkpoint-9\n"


def test_a_step_that_holds_no_model_is_passed_over_and_said(tmp_path: Path, ckpt: Ckpt) -> None:
    holding(tmp_path / "checkpoint-9" / "model.safetensors", 9)
    (tmp_path / "checkpoint-10").mkdir()
    (tmp_path / "checkpoint-10" / "config.json").write_text("{}")
    found = ckpt("get", tmp_path, "w")
    assert found.out == "[9.]\n" and "checkpoint-9 is opened; checkpoint-10 is newer, and holds no model" in found.err


@pytest.mark.parametrize("unfinished", ["30.orbax-checkpoint-tmp-1764511200", "tmp-checkpoint-30"])
def test_a_step_that_is_being_written_is_none(unfinished: str, tmp_path: Path, ckpt: Ckpt) -> None:
    for step in ("5", "20", unfinished):
        holding(tmp_path / step / "model.safetensors", len(step))
    assert ckpt("get", tmp_path, "w").out == "[2.]\n"


def test_a_link_to_the_folder_itself_is_no_way_down(tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "1").symlink_to(".")
    assert "holds no model" in ckpt("ls", tmp_path, status=2).err


def test_several_models_in_the_newest_step_are_listed(tmp_path: Path, ckpt: Ckpt) -> None:
    for path in ("checkpoint-9/model.safetensors", "checkpoint-10/a.pt", "checkpoint-10/b.pt"):
        holding(tmp_path / path, 1)
    assert "several models: checkpoint-10/a.pt, checkpoint-10/b.pt" in ckpt("ls", tmp_path, status=2).err


def test_an_edit_in_place_is_of_the_newest_step(tmp_path: Path, ckpt: Ckpt) -> None:
    for step in (9, 10):
        holding(tmp_path / f"checkpoint-{step}" / "model.safetensors", step)
    ckpt("set", tmp_path, "w = 3", "-i")
    assert [ckpt("get", tmp_path / f"checkpoint-{step}", "w").out for step in (9, 10)] == ["[9.]\n", "[3.]\n"]


def test_the_steps_of_a_report(case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    run = shutil.copytree(case("reports/trainer-steps/run"), tmp_path / "run")
    found = ckpt("get", run, "net.weight")
    assert set(found.out.replace("[", " ").replace("]", " ").split()) == {"1000."}
    assert found.err == f"ckpt: {run}: checkpoint-1000 is opened, the newest of 3 steps\n"
