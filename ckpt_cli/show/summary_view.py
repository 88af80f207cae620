"""How the summary of a checkpoint looks: a few lines, the tree of layers and the totals; as records in a pipe, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any

from ..analysis.config_summary import ConfigSummary
from ..analysis.summary import Row, Summary
from ..architectures.hyperparameters import shown, shown_all
from ..architectures.model import Model
from ..errors import number_of
from ..numbers.shapes import record_shape
from .answer import Answer, note, readable_size
from .config_text import config_document, config_head, config_records


def show_summary(out: Answer, summary: Summary, layers: Sequence[Row], config: ConfigSummary | None = None) -> None:
    """Write the summary in the form that `out` asks for. `layers` are the rows of the tree that are shown."""
    if out.as_json:
        out.json(document(summary, layers) | config_document(config))
    elif out.as_csv:
        rows = ((row.path, row.type, row.params, row.buffers, row.tied_to, _output(row)) for row in layers)
        out.table(("PATH", "TYPE", "PARAMS", "BUFFERS", "TIED TO", "OUTPUT"), rows)
    elif out.terminal or out.color:
        out.lines([*head(summary, config), ""])
        draw_layers(out, layers)
        out.lines(["", *foot(summary)])
    else:
        out.records(records(summary, layers))
        out.records(config_records(config))


def head(summary: Summary, config: ConfigSummary | None = None) -> Iterator[str]:
    """Yield the lines above the tree: the file, what its config says, and its architecture."""
    yield f"{summary.path}: {summary.format}, {readable_size(summary.bytes)} on disk"
    yield from config_head(summary.path, config)
    model = summary.model
    if model and model.architecture:
        yield described(model)
    else:
        told, one = f"the layers are as the {'file says' if model else 'names tell'}", "an architecture" if config else "one"
        yield f"{'' if config else 'no known architecture: '}{told} (--arch names {one})"
    if model and model.assumed:
        yield _assumed(model)


def note_assumed(model: Model) -> None:
    """Print what was assumed of the model, as a note."""
    if model.assumed:
        note(_assumed(model))


def _assumed(model: Model) -> str:
    return f"assumed, since names and shapes do not tell: {', '.join(model.assumed)}"


def described(model: Model) -> str:
    """Return the architecture as text: `mlp(inputs=4, hidden=8, outputs=1, activation=relu), under model`."""
    arguments = f"({shown_all(model.hyperparameters)})" if model.hyperparameters else ""
    return f"{model.architecture}{arguments}" + (f", under {model.prefix[:-1]}" if model.prefix else "")


def draw_layers(out: Answer, layers: Sequence[Row]) -> None:
    """Write the tree as a table, without the columns that are empty."""
    columns = {
        "LAYER": [lead + name for lead, name in zip(guides(layers), map(label, layers), strict=True)],
        "TYPE": [row.type for row in layers],
        "OUTPUT": [_output(row) for row in layers],
        "PARAMS": [counted(row.params) for row in layers],
        "BUFFERS": [counted(row.buffers) for row in layers],
        "TIED TO": [row.tied_to for row in layers],
    }
    filled = {title: cells for title, cells in columns.items() if title == "LAYER" or any(cells)}
    out.table(tuple(filled), zip(*filled.values(), strict=True), right=("PARAMS", "BUFFERS"))


def _output(row: Row) -> str:
    return "" if row.output is None else record_shape(row.output) or "scalar"


def label(row: Row) -> str:
    """Return the name of a layer in the tree."""
    return row.name if row.depth and row.path else row.path or "."


def counted(count: int) -> str:
    """Return a count as text; nothing for 0."""
    return f"{count:,}" if count else ""


def guides(layers: Sequence[Row]) -> list[str]:
    """Return what stands before the name of each layer: `├── ` or `└── `, and the lines of the layers above it."""
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
    """Yield the lines below the tree: totals, dtypes, and what is in the file besides the model."""
    trainable = "" if summary.trainable is None else f" ({summary.trainable:,} trainable)"
    buffers = f", {summary.buffers:,} in buffers" if summary.buffers else ""
    yield f"{number_of(summary.params, 'parameter')}{trainable}{buffers}, {readable_size(summary.data)}"
    tied = f", {summary.tied:,} of them tied to others and counted once" if summary.tied else ""
    dtypes = ", ".join(f"{count:,} {name}" for name, count in summary.dtypes.items())
    yield f"{number_of(summary.tensors, 'tensor')}{tied}{': ' if dtypes else ''}{dtypes}"
    for title, alike in summary.packed.items():
        of = f"{number_of(alike.parameters, 'parameter')} of {number_of(alike.elements, 'element')}"
        yield f"packed: {title}, {of} in {readable_size(alike.bytes)}"
    for name, part in summary.besides.items():
        yield f"besides: {name}, {number_of(part.tensors, 'tensor')}, {number_of(part.elements, 'element')}, {readable_size(part.bytes)}"
    yield from average_lines(summary)
    for name, value in (*summary.objects.items(), *summary.metadata.items()):
        yield f"{name}: {text_of(value)}"


def average_lines(summary: Summary) -> Iterator[str]:
    """Yield a line for each average that a training has kept: of how many tensors it is, what the file tells, how it is put in place."""
    beside = [one for one in summary.averages if one.in_place is False and one.parameters and one.updates != 0]
    for one in summary.averages:
        told = [f"of {number_of(one.parameters, 'tensor')}"] if one.parameters else []
        told += [f"decay {one.decay:g}"] if one.decay is not None else []
        told += [number_of(one.updates, "update")] if one.updates is not None else []
        facts = f": {', '.join(told)}" if told else ""
        if one in beside:
            value = "average" if len(beside) == 1 else f"average({one.pattern})"
            yield f"average {one.pattern}{facts}; to put it in place: ckpt set {quote(summary.path)} {quote(f'* = {value}')} -o OUT"
        elif one.in_place:
            trained = f"; {one.pattern} is what was trained" if one.parameters else ""
            yield f"average in the weights{facts}{trained}"
        else:
            told_besides = "" if one.parameters else ": matched to no tensor"
            yield f"average {one.pattern}{facts}{': nothing is averaged yet' if one.updates == 0 else told_besides}"


def _told(number: float | None) -> str:
    return "" if number is None else f"{number:g}" if isinstance(number, float) else str(number)


def text_of(value: Any) -> str:
    """Return an object of the file as text of at most 200 characters."""
    text = getattr(value, "text", None) or str(value)
    return text if len(text) <= 200 else text[:199] + "…"


def records(summary: Summary, layers: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """Yield the records of `ckpt summary` in a pipe: the kind of each, then its fields."""
    yield "path", summary.path
    yield "format", summary.format
    yield "bytes", summary.bytes
    if summary.model and summary.model.architecture:
        yield "architecture", summary.model.architecture, summary.model.prefix[:-1]
        yield from (("hyperparameter", name, shown(value)) for name, value in summary.model.hyperparameters.items())
        yield from (("assumed", *each.split("=", 1)) for each in summary.model.assumed)
    for row in layers:
        yield "layer", row.path, row.type, row.params, row.buffers, row.tied_to, "" if row.output is None else record_shape(row.output)
    yield "tensors", summary.tensors
    yield "tied", summary.tied
    yield "params", summary.params
    if summary.trainable is not None:
        yield "trainable", summary.trainable
    yield "buffers", summary.buffers
    yield from (("dtype", name, count) for name, count in summary.dtypes.items())
    yield from (("packed", title, alike.parameters, alike.elements, alike.bytes) for title, alike in summary.packed.items())
    yield from (("besides", name, part.tensors, part.elements, part.bytes) for name, part in summary.besides.items())
    for one in summary.averages:
        in_place = "" if one.in_place is None else str(one.in_place).lower()
        yield "average", one.pattern, one.parameters, in_place, _told(one.decay), _told(one.updates)
    yield from (("object", name, text_of(value)) for name, value in summary.objects.items())
    yield from (("metadata", name, value) for name, value in summary.metadata.items())


def document(summary: Summary, layers: Sequence[Row]) -> dict[str, Any]:
    """Return the JSON document."""
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
        "packed": {title: vars(alike) for title, alike in summary.packed.items()},
        "averages": [
            {"pattern": one.pattern, "parameters": one.parameters, "in_place": one.in_place, "decay": one.decay, "updates": one.updates}
            for one in summary.averages
        ],
    }


def model_document(model: Model) -> dict[str, Any]:
    """Return the architecture as a JSON object."""
    return {
        "name": model.architecture,
        "hyperparameters": dict(model.hyperparameters),
        "prefix": model.prefix,
        "assumed": dict(each.split("=", 1) for each in model.assumed),
    }


def layer_document(row: Row) -> dict[str, Any]:
    """Return one layer as a JSON object."""
    return {
        "path": row.path,
        "type": row.type or None,
        "params": row.params,
        "buffers": row.buffers,
        "tied_to": row.tied_to or None,
        "output": row.output,
    }
