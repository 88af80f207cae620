"""`ckpt get`: the values of one parameter, or of a part of it."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from .. import files
from ..checkpoint import Tensor
from ..errors import UsageError
from ..selection import refer
from ..show.output import Output, note
from .params import Arch, Json, Path, layers_of


class As(StrEnum):
    text = "text"
    json = "json"
    npy = "npy"
    raw = "raw"


def get_command(
    path: Path,
    reference: Annotated[str, typer.Argument(metavar="REF", help="NAME, NAME[index], or a pattern that means one.", show_default=False)],
    form: Annotated[As, typer.Option("--format", help="text prints like numpy; raw is C-contiguous little-endian bytes.")] = As.text,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this new file.", show_default=False)
    ] = None,
    precision: Annotated[int | None, typer.Option("--precision", min=0, max=50, help="Digits after the point.", show_default=False)] = None,
    arch: Arch = "auto",
    as_json: Json = False,
) -> None:
    """Print the values of one parameter, or of a part: '0.weight[0, :5]'. Only the bytes that are needed are read.

    text has the digits that give the same value back; JSON: {"path","name","dtype","shape","values"}.
    """
    checkpoint = files.open(path)
    name, tensor = refer(checkpoint, reference, layers_of(checkpoint, arch))
    tensor.plain(name)
    form = As.json if as_json else form
    if form in (As.npy, As.raw):
        _write_bytes(_npy(tensor) if form is As.npy else tensor.tobytes(), output)
    elif output is None:
        _print(path, name, tensor, form, precision)
    else:
        raise UsageError("-o goes with --format npy or raw", "text and JSON go to standard output: redirect it")


def _print(path: str, name: str, tensor: Tensor, form: As, precision: int | None) -> None:
    from ..values import nested, printed

    if form is As.json:
        Output(True).json({"path": path, "name": name, "dtype": tensor.dtype.name, "shape": list(tensor.shape), "values": nested(tensor)})
    else:
        sys.stdout.write(printed(tensor, precision) + "\n")


def _npy(tensor: Tensor) -> bytes:
    """The .npy file. What numpy has no type for is stored as raw elements, as ml_dtypes' own arrays are."""
    import io

    import numpy

    values = tensor.array()
    if values.dtype.kind == "V":
        note(f"numpy knows no {tensor.dtype.name}: the file holds raw elements; view them with ml_dtypes.{tensor.dtype.name}")
        values = values.view(f"V{tensor.dtype.nbytes}")
    buffer = io.BytesIO()
    numpy.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _write_bytes(data: bytes, output: str | None) -> None:
    if output is not None:
        files.write_new(output, data)
    elif sys.stdout.isatty():
        raise UsageError("this would put raw bytes on the terminal", "-o FILE, or a pipe")
    else:
        out: Any = sys.stdout.buffer
        out.write(data)
        out.flush()
