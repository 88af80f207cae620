"""Which parameter each accumulator of an optimizer of Paddle belongs to: `linear_0.w_0_moment1_0`.

An accumulator is called after the parameter's own name. The file of a state dict has another name for the parameter (`0.weight`), so they
are matched by order: that in which the optimizer was given the parameters, where all shapes agree with those of a model in the file.
Source: python/paddle/optimizer/optimizer.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..tensors.checkpoint import Checkpoint
from .buffers import is_buffer

_KINDS = "moment[12]?|moment2_max|beta[12]_pow_acc|velocity|inf_norm|momentum|mean_square|mean_grad|_avg_squared_(grad|update)"
_ACCUMULATED = re.compile(rf"(?P<of>.+?)_({_KINDS})_\d{{1,9}}", re.DOTALL)
_OWN_NAME = re.compile(r".*\.[wb]_\d{1,9}", re.DOTALL)  # of a parameter that its program gave none
_STATISTICS = ("._mean", "._variance")  # of BatchNorm


def variables_of_paddle(checkpoint: Checkpoint) -> dict[str, str | None]:
    """Return the name of each accumulator, and of the parameter that it belongs to; None where that is not certain."""
    slots = {
        name: found["of"]
        for name in checkpoint
        if name[-1:].isdigit()
        and (found := _ACCUMULATED.fullmatch(name))
        and (found["of"] in checkpoint or _OWN_NAME.fullmatch(found["of"]))
    }
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for name, of in slots.items():
        shapes.setdefault(of, set()).add(checkpoint[name].shape)
    models = _models(checkpoint, slots) if slots else ()
    model = next((each for each in models if _fits([checkpoint[name].shape for name in each], list(shapes.values()))), [])
    parameters = dict(zip(shapes, model, strict=False))
    return {name: of if of in checkpoint else parameters.get(of) for name, of in slots.items()}


def _fits(model: list[tuple[int, ...]], states: list[set[tuple[int, ...]]]) -> bool:
    return len(model) == len(states) and all(shape in kept for shape, kept in zip(model, states, strict=True))


def _models(checkpoint: Checkpoint, slots: dict[str, str]) -> Iterator[list[str]]:
    """The parameters below each name at the top of the file; then all of them."""
    tops: dict[str, list[str]] = {}
    for name, tensor in checkpoint.items():
        if name not in slots and not name.endswith(_STATISTICS) and not is_buffer(name, tensor, None):
            tops.setdefault(name.partition(".")[0], []).append(name)
    yield from tops.values()
    yield [name for names in tops.values() for name in names]
