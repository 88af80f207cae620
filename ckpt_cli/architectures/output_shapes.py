"""The shapes that come out of each layer, found by running the model once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import CkptError, UsageError
from ..numbers.shapes import numel_of, show_shape
from .forward_call import call_of
from .layers import Shape
from .model import Model
from .user_module import one_line

if TYPE_CHECKING:
    import torch
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


_MOST_ON_CPU = 1 << 28  # elements of a model that is built with values, where the meta device does not do


def output_shapes(model: Model, shape: Shape) -> dict[str, Shape]:
    """Return path → shape of what each layer returns when the model is given zeros of `shape`; of its last use, where it has several.

    The model runs on the meta device, which computes no values; on the CPU where the data decide. Models that take indices are given
    integers. Of several tensors that a layer returns, the first counts. Layers that return none, or are not called, are left out.

    Raises:
        LibraryError, UserCodeError: the model cannot be built.
        UsageError: the model does not take such an input.
    """
    import torch

    failures: list[BaseException] = []
    for device, dtype in product(("meta", "cpu"), (torch.float32, torch.int64)):
        if device == "cpu" and not _decided_by_data(failures[0], model):
            break
        try:
            with torch.device(device), torch.no_grad(), redirect_stdout(sys.stderr):
                found = run_and_record(model.module(), shape, dtype)
                return {model.places.get(path, path): each for path, each in found.items()}
        except (Exception, SystemExit) as error:  # the model's own code may raise anything
            failures.append(error)
    refusal = failures[-2]  # that of the float32 input
    if isinstance(refusal, CkptError):
        raise refusal
    raise UsageError(f"the model does not take an input of {show_shape(shape)}: {one_line(refusal)}", "give another --input") from refusal


def _decided_by_data(failure: BaseException, model: Model) -> bool:
    """Whether a model failed on the meta device because it needs values, and is small enough to be given some."""
    return "meta" in str(failure).lower() and sum(map(numel_of, model.shapes.values())) <= _MOST_ON_CPU


def run_and_record(module: Module, shape: Shape, dtype: torch.dtype) -> dict[str, Shape]:
    """Run the module once, and return path → shape of what each layer returned."""
    import torch

    shapes: dict[str, Shape] = {}
    paths: dict[int, list[str]] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        paths.setdefault(id(layer), []).append(path)

    def record(layer: Module, _: Any, output: Any) -> None:
        first = first_tensor(output)
        if first is not None:
            shapes.update(dict.fromkeys(paths[id(layer)], tuple(first.shape)))

    for layer in module.modules():
        layer.register_forward_hook(record)
    call = call_of(module, shape)
    call.run(module.eval(), torch.zeros(shape, dtype=torch.int64 if call.of_indices else dtype))
    return shapes


def first_tensor(output: Any) -> Tensor | None:
    """Return what a layer returns, or the first tensor in it: in a tuple, a list, or a mapping such as transformers' outputs."""
    if hasattr(output, "shape"):
        tensor: Tensor = output
        return tensor
    inner = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    found = (first_tensor(each) for each in inner)
    return next((each for each in found if each is not None), None)
