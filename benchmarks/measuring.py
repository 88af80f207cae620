"""Times commands in turn, and watches one for its memory and what it writes. Whole processes; standard output is no terminal."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

WATCH = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watch.py"))]


class Failed(Exception):
    """A command that failed or took too long: why, in one line."""


class Watched(NamedTuple):
    """What one run took, under the eyes of `watch.py`: less exact in seconds."""

    seconds: float
    memory: int
    written: int


def run(command: Sequence[str], allowed: Sequence[int] = (0,), patience: int = 300, output: int = subprocess.DEVNULL) -> tuple[float, str]:
    """Seconds, and the output where it is a pipe. Whatever ends this run early ends the command and its children, too."""
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, text=True, process_group=0)
        try:
            signal.alarm(patience)
            text = process.stdout.read() if process.stdout else ""
            status = process.wait()
            seconds = time.perf_counter() - start
        except BaseException:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            signal.alarm(0)
        if status not in allowed:
            errors.seek(0)
            raise Failed(_reason(errors.read(), status))
        return seconds, text


def _reason(errors: str, status: int) -> str:
    last = (errors.strip().splitlines() or [""])[-1].strip()
    return last or f"exit status {status}"


def _too_long(number: int, frame: FrameType | None) -> None:
    raise Failed("took too long")


signal.signal(signal.SIGALRM, _too_long)


def watch(command: Sequence[str], allowed: Sequence[int] = (0,), patience: int = 300) -> Watched:
    _, text = run([*WATCH, *command], patience=patience, output=subprocess.PIPE)
    status, seconds, memory, written = text.split()
    if int(status) not in allowed:
        run(command, allowed, patience)  # says why
        raise Failed(f"exit status {status}")
    return Watched(float(seconds), int(memory), int(written))


class Turns(NamedTuple):
    """Seconds of several commands that ran in turn, A B C A B C …: a list each."""

    seconds: list[list[float]]

    def median(self, which: int) -> float:
        return round(statistics.median(self.seconds[which]), 6)

    def ratio(self, over: int) -> float:
        """The first over another, the median of what the pairs have: what slows the machine down for a while slows both."""
        return round(statistics.median(ours / theirs for ours, theirs in zip(self.seconds[0], self.seconds[over], strict=True)), 6)


class Pace(NamedTuple):
    """How many rounds: as many as these seconds allow, between the least and the most."""

    seconds: float
    least: int = 3
    most: int = 15


def take_turns(commands: Sequence[Callable[[], float]], pace: Pace) -> Turns:
    rounds: list[list[float]] = []
    start = time.perf_counter()
    while len(rounds) < pace.least or (len(rounds) < pace.most and time.perf_counter() - start < pace.seconds):
        rounds.append([command() for command in commands])
    return Turns([list(column) for column in zip(*rounds, strict=True)])
