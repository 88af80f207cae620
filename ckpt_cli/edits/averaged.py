"""What `average` means in an assignment: for each tensor, the average that a training has kept of it, here or in another file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ..analysis.average_homes import Lies
from ..analysis.averages import Average, averages, matched, trained
from ..analysis.optimizer import kept_by_optimizers
from ..errors import EditError, NoMatch, about
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import select
from ..tensors.tensor import Tensor
from .expressions import Average as Meant

_SHOWN = 3  # names in a note
_BY_ORDER = "a list goes by order: number and shapes have to agree, in a file that keeps the order of its model, as torch's do"
_LOOKED_FOR = "names with ema, swa or average in them are looked for; average(PATTERN) names others, average(@FILE) those of another file"


class Kept(NamedTuple):
    """The averages of one home.

    Attributes:
        called: How an expression names them.
        source: The checkpoint that they are in.
        of: The names of averages, and of the tensors that they are of.
    """

    called: str
    source: Checkpoint
    of: Mapping[str, str]


class Averages:
    """The averages of the tensors of a checkpoint, found when they are first asked for.

    Args:
        checkpoint: The checkpoint.
        open: Opens another checkpoint.
    """

    def __init__(self, checkpoint: Checkpoint, open: Callable[[str], Checkpoint]) -> None:
        self._checkpoint, self._open = checkpoint, open
        self._found: dict[Meant, dict[Any, list[tuple[str, Kept, str]]]] = {}

    def of(self, name: str, meant: Meant) -> tuple[str, Tensor] | None:
        """Return the name of the average of a tensor, and the average; None where it has none.

        Raises:
            NoMatch: There is no average at all.
            EditError: The tensor has several averages, or the program has put the averages into the model.
        """
        if meant not in self._found:
            self._found[meant] = self._by_key(meant)
        found = self._found[meant].get(self._checkpoint[name].key, [])
        found = [one for one in found if one[0] == name] or found
        if len({each.source[average].key for _, each, average in found}) > 1 and len({each.called for _, each, _ in found}) > 1:
            several = list(dict.fromkeys(each.called for _, each, _ in found))
            raise EditError(f"{name} has several averages", f"choose one: {' or '.join(several)}")
        return next(((average, each.source[average]) for _, each, average in found), None)

    def _by_key(self, meant: Meant) -> dict[Any, list[tuple[str, Kept, str]]]:
        found: dict[Any, list[tuple[str, Kept, str]]] = {}
        for each in self._of_file(meant.path, meant.pattern) if meant.path is not None else self._own(meant.pattern):
            for average, name in each.of.items():
                found.setdefault(self._checkpoint[name].key, []).append((name, each, average))
        return found

    @cached_property
    def _known(self) -> list[Average]:
        return averages(self._checkpoint)

    @cached_property
    def within(self) -> set[str]:
        """The names of all averages in the checkpoint."""
        return {name for average in self._known for name in average.of}

    @cached_property
    def model(self) -> list[str]:
        """The names of the tensors that averages may be of."""
        return trained(self._checkpoint, self.within, kept_by_optimizers(self._checkpoint))

    def _own(self, pattern: str | None) -> list[Kept]:
        """The averages in the checkpoint itself."""
        if pattern is None:
            return _matched_ones(self._checkpoint, _lying_beside(self._known), self.model)
        names = select(self._checkpoint, [pattern])
        known = {name: parameter for average in self._known for name, parameter in average.of.items() if parameter is not None}
        if any(name in known for name in names):
            return [Kept(f"average({pattern})", self._checkpoint, {name: known[name] for name in names if name in known})]
        return [self._match(f"average({pattern})", self._checkpoint, names)]

    def _of_file(self, path: str, pattern: str | None) -> list[Kept]:
        """The averages in another file: those that it keeps beside weights; where it keeps none, its weights."""
        other = self._open(path)
        with about(path):
            known = averages(other)
            if pattern is not None:
                names = dict.fromkeys(select(other, [pattern]))
                of = {name: parameter for average in known for name, parameter in average.of.items() if parameter and name in names}
                return [self._match(f"average(@{path}#{pattern})", other, of or names, of or None)]
            beside = _begun([average for average in known if average.parameters and average.lies is Lies.BESIDE], f"@{path}#")
            if beside:
                return [
                    self._match(f"average(@{path}#{each.pattern})", other, [name for name in each.of if each.of[name]], each.of)
                    for each in beside
                ]
            if known and known[0].lies is Lies.UNKNOWN:
                _lying_beside(known)  # raises
            within = {name for average in known if average.parameters for name in average.of}
            return [self._match(f"average(@{path})", other, trained(other, within, kept_by_optimizers(other)))]

    def _match(self, called: str, source: Checkpoint, names: Iterable[str], of: Mapping[str, str | None] | None = None) -> Kept:
        """Match averages to the tensors of the model: by the names of their parameters where `of` has these, else by their own."""
        start = _common(names, source.separator) if of is None else ""
        rests = {name: (of[name] or name) if of else name[len(start) :] for name in names}
        beside = set() if source is not self._checkpoint else set(names)
        own = {name: self._checkpoint[name].shape for name in self.model if name not in beside}
        by_prefix = matched(source, rests, self._checkpoint, own)
        if len(by_prefix) > 1:
            listed = ", ".join(f"{start}{each}*" for each in by_prefix)
            raise EditError(f"{called}: there are several averages: {listed}", "name one of them")
        found = next(iter(by_prefix.values()), {})
        if not found:
            what = f"it has {next(iter(names), 'nothing')}, and the model {next(iter(own), 'nothing')}"
            mend = _BY_ORDER if all(rest.isdecimal() for rest in rests.values()) else "@FILE#NAME takes one by its name"
            raise NoMatch(f"{called}: names and shapes match it to no tensor: {what}", mend)
        return Kept(called, source, found)


def _common(names: Iterable[str], separator: str) -> str:
    """What several names begin with, up to a separator."""
    first, last = min(names, default=""), max(names, default="")
    length = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), 0)
    return first[: first.rfind(separator, 0, length) + 1]


def _lying_beside(known: Sequence[Average]) -> list[Average]:
    """The averages that lie beside the model.

    Raises:
        NoMatch: There is none.
        EditError: The program has put them into the model, or may have; or it has averaged nothing yet.
    """
    if not known:
        raise NoMatch("there is no average of a training in it", _LOOKED_FOR)
    beside = [average for average in known if average.lies is Lies.BESIDE]
    if not beside:
        first = known[0]
        what = {
            Lies.ALONE: "its weights are an average, and nothing in it is what was trained",
            Lies.SWAPPED: f"its weights are the average, and {first.pattern} what was trained",
        }.get(first.lies, f"the average is in its weights, or in {first.pattern}: mmcv swaps them as it saves after an epoch")
        raise EditError(what, "" if first.lies is Lies.ALONE else f"average({first.pattern}) takes these")
    return _begun(beside)


def _begun(known: Sequence[Average], file: str = "") -> list[Average]:
    """Those that were updated: before, programs keep the weights from before the training there. Raises EditError where there is none."""
    begun = [average for average in known if average.updates != 0]
    if known and not begun:
        pattern = known[0].pattern
        raise EditError(f"{pattern} is no average yet: it has had no update", f"average({file}{pattern}) takes it all the same")
    return begun


def _matched_ones(checkpoint: Checkpoint, known: Sequence[Average], model: Sequence[str]) -> list[Kept]:
    """The averages that are matched to parameters. Raises NoMatch where there are none."""
    found = [
        Kept(f"average({each.pattern})", checkpoint, {name: of for name, of in each.of.items() if of is not None})
        for each in known
        if each.parameters
    ]
    if not model:
        raise NoMatch(f"there are no weights beside {known[0].pattern}", "ckpt rename changes its names, as in: 'ema.*=*'")
    if not found:
        what = f"{known[0].pattern} could be matched to no parameter: names and shapes, or number and order, do not agree"
        raise NoMatch(what, "`ckpt ls --optimizer` lists it; @FILE#NAME takes one by its name")
    return found


def without(checkpoint: Checkpoint, text: str, names: Sequence[str]) -> Checkpoint:
    """Return the checkpoint with a note of the tensors that an assignment leaves as they are, since they have no average."""
    if not names:
        return checkpoint
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    have = "tensor has no average and stays as it is" if len(names) == 1 else "tensors have no average and stay as they are"
    return checkpoint.replacing(notes=(*checkpoint.notes, f"{text}: {len(names):,} {have}: {shown}"))
