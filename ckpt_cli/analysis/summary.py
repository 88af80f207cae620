"""The summary of a checkpoint: its layers with their parameters, its totals, and what lies beside the model in the file.

Everything is told from the header. What is tied is counted once, at its first name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..architectures.layers import Shape
from ..architectures.recognition import TRAINING, Model
from ..formats import formats
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor

DEEPEST = 100
# Statistics of a normalisation: kept in the file, but no parameters.
STATISTICS = re.compile(r"(running|moving)_(mean|var|variance)$")


@dataclass(frozen=True)
class Row:
    """A layer: its path in the file, its type where known, the parameters and buffers directly in it, the layer it shares tensors with.

    `name` is the last part of the path; `depth` counts from the root of the model.
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
class Part:
    """What lies beside the model under one top-level name: an optimizer's state, an average of the weights."""

    tensors: int
    elements: int
    bytes: int


@dataclass(frozen=True)
class Summary:
    """What `ckpt summary` tells. `trainable` is None where the file does not tell. Sizes are in bytes."""

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
    besides: dict[str, Part]
    objects: dict[str, Any]
    metadata: Mapping[str, str]


def summarise(checkpoint: Checkpoint, model: Model | None, outputs: Mapping[str, Shape] | None = None) -> Summary:
    """The summary of a checkpoint, by the layers of `model` where it is known; `outputs` gives a layer path the shape that comes out."""
    own = the_model(checkpoint, model)
    distinct = own.distinct()
    buffers = {name for name, tensor in own.items() if is_buffer(own.layer_name(name), tensor, model)}
    params = sum(tensor.numel for name, tensor in distinct.items() if name not in buffers)
    origin = checkpoint.origin
    return Summary(
        path=origin.path if origin else "",
        format=origin.format if origin else "",
        bytes=formats[origin.format].nbytes(checkpoint) if origin else 0,
        model=model,
        layers=rows(own, buffers, model, outputs or {}),
        tensors=len(own),
        tied=len(own) - len(distinct),
        params=params,
        buffers=sum(tensor.numel for name, tensor in distinct.items() if name in buffers),
        trainable=params - frozen(distinct, model) if model and model.architecture else None,
        data=sum(tensor.nbytes for tensor in distinct.values()),
        dtypes=by_dtype(distinct),
        besides=besides(checkpoint, own),
        objects=gathered(checkpoint, model),
        metadata=checkpoint.metadata,
    )


def the_model(checkpoint: Checkpoint, model: Model | None) -> Checkpoint:
    """The model's tensors alone: those that the file says are in its layers, or what lies under its prefix; else all but the state of a
    training, if anything is left then."""
    if checkpoint.layer_of:
        names = [name for name in checkpoint if name in checkpoint.layer_of]
    elif model:
        names = [name for name in checkpoint if name.startswith(model.prefix)]
    else:
        divided = ((name, name.partition(checkpoint.separator)) for name in checkpoint)
        names = [name for name, (top, separator, _) in divided if not separator or not TRAINING.search(top)]
    return checkpoint.replacing(tensors={name: checkpoint[name] for name in names or checkpoint})


def is_buffer(name: str, tensor: Tensor, model: Model | None) -> bool:
    """Whether a tensor is no parameter: as the architecture says; else statistics, and what has no gradient for its dtype."""
    if model and model.architecture:
        return name[len(model.prefix) :] in model.buffers
    return bool(STATISTICS.search(name)) or tensor.dtype.kind in "biu"


def frozen(distinct: Mapping[str, Tensor], model: Model) -> int:
    """How many parameters ask for no gradient."""
    return sum(tensor.numel for name, tensor in distinct.items() if name[len(model.prefix) :] in model.frozen)


def by_dtype(distinct: Mapping[str, Tensor]) -> dict[str, int]:
    """Dtype → elements."""
    elements: dict[str, int] = {}
    for tensor in distinct.values():
        elements[tensor.dtype.name] = elements.get(tensor.dtype.name, 0) + tensor.numel
    return elements


def rows(own: Checkpoint, buffers: set[str], model: Model | None, outputs: Mapping[str, Shape]) -> list[Row]:
    """A row a layer, in the order of the tree: the architecture's layers, or what the names' parts make."""
    types = dict(model.placed if model else own.layers)
    root, separator = model.prefix[:-1] if model else "", own.separator
    homes = {name: own.layer_of[name][0] if name in own.layer_of else above(name, separator) for name in own}
    paths = in_tree_order([*types, *homes.values()], separator)
    found = {path: row_of(path, types.get(path, ""), root, separator) for path in paths}
    tied = own.tied_to()
    for name, tensor in own.items():
        row = found[homes[name]]
        if name in tied:
            found[row.path] = replace(row, tied_to=row.tied_to or homes[tied[name]])
        elif name in buffers:
            found[row.path] = replace(row, buffers=row.buffers + tensor.numel)
        else:
            found[row.path] = replace(row, params=row.params + tensor.numel)
    return [replace(row, output=outputs.get(row.path[len(root) :].lstrip("."))) for row in found.values()]


def row_of(path: str, kind: str, root: str, separator: str) -> Row:
    parts = pieces(path, separator)
    return Row(path, kind, parts[-1] if parts else "", len(parts) - len(pieces(root, separator)))


def pieces(path: str, separator: str) -> list[str]:
    """The parts between separators; one inside a key is escaped. What lies absurdly deep stays one part."""
    return re.split(rf"(?<!\\){re.escape(separator)}", path, maxsplit=DEEPEST) if path else []


def above(name: str, separator: str) -> str:
    """The path of the layer that a tensor, or a layer, lies in."""
    return separator.join(pieces(name, separator)[:-1])


def in_tree_order(paths: Iterable[str], separator: str) -> list[str]:
    """The paths and all above them, each before what is under it and siblings in the order of their first mention."""
    known = dict.fromkeys(one for path in paths for one in upwards(path, separator))
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


def upwards(path: str, separator: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c` for `a.b.c`; the root alone for the root."""
    parts = pieces(path, separator)
    for end in range(1, len(parts) + 1):
        yield separator.join(parts[:end])
    if not parts:
        yield ""


def to_depth(layers: list[Row], depth: int) -> list[Row]:
    """The layers no deeper than `depth`, with the parameters and buffers of those under them."""
    kept: list[Row] = []
    for row in layers:
        if row.depth <= depth or not kept:
            kept.append(row)
        else:
            kept[-1] = replace(kept[-1], params=kept[-1].params + row.params, buffers=kept[-1].buffers + row.buffers)
    return kept


def besides(checkpoint: Checkpoint, own: Checkpoint) -> dict[str, Part]:
    """What else the file holds, by its top-level name. What is tied is counted once: to the model, where the model has it."""
    counted = {tensor.key for tensor in own.values()}
    parts: dict[str, Part] = {}
    for name, tensor in checkpoint.items():
        if name not in own:
            top, once = pieces(name, checkpoint.separator)[0] if name else "", tensor.key not in counted
            before = parts.get(top, Part(0, 0, 0))
            parts[top] = Part(before.tensors + 1, before.elements + tensor.numel * once, before.bytes + tensor.nbytes * once)
            counted.add(tensor.key)
    return parts


def gathered(checkpoint: Checkpoint, model: Model | None) -> dict[str, Any]:
    """Objects at the top of the file with their values; those that lie deeper as a count by their top-level name."""
    found: dict[str, Any] = {}
    types = model.placed if model else {}
    for path, value in checkpoint.objects.items():
        top, dot, _ = path.partition(checkpoint.separator)
        if path in types:
            continue  # a layer without parameters is told among the layers
        if dot:
            found[top] = Count(found[top].values + 1 if isinstance(found.get(top), Count) else 1)
        else:
            found[top] = value
    return found


@dataclass(frozen=True)
class Count:
    """So many values under one name."""

    values: int

    def __str__(self) -> str:
        return f"{self.values:,} value{'s' if self.values > 1 else ''}"
