"""`merge`: one checkpoint of several of one model: their mean, a point between them, a sum of what they have learned; adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..adapters.describing import described
from ..adapters.reading import Adapter
from ..errors import EditError, UsageError, about, naming, number_of
from ..merging import How, Method, methods
from ..merging.alignment import Aligned, Source, align, refuse_names, refuse_shapes, sources_of
from ..merging.merged import Merged, Merger
from ..merging.request import Request
from ..merging.weights import Weights, parse_weights, weights_of
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, no_layers
from ..tensors.tensor import Tensor
from .fold_in import fold_in
from .merge_adapters import parse_adapter, read_adapters
from .merge_candidates import Staying, numbers, refuse_packed, staying
from .other_checkpoints import opened
from .tied_views import overlapping

if TYPE_CHECKING:
    from .steps import Context, Table, Verb

WeightsOf = Mapping[str, tuple[float, ...]]  # by name


def merge(
    checkpoints: Sequence[Checkpoint],
    method: str = "linear",
    *,
    weights: Weights | None = None,
    base: Checkpoint | None = None,
    density: float | None = None,
    common: bool = False,
    lora: Sequence[tuple[Adapter, float]] = (),
    seed: int = 0,
    layers: Layers = no_layers,
) -> Checkpoint:
    """Merge checkpoints of one model; names, integers, optimizers, other objects and metadata are those of the first.

    Args:
        checkpoints: The checkpoints; one alone where there is a base, or adapters are folded into it.
        method: `linear` (the weighted sum, or the mean), `slerp` (the second weight is t), `task`, `ties` or `dare`; see `merging/`.
        weights: A weight for each checkpoint, or weights by pattern, the last that matches winning. They need not have the sum 1.
        base: What they were trained from, for `task`, `ties` and `dare`. The result has its dtypes, else those of the first.
        density: The part of the differences from the base that `ties` and `dare` keep.
        common: Whether tensors that are not in all checkpoints stay as the first has them; otherwise they are an error.
        lora: Adapters, as `adapters.reading.read` returns them, and the scale of each, folded into the result.
        seed: The seed of `dare`.
        layers: Gives the types of layers, for patterns `@Type`.

    Raises:
        UsageError: Arguments do not fit the method, or two checkpoints are one file.
        EditError: Names, shapes or dtypes do not agree, or parameters are packed; when values are read: the dtype cannot hold a result.
        NoMatch: A pattern of the weights picks nothing.
    """
    by_pattern = Request(method, weights, base is not None, density, len(checkpoints), bool(lora)).checked()
    sources = sources_of([*checkpoints, *([base] if base else [])])
    _refuse_one_file(sources)
    with about(sources[0].label):
        of = weights_of(checkpoints[0], by_pattern, layers)
    how = How(None, density or 1.0, seed)
    merged = _merged(sources, methods[method], common, how, of) if len(sources) > 1 else checkpoints[0]
    merged = merged.replacing(notes=(*merged.notes, *_notes_of_method(method, by_pattern, seed)))
    return fold_in(merged, lora) if lora else merged


def _refuse_one_file(sources: Sequence[Source]) -> None:
    """Raises UsageError where two checkpoints are one file, as it was read."""
    seen: dict[tuple[int, ...], str] = {}
    for label, checkpoint in sources:
        origin = checkpoint.origin
        if origin is None or not checkpoint.is_as_read:
            continue
        if origin.file.identity in seen:
            other = seen[origin.file.identity]
            what = "it is given twice" if other == label else f"it is the same file as {other}"
            raise UsageError(what, "name each checkpoint once", label)
        seen[origin.file.identity] = label


def _merged(sources: Sequence[Source], method: Method, common: bool, how: How, weights: WeightsOf) -> Checkpoint:
    """The first checkpoint with merged tensors, and notes. The base comes last among the sources, where there is one."""
    first, *others = sources
    aligned = align(first, others)
    if not common or not aligned.tensors:
        refuse_names(first, others, aligned)
    for source in sources:
        refuse_packed(source)
    stay = staying(first.checkpoint, aligned.tensors)
    tensors = {name: each for name, each in aligned.tensors.items() if name not in stay.names}
    refuse_shapes(sources, tensors)
    made = dict(first.checkpoint.tensors)
    for names, each in _distinct(tensors):
        merged = _tensor(names[0], sources, each, method, how._replace(name=names[0], weights=weights.get(names[0])))
        made |= dict.fromkeys(names, merged)
    notes = (*first.checkpoint.notes, *_notes(sources, aligned, stay, tensors))
    return first.checkpoint.replacing(tensors=made, notes=notes)


def _distinct(tensors: Mapping[str, tuple[Tensor, ...]]) -> Iterator[tuple[list[str], tuple[Tensor, ...]]]:
    """The tensors once each, with their names: several where they are tied in all checkpoints."""
    names: dict[tuple[Any, ...], list[str]] = {}
    for name, each in tensors.items():
        names.setdefault(tuple(tensor.key for tensor in each), []).append(name)
    return ((group, tensors[group[0]]) for group in names.values())


def _tensor(name: str, sources: Sequence[Source], tensors: Sequence[Tensor], method: Method, how: How) -> Tensor:
    """A tensor of all checkpoints, merged."""
    of = len(tensors) - 1 if method.has_base else 0
    plain = numbers(name, sources, tensors, of)
    dtype = plain[of].dtype
    if dtype.kind == "c" and method.orders:
        raise EditError(
            f"{name} is {dtype.name}: {method.name} is for real values", "merge it by --method linear or task", sources[of].label
        )
    if method.has_base:
        plain = [plain[-1], *plain[:-1]]
    merged = Merged(plain, Merger([each.dtype for each in plain], dtype, method, how))
    merged.watch(partial(naming, name))
    return Tensor.whole(dtype, plain[0].shape, merged)


def _notes(sources: Sequence[Source], aligned: Aligned, stay: Staying, tensors: Mapping[str, tuple[Tensor, ...]]) -> Iterator[str]:
    """What is to be told of what is not merged, and of ties."""
    label = sources[0].label
    missing = {name for names in aligned.missing.values() for name in names}
    if missing:
        yield f"not merged, as in {label}: {number_of(len(missing), 'tensor')} that not all have"
    for other, names in aligned.besides.items():
        yield f"left out: {number_of(len(names), 'tensor')} of {other} that {label} lacks"
    yield from stay.notes(label, sources[0].checkpoint)
    if described(sources[0].checkpoint):
        fold = " ".join(["ckpt merge BASE", *(f"--lora {source.label}:W" for source in sources)])
        yield f"{label} is an adapter, whose factors are merged one by one: that is no merge of the changes they make ({fold} is)"
    yield from _tie_notes(sources, tensors)
    yield from _view_notes(sources[0], tensors)


def _tie_notes(sources: Sequence[Source], tensors: Mapping[str, tuple[Tensor, ...]]) -> Iterator[str]:
    """Which names are tied in some checkpoints and not in all: they are not tied in the result."""
    told: set[tuple[str, ...]] = set()
    for index, source in enumerate(sources):
        groups: dict[Any, list[str]] = {}
        for name, each in tensors.items():
            groups.setdefault(each[index].key, []).append(name)
        for group in groups.values():
            apart = [other.label for i, other in enumerate(sources) if len({tensors[name][i].key for name in group}) > 1]
            if len(group) > 1 and apart and tuple(group) not in told:
                told.add(tuple(group))
                names = " ".join(f"'{name}'" for name in group)
                yield f"{', '.join(group)} are tied in {source.label}, not in {apart[0]}: not tied in the result (`ckpt tie OUT {names}`)"


def _view_notes(first: Source, tensors: Mapping[str, tuple[Tensor, ...]]) -> Iterator[str]:
    """Which tensors are other views of elements that one before them has: each has its own in the result."""
    checkpoint, parted = first.checkpoint, dict[str, str]()
    for name, others in overlapping(checkpoint).items():
        owner = next((other for other in others if other in tensors and checkpoint[other].key != checkpoint[name].key), name)
        if name in tensors and others.index(owner) < others.index(name):
            parted[name] = owner
    if parted:
        name, owner = next(iter(parted.items()))
        more = f", and {len(parted) - 1:,} more are such views" if len(parted) > 1 else ""
        yield f"{name} is another view of the elements of {owner} in {first.label}{more}: in the result each has its own"


def _notes_of_method(method: str, by_pattern: Mapping[str, tuple[float, ...]], seed: int) -> Iterator[str]:
    """The seed, and weights that may not be meant as they are taken."""
    if methods[method].has_seed:
        yield f"seed {seed}"
    for pattern, weights in by_pattern.items():
        of = "" if pattern == "*" else f" for {pattern}"
        if method == "linear" and abs(sum(weights) - 1) > 1e-6:
            yield f"the weights{of} have a sum of {sum(weights):g}, not 1, and are taken as they are"
        if method == "slerp" and abs(sum(weights) - 1) > 1e-6:
            yield f"slerp{of} goes {weights[1]:g} of the way: the first weight is not used"


def _request_of(table: Table) -> Request:
    """What a step of a recipe asks for."""
    return Request(
        table.get("method", "linear"),
        parse_weights(table["weights"]) if "weights" in table else None,
        "base" in table,
        table.get("density"),
        1 + len(table["merge"]),
        "lora" in table,
    )


def _made(checkpoint: Checkpoint, table: Table, context: Context) -> Checkpoint:
    """What a step of a recipe makes of the checkpoint that it is applied to."""
    options = {key: table[key] for key in ("method", "density", "common", "seed") if key in table}
    return merge(
        [checkpoint, *(opened(checkpoint, context.open, path) for path in table["merge"])],
        weights=_request_of(table).weights,
        base=opened(checkpoint, context.open, table["base"]) if "base" in table else None,
        lora=read_adapters(table.get("lora", ()), context.open),
        layers=context.layers_of(checkpoint, table),
        **options,
    )


def recipe_step() -> Verb:
    """The step `merge = [OTHER…]` of a recipe: the checkpoint that it is applied to is the first."""
    from .steps import NUMBER, RULES, SEED, TEXT, TEXTS, TRUTH, Outcome, Verb

    def validate(table: Table) -> None:
        _request_of(table).checked()
        list(map(parse_adapter, table.get("lora", ())))

    keys = {"merge": RULES, "method": TEXT, "weights": TEXTS, "base": TEXT, "density": NUMBER, "lora": TEXTS}
    others = {"common": TRUTH, "seed": SEED, "arch": TEXT}
    return Verb(keys | others, lambda *step: Outcome(_made(*step)), validate, seeded=True)
