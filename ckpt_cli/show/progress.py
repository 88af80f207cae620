"""How far long work has come: one line on standard error, where that is a terminal; erased at the end."""

from __future__ import annotations

import os
import sys
from time import monotonic
from types import TracebackType

from .answer import readable_size

_AFTER = 0.5  # seconds: what is over sooner shows nothing
_EVERY = 0.1
_WORTH = 32 << 20  # bytes: what takes long with less than that is an import or a program of the user's


class Progress:
    """`with Progress() as progress: work(progress)`: it is called with the bytes done and the bytes in all, as often as one likes.

    `unit`: what is counted where it is not bytes.
    """

    def __init__(self, unit: str = "") -> None:
        self.unit = unit
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._began = monotonic()
        self._next, self._drawn, self._done = self._began + _AFTER, False, 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()

    def clear(self) -> None:
        """Make room for a line of the answer."""
        if self._drawn:
            self._write("")
            self._drawn = False

    def __call__(self, done: int, total: int) -> None:
        if not self._shown or (total < _WORTH and not self.unit):
            return
        now = monotonic()
        if done < self._done:  # another pass
            self._began = now
        self._done = done
        if now >= self._next:
            self._next, self._drawn = now + _EVERY, True
            self._write(line(done, total, now - self._began, self.unit))

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(f"\r{text[: _columns() - 1]}\x1b[K")
            sys.stderr.flush()
        except OSError:  # the terminal is gone; the work goes on
            self._shown = False


def line(done: int, total: int, seconds: float, unit: str = "") -> str:
    """`2.1 GB of 8.0 GB (26 %), 1.3 GB/s, 5 s left`; `20 of 100 steps (20 %), 7 steps/s, 11 s left`."""
    rate = done / seconds if seconds else 0.0
    left = f", {_time((total - done) / rate)} left" if rate else ""
    percent = f"({100 * done // max(total, 1)} %)"
    if unit:
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        return f"{done:,} of {total:,} {unit} {percent}, {speed} {unit}/s{left}"
    return f"{readable_size(done)} of {readable_size(total)} {percent}, {readable_size(int(rate))}/s{left}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
