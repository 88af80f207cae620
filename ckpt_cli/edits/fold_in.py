"""`fold_in`: adapters (LoRA and its kin) become part of the weights that they change. Values are computed as they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from ..adapters.folding import Step, folded
from ..adapters.layer import Change
from ..adapters.matching import Match, Matched, Matcher
from ..adapters.operations import InputsFirst
from ..adapters.places import own_places, shape_of
from ..adapters.reading import Adapter
from ..adapters.replacing import Replace
from ..adapters.words import every_place
from ..errors import EditError, about, naming
from ..numbers.shapes import numel_of, show_shape
from ..packing import find
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor

_SHOWN = 10  # names in an error


def fold_in(checkpoint: Checkpoint, adapters: Sequence[tuple[Adapter, float]]) -> Checkpoint:
    """Fold adapters into a base, in order.

    Args:
        checkpoint: The base.
        adapters: The adapters (`adapters.read`), each with its scale, by which alpha / rank is multiplied.

    Raises:
        EditError: An adapter fits no layer, or only a part of it does; two of them replace one tensor; a tensor that they change is
            packed, or holds no floats.
    """
    every, inputs_first = every_place(own_places(checkpoint)), _keeps_inputs_first(checkpoint)
    folding = _Folding(checkpoint)
    for adapter, scale in adapters:
        with about(adapter.path):
            matcher = Matcher(every, inputs_first._replace(matrices=inputs_first.matrices or adapter.inputs_first))
            for matched in _matched(matcher, adapter, folding.notes):
                for match in matched.matches:
                    folding.add(match, scale)
                for name, change in matched.new:
                    folding.add_new(name, change)
    return folding.result()


def _keeps_inputs_first(checkpoint: Checkpoint) -> InputsFirst:
    """Whether a base keeps inputs × outputs."""
    return InputsFirst(_matrices_inputs_first(checkpoint), _experts_inputs_first(checkpoint))


def _experts_inputs_first(checkpoint: Checkpoint) -> bool:
    """Whether stacked experts are inputs × outputs, as in gpt-oss: `gate_up_proj` then has twice as many columns as `down_proj` rows."""
    kinds = checkpoint.kinds()
    for name, kind in kinds.items():
        down = kinds.get(f"{name.removesuffix('gate_up_proj')}down_proj") if name.endswith("gate_up_proj") else None
        if down is not None and len(kind.shape) == len(down.shape) == 3:
            return kind.shape[2] == 2 * down.shape[1]
    return False


def _matrices_inputs_first(checkpoint: Checkpoint) -> bool:
    """Whether biases say that matrices are inputs × outputs: transformers' Conv1D, in GPT-2 and its kin."""
    kinds = checkpoint.kinds()
    for name, kind in kinds.items():
        path, leaf = checkpoint.layer_and_leaf(name)
        if leaf == "weight" and len(kind.shape) == 2 and kind.shape[0] != kind.shape[1]:
            bias = kinds.get(f"{path}{checkpoint.separator}bias")
            if bias is not None and bias.shape == kind.shape[1:]:
                return True
    return False


def _matched(matcher: Matcher, adapter: Adapter, notes: list[str]) -> list[Matched]:
    """What fits, by the models of a pipeline. Raises EditError where something does not fit."""
    components: dict[str, list[Change]] = {}
    for change in adapter.changes:
        components.setdefault(change.layer.component, []).append(change)
    every = [matcher.match(component, changes, adapter.naming.flat) for component, changes in components.items()]
    fitting = [matched for matched in every if matched.matches]
    notes += adapter.notes
    for matched in every:
        if matched.rivals:
            layer, *names = matched.rivals
            raise EditError(f"{layer} could mean {' or '.join(names[:3])}", "give the one model that it is for")
        if matched in fitting or not fitting:
            _check(matched, adapter)
        else:
            layers = {id(layer): layer for layer in matched.unfit()}
            count = sum(len(layer.parts) for layer in layers.values())
            notes.append(f"{adapter.path}: {count:,} tensors are for {_called(matched.component)}, which is not in this checkpoint")
    notes += [note for matched in fitting if (note := _way_note(matched, adapter.path))]
    return fitting


def _called(component: str) -> str:
    return f"the {component.replace('_', ' ')}" if component else "another model"


def _check(matched: Matched, adapter: Adapter) -> None:
    """Raises EditError for changes that fit no tensor of the base."""
    if matched.misfits:
        shown = [
            f"{change.key} ({show_shape(change.operation.shape)}, here {show_shape(shape_of(portions))})"
            for change, portions in matched.misfits[:_SHOWN]
        ]
        raise EditError(
            f"{_some(shown, len(matched.misfits))} {_do(matched.misfits, 'changes', 'change')} other shapes than this base has",
            "it was trained on another model",
        )
    if matched.missing:
        shown = [change.key for change in matched.missing[:_SHOWN]]
        if not matched.matches:
            raise EditError(f"it fits no layer of the base: {_some(shown, len(matched.missing))}", "it is for another model")
        mend = f"it may be for another model; leave them out: ckpt drop {adapter.path} …"
        verb = _do(matched.missing, "fits", "fit")
        raise EditError(f"{_some(shown, len(matched.missing))} {verb} no layer of the base", mend)


def _some(shown: Iterable[str], count: int) -> str:
    names = list(shown)
    return ", ".join(names) + (f" and {count - len(names):,} more" if count > len(names) else "")


def _do(things: Sequence[object], one: str, many: str) -> str:
    return one if len(things) == 1 else many


def _way_note(matched: Matched, path: str) -> str:
    way = matched.way
    if way is None or not (way.strip or way.add or way.places.words):
        return ""
    if way.places.words:
        return f"{path}: its layers are called as {way.places.words} calls them, which the base does not: matched by a table"
    done = f"without {way.strip!r}" if way.strip else f"with {way.add!r} before them"
    return f"{path}: its names are those of the base {done}"


class _Folding:
    """Gathers the steps of each tensor, and makes the checkpoint with them in it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.notes: list[str] = []
        self.steps: dict[object, list[Step]] = {}  # by the key of the tensor, so that tied names are one
        self.names: dict[object, str] = {}
        self.replaced: dict[object, Replace] = {}
        self.new: dict[str, Tensor] = {}
        self.packed = find(checkpoint).part_of()

    def add(self, match: Match, scale: float) -> None:
        """Add a change of tensors that are there."""
        operation, skip = match.operation.scaled(scale), 0
        for portion in match.portions:
            key = self._key(portion.name)
            if isinstance(operation, Replace):
                self._replace(key, portion.name, operation)
            else:
                count = numel_of(portion.shape) // max(1, operation.columns(portion.shape))
                self.steps.setdefault(key, []).append(Step(operation, portion.first, count, skip))
                skip += count

    def _key(self, name: str) -> object:
        if name in self.packed:
            packed = self.packed[name]
            raise EditError(f"{packed.name} of the base is packed ({packed.title})", "decode it first: ckpt convert … --dequantise")
        key = self.checkpoint[name].key
        self.names.setdefault(key, name)
        return key

    def _replace(self, key: object, name: str, operation: Replace) -> None:
        if key in self.replaced and self.replaced[key].tensor.key != operation.tensor.key:
            raise EditError(f"{self.replaced[key].key} and {operation.key} both take the place of {name}", "fold in one of the adapters")
        self.replaced[key] = operation

    def add_new(self, name: str, change: Change) -> None:
        """Add a tensor that the base lacks."""
        if not isinstance(change.operation, Replace) or name in self.new:
            raise EditError(f"{name} is in two adapters, and not in the base", "fold in one of the adapters")
        self.new[name] = change.operation.tensor
        self.notes.append(f"{name}: added, the base has none")

    def result(self) -> Checkpoint:
        """Return the base with all changes in it. Names that are tied follow."""
        made = {key: self._made(key, name) for key, name in self.names.items()}
        tensors = {name: made.get(tensor.key, tensor) for name, tensor in self.checkpoint.items()}
        self._note_ties(set(made))
        notes = (*self.checkpoint.notes, *dict.fromkeys(self.notes))
        return self.checkpoint.replacing(tensors={**tensors, **self.new}, notes=notes)

    def _made(self, key: object, name: str) -> Tensor:
        tensor = self.checkpoint[name]
        replaced = self.replaced.get(key)
        if replaced:
            self._note_replaced(name, tensor, replaced)
            tensor = replaced.tensor.cast(tensor.dtype, name)
        if key not in self.steps:
            return tensor
        storage = folded(name, tensor, self.steps[key])
        storage.watch(partial(naming, name))
        return Tensor.whole(tensor.dtype, tensor.shape, storage)

    def _note_replaced(self, name: str, tensor: Tensor, replaced: Replace) -> None:
        if tensor.shape != replaced.tensor.shape:
            before, after = show_shape(tensor.shape), show_shape(replaced.tensor.shape)
            self.notes.append(f"{name}: {before} becomes {after}, as the adapter has it; the config may say otherwise")

    def _note_ties(self, keys: set[object]) -> None:
        for group in self.checkpoint.ties():
            if self.checkpoint[group[0]].key in keys:
                self.notes.append(
                    f"{', '.join(group)}: one tensor, so all of them are changed; `ckpt untie` first where one alone is meant"
                )
