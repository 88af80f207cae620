"""The progress of long work: one line on standard error, if that is a terminal. The line is erased at the end."""

from __future__ import annotations

import os
import sys
from time import monotonic
from types import TracebackType

from .answer import readable_size

_AFTER = 0.5  # seconds before the line is shown first
_EVERY = 0.1  # seconds between updates
_WORTH = 32 << 20  # bytes: work on less is over soon, or is slow for another reason (an import, code of the user)


class Progress:
    """Shows progress while it is used as a context: `with Progress() as progress: work(progress)`.

    The work calls it with the amount done and the whole amount, as often as it likes. Amounts are bytes unless `unit` names another unit.
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
        """Erase the line, to make room for a line of the answer."""
        if self._drawn:
            self._write("")
            self._drawn = False

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` is done, unless the line was updated a moment ago."""
        if not self._shown or (total < _WORTH and not self.unit):
            return
        now = monotonic()
        if done < self._done:  # another pass over the data began
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
    """Return `2.1 GB of 8.0 GB (26 %), 1.3 GB/s, 5 s left`; with a unit `20 of 100 steps (20 %), 7 steps/s, 11 s left`."""
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
