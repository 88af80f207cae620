"""The shapes that come out of each layer, found by running the model once."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..numbers.shapes import show_shape
from .layers import Shape
from .model import Model
from .user_module import one_line

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def parse_shape(text: str) -> Shape:
    """Parse a shape: `2x4` → `(2, 4)`.

    Raises:
        UsageError: the text is no shape.
    """
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and size.isascii() and len(size) < 10 for size in sizes):
        raise UsageError(f"{text!r} is no shape", "write it as 2x4")
    return tuple(map(int, sizes))


def output_shapes(model: Model, shape: Shape) -> dict[str, Shape]:
    """Return path → shape of what each layer returns when the model is given zeros of `shape`; of its last use, where it has several.

    The model runs on the meta device, which computes no values; on the CPU where the data decide. Models that take indices are given
    integers. Layers that return no single tensor, or are not called, are left out.

    Raises:
        UsageError: the model does not take such an input.
    """
    import torch

    failures: list[BaseException] = []
    for device, dtype in product(("meta", "cpu"), (torch.float32, torch.int64)):
        if device == "cpu" and "meta" not in str(failures[0]):
            break
        try:
            with torch.device(device), torch.no_grad(), redirect_stdout(sys.stderr):
                return run_and_record(model.module(), torch.zeros(shape, dtype=dtype))
        except (Exception, SystemExit) as error:  # the model's own code may raise anything
            failures.append(error)
    refusal = failures[-2]  # that of the float32 input
    raise UsageError(f"the model does not take an input of {show_shape(shape)}: {one_line(refusal)}", "give another --input") from refusal


def run_and_record(module: Module, x: Tensor) -> dict[str, Shape]:
    """Run the module once, and return path → shape of what each layer returned."""
    shapes: dict[str, Shape] = {}
    paths: dict[int, list[str]] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        paths.setdefault(id(layer), []).append(path)

    def record(layer: Module, _: Any, output: Any) -> None:
        if hasattr(output, "shape"):
            shapes.update(dict.fromkeys(paths[id(layer)], tuple(output.shape)))

    for layer in module.modules():
        layer.register_forward_hook(record)
    module.eval()(x)
    return shapes
