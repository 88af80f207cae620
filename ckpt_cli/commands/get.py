"""`ckpt get`: print the values of one tensor, or of a part of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ..errors import UsageError, about
from ..show.escape import escape
from ..show.values import Pieces, ValueFormat, encoded, json_bytes, print_pieces
from ..tensors.checkpoint import Foreign
from ..tensors.references import refer
from .params import Arch, Dequantise, Force, IgnoreIndex, Json, Path, layers_of, open_checkpoint

_SUFFIXES = {".npy": ValueFormat.npy, ".json": ValueFormat.json, ".raw": ValueFormat.raw, ".csv": ValueFormat.csv}

Reference = Annotated[str, typer.Argument(metavar="REF", help="NAME, NAME[index], or a pattern that means one.", show_default=False)]
Form = Annotated[
    ValueFormat | None,
    typer.Option("--format", help="text (as numpy prints), csv, json, npy, or raw: little-endian bytes.", show_default=False),
]
NewFile = Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this new file.", show_default=False)]
Precision = Annotated[int | None, typer.Option("--precision", min=0, max=50, help="Digits after the point.", show_default=False)]


def get_command(
    path: Path,
    reference: Reference,
    form: Form = None,
    output: NewFile = None,
    force: Force = False,
    precision: Precision = None,
    arch: Arch = "auto",
    ignore_index: IgnoreIndex = False,
    dequantise: Dequantise = False,
    as_json: Json = False,
) -> None:
    """Print the values of one parameter, or of a part: '0.weight[0, :5]'. Only the bytes that are needed are read.

    Text has the digits that give the same value back. On a terminal it is laid out, and shortened, as numpy does it; in a pipe or a
    file a line is a run along the last axis, as in CSV, and nothing is left out. JSON: {"path","name","dtype","shape","values"}. With -o,
    the suffix chooses the format where none is given: .npy, .csv, .json, .raw. What is no tensor (epoch, lr) is printed by its path, too.
    """
    checkpoint = open_checkpoint(path, ignore_index=ignore_index, dequantise=dequantise)
    form = ValueFormat.json if as_json else form or _SUFFIXES.get(os.path.splitext(output or "")[1], ValueFormat.text)
    with about(path):
        objects = {name: value for name, value in checkpoint.objects.items() if name == reference or name.startswith(f"{reference}.")}
        if reference not in checkpoint and objects:
            pieces = _of_objects(path, objects, form)
        else:
            name, tensor = refer(checkpoint, reference, layers_of(checkpoint, arch))
            pieces = encoded(path, name, tensor.decoded(name), form, precision, output is None and sys.stdout.isatty())
    if output is None:
        print_pieces(pieces, form, "-o FILE, or a pipe")
    else:
        from .. import writing

        writing.write_new(output, pieces, force)


def _of_objects(path: str, objects: Mapping[str, Any], form: ValueFormat) -> Pieces:
    """Yield objects of the file that are not tensors: one value alone, or the path and the value of each, a line each."""
    if form not in (ValueFormat.text, ValueFormat.json):
        raise UsageError(f"{next(iter(objects))} is no tensor", "it is printed as text or JSON")
    shown = {name: value.text if isinstance(value, Foreign) else value for name, value in objects.items()}
    if form is ValueFormat.json:
        name, value = next(iter(objects.items()))
        type_name = value.type if isinstance(value, Foreign) else type(value).__name__
        facts = {"name": name, "type": type_name, "value": shown[name]} if len(objects) == 1 else {"values": shown}
        yield json_bytes({"path": path} | facts)
        return
    for name, value in shown.items():
        line = (f"{escape(name)}\t" if len(objects) > 1 else "") + escape(str(value)) + "\n"
        yield line.encode("utf-8", "backslashreplace")
