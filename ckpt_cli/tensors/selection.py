r"""Selections: which names a pattern picks.

0.weight               that tensor; an exact name wins over any pattern
*.bias  h.{0,1}.*      a glob: `*` crosses dots, `?` is one character, `{a,b}` alternates, `[0-9]` and `[!0-9]` are classes
h.{0-11,14}.*          numbers within braces, from the first to the last
re:^h\.\d+             a regular expression, searched
[0][1][0].bias         by position, as net[0][1][0].bias: the child named k where there is one, else the k-th
@Linear  @Linear.bias  the parameters of every layer of that type, and of the layers in it
!*.norm.*              an exclusion: any of these behind a `!` takes out what the patterns before it picked; first, it starts from all names

Names are given as a checkpoint, which says what separates their parts; as Named, where they are not exactly those of a checkpoint;
or as any mapping, whose parts are separated by dots. Where a file has names of its own for layers, positions count those layers, and a
parameter is found under the name that it has there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from ..errors import NoMatch, UsageError, did_you_mean
from .checkpoint import Checkpoint
from .globs import glob


class Layers(Protocol):
    """Finds the types of layers, when a pattern asks for them."""

    def __call__(self, kind: str = "") -> Mapping[str, str]:
        """Return the type of each layer by its path. `kind` is the type that is asked for: where it is not known, more is asked."""


def no_layers(kind: str = "") -> Mapping[str, str]:
    """Return the layer types of a checkpoint of which none are known."""
    return {}


class Named(dict[str, object]):
    """Any names, with the separator and the layers of the checkpoint `like`."""

    def __init__(self, names: Iterable[str], like: Checkpoint) -> None:
        super().__init__(dict.fromkeys(names))
        self.like = like


def _checkpoint_of(names: Mapping[str, object]) -> Checkpoint:
    """The checkpoint that says what separates the parts of these names, and which layers they belong to."""
    return names.like if isinstance(names, Named) else names if isinstance(names, Checkpoint) else Checkpoint({})


def select(names: Iterable[str], patterns: Sequence[str], layers: Layers = no_layers) -> list[str]:
    """Return the names that `patterns` pick, in the order of `names`; all of them without a pattern.

    Raises:
        NoMatch: a pattern picks nothing, or the patterns leave nothing.
        UsageError: a pattern is malformed.
    """
    known = names if isinstance(names, Mapping) else dict.fromkeys(names)
    if not patterns:
        return list(known)
    picked = set(picked_in_turn(known, patterns, layers))
    return [name for name in known if name in picked]


def picked_in_turn(names: Mapping[str, object], patterns: Sequence[str], layers: Layers = no_layers) -> list[str]:
    """Return the names that `patterns` pick, from left to right, in the order in which they are picked; each once.

    Raises:
        NoMatch: a pattern picks nothing, an exclusion takes nothing out, or the patterns leave nothing.
        UsageError: a pattern is malformed.
    """
    picked: dict[str, None] = dict.fromkeys(names) if patterns and excludes(names, patterns[0]) else {}
    for pattern in patterns:
        if not excludes(names, pattern):
            picked |= dict.fromkeys(matches(names, pattern, layers))
            continue
        if excludes(names, pattern[1:]):
            raise UsageError(f"{pattern[:60]!r} is no pattern: it has two '!'", "one takes out")
        out = set(matches(names, pattern[1:], layers))
        if out.isdisjoint(picked):
            raise NoMatch(f"{pattern!r} takes nothing out", "it stands behind the patterns that it takes out of")
        picked = {name: None for name in picked if name not in out}
    if patterns and not picked:
        raise NoMatch(f"{patterns[-1]!r} leaves nothing", "leave it out")
    return list(picked)


def excludes(names: Mapping[str, object], pattern: str) -> bool:
    """Return whether `pattern` is an exclusion, `!PATTERN`: a name that begins with `!` is none."""
    return pattern.startswith("!") and pattern not in names


_KEY = "/.ATTRIBUTES/VARIABLE_VALUE"  # what TensorFlow's own tools print after a name


def matches(names: Mapping[str, object], pattern: str, layers: Layers = no_layers) -> list[str]:
    """Return the names that `pattern` picks.

    Raises:
        NoMatch: it picks nothing; the error suggests what may have been meant.
        UsageError: it is malformed.
    """
    if pattern in names:
        return [pattern]
    if pattern.startswith("!"):
        return picked_in_turn(names, [pattern], layers)
    if picked := names_matching(names, pattern, layers):
        return picked
    if pattern.endswith(_KEY):
        return matches(names, pattern.removesuffix(_KEY), layers)
    raise no_match(names, pattern)


def no_match(names: Mapping[str, object], pattern: str) -> NoMatch:
    """Return the error for a pattern that picks no tensor. It says what may have been meant, or which object the pattern names instead."""
    named_object = _object_named(names.objects, pattern) if isinstance(names, Checkpoint) else None
    if named_object is not None:
        return NoMatch(f"{named_object} is no tensor", f"`ckpt get` prints it, `ckpt set` replaces it: '{named_object} = …'")
    return NoMatch(f"nothing matches {pattern!r}", _hint(names, pattern))


def _object_named(objects: Mapping[str, object], pattern: str) -> str | None:
    """The first object that `pattern` names, or whose container it names."""
    if pattern in objects or any(name.startswith(f"{pattern}.") for name in objects):
        return pattern
    return next(iter(names_matching(objects, pattern, no_layers)), None) if not pattern.startswith("@") else None


def _hint(names: Mapping[str, object], pattern: str) -> str:
    """What may have been meant: another file, an index, all names below a group, names that contain the text, or the nearest names."""
    if os.path.isfile(pattern):
        return f'{pattern} is a file: one checkpoint at a time, as in: for f in *{os.path.splitext(pattern)[1]}; do ckpt … "$f"; done'
    base, bracket, index = pattern.partition("[")
    if bracket and base in names:
        return f"'[{index}' is no basic index of {base or 'the array'}: write [0, 1:3] or [..., -1]"
    for prefix in (pattern, f"{pattern}{_checkpoint_of(names).separator}"):
        if any(name.startswith(prefix) and prefix.endswith((".", "/")) for name in names):
            return f"did you mean '{prefix}*'?"
    plain = re.sub(r"^re:|^@|[*?{}^$\\]", "", pattern)
    if plain and any(plain in name for name in names):
        return f"did you mean '*{plain}*'?"
    return did_you_mean(plain, names) or did_you_mean(plain, _checkpoint_of(names).objects) or "`ckpt ls` lists the names"


def names_matching(names: Mapping[str, object], pattern: str, layers: Layers) -> list[str]:
    """Return the names that a pattern of any kind picks; none is no error. Raises UsageError for a malformed pattern."""
    if pattern.startswith("re:"):
        return _searched(names, pattern[3:])
    if pattern.startswith("@"):
        return _of_layers(names, pattern[1:], layers)
    if _POSITIONS.fullmatch(pattern):
        picked = _by_position(names, pattern, layers)
        if picked:
            return picked
    accepts = _compiled(glob(pattern), pattern, re.DOTALL).fullmatch
    return [name for name in names if accepts(name)]


def _searched(names: Iterable[str], expression: str) -> list[str]:
    search = _compiled(expression, expression).search
    return [name for name in names if search(name)]


def _compiled(expression: str, pattern: str, flags: int = 0) -> re.Pattern[str]:
    """The regular expression that `pattern` stands for. Python's warnings about sets such as `[[` are not shown: they are for programs."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(expression, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"{pattern!r} is no pattern: {error}") from None


def _of_layers(names: Mapping[str, object], wanted: str, find: Layers) -> list[str]:
    """The tensors of layers of a type, `Linear`, those of the layers in them included; for `Linear.weight` those that it calls `weight`."""
    kind, _, leaf = wanted.partition(".")
    layers = find(kind)
    if not layers:
        raise NoMatch(f"the layer types of this file are not known, so @{kind} means nothing", "name the architecture with --arch")
    if kind not in layers.values():
        types = sorted({t for t in layers.values() if t})
        raise NoMatch(f"there is no layer of type {kind!r}", did_you_mean(kind, types) or f"there are {', '.join(types)}")
    checkpoint = _checkpoint_of(names)
    of_kind = {path for path, each in layers.items() if each == kind}
    return [name for name in names if (called := _called_in(checkpoint, name, of_kind)) and (not leaf or leaf in called)]


def _called_in(checkpoint: Checkpoint, name: str, layers: Collection[str]) -> list[str]:
    """What a tensor is called in those of the layers that it is in: `self.query.weight`; and `weight` alone."""
    path, leaf = checkpoint.layer_and_leaf(name)
    separator, own = checkpoint.separator, checkpoint.layer_name(name)
    inside = [own[len(above) + len(separator) if above else 0 :] for above in _upwards(path, separator) if above in layers]
    return [*inside, leaf, name.rpartition(separator)[2]] if inside else []


def _upwards(path: str, separator: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`, and the root, whose path is empty."""
    while path:
        yield path
        path = path.rpartition(separator)[0]
    yield ""


_POSITIONS = re.compile(r"[^\[\]*?{}]*(?:(?<!\.)\[-?\d+\][^\[\]*?{}]*)+")
_STEP = re.compile(r"\[(-?\d+)\]|([^\[\]]+)")
LONGEST = 4_000  # characters of a position or an index: Python converts no integer of over 4,300 digits


def _by_position(names: Mapping[str, object], pattern: str, layers: Layers) -> list[str]:
    """The names at a position: counted among all layers (those without parameters too) where the file names them, else among the names."""
    checkpoint = _checkpoint_of(names)
    by_layer_name = {checkpoint.layer_name(name): name for name in names if name in checkpoint.layer_of}
    if by_layer_name:
        found = _at_position([*filter(None, layers()), *by_layer_name], pattern, checkpoint.separator)
        if picked := [by_layer_name[name] for name in found if name in by_layer_name]:
            return picked
    return _at_position(names, pattern, checkpoint.separator)


def _at_position(names: Iterable[str], pattern: str, separator: str) -> list[str]:
    """The names that are, or are below, what a pattern such as `encoder[0][1].bias` leads to.

    At each step, all names in `below` agree in their first `at` characters and are to go on with `then`: a step compares new text only.
    """
    below, at, then = list(names), 0, ""
    if len(pattern) > LONGEST:
        return []
    for step in _STEP.finditer(pattern):
        if step[1] is None:
            text = separator + step[2][1:] if step[2].startswith(".") else step[2]
            then += text if at or then else text.lstrip(separator)
            continue
        then += separator if at or then else ""
        below = [name for name in below if name.startswith(then, at)]
        at += len(then)
        child = _child(below, at, int(step[1]), separator)
        if child is None:
            return []
        then = child
    end = at + len(then)
    return [name for name in below if name.startswith(then, at) and name[end : end + 1] in ("", separator)]


def _child(names: list[str], at: int, k: int, separator: str) -> str | None:
    """Of the parts that follow the first `at` characters, the one that is called `k`, else the k-th."""
    children = list(dict.fromkeys(name[at : part_end(name, at, separator)] for name in names))
    if str(k) in children:
        return str(k)
    if children == sorted(children):  # the file sorts its names as text, with 10 before 2
        children.sort(key=natural)
    return children[k] if -len(children) <= k < len(children) else None


def part_end(name: str, at: int, separator: str = ".") -> int:
    """Return the index at which the part of a name that begins at `at` ends: at a separator that no backslash escapes, or with the name."""
    end = name.find(separator, at)
    while end > 0 and name[end - 1] == "\\":
        end = name.find(separator, end + 1)
    return end if end >= 0 else len(name)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which `h.2` comes before `h.10`."""
    parts = (part.lstrip("0") if part.isdecimal() else part for part in re.split(r"([0-9]+)", name) if part)
    return [(0, len(part), part) if part.isdecimal() or not part else (1, 0, part) for part in parts]
