"""What tests share: the command line as a function, files to work on, and the real checkpoints of other programs."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

from ckpt_cli.cli import main

WHOLE = os.environ.get("CKPT_TESTS") in ("all", "crash")  # `make test-all`, `make crash`: what is sampled otherwise


def examples(count: int) -> int:
    """How many examples a property test tries that is worth `count` of them: half as many by default."""
    return count if WHOLE else count // 2


# A machine that is busy is slow, not wrong.
settings.register_profile("ckpt", deadline=None, derandomize=bool(os.environ.get("CI")), max_examples=examples(100))
settings.load_profile("ckpt")

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_models"
CASES = Path(os.environ.get("CKPT_CASES", ROOT.parent / "shared" / "cases"))


class Result(NamedTuple):
    """What a command line left behind: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str
    raw: bytes

    @property
    def rows(self) -> list[list[str]]:
        """The records that it printed: lines of tab-separated fields."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Ckpt = Callable[..., Result]


def heeds_ctrl_c() -> None:
    """For programs that are to be interrupted: one that is started in the background inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def ckpt(capsysbinary: pytest.CaptureFixture[bytes]) -> Ckpt:
    """`ckpt ARGS…`, in this process; standard output is a pipe. Without `status`, anything but success fails the test."""

    def run(*args: object, status: int | None = 0) -> Result:
        capsysbinary.readouterr()
        code = main([str(arg) for arg in args])
        out, err = capsysbinary.readouterr()
        result = Result(code, out.decode(errors="replace"), err.decode(errors="replace"), out)
        if status is not None:
            assert code == status, result.err or result.out
        if code == 2:
            assert result.err.count("\n") == 1 and result.err.startswith("ckpt: error: "), result.err
        return result

    return run


@pytest.fixture
def sample(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a sample model, to be edited."""

    def copy(name: str) -> Path:
        return Path(shutil.copy(SAMPLES / name, tmp_path / name))

    return copy


@pytest.fixture
def case() -> Callable[[str], Path]:
    """A real checkpoint of another program, by its path below CKPT_CASES; the test is skipped where there are none."""

    def find(name: str) -> Path:
        if not CASES.is_dir():
            pytest.skip(f"no real checkpoints at {CASES}: set CKPT_CASES")
        return CASES / name

    return find
