"""Drawing of tensors whose rows differ: the base in blocks, in which the rows are overwritten as they come by.

The bytes are those of drawing the base whole and then each part, from one generator. The generator's state before each part is found by a
run that keeps nothing, so memory does not grow with the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from ..numbers.dtypes import named
from .distribution import Constant, Distribution, Rows

if TYPE_CHECKING:
    from torch import Generator

Draw = Callable[[Distribution, str, tuple[int, ...], "Generator | None"], Iterator[bytes]]


class Part(NamedTuple):
    """A part of the tensor's bytes, `start` to `stop`, and what is drawn there."""

    start: int
    stop: int
    distribution: Distribution
    shape: tuple[int, ...]


def drawn_rows(distribution: Rows, dtype: str, shape: tuple[int, ...], generator: Generator | None, draw: Draw) -> Iterator[bytes]:
    """Yield the elements of a tensor in blocks.

    Args:
        distribution: the base and the rows.
        dtype: the dtype's name in numpy or ml_dtypes.
        shape: the tensor's shape.
        generator: the source of random numbers.
        draw: draws one distribution: `sampling.blocks`.
    """
    parts = _parts(distribution, dtype, shape)
    sources = _sources([Part(0, 0, distribution.base, shape), *parts], dtype, generator, draw)
    base = draw(distribution.base, dtype, shape, sources[0])
    overlays = [_Overlay(part, draw(part.distribution, dtype, part.shape, source)) for part, source in zip(parts, sources[1:], strict=True)]
    at = 0
    for block in base:
        changed = bytearray(block)
        for overlay in overlays:
            overlay.lay_over(changed, at)
        at += len(block)
        yield bytes(changed)


def _parts(distribution: Rows, dtype: str, shape: tuple[int, ...]) -> list[Part]:
    row, rest = prod(shape[1:]) * named(dtype).nbytes, shape[1:]
    return [
        Part(where[0] * row, (where[-1] + 1) * row, part, (len(where), *rest))
        if isinstance(where, range)
        else Part(where * row, (where + 1) * row, part, rest)
        for where, part in distribution.rows.items()
        if where != range(0)  # ranges without a row are equal
    ]


def _sources(parts: list[Part], dtype: str, generator: Generator | None, draw: Draw) -> list[Generator | None]:
    """A generator for each part, in the state that drawing the parts before it leaves; `generator` is left as all leave it."""
    random = [at for at, part in enumerate(parts) if not isinstance(part.distribution, Constant)]
    if generator is None or not random:
        return [None] * len(parts)
    import torch

    sources: list[Generator | None] = [None] * len(parts)
    for at in random[:-1]:
        source = torch.Generator()
        source.set_state(generator.get_state())
        sources[at] = source
        for _ in draw(parts[at].distribution, dtype, parts[at].shape, generator):
            pass
    sources[random[-1]] = generator
    return sources


class _Overlay:
    """Bytes that overwrite a range of a longer run, block by block."""

    def __init__(self, part: Part, data: Iterator[bytes]) -> None:
        self.part, self.data = part, data
        self.left = b""  # bytes drawn, not laid yet

    def lay_over(self, block: bytearray, at: int) -> None:
        """Overwrite what `block`, which lies at `at`, has of the part. Blocks come in order."""
        start, stop = max(self.part.start, at), min(self.part.stop, at + len(block))
        while start < stop:
            self.left = self.left or next(self.data)
            count = min(stop - start, len(self.left))
            block[start - at : start - at + count] = self.left[:count]
            self.left = self.left[count:]
            start += count
