"""What an edit makes of the config beside the weights: the entries whose right value the tensors tell, and, in words, all else.

Only what the edit itself contradicts is adjusted. What an entry and the weights disagreed on before, they may have meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..configs import Config, find
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from . import adjusting_adapters
from .adjusting_dtypes import dtype, packing
from .adjusting_images import image
from .adjusting_labels import labels
from .adjusting_layers import depths, layers
from .adjusting_sizes import sizes
from .adjusting_ties import ties
from .adjusting_tokens import tokens, tokens_inside
from .compared import Compared, Contradiction
from .contradictions import contradictions
from .edited import Adjustment, Edited, adjusted_config, compared
from .named_parts import Stack
from .same_kinds import alike
from .shown_sizes import shown

_Topic = Callable[[Edited], Iterator[Adjustment | str]]
_OF_MODELS: tuple[_Topic, ...] = (dtype, packing, layers, depths, sizes, labels, image, ties)
_OF_ADAPTERS: tuple[_Topic, ...] = (adjusting_adapters.rank, adjusting_adapters.target_modules)
_KEPT_INSIDE = ("gguf",)  # libraries whose config is in the file of the weights, as metadata


class Adjustments(NamedTuple):
    """What an edit makes of a config.

    Attributes:
        config: the config; None where there is none.
        made: the entries that are brought into line.
        told: what else there is to say, a line each.
        decoded: whether parameters were packed, and none is any more.
    """

    config: Config | None = None
    made: tuple[Adjustment, ...] = ()
    told: tuple[str, ...] = ()
    decoded: bool = False


def adjustments(before: Checkpoint, after: Checkpoint) -> Adjustments:
    """Return what becomes of the config of a checkpoint that was edited. Reads headers and configs alone.

    Args:
        before: the checkpoint as it was read.
        after: the checkpoint as it is written.
    """
    origin = before.origin
    if origin is None:
        return Adjustments()
    before = origin.read.replacing(origin=origin)
    found = find(before)
    config = found.config
    if config is None:
        return Adjustments(None, (), found.notes)
    if config.path == origin.path and config.library not in _KEPT_INSIDE:
        return Adjustments()
    if alike(before, after):
        return Adjustments(config, (), tuple(map(_old, _contradicting(config, compared(config, before)))))
    edited = Edited(config, before, after)
    topics = _OF_ADAPTERS if config.library == "peft" else _OF_MODELS
    answers = [each for topic in topics for each in topic(edited)]
    made = tuple({each.path: each for each in answers if isinstance(each, Adjustment)}.values())
    told = [each for each in answers if isinstance(each, str)]
    told += [*_head(edited), *(_unexplained(edited, made) if topics is _OF_MODELS else ())]
    told += tokens_inside(edited) if config.path == origin.path else tokens(edited, found.folder) if found.folder else ()
    lines = tuple(dict.fromkeys((*told, *_left(edited, list(made), " ".join(told)))))
    return Adjustments(config, made, lines, edited.before.packed and not edited.after.packed)


def _left(edited: Edited, made: list[Adjustment], told: str) -> Iterator[str]:
    """What still contradicts the adjusted config, in words; what did so before the edit is called old."""
    before = {each.entry for each in _contradicting(edited.config, edited.before)}
    for each in _contradicting(adjusted_config(edited.config, made), edited.after):
        if each.entry in before:
            yield _old(each)
        elif f"{each.entry} stays" not in told:
            yield f"{each.entry} stays {each.says}: the weights have {each.found}"


def _contradicting(config: Config, weights: Compared) -> list[Contradiction]:
    """What in the weights contradicts a config."""
    return contradictions(config, weights.own, weights.dtypes, weights.packed)


def _old(contradiction: Contradiction) -> str:
    """That the config was wrong before the edit, and stays so."""
    entry, says, found = contradiction
    return f"{entry} stays {says}, which contradicted the weights before the edit, too: they have {found}"


def _unexplained(edited: Edited, made: Iterable[Adjustment]) -> Iterator[str]:
    """That shapes or the number of layers changed, and that no entry of the config is known to give them."""
    before, after = edited.before.parts.kinds, edited.after.parts.kinds
    pairs = [(each.old, each.new) for each in made if isinstance(each.old, int) and isinstance(each.new, int)]
    changed = [
        name
        for name, kind in after.items()
        if (was := before.get(edited.source(name))) and name not in edited.explained and not _follows(was.shape, kind.shape, pairs)
    ]
    if stacks := _unexplained_stacks(edited):
        old, now = stacks[0]
        more = f", and that of {len(stacks) - 1:,} more" if len(stacks) > 1 else ""
        yield f"no entry is known that tells the number of layers, which was {len(old.numbers)} and is {now}{more}"
    if changed:
        name = changed[0]
        shapes = f"{show_shape(before[edited.source(name)].shape)} to {show_shape(after[name].shape)}"
        more = f", and of {len(changed) - 1:,} more" if len(changed) > 1 else ""
        yield f"no entry is known that tells the shape of {name}, which changed from {shapes}{more}"


def _unexplained_stacks(edited: Edited) -> list[tuple[Stack, Stack]]:
    """The stacks that have other layers than before, and that no entry of the config is known of, before and after the edit."""
    before, after = ({stack.path: stack for stack in (*each.parts.stacks, *each.parts.numbered)} for each in (edited.before, edited.after))
    return [
        (stack, after[path])
        for path, stack in before.items()
        if path in after and path not in edited.explained and after[path].numbers != stack.numbers
    ]


def _follows(was: tuple[int, ...], now: tuple[int, ...], pairs: list[tuple[int, int]]) -> bool:
    """Whether every axis that changed did so as a size of the config does: 3 times that size before, and after."""
    return len(was) == len(now) and all(
        one == other or any(old and one % old == 0 and one * new == other * old for old, new in pairs)
        for one, other in zip(was, now, strict=True)
    )


def _head(edited: Edited) -> Iterator[str]:
    """That the head of the model's class is gone, so that its library would draw a new one; or that a model without a head has one now."""
    named = edited.config.class_name
    if edited.config.library != "transformers" or not named:
        return
    before, after = ({name for name, _, _ in shown("labels", each.parts)} | {*each.parts.heads} for each in (edited.before, edited.after))
    if before and not after and named.endswith("Classification"):
        yield f"architectures stays {named}: {min(before)} is gone, and transformers would draw a new one"
    new = sorted(name for name in after if edited.source(name) not in edited.before.parts.kinds and name not in edited.before.parts.kinds)
    if new and not before and named.endswith("Model") and not named.endswith("LMHeadModel"):
        yield f"architectures stays {named}, which may have no {new[0]}"
