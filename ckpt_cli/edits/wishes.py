"""What is to be drawn for each tensor of a checkpoint: by a preset, by what the library of the model does, then by rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ..errors import EditError, LibraryError, UsageError
from ..providers import Initialisation
from ..schemes.distribution import Distribution
from ..schemes.presets import Preset, presets
from ..schemes.roles import Role, role_of
from ..schemes.rules import Rule, parse_call
from ..schemes.target import Target, layout_of
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, matches, select

OWN = "own"  # the preset that asks the library of the model

Own = Callable[[], Mapping[str, Initialisation]]  # how the library initialises each tensor, by name; asked when a preset is `own`


def no_library() -> Mapping[str, Initialisation]:
    """Refuse to say how the library of the model initialises it.

    Raises:
        LibraryError: always.
    """
    raise LibraryError("the library of this model is not known here", "run `ckpt reinit --preset own` on the folder of the model")


class ChosenPreset(NamedTuple):
    """A preset and the patterns of the tensors that it fills; all of them without a pattern. An empty name is no preset."""

    name: str
    select: tuple[str, ...] = ()

    def require_known(self) -> None:
        """Refuse a name that is no preset's, and patterns without a preset.

        Raises:
            UnknownName: it is the first.
            UsageError: it is the second.
        """
        if self.select and not self.name:
            raise UsageError("--select limits a preset", "give one with --preset; a rule has a pattern of its own")
        if self.name not in ("", OWN):
            presets[self.name]


class Wish(NamedTuple):
    """What a rule or a preset asks for one tensor.

    Attributes:
        draw: The draw for a target; None leaves the tensor as it is.
        scheme: See `Planned`.
        reason: See `Planned`.
        granted: Whether it is drawn; a preset that is limited asks for the rest of the model without being granted it.
    """

    draw: Callable[[Target], Distribution | None]
    scheme: str
    reason: str
    granted: bool = True


def wished(checkpoint: Checkpoint, rules: Sequence[Rule], preset: ChosenPreset, layers: Layers, own: Own) -> dict[str, Wish]:
    """Return the wish for each tensor, in file order; tied tensors have one, under their first name.

    The arguments are those of `reinit`.
    """
    preset.require_known()
    wishes = _limited(checkpoint, _by_preset(checkpoint, preset.name, layers, own), preset.select, layers) if preset.name else {}
    first = checkpoint.tied_to()
    for rule in rules:
        for name in matches(checkpoint, rule.pattern, layers):
            checkpoint[name].plain(name)
            wishes[first.get(name, name)] = Wish(rule.call.distribution, str(rule.call), rule.pattern)
    return {name: wishes[name] for name in checkpoint if name in wishes}


def _limited(checkpoint: Checkpoint, wishes: dict[str, Wish], patterns: Sequence[str], layers: Layers) -> dict[str, Wish]:
    """The wishes of a preset, of which those that the patterns do not pick are not granted."""
    if not patterns:
        return wishes
    first = checkpoint.tied_to()
    picked = {first.get(name, name) for name in select(checkpoint, patterns, layers)}
    return {name: wish._replace(granted=name in picked) for name, wish in wishes.items()}


def _by_preset(checkpoint: Checkpoint, preset: str, layers: Layers, own: Own) -> dict[str, Wish]:
    """A wish for each tensor that has plain elements and is not tied to an earlier one."""
    plain = {name: tensor for name, tensor in checkpoint.distinct().items() if not tensor.layout and tensor.dtype.addressable}
    if preset == OWN:
        known = own()
        return {name: _by_library(known[name]) for name in plain if name in known}
    types = layers()
    shapes = {checkpoint.layer_name(name): tensor.shape for name, tensor in checkpoint.tensors.items()}
    targets = {name: Target(checkpoint.layer_name(name), one.shape, one.dtype.name, shapes=shapes) for name, one in plain.items()}
    return {name: _by_role(preset, target, types.get(checkpoint.layer_and_leaf(name)[0])) for name, target in targets.items()}


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


def _by_role(preset: str, target: Target, layer_type: str | None) -> Wish:
    """What a preset draws for a tensor of this role."""
    kind, reason = role_of(target, layer_type)
    if layout_of(target) == "io" and kind == "linear":
        reason += ", in x out by its bias"
    return Wish(partial(_filled_by, presets[preset], kind), f"preset {preset}", f"{kind}, {reason}")


def _filled_by(fill: Preset, kind: Role, target: Target) -> Distribution | None:
    return fill(target._replace(layout=layout_of(target)), kind)
