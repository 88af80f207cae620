"""Which parameters may have to follow where the shape of another one changes: by names, shapes and the order of the file.

the same layer        the bias of a weight, the statistics of a norm
the vocabulary        the output head beside an embedding of the same number of rows, and its bias
the next layer        the weight whose inputs are these outputs, with the norms between them
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..formats import formats
from ..schemes.roles import Role, role_of
from ..schemes.target import Target, layout_of
from ..tensors.checkpoint import Checkpoint

Shape = tuple[int, ...]

# More names than those of `named_parts.is_head`, and biases: a neighbour is only told, so a wrong guess changes nothing.
_HEAD = re.compile(
    r"(.*[./])?(lm_head|embed_out|output|output_layer|decoder|proj_out|lm_loss|vocab_projector|generator_lm_head|logits|predictions"
    r"|mlm_dense|cls|generator|head)[./](weight|kernel|bias)(:0)?|(.*[./])?(final_logits_bias|predictions[./]bias)"
)
_WEIGHTS = (Role.LINEAR, Role.CONV, Role.EMBEDDING, Role.RECURRENT_INPUT, Role.EXPERTS)
_VECTORS = (Role.BIAS, Role.RECURRENT_BIAS, Role.NORM_SCALE, Role.NORM_SHIFT, Role.RUNNING_MEAN, Role.RUNNING_VAR, Role.SLOPE)
_MOST_BETWEEN = 4  # layers of vectors, such as norms, between a weight and the next one


class Neighbour(NamedTuple):
    """A parameter that may have to follow: its name, and the new shape as `resize` takes it."""

    name: str
    shape: str


class _Axes(NamedTuple):
    """The axes of outputs and of inputs; None where there is none."""

    outputs: int
    inputs: int | None


def neighbours(before: Checkpoint, changed: Mapping[str, Shape], left_out: Mapping[str, object]) -> dict[str, list[Neighbour]]:
    """Return what may have to follow each parameter whose shape changes.

    Args:
        before: The checkpoint before the change.
        changed: The new shape of each such parameter, by all its names.
        left_out: The names that are no parameters: states of an optimizer, averages.
    """
    seen = _Seen(before, changed, left_out)
    found: dict[str, list[Neighbour]] = {}
    told: set[str] = set()
    for name in changed:
        for neighbour in seen.of(name):
            if neighbour.name not in told:
                told.add(neighbour.name)
                found.setdefault(name, []).append(neighbour)
    return found


class _Seen:
    """The parameters of a checkpoint by their layers, and the roles of those that were asked about."""

    def __init__(self, before: Checkpoint, changed: Mapping[str, Shape], left_out: Mapping[str, object]) -> None:
        tied = before.tied_to()
        self.changed = changed
        self.kinds = {name: kind for name, kind in before.kinds().items() if name not in left_out and name not in tied}
        self.shapes = {before.layer_name(name): kind.shape for name, kind in self.kinds.items()}
        self.layout = formats[before.origin.format].axes if before.origin else "oi"
        self.before = before
        self.roles: dict[str, Role] = {}
        self.layers: dict[str, list[str]] = {}
        for name in (name for name, kind in self.kinds.items() if kind.shape):  # counters may stand elsewhere, as in safetensors
            self.layers.setdefault(before.layer_and_leaf(name)[0], []).append(name)
        self.order = list(self.layers)
        self.places = {path: place for place, path in enumerate(self.order)}

    def _target(self, name: str) -> Target:
        kind = self.kinds[name]
        return Target(self.before.layer_name(name), kind.shape, kind.dtype.name, self.layout, shapes=self.shapes)

    def _role(self, name: str) -> Role:
        if name not in self.roles:
            self.roles[name] = role_of(self._target(name), self.before.layers.get(self.before.layer_and_leaf(name)[0])).role
        return self.roles[name]

    def _axes(self, name: str) -> _Axes:
        """Which axes are outputs and inputs: rows of an embedding are neither, its columns are outputs."""
        rank = len(self.kinds[name].shape)
        if rank < 2:
            return _Axes(0, None)
        if self._role(name) == Role.EMBEDDING:
            return _Axes(1, None)
        return _Axes(rank - 1, rank - 2) if layout_of(self._target(name)) == "io" else _Axes(0, 1)

    def of(self, name: str) -> Iterator[Neighbour]:
        """The neighbours of a parameter whose shape changes."""
        if name not in self.kinds or not self.kinds[name].shape:
            return
        old, new, axes = self.kinds[name].shape, self.changed[name], self._axes(name)
        yield from self._of_vocabulary(name, old, new, axes)
        if old[axes.outputs] != new[axes.outputs]:
            yield from self._of_layer(name, old[axes.outputs], new[axes.outputs])
            if not _HEAD.fullmatch(name) and self._is_weight(name):
                yield from self._of_next(name, old[axes.outputs], new[axes.outputs])

    def _is_weight(self, name: str) -> bool:
        return len(self.kinds[name].shape) > 1 and self._role(name) in _WEIGHTS

    def _following(self, name: str, axis: int, size: int, new: int) -> Iterator[Neighbour]:
        """The neighbour `name`, if its axis still has the old size."""
        shape = self.kinds[name].shape
        if name not in self.changed and shape[axis] == size:
            yield Neighbour(name, "x".join(str(new) if at == axis % len(shape) else "*" for at in range(len(shape))))

    def _of_layer(self, name: str, size: int, new: int) -> Iterator[Neighbour]:
        for other in self.layers[self.before.layer_and_leaf(name)[0]]:
            if other != name and len(self.kinds[other].shape) == 1 and self._role(other) in _VECTORS:
                yield from self._following(other, 0, size, new)
            elif other != name and len(self.kinds[name].shape) == 1 and self._is_weight(other):
                yield from self._following(other, self._axes(other).outputs, size, new)

    def _of_vocabulary(self, name: str, old: Shape, new: Shape, axes: _Axes) -> Iterator[Neighbour]:
        """What has a row for each token: the other tables and the heads of this size."""
        is_table = len(old) == 2 and self._role(name) == Role.EMBEDDING
        rows = 0 if is_table else axes.outputs
        if old[rows] == new[rows] or not (is_table or _HEAD.fullmatch(name)):
            return
        for other, kind in self.kinds.items():
            if not kind.shape or kind.dtype.kind != "f" or old[rows] not in kind.shape:
                continue
            axis = kind.shape.index(old[rows]) if kind.shape.count(old[rows]) == 1 else self._axes(other).outputs
            if _HEAD.fullmatch(other):
                yield from self._following(other, axis, old[rows], new[rows])
            elif len(kind.shape) == 2 and self._role(other) == Role.EMBEDDING:
                yield from self._following(other, 0, old[rows], new[rows])

    def _of_next(self, name: str, size: int, new: int) -> Iterator[Neighbour]:
        place = self.places[self.before.layer_and_leaf(name)[0]]
        for path in self.order[place + 1 : place + 2 + _MOST_BETWEEN]:
            weights = [other for other in self.layers[path] if len(self.kinds[other].shape) > 1]
            for other in (other for other in self.layers[path] if not weights and self._role(other) in _VECTORS):
                yield from self._following(other, 0, size, new)
            if max((len(self.kinds[other].shape) for other in weights), default=0) > len(self.kinds[name].shape):
                return  # a convolution behind a matrix: files sorted by name have the first layer behind a classifier
            for other in weights:
                axes = self._axes(other)
                yield from self._following(other, axes.outputs if axes.inputs is None else axes.inputs, size, new)
            if weights and any(self._axes(other).inputs is not None for other in weights):
                return
