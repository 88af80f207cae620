"""Plug-ins: what an installed package announces by its entry points is there in every command that takes such a thing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
from conftest import SAMPLES

CODE = '''
from ckpt_cli.schemes import Constant, Distribution, InPlace, Target, scheme


@scheme("mine")
def sevens(target: Target, by: int = 7) -> Distribution:
    """w = by

    Our own.
    """
    return Constant(by)


@scheme("mine")
def signs(target: Target, size: float = 1.0) -> Distribution:
    """w = size or -size

    Our own.
    """

    def fill(tensor, generator):
        tensor.uniform_(-1, 1, generator=generator).sign_().mul_(size)

    return InPlace(f"±{size:.6g}", fill, elementwise=True)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a checkpoint, and a package that announces two schemes."""
    told = tmp_path / "site" / "ourschemes-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: ourschemes\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[ckpt_cli.schemes]\nsevens = ourschemes:sevens\nsigns = ourschemes:signs\n")
    (told.parent / "ourschemes.py").write_text(CODE)
    shutil.copy(SAMPLES / "mlp.pt", tmp_path / "mlp.pt")
    return tmp_path


def run(folder: Path, *arguments: str, status: int = 0) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder / "site")}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


COMMANDS = [
    (["reinit", "mlp.pt", "0.weight=SCHEME"], "0.weight"),
    (["resize", "mlp.pt", "0.weight=9x*", "--fill", "SCHEME"], "0.weight"),
    (["add", "mlp.pt", "head.bias:float32[3]=SCHEME"], "head.bias"),
]


def filled(folder: Path, command: list[str], name: str, scheme: str) -> torch.Tensor:
    """What the command fills with the scheme."""
    run(folder, "-m", "ckpt_cli", *(part.replace("SCHEME", scheme) for part in command), "--seed", "1", "-o", "out.pt")
    after, before = torch.load(folder / "out.pt")[name], torch.load(folder / "mlp.pt")
    assert command[0] != "resize" or torch.equal(after[:8], before[name])
    return after[8:] if command[0] == "resize" else after


@pytest.mark.parametrize("command, name", COMMANDS)
def test_scheme_of_a_package_is_used(folder: Path, command: list[str], name: str) -> None:
    assert bool((filled(folder, command, name, "sevens") == 7).all())
    recipe = run(folder, "-m", "ckpt_cli", *(part.replace("SCHEME", "sevens") for part in command), "--seed", "1", "--print-recipe")
    (folder / "recipe.toml").write_text(recipe)
    run(folder, "-m", "ckpt_cli", "apply", "mlp.pt", "recipe.toml", "-o", "again.pt")
    assert (folder / "again.pt").read_bytes() == (folder / "out.pt").read_bytes()


def test_scheme_of_a_package_draws(folder: Path) -> None:
    assert bool((filled(folder, *COMMANDS[1], "signs(size=2)").abs() == 2).all())


def test_scheme_of_a_package_is_listed_and_used_by_python(folder: Path) -> None:
    assert "sevens\tmine\tby=7\tw = by" in run(folder, "-m", "ckpt_cli", "schemes")
    assert "did you mean sevens" in run(folder, "-m", "ckpt_cli", "reinit", "mlp.pt", "0.weight=sevenz", "-n", status=2)
    code = (
        "import ckpt_cli as ckpt\nfor made, name in ((ckpt.reinit('mlp.pt', '0.bias=sevens'), '0.bias'), (ckpt.resize('mlp.pt', "
        "'0.bias=9', fill='sevens', fresh=True), '0.bias'), (ckpt.add('mlp.pt', 'h:float32[2]=sevens'), 'h')):\n"
        "    print(*made[name].array())"
    )
    assert all(numpy.fromstring(line, sep=" ").tolist().count(7.0) >= 2 for line in run(folder, "-c", code).splitlines())


@pytest.mark.parametrize("group", ["schemes", "formats"])
@pytest.mark.parametrize(
    "announced, told",
    [
        ("nowhere:thing", "ModuleNotFoundError: No module named 'nowhere'"),
        ("ourschemes:thing", "AttributeError: "),
        ("faulty:thing", "ZeroDivisionError: "),
    ],
)
def test_package_that_is_broken_is_named(folder: Path, group: str, announced: str, told: str) -> None:
    (folder / "site" / "faulty.py").write_text("1 / 0\n")
    points = folder / "site" / "ourschemes-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"[ckpt_cli.{group}]\nbroken = {announced}\n")
    said = run(folder, "-m", "ckpt_cli", group, status=2)
    assert said.startswith(f"ckpt: error: the plug-in {announced} cannot be loaded: {told}") and said.count("\n") == 1
    assert said.endswith("(update or remove the package ourschemes)\n")
    assert "0.weight" in run(folder, "-m", "ckpt_cli", "ls", "mlp.pt")
