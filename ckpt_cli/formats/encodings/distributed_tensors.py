"""Tensors of which a rank holds a piece: DTensor and ShardedTensor, as torch pickles them. Where the piece lies in the whole.

    DTensor        _local_tensor, and a _spec of the mesh (its sizes, the rank's coordinate), one placement for each dimension of the mesh,
                   and the shape of the whole
    ShardedTensor  _local_shards, each with its offsets, and _metadata with the size of the whole

As in torch/distributed/tensor (placement_types.py, _utils.py: `_compute_local_shape_and_global_offset`) and
torch/distributed/_shard/sharded_tensor (api.py: `__getstate__`, metadata.py). Shard(dim) cuts as `torch.chunk` does, from the first
dimension of the mesh to the last; `_StridedShard` (FSDP after tensor parallel) cuts into `split_factor` runs first, and each of these into
chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, product
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import Malformed
from ...numbers.shapes import numel_of, show_shape
from .object_nodes import Call, Dict, List, Tuple

if TYPE_CHECKING:
    from ...numbers.dtypes import DType
    from ...tensors.tensor import Tensor

_MOST_BOXES = 4096
_MOST_SIZE = 2**63
Segment = tuple[int, int]  # start and length along one axis
Box = tuple[Segment, ...]


class Placed(NamedTuple):
    """Where the piece of one rank lies.

    Attributes:
        shape: The shape of the whole.
        boxes: Boxes of the piece, each with the box of the whole that it is.
    """

    shape: tuple[int, ...]
    boxes: list[tuple[Box, Box]]


class Rank(NamedTuple):
    """Which of the parts a file is, from 0 on, and how many there are."""

    number: int
    parts: int


def placed(node: Call, local: Tensor) -> Placed:
    """Where the tensor `local` lies in the whole that `node` describes. Raises Malformed."""
    state = _state_of(node)
    if type(state) is Tuple:
        shape, boxes = _sharded(state)
    else:
        shape, boxes = _distributed(state)
    held = tuple(sum(n for _, n in {box[axis] for box, _ in boxes}) for axis in range(len(shape)))
    if held != local.shape and numel_of(held) + local.numel:
        raise Malformed(f"a rank holds {show_shape(local.shape)} of a tensor of which it should hold {show_shape(held)}")
    return Placed(shape, boxes)


def rank_of(node: Call) -> Rank | None:
    """Which part holds this piece; None where the pickle does not say it in a known way."""
    try:
        state = _state_of(node)
        if type(state) is Tuple:
            facts = state.items[2].state()
            found = Rank(facts.get("local_rank"), facts.get("local_world_size"))
        else:
            sizes, coordinate = _mesh(state)
            number = 0
            for size, at in zip(sizes, coordinate, strict=True):
                number = number * size + at
            found = Rank(number, numel_of(sizes))
    except (Malformed, AttributeError, IndexError):
        return None
    return found if type(found.number) is int and type(found.parts) is int and 0 <= found.number < found.parts else None


def part_note(nodes: Sequence[Call]) -> str:
    """What is said of a file that holds the pieces of one rank; nothing where that rank is the only one."""
    rank = next((rank for node in nodes if (rank := rank_of(node))), None)
    if rank and rank.parts == 1:
        return ""
    which = f"part {rank.number + 1} of {rank.parts}" if rank else "one part of several"
    return f"{which}: distributed tensors are listed as the pieces that this rank holds; give the folder of all parts to read them whole"


def _state_of(node: Call) -> Any:
    """The dict of a DTensor's state, or the tuple of a ShardedTensor's. Raises Malformed."""
    args = node.arguments()
    state = args[3] if len(args) > 3 else None
    if type(state) is Tuple and len(state.items) == 2:  # attributes, slots
        return next((part for part in state.items if type(part) is Dict and part.get("_local_tensor") is not None), state)
    if type(state) is Dict or (type(state) is Tuple and len(state.items) >= 3):
        return state
    raise Malformed("a distributed tensor is described in an unknown way")


def _field(node: Any, name: str) -> Any:
    """An attribute of an object: of its state, or of the slots beside that."""
    for state in node.states if type(node) is Call else ():
        for part in state.items if type(state) is Tuple else [state]:
            if type(part) is Dict and (value := part.get(name)) is not None:
                return value
    return None


def sizes_of(node: Any, what: str) -> tuple[int, ...]:
    """The numbers of a tuple, list or torch.Size of sizes, which an error calls `what`. Raises Malformed."""
    if type(node) is Call and node.path == "torch.Size" and node.arguments():
        node = node.arguments()[0]
    items = [node] if type(node) is int else node.items if type(node) in (Tuple, List) else [None]
    if len(items) > 64 or any(type(n) is not int or not 0 <= n < _MOST_SIZE for n in items):
        raise Malformed(f"{what} is no tuple of sizes")
    return tuple(items)


# --- ShardedTensor


def _sharded(state: Tuple) -> tuple[tuple[int, ...], list[tuple[Box, Box]]]:
    shape = sizes_of(_field(state.items[1], "size"), "the size of a distributed tensor")
    boxes = []
    for shard in _local_shards(state) or []:
        metadata = _field(shard, "metadata")
        offsets = sizes_of(_field(metadata, "shard_offsets"), "the place of a distributed tensor")
        sizes = sizes_of(_field(metadata, "shard_sizes"), "the size of a distributed tensor")
        if len(offsets) != len(shape) or len(sizes) != len(shape) or any(a + n > m for a, n, m in zip(offsets, sizes, shape, strict=True)):
            raise Malformed("a shard lies outside of its tensor")
        boxes.append((tuple((0, n) for n in sizes), tuple(zip(offsets, sizes, strict=True))))
    return shape, boxes


def _local_shards(state: Any) -> list[Any] | None:
    """The shards that this rank holds; None where the state is no tuple of a ShardedTensor's."""
    shards = state.items[0] if type(state) is Tuple and len(state.items) >= 3 else None
    return shards.items if type(shards) is List else None


def local_shard(args: list[Any], dtype_of: Callable[[Any], DType]) -> Any:
    """The node of the tensor that a rank holds of a ShardedTensor, or an empty tensor; None where it holds several, or none is understood.

    Args:
        args: Those of the call that rebuilds it: (function, type, args, state).
        dtype_of: Gives the dtype that a node names.
    """
    shards = _local_shards(args[3] if len(args) > 3 else None)
    if shards is None or len(shards) > 1:
        return None
    return _field(shards[0], "tensor") if shards else _nothing(args[2], dtype_of)


def _nothing(inner: Any, dtype_of: Callable[[Any], DType]) -> Tensor | None:
    """An empty tensor of the dtype of the whole: what a rank without a shard holds."""
    from ...storage.storage import Memory
    from ...tensors.tensor import Tensor

    items = inner.items if type(inner) is Tuple and len(inner.items) > 2 else [None] * 3
    shape = sizes_of(items[2], "the shape of a distributed tensor")
    return Tensor.whole(dtype_of(items[1]), (0, *shape[1:]), Memory(b"")) if shape else None


# --- DTensor


def _distributed(state: Dict) -> tuple[tuple[int, ...], list[tuple[Box, Box]]]:
    spec = state.get("_spec")
    meta = _field(spec, "tensor_meta")
    parts = meta.arguments() if type(meta) is Call else []
    shape = sizes_of(parts[0] if parts else _field(meta, "shape") or _field(spec, "shape"), "the shape of a distributed tensor")
    sizes, coordinate = _mesh(state)
    axes: list[list[Segment]] = [[(0, n)] for n in shape]
    placements = _items(_field(spec, "placements"))
    if len(placements) != len(sizes):
        raise Malformed("a distributed tensor has other placements than its mesh has dimensions")
    _check_order_is_told(spec, placements, sizes)
    for number in _order(spec, len(sizes)):
        _place(placements[number], axes, sizes[number], coordinate[number])
    return shape, _boxes(axes)


def _mesh(state: Dict) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sizes of the mesh, and the coordinate of this rank in it. Raises Malformed."""
    mesh = _field(state.get("_spec"), "mesh")
    coordinate = sizes_of(_field(mesh, "_coordinate_on_dim"), "the coordinate of a distributed tensor")
    layout, ranks = _field(mesh, "_layout"), _field(mesh, "mesh") or _field(mesh, "_mesh")
    if layout is not None and (axes := _field(layout, "axes")) is not None:
        sizes = tuple(numel_of(sizes_of(_field(axis, "shape"), "the mesh of a distributed tensor")) for axis in _items(axes))
    elif layout is not None:
        shape = _field(layout, "shape")  # torch 2.9 to 2.12: a number or a tuple for each dimension
        sizes = tuple(numel_of(sizes_of(size, "the mesh of a distributed tensor")) for size in _items(shape) or [shape])
    elif type(ranks) is Call and len(ranks.arguments()) > 2:  # before torch 2.9: a tensor of ranks
        sizes = sizes_of(ranks.arguments()[2], "the mesh of a distributed tensor")
    else:
        raise Malformed("the mesh of a distributed tensor is described in an unknown way")
    if len(coordinate) != len(sizes) or any(at >= n for at, n in zip(coordinate, sizes, strict=True)):
        raise Malformed("the coordinate of a rank lies outside of its mesh")
    return sizes, coordinate


def _items(node: Any) -> list[Any]:
    return node.items if type(node) in (Tuple, List) else []


def _order(spec: Any, dimensions: int) -> list[int]:
    """The dimensions of the mesh in the order in which they cut: `shard_order` where the spec has one, else from first to last."""
    entries = [entry.arguments() for entry in _items(_field(spec, "shard_order")) if type(entry) is Call]
    first = [number for entry in entries if len(entry) == 2 for number in sizes_of(entry[1], "the order of a distributed tensor")]
    if len(set(first)) != len(first) or any(number >= dimensions for number in first):
        raise Malformed("the order in which a distributed tensor is cut is not understood")
    return first + [number for number in range(dimensions) if number not in first]


def _check_order_is_told(spec: Any, placements: Sequence[Any], sizes: tuple[int, ...]) -> None:
    """Raise Malformed where two dimensions of the mesh cut one axis, in a file of torch before 2.5: FSDP then cut in another order."""
    if type(spec) is not Call or not spec.path.startswith("torch.distributed._tensor."):
        return
    cut = [dim for one, size in zip(placements, sizes, strict=True) if size > 1 and (dim := _field(one, "dim")) is not None]
    if len(set(cut)) < len(cut):
        raise Malformed("an axis is cut twice, and torch before 2.5 does not say in which order")


def _place(placement: Any, axes: list[list[Segment]], parts: int, at: int) -> None:
    """Cut `axes` as one placement says."""
    name = placement.path.rpartition(".")[2] if type(placement) is Call else ""
    if name == "Replicate":
        return
    if name not in ("Shard", "_StridedShard"):
        raise Malformed(f"a distributed tensor is {name or 'placed in an unknown way'}: its values are in no file as such")
    dim, runs = _field(placement, "dim"), _field(placement, "split_factor") if name == "_StridedShard" else 1
    if type(dim) is not int or not 0 <= dim < len(axes) or type(runs) is not int or not 1 <= runs <= _MOST_BOXES:
        raise Malformed("a distributed tensor is cut along an axis that it does not have")
    cut = [segment for run in range(runs) for segment in _chunk(_chunk(axes[dim], runs, run), parts, at)]
    axes[dim] = cut


def _chunk(segments: Sequence[Segment], parts: int, at: int) -> list[Segment]:
    """The chunk number `at` of `parts`, as `torch.chunk` cuts what the segments make up."""
    total = sum(n for _, n in segments)
    size = -(-total // parts)
    low, high, found, place = at * size, min(at * size + size, total), [], 0
    for start, n in segments:
        first, last = max(low, place), min(high, place + n)
        if first < last:
            found.append((start + first - place, last - first))
        place += n
    return found


def _boxes(axes: list[list[Segment]]) -> list[tuple[Box, Box]]:
    """Every box of the piece and of the whole; none where the piece is empty."""
    joined = [_joined(segments) for segments in axes]
    if numel_of(tuple(map(len, joined))) > _MOST_BOXES:
        raise Malformed(f"a rank's piece of a distributed tensor lies in over {_MOST_BOXES:,} places")
    local = [list(zip(accumulate((n for _, n in segments), initial=0), (n for _, n in segments), strict=False)) for segments in joined]
    return list(zip(product(*local), product(*joined), strict=True))


def _joined(segments: list[Segment]) -> list[Segment]:
    joined: list[Segment] = []
    for start, n in segments:
        if joined and sum(joined[-1]) == start:
            joined[-1] = (joined[-1][0], joined[-1][1] + n)
        else:
            joined.append((start, n))
    return joined
