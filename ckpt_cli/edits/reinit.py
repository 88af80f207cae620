"""`reinit`: fill tensors anew by rules and presets. Nothing is drawn until the result is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ..configs import config_of
from ..errors import EditError, UsageError, about
from ..formats import formats
from ..numbers.shapes import span
from ..schemes.distribution import Computed, Constant, Distribution
from ..schemes.plan import KEPT, Planned
from ..schemes.rules import Rule
from ..schemes.sampling import blocks, constant_bytes, portable, require_drawable
from ..schemes.seeds import generator, import_torch, subseed
from ..schemes.target import Source, Target
from ..storage.sequential import Drawn
from ..storage.storage import Fill, Slice, Storage
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, no_layers
from ..tensors.tensor import Tensor
from .wishes import NO_FACTS, ChosenPreset, Facts, Wish, wished

if TYPE_CHECKING:
    from torch import Generator
    from torch import Tensor as TorchTensor

    from .steps import Verb


def reinit(
    checkpoint: Checkpoint,
    rules: Sequence[Rule],
    *,
    seed: int,
    preset: str = "",
    select: Sequence[str] = (),
    rng: Literal["tensor", "torch"] = "tensor",
    layers: Layers = no_layers,
    layout: str = "",
    open: Callable[[str], Mapping[str, Source]],
    facts: Facts = NO_FACTS,
) -> tuple[Checkpoint, list[Planned]]:
    """Fill tensors by a preset, then by rules.

    Args:
        checkpoint: The checkpoint.
        rules: Rules; the last that matches a tensor wins. Tied tensors are drawn once, under their first name.
        seed: The seed, from 0 to 2⁶³ - 1.
        preset: A preset, with its arguments in brackets; `own` for what the model's library does; empty for none.
        select: Patterns of the tensors that the preset fills, with what it draws there for the whole model; all without a pattern.
        rng: `tensor` gives each tensor a generator of its own; `torch` draws all from one, in file order, like torch.manual_seed(seed) and
            torch.nn.init.
        layers: Gives the types of layers by path, for roles and patterns `@Type`.
        layout: By which axes fans are counted, `oi` or `io`; empty for the layout of the format that was read.
        open: Opens the checkpoint that `copy_from` names.
        facts: What presets may ask of the model.

    Returns:
        The filled checkpoint, and how each tensor is filled.

    Raises:
        NoMatch, UnknownName: A rule matches no tensor, or there is no such preset.
        LibraryError: The library of the model cannot be asked.
        EditError: A tensor cannot be filled so, or two that are filled overlap.
        Opaque: A tensor has no plain elements.
    """
    wishes = wished(checkpoint, rules, ChosenPreset(preset, tuple(select)), layers, facts)
    _check_granted(checkpoint, [name for name, wish in wishes.items() if wish.granted], preset)
    return _filled(checkpoint, wishes, _targets(checkpoint, wishes, layout, open), seed, Stream(seed) if rng == "torch" else None)


def _targets(checkpoint: Checkpoint, names: Iterable[str], layout: str, open: Callable[[str], Mapping[str, Source]]) -> Iterator[Target]:
    """The tensors `names` as schemes see them; the other arguments are those of `reinit`."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    layout = layout or (formats[checkpoint.origin.format].axes if checkpoint.origin else "oi")
    config = config_of(checkpoint)
    for name in names:
        tensor = checkpoint[name]
        yield Target(name, tensor.shape, tensor.dtype.name, layout, tensor.tobytes, shapes, open, config.entries if config else {})


def _filled(
    checkpoint: Checkpoint, wishes: Mapping[str, Wish], targets: Iterable[Target], seed: int, stream: Stream | None
) -> tuple[Checkpoint, list[Planned]]:
    """The checkpoint with each wish fulfilled, and the plan."""
    storages: dict[Storage, Storage] = {}
    plan = []
    for target, (name, wish) in zip(targets, wishes.items(), strict=True):
        draw = _decided(wish, target) if wish.granted else _passed_over(wish, target, stream)
        if draw is None:
            if wish.told and wish.granted:
                plan.append(Planned(name, wish.scheme, KEPT, None, wish.reason))
            continue
        tensor, seed_of_tensor = checkpoint[name], subseed(seed, name)
        if not wish.granted:  # its turn in the stream is passed over, so that the others draw what they draw without it
            _contents(draw, tensor, seed_of_tensor, stream)
            continue
        random = stream is None and not isinstance(draw, Constant | Computed)
        plan.append(Planned(name, wish.scheme, str(draw), seed_of_tensor if random else None, wish.reason))
        contents = _contents(draw, tensor, seed_of_tensor, stream)
        for each in (name, *wish.copies):
            own = checkpoint[each]
            # Another view of the same storage may have been filled already.
            # A copy is a storage of its own: with the same one it would be tied.
            filling = contents if each == name else Slice(contents, 0, contents.nbytes)
            storages[own.storage] = own.over(storages.get(own.storage, own.storage)).storage_with(filling)
        plan += [Planned(copy, wish.scheme, str(draw), None, f"as {name}, of which it is a copy") for copy in wish.copies]
    return checkpoint.with_storages(storages), plan


def _check_granted(checkpoint: Checkpoint, names: list[str], preset: str) -> None:
    """Raise EditError if no tensor is filled, or if two overlap in one storage: one would overwrite the other."""
    if not names and preset:
        raise EditError(f"the preset {preset} fills none of the tensors that are selected", "choose others, or another preset")
    reaches: dict[int, list[tuple[int, int, str]]] = {}
    for name in names:
        tensor = checkpoint[name]
        low, high = (at * tensor.dtype.nbytes for at in span(tensor.shape, tensor.strides, tensor.offset))
        reaches.setdefault(id(tensor.storage), []).append((low, high, name))
    for in_storage in reaches.values():
        in_storage.sort()
        for (_, high, one), (low, _, two) in pairwise(in_storage):
            if low < high:
                raise EditError(f"{one} and {two} overlap in one storage", "fill one of them, or untie them first")


def _decided(wish: Wish, target: Target) -> Distribution | None:
    """The draw for a target, after a check that its dtype can hold it."""
    with about(target.name):
        draw = wish.draw(target)
        if draw is not None:
            require_drawable(draw, target.dtype)
    return draw


def _passed_over(wish: Wish, target: Target, stream: Stream | None) -> Distribution | None:
    """The draw of a wish that is not granted, whose turn in a stream is passed over; None where there is no stream, or nothing is drawn."""
    try:
        return _decided(wish, target) if stream is not None else None
    except EditError:
        return None


def _contents(draw: Distribution, tensor: Tensor, seed: int, stream: Stream | None) -> Storage:
    """The new elements of `tensor`: a constant, or values that are drawn when they are read."""
    dtype, shape = tensor.dtype.name, tensor.shape
    if isinstance(draw, Constant):
        return Fill(constant_bytes(draw.value, dtype), tensor.nbytes)
    if isinstance(draw, Computed):
        return Drawn(tensor.nbytes, lambda: blocks(draw, dtype, shape))
    if stream is not None:
        return Drawn(tensor.nbytes, stream.next(lambda source: blocks(draw, dtype, shape, source)))
    alone = import_torch if portable(draw, dtype, tensor.nbytes) else None
    return Drawn(tensor.nbytes, lambda: blocks(draw, dtype, shape, generator(seed)), alone)


class Stream:
    """One generator for all tensors. Each tensor starts where the one before it ended, in whatever order they are read, and how often.

    Attributes:
        seed: The seed of the generator.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._draws: list[Callable[[Generator], Iterator[bytes]]] = []
        self._starts: list[TorchTensor] = []  # the states of the generator before each draw, as far as they are known

    def next(self, draw: Callable[[Generator], Iterator[bytes]]) -> Callable[[], Iterator[bytes]]:
        """Queue `draw`, and return a function that runs it."""
        at = len(self._draws)
        self._draws.append(draw)
        return lambda: self._run(at)

    def _run(self, at: int) -> Iterator[bytes]:
        source = generator(self.seed)
        if not self._starts:
            self._starts.append(source.get_state())
        while len(self._starts) <= at:
            for _ in self._run(len(self._starts) - 1):
                pass
        source.set_state(self._starts[at])
        # One block behind: a reader may stop after the last block, and the state at the end must be known by then.
        held = b""
        for block in self._draws[at](source):
            if held:
                yield held
            held = block
        if len(self._starts) == at + 1:
            self._starts.append(source.get_state())
        if held:
            yield held


def recipe_step() -> Verb:
    """The step `reinit = [RULE…]` of a recipe, with `preset`, `seed` and `rng`."""
    from ..schemes.rules import parse_rule
    from .steps import RULES, SEED, TEXT, TEXTS, Context, Outcome, Table, Verb, one_of

    def validate(table: Table) -> None:
        if not table["reinit"] and not table.get("preset"):
            raise UsageError("nothing says what to draw", 'give a rule such as "*.bias=zeros", or a preset')
        ChosenPreset(table.get("preset", ""), tuple(table.get("select", ()))).parsed()
        for text in table["reinit"]:
            parse_rule(text)

    def make(checkpoint: Checkpoint, table: Table, context: Context) -> Outcome:
        rules, layers = list(map(parse_rule, table["reinit"])), context.layers_of(checkpoint, table)
        facts = context.facts(checkpoint, table.get("arch", "auto"))
        chosen = {"preset": table.get("preset", ""), "select": table.get("select", ()), "rng": table.get("rng", "tensor")}
        return Outcome(*reinit(checkpoint, rules, seed=table["seed"], layers=layers, open=context.open, facts=facts, **chosen))

    keys = {"reinit": RULES, "preset": TEXT, "select": TEXTS, "seed": SEED, "rng": one_of("tensor", "torch"), "arch": TEXT}
    return Verb(keys, make, validate, seeded=True)
