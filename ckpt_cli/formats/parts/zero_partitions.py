"""The weights that ZeRO's partitions are made of: see `format_deepspeed`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...errors import Malformed
from ...numbers.dtypes import DTYPES
from ...numbers.shapes import numel_of
from ...storage.file import File
from ...tensors.tensor import Tensor
from .pickled_part import PickledPart, items_of, pairs_of, shapes_of
from .wholes import Piece, Whole, flat, whole_box, whole_of

Run = tuple[File, Tensor, int, int]  # a flat vector, and the elements of it that are meant: the first one, how many


class Partitions(NamedTuple):
    """The flat vectors of every rank: for ZeRO 1 and 2 one a group, for ZeRO 3 one a sub-group."""

    stage3: bool
    ranks: Sequence[tuple[File, Sequence[Tensor]]]


def weights(models: Sequence[PickledPart], partitions: Partitions) -> dict[str, Whole]:
    """Buffers, frozen parameters, parameters and names that share one, in the order of `zero_to_fp32.py`.

    Args:
        models: The model's file; with ZeRO 3, that of each rank.
        partitions: The vectors.

    Raises:
        Malformed: Shapes and partitions do not agree.
    """
    first = models[0]
    found = buffers_of(first)
    found |= _frozen(models, partitions.stage3)
    shapes = first.get("param_shapes")
    groups = [shapes_of(node) for node in items_of(shapes)] or ([shapes_of(shapes)] if pairs_of(shapes) else [])
    found |= _stage3(groups, partitions.ranks) if partitions.stage3 else _stage2(groups, partitions.ranks)
    for name, of in first.named("shared_params"):
        if of in found:
            found[name] = found[of]
    return found


def buffers_of(model: PickledPart) -> dict[str, Whole]:
    """The buffers that the model's file names."""
    named = set(model.texts("buffer_names"))
    return {name: _buffer(name, model.file, tensor) for name, tensor in model.named_tensors("module").items() if name in named}


def _buffer(name: str, file: File, tensor: Tensor) -> Whole:
    """A buffer of the 16-bit module, as float32 where it is of a 16-bit float."""
    if tensor.dtype.name in ("float16", "bfloat16"):
        tensor = tensor.cast(DTYPES["float32"], name)
    return whole_of(name, tensor.shape, [Piece(file, tensor, whole_box(tensor.shape))])


def _frozen(models: Sequence[PickledPart], stage3: bool) -> dict[str, Whole]:
    """Parameters that are not trained, whole in the model's file, or with ZeRO 3 in a run a rank."""
    shapes = shapes_of(models[0].get("frozen_param_shapes"))
    held = [(model.file, model.named_tensors("frozen_param_fragments")) for model in models] if shapes else []
    found = {}
    for name, shape in shapes.items():
        lacking = next((file for file, tensors in held if name not in tensors), None)
        if lacking:
            raise Malformed(f"the frozen parameter {name} is missing", where=lacking.path)
        fragments = [(file, tensors[name]) for file, tensors in held]
        if not stage3:
            found[name] = whole_of(name, shape, [Piece(fragments[0][0], fragments[0][1], whole_box(fragments[0][1].shape))])
        else:
            found[name] = flat(name, fragments[0][1], shape, _first_elements(((f, t, 0, t.numel) for f, t in fragments), numel_of(shape)))
    return found


def _stage2(groups: Sequence[Mapping[str, tuple[int, ...]]], ranks: Sequence[tuple[File, Sequence[Tensor]]]) -> dict[str, Whole]:
    """Each group's vectors one after another, cut at the bounds of its parameters."""
    if any(len(vectors) != len(groups) for _, vectors in ranks):
        raise Malformed(
            f"param_shapes has {len(groups)} groups of parameters, and a rank {len(ranks[0][1])} partitions",
            "a part is of another checkpoint",
        )
    found = {}
    for number, shapes in enumerate(groups):
        vectors = [(file, vectors[number]) for file, vectors in ranks]
        at, held = 0, sum(vector.numel for _, vector in vectors)
        for name, shape in shapes.items():
            found[name] = flat(name, vectors[0][1], shape, _cut(vectors, at, at + numel_of(shape)))
            at += numel_of(shape)
        _check_padding(at, held, 2 * len(ranks))
    return found


def _stage3(groups: Sequence[Mapping[str, tuple[int, ...]]], ranks: Sequence[tuple[File, Sequence[Tensor]]]) -> dict[str, Whole]:
    """Every parameter in as many runs as there are ranks, at one place in the vectors of each."""
    found, at = {}, 0
    for name, shape in ((name, shape) for shapes in groups for name, shape in shapes.items()):
        numel = numel_of(shape)
        size = -(-numel // len(ranks))
        runs = (run for file, vectors in ranks for run in _cut([(file, vector) for vector in vectors], at, at + size))
        like = next((vector for _, vectors in ranks for vector in vectors), None)
        if like is None:
            raise Malformed("the partitions hold no vector")
        found[name] = flat(name, like, shape, _first_elements(runs, numel))
        at += size
    for file, vectors in ranks:
        if sum(vector.numel for vector in vectors) != at:
            raise Malformed(
                f"the parameters take {at:,} elements of each rank, and this one holds {sum(v.numel for v in vectors):,}",
                "a part is of another checkpoint",
                file.path,
            )
    return found


def _cut(vectors: Sequence[tuple[File, Tensor]], start: int, stop: int) -> Iterator[Run]:
    """The elements [start, stop) of vectors, one after another."""
    place = 0
    for file, vector in vectors:
        first, last = max(start, place), min(stop, place + vector.numel)
        if first < last:
            yield file, vector, first - place, last - first
        place += vector.numel


def _first_elements(runs: Iterator[Run], count: int) -> Iterator[Run]:
    """The first `count` elements of runs: what lies behind them is padding."""
    for file, vector, start, length in runs:
        yield file, vector, start, min(length, count)
        count -= min(length, count)


def _check_padding(used: int, held: int, align: int) -> None:
    """Raise Malformed where a group's partitions hold more than its parameters and padding: the rule of `zero_to_fp32.py`."""
    if -(-used // align) != -(-held // align):
        raise Malformed(f"the parameters of a group have {used:,} elements, and its partitions {held:,}", "a part is of another checkpoint")
