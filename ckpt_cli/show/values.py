"""How the values of one tensor look: as text, CSV, JSON, a .npy file or raw bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..errors import ReadError, UsageError, about
from .answer import Answer, note

if TYPE_CHECKING:
    from ..tensors.tensor import Tensor

Pieces = Iterator[bytes | memoryview]


class ValueFormat(StrEnum):
    """The forms in which `ckpt get` and `ckpt grad` print values."""

    text = "text"
    json = "json"
    npy = "npy"
    raw = "raw"
    csv = "csv"


_BINARY = (ValueFormat.npy, ValueFormat.raw)
_FOLDED_FROM = 1000  # elements from which on a terminal shows only the ends, as numpy does


def print_pieces(pieces: Pieces, form: ValueFormat, mend: str) -> None:
    """Write the pieces to standard output. Raises UsageError, with the advice `mend`, for raw bytes on a terminal."""
    if form in _BINARY and sys.stdout.isatty():
        raise UsageError("this would put raw bytes on the terminal", mend)
    out: Any = sys.stdout.buffer
    for piece in pieces:
        out.write(piece)
    out.flush()


def encoded(path: str, name: str, tensor: Tensor, form: ValueFormat, precision: int | None, terminal: bool) -> Pieces:
    """Yield the values of a tensor in one of the forms, piece by piece.

    Args:
        path: The file, for JSON and for errors.
        name: The name of the tensor.
        tensor: The tensor.
        form: The form of the output.
        precision: Digits after the decimal point in text; None for as many as give the same value back.
        terminal: Whether text is laid out for a terminal, and shortened.

    Raises:
        ReadError: If the values do not fit into memory.
    """
    try:
        with about(path):
            yield from _pieces(path, name, tensor, form, precision, terminal)
    except MemoryError:
        raise ReadError("its values do not fit into memory", f"ask for a part: '{name}[0]'", path) from None


def _pieces(path: str, name: str, tensor: Tensor, form: ValueFormat, precision: int | None, terminal: bool) -> Pieces:
    from ..tensors.printing import nested, printed, runs

    if form is ValueFormat.raw:
        yield from tensor.elements().blocks()
    elif form is ValueFormat.npy:
        yield _npy(tensor)
    elif form is ValueFormat.csv:
        yield from ((",".join(words) + "\r\n").encode() for words in runs(tensor, precision))
    elif form is ValueFormat.text:
        yield from ((line + "\n").encode() for line in printed(tensor, precision, _FOLDED_FROM if terminal else None, _columns()))
    else:
        facts = {"path": path, "name": name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}
        yield json_bytes(facts | {"values": nested(tensor)})


def json_bytes(document: Any) -> bytes:
    """Return a JSON document as bytes; what UTF-8 cannot encode is escaped."""
    return Answer(True).json_text(document).encode("utf-8", "backslashreplace")


def _columns() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _npy(tensor: Tensor) -> bytes:
    """Return the .npy file. A dtype that numpy does not know is stored as raw elements, as arrays of ml_dtypes are."""
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
