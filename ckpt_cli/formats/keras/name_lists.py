"""The lists of names by which Keras loads a legacy .h5: attributes of its groups, which Keras divides where they are long.

    layer_names      of the root or of `model_weights`: the groups of the layers, in the model's order
    weight_names     of a layer's group, of `top_level_model_weights`, of `optimizer_weights`: the datasets in it, in the layer's order

As in keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from .hdf5_objects import TEXT_KINDS, Attribute, ElementKind

LAYER_NAMES, WEIGHT_NAMES = "layer_names", "weight_names"
_MOST = 64512  # bytes of one attribute: HDF5_OBJECT_HEADER_LIMIT of Keras
_REFERENCE = 16  # bytes that a text of any length takes in an attribute
_UTF8_TEXT = [ElementKind.VARIABLE_TEXT, 1]  # H5T_CSET_UTF8
_TERMINATED, _SPACES = 0, 2  # H5T_STR_NULLTERM, H5T_STR_SPACEPAD

# Variables in the order in which a layer lists them.
_ORDER = ("depthwise_kernel", "pointwise_kernel", "kernel", "recurrent_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


def insert(weights: list[str], name: str) -> None:
    """Put a weight that was not listed into a list, to those of its own layer: where Keras has it, else behind them."""
    layer, rank = _parent(name), _rank(name)
    own = [index for index, weight in enumerate(weights) if _parent(weight) == layer]
    later = (index for index in own if _rank(weights[index]) > rank)
    weights.insert(next(later, own[-1] + 1 if own else len(weights)), name)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _rank(name: str) -> int:
    called = re.sub(r":\d+$", "", name.rpartition("/")[2])
    return _ORDER.index(called) if called in _ORDER else len(_ORDER)


def relisted(attributes: Sequence[Attribute], name: str, texts: Sequence[str]) -> list[Attribute]:
    """Return the attributes of a group with `texts` as its list called `name`, in the place and of the type that the list had.

    A group without any layer has no list of them: by that list such files are known.
    """
    is_part = re.compile(rf"{name}\d*").fullmatch
    old = [each for each in attributes if is_part(each.name)]
    before = list(attributes[: attributes.index(old[0])] if old else attributes)
    after = [each for each in attributes[len(before) :] if not is_part(each.name)]
    element_type = next((each.type for each in old if each.type[0] in TEXT_KINDS), _UTF8_TEXT)
    return [*before, *(_attributes(name, texts, element_type) if texts or name != LAYER_NAMES else ()), *after]


def _attributes(name: str, texts: Sequence[str], element_type: list[object]) -> list[Attribute]:
    """Return a list as one attribute, or as several that are numbered, each of which fits into the header of an object."""
    raw = [text.encode() for text in texts]
    if element_type[0] == ElementKind.FIXED_TEXT and raw:
        _, _, padding, characters = element_type
        size = max(map(len, raw)) + (padding == _TERMINATED)
        element_type = [ElementKind.FIXED_TEXT, size, padding, characters]
        raw = [text.ljust(size, b" " if padding == _SPACES else b"\0") for text in raw]
    width = len(raw[0]) if raw and element_type[0] == ElementKind.FIXED_TEXT else _REFERENCE
    count = 1
    while -(-len(raw) // count) * width > _MOST and count < len(raw):
        count += 1
    return [_attribute(f"{name}{number}" if count > 1 else name, part, element_type) for number, part in enumerate(_divided(raw, count))]


def _attribute(name: str, raw: Sequence[bytes], element_type: list[object]) -> Attribute:
    value = b"".join(raw) if element_type[0] == ElementKind.FIXED_TEXT else list(raw)
    return Attribute(name, element_type, (len(raw),), value)


def _divided(texts: Sequence[bytes], count: int) -> list[Sequence[bytes]]:
    """Divide texts as numpy.array_split does: the first parts are longer by one."""
    size, longer = divmod(len(texts), count)
    bounds = [number * size + min(number, longer) for number in range(count + 1)]
    return [texts[start:stop] for start, stop in pairwise(bounds)]
