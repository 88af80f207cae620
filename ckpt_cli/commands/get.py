"""`ckpt get`: the values of one parameter, or of a part of it."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from .. import files
from ..checkpoint import Tensor
from ..errors import UsageError, about
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
    with about(path):
        name, tensor = refer(checkpoint, reference, layers_of(checkpoint, arch))
        tensor.plain(name)
    form = As.json if as_json else form
    if output is not None:
        files.write_new(output, _encoded(path, name, tensor, form, precision))
    elif form in (As.npy, As.raw) and sys.stdout.isatty():
        raise UsageError("this would put raw bytes on the terminal", "-o FILE, or a pipe")
    else:
        out: Any = sys.stdout.buffer
        out.write(_encoded(path, name, tensor, form, precision))
        out.flush()


def _encoded(path: str, name: str, tensor: Tensor, form: As, precision: int | None) -> bytes:
    from ..values import nested, printed

    if form is As.raw:
        return tensor.tobytes()
    if form is As.npy:
        return _npy(tensor)
    if form is As.text:
        return (printed(tensor, precision) + "\n").encode()
    facts = {"path": path, "name": name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}
    return Output(True).document(facts | {"values": nested(tensor)}).encode("utf-8", "backslashreplace")


def _npy(tensor: Tensor) -> bytes:
    """The .npy file. What numpy has no type for is stored as raw elements, as ml_dtypes' own arrays are."""
    import io

    import numpy

    from ..values import foreign

    values = tensor.array()
    if foreign(values.dtype):
        note(f"numpy knows no {tensor.dtype.name}: the file holds raw elements; view them with ml_dtypes.{tensor.dtype.name}")
        values = values.view(f"V{tensor.dtype.nbytes}")
    buffer = io.BytesIO()
    numpy.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()
