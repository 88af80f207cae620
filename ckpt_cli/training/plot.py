"""The curves of a training: loss, norms of the parameters, norms of their gradients, over the steps. Drawn by matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from .descent import Line

_KINDS = (".png", ".svg", ".pdf")
_MOST_NAMES = 24


def check(path: str) -> None:
    """Raises UsageError where the file's name is of no picture, or nothing can draw one: before there is anything to draw."""
    from importlib.util import find_spec

    if os.path.splitext(path)[1].lower() not in _KINDS:
        raise UsageError(f"{path}: no picture is written to such a name", f"give one that ends in {', '.join(_KINDS)}")
    if find_spec("matplotlib") is None:
        raise UsageError("--plot draws with matplotlib, which is not installed", "pip install 'ckpt-tool[plot]'")


def picture(path: str, names: Sequence[str], lines: Sequence[Line]) -> bytes:
    """The picture, in the format that the suffix of `path` says."""
    import io
    import logging
    import warnings

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font has not
        _figure(names, lines).savefig(buffer, format=os.path.splitext(path)[1][1:].lower(), bbox_inches="tight")
    return buffer.getvalue()


def _figure(names: Sequence[str], lines: Sequence[Line]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 9), dpi=120, layout="constrained")
    top, middle, low = figure.subplots(3, 1, sharex=True)
    steps = [line.step for line in lines]
    marker = "." if len(lines) <= 60 else None
    top.plot(steps, [line.loss for line in lines], color="black", marker=marker)
    for number, name in enumerate(names):
        style = {"marker": marker, "color": f"C{number % 10}", "linestyle": ("-", "--", ":", "-.")[number // 10 % 4]}
        middle.plot(steps, [line.norms[number] for line in lines], label=_label(name), **style)
        gradients = [line.gradients[number] for line in lines]
        low.plot(steps, [float("nan") if norm is None else norm for norm in gradients], **style)
    for axes, title in ((top, "loss"), (middle, "L2 norm of the parameter"), (low, "L2 norm of the gradient")):
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    low.set_xlabel("step")
    if len(names) <= _MOST_NAMES:
        figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _label(name: str) -> str:
    """A name as matplotlib shows it: no formula in it, and not left out for its first letter."""
    text = name.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
