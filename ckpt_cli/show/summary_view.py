"""The summary sheet: a few lines, the tree of layers, the totals; on a terminal, as records for a pipe, or as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..analysis.summary import Row, Summary
from ..architectures.hyperparameters import shown, shown_all
from ..architectures.layers import Shape
from ..architectures.model import Model
from .output import Answer, size


def show_sheet(out: Answer, summary: Summary, layers: Sequence[Row]) -> None:
    """The sheet, in the form that `out` asks for. `layers` is what is to be shown of the tree."""
    if out.as_json:
        out.json(document(summary, layers))
    elif out.terminal or out.color:
        out.lines([*head(summary), ""])
        draw_layers(out, layers)
        out.lines(["", *foot(summary)])
    else:
        out.records(records(summary, layers))


def head(summary: Summary) -> Iterator[str]:
    yield f"{summary.path}: {summary.format}, {size(summary.bytes)} on disk"
    model = summary.model
    if model and model.architecture:
        yield described(model)
    else:
        yield f"no known architecture: the layers are as the {'file says' if model else 'names tell'} (--arch names one)"
    if model and model.assumed:
        yield f"assumed, since names and shapes do not tell: {', '.join(model.assumed)}"


def described(model: Model) -> str:
    """`mlp(inputs=4, hidden=8, outputs=1, activation=relu), under model`."""
    arguments = f"({shown_all(model.hyperparameters)})" if model.hyperparameters else ""
    return f"{model.architecture}{arguments}" + (f", under {model.prefix[:-1]}" if model.prefix else "")


def draw_layers(out: Answer, layers: Sequence[Row]) -> None:
    """The tree as a table; columns that say nothing are left out."""
    columns = {
        "LAYER": [lead + name for lead, name in zip(guides(layers), map(label, layers), strict=True)],
        "TYPE": [row.type for row in layers],
        "OUTPUT": ["" if row.output is None else by(row.output) or "scalar" for row in layers],
        "PARAMS": [counted(row.params) for row in layers],
        "BUFFERS": [counted(row.buffers) for row in layers],
        "TIED TO": [row.tied_to for row in layers],
    }
    told = {title: cells for title, cells in columns.items() if title == "LAYER" or any(cells)}
    out.table(tuple(told), zip(*told.values(), strict=True), right=("PARAMS", "BUFFERS"))


def label(row: Row) -> str:
    return row.name if row.depth and row.path else row.path or "."


def counted(count: int) -> str:
    return f"{count:,}" if count else ""


def guides(layers: Sequence[Row]) -> list[str]:
    """What stands before the name of each layer: `├── `, `└── `, with lines from those above."""
    least = min((row.depth for row in layers), default=0)
    leads: list[str] = []
    open_depths: set[int] = set()  # depths at which a sibling follows, seen from the end
    for row in reversed(layers):
        depth = row.depth - least
        last = depth not in open_depths
        open_depths = {each for each in open_depths if each < depth} | {depth}
        bars = "".join("│   " if each in open_depths else "    " for each in range(1, depth))
        leads.append(bars + ("└── " if last else "├── ") if depth else "")
    return leads[::-1]


def foot(summary: Summary) -> Iterator[str]:
    trainable = "" if summary.trainable is None else f" ({summary.trainable:,} trainable)"
    buffers = f", {summary.buffers:,} in buffers" if summary.buffers else ""
    yield f"{many(summary.params, 'parameter')}{trainable}{buffers}, {size(summary.data)}"
    tied = f", {summary.tied:,} of them tied to others and counted once" if summary.tied else ""
    yield f"{many(summary.tensors, 'tensor')}{tied}: " + ", ".join(f"{count:,} {name}" for name, count in summary.dtypes.items())
    for name, part in summary.besides.items():
        yield f"besides: {name}, {many(part.tensors, 'tensor')}, {many(part.elements, 'element')}, {size(part.bytes)}"
    for name, value in (*summary.objects.items(), *summary.metadata.items()):
        yield f"{name}: {text_of(value)}"


def many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def text_of(value: Any) -> str:
    """An object of the file, in a line."""
    text = getattr(value, "text", None) or str(value)
    return text if len(text) <= 200 else text[:199] + "…"


def by(shape: Shape) -> str:
    return "x".join(map(str, shape))


def records(summary: Summary, layers: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """The records of `ckpt summary` in a pipe: what each is, then its fields."""
    yield "path", summary.path
    yield "format", summary.format
    yield "bytes", summary.bytes
    if summary.model and summary.model.architecture:
        yield "architecture", summary.model.architecture, summary.model.prefix[:-1]
        yield from (("hyperparameter", name, shown(value)) for name, value in summary.model.hyperparameters.items())
        yield from (("assumed", *each.split("=", 1)) for each in summary.model.assumed)
    for row in layers:
        yield "layer", row.path, row.type, row.params, row.buffers, row.tied_to, "" if row.output is None else by(row.output)
    yield "tensors", summary.tensors
    yield "tied", summary.tied
    yield "params", summary.params
    if summary.trainable is not None:
        yield "trainable", summary.trainable
    yield "buffers", summary.buffers
    yield from (("dtype", name, count) for name, count in summary.dtypes.items())
    yield from (("besides", name, part.tensors, part.elements, part.bytes) for name, part in summary.besides.items())
    yield from (("object", name, text_of(value)) for name, value in summary.objects.items())
    yield from (("metadata", name, value) for name, value in summary.metadata.items())


def document(summary: Summary, layers: Sequence[Row]) -> dict[str, Any]:
    model = summary.model if summary.model and summary.model.architecture else None
    return {
        "path": summary.path,
        "format": summary.format,
        "bytes": summary.bytes,
        "architecture": model and model_document(model),
        "layers": [layer_document(row) for row in layers],
        "tensors": summary.tensors,
        "tied": summary.tied,
        "params": summary.params,
        "trainable": summary.trainable,
        "buffers": summary.buffers,
        "data_bytes": summary.data,
        "dtypes": summary.dtypes,
        "besides": {name: vars(part) for name, part in summary.besides.items()},
        "objects": {name: getattr(value, "text", value) for name, value in summary.objects.items()},
        "metadata": dict(summary.metadata),
    }


def model_document(model: Model) -> dict[str, Any]:
    return {
        "name": model.architecture,
        "hyperparameters": dict(model.hyperparameters),
        "prefix": model.prefix,
        "assumed": dict(each.split("=", 1) for each in model.assumed),
    }


def layer_document(row: Row) -> dict[str, Any]:
    return {
        "path": row.path,
        "type": row.type or None,
        "params": row.params,
        "buffers": row.buffers,
        "tied_to": row.tied_to or None,
        "output": row.output,
    }
