"""`resize`: give tensors other shapes. What is in the old shape and in the new one keeps its values, the rest is filled.

Nothing is read or drawn until the result is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..analysis.optimizer import states
from ..analysis.told_sizes import told_sizes
from ..errors import EditError, naming
from ..formats.encodings.pickle_tree import TorchTree
from ..formats.locate import part_notes
from ..numbers.shapes import show_shape
from ..packing import find
from ..schemes.plan import KEPT, Planned
from ..schemes.rules import Call, PresetCall, Rule
from ..schemes.target import Source
from ..storage.boxes import cut
from ..storage.tiles import chained
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, matches
from ..tensors.tensor import Tensor
from .reinit import reinit
from .resizing.grown_rows import GrownRows
from .resizing.new_shapes import Resizing, fit
from .resizing.presets import fitting_presets
from .resizing.request import PLACES, Request, parse_request
from .resizing.states import Resized, over_base, with_states
from .resizing.told_neighbours import told_neighbours
from .tied_views import permuted, views_of
from .unfilled import unfilled
from .wishes import Facts

if TYPE_CHECKING:
    from .steps import Verb

Shape = tuple[int, ...]
States = Mapping[str, "str | None"]  # what an optimizer keeps, and averages → their parameter


class Surroundings(NamedTuple):
    """What a resize asks of the rest of the program.

    Attributes:
        layers: Gives the types of layers by path, for roles and patterns `@Type`.
        open: Opens the checkpoint that `copy_from` names.
        facts: What presets may ask of the model.
    """

    layers: Layers
    open: Callable[[str], Mapping[str, Source]]
    facts: Facts


def resize(checkpoint: Checkpoint, request: Request, around: Surroundings) -> tuple[Checkpoint, list[Planned]]:
    """Give tensors other shapes. Their other names, states of optimizers and averages follow; notes name what else may have to.

    Args:
        checkpoint: The checkpoint.
        request: The new shapes, and what fills new elements: a scheme is drawn over the whole new tensor as `reinit` would draw it, under
            what is kept; `mean_rows` and `resized_embeddings` go by the old rows; else the preset that fits the model draws.
        around: What it asks of the rest of the program.

    Returns:
        The checkpoint, and how each tensor is filled.

    Raises:
        NoMatch: A rule matches no tensor.
        EditError: A tensor cannot have that shape or be filled so, or something that belongs to it cannot follow.
        Opaque: A tensor has no plain elements.
    """
    parameter_of = states(checkpoint)
    shapes = _new_shapes(checkpoint, request, around.layers, parameter_of)
    _refuse_parts(checkpoint, shapes)
    views = views_of(checkpoint, shapes)
    if isinstance(request.fill, GrownRows):
        made, plan = _by_rows(checkpoint, shapes, request.fill, request)
    else:
        made, plan = _by_schemes(checkpoint, shapes, request, around)
    tensors = {view: permuted(made[name], axes) for name in made for view, axes in views[name].items()}
    resized = {view: Resized(checkpoint[view], tensor, request.at_start, request.fresh) for view, tensor in tensors.items()}
    following, notes = with_states(checkpoint, resized, parameter_of) if resized else ({}, [])
    tensors |= following
    after = checkpoint.replacing(tensors={**checkpoint.tensors, **tensors})
    changed = {name: each.after.shape for name, each in resized.items()}
    notes = [*notes, *told_neighbours(checkpoint, changed, parameter_of), *told_sizes(checkpoint, changed)]
    return after.replacing(notes=(*checkpoint.notes, *notes)), plan


def _new_shapes(checkpoint: Checkpoint, request: Request, layers: Layers, parameter_of: States) -> dict[str, Shape]:
    """The new shape of each tensor that gets another one, by the first of its names, but for states that follow their parameter."""
    first, found = checkpoint.tied_to(), dict[str, tuple[Shape, Resizing]]()
    for resizing in request.resizings:
        for name in matches(checkpoint, resizing.pattern, layers):
            tensor = checkpoint[name].plain(name)
            new, own = resizing.resized(name, tensor.dtype, tensor.shape), first.get(name, name)
            other, rule = found.setdefault(own, (new, resizing))
            if other != new:
                raise EditError(f"{rule.text!r} and {resizing.text!r} want {name} in two shapes", "give it one")
    wanted = {name: found[name][0] for name in checkpoint if name in found}
    following = {name for name, of in parameter_of.items() if name in wanted and of in wanted and wanted[name] == wanted[of]}
    return {name: new for name, new in wanted.items() if name not in following and (request.fresh or new != checkpoint[name].shape)}


def _refuse_parts(checkpoint: Checkpoint, shapes: Mapping[str, object]) -> None:
    """Raise EditError for parts of packed parameters, and for pieces of tensors whose other pieces are in other files."""
    if shapes and checkpoint.origin and part_notes(checkpoint.origin.path, checkpoint):
        raise EditError("the file is one part of several, whose tensors have one shape together", "convert the folder of all parts first")
    pieces = checkpoint.rest.distributed if isinstance(checkpoint.rest, TorchTree) else {}
    if piece := next((name for name in shapes if checkpoint.sources.get(name, name) in pieces), None):
        raise EditError(
            f"{piece} is a piece of a distributed tensor, which says the shape of the whole", "convert the folder of all parts first"
        )
    for part, packed in find(checkpoint).part_of().items() if shapes else ():
        if part in shapes:
            what = f"{part} is a part of the packed parameter {packed.name} ({packed.title}), whose parts have one shape together"
            raise EditError(what, "decode it first: `ckpt cast CKPT float32 --dequantise`")


def _by_rows(
    checkpoint: Checkpoint, shapes: Mapping[str, Shape], fill: GrownRows, request: Request
) -> tuple[dict[str, Tensor], list[Planned]]:
    """The tensors whose new rows go by the old ones."""
    made: dict[str, Tensor] = {}
    plan: list[Planned] = []
    for name, shape in shapes.items():
        old = checkpoint[name]
        fill.check(name, old, shape)
        before, _ = fit(old.shape, shape, request.at_start)
        kept = Tensor.whole(old.dtype, (old.shape[0], *(shape[1:] or (1,))), cut(old.elements(), old.dtype.nbytes, old.shape, before))
        rows, planned = fill.filled(name, kept, len(shape), shape[0] - old.shape[0], request.seed)
        rows.watch(partial(naming, name))
        made[name] = Tensor.whole(old.dtype, shape, chained([rows, kept.storage] if request.at_start else [kept.storage, rows]))
        plan.append(planned._replace(scheme=_becomes(old.shape, shape)))
    return made, plan


def _by_schemes(
    checkpoint: Checkpoint, shapes: Mapping[str, Shape], request: Request, around: Surroundings
) -> tuple[dict[str, Tensor], list[Planned]]:
    """The tensors under whose old elements a scheme draws."""
    growing = [name for name, shape in shapes.items() if request.fresh or _grows(checkpoint[name].shape, shape)]
    new = {name: unfilled(checkpoint[name].dtype, shape) for name, shape in shapes.items()}
    now = checkpoint.replacing(tensors={**checkpoint.tensors, **new})
    bases, steps = _drawn(now, growing, request, around) if growing else (now, {})
    made: dict[str, Tensor] = {}
    plan: list[Planned] = []
    cut_off = Planned("", "", f"cut at the {'start' if request.at_start else 'end'}", None, "the rest keeps its values")
    for name, shape in shapes.items():
        old, step = checkpoint[name], steps.get(name) or cut_off._replace(name=name)
        plan.append(step._replace(scheme=_becomes(old.shape, shape)))
        made[name] = bases[name] if request.fresh else over_base(old, shape, bases[name].storage, request.at_start)
    return made, plan


def _becomes(old: Shape, new: Shape) -> str:
    return f"{show_shape(old)} becomes {show_shape(new)}"


def _grows(old: Shape, new: Shape) -> bool:
    return any(after > before for before, after in zip(old, new, strict=True))


def _drawn(now: Checkpoint, growing: Sequence[str], request: Request, around: Surroundings) -> tuple[Checkpoint, dict[str, Planned]]:
    """The checkpoint in which every element of the tensors that grow is drawn, and how it is."""
    calls = dict.fromkeys(growing, request.fill) if request.fill else fitting_presets(now, growing, around.facts)
    rules = [Rule(name, call) for name, call in calls.items() if isinstance(call, Call | PresetCall)]
    after, plan = reinit(now, rules, seed=request.seed, layers=around.layers, open=around.open, facts=around.facts)
    steps = {step.name: step for step in plan if step.draw != KEPT}
    if unknown := next((name for name in growing if name not in steps), None):
        raise EditError(f"no preset tells how new elements of {unknown} are filled", "say it: --fill zeros, or another of `ckpt schemes`")
    what = "all of it" if request.fresh else "what is new"
    return after, {
        name: step._replace(
            draw=f"{what} is {step.draw}", reason=step.scheme if isinstance(request.fill, Call) else f"{step.scheme}: {step.reason}"
        )
        for name, step in steps.items()
    }


def recipe_step() -> Verb:
    """The step `resize = [PATTERN=SHAPE…]` of a recipe, with `fill`, `at`, `fresh` and `seed`."""
    from .steps import SEED, TEXT, TEXTS, TRUTH, Context, Outcome, Table, Verb, one_of

    def request(table: Table) -> Request:
        options: dict[str, Any] = {key: table[key] for key in ("fill", "at", "fresh", "seed") if key in table}
        return parse_request(table["resize"], **options)

    def make(checkpoint: Checkpoint, table: Table, context: Context) -> Outcome:
        facts = context.facts(checkpoint, table.get("arch", "auto"))
        around = Surroundings(context.layers_of(checkpoint, table), context.open, facts)
        return Outcome(*resize(checkpoint, request(table), around))

    keys = {"resize": TEXTS, "fill": TEXT, "at": one_of(*PLACES), "fresh": TRUTH, "seed": SEED, "arch": TEXT}
    return Verb(keys, make, request, seeded=True)
