"""What is asked of `resize`, checked before any file is read: rules `PATTERN=SHAPE`, and the fill of what is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...errors import UsageError
from ...schemes.rules import Call, PresetCall, parse_right_side
from .grown_rows import GrownRows, parse_by_rows
from .new_shapes import Resizing, parse_resizing

PLACES = ("end", "start")
Fill = Call | PresetCall | GrownRows


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        resizings: The rules. All speak of the shapes that the checkpoint has.
        fill: What fills new elements; None for the preset that fits.
        at_start: Whether the start of each axis is added or taken away, not the end.
        fresh: Whether nothing is kept.
        seed: The seed of what is drawn, from 0 to 2⁶³ - 1.
    """

    resizings: Sequence[Resizing]
    fill: Fill | None = None
    at_start: bool = False
    fresh: bool = False
    seed: int = 0


def parse_request(rules: Sequence[str], fill: str = "", at: str = "end", fresh: bool = False, seed: int = 0) -> Request:
    """Parse the arguments of a resize.

    Args:
        rules: Rules `PATTERN=SHAPE`.
        fill: A scheme, `preset:NAME`, or nothing.
        at: `end` or `start`.
        fresh: Whether nothing is kept.
        seed: The seed.

    Raises:
        UsageError, UnknownName: One of them makes no sense.
    """
    if at not in PLACES:
        raise UsageError(f"{at[:40]!r} is no side of an axis", "end or start")
    resizings = [parse_resizing(text) for text in rules]
    return Request(resizings, parse_fill(fill, fresh) if fill.strip() else None, at == "start", fresh, seed)


def parse_fill(text: str, fresh: bool) -> Fill:
    """Parse a fill.

    Raises:
        UsageError, UnknownName: It is none, or it needs old values that are not there.
    """
    if by_rows := parse_by_rows(text):
        if fresh:
            raise UsageError(f"{by_rows} goes by the old rows, and --fresh keeps none", "leave out one of them")
        return by_rows
    call = parse_right_side(text)
    if not isinstance(call, Call | PresetCall):
        raise UsageError("keep fills nothing", "--fill a scheme, such as zeros: `ckpt schemes`")
    if isinstance(call, Call) and call.needs_old_values:
        raise UsageError(f"{call} starts from old values, and new elements have none", "--fill another scheme: `ckpt schemes`")
    return call
