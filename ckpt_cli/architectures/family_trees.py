"""The tree of layers that the lines of a family describe, once its sizes are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..errors import UsageError
from .family_lines import Dims, Line, Loop, Option
from .family_names import option_key
from .family_sizes import Known, value_of
from .layers import Layer, Shape, join_path

MOST_LAYERS = 1_000_000


def layers_from(lines: Iterable[Line], known: Known, file: Mapping[str, Shape] | None = None, most: int = MOST_LAYERS) -> dict[str, Layer]:
    """Return the layers by path, each with its own tensors alone. One object may be in several places.

    Args:
        lines: the lines of one naming style.
        known: the sizes and options.
        file: the shapes of the tensors of a file, which decide what may be absent and how large a free dimension is; without it, what may
            be absent is there by default or not, and free dimensions are 1.
        most: how many layers there may be.

    Raises:
        UsageError: there are more, or a size is not known.
    """
    layers: dict[str, Layer] = {}
    try:
        for line in lines:
            layer = None
            for path, indices in repetitions(line, known, most - len(layers)):
                if layer is None or not line.is_alike:
                    layer = layer_at(path, line, known, indices, file)
                if layer:
                    layers[path] = joined(layers[path], layer) if path in layers else layer
    except KeyError as error:
        name, *numbers = error.args[0] if isinstance(error.args[0], tuple) else (error.args[0],)
        raise UsageError(
            f"its size {name}{''.join(f'[{number}]' for number in numbers)} is not known", f"give {name} for all layers"
        ) from None
    return layers


def shapes_of(layers: Mapping[str, Layer]) -> dict[str, Shape]:
    """Return name → shape of the tensors of layers that are given by their paths."""
    tensors = ((path, leaf, shape) for path, layer in layers.items() for leaf, shape in (*layer.parameters.items(), *layer.buffers.items()))
    return {f"{path}.{leaf}" if path else leaf: shape for path, leaf, shape in tensors}


def repetitions(line: Line, known: Known, most: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the path of each repetition of a line, and the numbers in it."""
    if any(option.name and not option.loops and bool(known[option.name]) != option.wanted for option in line.options):
        return
    paths: list[tuple[str, dict[str, int]]] = [(line.pieces[0], {})]
    for loop, piece in zip(line.loops, line.pieces[1:], strict=True):
        ranges = [(path, indices, numbers(loop, known, indices)) for path, indices in paths]
        if sum(len(each) for _, _, each in ranges) > most:
            raise UsageError("there are too many layers", "choose smaller numbers")
        paths = [
            (f"{path}{number * loop.scale + loop.shown_from}{piece}", {**indices, loop.name: number})
            for path, indices, each in ranges
            for number in each
        ]
    yield from paths


def numbers(loop: Loop, known: Known, indices: Mapping[str, int]) -> range:
    """Return the numbers that a loop counts."""
    if loop.only is not None:
        only = value_of(loop.only, known, indices)
        return range(only, only + 1)
    count = int(known[(loop.name, indices[loop.outer]) if loop.outer else loop.name])
    first, last = (None if bound is None else value_of(bound, known, indices) for bound in (loop.first, loop.last))
    return range(count)[first : last : loop.step]


def layer_at(path: str, line: Line, known: Known, indices: Mapping[str, int], file: Mapping[str, Shape] | None) -> Layer | None:
    """Return a layer with its tensors, without those in it; None where it is absent."""
    named = {tensor: join_path(path, tensor.leaf) for tensor in line.tensors}
    if not holds(line.options, known, indices, named.values(), file):
        return None
    parameters: dict[str, Shape] = {}
    buffers: dict[str, Shape] = {}
    for tensor, name in named.items():
        if holds(tensor.options, known, indices, [name], file):
            shape = shape_of(tensor.dims, known, indices, (file or {}).get(name))
            (buffers if tensor.buffer else parameters)[tensor.leaf] = shape
    return Layer(line.type, printed(line.type, parameters), parameters, buffers)


def holds(
    options: Iterable[Option], known: Known, indices: Mapping[str, int], names: Iterable[str], file: Mapping[str, Shape] | None
) -> bool:
    """Return whether what has these options is there; what may always be absent is there if the file has one of its names."""

    def is_met(option: Option) -> bool:
        if option.name:
            return bool(known[option_key(option, indices)]) == option.wanted
        return option.by_default if file is None else any(name in file for name in names)

    return all(map(is_met, options))


def shape_of(dims: Dims, known: Known, indices: Mapping[str, int], found: Shape | None) -> Shape:
    """Return the shape; a free dimension is that of the tensor found in the file."""
    free = found if found and len(found) == len(dims) else (1,) * len(dims)
    return tuple(size if dim is None else value_of(dim, known, indices) for dim, size in zip(dims, free, strict=True))


def joined(first: Layer, second: Layer) -> Layer:
    """Return one layer that two lines describe: its type is the first one's."""
    return Layer(first.type, first.arguments, {**first.parameters, **second.parameters}, {**first.buffers, **second.buffers})


def printed(kind: str, parameters: Mapping[str, Shape]) -> dict[str, object]:
    """Return what print(net) has in the brackets of a layer, as far as shapes tell."""
    weight = parameters.get("weight", ())
    if kind == "Linear" and len(weight) == 2:
        return {"in_features": weight[1], "out_features": weight[0], "bias": "bias" in parameters}
    if kind == "Embedding" and len(weight) == 2:
        return {f"{weight[0]}, {weight[1]}": ...}
    return {"...": ...} if parameters else {}


def nested(layers: Mapping[str, Layer]) -> Layer:
    """Return the tree of layers that are given by their paths. A container that no line names is a ModuleList, or a Module."""
    inside: dict[str, dict[str, str]] = {"": {}}
    for path in layers:
        while path and path not in inside.get(path.rpartition(".")[0], ()):
            parent, _, _ = path.rpartition(".")
            inside.setdefault(parent, {})[path] = path.rpartition(".")[2]
            path = parent

    def subtree(path: str) -> Layer:
        children = {name: subtree(child) for child, name in inside.get(path, {}).items()}
        own = layers.get(path, Layer("ModuleList" if children and all(map(str.isdecimal, children)) else "Module"))
        return Layer(own.type, {} if children else own.arguments, own.parameters, own.buffers, children)

    return subtree("")
