"""What other programs call the layers of a base: the same model under other paths, its matrices fused or split.

A base and an adapter of one model may come from two programs: a U-Net of diffusers and a LoRA in the names of latent-diffusion; a fused
matrix of queries, keys and values, and a LoRA of each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from .experts_words import with_stacked_experts
from .fused_words import TABLES, Table
from .places import Leaves, Places, Portion, Portions, shape_of
from .renamed_words import renamed
from .unet_words import to_diffusers, to_latent_diffusion


def every_place(own: Places) -> list[Places]:
    """Return the layers of a base in its own words first, then in those of other programs."""
    own = with_stacked_experts(own)
    found = [own]
    for words, translate in (("diffusers", to_diffusers), ("latent diffusion", to_latent_diffusion)):
        found += _renamed(own, words, translate)
    for layers in renamed(own.layers):
        found += _besides(own, layers, "another version of transformers")
    for table in TABLES:
        found += [*_split(own, table), *_fused(own, table)]
    return found


def _renamed(own: Places, words: str, translate: Callable[[Mapping[str, Leaves]], Mapping[str, str]]) -> list[Places]:
    paths = translate(own.layers)
    return _besides(own, {paths[path]: leaves for path, leaves in own.layers.items() if path in paths}, words)


def _besides(own: Places, layers: Mapping[str, Leaves], words: str) -> list[Places]:
    """The layers of a base with others besides: a layer that both programs call alike is in no table."""
    return [Places({**own.layers, **layers}, words)] if layers else []


def _pattern(path: str) -> re.Pattern[str]:
    """A path of a table as a regular expression: anything before it, a number for each `{}`."""
    escaped = re.escape(path).replace(r"\{\}", r"([0-9]+)")
    return re.compile(rf"((?:.*\.)?){escaped}")


def _split(own: Places, table: Table) -> list[Places]:
    """The parts of fused matrices as layers of their own, where the base has them fused."""
    layers: dict[str, Leaves] = {}
    for fused, parts in table.layers.items():
        pattern = _pattern(fused)
        for path, leaves in own.layers.items():
            if match := pattern.fullmatch(path):
                before, *numbers = match.groups()
                for part, portions in zip(parts, _parts(leaves, len(parts), table.swaps(fused)), strict=True):
                    layers[before + part.format(*numbers)] = portions
    return _besides(own, layers, table.split_words)


def _parts(leaves: Leaves, count: int, swapped: bool) -> list[Leaves]:
    """The leaves of each part of a fused layer: as many rows as columns each, the last one all that are left."""
    if swapped:
        return [{leaf: _swapped(portions[0]) for leaf, portions in leaves.items() if portions[0].shape}]
    if count == 1:
        return [leaves]
    weight = leaves.get("weight")
    if not weight or len(weight[0].shape) < 2 or weight[0].shape[0] < (count - 1) * weight[0].shape[1]:
        return [{} for _ in range(count)]
    rows = weight[0].shape[1]
    bounds = [*(index * rows for index in range(count)), weight[0].shape[0]]
    return [
        {leaf: (_rows(portions[0], low, high),) for leaf, portions in leaves.items() if portions[0].shape[:1] == weight[0].shape[:1]}
        for low, high in pairwise(bounds)
    ]


def _rows(portion: Portion, low: int, high: int) -> Portion:
    return Portion(portion.name, (high - low, *portion.shape[1:]), portion.first + low)


def _swapped(portion: Portion) -> Portions:
    half = portion.shape[0] // 2
    return _rows(portion, half, portion.shape[0]), _rows(portion, 0, half)


def _fused(own: Places, table: Table) -> list[Places]:
    """Fused matrices as layers, where the base has their parts."""
    layers: dict[str, Leaves] = {}
    for fused, parts in table.layers.items():
        pattern = _pattern(parts[0])
        for path in own.layers:
            if match := pattern.fullmatch(path):
                before, *numbers = match.groups()
                found = [own.layers.get(before + part.format(*numbers), {}) for part in parts]
                layers[before + fused.format(*numbers)] = dict(_joined(found, table.swaps(fused)))
    return _besides(own, layers, table.fused_words)


def _joined(parts: list[Leaves], swapped: bool) -> Iterator[tuple[str, Portions]]:
    for leaf in parts[0]:
        if all(leaf in part for part in parts):
            portions = tuple(portion for part in parts for portion in part[leaf])
            if len(portions) == 1 or len({portion.shape[1:] for portion in portions}) == 1:
                yield leaf, _swapped(portions[0]) if swapped and shape_of(portions) else portions
