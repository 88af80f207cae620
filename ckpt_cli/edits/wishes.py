"""What is to be drawn for each tensor of a checkpoint: by a preset, by what the library of the model does, then by rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ..configs import config_of
from ..errors import EditError, LibraryError, UsageError
from ..formats.parts.copies import equal
from ..providers import Initialisation
from ..schemes.distribution import Distribution
from ..schemes.presets.own import OWN
from ..schemes.roles import Role, role_of
from ..schemes.rules import Call, PresetCall, Rule, parse_call, parse_preset
from ..schemes.target import Target, layout_of
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, matches, select
from ..tensors.tensor import Tensor


def no_library() -> Mapping[str, Initialisation]:
    """Refuse to say how the library of the model initialises it.

    Raises:
        LibraryError: always.
    """
    raise LibraryError("the library of this model is not known here", "run `ckpt reinit --preset own` on the folder of the model")


AUTO = "auto"  # the preset that the config tells; where there is none, the family of the model


class Facts(NamedTuple):
    """What presets may ask of the model.

    Attributes:
        initialisations: How its library initialises each tensor of the file, by name; asked by the preset `own`.
        ties: Groups of names that are one parameter in models of its kind, whether the file ties them or has copies.
        preset: The preset that fits its family; empty where none is known to.
    """

    initialisations: Callable[[], Mapping[str, Initialisation]] = no_library
    ties: Callable[[], Iterable[frozenset[str]]] = tuple
    preset: Callable[[], str] = str


NO_FACTS = Facts()


class ChosenPreset(NamedTuple):
    """A preset, with its arguments in brackets, and the patterns of the tensors that it fills; all of them without a pattern.

    An empty text is no preset.
    """

    text: str
    select: tuple[str, ...] = ()

    def parsed(self) -> PresetCall | None:
        """Return the preset with its arguments; None where there is none.

        Raises:
            UnknownName: no preset has that name.
            UsageError: the text is none, or there are patterns without a preset.
        """
        if self.select and not self.text:
            raise UsageError("--select limits a preset", "give one with --preset; a rule has a pattern of its own")
        return parse_preset(self.text) if self.text else None


class Wish(NamedTuple):
    """What a rule or a preset asks for one tensor.

    Attributes:
        draw: The draw for a target; None leaves the tensor as it is.
        scheme: See `Planned`.
        reason: See `Planned`.
        told: The plan has a line for this tensor even where nothing is drawn.
        copies: The names of tensors that hold the same values in storages of their own, and get the same.
        granted: Whether it is drawn; a preset that is limited asks for the rest of the model without being granted it.
    """

    draw: Callable[[Target], Distribution | None]
    scheme: str
    reason: str
    told: bool = False
    copies: tuple[str, ...] = ()
    granted: bool = True


def wished(checkpoint: Checkpoint, rules: Sequence[Rule], preset: ChosenPreset, layers: Layers, facts: Facts) -> dict[str, Wish]:
    """Return the wish for each tensor, in file order; tied tensors have one, under their first name.

    The arguments are those of `reinit`.
    """
    call, first = preset.parsed(), checkpoint.tied_to()
    wishes = _by_whole_preset(checkpoint, call, preset.select, layers, facts) if call else {}
    ruled: set[str] = set()
    for call_of_rule, alike in groupby(rules, attrgetter("call")):  # a preset looks at all tensors each time it is asked
        patterns = {name: rule.pattern for rule in alike for name in matches(checkpoint, rule.pattern, layers)}
        names = {name: first.get(name, name) for name in patterns}
        ruled.update(names.values())
        if isinstance(call_of_rule, PresetCall):
            wishes |= _by_preset(checkpoint, names.values(), call_of_rule, layers, facts)
        elif isinstance(call_of_rule, Call):
            wishes |= {names[name]: _by_rule(checkpoint[name], name, patterns[name], call_of_rule) for name in names}
        else:
            wishes = {name: wish for name, wish in wishes.items() if name not in names.values()}
    free = {name: wish._replace(copies=tuple(copy for copy in wish.copies if copy not in ruled)) for name, wish in wishes.items()}
    return {name: free[name] for name in checkpoint if name in free}


def _by_whole_preset(checkpoint: Checkpoint, call: PresetCall, patterns: Sequence[str], layers: Layers, facts: Facts) -> dict[str, Wish]:
    """The wishes of a preset, of which those that the patterns do not pick are not granted. Copies of what the model ties follow."""
    wishes = _by_preset(checkpoint, checkpoint.distinct(), call, layers, facts)
    copies, tied = _copies(checkpoint, facts.ties()), checkpoint.tied_to()
    distinct = (tied.get(name, name) for name in (select(checkpoint, patterns, layers) if patterns else checkpoint))
    picked = {copies.get(name, name) for name in distinct}
    held: dict[str, tuple[str, ...]] = {}
    for copy, own in copies.items():
        held[own] = (*held.get(own, ()), copy)
    own_wishes = ((name, wish) for name, wish in wishes.items() if name not in copies)
    return {name: wish._replace(granted=name in picked, copies=held.get(name, ())) for name, wish in own_wishes}


def _copies(checkpoint: Checkpoint, ties: Iterable[frozenset[str]]) -> dict[str, str]:
    """Which tensors are copies of an earlier one: the model ties them, and the file has their values several times."""
    distinct = checkpoint.distinct()
    found: dict[str, str] = {}
    for group in ties:
        own, *others = [name for name in distinct if name in group] or [""]
        for other in others:
            if _same(distinct[own], distinct[other]):
                found[other] = own
    return found


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors with plain elements have the same. They are read up to the first block that differs."""
    plain = not (one.layout or other.layout) and (one.dtype, one.shape) == (other.dtype, other.shape)
    return plain and equal(one.elements(), other.elements())


def _by_rule(tensor: Tensor, name: str, pattern: str, call: Call) -> Wish:
    tensor.plain(name)
    return Wish(call.distribution, str(call), pattern)


def _by_preset(checkpoint: Checkpoint, names: Iterable[str], preset: PresetCall, layers: Layers, facts: Facts) -> dict[str, Wish]:
    """A wish for each of these tensors that has plain elements."""
    tensors = ((name, checkpoint[name]) for name in names)
    plain = {name: tensor for name, tensor in tensors if not tensor.layout and tensor.dtype.addressable}
    if preset.preset.name == OWN:
        known = facts.initialisations()
        return {name: _by_library(known[name]) for name in plain if name in known}
    if preset.preset.name == AUTO and config_of(checkpoint) is None and (fitting := facts.preset()):
        preset = parse_preset(fitting)
    types = layers()
    shapes = {checkpoint.layer_name(name): tensor.shape for name, tensor in checkpoint.tensors.items()}
    config = config_of(checkpoint)
    entries = config.entries if config else {}
    wishes = {}
    for name, one in plain.items():
        target = Target(checkpoint.layer_name(name), one.shape, one.dtype.name, shapes=shapes, config=entries)
        wishes[name] = _by_role(preset, target, types.get(checkpoint.layer_and_leaf(name)[0]))
    return wishes


def _by_library(known: Initialisation) -> Wish:
    """What the library of the model draws for a tensor."""
    if not known.scheme:
        return Wish(partial(_refuse, known.reason), "", known.reason)
    return Wish(parse_call(known.scheme).distribution, known.scheme, known.reason)


def _refuse(reason: str, target: Target) -> None:
    """Refuse to guess how a library initialises a tensor.

    Raises:
        EditError: always.
    """
    raise EditError(f"how the library of the model initialises it is not known: {reason}", "give it a rule")


def _by_role(preset: PresetCall, target: Target, layer_type: str | None) -> Wish:
    """What a preset draws for a tensor of this role."""
    kind, reason = role_of(target, layer_type)
    if layout_of(target) == "io" and kind == "linear":
        reason += ", in x out by its bias"
    return Wish(partial(_filled_by, preset, kind), f"preset {preset}", f"{kind}, {reason}", kind != Role.OTHER)


def _filled_by(preset: PresetCall, kind: Role, target: Target) -> Distribution | None:
    return preset.distribution(target._replace(layout=layout_of(target)), kind)
