"""Maps of the user's own: a TOML file that says which names become which, how their axes lie, and what is cut or joined.

    rest = "keep"                       # what no rule matches: keep, drop, or (where this line is left out) an error

    [[rule]]
    from = "layers/{layer}/vars/0"      # {layer} is any text, carried over
    to = "{layer}.weight"               # left out: the tensor is dropped
    layout = "io->oi"                   # or permute = [1, 0]

    [[rule]]
    from = "flat/kernel"                # its inputs are an image H×W×C, flattened
    to = "1.weight"
    layout = "(HWC)o->o(CHW)"
    sizes = {H = 4, W = 4}

    [[rule]]
    from = "h.{n}.c_attn.weight"        # one tensor is several
    to = ["h.{n}.q.weight", "h.{n}.k.weight", "h.{n}.v.weight"]
    concat = 1                          # along axis 1 of the one; equal parts, or lengths = [4096, 1024, 1024]
    layout = "io->oi"                   # of each part

    [[rule]]
    from = "experts.{e}.w"              # {e} is on one side only: numbers from 0 on
    to = "experts.w"
    stack = 0                           # along a new axis of the one

    [[rule]]
    from = "gru/kernel"
    to = "gru.weight"
    blocks = "zrh->rzh"                 # equal blocks in another order, along `axis` (0) of what is mapped
    axis = 1

    [[rule]]
    from = "w"
    to = "head"
    slice = "0:64"                      # a part along `axis` (0); several rules may slice one tensor

If `from` is a list without concat or stack, the result is the sum of these tensors. If `to` is a list, the first has the values and the
others are 0. A rule with a layout matches tensors of that many axes only. What is cut is cut first, what is joined is joined last; between,
blocks change places before axes do. `inverse` undoes all of it: slices of one tensor become the tensor where they are all of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError, about, did_you_mean
from .axes import Axes, Sizes, parse

RESTS = ("keep", "drop", "error")
_KEYS = ("from", "to", "layout", "permute", "sizes", "concat", "stack", "lengths", "blocks", "slice", "axis")
_MOST_AXES = 64


class Join(NamedTuple):
    """How one tensor is made of several: along an axis, which `stack` adds; `lengths` are those of the parts, empty for equal ones."""

    axis: int
    stack: bool
    lengths: tuple[int, ...] = ()


class Blocks(NamedTuple):
    """Equal blocks along an axis in another order: block `order[k]` becomes the k-th."""

    axis: int
    order: tuple[int, ...]

    def inverse(self) -> Blocks:
        """Return the blocks in the order from before."""
        return self._replace(order=tuple(sorted(range(len(self.order)), key=self.order.__getitem__)))


class Layout(NamedTuple):
    """Axes before and after, and sizes of letters that the shapes do not tell."""

    before: Axes
    after: Axes
    sizes: Sizes

    def inverse(self) -> Layout:
        """Return the axes the other way."""
        return self._replace(before=self.after, after=self.before)


class Cut(NamedTuple):
    """A part along an axis, from `start` on; `stop` is None for the end."""

    axis: int
    start: int
    stop: int | None


class Rule(NamedTuple):
    """Names become names.

    Attributes:
        number: its index in the file, from 1, for messages.
        sources: the old names, with parts in braces.
        targets: the new names; none where the tensors are dropped.
        steps: what is done to each tensor, in order.
        join: how several are one, on whichever side several are; None where they are not.
        slice: the part that is taken of the old tensor; with `pieces`, the part of the new one that is made.
        pieces: whether the new tensor is made of the results of several rules.
        run: the placeholder that only the side with several names has; empty where it has a list of names.
    """

    number: int
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    steps: tuple[Blocks | Layout, ...] = ()
    join: Join | None = None
    slice: Cut | None = None
    pieces: bool = False
    run: str = ""

    @property
    def before(self) -> Axes | None:
        """The axes of the tensors that it matches, without one that a stack has; None where any number is right."""
        return next((step.before for step in self.steps if isinstance(step, Layout)), None)

    @property
    def several_before(self) -> bool:
        """Whether it makes one tensor of several."""
        return len(self.sources) > 1 or (bool(self.run) and self.run in placeholders(self.sources[0]))

    def inverse(self) -> Rule:
        """Return the rule that maps back."""
        steps = tuple(step.inverse() for step in reversed(self.steps))
        return self._replace(sources=self.targets, targets=self.sources, steps=steps, pieces=self.slice is not None and not self.pieces)


class Rules(NamedTuple):
    """The rules of a file, and what becomes of tensors that none of them matches: keep, drop, error, or empty where it is not said."""

    rules: tuple[Rule, ...]
    rest: str = ""

    def inverse(self) -> Rules:
        """Return the rules that map back: what was dropped stays dropped, and a sum becomes its first part."""
        return self._replace(rules=tuple(rule.inverse() for rule in self.rules if rule.targets))


def parse_rules(text: str) -> Rules:
    """Parse the text of a file of rules.

    Raises:
        UsageError: it is no TOML, or a rule in it makes no sense; the message names the rule.
    """
    import tomllib

    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"this is no TOML: {error}", "a rule is [[rule]] and lines such as: from = '{layer}/kernel'") from None
    unknown = next((key for key in document if key not in ("rule", "rest")), None)
    tables = document.get("rule", [])
    if unknown is not None or not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"a map has no {unknown!r}" if unknown else "the map has no rules", 'each begins with the line "[[rule]]"')
    rest = document.get("rest", "")
    if rest not in ("", *RESTS):
        raise UsageError(f"rest = {rest!r} makes no sense", f"one of {', '.join(RESTS)}")
    return Rules(tuple(_rule(number, table) for number, table in enumerate(tables, 1)), rest)


def _rule(number: int, table: Mapping[str, Any]) -> Rule:
    with about(f"rule {number}"):
        for key in table:
            if key not in _KEYS:
                raise UsageError(f"a rule has no {key!r}", did_you_mean(key, _KEYS) or f"it has {', '.join(_KEYS)}")
        sources, targets = _names(table.get("from", ())), _names(table.get("to", ()))
        if not sources:
            raise UsageError("nothing says which names", 'from = "{layer}/kernel"')
        if len(sources) > 1 and len(targets) > 1:
            raise UsageError("a rule goes from several names to one, or from one to several", "write a rule for each")
        join, slice_ = _join(table), _slice(table)
        run = _run(sources, targets, join)
        if len({frozenset(placeholders(name)) - {run} for name in (*sources, *targets)}) > 1:
            raise UsageError("the names have different parts in braces", 'as in from = "{layer}/kernel" and to = "{layer}.weight"')
        if slice_ is not None and (join is not None or len(sources) != 1 or len(targets) != 1):
            raise UsageError("slice takes a part of one tensor for one name", "to cut all of it into parts: concat, and a list in to")
        if "axis" in table and not {"blocks", "slice"} & table.keys():
            raise UsageError("axis goes with blocks or slice", "concat and stack have their axis themselves: concat = 0")
        return Rule(number, sources, targets, (*_blocks(table), *_layout(table)), join, slice_, run=run)


def _axis(table: Mapping[str, Any], key: str) -> int:
    axis = table.get(key, 0)
    if type(axis) is not int or not 0 <= axis < _MOST_AXES:
        raise UsageError(f"{key} = {axis!r} is no axis", f"a number from 0 on: {key} = 0")
    return axis


def _join(table: Mapping[str, Any]) -> Join | None:
    """How several tensors are one."""
    keys = [key for key in ("concat", "stack") if key in table]
    lengths = table.get("lengths", [])
    if len(keys) > 1 or ("lengths" in table and keys != ["concat"]):
        raise UsageError("concat and stack exclude each other, and lengths go with concat", "leave one of them out")
    if not isinstance(lengths, list) or not all(type(length) is int and length > 0 for length in lengths):
        raise UsageError(f"lengths = {lengths!r} are no lengths of parts", "lengths = [4096, 1024, 1024]")
    return Join(_axis(table, keys[0]), keys == ["stack"], tuple(lengths)) if keys else None


def _run(sources: tuple[str, ...], targets: tuple[str, ...], join: Join | None) -> str:
    """The placeholder that numbers the tensors which are one on the other side; empty where a list names them."""
    if join is None:
        return ""
    if len(sources) > 1 or len(targets) > 1:
        return ""
    only = {*placeholders(sources[0])} ^ {*placeholders(targets[0])} if targets else set()
    if len(only) != 1:
        raise UsageError("concat and stack need several names on one side", 'a list, or a part in braces: from = "experts.{e}.w"')
    return only.pop()


def _slice(table: Mapping[str, Any]) -> Cut | None:
    if "slice" not in table:
        return None
    match = re.fullmatch(r"(\d{0,18}):(\d{0,18})", table["slice"]) if isinstance(table["slice"], str) else None
    start, stop = (int(text) if text else None for text in match.groups()) if match else (0, 0)
    if match is None or (stop is not None and stop <= (start or 0)):
        raise UsageError(f"slice = {table['slice']!r} is no part", 'from and to, as in slice = "0:64", along axis = 0')
    return Cut(_axis(table, "axis"), start or 0, stop)


def _blocks(table: Mapping[str, Any]) -> tuple[Blocks, ...]:
    if "blocks" not in table:
        return ()
    text = table["blocks"]
    before, arrow, after = text.partition("->") if isinstance(text, str) else ("", "", "")
    if not arrow or len(set(before)) < len(before) or sorted(before) != sorted(after) or not before.isalnum():
        raise UsageError(f"blocks = {text!r} says no order", 'a letter for each block, before and after: "zrh->rzh"')
    return (Blocks(_axis(table, "axis"), tuple(before.index(letter) for letter in after)),)


def _names(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else [None]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise UsageError("from and to are names, or lists of names", 'from = "{layer}/kernel"')
    return tuple(str(name) for name in names)


def _sizes(value: object) -> Sizes:
    if not isinstance(value, dict) or not all(len(key) == 1 and type(size) is int and size > 0 for key, size in value.items()):
        raise UsageError("sizes are whole numbers by letter", "sizes = {H = 4, W = 4}")
    return dict(value)


def _layout(table: Mapping[str, Any]) -> tuple[Layout, ...]:
    """The axes before and after, by letters or by numbers; nothing where they stay."""
    sizes = _sizes(table.get("sizes", {}))
    if "layout" in table and "permute" in table:
        raise UsageError("layout and permute say the same", "leave one of them out")
    if "permute" in table:
        order = table["permute"]
        if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(len(order)))) or len(order) > 26:
            raise UsageError(f"permute = {order!r} is no order of axes", "each number once, from 0: permute = [1, 0]")
        letters = tuple("abcdefghijklmnopqrstuvwxyz"[: len(order)])
        return (Layout(letters, tuple(letters[int(at)] for at in order), sizes),)
    if "layout" not in table:
        return ()
    text = table["layout"]
    before, arrow, after = text.partition("->") if isinstance(text, str) else ("", "", "")
    if not arrow or "*" in text:
        raise UsageError(f"layout = {text!r} says no change of axes", 'write it as "io->oi" or "HWIO->OIHW"')
    old, new = parse(before.strip()), parse(after.strip())
    if sorted("".join(old)) != sorted("".join(new)):
        raise UsageError(f"layout = {text!r} has other letters after than before", 'write it as "io->oi" or "HWIO->OIHW"')
    return (Layout(old, new, sizes),)


def placeholders(name: str) -> list[str]:
    """Return the parts of a name that are in braces."""
    return re.findall(r"\{(\w+)\}", name)
