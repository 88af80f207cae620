"""In the shell: whatever the surroundings of a command are, an answer or rule R, and no traceback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from conftest import SAMPLES, WHOLE, heeds_ctrl_c
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
    "resize": [MLP, "0.weight=+3x*", "--fill", "zeros", "-o", "OUT"],
    "add": [MLP, "head.bias:float32[3]=zeros", "-o", "OUT"],
    "merge": [MLP, SAMPLES / "mlp.safetensors", "-o", "OUT"],
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


HEARD, GONE, CLOSED, FULL = "heard", "gone", "closed", "full"
# What may be odd around a command: factor → value → what the shell is given for it.
FACTORS: dict[str, dict[str, str]] = {
    "standard output": {
        HEARD: "",
        "one byte is taken": "| head -c 1; exit ${PIPESTATUS[0]}",
        GONE: "| true; exit ${PIPESTATUS[0]}",
        CLOSED: ">&-",
        FULL: ">/dev/full",
    },
    "standard error": {HEARD: "", CLOSED: "2>&-", FULL: "2>/dev/full"},
    "standard input": {HEARD: "", CLOSED: "<&-"},
    "terminal": {"as it is": "", "dumb, of one column": "TERM=dumb COLUMNS=1 LINES=1", "no colour": "NO_COLOR=1 TERM="},
    "text": {
        "as it is": "",
        "the C locale": "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
        "latin-1": "PYTHONIOENCODING=latin-1",
        "ASCII alone": "PYTHONIOENCODING=ascii:strict LANG=xx_YY.zz",
    },
    "home": {
        "as it is": "",
        "none": "env -u HOME -u PATH",
        "not there": "HOME=/no/such TMPDIR=/no/such XDG_CACHE_HOME=/no/such",
    },
    "folder": {"as it is": "", "deleted": "mkdir gone && cd gone && rmdir ../gone &&"},
    "asserts": {"kept": "", "removed": "PYTHONOPTIMIZE=2"},
}
Row = dict[str, str]


def pairwise(factors: dict[str, dict[str, str]]) -> list[Row]:
    """Rows, a value of each factor, in which every pair of values of two factors is found; each row takes as many new pairs as it can."""
    options = [(factor, value) for factor, values in factors.items() for value in values]
    wanted = {pair for pair in combinations(options, 2) if pair[0][0] != pair[1][0]}
    rows = []
    while wanted:
        row = dict(min(wanted))
        for factor in (factor for factor in factors if factor not in row):
            news = {value: len(wanted & set(combinations_of(row | {factor: value}, factors))) for value in factors[factor]}
            row[factor] = max(news, key=lambda value: news[value])
        wanted -= set(combinations_of(row, factors))
        rows.append(row)
    return rows


def combinations_of(row: Row, factors: dict[str, dict[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    return combinations([(factor, row[factor]) for factor in factors if factor in row], 2)


ROWS = pairwise(FACTORS)


def form(row: Row) -> str:
    """The line for a shell, with {} for the command."""
    text = {factor: FACTORS[factor][value] for factor, value in row.items()}
    before = [text[factor] for factor in ("folder", "terminal", "text", "asserts", "home")]
    after = [text[factor] for factor in ("standard input", "standard error", "standard output")]
    return " ".join(word for word in (*before, "{}", *after) if word)


def met_by(command: str) -> list[Row]:
    """The rows that a command meets: all of them under `make test-all`, else one, each row by a command at least."""
    return ROWS if WHOLE else [ROWS[list(COMMANDS).index(command) % len(ROWS)]]


@pytest.mark.parametrize("command", COMMANDS)
def test_any_surroundings_give_an_answer_or_an_error(command: str, tmp_path: Path) -> None:
    """The answer is the one that is given in a plain shell."""
    plain = run("{}", command, tmp_path)
    assert plain.returncode in (0, 1), plain.stderr
    for row in met_by(command):
        found = run(form(row), command, tmp_path)
        assert not any(fault in found.stderr for fault in (*FAULTS, "Exception ignored")), (row, found.stderr)
        also = {HEARD: plain.returncode, CLOSED: plain.returncode, FULL: 2}.get(row["standard output"], 0)
        assert found.returncode in (plain.returncode, also, 2 if row["standard error"] == FULL else also), (row, found)
        if found.returncode == 2 and row["standard error"] == HEARD:
            assert found.stderr.splitlines()[-1].startswith("ckpt: error: "), (row, found.stderr)
        assert sorted(os.listdir(tmp_path)) == ["recipe.toml"], row


def run(form: str, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    text = form.replace("{}", line(command, folder))
    found = subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, text=True, errors="replace", timeout=60)
    (folder / "out.pt").unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("command", ["set", "reinit", "drop", "convert"])
def test_a_signal_at_any_time_leaves_the_result_or_nothing(command: str, number: signal.Signals, tmp_path: Path) -> None:
    """At several moments, of which the first are while the program begins."""
    for after in (0.03, 0.1, 0.2, 0.35) if WHOLE else (0.03, 0.2):
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
