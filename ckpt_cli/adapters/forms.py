"""The forms of change: which parts of a layer make one, and how. A form is a function from a layer to the changes of its tensors.

Sources: peft tuners/lora/layer.py; LyCORIS modules/{locon,loha,lokr,full,ia3,norms}.py and functional/; kohya's networks/lora.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import EditError
from ..numbers.shapes import numel_of, show_shape
from .decomposed import Decomposed
from .deltas import Delta, Dense, Factor, Hadamard, Kronecker, LowRank
from .layer import Change, Layer, Need
from .operations import Add, AddToExperts, Multiply
from .replacing import Replace, ReplaceRows

Scale = Callable[[Layer, int], float]  # alpha / rank, as the naming has it, for a layer and its rank


def changes(layer: Layer, scale: Scale) -> Iterator[Change]:
    """Yield the changes that the parts of a layer make.

    Args:
        layer: the layer.
        scale: returns the factor of its delta, given its rank.

    Raises:
        EditError: parts are missing, do not fit each other, or are of a form that is not folded in.
    """
    made = 0
    for form in dict.fromkeys(form for mark, form in _FORMS.items() if mark in layer.parts):
        made += 1
        yield from form(layer, scale)
    if not made:
        alone = "its other half is missing" if set(layer.parts) & set(_HALVES) else "its kind of change is not folded in"
        raise EditError(f"{layer.key} changes no layer: {alone}", "save the adapter again, or drop what it lacks: ckpt drop")


def _low_rank(layer: Layer, scale: Scale) -> Iterator[Change]:
    """LoRA: `down` to the rank, `up` to the outputs; `mid` between them; a bias of `up`."""
    if layer.experts:
        yield _of_experts(layer)
        return
    delta = _product(layer, "up", "down", "mid")
    factor = scale(layer, _rank(layer, "down"))
    yield Change(layer, {"weight": _decomposed(layer, delta, factor)})
    if "up_bias" in layer.parts:
        bias = layer.factor("up_bias")
        yield Change(layer, {"bias": Add(Dense(bias, layer.parts["up_bias"].tensor.shape), factor)})


def _of_experts(layer: Layer) -> Change:
    """LoRA of stacked experts. How many there are follows from the rank of one."""
    delta, rows = _product(layer, "up", "down"), _rank(layer, "down")
    fitting = {name: facts for name, facts in layer.experts.items() if rows % facts[0] == 0}
    if not fitting:
        raise EditError(f"{layer.key} has {rows:,} rows, no multiple of its rank in the config", "save the adapter again")
    return Change(layer, {name: AddToExperts(delta.down, delta.up, scale, rank) for name, (rank, scale) in fitting.items()})


def _product(layer: Layer, up: str, down: str, mid: str = "") -> LowRank:
    """The product of two parts. Raises EditError where ranks differ, or one is missing."""
    _need(layer, up, down)
    upper, lower, core = layer.factor(up, 2), layer.factor(down, 2), layer.factor(mid, 3) if mid in layer.parts else None
    above, below = layer.parts[up].tensor.shape, layer.parts[down].tensor.shape
    middle = layer.parts[mid].tensor.shape if core else ()
    inner = (middle[0], middle[1]) if core else (below[0], below[0])
    if upper.tensor.shape[1] != inner[0] or below[0] != inner[1]:
        shapes = f"{layer.parts[up].key} is {show_shape(above)}, {layer.parts[down].key} {show_shape(below)}"
        raise EditError(f"{shapes}: their ranks differ", "save the adapter again")
    kernel = middle[2:] or below[2:]
    return LowRank(upper, lower, (above[0], below[1], *kernel), core)


def _inputs_first(layer: Layer, scale: Scale) -> Iterator[Change]:
    """LoRA of MLX: the transpose of inputs × rank @ rank × outputs."""
    delta = _product(layer, "inputs_rank", "rank_outputs").transposed()
    factor = scale(layer, _rank(layer, "rank_outputs"))
    if delta is None:
        raise EditError(f"{layer.key} is no matrix", "LoRA of stacked experts is not folded in")
    yield Change(layer, {"weight": _decomposed(layer, delta, factor)})


def _of_tokens(layer: Layer, scale: Scale) -> Iterator[Change]:
    """LoRA of an embedding in llama.cpp: tokens × rank, and features × rank."""
    _need(layer, "tokens_rank", "features_rank")
    upper, lower = layer.factor("tokens_rank", 2), layer.factor("features_rank", 2).transposed()
    rank = upper.tensor.shape[1]
    if lower.tensor.shape[0] != rank:
        raise EditError(f"{upper.key} and {lower.key} have other ranks", "convert the adapter again")
    delta = LowRank(upper, lower, (upper.tensor.shape[0], lower.tensor.shape[1]))
    yield Change(layer, {"weight": Add(delta, scale(layer, rank))})


def _embedding(layer: Layer, scale: Scale) -> Iterator[Change]:
    """LoRA of an embedding, whose matrix is the transpose of `embedding_up @ embedding_down`."""
    _need(layer, "embedding_up", "embedding_down")
    delta = _product(layer, "embedding_up", "embedding_down").transposed()
    factor = scale(layer, _rank(layer, "embedding_down"))
    if delta is None:
        raise EditError(f"{layer.key} is no matrix")
    yield Change(layer, {"weight": _decomposed(layer, delta, factor, by_rows=False)})


def _loha(layer: Layer, scale: Scale) -> Iterator[Change]:
    """LoHa: the elementwise product of two matrices of low rank, or of two in Tucker form."""
    rank = _rank(layer, "hada_w1_b")
    delta: Delta
    if "hada_t1" in layer.parts:
        delta = Hadamard(_tucker(layer, "hada_t1", "hada_w1_a", "hada_w1_b"), _tucker(layer, "hada_t2", "hada_w2_a", "hada_w2_b"))
    else:
        delta = Hadamard(_product(layer, "hada_w1_a", "hada_w1_b"), _product(layer, "hada_w2_a", "hada_w2_b"))
    yield Change(layer, {"weight": _decomposed(layer, delta, scale(layer, rank))})


def _tucker(layer: Layer, core: str, up: str, down: str) -> LowRank:
    """`einsum("i j …, j r, i p -> p r …", core, down, up)`: here `up` is rank × outputs."""
    _need(layer, core, up, down)
    kernel = layer.parts[core].tensor.shape
    upper, lower = layer.factor(up, 2), layer.factor(down, 2)
    if kernel[:2] != (upper.tensor.shape[0], lower.tensor.shape[0]):
        raise EditError(f"{layer.parts[core].key} is {show_shape(kernel)}: the ranks of its sides differ", "save the adapter again")
    return LowRank(upper.transposed(), lower, (upper.tensor.shape[1], lower.tensor.shape[1], *kernel[2:]), layer.factor(core, 3))


def _lokr(layer: Layer, scale: Scale) -> Iterator[Change]:
    """LoKr: the Kronecker product of two matrices, each whole or of low rank. Where both are whole, its rank is 0."""
    left, right = _side(layer, "lokr_w1"), _side(layer, "lokr_w2")
    kernel = right.shape[2:]
    shape = (left.shape[0] * right.shape[0], left.shape[1] * right.shape[1], *kernel)
    low = [part for part in ("lokr_w1_b", "lokr_w2_b") if part in layer.parts]
    factor = scale(layer, _rank(layer, low[-1]) if low else 0)
    yield Change(layer, {"weight": _decomposed(layer, Kronecker(left, right, shape), factor)})


def _side(layer: Layer, side: str) -> Delta:
    if side in layer.parts:
        return Dense(layer.factor(side, 2), layer.parts[side].tensor.shape)
    if "lokr_t2" in layer.parts and side == "lokr_w2":
        return _tucker(layer, "lokr_t2", "lokr_w2_a", "lokr_w2_b")
    return _product(layer, f"{side}_a", f"{side}_b")


def _difference(layer: Layer, scale: Scale) -> Iterator[Change]:
    """A whole weight of differences: trained in full."""
    yield Change(layer, {"weight": _decomposed(layer, Dense(layer.factor("diff"), layer.parts["diff"].tensor.shape), 1.0)})


def _bias_difference(layer: Layer, scale: Scale) -> Iterator[Change]:
    """A bias of differences."""
    yield Change(layer, {"bias": Add(Dense(layer.factor("diff_b"), layer.parts["diff_b"].tensor.shape), 1.0)})


def _ia3(layer: Layer, scale: Scale) -> Iterator[Change]:
    """(IA)³ of PEFT: outputs × 1 rescales outputs and their bias, 1 × inputs rescales inputs."""
    vector, shape = layer.factor("ia3"), layer.parts["ia3"].tensor.shape
    by_rows = shape[:1] != (1,)
    yield Change(layer, {"weight": Multiply(vector, shape, by_rows)})
    if by_rows:
        yield Change(layer, {"bias": Multiply(vector, shape, by_rows)}, need=Need.IF_THERE)


def _tokens(layer: Layer, scale: Scale) -> Iterator[Change]:
    """Rows of an embedding that were trained alone."""
    rows = layer.factor("tokens", 2)
    if rows.tensor.shape[0] != len(layer.indices):
        raise EditError(f"{layer.key} has {rows.tensor.shape[0]:,} rows, the config names {len(layer.indices):,} tokens")
    yield Change(layer, {"weight": ReplaceRows(rows, layer.indices)})


def _whole(layer: Layer, scale: Scale) -> Iterator[Change]:
    """A tensor that takes the place of the base's."""
    key, tensor = layer.parts["whole"]
    yield Change(layer, {"": Replace(key, tensor.plain(key))}, need=Need.OR_NEW)


_FORMS: dict[str, Callable[[Layer, Scale], Iterator[Change]]] = {
    "down": _low_rank,
    "inputs_rank": _inputs_first,
    "tokens_rank": _of_tokens,
    "embedding_down": _embedding,
    "hada_w1_a": _loha,
    "lokr_w1": _lokr,
    "lokr_w1_a": _lokr,
    "diff": _difference,
    "diff_b": _bias_difference,
    "ia3": _ia3,
    "tokens": _tokens,
    "whole": _whole,
}
_HALVES = ("up", "rank_outputs", "features_rank", "embedding_up", "magnitude", "dora_scale", "alpha", "mid", "up_bias")


def _decomposed(layer: Layer, delta: Delta, scale: float, by_rows: bool = True) -> Add:
    """The delta added, with its magnitudes where the layer has some. `by_rows` where the outputs are the rows.

    `magnitude` is PEFT's, one for each output. `dora_scale` is LyCORIS', outputs × 1 or 1 × inputs.
    """
    if "magnitude" in layer.parts:
        magnitude = layer.factor("magnitude")
        _check_count(layer, "magnitude", magnitude, delta.shape[0] if by_rows else delta.shape[1])
        return Decomposed(delta, scale, magnitude, by_rows)
    if "dora_scale" in layer.parts:
        magnitude, shape = layer.factor("dora_scale"), layer.parts["dora_scale"].tensor.shape
        by_outputs = shape[0] != 1 or delta.shape[0] == 1
        _check_count(layer, "dora_scale", magnitude, delta.shape[0] if by_outputs else delta.shape[1])
        return Decomposed(delta, scale, magnitude, by_outputs, numel_of(delta.shape[2:]), interpolates=True)
    return Add(delta, scale)


def _check_count(layer: Layer, role: str, magnitude: Factor, count: int) -> None:
    if numel_of(magnitude.tensor.shape) != count:
        shown = show_shape(layer.parts[role].tensor.shape)
        raise EditError(f"{magnitude.key} is {shown}: {count:,} magnitudes are needed", "save the adapter again")


def _rank(layer: Layer, role: str) -> int:
    _need(layer, role)
    shape = layer.parts[role].tensor.shape
    return shape[0] if shape else 0


def _need(layer: Layer, *roles: str) -> None:
    for role in roles:
        if role not in layer.parts:
            raise EditError(f"{layer.key} is half of a change: {role} is missing", "save the adapter again")
