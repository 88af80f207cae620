"""What a read holds as runs: so many elements of one law, then so many of another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import NamedTuple

from ..numbers.shapes import span
from .recorded_graph import Operation, Place, Read, State
from .recorded_laws import Law, law_of

_MOST_WRITES = 2_000  # of parts of one storage; more are no rows
_DEEPEST = 200
_SAME_ORDER = frozenset({"clone", "_to_copy", "copy", "contiguous", "lift_fresh_copy"})


class Run(NamedTuple):
    """Elements of one law, one after another in C order."""

    size: int
    law: Law


def runs_of(read: Read, depth: int = 0) -> list[Run] | None:
    """Return the elements of a read in C order as runs; None where they are not of known laws."""
    if read.dtype != read.state.operation.dtype:
        return None
    if depth > _DEEPEST or read.place.repeats or not read.place.size:
        return _repeated(read, depth) if read.place.repeats else None
    if not read.place.is_row:
        law = _everywhere(read.state, depth)
        return law and [Run(read.place.size, law)]
    return _merged(_seen(read.state, read.place.offset, read.place.offset + read.place.size, depth))


def law_everywhere(read: Read, depth: int = 0) -> Law | None:
    """Return the one law of all elements of a read; None where there are several, or none is known."""
    runs = runs_of(read, depth)
    return runs[0].law if runs and len(runs) == 1 else None


def _repeated(read: Read, depth: int) -> list[Run] | None:
    """Elements that `expand` shows more than once are independent only if they are constant."""
    shape = tuple(1 if not step else n for n, step in zip(read.place.shape, read.place.strides, strict=True))
    law = law_everywhere(read._replace(place=Place(shape, read.place.strides, read.place.offset)), depth + 1)
    return [Run(read.place.size, law)] if law and law.kind == "constant" else None


def _everywhere(state: State, depth: int) -> Law | None:
    """The one law of all writes to a storage."""
    laws = set()
    step: State | None = state
    for _ in range(_MOST_WRITES):
        if step is None:
            break
        runs = _written_runs(step, depth) if step.operation.dtype == state.operation.dtype else None
        laws.add(runs[0].law if runs and len(runs) == 1 else None)
        step = step.before
    law = laws.pop()
    return law if not laws and law is not None and law.shape is None else None


def _written_runs(state: State, depth: int) -> list[Run] | None:
    """What the last write to a storage wrote, as runs."""
    if "runs" not in state.cache:
        state.cache["runs"] = _operation_runs(state.operation, depth)
    runs: list[Run] | None = state.cache["runs"]
    return runs


def _seen(state: State, low: int, high: int, depth: int) -> list[Run] | None:
    """The elements from `low` to `high` of a storage: the last write first, then what it left of the writes before."""
    pieces: list[tuple[int, list[Run]]] = []
    holes = [(low, high)]
    step: State | None = state
    for _ in range(_MOST_WRITES):
        if step is None or not holes:
            break
        start, stop = span(step.place.shape, step.place.strides, step.place.offset)
        touched = [(max(a, start), min(b, stop)) for a, b in holes if a < stop and start < b]
        if touched:
            runs = _written_runs(step, depth) if step.operation.dtype == state.operation.dtype else None
            if not step.place.is_row:
                runs = runs if runs and len(runs) == 1 and step.before is None else None
            if not runs:
                return None
            pieces += [(a, _cut(runs, a - start, b - start)) for a, b in touched]
            holes = [hole for a, b in holes for hole in _left(a, b, start, stop)]
        step = step.before
    return [run for _, runs in sorted(pieces, key=lambda piece: piece[0]) for run in runs] if not holes else None


def _left(low: int, high: int, start: int, stop: int) -> list[tuple[int, int]]:
    """What `start` to `stop` leaves of `low` to `high`."""
    return [(a, b) for a, b in ((low, min(high, start)), (max(low, stop), high)) if a < b]


def _cut(runs: list[Run], low: int, high: int) -> list[Run]:
    """The runs from one element to another; a part of a matrix has no law of its own."""
    found, at = [], 0
    for count, law in runs:
        a, b = max(at, low), min(at + count, high)
        if a < b:
            found.append(Run(b - a, law if law.shape is None or b - a == count else Law("part of " + law.kind, (), law.shape)))
        at += count
    return found


def _merged(runs: list[Run] | None) -> list[Run] | None:
    if runs is None:
        return None
    merged: list[Run] = []
    for run in runs:
        if merged and merged[-1].law == run.law and run.law.shape is None:
            merged[-1] = Run(merged[-1].size + run.size, run.law)
        else:
            merged.append(run)
    return merged


def _operation_runs(operation: Operation, depth: int) -> list[Run] | None:
    """The elements of an operation's result in C order."""
    count = prod(operation.shape)
    joined = _JOINS.get(operation.name)
    if joined:
        return joined(operation, depth)
    if operation.name in _SAME_ORDER:
        source = operation.args[operation.name == "copy"]
        runs = runs_of(source, depth + 1) or []
        if len(runs) > 1 and source.place.shape == operation.shape:
            changed = [(run.size, law_of(operation, [run.law] * len(list(operation.reads())))) for run in runs]
            return [Run(count, law) for count, law in changed if law] if all(law for _, law in changed) else None
    law = law_of(operation, [_independent(read, operation, depth) for read in operation.reads()])
    return [Run(count, law)] if law else None


def _independent(read: Read, operation: Operation, depth: int) -> Law | None:
    """The law of a read that an operation takes element by element; None for random numbers that it spreads over several elements."""
    law = law_everywhere(read, depth + 1)
    return law if law and (law.kind == "constant" or read.place.size == prod(operation.shape)) else None


def _cat(operation: Operation, depth: int) -> list[Run] | None:
    parts, axis = operation.args[0], ([*operation.args[1:], operation.kwargs.get("dim", 0)])[0]
    runs = [runs_of(part, depth + 1) for part in parts if part.place.size]
    if any(part is None for part in runs):
        return None
    found = [run for part in runs for run in part or []]
    if axis in (0, -len(operation.shape)):
        return _merged(found)
    laws = {run.law for run in found}
    return [Run(prod(operation.shape), laws.pop())] if len(laws) == 1 and found[0].law.shape is None else None


_JOINS: dict[str, Callable[[Operation, int], list[Run] | None]] = {"cat": _cat, "stack": _cat, "concatenate": _cat}


def rows_text(runs: list[Run], shape: tuple[int, ...], written: Callable[[Law, tuple[int, ...]], str]) -> str | None:
    """Return runs as a scheme; None where they do not end where rows do.

    Args:
        runs: the elements.
        shape: the shape of the tensor.
        written: gives the text of a law of elements of that shape.
    """
    if len(runs) == 1:
        return written(runs[0].law, shape)
    row, rest = prod(shape[1:]), shape[1:]
    ends = [0]
    for run in runs:
        ends.append(ends[-1] + run.size)
    if not shape or any(end % row for end in ends):
        return None
    counts: dict[Law, int] = {}
    for run in runs:
        counts[run.law] = counts.get(run.law, 0) + (run.size if run.law.shape is None else 0)
    base = max(counts, key=lambda law: counts[law])
    base = base if counts[base] else Law("constant", (0.0,))  # matrices below each other: rows(zeros, 0:4=orthogonal(1), …)
    parts: list[str] = []
    for run, (low, high) in zip(runs, pairwise(end // row for end in ends), strict=True):
        if run.law != base:
            single = high - low == 1 and run.law.shape is None
            parts.append(f"{low if single else f'{low}:{high}'}={written(run.law, rest if single else (high - low, *rest))}")
    return f"rows({', '.join([written(base, shape), *parts])})"
