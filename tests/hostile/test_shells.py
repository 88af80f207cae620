"""In the shell: whatever the surroundings of a command are, an answer or rule R, and no traceback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SAMPLES, heeds_ctrl_c
from judge import FAULTS

from ckpt_cli.cli import COMMANDS

CKPT = Path(sys.executable).with_name("ckpt")
MLP, SHARED = SAMPLES / "mlp.pt", SAMPLES / "shared-mlp.pt"

# What follows a command's name; OUT is a file that is not there yet.
ARGUMENTS: dict[str, list[object]] = {
    "get": [MLP, "0.weight"],
    "diff": [MLP, SHARED],
    "git-diff": [MLP],
    "set": [MLP, "0.bias = 1", "-o", "OUT"],
    "reinit": [MLP, "*.bias=zeros", "--seed", "0", "-o", "OUT"],
    "tie": [SHARED, "2.bias", "4.bias", "-o", "OUT"],
    "untie": [SHARED, "4.bias", "-o", "OUT"],
    "rename": [MLP, "0.*=a.*", "-o", "OUT"],
    "drop": [MLP, "*.bias", "-o", "OUT"],
    "cast": [MLP, "float16", "-o", "OUT"],
    "apply": [MLP, "RECIPE", "-o", "OUT"],
    "convert": [MLP, "OUT"],
    "new": ["mlp", "inputs=2", "hidden=3", "outputs=1", "--seed", "0", "-o", "OUT"],
    "grad": [MLP, "--seed", "0"],
    "train": [MLP, "--random", "--steps", "2", "--lr", "0.1", "--seed", "0", "-o", "OUT"],
    "archs": [],
    "schemes": [],
    "formats": [],
    "completion": ["bash"],
}


def line(command: str, folder: Path) -> str:
    """The command line, for a shell."""
    places = {"OUT": folder / "out.pt", "RECIPE": folder / "recipe.toml"}
    (folder / "recipe.toml").write_text('[[step]]\ndrop = ["*.bias"]\n')
    words = [CKPT, command, *(places.get(str(arg), arg) for arg in ARGUMENTS.get(command, [SHARED]))]
    return shlex.join(map(str, words))


SURROUNDINGS = {
    "head": "{} | head -c 1; exit ${{PIPESTATUS[0]}}",
    "nobody listens": "{} | true; exit ${{PIPESTATUS[0]}}",
    "no standard input": "{} <&-",
    "no standard output": "{} >&-",
    "no standard error": "{} 2>&-",
    "no standard streams": "{} <&- >&- 2>&-",
    "a full disk": "{} >/dev/full",
    "all is full": "{} >/dev/full 2>&1",
    "a dumb terminal of one column": "TERM=dumb COLUMNS=1 LINES=1 {}",
    "no colour": "NO_COLOR=1 TERM= {}",
    "the C locale": "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {}",
    "latin-1": "PYTHONIOENCODING=latin-1 {}",
    "ASCII alone": "PYTHONIOENCODING=ascii:strict LANG=xx_YY.zz {}",
    "no home": "env -u HOME -u PATH {}",
    "a home that is not there": "HOME=/no/such TMPDIR=/no/such XDG_CACHE_HOME=/no/such {}",
    "a deleted folder": "mkdir gone && cd gone && rmdir ../gone && {}",
    "no asserts": "PYTHONOPTIMIZE=2 {}",
}
MAY_FAIL = ("a full disk", "all is full")
SLOW = dict.fromkeys(("new", "grad", "train"), ("no standard streams", "a full disk", "no home", "a deleted folder"))  # they import torch


@pytest.mark.parametrize("command", COMMANDS)
def test_any_surroundings_give_an_answer_or_an_error(command: str, tmp_path: Path) -> None:
    """A half of them for each command, every one for a half of the commands: the answer is the one that is given in a plain shell."""
    plain = run("{}", command, tmp_path)
    assert plain.returncode in (0, 1), plain.stderr
    for what in SLOW.get(command, list(SURROUNDINGS)[list(COMMANDS).index(command) % 2 :: 2]):
        found = run(SURROUNDINGS[what], command, tmp_path)
        assert not any(fault in found.stderr for fault in (*FAULTS, "Exception ignored")), (what, found.stderr)
        statuses = (
            (plain.returncode, 2)
            if what in MAY_FAIL
            else (plain.returncode, 0)
            if what in ("head", "nobody listens")
            else (plain.returncode,)
        )
        assert found.returncode in statuses, (what, found)
        if found.returncode == 2 and what != "all is full":
            assert found.stderr.splitlines()[-1].startswith("ckpt: error: "), (what, found.stderr)
        assert sorted(os.listdir(tmp_path)) == ["recipe.toml"], what


def run(form: str, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    text = form.format(line(command, folder))
    found = subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, text=True, errors="replace", timeout=60)
    (folder / "out.pt").unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("command", ["set", "reinit", "drop", "convert"])
def test_a_signal_at_any_time_leaves_the_result_or_nothing(command: str, number: signal.Signals, tmp_path: Path) -> None:
    """At four moments, of which the first are while the program begins."""
    for after in (0.03, 0.1, 0.2, 0.35):
        words = shlex.split(line(command, tmp_path))
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_ctrl_c)
        time.sleep(after)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        if process.returncode != 1 or "ckpt_cli" in err:  # 1 is Python's own, where it has not come to the first line of ours
            assert process.returncode in (0, 128 + number, -number), (process.returncode, err)
        assert "ckpt_cli/" not in err.replace("ckpt_cli/start.py", ""), err
        assert set(os.listdir(tmp_path)) <= {"recipe.toml", "out.pt"}
        (tmp_path / "out.pt").unlink(missing_ok=True)
