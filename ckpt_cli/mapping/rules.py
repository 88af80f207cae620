"""Rules of one's own: a TOML file that says which names become which, and how their axes lie.

    rest = "keep"                       # what no rule names: keep, drop, or (where it is left out) an error

    [[rule]]
    from = "layers/{layer}/vars/0"      # {layer} is any text, carried over
    to = "{layer}.weight"               # left out: the tensor is dropped
    layout = "io->oi"                   # or permute = [1, 0]

    [[rule]]
    from = "flat/kernel"                # of an image H×W×C, laid out flat
    to = "1.weight"
    layout = "(HWC)o->o(CHW)"
    sizes = {H = 4, W = 4}

`from` a list: their sum. `to` a list: the first has the values, the others are 0. A rule with a layout is for tensors of that many axes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import EditError, UsageError, about, did_you_mean
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .axes import Axes, Sizes, moved, parse
from .sums import added, filled

RESTS = ("keep", "drop", "error")
_KEYS = ("from", "to", "layout", "permute", "sizes")


class Rule(NamedTuple):
    """Names become names: `before` and `after` are the axes, None where they stay as they are."""

    number: int
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    before: Axes | None
    after: Axes | None
    sizes: Sizes

    def inverse(self) -> Rule:
        return self._replace(sources=self.targets, targets=self.sources, before=self.after, after=self.before)


class Rules(NamedTuple):
    rules: tuple[Rule, ...]
    rest: str = ""

    def inverse(self) -> Rules:
        """The way back: what was dropped stays so, a sum becomes its first part."""
        return self._replace(rules=tuple(rule.inverse() for rule in self.rules if rule.targets))


def read(text: str) -> Rules:
    """The rules that a file says. Raises UsageError, which names the rule."""
    import tomllib

    try:
        held = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"this is no TOML: {error}", "a rule is [[rule]] and lines such as: from = '{layer}/kernel'") from None
    unknown = next((key for key in held if key not in ("rule", "rest")), None)
    tables = held.get("rule", [])
    if unknown is not None or not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"a map has no {unknown!r}" if unknown else "the map has no rules", 'each begins with the line "[[rule]]"')
    rest = held.get("rest", "")
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
        if len({frozenset(_holes(one)) for one in (*sources, *targets)}) > 1:
            raise UsageError("the names have different parts in braces", 'as in from = "{layer}/kernel" and to = "{layer}.weight"')
        before, after = _layout(table)
        return Rule(number, sources, targets, before, after, _sizes(table.get("sizes", {})))


def _names(value: object) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else [None]
    if not all(isinstance(one, str) and one for one in listed) or len(set(listed)) < len(listed):
        raise UsageError("from and to are names, or lists of names", 'from = "{layer}/kernel"')
    return tuple(str(one) for one in listed)


def _sizes(value: object) -> Sizes:
    if not isinstance(value, dict) or not all(len(key) == 1 and type(size) is int and size > 0 for key, size in value.items()):
        raise UsageError("sizes are whole numbers by letter", "sizes = {H = 4, W = 4}")
    return dict(value)


def _layout(table: Mapping[str, Any]) -> tuple[Axes | None, Axes | None]:
    """The axes before and after, by letters or by numbers."""
    if "layout" in table and "permute" in table:
        raise UsageError("layout and permute say the same", "leave one of them out")
    if "permute" in table:
        order = table["permute"]
        if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(len(order)))) or len(order) > 26:
            raise UsageError(f"permute = {order!r} is no order of axes", "each number once, from 0: permute = [1, 0]")
        letters = tuple("abcdefghijklmnopqrstuvwxyz"[: len(order)])
        return letters, tuple(letters[int(at)] for at in order)
    if "layout" not in table:
        return None, None
    text = table["layout"]
    before, arrow, after = text.partition("->") if isinstance(text, str) else ("", "", "")
    if not arrow or "*" in text:
        raise UsageError(f"layout = {text!r} says no change of axes", 'write it as "io->oi" or "HWIO->OIHW"')
    old, new = parse(before.strip()), parse(after.strip())
    if sorted("".join(old)) != sorted("".join(new)):
        raise UsageError(f"layout = {text!r} has other letters after than before", 'write it as "io->oi" or "HWIO->OIHW"')
    return old, new


def _holes(name: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", name)


def _pattern(text: str) -> re.Pattern[str]:
    """`{layer}` takes any text, as much as it can; the same hole twice is the same text."""
    said: set[str] = set()
    pieces = []
    for piece in re.split(r"(\{\w+\})", text):
        hole = re.fullmatch(r"\{([^\W\d]\w*)\}", piece)
        if hole and hole[1] not in said:
            said.add(hole[1])
            pieces.append(f"(?P<{hole[1]}>.+)")
        else:
            pieces.append(f"(?P={hole[1]})" if hole else re.escape(piece))
    return re.compile("".join(pieces), re.DOTALL)


class Ruled(NamedTuple):
    """The tensors under their new names, in order; names that no rule speaks of; names that rules drop; and what is to be said."""

    tensors: dict[str, Tensor]
    rest: list[str]
    left: list[str]
    said: list[str]


def ruled(checkpoint: Checkpoint, rules: Rules) -> Ruled:
    """Raises EditError where two rules speak of one name or make one, or where a rule finds nothing."""
    spoken: dict[str, Rule] = {}
    made: dict[str, tuple[str, Tensor]] = {}
    left: list[str] = []
    for rule in rules.rules:
        with about(f"rule {rule.number}"):
            for found in _found(checkpoint, rule):
                names = [_put(source, found) for source in rule.sources]
                twice = next((name for name in names if name in spoken), None)
                if twice is not None:
                    raise EditError(f"rule {spoken[twice].number} speaks of {twice}, too", "let one of them be more exact")
                spoken |= dict.fromkeys(names, rule)
                left += names if not rule.targets else []
                for name, tensor in _results(checkpoint, rule, names, found).items():
                    if name in made:
                        raise EditError(f"{made[name][0]} and {names[0]} would both be called {name!r}")
                    made[name] = names[0], tensor
    order = {name: at for at, name in enumerate(checkpoint)}
    tensors = {name: made[name][1] for name in sorted(made, key=lambda name: order[made[name][0]])}
    return Ruled(tensors, [name for name in checkpoint if name not in spoken], left, [])


def _found(checkpoint: Checkpoint, rule: Rule) -> list[dict[str, str]]:
    """What stands in the braces, for each tensor that the rule speaks of; tensors with another number of axes are left to other rules."""
    pattern = _pattern(rule.sources[0])
    named = [(name, found) for name in checkpoint if (found := pattern.fullmatch(name))]
    fit = [found.groupdict() for name, found in named if rule.before is None or len(rule.before) == len(checkpoint[name].shape)]
    if not fit:
        what = f"nothing matches {rule.sources[0]!r}" if not named else f"{named[0][0]} has {len(checkpoint[named[0][0]].shape)} axes"
        raise EditError(what, did_you_mean(rule.sources[0], checkpoint) if not named else "the layout says how many there are")
    return fit


def _put(text: str, found: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda hole: found[hole[1]], text)


def _results(checkpoint: Checkpoint, rule: Rule, names: list[str], found: Mapping[str, str]) -> dict[str, Tensor]:
    """What the rule makes of these tensors, by their new names."""
    targets = [_put(target, found) for target in rule.targets]
    if not targets:
        return {}
    tensor = added([(name, checkpoint[name]) for name in names])
    if rule.before is not None and rule.after is not None:
        tensor = moved(tensor, names[0], rule.before, rule.after, rule.sizes)
    return {targets[0]: tensor} | {name: filled(tensor.dtype, tensor.shape, 0) for name in targets[1:]}
