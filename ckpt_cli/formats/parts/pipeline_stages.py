"""The stages of a pipeline as one model: each counts its layers from 0, and a shared embedding lies on the first and the last."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import Malformed
from .wholes import Whole

Stage = dict[str, Whole]
_LAYER = re.compile(r"(.*?\blayers\.)(\d{1,6})(\..*)")


def renumbered(stage: Stage, earlier: Sequence[Stage]) -> Stage:
    """A stage whose layers go on where those of the earlier stages end. One that counts on by itself stays as it is."""
    ends = _ends(earlier)
    starts: dict[str, int] = {}
    for name in stage:
        if match := _LAYER.fullmatch(name):
            starts[match[1]] = min(starts.get(match[1], int(match[2])), int(match[2]))

    def renamed(name: str) -> str:
        match = _LAYER.fullmatch(name)
        if not match or starts[match[1]]:
            return name
        return f"{match[1]}{int(match[2]) + ends.get(match[1], 0)}{match[3]}"

    return {renamed(name): whole for name, whole in stage.items()}


def _ends(stages: Sequence[Stage]) -> dict[str, int]:
    ends: dict[str, int] = {}
    for match in (match for stage in stages for name in stage if (match := _LAYER.fullmatch(name))):
        ends[match[1]] = max(ends.get(match[1], 0), int(match[2]) + 1)
    return ends


def joined_stages(stages: Sequence[Stage]) -> Stage:
    """All stages. What several hold is to be the same in all. Raises Malformed where shapes or dtypes differ."""
    found: Stage = {}
    for name, whole in ((name, whole) for stage in stages for name, whole in stage.items()):
        before = found.get(name)
        if before is None:
            found[name] = whole
        elif before.kind.facts != whole.kind.facts or [p.box for p in before.pieces] != [p.box for p in whole.pieces]:
            raise Malformed(f"{name} is of another shape or dtype in another pipeline stage", "the parts are not of one checkpoint")
        else:
            found[name] = before._replace(copies=[*before.copies, *whole.pieces, *whole.copies], agree=True)
    return found
