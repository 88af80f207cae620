"""Sizes that an edit changes: the config and all tensors that show it agreed before, and these tensors agree on another one now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..configs.reader import first_text
from ..errors import first_few
from .edited import Adjustment, Edited
from .shown_sizes import IN, OUT, axes, shown

# What the names of tensors in a part of the model have in them, for parts that are not called as the config calls them.
_WORDS = {"text": ("text", "language", "llm"), "vision": ("vision", "visual", "image"), "audio": ("audio", "speech", "sound")}
_NAMED = {"labels": ("classifier", OUT), "channels": ("first_conv", IN)}  # entries of `pretrained_cfg`, and the side of their layers
_SHOWN = 3  # tensors in a line


class _Seen(NamedTuple):
    """How a tensor shows a size: the axis, how many rows more than the size it has, and how many rows each one of the size has."""

    axis: int
    slack: int
    rows: int

    def size(self, shape: tuple[int, ...]) -> int:
        """Return the size that a shape shows; 0 where it shows none."""
        count, rest = divmod(shape[self.axis] - self.slack, self.rows) if self.axis < len(shape) else (0, 0)
        return count if not rest else 0


def sizes(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the entries of sizes that are one number; or, in words, that the tensors disagree."""
    for part, size, entry, said in edited.sizes():
        if size in ("layers", "decoder_layers", "single_layers", "labels"):
            continue
        new = changed_size(edited, part, size, entry, said)
        if isinstance(new, str):
            yield new
        elif new != said:
            if size == "hidden":
                edited.explained.update(edited.after.parts.kinds)  # nearly all shapes follow from it
            yield from edited.adjusted(size, entry, said, new)


def changed_size(edited: Edited, part: str, size: str, entry: str, said: int) -> int | str:
    """Return a size as the tensors have it after the edit; the one that the config tells where they do not show it.

    Where they show several, it is a text that says so.
    """
    before = _seen(edited, part, size, entry, said)
    if not before:
        return said
    now = _seen_after(edited, part, size, entry, before)
    edited.explained.update(now)
    found = set(now.values())
    if len(found) > 1 or 0 in found:
        changed = [f"{name} has {count:,}" for name, count in now.items() if count != said]
        same = [f"{name} {count:,}" for name, count in now.items() if count == said]
        return f"{entry} stays {said:,}: {first_few(changed, _SHOWN)}{f', but {first_few(same, _SHOWN)}' if same else ''}"
    return found.pop() if found else said


def _seen(edited: Edited, part: str, size: str, entry: str, said: int) -> dict[str, _Seen]:
    """The tensors that show the size that the config tells."""
    seen: dict[str, _Seen] = {}
    for name, place, shape in shown(size, edited.before.parts, named_layers(edited, size)):
        rows = _head_size(edited, part, size) if place.per_head else 1
        for axis in axes(name, place.side, shape):
            if rows and 0 <= (slack := shape[axis] - said * rows) <= place.slack:
                seen.setdefault(name, _Seen(axis, slack, rows))
    return {name: seen[name] for name in of_part(edited, part, seen, entry)}


def _seen_after(edited: Edited, part: str, size: str, entry: str, before: Mapping[str, _Seen]) -> dict[str, int]:
    """The size that the tensors show after the edit which showed it before, and new ones of such names."""
    sizes: dict[str, int] = {}
    usual = min(before.values(), key=lambda each: each.slack)
    known = edited.before.parts.kinds
    for name, place, shape in shown(size, edited.after.parts, named_layers(edited, size)):
        was = before.get(edited.source(name)) or before.get(name)
        found = axes(name, place.side, shape)
        if was is None and edited.source(name) not in known and name not in known and found:
            was = usual._replace(axis=found[0])
        if was:
            sizes[name] = was.size(shape)
    return {name: sizes[name] for name in of_part(edited, part, sizes, entry)}


def _head_size(edited: Edited, part: str, size: str) -> int:
    """The width of a head; of what follows from the number of heads, that number is not told anew."""
    said = {name: each.value for name, each in edited.before.said[part].items() if isinstance(each.value, int)}
    width = said.get("head_size", 0)
    if not width and size == "kv_heads" and "hidden" in said and "heads" in said:
        width = said["hidden"] // said["heads"]
    return width


def named_layers(edited: Edited, size: str) -> dict[str, str]:
    """The layers that timm's config names as showing a size, and the side of their weights."""
    key, side = _NAMED.get(size, ("", ""))
    entries = edited.config.entries.get("pretrained_cfg")
    named = entries.get(key) if isinstance(entries, dict) else None
    return {path: side for path in (named if isinstance(named, list) else [first_text(named)]) if isinstance(path, str) and path}


def of_part(edited: Edited, part: str, names: Iterable[str], entry: str = "") -> list[str]:
    """Return the names that are of a part of the model, where their names tell; else those that are of no other part.

    Entries such as `decoder_ffn_dim` are about the encoder or the decoder alone.
    """
    word = part.rpartition(".")[2]
    own = [name for name in names if word and any(each in name for each in _WORDS.get(word, (word,)))]
    others = [each for other in edited.before.said if other and other != part for each in _WORDS.get(other, (other,))]
    rest = [name for name in names if not any(each in name for each in others)]
    found = own or rest or ([] if part else list(names))
    side = next((side for side in ("encoder", "decoder") if entry.rpartition(".")[2].startswith(f"{side}_")), "")
    return ([name for name in found if side in re.split("[./]", name)] or found) if side else found
