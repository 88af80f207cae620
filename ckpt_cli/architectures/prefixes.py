"""Where in a file a model begins: the prefixes that its names may have, and what may lie beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from .layers import Shape
from .model import Model

# What programs put around a state dict, and wrappers put before the names in it.
WRAPPERS = {"model", "module", "network", "params", "weights", "state_dict", "model_state", "model_state_dict"}
WRAPPERS |= {"_orig_mod", "_forward_module", "diffusion_model"}
# What programs put beside it: the state of the training.
TRAINING = re.compile(
    r"optim|sched|scaler|rng|random|epoch|step|iter|loss|metric|history|best|callback|loop|train|args|config|hyper|seed|sampler|loader"
    r"|(^|_)(ema|swa)(_|$)",
    re.IGNORECASE,
)
MOST_PARTS = 50  # a file with more top-level parts is one model, not several things side by side
DEEPEST = 5  # wrappers inside wrappers


def prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes that a model may have: known wrappers, the innermost first; none; any one of a few top-level parts."""
    names = list(names)
    wrapped = dict.fromkeys(prefix for name in names for prefix in wrappers(name))
    parts = dict.fromkeys(f"{first}." for first, dot, _ in (name.partition(".") for name in names) if dot and not first.isdecimal())
    return list(dict.fromkeys([*sorted(wrapped, key=len, reverse=True), "", *(parts if len(parts) <= MOST_PARTS else ())]))


def wrappers(name: str) -> Iterator[str]:
    """Yield the known wrappers of a name: `module.model.0.weight` → `module.`, `module.model.`."""
    pieces = name.split(".")[:-1][:DEEPEST]
    for end, piece in enumerate(pieces, 1):
        if piece not in WRAPPERS:
            return
        yield ".".join(pieces[:end]) + "."


def unaccounted(shapes: Mapping[str, Shape], prefix: str, inside: Mapping[str, Shape]) -> list[str]:
    """Return the names outside the prefix that may belong to the same network.

    The state of a training and copies of the model (its running average) do not. Beside a known wrapper, what is not called weight or
    bias is taken for data of the program that wrote the file.

    Args:
        shapes: all tensors of the file.
        prefix: where the model begins.
        inside: the model's tensors, by names without the prefix.
    """
    wrapped = prefix.split(".")[0] in WRAPPERS
    outside = (name for name in shapes if not name.startswith(prefix) and not TRAINING.search(name.partition(".")[0]))
    likely = (name for name in outside if not wrapped or name.rpartition(".")[2] in ("weight", "bias"))
    return [name for name in likely if not is_copy(name, shapes[name], inside)]


def is_copy(name: str, shape: Shape, inside: Mapping[str, Shape]) -> bool:
    """Return whether the model has a tensor of this path and shape under another prefix; `weight` alone is no path."""
    pieces = name.split(".")
    return any(inside.get(".".join(pieces[start:])) == shape for start in range(1, min(len(pieces) - 1, DEEPEST)))


def at_best_prefix(model: Model, shapes: Mapping[str, Shape]) -> Model:
    """Return the model under the prefix at which the file has most of its names; the shortest of several."""

    def missing(prefix: str) -> tuple[int, int]:
        return sum(prefix + name not in shapes for name in model.shapes), len(prefix)

    return replace(model, prefix=min(prefixes(shapes), key=missing))
