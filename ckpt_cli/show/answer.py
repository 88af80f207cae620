"""Where answers go: standard output for the answer, standard error for notes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import add
from typing import Any

from .escape import escape, is_safe, line


class Answer:
    """One answer. `as_json`: one JSON document; else a table on a terminal and tab-separated records in a pipe."""

    def __init__(self, as_json: bool = False, color: str = "auto") -> None:
        self.as_json = as_json
        self.terminal = sys.stdout.isatty()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self.color = color == "always" or (color == "auto" and self.terminal and not plain)

    def json(self, document: Any) -> None:
        """One document, keys in the order given. NaN and the infinities are the strings "NaN", "Infinity", "-Infinity".

        A value at its top that is an iterator is a list, written item by item: there may be very many.
        """
        if isinstance(document, dict) and any(isinstance(value, Iterator) for value in document.values()):
            sys.stdout.writelines(self._streamed(document))
        else:
            sys.stdout.write(self.document(document))

    def _streamed(self, document: dict[str, Any]) -> Iterator[str]:
        from json import JSONEncoder

        encode = JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2 if self.terminal else None).encode
        outer = "\n  " if self.terminal else ""
        between = "," + (outer or " ")
        for number, (key, value) in enumerate(document.items()):
            yield f"{between if number else '{' + outer}{encode(key)}: "
            if not isinstance(value, Iterator):
                yield encode(_jsonable(value)).replace("\n", outer)
                continue
            lead, end = "[", "[]"
            while batch := list(islice(value, 1000)):
                yield lead + encode(_jsonable(batch)).replace("\n", outer)[1 : -1 - len(outer)]
                lead, end = "," + " " * (not outer), outer + "]"
            yield end
        yield outer[:1] + "}\n"

    def document(self, document: Any) -> str:
        import json

        return json.dumps(_jsonable(document), ensure_ascii=False, allow_nan=False, indent=2 if self.terminal else None) + "\n"

    def records(self, rows: Iterable[Sequence[Any]]) -> None:
        """A line a row, tab-separated."""
        sys.stdout.writelines("\t".join(self._styled([escape(str(cell)) for cell in row])) + "\n" for row in rows)

    def named(self, names: Iterable[str], rest: Iterable[str]) -> None:
        """A line a name, and what follows the name ready-made: for very many. Names are looked at by the thousand."""
        left, given = iter(names), iter(rest)
        while batch := list(islice(left, 4096)):
            shown: Iterable[str] = batch if is_safe("".join(batch)) else map(escape, batch)
            if self.color:
                shown = [self._styled([name])[0] for name in shown]
            sys.stdout.write("\n".join(map(add, shown, given)) + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        sys.stdout.writelines(escape(line) + "\n" for line in lines)

    def heading(self, line: str) -> None:
        sys.stdout.write("".join(self._styled([escape(line)], True)) + "\n")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = (), footer: str = "") -> None:
        """On a terminal a table, the columns `right` aligned to the right, empty ones left out; in a pipe the records alone.

        No cell is ever cut or folded: a name that is wider than the terminal can still be copied from it.
        """
        if not self.terminal:
            self.records(rows)
            return
        cells = [[escape(str(cell)) for cell in row] for row in rows]
        shown = [index for index in range(len(header)) if any(row[index] for row in cells)]
        widths = {index: max(width(row[index]) for row in [header, *cells]) for index in shown}
        for number, row in enumerate([header, *cells] if cells else []):
            padded = [_padded(row[index], widths[index], header[index] in right) for index in shown]
            sys.stdout.write("  ".join(self._styled(padded, number == 0)).rstrip() + "\n")
        if footer:
            self.lines([footer])

    def row(self, cells: Sequence[str], widths: Sequence[int], is_header: bool = False) -> None:
        """One row of a table that grows while it is looked at, its cells aligned to the right; in a pipe a record, and no header."""
        if not self.terminal:
            self.records([] if is_header else [cells])
        else:
            padded = [_padded(escape(cell), wide, True) for cell, wide in zip(cells, widths, strict=True)]
            sys.stdout.write("  ".join(self._styled(padded, is_header)).rstrip() + "\n")
        sys.stdout.flush()

    def _styled(self, row: list[str], is_header: bool = False) -> list[str]:
        if not self.color:
            return row
        return [f"\x1b[1m{cell}\x1b[0m" for cell in row] if is_header else [f"\x1b[36m{row[0]}\x1b[0m", *row[1:]]


def width(text: str) -> int:
    """The columns that `text` takes on a terminal: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def _padded(text: str, wide: int, right: bool) -> str:
    pad = " " * (wide - width(text))
    return pad + text if right else text + pad


@contextmanager
def verdict() -> Iterator[None]:
    """Around an answer that the exit status sums up: that status stands, whether or not the answer is read to its end."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in the buffer


_later: list[str] = []


def later(lines: Iterable[str]) -> None:
    """Notes that are worth reading beside an answer: an error is one line alone."""
    _later.extend(lines)


def tell_later(answered: bool) -> None:
    """Print what was kept for later, where there was an answer."""
    kept, _later[:] = list(_later), []
    for text in kept if answered else ():
        note(text)


def note(text: str) -> None:
    """A line for the reader, not for the pipe."""
    print(f"ckpt: {line(text)}", file=sys.stderr)


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        if value != value:
            return "NaN"
        return value if abs(value) != float("inf") else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if not value.isascii() else value
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, complex):
        return [_jsonable(value.real), _jsonable(value.imag)]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return str(value)


def size(count: int) -> str:
    """Bytes for a human reader: `980 B`, `1.2 kB`, `5.0 GB`."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.95 or unit == "TB":
            break
    return f"{amount:.1f} {unit}"
