"""Chains of Linear layers, found by names and shapes: each layer takes as many numbers as the one before gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from .layers import Shape

# Layers that run side by side, or look things up: if their shapes make a chain, it is by accident.
NO_LINK = re.compile(r"(^|_)(q|k|v|qkv|query|key|value|lora|gate|router|emb|embed|embedding|embeddings)(_|$)", re.IGNORECASE)


class Link(NamedTuple):
    """A Linear layer of a chain: the parts of its path (none, `0`, `hidden` or `net.0`), its sizes, whether it has a bias."""

    pieces: tuple[str, ...]
    inputs: int
    outputs: int
    bias: bool

    @property
    def number(self) -> int:
        """The position in its Sequential; -1 for a layer with a name of its own."""
        return int(self.pieces[-1]) if self.pieces and is_number(self.pieces[-1]) else -1


def find_chain(shapes: Mapping[str, Shape]) -> list[Link] | None:
    """Return all tensors as one chain of Linear layers, in order; None where they make none.

    Layers of a Sequential come in the order of their numbers. Others come in the order of the file; or, since some formats sort names, in
    natural order; or in the only order that their sizes allow.
    """
    links = find_links(shapes)
    if not links or (len(links) == 1 and not links[0].bias):
        return None
    parts: dict[tuple[str, ...], list[Link]] = {}
    for link in sorted(links, key=lambda link: link.number):
        parts.setdefault(container(link), []).append(link)
    in_file_order = list(dict.fromkeys(container(link) for link in links))
    in_natural_order = sorted(in_file_order, key=lambda path: [natural(piece) for piece in path])
    orders = [in_file_order, in_natural_order, order_by_size(parts)]
    if in_file_order == sorted(in_file_order):  # the format may have sorted the names: fc10 before fc2
        orders.remove(in_file_order)
    for order in orders:
        chain = [link for path in order for link in parts[path]]
        if len(chain) == len(links) and all(before.outputs == after.inputs for before, after in pairwise(chain)):
            return chain
    return None


def order_by_size(parts: Mapping[tuple[str, ...], Sequence[Link]]) -> list[tuple[str, ...]]:
    """Return the parts in the order in which each takes what the one before gives; fewer of them where there is no single such order."""
    taking = {links[0].inputs: path for path, links in parts.items()}
    given = {links[-1].outputs for links in parts.values()}
    starts = [size for size in taking if size not in given]
    order: list[tuple[str, ...]] = []
    size = starts[0] if len(starts) == 1 and len(taking) == len(parts) else -1
    while size in taking and len(order) < len(parts):
        order.append(taking[size])
        size = parts[taking[size]][-1].outputs
    return order


def find_links(shapes: Mapping[str, Shape]) -> list[Link] | None:
    """Return a Link for each weight; None where a tensor is neither the weight nor the bias of a Linear layer."""
    layers = {name.rpartition(".")[0] for name in shapes}
    if len(layers) > 1000 or any(name.rpartition(".")[2] not in ("weight", "bias") for name in shapes):
        return None
    links = [find_link(layer, shapes) for layer in dict.fromkeys(name.rpartition(".")[0] for name in shapes)]
    linears = [link for link in links if link]
    alike = len({bool(link.pieces) and len(link.pieces) == 1 and link.number >= 0 for link in linears}) == 1
    return linears if alike and len(linears) == len(links) else None


def find_link(layer: str, shapes: Mapping[str, Shape]) -> Link | None:
    """Return the layer at that path as a Link; None where its path, weight or bias is not that of a Linear layer in a chain."""
    dot = "." if layer else ""
    weight, bias = shapes.get(f"{layer}{dot}weight", ()), shapes.get(f"{layer}{dot}bias")
    pieces = tuple(layer.split(".")) if layer else ()
    if len(weight) != 2 or min(weight) < 1 or bias not in (None, weight[:1]) or not plausible(pieces):
        return None
    return Link(pieces, weight[1], weight[0], bias is not None)


def plausible(pieces: Sequence[str]) -> bool:
    """Return whether a path is a name, a number, or a name and a number: a layer of the network itself, or of a Sequential in it."""
    numbers = [is_number(piece) for piece in pieces]
    return numbers in ([], [False], [True], [False, True]) and not any(NO_LINK.search(piece) for piece in pieces)


def container(link: Link) -> tuple[str, ...]:
    """Return the path of the Sequential that the layer is in; the layer's own path where it is in none."""
    return link.pieces[:-1] if link.number >= 0 else link.pieces


def is_number(piece: str) -> bool:
    """Return whether a part of a path is a position. Numbers of more than four digits are names: no network has so many layers in a row."""
    return re.fullmatch("[0-9]{1,4}", piece) is not None


def natural(piece: str) -> list[tuple[int, str]]:
    """Return a key that sorts `fc10` after `fc2`."""
    return [(len(run.lstrip("0")), run) if run.isdecimal() else (-1, run) for run in re.findall(r"\d+|\D+", piece)]
