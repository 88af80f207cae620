"""Which architecture a checkpoint holds: recognised by names and shapes alone, declared by the file, or named by the user."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..tensors.checkpoint import Checkpoint
from . import Architecture, Member, architectures
from .declared_layers import root_of, tree_of
from .family import NAMES, Family
from .hyperparameters import checked, parse_call, schema
from .layers import Layer, Shape
from .model import Model
from .prefixes import at_best_prefix, prefixes, unaccounted

if TYPE_CHECKING:
    from torch.nn import Module

USER_MODULE = re.compile(r"(?P<source>.+?):(?P<call>[^\W\d][\w.]*(\(.*)?)", re.DOTALL)  # FILE.py:CALLABLE, with or without arguments


def model_of(checkpoint: Checkpoint, spec: str) -> Model | None:
    """Return the model that a checkpoint holds; None where none is known.

    A file that declares the names that its layers give their tensors (a Keras model) is taken at its word.

    Args:
        checkpoint: the file.
        spec: the value of `--arch`, as in `resolve_arch`, which says what is raised.
    """
    if spec == "auto" and checkpoint.layer_of:
        return declared_model(checkpoint) if checkpoint.layers else None
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    return resolve_arch(spec, shapes, checkpoint.ties(), checkpoint.layers)


def declared_model(checkpoint: Checkpoint) -> Model:
    """Return the model that the file itself declares: layer types by path, and what a layer calls each tensor."""
    shapes = {checkpoint.layer_name(name): checkpoint[name].shape for name in checkpoint if name in checkpoint.layer_of}
    tree = tree_of(checkpoint.layers, shapes, checkpoint.separator)
    tied = {frozenset(map(checkpoint.layer_name, group)) for group in checkpoint.ties()}
    return Model("", {}, checkpoint.layers, shapes, frozenset(), tied, refuse_to_build, tree.__str__)


def resolve_arch(
    spec: str, shapes: Mapping[str, Shape], ties: Sequence[Sequence[str]] = (), types: Mapping[str, str] | None = None
) -> Model | None:
    """Return the model that `--arch` means.

    A model that the user names is returned whether or not the file holds it: `mismatch.compare` tells.

    Args:
        spec: `auto`, `none`, `NAME`, `NAME(key=value)`, `FILE.py:CALLABLE` or `package.module:CALLABLE`.
        shapes: the shape of each tensor of the file, by name.
        ties: groups of names that share one storage.
        types: path → type of the layers that the file itself declares.

    Raises:
        UnknownName: no architecture, or no hyperparameter of it, has that name.
        UsageError: the text makes no sense.
        UserCodeError: the user's code raises an exception.
    """
    if spec in ("auto", "none"):
        return recognised_or_declared(shapes, ties, types or {}) if spec == "auto" else None
    if user := USER_MODULE.fullmatch(spec):
        from .user_module import load

        return at_best_prefix(load(spec, user["source"], user["call"]), shapes)
    if spec.endswith(".py"):
        raise UsageError(f"{spec} names no callable", f"write {spec}:CALLABLE")
    name, positional, given = parse_call(spec)
    architecture = architectures[name]
    if positional:
        raise UsageError(f"{name} takes its hyperparameters by name", f"as in {name}({next(iter(schema(architecture)), '')}=…)")
    values = checked(architecture, given)
    recognised = recognise(shapes, ties, [architecture], values)
    if isinstance(architecture, Family) and not recognised:
        recognised = closest(architecture, shapes, values)
    return recognised or at_best_prefix(model_from(architecture, member_with(architecture, values)), shapes)


def recognised_or_declared(shapes: Mapping[str, Shape], ties: Sequence[Sequence[str]], types: Mapping[str, str]) -> Model | None:
    """Return the model recognised if its layers are those that the file declares, or the file declares none; else the declared one."""
    model = recognise(shapes, ties)
    root = root_of(types)
    if root is None:
        return model
    if model and model.placed == types:
        declared = {kind.lower() for kind in types.values()}
        return replace(model, assumed=tuple(each for each in model.assumed if each.partition("=")[2].lower() not in declared))
    prefix = f"{root}." if root else ""
    inside = inside_prefix(shapes, prefix)
    layers = {path[len(prefix) :]: kind for path, kind in types.items()}
    tree = tree_of(layers, inside)
    tied = {frozenset(group) for group in ties_inside(ties, prefix)}
    return Model("", {}, layers, inside, frozenset(), tied, refuse_to_build, tree.__str__, prefix)


def refuse_to_build() -> Module:
    """Refuse to build a module of layers that are known by their types alone.

    Raises:
        UsageError: always.
    """
    raise UsageError("the architecture is not known well enough to build it", "name it with --arch")


def recognise(
    shapes: Mapping[str, Shape],
    ties: Sequence[Sequence[str]] = (),
    families: Iterable[Architecture] | None = None,
    given: Mapping[str, object] | None = None,
) -> Model | None:
    """Return the model that has exactly these names, shapes and ties, at the root or under a prefix; None where there is none.

    Args:
        shapes: the shape of each tensor by name.
        ties: groups of names that share one storage.
        families: the families to try; all by default. General ones come last.
        given: the hyperparameters that the user named, which the model must have.
    """
    built_in = list(architectures.built_in() if families is None else families)
    if found := recognise_described(shapes, ties, built_in, given or {}):
        return found  # before plug-ins are looked for, which takes as long
    every = built_in if families is not None else list(architectures.values())
    if found := recognise_described(shapes, ties, every[len(built_in) :], given or {}):
        return found
    candidates = sorted((family for family in every if not isinstance(family, Family)), key=lambda family: family.general)
    for prefix in prefixes(shapes):
        inside = inside_prefix(shapes, prefix)
        if unaccounted(shapes, prefix, inside):
            continue
        tied = ties_inside(ties, prefix)
        for family in candidates:
            member = family.recognise(inside, given or {})
            agrees = member and all(member.hyperparameters.get(key) == value for key, value in (given or {}).items())
            if member and agrees and has_exactly(member.tree, inside, tied):
                return model_from(family, member, prefix)
    return None


def recognise_described(
    shapes: Mapping[str, Shape], ties: Sequence[Sequence[str]], families: Iterable[Architecture], given: Mapping[str, object]
) -> Model | None:
    """Return the model of a family with a data file, as `recognise` does. The outermost prefix comes first: names begin with their base."""
    ends = {".".join(name.rsplit(".", parts)[-parts:]) for name in shapes for parts in (1, 2)}
    candidates = [family for family in families if isinstance(family, Family) and family.may_hold(ends)]
    for prefix in sorted(prefixes(shapes), key=len) if candidates else ():
        inside = inside_prefix(shapes, prefix)
        tied = ties_inside(ties, prefix)
        found = [(family, member) for family in candidates if (member := family.recognise(inside, given)) and family.agrees(member, given)]
        fitting = [(family, member) for family, member in found if may_tie(member, tied)]
        if fitting and not unaccounted(shapes, prefix, inside):
            family, member = min(fitting, key=lambda each: len(each[1].hyperparameters.keys() - {NAMES}))  # explained by least
            return replace(model_from(family, member, prefix), ties={frozenset(group) for group in tied})
    return None


def may_tie(member: Member, ties: Sequence[Sequence[str]]) -> bool:
    """Return whether all ties of a file are such as the model may have."""
    return all(any(allowed.issuperset(group) for allowed in member.may_tie) for group in ties)


def closest(family: Family, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Model | None:
    """Return the member of a family that explains most names of a file, under the prefix where it does so."""
    models = []
    for prefix in sorted(prefixes(shapes), key=len):
        if member := family.closest(inside_prefix(shapes, prefix), given):
            models.append(replace(model_from(family, member, prefix), ties=set(member.may_tie)))
    return max(models, key=lambda model: sum(model.prefix + name in shapes for name in model.shapes), default=None)


def inside_prefix(shapes: Mapping[str, Shape], prefix: str) -> dict[str, Shape]:
    """Return the tensors whose names begin with the prefix, without it."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def ties_inside(ties: Sequence[Sequence[str]], prefix: str) -> list[list[str]]:
    """Return the ties between tensors whose names begin with the prefix, without it."""
    groups = ([name[len(prefix) :] for name in group if name.startswith(prefix)] for group in ties)
    return [group for group in groups if len(group) > 1]


def has_exactly(tree: Layer, shapes: Mapping[str, Shape], ties: Sequence[Sequence[str]]) -> bool:
    """Return whether the tree has these names, shapes and ties, all of them and no others."""
    return tree.shapes() == dict(shapes) and tree.ties() == {frozenset(group) for group in ties}


def member_with(architecture: Architecture, values: Mapping[str, object]) -> Member:
    """Return the member of the family with these hyperparameters, and the defaults of the others."""
    if isinstance(architecture, Family):
        return architecture.member(values)
    complete = {name: each.default for name, each in schema(architecture).items()} | dict(values)
    return Member(complete, architecture.layers(**complete))


def model_from(architecture: Architecture, member: Member, prefix: str = "") -> Model:
    """Return a member of a family as a model whose names have this prefix in the file."""
    tree = member.tree
    layers = {path: layer.type for path, layer in tree.walk()}
    facts = (tree.shapes(), tree.buffer_names(), tree.ties())
    build = partial(architecture.build, **member.hyperparameters) if isinstance(architecture, Family) else tree.module
    counters = {name: "int64" for name in tree.buffer_names() if name.endswith("num_batches_tracked")}
    named = (architecture.name, member.hyperparameters, layers)
    return Model(*named, *facts, build, tree.__str__, prefix, member.assumed, dtypes=counters, may_tie=member.may_tie)
