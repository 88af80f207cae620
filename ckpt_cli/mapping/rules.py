"""Maps of the user's own: a TOML file that says which names become which, and how their axes lie.

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

If `from` is a list, the result is the sum of these tensors. If `to` is a list, the first has the values and the others are 0. A rule with a
layout matches tensors of that many axes only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import EditError, UsageError, about, did_you_mean
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .axes import Axes, Sizes, parse, rearranged
from .outcome import Outcome
from .sums import filled, sum_of

RESTS = ("keep", "drop", "error")
_KEYS = ("from", "to", "layout", "permute", "sizes")


class Rule(NamedTuple):
    """Names become names.

    Attributes:
        number: its index in the file, from 1, for messages.
        sources: the old names, with parts in braces.
        targets: the new names; none where the tensors are dropped.
        before: the axes of the tensors; None where they stay as they are.
        after: the axes of the result; None where they stay as they are.
        sizes: sizes of letters that the shapes do not tell.
    """

    number: int
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    before: Axes | None
    after: Axes | None
    sizes: Sizes

    def inverse(self) -> Rule:
        """Return the rule that maps back."""
        return self._replace(sources=self.targets, targets=self.sources, before=self.after, after=self.before)


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
        if len({frozenset(_placeholders(name)) for name in (*sources, *targets)}) > 1:
            raise UsageError("the names have different parts in braces", 'as in from = "{layer}/kernel" and to = "{layer}.weight"')
        before, after = _layout(table)
        return Rule(number, sources, targets, before, after, _sizes(table.get("sizes", {})))


def _names(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else [None]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise UsageError("from and to are names, or lists of names", 'from = "{layer}/kernel"')
    return tuple(str(name) for name in names)


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


def _placeholders(name: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", name)


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


def ruled(checkpoint: Checkpoint, rules: Rules) -> Outcome:
    """Return the checkpoint as the rules make it.

    Raises:
        EditError: two rules match one name or make one, or a rule matches nothing.
    """
    rule_of: dict[str, Rule] = {}
    made: dict[str, tuple[str, Tensor]] = {}  # new name → the old one, and the tensor
    dropped: list[str] = []
    for rule in rules.rules:
        with about(f"rule {rule.number}"):
            for values in _matches(checkpoint, rule):
                names = [_substituted(source, values) for source in rule.sources]
                twice = next((name for name in names if name in rule_of), None)
                if twice is not None:
                    raise EditError(f"rule {rule_of[twice].number} speaks of {twice}, too", "let one of them be more exact")
                rule_of |= dict.fromkeys(names, rule)
                dropped += names if not rule.targets else []
                for name, tensor in _results(checkpoint, rule, names, values).items():
                    if name in made:
                        raise EditError(f"{made[name][0]} and {names[0]} would both be called {name!r}")
                    made[name] = names[0], tensor
    order = {name: at for at, name in enumerate(checkpoint)}
    tensors = {name: made[name][1] for name in sorted(made, key=lambda name: order[made[name][0]])}
    return Outcome(tensors, [name for name in checkpoint if name not in rule_of], dropped, [], {})


def _matches(checkpoint: Checkpoint, rule: Rule) -> list[dict[str, str]]:
    """The values of the placeholders, for each tensor that the rule matches; those with another number of axes are left to other rules."""
    pattern = _pattern(rule.sources[0])
    by_name = [(name, match) for name in checkpoint if (match := pattern.fullmatch(name))]
    values = [match.groupdict() for name, match in by_name if rule.before is None or len(rule.before) == len(checkpoint[name].shape)]
    if not values:
        what = f"nothing matches {rule.sources[0]!r}" if not by_name else f"{by_name[0][0]} has {len(checkpoint[by_name[0][0]].shape)} axes"
        raise EditError(what, did_you_mean(rule.sources[0], checkpoint) if not by_name else "the layout says how many there are")
    return values


def _substituted(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda placeholder: values[placeholder[1]], text)


def _results(checkpoint: Checkpoint, rule: Rule, names: list[str], values: Mapping[str, str]) -> dict[str, Tensor]:
    """What the rule makes of these tensors, by their new names."""
    targets = [_substituted(target, values) for target in rule.targets]
    if not targets:
        return {}
    tensor = sum_of([(name, checkpoint[name]) for name in names])
    if rule.before is not None and rule.after is not None:
        tensor = rearranged(tensor, names[0], rule.before, rule.after, rule.sizes)
    return {targets[0]: tensor} | {name: filled(tensor.dtype, tensor.shape, 0) for name in targets[1:]}
