"""Holding a checkpoint against a spec: first what its header tells, then what only its values tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from ..analysis.contents import quantiser_text
from ..analysis.digest import digests
from ..analysis.figures import FIGURES, Figures
from ..analysis.stats import computable, stats
from ..errors import NoMatch
from ..numbers.shapes import show_shape
from ..tensors.blocks import Progress
from ..tensors.checkpoint import Checkpoint, Kind
from ..tensors.selection import Layers, matches, no_layers
from ..tensors.tensor import Layout, Tensor
from . import Violation, violation
from .spec import AT_LEAST_ONE, Range, Requirement, Spec


class Matched(NamedTuple):
    """A spec, and the names that each of its requirements matches, in the same order."""

    spec: Spec
    names: Sequence[Sequence[str]]

    @property
    def rows(self) -> Iterator[tuple[Requirement, Sequence[str]]]:
        """Each requirement and the names that it matches."""
        return zip(self.spec.requirements, self.names, strict=True)

    def to_be_finite(self, names: Sequence[str]) -> Sequence[str]:
        """Return those of `names` whose elements must all be finite."""
        if self.spec.finite:
            return names
        wanted = {name for requirement, matched in self.rows if requirement.finite for name in matched}
        return [name for name in names if name in wanted]

    def pairs(self, among: Iterable[str]) -> Iterator[tuple[str, Requirement]]:
        """Each requirement with each name that it matches, for the names in `among`."""
        wanted = set(among)
        for requirement, names in self.rows:
            yield from ((name, requirement) for name in names if name in wanted)


def match(checkpoint: Checkpoint, spec: Spec, layers: Layers = no_layers) -> Matched:
    """Find the names in `checkpoint` that each requirement of `spec` matches. `layers` gives the types that `@Type` patterns need."""
    return Matched(spec, [_matching(checkpoint, requirement, layers) for requirement in spec.requirements])


def _matching(checkpoint: Checkpoint, requirement: Requirement, layers: Layers) -> list[str]:
    """A tensor with exactly this name wins over the pattern that the name may also be."""
    if requirement.pattern in checkpoint:
        return [requirement.pattern]
    if requirement.names is not None:
        return [name for name in requirement.names if name in checkpoint]
    from .spec_patterns import as_glob

    try:
        return matches(checkpoint, as_glob(requirement.pattern), layers)
    except NoMatch:
        return []


def header_violations(checkpoint: Checkpoint, matched: Matched) -> Iterator[Violation]:
    """Compare all that needs no values: names, counts, dtypes, shapes, ties."""
    spec, kinds = matched.spec, checkpoint.kinds()
    for requirement, names in matched.rows:
        yield from _count_violations(requirement, names)
        for name in names:
            if name in kinds:  # an assertion's pattern may also match other objects
                yield from _kind_violations(name, kinds[name], requirement)
    if not spec.extra:
        permitted = {name for requirement, names in matched.rows if requirement.permits for name in names}
        yield from (violation("unexpected", name, "the spec has no entry for it") for name in checkpoint if name not in permitted)
    if spec.params is not None:
        params = sum(kinds[name].numel for name in checkpoint.distinct())
        if not spec.params.holds(params):
            yield violation("params", "", f"{params:,}, not {spec.params}", params=params, expected=spec.params.written)
    yield from _untied(checkpoint, [*spec.tied, *(spec.ties or ())])
    if spec.ties is not None:
        yield from _other_ties(checkpoint, spec.ties)


def _count_violations(requirement: Requirement, names: Sequence[str]) -> Iterator[Violation]:
    if requirement.count.holds(len(names)):
        return
    every = len(requirement.names or ())
    if requirement.names and requirement.count == (every, every) and len(names) < every:
        present = set(names)
        what = f"the spec has it ({requirement.pattern})" if every > 1 else "the spec has it"
        yield from (violation("missing", name, what) for name in requirement.names if name not in present)
    else:
        what, expected = _counted(len(names), requirement.count), requirement.count.written
        yield violation("count", requirement.pattern, what, count=len(names), expected=expected)


def _counted(count: int, wanted: Range) -> str:
    if not count:
        return "nothing matches it" if wanted == AT_LEAST_ONE else f"nothing matches it, not {wanted} tensors"
    return f"{count:,} tensor matches, not {wanted}" if count == 1 else f"{count:,} tensors match, not {wanted}"


def _kind_violations(name: str, kind: Kind, requirement: Requirement) -> Iterator[Violation]:
    if requirement.dtype and kind.dtype.name not in requirement.dtype:
        wanted = list(requirement.dtype)
        yield violation("dtype", name, f"{kind.dtype.name}, not {' or '.join(wanted)}", dtype=kind.dtype.name, expected=wanted)
    layout = kind.layout or "plain"
    if requirement.layout and layout != requirement.layout:
        yield violation("layout", name, f"{layout}, not {requirement.layout}", layout=layout, expected=requirement.layout)
    if requirement.shape is not None and not _shape_holds(kind.shape, requirement.shape):
        what = f"{show_shape(kind.shape)}, not {'x'.join(map(str, requirement.shape)) or 'scalar'}"
        yield violation("shape", name, what, shape=list(kind.shape), expected=[size.written for size in requirement.shape])


def _shape_holds(shape: tuple[int, ...], wanted: tuple[Range, ...]) -> bool:
    return len(shape) == len(wanted) and all(size.holds(n) for size, n in zip(wanted, shape, strict=True))


def _untied(checkpoint: Checkpoint, groups: Iterable[Sequence[str]]) -> Iterator[Violation]:
    """Names that are not tied to the first of their group. A name that is not there is reported elsewhere."""
    first = checkpoint.tied_to()
    for group in groups:
        present = [name for name in group if name in checkpoint]
        apart = [name for name in present[1:] if first.get(name, name) != first.get(present[0], present[0])]
        yield from (violation("tied", name, f"is not tied to {present[0]}", to=present[0]) for name in apart)


def _other_ties(checkpoint: Checkpoint, groups: Iterable[Sequence[str]]) -> Iterator[Violation]:
    """Names that are tied to one outside of their group."""
    group_of = {name: tuple(group) for group in groups for name in group}
    for name, first in checkpoint.tied_to().items():
        if first not in group_of.get(name, ()):
            yield violation("tied", name, f"is tied to {first}, which the spec does not say", to=first)


def value_violations(
    checkpoint: Checkpoint, matched: Matched, names: Iterable[str], progress: Progress | None = None
) -> Iterator[Violation]:
    """Compare digests and figures, of those of `names` for which the spec has any; only these are read.

    Whether elements are finite is a question for `integrity.not_finite`.
    """
    pairs = list(matched.pairs(names))
    for name, requirement in pairs:
        yield from _quantiser_violations(name, checkpoint[name], requirement) if requirement.quantiser else ()
    yield from _digest_violations(checkpoint, pairs, progress)
    measured = {name: checkpoint[name] for name, requirement in pairs if requirement.figures and computable(checkpoint[name])}
    sums = dict(stats(measured, progress=progress)) if measured else {}
    for name, requirement in pairs:
        yield from _figure_violations(name, _bounded(sums[name], requirement) if name in sums else {}, requirement)


def _quantiser_violations(name: str, tensor: Tensor, requirement: Requirement) -> Iterator[Violation]:
    text = quantiser_text(tensor) if tensor.layout == Layout.QUANTISED else "not quantised"
    if text != requirement.quantiser:
        yield violation("quantiser", name, f"{text}; not {requirement.quantiser}", quantiser=text, expected=requirement.quantiser)


def _digest_violations(checkpoint: Checkpoint, pairs: list[tuple[str, Requirement]], progress: Progress | None) -> Iterator[Violation]:
    hashed = {name: checkpoint[name] for name, requirement in pairs if requirement.sha256}
    found = {digest.name: digest.sha256 for digest in digests(hashed, progress=progress)}
    for name, requirement in pairs:
        if requirement.sha256 and found[name] != requirement.sha256:
            what = f"{found[name] or 'no bytes of its own'}, not {requirement.sha256}"
            yield violation("sha256", name, what, sha256=found[name], expected=requirement.sha256)


def _bounded(sums: Figures, requirement: Requirement) -> dict[str, complex | None]:
    """The figures that the requirement bounds. Where no element is finite, there are only counts."""
    figures = (FIGURES[key] for key in requirement.figures)
    return {figure.name: figure.of(sums) if sums.count or figure.is_count else None for figure in figures}


def _figure_violations(name: str, figures: Mapping[str, complex | None], requirement: Requirement) -> Iterator[Violation]:
    for key, wanted in requirement.figures.items():
        value = figures.get(key)
        value = abs(value) if isinstance(value, complex) else value
        if value is None:
            what = f"has no {key}; it should be {_interval(wanted)}"
            yield violation("figure", name, what, figure=key, value=None, expected=list(wanted))
        elif not wanted.holds(value):
            what = f"{key} is {value:.6g}, " + (f"above {wanted.high:.6g}" if value > wanted.high else f"below {wanted.low:.6g}")
            yield violation("figure", name, what, figure=key, value=value, expected=list(wanted))


def _interval(wanted: Range) -> str:
    if wanted.low == -inf:
        return f"at most {wanted.high:.6g}"
    return f"at least {wanted.low:.6g}" if wanted.high == inf else f"from {wanted.low:.6g} to {wanted.high:.6g}"
