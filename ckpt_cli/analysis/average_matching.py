"""Which average is of which parameter: by name, whatever separates its parts; by order, where a program keeps a list.

By name: the names of all averages of a home are those of the parameters, behind two prefixes. The pair of prefixes that matches the most
is taken, so a name alone never decides; without separators `layers.1.1` and `layers.11` are one text, and left unmatched if their shapes
are one, too. By order: only where the number and all shapes agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..architectures.layers import Shape
from .average_homes import split

Matched = dict[str, str]  # average → parameter

_DEEPEST = 6  # parts that a prefix has
_SAMPLES = 24  # averages whose names suggest pairs of prefixes
_MOST_PAIRS = 64
_SEPARATORS = str.maketrans("", "", "._/-:\\ ")


def squeezed(name: str) -> str:
    """Return a name without what separates its parts."""
    return name.translate(_SEPARATORS)


def by_name(
    rests: Mapping[str, str], shapes: Mapping[str, Shape], parameters: Mapping[str, Shape], separator: str, called: str = ""
) -> dict[str, Matched]:
    """Match averages to parameters by name and shape.

    Args:
        rests: For each average, its name, or what remains of it.
        shapes: The shape of each average.
        parameters: The shape of each parameter.
        separator: What divides the parts of names.
        called: What the model is called, where the averages are called after it: it decides between two models that are alike.

    Returns:
        What is certain, for each average that begins otherwise (`0.9.` and `0.99.`, of several decays): its prefix, and its match.
    """
    by_prefix: dict[str, list[tuple[str, Matched]]] = {}
    for own, other in _pairs(rests, shapes, parameters, separator):
        if matched := _matched(own, other, rests, shapes, parameters):
            by_prefix.setdefault(own, []).append((other, matched))
    sizes = {own: max(len(matched) for _, matched in each) for own, each in by_prefix.items()}
    taken: dict[str, Matched] = {}
    seen: set[str] = set()
    for own, size in sorted(sizes.items(), key=lambda item: -item[1]):
        best = [(other, matched) for other, matched in by_prefix[own] if len(matched) == size]
        if 2 * size > max(sizes.values()) and not any(matched.keys() & seen for _, matched in best):
            taken[own] = _only(best, called)
            seen.update(*(matched for _, matched in best))
    return {own: matched for own, matched in taken.items() if matched}


def _only(best: Sequence[tuple[str, Matched]], called: str) -> Matched:
    """The match that several pairs of prefixes agree in, or that of the model that is `called` so; else nothing."""
    if called and any(matched != best[0][1] for _, matched in best):
        best = [(other, matched) for other, matched in best if squeezed(other).endswith(squeezed(called))] or best
    return best[0][1] if all(matched == best[0][1] for _, matched in best) else {}


def _pairs(
    rests: Mapping[str, str], shapes: Mapping[str, Shape], parameters: Mapping[str, Shape], separator: str
) -> Iterator[tuple[str, str]]:
    """Pairs of prefixes, of averages and of parameters, that a sample of the averages makes likely."""
    names = [name for name in rests if shapes[name]] or list(rests)
    sample = names[:: max(1, len(names) // _SAMPLES)]
    wanted: dict[str, list[tuple[str, Shape]]] = {}
    for name in sample:
        for at, end in _ends(rests[name], separator, leaf=len(sample) < _SAMPLES):
            wanted.setdefault(end, []).append((rests[name][:at], shapes[name]))
    votes: Counter[tuple[str, str]] = Counter()
    for name, shape in parameters.items():
        for at, end in _ends(name, separator, leaf=True):
            if end in wanted:
                votes.update((own, name[:at]) for own, its in wanted[end] if its == shape)
    most: dict[str, int] = {}
    for (own, _), count in votes.most_common():
        most.setdefault(own, count)
    for (own, other), count in votes.most_common(_MOST_PAIRS):
        longer = any(own.startswith(each) and own != each and most[each] >= most[own] for each in most)  # the same, with less of the names
        if 2 * count > most[own] and not longer:
            yield own, other


def _ends(name: str, separator: str, leaf: bool) -> Iterator[tuple[int, str]]:
    """The ends of a name, from the whole to its last part if `leaf` asks for that: where each begins, and its text without separators."""
    whole = squeezed(name)
    yield 0, whole
    at = length = 0
    for part in split(name, separator)[: min(_DEEPEST, name.count(separator) - (not leaf))]:
        at += len(part) + len(separator)
        length += len(squeezed(part))
        yield at, whole[length:]


def _matched(own: str, other: str, rests: Mapping[str, str], shapes: Mapping[str, Shape], parameters: Mapping[str, Shape]) -> Matched:
    """What a pair of prefixes matches: names that are one without separators, of one shape, where there is but one such pair."""
    known: dict[str, list[str]] = {}
    for name in parameters:
        if name.startswith(other):
            known.setdefault(squeezed(name[len(other) :]), []).append(name)
    of: Matched = {}
    for name, rest in rests.items():
        if rest.startswith(own):
            end = rest[len(own) :]
            if parameters.get(other + end) == shapes[name]:
                of[name] = other + end
                continue
            alike = [each for each in known.get(squeezed(end), ()) if parameters[each] == shapes[name]]
            if len(alike) == 1:
                of[name] = alike[0]
    times = Counter(of.values())
    certain = {name: parameter for name, parameter in of.items() if times[parameter] == 1}
    if len(certain) == 1 and not all(rest.startswith(own) for name, rest in rests.items() if shapes[name]):
        return {}  # of `conv.weight` and `norm.weight` the leaf alone is no path
    return certain


def in_order(names: Sequence[str], shapes: Mapping[str, Shape], lists: Sequence[Mapping[str, Shape]]) -> Matched:
    """Match a list of averages to parameters by their order.

    Args:
        names: The averages, in order.
        shapes: The shape of each.
        lists: What the list may be of: parameters with their shapes, in order.

    Returns:
        The match; nothing where none of `lists` agrees in number and all shapes, or several that are not the same do.
    """
    found: list[Matched] = []
    own = [shapes[name] for name in names]
    for parameters in lists:
        if len(parameters) == len(own) and list(parameters.values()) == own:
            matched = dict(zip(names, parameters, strict=True))
            found += [matched] if matched not in found else []
    return found[0] if len(found) == 1 else {}
