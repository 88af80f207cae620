"""What presets ask of the model: how its library initialises it, and which of its tensors are one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from ..tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    from ..edits.wishes import Facts
    from ..errors import LibraryError
    from ..providers import Initialisation, Provided


def facts_of(checkpoint: Checkpoint, arch: str = "auto", tell: Callable[[Iterable[str]], None] | None = None) -> Facts:
    """Return what presets may ask of the model of a checkpoint. Nothing is asked before they do.

    Args:
        checkpoint: The checkpoint.
        arch: The value of --arch.
        tell: Takes the notes for the user; without it, they are printed after the answer.
    """
    from ..edits.wishes import Facts
    from ..show.answer import note_later

    answers: list[Provided] = []

    @cache
    def initialisations() -> Mapping[str, Initialisation]:
        from ..providers.fitting import fitted

        provided = _provided(checkpoint, arch)
        known = fitted(provided, checkpoint)
        answers.append(provided)
        (tell or note_later)((f"initialised as {provided.library} does", *provided.notes, *_not_known(checkpoint, known, provided.library)))
        return known

    def ties() -> Iterable[frozenset[str]]:
        from ..providers import asking

        model = asking.model_of(checkpoint, arch) if not answers else None
        groups = [(each.model.prefix, each.model.ties) for each in answers] + ([(model.prefix, model.may_tie)] if model else [])
        return (frozenset(prefix + name for name in group) for prefix, found in groups for group in found)

    return Facts(initialisations, ties, lambda: _fitting_preset(checkpoint, arch))


def _fitting_preset(checkpoint: Checkpoint, arch: str) -> str:
    """The preset that fits the family which is recognised; empty where none is."""
    from ..architectures import architectures
    from ..architectures.family import Family
    from ..providers import asking
    from ..schemes.preset_choice import preset_without_config

    model = asking.model_of(checkpoint, arch)
    family = architectures[model.architecture] if model and model.architecture in architectures else None
    return preset_without_config({}, family.name, family.preset) if isinstance(family, Family) else ""


def _provided(checkpoint: Checkpoint, arch: str) -> Provided:
    """The model as its library builds it. Raises LibraryError where there is none, or where the config contradicts the file."""
    from ..analysis.contradictions import contradicting_sizes
    from ..errors import LibraryError
    from ..providers import asking

    provided = asking.ask(checkpoint, arch)
    if provided is None:
        raise _no_library(checkpoint, arch)
    wrong = contradicting_sizes(checkpoint) if arch == "auto" else []
    if wrong:
        told = "; ".join(f"{entry} says {says}, and the file has {found}" for entry, says, found in wrong)
        raise LibraryError(f"the config contradicts the weights: {told}", "mend the config, on which the initialisation depends")
    return provided


def _no_library(checkpoint: Checkpoint, arch: str) -> LibraryError:
    """The error where no library is known to ask."""
    from ..configs import find
    from ..errors import LibraryError

    if arch != "auto":
        return LibraryError(f"--arch {arch} names no library of models", "--arch LIBRARY:NAME does")
    found = find(checkpoint)
    if found.config is None and found.notes:
        return LibraryError(f"no config can be read: {found.notes[0]}", "download the file again")
    if found.config is not None:
        return LibraryError(f"no library of models is asked for a config of {found.config.library or 'no known kind'}", "give rules")
    return LibraryError(
        "no library of models is known that this model is of",
        "its config.json belongs beside the file, or --arch LIBRARY:NAME names the model",
    )


def _not_known(checkpoint: Checkpoint, known: Mapping[str, object], library: str) -> list[str]:
    """A note on the tensors that the library's model does not have."""
    from ..errors import first_few

    others = [name for name in checkpoint.distinct() if name not in known]
    return [f"not in the model of {library}, and left as it is: {first_few(others, 3)}"] if others else []
