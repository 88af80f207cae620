"""The frameworks that wrote a format, as its judges. They live in environments of their own (`make oracle`); `ckpt` is run as a program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
Run = Callable[..., str]


@pytest.fixture
def ckpt() -> Run:
    """`ckpt ARGS…` as `$CKPT` or the project's own environment has it; what it printed. Any status but 0 fails the test."""
    program = os.environ.get("CKPT", str(ROOT / ".venv" / "bin" / "ckpt"))

    def run(*args: object) -> str:
        done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
