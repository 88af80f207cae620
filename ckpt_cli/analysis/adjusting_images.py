"""The side of an image, which the number of learned positions tells: one for each patch, and a few for other tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isqrt

from .adjusting_sizes import of_part
from .edited import Adjustment, Edited

_POSITIONS = re.compile(r"(?:.*[./])?(?:position_embeddings?|pos_embed)(?:[./](?:weight|embedding))?")
_MOST_OTHERS = 3  # tokens of a class, of distillation


def image(edited: Edited) -> Iterator[Adjustment]:
    """Yield the entry of the size of square images, where the positions are of another size now."""
    for part, sizes in edited.before.said.items():
        side, patch = (sizes[name].value if name in sizes else None for name in ("image", "patch"))
        if not isinstance(side, int) or not isinstance(patch, int):
            continue
        positions = [name for name, kind in edited.after.parts.kinds.items() if len(kind.shape) > 1 and _POSITIONS.fullmatch(name)]
        for name in of_part(edited, part, positions):
            was = edited.before.parts.kinds.get(edited.source(name))
            others = was.shape[-2] - (side // patch) ** 2 if was and len(was.shape) > 1 else -1
            patches = edited.after.parts.kinds[name].shape[-2] - others
            if 0 <= others <= _MOST_OTHERS and patches > 0 and isqrt(patches) ** 2 == patches:
                edited.explained.add(name)
                if isqrt(patches) != side // patch:
                    yield from edited.adjusted("image", sizes["image"].entry, side, isqrt(patches) * patch)
                break
