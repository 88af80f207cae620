"""A checkpoint held against a spec: what its header tells, and what its values do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

from ..analysis.digest import digests
from ..analysis.stats import computable, stats
from ..errors import NoMatch
from ..numbers.shapes import show_shape
from ..tensors.blocks import Progress
from ..tensors.checkpoint import Checkpoint, Kind
from ..tensors.selection import Layers, matches, no_layers
from . import Violation, violation
from .spec import Entry, Range, Spec, as_glob


class Matched(NamedTuple):
    """A spec, and the names that each of its entries picks."""

    spec: Spec
    names: list[list[str]]

    def wanting_finite(self) -> set[str]:
        return {name for entry, names in zip(self.spec.entries, self.names, strict=True) if entry.finite for name in names}

    def pairs(self, among: Iterable[str]) -> Iterator[tuple[str, Entry]]:
        wanted = set(among)
        for entry, names in zip(self.spec.entries, self.names, strict=True):
            yield from ((name, entry) for name in names if name in wanted)


def matched(checkpoint: Checkpoint, spec: Spec, layers: Layers = no_layers) -> Matched:
    return Matched(spec, [_picked(checkpoint, entry, layers) for entry in spec.entries])


def _picked(checkpoint: Checkpoint, entry: Entry, layers: Layers) -> list[str]:
    """An exact name wins over the pattern that it may also be."""
    if entry.pattern in checkpoint:
        return [entry.pattern]
    if entry.spelled is not None:
        return [name for name in entry.spelled if name in checkpoint]
    try:
        return matches(checkpoint, as_glob(entry.pattern), layers)
    except NoMatch:
        return []


def header_holds(checkpoint: Checkpoint, found: Matched) -> Iterator[Violation]:
    """All that needs no values: names, counts, dtypes, shapes, ties."""
    spec, kinds = found.spec, checkpoint.kinds()
    for entry, names in zip(spec.entries, found.names, strict=True):
        yield from _names_hold(entry, names)
        for name in names:
            yield from _kind_holds(name, kinds[name], entry)
    if not spec.extra:
        known = {name for entry, names in zip(spec.entries, found.names, strict=True) if entry.permits for name in names}
        yield from (violation("unexpected", name, "the spec has no entry for it") for name in checkpoint if name not in known)
    if spec.params is not None:
        params = sum(kinds[name].numel for name in checkpoint.distinct())
        if not spec.params.holds(params):
            yield violation("params", "", f"{params:,}, not {spec.params}", params=params, expected=spec.params.written)
    if spec.ties is not None:
        yield from _ties_hold(checkpoint, spec.ties)


def _names_hold(entry: Entry, names: list[str]) -> Iterator[Violation]:
    if entry.count.holds(len(names)):
        return
    every = len(entry.spelled or ())
    if entry.spelled and entry.count == (every, every) and len(names) < every:
        there = set(names)
        told = f"the spec has it ({entry.pattern})" if every > 1 else "the spec has it"
        yield from (violation("missing", name, told) for name in entry.spelled if name not in there)
    else:
        yield violation("count", entry.pattern, _counted(len(names), entry.count), count=len(names), expected=entry.count.written)


def _counted(count: int, wanted: Range) -> str:
    if not count:
        return "nothing matches it" if wanted == (1, inf) else f"nothing matches it, not {wanted} tensors"
    return f"{count:,} tensor matches, not {wanted}" if count == 1 else f"{count:,} tensors match, not {wanted}"


def _kind_holds(name: str, kind: Kind, entry: Entry) -> Iterator[Violation]:
    if entry.dtype and kind.dtype.name not in entry.dtype:
        wanted = list(entry.dtype)
        yield violation("dtype", name, f"{kind.dtype.name}, not {' or '.join(wanted)}", dtype=kind.dtype.name, expected=wanted)
    layout = kind.layout or "plain"
    if entry.layout and layout != entry.layout:
        yield violation("layout", name, f"{layout}, not {entry.layout}", layout=layout, expected=entry.layout)
    if entry.shape is None:
        return
    wrong = len(kind.shape) != len(entry.shape) or not all(size.holds(n) for size, n in zip(entry.shape, kind.shape, strict=True))
    if wrong:
        told = f"{show_shape(kind.shape)}, not {'x'.join(map(str, entry.shape)) or 'scalar'}"
        yield violation("shape", name, told, shape=list(kind.shape), expected=[size.written for size in entry.shape])


def _ties_hold(checkpoint: Checkpoint, wanted: list[list[str]]) -> Iterator[Violation]:
    """The groups are those of the spec, neither more nor fewer names in them. A name that is not there is told of elsewhere."""
    first = checkpoint.tied_to()
    group_of = {name: tuple(group) for group in wanted for name in group}
    for group in wanted:
        there = [name for name in group if name in checkpoint]
        apart = [name for name in there[1:] if first.get(name, name) != first.get(there[0], there[0])]
        yield from (violation("tied", name, f"is not tied to {there[0]}", to=there[0]) for name in apart)
    for name, head in first.items():
        if head not in group_of.get(name, ()):
            yield violation("tied", name, f"is tied to {head}, which the spec does not say", to=head)


def values_hold(checkpoint: Checkpoint, found: Matched, names: list[str], progress: Progress | None = None) -> Iterator[Violation]:
    """Digests and figures of those of `names` that the spec says any of."""
    pairs = list(found.pairs(names))
    hashed = {name: checkpoint[name] for name, entry in pairs if entry.sha256}
    sums = {digest.name: digest.sha256 for digest in digests(hashed, progress=progress)}
    for name, entry in pairs:
        if entry.sha256 and sums[name] != entry.sha256:
            told = f"{sums[name] or 'no bytes of its own'}, not {entry.sha256}"
            yield violation("sha256", name, told, sha256=sums[name], expected=entry.sha256)
    measured = {name: checkpoint[name] for name, entry in pairs if entry.figures and computable(checkpoint[name])}
    known = dict(stats(measured, progress=progress)) if measured else {}
    for name, entry in pairs:
        figures = {key: getattr(known[name], key) if known[name].count else None for key in entry.figures} if name in known else {}
        yield from _figures_hold(name, figures, entry)


def _figures_hold(name: str, figures: Mapping[str, complex | None], entry: Entry) -> Iterator[Violation]:
    for key, wanted in entry.figures.items():
        value = figures.get(key)
        value = abs(value) if isinstance(value, complex) else value
        if value is None:
            told = f"has no {key}; it should be {_interval(wanted)}"
            yield violation("figure", name, told, figure=key, value=None, expected=list(wanted))
        elif not wanted.holds(value):
            told = f"{key} is {value:.6g}, " + (f"above {wanted.high:.6g}" if value > wanted.high else f"below {wanted.low:.6g}")
            yield violation("figure", name, told, figure=key, value=value, expected=list(wanted))


def _interval(wanted: Range) -> str:
    if wanted.low == -inf:
        return f"at most {wanted.high:.6g}"
    return f"at least {wanted.low:.6g}" if wanted.high == inf else f"from {wanted.low:.6g} to {wanted.high:.6g}"
