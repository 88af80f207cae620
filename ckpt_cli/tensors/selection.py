"""Selections: what a pattern picks out of a checkpoint, and references `NAME[index]` to a part of a tensor.

0.weight               that tensor; an exact name wins over any pattern
*.bias  h.{0,1}.*      a glob: `*` crosses dots, `?` is one character, `{a,b}` alternates, `[0-9]` and `[!0-9]` are classes
re:^h\\.\\d+            a regular expression, searched
[0][1][0].bias         by position, as net[0][1][0].bias: the child named k where there is one, else the k-th
@Linear  @Linear.bias  the parameters of every layer of that type

Names come as a checkpoint, which says what divides their parts, as Named where they are not its tensors alone, or as any mapping: then
dots do. Where the file tells of layers by names of their own, positions count those, and a parameter has the name that it has there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..errors import NoMatch, UsageError, did_you_mean
from .checkpoint import Checkpoint

Layers = Callable[[], Mapping[str, str]]


def no_layers() -> Mapping[str, str]:
    return {}


class Named(dict[str, object]):
    """Any names, to be read as those of the checkpoint `like`."""

    def __init__(self, names: Iterable[str], like: Checkpoint) -> None:
        super().__init__(dict.fromkeys(names))
        self.like = like


def _like(names: Mapping[str, object]) -> Checkpoint:
    """The checkpoint that says how these names are read."""
    return names.like if isinstance(names, Named) else names if isinstance(names, Checkpoint) else Checkpoint({})


def select(names: Iterable[str], patterns: Sequence[str], layers: Layers = no_layers) -> list[str]:
    """The names that any of `patterns` picks, in the order of `names`; all without a pattern. Raises NoMatch for one that picks nothing."""
    known = names if isinstance(names, Mapping) else dict.fromkeys(names)
    if not patterns:
        return list(known)
    picked: set[str] = set()
    for pattern in patterns:
        picked.update(matches(known, pattern, layers))
    return [name for name in known if name in picked]


_KEY = "/.ATTRIBUTES/VARIABLE_VALUE"  # what TensorFlow's own tools print after a name


def matches(names: Mapping[str, object], pattern: str, layers: Layers = no_layers) -> list[str]:
    """The names that `pattern` picks. Raises NoMatch, which names the nearest, where it picks nothing."""
    if pattern in names:
        return [pattern]
    found = _by_kind(names, pattern, layers)
    if found:
        return found
    if pattern.endswith(_KEY):
        return matches(names, pattern.removesuffix(_KEY), layers)
    raise no_match(names, pattern)


def no_match(names: Mapping[str, object], pattern: str) -> NoMatch:
    """That `pattern` picks no tensor, and what may have been meant; what else it names in a checkpoint is said."""
    other = _other(names.objects, pattern) if isinstance(names, Checkpoint) else None
    if other is not None:
        return NoMatch(f"{other} is no tensor", "`ckpt get` prints it; only tensors are edited")
    return NoMatch(f"nothing matches {pattern!r}", _hint(names, pattern))


def _other(objects: Mapping[str, object], pattern: str) -> str | None:
    """The first object that `pattern` names, or whose container it names."""
    if pattern in objects or any(name.startswith(f"{pattern}.") for name in objects):
        return pattern
    return next(iter(_by_kind(objects, pattern, no_layers)), None) if not pattern.startswith("@") else None


def _hint(names: Mapping[str, object], pattern: str) -> str:
    """What may have been meant: another file, an index that is none, all below a group, the nearest names, or names that hold the text."""
    if os.path.isfile(pattern):
        return f'{pattern} is a file: one checkpoint at a time, as in: for f in *{os.path.splitext(pattern)[1]}; do ckpt … "$f"; done'
    base, bracket, index = pattern.partition("[")
    if bracket and base in names:
        return f"'[{index}' is no basic index of {base or 'the array'}: write [0, 1:3] or [..., -1]"
    for prefix in (pattern, f"{pattern}{_like(names).separator}"):
        if any(name.startswith(prefix) and prefix.endswith((".", "/")) for name in names):
            return f"did you mean '{prefix}*'?"
    plain = re.sub(r"^re:|^@|[*?{}^$\\]", "", pattern)
    if plain and any(plain in name for name in names):
        return f"did you mean '*{plain}*'?"
    return did_you_mean(plain, names) or "`ckpt ls` lists the names"


def _by_kind(names: Mapping[str, object], pattern: str, layers: Layers) -> list[str]:
    if pattern.startswith("re:"):
        return _searched(names, pattern[3:])
    if pattern.startswith("@"):
        return _of_layers(names, pattern[1:], layers())
    if _POSITIONS.fullmatch(pattern):
        found = _in_place(names, pattern, layers)
        if found:
            return found
    accepts = _compiled(glob(pattern), pattern, re.DOTALL).fullmatch
    return [name for name in names if accepts(name)]


def _searched(names: Iterable[str], expression: str) -> list[str]:
    search = _compiled(expression, expression).search
    return [name for name in names if search(name)]


def _compiled(expression: str, written: str, flags: int = 0) -> re.Pattern[str]:
    """The regular expression, quietly: what Python may mean by `[[` one day is of no concern to who writes it today."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(expression, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"{written!r} is no pattern: {error}") from None


def _of_layers(names: Mapping[str, object], wanted: str, layers: Mapping[str, str]) -> list[str]:
    """`Linear` or `Linear.weight`: tensors directly in a layer of that type."""
    kind, _, leaf = wanted.partition(".")
    if not layers:
        raise NoMatch(f"the layer types of this file are not known, so @{kind} means nothing", "name the architecture with --arch")
    if kind not in layers.values():
        types = sorted({t for t in layers.values() if t})
        raise NoMatch(f"there is no layer of type {kind!r}", did_you_mean(kind, types) or f"there are {', '.join(types)}")
    homes = {name: _like(names).layer_and_leaf(name) for name in names}
    found = [name for name, (path, _) in homes.items() if layers.get(path) == kind]
    return [name for name in found if not leaf or leaf in (homes[name][1], name.rpartition(_like(names).separator)[2])]


def glob(pattern: str) -> str:
    """The regular expression that a glob stands for; it is to match whole names."""
    out, at, depth = "", 0, 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "[" and (end := _class_end(pattern, at)) > 0:
            inner = pattern[at:end]
            negated = inner[:1] in ("!", "^")
            out += "[" + ("^" if negated else "") + re.sub(r"([\[\]\\&~|^])", r"\\\1", inner[negated:]) + "]"
            at = end + 1
        elif char == "{" and "}" in pattern[at:]:
            out, depth = out + "(?:", depth + 1
        elif char == "}" and depth:
            out, depth = out + ")", depth - 1
        elif char == "," and depth:
            out += "|"
        else:
            out += {"*": ".*", "?": "."}.get(char) or re.escape(char)
    return out + ")" * depth


def _class_end(pattern: str, at: int) -> int:
    """Where the class that opens before `at` closes; a `]` right after the opening is one of its characters."""
    skip = 1 if pattern[at : at + 1] in ("!", "^") else 0
    return pattern.find("]", at + skip + 1)


_POSITIONS = re.compile(r"[^\[\]*?{}]*(?:(?<!\.)\[-?\d+\][^\[\]*?{}]*)+")
_STEP = re.compile(r"\[(-?\d+)\]|([^\[\]]+)")
_LONGEST = 4_000  # Python makes no integer of more digits than 4300


def _in_place(names: Mapping[str, object], pattern: str, layers: Layers) -> list[str]:
    """What a position means among the layers, those without parameters included, where the file tells of them; else among the names."""
    like = _like(names)
    own = {like.layer_name(name): name for name in names if name in like.layer_of}
    if own:
        found = _by_position([*filter(None, layers()), *own], pattern, like.separator)
        if any(each in own for each in found):
            return [own[each] for each in found if each in own]
    return _by_position(names, pattern, like.separator)


def _by_position(names: Iterable[str], pattern: str, separator: str) -> list[str]:
    """All of `below` agree in their first `at` characters; `then` is what is to follow, so that each step looks at what is new alone."""
    below, at, then = list(names), 0, ""
    if len(pattern) > _LONGEST:
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
    """Of what follows the first `at` characters, the child that is named `k`, else the k-th."""
    children = list(dict.fromkeys(name[at : part_end(name, at, separator)] for name in names))
    if str(k) in children:
        return str(k)
    if children == sorted(children):  # a file that sorts its names puts 10 before 2
        children.sort(key=natural)
    return children[k] if -len(children) <= k < len(children) else None


def part_end(name: str, at: int, separator: str = ".") -> int:
    """Where the part of a name that begins at `at` ends: at a separator, or with the name. One inside a key is escaped."""
    end = name.find(separator, at)
    while end > 0 and name[end - 1] == "\\":
        end = name.find(separator, end + 1)
    return end if end >= 0 else len(name)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which `h.2` comes before `h.10`."""
    parts = (part.lstrip("0") if part.isdecimal() else part for part in re.split(r"([0-9]+)", name) if part)
    return [(0, len(part), part) if part.isdecimal() or not part else (1, 0, part) for part in parts]
