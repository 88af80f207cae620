"""`ckpt get`: the values of one parameter, or of a part of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from .. import writing
from ..errors import ReadError, UsageError, about
from ..show.escape import escape
from ..show.output import Answer, note
from ..tensors.checkpoint import Foreign
from ..tensors.references import refer
from ..tensors.tensor import Tensor
from .params import Arch, Force, Json, Path, layers_of, opened


class As(StrEnum):
    text = "text"
    json = "json"
    npy = "npy"
    raw = "raw"


Form = Annotated[
    As | None,
    typer.Option("--format", help="text (as numpy prints), json, npy, or raw: little-endian bytes.", show_default=False),
]
_SUFFIXES = {".npy": As.npy, ".json": As.json, ".raw": As.raw}


def get_command(
    path: Path,
    reference: Annotated[str, typer.Argument(metavar="REF", help="NAME, NAME[index], or a pattern that means one.", show_default=False)],
    form: Form = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this new file.", show_default=False)
    ] = None,
    force: Force = False,
    precision: Annotated[int | None, typer.Option("--precision", min=0, max=50, help="Digits after the point.", show_default=False)] = None,
    arch: Arch = "auto",
    as_json: Json = False,
) -> None:
    """Print the values of one parameter, or of a part: '0.weight[0, :5]'. Only the bytes that are needed are read.

    Text has the digits that give the same value back. On a terminal it is laid out, and shortened, as numpy does it; in a pipe or a
    file a line is a run along the last axis, and nothing is left out. JSON: {"path","name","dtype","shape","values"}. With -o,
    the suffix chooses the format where none is given: .npy, .json, .raw. What is no tensor (epoch, lr) is printed by its path, too.
    """
    checkpoint = opened(path)
    form = As.json if as_json else form or _SUFFIXES.get(os.path.splitext(output or "")[1], As.text)
    pieces: Iterator[bytes | memoryview]
    with about(path):
        below = {name: value for name, value in checkpoint.objects.items() if name == reference or name.startswith(f"{reference}.")}
        if reference not in checkpoint and below:
            pieces = _of_objects(path, below, form)
        else:
            name, tensor = refer(checkpoint, reference, layers_of(checkpoint, arch))
            pieces = encoded(path, name, tensor.decoded(name), form, precision, output is None and sys.stdout.isatty())
    if output is not None:
        writing.write_new(output, pieces, force)
    else:
        put(pieces, form, "-o FILE, or a pipe")


def put(pieces: Iterator[bytes | memoryview], form: As, mend: str) -> None:
    """The pieces on standard output; raw bytes not on a terminal."""
    if form in (As.npy, As.raw) and sys.stdout.isatty():
        raise UsageError("this would put raw bytes on the terminal", mend)
    out: Any = sys.stdout.buffer
    for piece in pieces:
        out.write(piece)
    out.flush()


def _of_objects(path: str, objects: Mapping[str, Any], form: As) -> Iterator[bytes | memoryview]:
    """What is in the file besides tensors: one value alone, or, of a container, a record a value: its path and what it says."""
    if form not in (As.text, As.json):
        raise UsageError(f"{next(iter(objects))} is no tensor", "it is printed as text or JSON")
    shown = {name: value.text if isinstance(value, Foreign) else value for name, value in objects.items()}
    if form is As.json:
        name, value = next(iter(objects.items()))
        kind = value.type if isinstance(value, Foreign) else type(value).__name__
        facts = {"name": name, "type": kind, "value": shown[name]} if len(objects) == 1 else {"values": shown}
        yield Answer(True).document({"path": path} | facts).encode("utf-8", "backslashreplace")
        return
    for name, value in shown.items():
        line = (f"{escape(name)}\t" if len(objects) > 1 else "") + escape(str(value)) + "\n"
        yield line.encode("utf-8", "backslashreplace")


def encoded(path: str, name: str, tensor: Tensor, form: As, precision: int | None, terminal: bool) -> Iterator[bytes | memoryview]:
    """The values in one of the forms, piece by piece."""
    try:
        with about(path):
            yield from _pieces(path, name, tensor, form, precision, terminal)
    except MemoryError:
        raise ReadError("its values do not fit into memory", f"ask for a part: '{name}[0]'", path) from None


def _pieces(path: str, name: str, tensor: Tensor, form: As, precision: int | None, terminal: bool) -> Iterator[bytes | memoryview]:
    from ..tensors.printing import nested, printed

    if form is As.raw:
        yield from tensor.elements().blocks()
    elif form is As.npy:
        yield _npy(tensor)
    elif form is As.text:
        yield from ((line + "\n").encode() for line in printed(tensor, precision, 1000 if terminal else None, _columns()))
    else:
        facts = {"path": path, "name": name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}
        yield Answer(True).document(facts | {"values": nested(tensor)}).encode("utf-8", "backslashreplace")


def _columns() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _npy(tensor: Tensor) -> bytes:
    """The .npy file. What numpy has no type for is stored as raw elements, as ml_dtypes' own arrays are."""
    import io

    import numpy

    from ..numbers.values import of_ml_dtypes

    values = tensor.array()
    if of_ml_dtypes(values.dtype):
        note(f"numpy knows no {tensor.dtype.name}: the file holds raw elements; view them with ml_dtypes.{tensor.dtype.name}")
        values = values.view(f"V{tensor.dtype.nbytes}")
    buffer = io.BytesIO()
    numpy.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()
