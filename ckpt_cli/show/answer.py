"""Where a command's output goes: the answer to standard output, notes to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from operator import add
from typing import Any

from ..errors import with_short_names
from .escape import escape, escaped, is_safe, line

_BATCH = 4096  # names that are checked and written together
_RESET, _BOLD, _CYAN = "\x1b[0m", "\x1b[1m", "\x1b[36m"  # ANSI SGR sequences


class Color(StrEnum):
    """When the answer is coloured; `auto`: on a terminal."""

    auto = "auto"
    always = "always"
    never = "never"


class Answer:
    """The answer of one command, written to standard output.

    With `as_json` it is one JSON document, with `as_csv` a table as RFC 4180 has it; otherwise a table on a terminal and tab-separated
    records in a pipe. `terminal` says whether it is for a person, at a terminal.
    """

    def __init__(self, as_json: bool = False, color: Color = Color.auto, as_csv: bool = False) -> None:
        self.as_json, self.as_csv = as_json, as_csv
        self.terminal = sys.stdout.isatty() and not as_csv
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self.color = not as_csv and (color is Color.always or (color is Color.auto and self.terminal and not plain))

    def json(self, document: Any) -> None:
        """Write one JSON document, keys in the order given. NaN and infinities become the strings "NaN", "Infinity", "-Infinity".

        An iterator among the values of `document` is written as a list, in batches: it may have very many items.
        """
        if isinstance(document, dict) and any(isinstance(value, Iterator) for value in document.values()):
            from .json_document import streamed

            sys.stdout.writelines(streamed(document, indented=self.terminal))
        else:
            sys.stdout.write(self.json_text(document))

    def json_text(self, document: Any) -> str:
        """Return the text that `json` writes."""
        from .json_document import one_document

        return one_document(document, indented=self.terminal)

    def records(self, rows: Iterable[Sequence[Any]]) -> None:
        """Write each row as one line of tab-separated cells."""
        sys.stdout.writelines("\t".join(self._styled(escaped(list(map(str, row))))) + "\n" for row in rows)

    def name_lines(self, names: Iterable[str], rests: Iterable[str]) -> None:
        """Write a line for each name, followed by its item of `rests`, which is escaped already. Made for very many names."""
        names_left, rests_left = iter(names), iter(rests)
        while batch := list(islice(names_left, _BATCH)):
            shown: Iterable[str] = batch if is_safe("".join(batch)) else map(escape, batch)
            if self.color:
                shown = [self._styled([name])[0] for name in shown]
            sys.stdout.write("\n".join(map(add, shown, rests_left)) + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines of text."""
        sys.stdout.writelines(escape(line) + "\n" for line in lines)

    def heading(self, line: str) -> None:
        """Write one line in the style of a table's header."""
        sys.stdout.write("".join(self._styled([escape(line)], True)) + "\n")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = (), footer: str = "") -> None:
        """Write a table on a terminal, the rows alone, as records, in a pipe, and CSV where that was asked for.

        Empty columns are omitted. No cell is ever cut or folded: a name that is wider than the terminal can still be copied from it.

        Args:
            header: The titles of the columns; in CSV they are written as the keys of a JSON document are: `TIED TO` as `tied_to`.
            rows: The cells, as many in each row as there are titles.
            right: The titles of the columns that are aligned to the right.
            footer: A line below the table, on a terminal only.
        """
        if self.as_csv:
            self._csv([[_key(title) for title in header]])
            self._csv(rows)
            return
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
        """Write one row of a table that grows while the user watches, cells aligned to the right; in a pipe a record, and no header."""
        if self.as_csv:
            self._csv([cells])
        elif not self.terminal:
            self.records([] if is_header else [cells])
        else:
            padded = [_padded(escape(cell), columns, True) for cell, columns in zip(cells, widths, strict=True)]
            sys.stdout.write("  ".join(self._styled(padded, is_header)).rstrip() + "\n")
        sys.stdout.flush()

    def _csv(self, rows: Iterable[Sequence[Any]]) -> None:
        import csv

        csv.writer(sys.stdout).writerows([cell if isinstance(cell, int) else escape(str(cell)) for cell in row] for row in rows)

    def _styled(self, row: list[str], is_header: bool = False) -> list[str]:
        if not self.color:
            return row
        return [f"{_BOLD}{cell}{_RESET}" for cell in row] if is_header else [f"{_CYAN}{row[0]}{_RESET}", *row[1:]]


def _key(title: str) -> str:
    """The key that a JSON document has for a column: `MAX ABS` is `max_abs`, `SHA-256` is `sha256`."""
    return title.lower().replace(" ", "_").replace("-", "")


def width(text: str) -> int:
    """Return the columns that `text` takes on a terminal: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def _padded(text: str, columns: int, right: bool) -> str:
    pad = " " * (columns - width(text))
    return pad + text if right else text + pad


@contextmanager
def verdict() -> Iterator[None]:
    """Keep the exit status of a command whose status is its result, even when the reader of its answer goes away early."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in the buffer


_kept_notes: list[str] = []


def note_later(lines: Iterable[str]) -> None:
    """Keep notes until the answer is complete: a command that fails prints its error alone."""
    _kept_notes.extend(lines)


def release_notes(answered: bool) -> None:
    """Print the notes that were kept, if there was an answer, and forget them."""
    kept, _kept_notes[:] = list(_kept_notes), []
    for text in kept if answered else ():
        note(text)


def note(text: str) -> None:
    """Print one line to standard error, for the person at the terminal."""
    try:
        print(f"ckpt: {line(with_short_names(text))}", file=sys.stderr, flush=True)
    except BrokenPipeError:  # `2>&1 | head` has ended: the exit status stays that of the answer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def readable_size(count: int) -> str:
    """Return a number of bytes as people write it: `980 B`, `1.2 kB`, `5.0 GB`."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.95 or unit == "TB":
            break
    return f"{amount:.1f} {unit}"
