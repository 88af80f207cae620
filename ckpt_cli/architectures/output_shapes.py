"""What needs torch to run: fresh values, and the shapes that come out of each layer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import architectures
from .hyperparameters import checked, shown_all
from .layers import Shape
from .mismatch import by
from .recognition import OWN, Model
from .user_module import load, told

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def fresh(name: str, hyperparameters: Mapping[str, object], seed: int) -> list[tuple[str, Tensor]]:
    """The state_dict, in order, that `torch.manual_seed(seed)` and building the module give. Tied names share one storage.

    `name` is a registered architecture, or the user's own: FILE.py:CALLABLE, package.module:CALLABLE.
    """
    import torch

    build, spelled = maker(name, hyperparameters)
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            return list(build().state_dict().items())
        except (RuntimeError, ValueError, OverflowError) as error:
            raise UsageError(f"{spelled} cannot be built: {told(error)}", "choose other hyperparameters") from error


def maker(name: str, hyperparameters: Mapping[str, object]) -> tuple[Callable[[], Module], str]:
    """What builds the module, and how it is written."""
    if own := OWN.fullmatch(name):
        if hyperparameters:
            raise UsageError(f"{name} takes its arguments in brackets", f"as in {name}({shown_all(hyperparameters)})")
        return load(name, own["source"], own["call"]).module, name
    architecture = architectures[name]
    values = checked(architecture, hyperparameters)
    return lambda: architecture.build(**values), f"{name}({shown_all(values)})"


def read_shape(text: str) -> Shape:
    """`2x4` → `(2, 4)`."""
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and size.isascii() and len(size) < 10 for size in sizes):
        raise UsageError(f"{text!r} is no shape", "write it as 2x4")
    return tuple(map(int, sizes))


def output_shapes(model: Model, shape: Shape) -> dict[str, Shape]:
    """Path → shape of what the layer gives when the model is given zeros of `shape`; of its last use, where it has several.

    On the meta device, which computes no values; on the CPU where the data decide. Models that take
    indices are given integers. Layers that give no single tensor, or are not called, are left out.
    """
    import torch

    failures: list[BaseException] = []
    for device, dtype in product(("meta", "cpu"), (torch.float32, torch.int64)):
        if device == "cpu" and "meta" not in str(failures[0]):
            break
        try:
            with torch.device(device), torch.no_grad(), redirect_stdout(sys.stderr):
                return watched(model.module(), torch.zeros(shape, dtype=dtype))
        except (Exception, SystemExit) as error:  # the model's own code may raise anything
            failures.append(error)
    raise UsageError(f"the model does not take an input of {by(shape)}: {told(failures[-2])}", "give another --input") from failures[-2]


def watched(module: Module, x: Tensor) -> dict[str, Shape]:
    """Run the module once, and note what comes out of each layer."""
    shapes: dict[str, Shape] = {}
    paths: dict[int, list[str]] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        paths.setdefault(id(layer), []).append(path)

    def note(layer: Module, _: Any, output: Any) -> None:
        if hasattr(output, "shape"):
            shapes.update(dict.fromkeys(paths[id(layer)], tuple(output.shape)))

    for layer in module.modules():
        layer.register_forward_hook(note)
    module.eval()(x)
    return shapes
