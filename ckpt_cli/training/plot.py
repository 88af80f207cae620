"""The curves of a training, drawn by matplotlib: loss, norms of the parameters and norms of their gradients over the steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from .descent import Line

_SUFFIXES = (".png", ".svg", ".pdf")
_MOST_NAMES = 24  # a legend of more names would not fit


def require_plottable(path: str) -> None:
    """Refuse a path that no picture can be written to, before there is anything to draw.

    Raises:
        UsageError: the suffix is of no picture, or matplotlib is not installed.
    """
    from importlib.util import find_spec

    if os.path.splitext(path)[1].lower() not in _SUFFIXES:
        raise UsageError(f"{path}: no picture is written to such a name", f"give one that ends in {', '.join(_SUFFIXES)}")
    if find_spec("matplotlib") is None:
        raise UsageError("--plot draws with matplotlib, which is not installed", "pip install 'ckpt-tool[plot]'")


def picture(path: str, names: Sequence[str], lines: Sequence[Line]) -> bytes:
    """Return the picture's bytes, in the format of the suffix of `path`.

    Args:
        path: where the picture is going to be written.
        names: the parameters.
        lines: the lines of the training, with a norm for each parameter.
    """
    import io
    import logging
    import warnings

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib warns of letters that the font lacks
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
    """A name for the legend. matplotlib would take $ for a formula, and leave out a name that begins with an underscore."""
    text = name.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
