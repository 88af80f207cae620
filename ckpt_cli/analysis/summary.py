"""The summary of a checkpoint: its layers with their parameters, totals, and what the file holds besides the model.

Everything comes from the header. Tied tensors are counted once, under the first name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..architectures.layers import Shape
from ..architectures.model import Model
from ..architectures.prefixes import TRAINING
from ..formats import formats
from ..numbers.shapes import numel_of
from ..packing import Found, Packed
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .averages import Average, averages
from .buffers import is_buffer
from .layer_paths import above, path_of_layer, pieces
from .optimizer import training_state


@dataclass(frozen=True)
class Row:
    """A layer.

    Attributes:
        path: Its path in the file.
        type: Its type; empty where it is not known.
        name: The last part of the path.
        depth: Its depth below the root of the model, which has depth 0.
        params: The number of parameters directly in it.
        buffers: The number of elements of buffers directly in it.
        tied_to: The path of the layer that it shares a tensor with; empty where there is none.
        output: The shape of its output, where that is known.
    """

    path: str
    type: str
    name: str
    depth: int
    params: int = 0
    buffers: int = 0
    tied_to: str = ""
    output: Shape | None = None


@dataclass(frozen=True)
class Besides:
    """The tensors under one top-level name that is no part of the model: an optimizer's state, an average of the weights."""

    tensors: int
    elements: int
    bytes: int


@dataclass(frozen=True)
class PackedAlike:
    """The packed parameters of one way to pack: how many there are, their elements in the plain model, and the bytes that the file has."""

    parameters: int
    elements: int
    bytes: int


@dataclass(frozen=True)
class Summary:
    """What `ckpt summary` prints.

    Attributes:
        path: The path of the file.
        format: The name of its format.
        bytes: Its size in bytes.
        model: The model that was recognised, or None.
        layers: The layers, in the order of the tree.
        tensors: The number of names of tensors in the model.
        tied: How many of these names are tied to an earlier one.
        params: The number of parameters.
        buffers: The number of elements of buffers.
        trainable: The number of parameters that require a gradient; None where it is not known.
        data: The size of the model's tensors, in bytes.
        dtypes: The number of elements of each dtype, without those of packed parameters.
        packed: The packed parameters, by how they are packed.
        besides: What the file holds besides the model, by top-level name.
        objects: Objects that are no tensors, by top-level name.
        metadata: The metadata of the file.
        averages: The averages of the weights that a training has kept.
    """

    path: str
    format: str
    bytes: int
    model: Model | None
    layers: list[Row]
    tensors: int
    tied: int
    params: int
    buffers: int
    trainable: int | None
    data: int
    dtypes: dict[str, int]
    packed: dict[str, PackedAlike]
    besides: dict[str, Besides]
    objects: dict[str, Any]
    metadata: Mapping[str, str]
    averages: list[Average]


def summarise(
    checkpoint: Checkpoint, model: Model | None, outputs: Mapping[str, Shape] | None = None, found: Found | None = None
) -> Summary:
    """Summarise a checkpoint.

    Args:
        checkpoint: The checkpoint, in which each packed parameter is one plain tensor.
        model: The model that was recognised in it, whose layers are then listed; None where it is not known.
        outputs: The shape of the output of each layer, by path.
        found: The packed parameters.
    """
    averaged = averages(checkpoint)
    own = model_tensors(checkpoint, model, averaged)
    distinct = own.distinct()
    buffers = {name for name, tensor in own.items() if is_buffer(own.layer_name(name), tensor, model)}
    params = sum(tensor.numel for name, tensor in distinct.items() if name not in buffers)
    origin = checkpoint.origin
    packed = {name: found.packed[name] for name in distinct if name in found.packed} if found else {}
    plain = {name: tensor for name, tensor in distinct.items() if name not in packed}
    return Summary(
        path=origin.path if origin else "",
        format=origin.format if origin else "",
        bytes=formats[origin.format].bytes_on_disk(checkpoint) if origin else 0,
        model=model,
        layers=_rows(own, buffers, model, outputs or {}),
        tensors=len(own),
        tied=len(own) - len(distinct),
        params=params,
        buffers=sum(tensor.numel for name, tensor in distinct.items() if name in buffers),
        trainable=params - _frozen(distinct, model) if model and model.architecture else None,
        data=sum(tensor.nbytes for tensor in plain.values()) + sum(found.nbytes[name] for name in packed if found),
        dtypes=_by_dtype(plain),
        packed=_by_packing(packed, found.nbytes if found else {}),
        besides=_besides(checkpoint, own),
        objects=_objects(checkpoint, model),
        metadata=checkpoint.metadata,
        averages=averaged,
    )


def model_tensors(checkpoint: Checkpoint, model: Model | None, averaged: Sequence[Average] | None = None) -> Checkpoint:
    """Return the checkpoint with the tensors of the model alone.

    These are the tensors that the file assigns to layers, or those under the prefix of the model; else all but training state, unless
    nothing remains then. What optimizers keep, and averages of the weights (`averaged`, where they are known), are none of them.
    """
    if checkpoint.layer_of:
        names = [name for name in checkpoint if name in checkpoint.layer_of]
    elif model:
        names = [name for name in checkpoint if name.startswith(model.prefix)]
    else:
        divided = ((name, name.partition(checkpoint.separator)) for name in checkpoint)
        names = [name for name, (top, separator, _) in divided if not separator or not TRAINING.search(top)]
    beside = training_state(checkpoint, averaged)
    own = [name for name in names or checkpoint if name not in beside]
    return checkpoint.replacing(tensors={name: checkpoint[name] for name in own or names or checkpoint})


def _frozen(distinct: Mapping[str, Tensor], model: Model) -> int:
    """How many parameters require no gradient."""
    return sum(tensor.numel for name, tensor in distinct.items() if name[len(model.prefix) :] in model.frozen)


def _by_dtype(distinct: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of elements of each dtype."""
    elements: dict[str, int] = {}
    for tensor in distinct.values():
        elements[tensor.dtype.name] = elements.get(tensor.dtype.name, 0) + tensor.numel
    return elements


def _by_packing(packed: Mapping[str, Packed], nbytes: Mapping[str, int]) -> dict[str, PackedAlike]:
    """The packed parameters by how they are packed."""
    alike: dict[str, PackedAlike] = {}
    for one in packed.values():
        before = alike.get(one.title, PackedAlike(0, 0, 0))
        alike[one.title] = PackedAlike(before.parameters + 1, before.elements + numel_of(one.shape), before.bytes + nbytes[one.name])
    return alike


def _rows(own: Checkpoint, buffers: set[str], model: Model | None, outputs: Mapping[str, Shape]) -> list[Row]:
    """One row per layer, in the order of the tree: the layers of the architecture, or else the levels of the names."""
    types = dict(model.placed if model else own.layers)
    root, separator = model.prefix[:-1] if model else "", own.separator
    layer_path = {name: path_of_layer(own, name) for name in own}
    paths = _in_tree_order([*types, *layer_path.values()], separator)
    found = {path: _row_of(path, types.get(path, ""), root, separator) for path in paths}
    tied = own.tied_to()
    for name, tensor in own.items():
        row = found[layer_path[name]]
        if name in tied:
            found[row.path] = replace(row, tied_to=row.tied_to or layer_path[tied[name]])
        elif name in buffers:
            found[row.path] = replace(row, buffers=row.buffers + tensor.numel)
        else:
            found[row.path] = replace(row, params=row.params + tensor.numel)
    return [replace(row, output=outputs.get(row.path[len(root) :].lstrip("."))) for row in found.values()]


def _row_of(path: str, kind: str, root: str, separator: str) -> Row:
    parts = pieces(path, separator)
    return Row(path, kind, parts[-1] if parts else "", len(parts) - len(pieces(root, separator)))


def _in_tree_order(paths: Iterable[str], separator: str) -> list[str]:
    """The paths and all their ancestors: a parent comes before its children, and siblings in the order of their first mention."""
    known = dict.fromkeys(one for path in paths for one in _upwards(path, separator))
    below: dict[str, list[str]] = {}
    top: list[str] = []
    for path in known:
        parent = above(path, separator)
        (below.setdefault(parent, []) if path and parent in known else top).append(path)
    ordered: list[str] = []
    stack = list(reversed(top))
    while stack:
        path = stack.pop()
        ordered.append(path)
        stack.extend(reversed(below.get(path, [])))
    return ordered


def _upwards(path: str, separator: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c` for `a.b.c`; the root alone for the root."""
    parts = pieces(path, separator)
    for end in range(1, len(parts) + 1):
        yield separator.join(parts[:end])
    if not parts:
        yield ""


def to_depth(layers: list[Row], depth: int) -> list[Row]:
    """Keep the layers down to `depth`, and add to them the parameters and buffers of the layers below."""
    kept: list[Row] = []
    for row in layers:
        if row.depth <= depth or not kept:
            kept.append(row)
        else:
            kept[-1] = replace(kept[-1], params=kept[-1].params + row.params, buffers=kept[-1].buffers + row.buffers)
    return kept


def _besides(checkpoint: Checkpoint, own: Checkpoint) -> dict[str, Besides]:
    """The tensors that are no part of the model, by top-level name. Tied ones are counted once: for the model, if it has them."""
    counted = {tensor.key for tensor in own.values()}
    parts: dict[str, Besides] = {}
    for name, tensor in checkpoint.items():
        if name not in own:
            top, once = pieces(name, checkpoint.separator)[0] if name else "", tensor.key not in counted
            before = parts.get(top, Besides(0, 0, 0))
            parts[top] = Besides(before.tensors + 1, before.elements + tensor.numel * once, before.bytes + tensor.nbytes * once)
            counted.add(tensor.key)
    return parts


def _objects(checkpoint: Checkpoint, model: Model | None) -> dict[str, Any]:
    """Objects at the top level with their values; for deeper ones, their number by top-level name."""
    found: dict[str, Any] = {}
    types = model.placed if model else {}
    for path, value in checkpoint.objects.items():
        top, dot, _ = path.partition(checkpoint.separator)
        if path in types:
            continue  # a layer without parameters is listed among the layers
        if dot:
            found[top] = Count(found[top].values + 1 if isinstance(found.get(top), Count) else 1)
        else:
            found[top] = value
    return found


@dataclass(frozen=True)
class Count:
    """The number of values under one name."""

    values: int

    def __str__(self) -> str:
        return f"{self.values:,} value{'s' if self.values > 1 else ''}"
