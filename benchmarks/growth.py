"""How time and memory grow: over the bytes of a file, and over the number of its names. A picture of both."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inputs import Inputs, names, saved_by_torch
from measuring import Failed, Pace, take_turns, watch
from rows import PROGRAMS
from streams import write_safetensors

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "growth.svg"
# Each command writes where it does: only `set -i` leaves most of the bytes alone.
OVER_BYTES = {
    "stats": "{ckpt} stats {float32}",
    "diff": "{ckpt} diff {float32} {other}",
    "set -i": "{ckpt} set {float32} 'head.bias = {turn}' -i",
    "convert": "{ckpt} convert {float32} {out_torch}",
}
OVER_NAMES = {
    "ls, .safetensors": (write_safetensors, "safetensors", 1_000_000),
    "ls, .pt": (saved_by_torch, "pt", 100_000),
}
Curves = dict[str, list[dict[str, float]]]
Once = Callable[[Inputs, str], float]


def point(inputs: Inputs, template: str, at: float, once: Once) -> dict[str, float] | None:
    """Seconds and peak memory (MB) of a command; none where it fails."""
    try:
        inputs.clear_outputs()
        watched = watch(inputs.words(template), (0, 1))
        seconds = take_turns([lambda: once(inputs, template)], Pace(0)).median(0)
    except Failed:
        return None
    return {"at": at, "seconds": seconds, "memory": round(watched.memory / 1e6, 1)}


def over_bytes(folder: Path, megabytes: int, once: Once) -> Curves:
    curves: Curves = {name: [] for name in OVER_BYTES}
    for size in (megabytes // 20, megabytes // 5, megabytes // 2, megabytes):
        inputs = Inputs(folder / "growth", size, PROGRAMS)
        for name, template in OVER_BYTES.items():
            found = point(inputs, template, size, once)
            curves[name] += [found] if found else []
        inputs.keep_only([])
    return curves


def over_names(folder: Path, most: int, once: Once) -> Curves:
    curves: Curves = {name: [] for name in OVER_NAMES}
    for count in (1000, 10_000, 100_000, 1_000_000):
        for name, (write, suffix, limit) in OVER_NAMES.items():
            if count > min(limit, most):
                continue
            path = folder / f"names.{suffix}"
            write(path, names(count))
            os.sync()
            found = point(Inputs(folder / "growth", 0, PROGRAMS | {"path": str(path)}), "{ckpt} ls {path}", count, once)
            curves[name] += [found] if found else []
            path.unlink()
    return curves


def draw(curves: dict[str, Curves], path: Path = PICTURE) -> None:
    """Four panels with logarithmic axes: time above memory, over bytes beside over names."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams |= {"svg.hashsalt": "ckpt", "font.size": 11}  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8.5), layout="constrained")
    labels = {"bytes": "size of the file, MB", "names": "names in the file"}
    for (key, label), (time, memory) in zip(labels.items(), axes.T, strict=True):
        _panel(time, curves[key], "seconds", label, "seconds, median of three")
        _panel(memory, curves[key], "memory", label, "peak memory, MB")
        _proportional(time, curves[key])
        memory.axhline(64, color="grey", linestyle=":", linewidth=1.5, label="64 MB")
        time.legend(loc="upper left")
        memory.legend(loc="upper left")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _panel(axis: Any, curves: Curves, field: str, label: str, unit: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    for (name, points), marker in zip(curves.items(), "os^D", strict=False):
        axis.plot([one["at"] for one in points], [one[field] for one in points], marker=marker, linewidth=2, label=name)
    values = [one[field] for points in curves.values() for one in points]
    axis.set(xscale="log", yscale="log", xlabel=label, ylabel=unit)
    axis.set_ylim(min(values) / 2, max(values) * 6)  # room for the legend
    axis.set_xticks(sorted({one["at"] for points in curves.values() for one in points}))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(color="gainsboro")


def _proportional(axis: Any, curves: Curves) -> None:
    """A line that grows as its axis does, through the last and highest of the points."""
    last = max((points[-1] for points in curves.values() if points), key=lambda one: one["seconds"])
    first = min(one["at"] for points in curves.values() for one in points)
    bottom = axis.get_ylim()[0]
    start = max(first, last["at"] * bottom / last["seconds"])
    ends = [start, last["at"]]
    axis.plot(ends, [at * last["seconds"] / last["at"] for at in ends], color="grey", linestyle="--", linewidth=1.2, label="in proportion")
    axis.set_ylim(bottom)
