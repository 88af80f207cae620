"""Whether an adapter fits a base, and what is said where it does not."""

from __future__ import annotations

from collections.abc import Sequence

from ..adapters.layer import Change
from ..adapters.matching import Matched, Matcher
from ..adapters.places import Places, shape_of
from ..adapters.reading import Adapter
from ..errors import EditError, first_few
from ..numbers.shapes import show_shape

_SHOWN = 10  # names in an error


def fitting(matcher: Matcher, adapter: Adapter, notes: list[str]) -> list[Matched]:
    """Return what of an adapter fits a base, by the models of a pipeline.

    Args:
        matcher: Knows the base.
        adapter: The adapter.
        notes: To which is added what is to be told: by which names layers were found, and what is for another model of a pipeline.

    Raises:
        EditError: Something does not fit, or fits two layers.
    """
    components: dict[str, list[Change]] = {}
    for change in adapter.changes:
        components.setdefault(change.layer.component, []).append(change)
    every = [matcher.match(component, changes, adapter.naming.flat) for component, changes in components.items()]
    found = [matched for matched in every if matched.matches]
    if not found:
        raise _no_layer_fits(every, matcher.every[0])
    notes += adapter.notes
    for matched in every:
        if matched.rivals:
            layer, *names = matched.rivals
            raise EditError(f"{layer} could mean {' or '.join(names[:3])}", "give the one model that it is for")
        if matched in found:
            _check(matched, adapter)
        else:
            layers = {id(layer): layer for layer in matched.unfit()}
            count = sum(len(layer.parts) for layer in layers.values())
            notes.append(f"{adapter.path}: {count:,} tensors are for {_called(matched.component)}, which is not in this checkpoint")
    notes += [note for matched in found if (note := _way_note(matched, adapter.path))]
    return found


def _called(component: str) -> str:
    return f"the {component.replace('_', ' ')}" if component else "another model"


def _no_layer_fits(every: Sequence[Matched], own: Places) -> EditError:
    """The error for an adapter of which nothing fits: with other shapes where names do, else with a name of the base for comparison."""
    for matched in every:
        if matched.misfits:
            return _other_shapes(matched)
    missing = [change.key for matched in every for change in matched.missing]
    layers = [path for path, leaves in own.layers.items() if "weight" in leaves]
    like = f": there it is {layers[len(layers) // 2]}, for one" if layers else ""
    return EditError(f"it fits no layer of the base: {first_few(missing, _SHOWN)}", f"it is for another model{like}")


def _other_shapes(matched: Matched) -> EditError:
    shown = [
        f"{change.key} ({show_shape(change.operation.shape)}, here {show_shape(shape_of(portions))})"
        for change, portions in matched.misfits
    ]
    verb = _do(matched.misfits, "changes", "change")
    return EditError(f"{first_few(shown, _SHOWN)} {verb} other shapes than this base has", "it was trained on another model")


def _check(matched: Matched, adapter: Adapter) -> None:
    """Raises EditError for changes that fit no tensor of the base."""
    if matched.misfits:
        raise _other_shapes(matched)
    if matched.missing:
        shown = [change.key for change in matched.missing]
        mend = f"it may be for another model; leave them out: ckpt drop {adapter.path} …"
        verb = _do(matched.missing, "fits", "fit")
        raise EditError(f"{first_few(shown, _SHOWN)} {verb} no layer of the base", mend)


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
