"""What the rules of a file make of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..errors import EditError, about, did_you_mean
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .axes import rearranged
from .outcome import Outcome
from .parts import Named, concatenated, cut, lengths_of, one, part, reordered, stacked
from .rules import Blocks, Cut, Join, Rule, Rules
from .sums import filled, sum_of

_MOST_PARTS = 100_000


class _Match(NamedTuple):
    """The old names that a rule matches together, and the values of its placeholders."""

    names: list[str]
    values: Mapping[str, str]


class _Piece(NamedTuple):
    """A part of a new tensor: its old name, where it lies, the part itself."""

    source: str
    place: Cut
    tensor: Tensor


def ruled(checkpoint: Checkpoint, rules: Rules) -> Outcome:
    """Return the checkpoint as the rules make it.

    Raises:
        EditError: two rules match one name or make one, a rule matches nothing, or what it joins or cuts does not fit.
    """
    ruling = _Ruling(checkpoint)
    for rule in rules.rules:
        with about(f"rule {rule.number}"):
            for match in _matches(checkpoint, rule):
                ruling.apply(rule, match)
    ruling.join_pieces()
    order = {name: at for at, name in enumerate(checkpoint)}
    names = sorted(ruling.made, key=lambda name: order[ruling.sources[name][0]])
    unknown = [name for name in checkpoint if name not in ruling.rule_of]
    return Outcome({name: ruling.made[name] for name in names}, unknown, ruling.dropped, [], ruling.sources)


class _Ruling:
    """What the rules have made so far.

    Attributes:
        made: the new tensors.
        sources: the old names of each.
        rule_of: the rule that matched an old name.
        dropped: old names of which nothing is made.
        pieces: parts of new tensors.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.made: dict[str, Tensor] = {}
        self.sources: dict[str, tuple[str, ...]] = {}
        self.rule_of: dict[str, Rule] = {}
        self.dropped: list[str] = []
        self.pieces: dict[str, list[_Piece]] = {}

    def apply(self, rule: Rule, match: _Match) -> None:
        """Make of these tensors what the rule says."""
        for name in match.names:
            known = self.rule_of.setdefault(name, rule)
            if known is not rule and not (known.slice and rule.slice and not known.pieces):
                raise EditError(f"rule {known.number} speaks of {name}, too", "let one of them be more exact")
        if not rule.targets:
            self.dropped += match.names
            return
        tensors = [(name, self.checkpoint[name]) for name in match.names]
        for name, tensor in _results(rule, tensors, match.values).items():
            if rule.pieces and rule.slice is not None:
                self.pieces.setdefault(name, []).append(_Piece(match.names[0], rule.slice, tensor))
                continue
            self.add(name, tensor, tuple(match.names))

    def add(self, name: str, tensor: Tensor, sources: tuple[str, ...]) -> None:
        """Keep a new tensor."""
        if name in self.made:
            raise EditError(f"{self.sources[name][0]} and {sources[0]} would both be called {name!r}")
        self.made[name], self.sources[name] = tensor, sources

    def join_pieces(self) -> None:
        """Make the tensors whose parts are all there."""
        for name, found in self.pieces.items():
            pieces = sorted(found, key=lambda piece: piece.place.start)
            axis, end = pieces[0].place.axis, 0
            for piece in pieces:
                shape = piece.tensor.shape
                if piece.place.axis != axis or piece.place.start != end or axis >= len(shape):
                    raise EditError(
                        f"the slices of {name} do not make up axis {axis}", "each begins where the one before it ends, the first at 0"
                    )
                end += shape[axis]
                if piece.place.stop not in (None, end):
                    raise EditError(
                        f"{piece.source} has {shape[axis]} of axis {axis}, and {name} takes {piece.place.start}:{piece.place.stop}"
                    )
            whole = concatenated([(piece.source, piece.tensor) for piece in pieces], axis)
            self.add(name, whole, tuple(piece.source for piece in pieces))


def _results(rule: Rule, tensors: list[Named], values: Mapping[str, str]) -> dict[str, Tensor]:
    """What a rule makes of tensors, by the new names."""
    name = tensors[0][0]
    if rule.join is None:
        tensor = sum_of(tensors)
        tensor = part((name, tensor), *_bounds(rule.slice, (name, tensor))) if rule.slice and not rule.pieces else tensor
        first, *others = (_substituted(target, values) for target in rule.targets)
        tensor = _stepped(rule, (name, tensor))
        return {first: tensor} | {other: filled(tensor.dtype, tensor.shape, 0) for other in others}
    if rule.several_before:
        ready = [(name, _stepped(rule, (name, tensor))) for name, tensor in tensors]
        whole = (stacked if rule.join.stack else concatenated)(ready, rule.join.axis)
        return {_substituted(rule.targets[0], values): whole}
    targets = _several(rule, tensors[0], values)
    found = _divided(rule.join, tensors[0], len(targets))
    return {target: _stepped(rule, (name, tensor)) for target, tensor in zip(targets, found, strict=True)}


def _bounds(place: Cut, of: Named) -> tuple[int, int, int]:
    """The axis, start and stop of a slice."""
    shape = of[1].shape
    return place.axis, place.start, place.stop if place.stop is not None else shape[place.axis] if place.axis < len(shape) else 0


def _several(rule: Rule, of: Named, values: Mapping[str, str]) -> list[str]:
    """The new names of the parts of one tensor."""
    if not rule.run or rule.join is None:
        return [_substituted(target, values) for target in rule.targets]
    size = of[1].shape[rule.join.axis] if rule.join.axis < len(of[1].shape) else 0
    if not rule.join.stack and not rule.join.lengths:
        raise EditError(f"nothing tells how many parts {of[0]} has", "say them: lengths = [64, 64]")
    if size > _MOST_PARTS and rule.join.stack:
        raise EditError(f"{of[0]} would be {size:,} tensors", f"up to {_MOST_PARTS:,} are made")
    count = size if rule.join.stack else len(rule.join.lengths)
    return [_substituted(rule.targets[0], {**values, rule.run: str(number)}) for number in range(count)]


def _divided(join: Join, of: Named, count: int) -> list[Tensor]:
    """The parts of one tensor."""
    lengths = lengths_of(of, join.axis, count, [1] * count if join.stack else join.lengths)
    return [one(of, join.axis, index) for index in range(count)] if join.stack else cut(of, join.axis, lengths)


def _stepped(rule: Rule, of: Named) -> Tensor:
    """A tensor after the steps of the rule."""
    name, tensor = of
    for step in rule.steps:
        if isinstance(step, Blocks):
            tensor = reordered((name, tensor), step.axis, step.order)
        else:
            tensor = rearranged(tensor, name, step.before, step.after, step.sizes)
    return tensor


def _matches(checkpoint: Checkpoint, rule: Rule) -> list[_Match]:
    """What the rule matches. Tensors with another number of axes than its layout are left to other rules."""
    pattern = _pattern(rule.sources[0])
    by_name = [(name, match) for name in checkpoint if (match := pattern.fullmatch(name))]
    more = bool(rule.join and rule.join.stack and not rule.several_before)
    fit = [(name, match) for name, match in by_name if rule.before is None or len(rule.before) + more == len(checkpoint[name].shape)]
    if not fit:
        what = f"nothing matches {rule.sources[0]!r}" if not by_name else f"{by_name[0][0]} has {len(checkpoint[by_name[0][0]].shape)} axes"
        raise EditError(what, did_you_mean(rule.sources[0], checkpoint) if not by_name else "the layout says how many there are")
    if rule.run and rule.several_before:
        return list(_runs(rule, fit))
    return [_Match([_substituted(source, match.groupdict()) for source in rule.sources], match.groupdict()) for _, match in fit]


def _runs(rule: Rule, found: list[tuple[str, re.Match[str]]]) -> Iterator[_Match]:
    """Tensors that differ by a number alone, which runs from 0 on, in its order."""
    groups: dict[tuple[tuple[str, str], ...], dict[int, str]] = {}
    for name, match in found:
        values = match.groupdict()
        number = values.pop(rule.run)
        if not re.fullmatch(r"\d{1,18}", number):
            raise EditError(f"{{{rule.run}}} of {name} is {number!r}, which is no number", "write the name more exactly")
        if groups.setdefault(tuple(values.items()), {}).setdefault(int(number), name) != name:
            raise EditError(f"{groups[tuple(values.items())][int(number)]} and {name} have the same number")
    for key, names in groups.items():
        missing = next(number for number in range(len(names) + 1) if number not in names)
        if missing < len(names):
            lacking = _substituted(rule.sources[0], {**dict(key), rule.run: str(missing)})
            raise EditError(f"there is no {lacking}, but {names[max(names)]}", f"{{{rule.run}}} runs from 0 on")
        yield _Match([names[number] for number in range(len(names))], dict(key))


def _substituted(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda placeholder: values[placeholder[1]], text)


def _pattern(text: str) -> re.Pattern[str]:
    """`{layer}` takes any text, as much as it can; the same placeholder twice is the same text."""
    seen: set[str] = set()
    pieces = []
    for piece in re.split(r"(\{\w+\})", text):
        placeholder = re.fullmatch(r"\{([^\W\d]\w*)\}", piece)
        if placeholder and placeholder[1] not in seen:
            seen.add(placeholder[1])
            pieces.append(f"(?P<{placeholder[1]}>.+)")
        else:
            pieces.append(f"(?P={placeholder[1]})" if placeholder else re.escape(piece))
    return re.compile("".join(pieces), re.DOTALL)
