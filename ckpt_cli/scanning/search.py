"""The search for pickles that begin anywhere: behind other bytes, after a pickle that breaks off, without a header."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from ..storage.file import File
from .trace import traced
from .trace_machine import Trace

_BLOCK = 4 << 20
_OVERLAP = 1 << 10
MOST_SEARCHED = 16 << 20  # bytes behind one another: at 5 to 20 MB/s, a second or three
_MOST_CANDIDATES = 20_000
_MOST_OPCODES = 200_000  # of a candidate

_KNOWN_MODULES = sys.stdlib_module_names | {"__builtin__", "torch", "numpy"}

_WORD = rb"[A-Za-z_][\w.]{0,100}"
_SHORT = rb"(?:\x8c.|X.\0\0\0|U.)%b(?:\x94|q.|r....|p\d{1,9}\n)?" % _WORD
_ARGUMENTS = rb"\((?:[SVIFL][^\n]{0,300}\n){0,8}"
# The beginning of a pickle of protocol 2 or later; a name of protocol 0 or 1; the same with its arguments before it; a name of protocol 4.
# Each place is looked at, since a match may hide the one that begins within it.
_CANDIDATE = re.compile(
    rb"(?=\x80[\x02-\x05]|\(?c%b\r?\n%b\r?\n|%bi%b\r?\n%b\r?\n|%b%b\x93)" % (_WORD, _WORD, _ARGUMENTS, _WORD, _WORD, _SHORT, _SHORT),
    re.DOTALL,
)


def pickles_within(file: File, at: int, most: int = MOST_SEARCHED) -> Iterator[Trace]:
    """Traces of what may be pickles, in the `most` bytes from byte `at` of `file` on: those that end, or import something."""
    end, tried = at, 0
    for start in _candidates(file, at, min(file.size, at + most)):
        if start < end:
            continue
        tried += 1
        if tried > _MOST_CANDIDATES:
            return
        trace = traced(file, start, _MOST_OPCODES)
        if is_pickle(trace, start):
            end = trace.end
            yield trace


def _candidates(file: File, at: int, stop: int) -> Iterator[int]:
    while at < stop:
        block = file.read(at, min(_BLOCK + _OVERLAP, stop - at))
        yield from (at + found.start() for found in _CANDIDATE.finditer(block) if found.start() < _BLOCK)
        at += _BLOCK


def is_pickle(trace: Trace, start: int) -> bool:
    """Whether a trace that began at byte `start` is one of a pickle, and not of bytes that happen to be opcodes."""
    head = trace.file.read(start, min(2, trace.file.size - start))
    ended = not trace.wrong
    if head[:1] == b"\x80" and head[1:] and 2 <= head[1] <= 5:
        return ended or trace.ran > 4 or bool(trace.globals)
    if trace.globals:  # lines of text are names as well, but hardly calls
        clean = all(map(_is_name, (trace.globals[0].module, trace.globals[0].name)))
        module = trace.globals[0].module.strip().partition(".")[0]
        first = start == 0 and (trace.end == trace.file.size or not _is_text(trace.file.head) or module in _KNOWN_MODULES)
        return ended or (clean and (bool(trace.calls) or first))
    return ended and (trace.ran > 2 if trace.problems else trace.ran > 0 and start == 0)


def _is_text(head: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n\f" for byte in head)


def _is_name(text: str) -> bool:
    """Whether a module or attribute can be called so."""
    text = text.strip()  # blanks at its ends are a trick
    return 0 < len(text) < 300 and text.isprintable() and " " not in text
