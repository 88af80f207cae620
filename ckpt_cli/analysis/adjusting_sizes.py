"""Sizes that an edit changes: the config and all tensors that show it agreed before, and these tensors agree on another one now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..configs.reader import first_text
from ..numbers.shapes import show_shape
from .edited import Adjustment, Edited
from .named_parts import NamedParts
from .shown_sizes import IN, OUT, axes, shown

# What the names of tensors in a part of the model have in them, for parts that are not called as the config calls them.
_WORDS = {"text": ("text", "language", "llm"), "vision": ("vision", "visual", "image"), "audio": ("audio", "speech", "sound")}
_SHOWN = 3  # tensors in a line


class _Seen(NamedTuple):
    """A tensor that shows a size: the axis, how many rows more than the size it has, and its size."""

    axis: int
    slack: int
    size: int


def sizes(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the entries of sizes that are one number; or, in words, that the tensors disagree."""
    for part, size, entry, said in (*edited.sizes(), *_sizes_besides(edited)):
        if size in ("layers", "decoder_layers", "labels"):
            continue
        new = changed_size(edited, part, size, entry, said)
        if isinstance(new, str):
            yield new
        elif new != said:
            yield from edited.adjusted(size, entry, said, new)


def _sizes_besides(edited: Edited) -> Iterator[tuple[str, str, str, int]]:
    """Sizes that only the further entries of a library tell: `model_args.in_chans` of timm."""
    from ..configs.reader import reader_of

    told = {size for _, size, _, _ in edited.sizes()}
    for size, entries in reader_of(edited.config).again.items():
        for entry in entries if size not in told else ():
            path = edited.path(entry)
            if path and type(value := edited.value(path)) is int:
                yield "", size, entry, value
                break


def changed_size(edited: Edited, part: str, size: str, entry: str, said: int) -> int | str:
    """Return a size as the tensors have it after the edit; the one that the config tells where they do not show it.

    A text says in words that they show several.
    """
    before = _seen(edited, edited.before.parts, part, size, said)
    if not before:
        return said
    now = _seen_after(edited, part, size, before)
    found = {seen.size for seen in now.values()}
    if len(found) > 1:
        changed = [f"{name} has {seen.size:,}" for name, seen in now.items() if seen.size != said]
        same = [f"{name} {seen.size:,}" for name, seen in now.items() if seen.size == said]
        return f"{entry} stays {said:,}: {_few(changed)}{f', but {_few(same)}' if same else ''}"
    return found.pop() if found else said


def _few(texts: list[str]) -> str:
    return ", ".join(texts[:_SHOWN]) + (f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else "")


def _seen(edited: Edited, parts: NamedParts, part: str, size: str, said: int) -> dict[str, _Seen]:
    """The tensors in which an axis has the size that the config tells."""
    seen: dict[str, _Seen] = {}
    for name, side, slack, shape in shown(size, parts, named_layers(edited, size)):
        fitting = (_Seen(axis, shape[axis] - said, said) for axis in axes(name, side, shape) if 0 <= shape[axis] - said <= slack)
        if found := next(fitting, None):
            seen[name] = found
    return {name: seen[name] for name in of_part(edited, part, seen)}


def _seen_after(edited: Edited, part: str, size: str, before: Mapping[str, _Seen]) -> dict[str, _Seen]:
    """The tensors that showed the size before the edit, and new ones of such names, with the sizes that they have now."""
    seen: dict[str, _Seen] = {}
    slack = min(each.slack for each in before.values())
    known = edited.before.parts.kinds
    for name, side, _, shape in shown(size, edited.after.parts, named_layers(edited, size)):
        was = before.get(edited.source(name)) or before.get(name)
        if was and len(shape) > was.axis:
            seen[name] = _Seen(was.axis, was.slack, shape[was.axis] - was.slack)
        elif edited.source(name) not in known and name not in known and (found := axes(name, side, shape)):
            seen[name] = _Seen(found[0], slack, shape[found[0]] - slack)
    return {name: seen[name] for name in of_part(edited, part, seen)}


def named_layers(edited: Edited, size: str) -> dict[str, str]:
    """The layers that timm's config names as showing a size, and the side of their weights."""
    key, side = {"labels": ("classifier", OUT), "channels": ("first_conv", IN)}.get(size, ("", ""))
    entries = edited.config.entries.get("pretrained_cfg")
    named = entries.get(key) if isinstance(entries, dict) else None
    return {path: side for path in (named if isinstance(named, list) else [first_text(named)]) if isinstance(path, str) and path}


def of_part(edited: Edited, part: str, names: Mapping[str, object]) -> list[str]:
    """Return the names that are of a part of the model, where their names tell; else those that are of no other part."""
    if not part:
        return list(names)
    word = part.rpartition(".")[2]
    own = [name for name in names if any(each in name for each in _WORDS.get(word, (word,)))]
    others = [each for other in edited.before.said if other and other != part for each in _WORDS.get(other, (other,))]
    return own or [name for name in names if not any(each in name for each in others)]


def shape_of(edited: Edited, name: str) -> str:
    """Return the shape of a tensor after the edit."""
    return show_shape(edited.after.parts.kinds[name].shape)
