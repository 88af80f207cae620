"""Notes of `resize` on parameters that may have to follow others, with the rules that do it: one note for all repeated blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from shlex import quote

from ...analysis.neighbours import Neighbour, neighbours
from ...errors import first_few
from ...numbers.shapes import show_shape
from ...tensors.checkpoint import Checkpoint
from ...tensors.selection import names_matching, no_layers

Shape = tuple[int, ...]

_SHOWN = 6  # neighbours that a note names
_NUMBER = re.compile(r"(?<![^./])\d+(?=[./])")  # the number of a block in a name


def told_neighbours(checkpoint: Checkpoint, changed: Mapping[str, Shape], left_out: Mapping[str, object]) -> Iterator[str]:
    """A note for each parameter that others may have to follow; one for those that differ by numbers of blocks alone.

    Args:
        checkpoint: The checkpoint before the change.
        changed: The new shape of each parameter that changes.
        left_out: The names that are no parameters.
    """
    alike: dict[object, list[tuple[str, list[Neighbour]]]] = {}
    for name, found in neighbours(checkpoint, changed, left_out).items():
        shapes = [(_pattern(each.name), checkpoint[each.name].shape, each.shape) for each in found]
        alike.setdefault((_pattern(name), changed[name], *shapes), []).append((name, found))
    for group in alike.values():
        name, found = group[0]
        sizes = first_few([f"{each.name} ({show_shape(checkpoint[each.name].shape)})" for each in found], _SHOWN)
        blocks = f", and so in {len(group) - 1:,} more blocks" if len(group) > 1 else ""
        rules = " ".join(_rules(checkpoint, [found[:_SHOWN] for _, found in group]))
        yield f"{name} becomes {show_shape(changed[name])}: {sizes} may have to follow{blocks}: ckpt resize … {rules}"


def _pattern(name: str) -> str:
    return _NUMBER.sub("*", name)


def _rules(checkpoint: Checkpoint, blocks: list[list[Neighbour]]) -> Iterator[str]:
    """The rules for the neighbours in all blocks: by a pattern where it picks these alone, else those of the first block."""
    for same in zip(*blocks, strict=True):
        pattern = _pattern(same[0].name)
        fits = len(same) > 1 and set(names_matching(checkpoint, pattern, no_layers)) == {each.name for each in same}
        yield quote(f"{pattern if fits else same[0].name}={same[0].shape}")
