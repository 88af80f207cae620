"""A transformers model built on the meta device, and which of several classes a file holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..architectures.layers import Shape
from ..architectures.mismatch import Mismatch, compare
from ..architectures.model import Model
from ..configs import Config
from ..errors import LibraryError
from . import Initialisation
from .bounds import counted
from .building import Carried, described_in_file, drawn
from .transformers_config import classes_for, config_object, others_of
from .transformers_names import carried

if TYPE_CHECKING:
    from torch.nn import Module

_MOST_TO_COMPARE = 3_000  # tensors; where a model has more, only the base model is built beside the class that is named

_MOST_FAULTS = 0.1  # of a file's tensors, for a class that the config does not name


@dataclass(frozen=True)
class Built:
    """One class, built for a file.

    Attributes:
        kind: the class.
        made: the library's config object.
        model: its Model, with the names of the file.
        mismatch: how it and the file differ; nothing where there is no file.
    """

    kind: Any
    made: Any
    model: Model
    mismatch: Mismatch

    @property
    def faults(self) -> int:
        """How many names and shapes differ."""
        return len(self.mismatch.missing) + len(self.mismatch.unexpected) + len(self.mismatch.mismatched)

    def fresh(self) -> Module:
        """Return the module on the device in force, freshly initialised."""
        module: Module = self.kind(deepcopy(self.made))
        return module.eval()

    def notes(self, named: str, of_file: bool) -> Iterator[str]:
        """Yield what the user must know: another class than the config's, names that do not agree with a file, if there is one."""
        if named and self.kind.__name__ != named:
            yield f"config.json names {named[:100]}; {'the file holds' if of_file else 'the model built is'} {self.kind.__name__}"
        if self.mismatch:
            yield f"{self.kind.__name__} does not agree with the file: {self.mismatch}"


def best(config: Config, shapes: Mapping[str, Shape]) -> Built:
    """Build the class that a config names; where the file agrees better with another one of that model_type, that one.

    A config often outlives what was done to the weights: a base model was saved beside the config of a whole one, or the reverse.

    Raises:
        LibraryError: the library has no such class, or it is of no use by itself.
        Stopped: the model is too large.
    """
    made = config_object(config)
    named, *alike = classes_for(config, made)
    first = build(named, made, shapes)
    if not shapes and not first.model.shapes:
        raise LibraryError(f"{named.__name__} has no parameters", f"name {_first_of(config, named)} under architectures")
    if not shapes or not first.faults:
        return first
    others = [kind for kind in alike or others_of(config) if kind is not named]
    tried = [first]
    for kind in others[: 1 if len(shapes) > _MOST_TO_COMPARE else None]:
        tried.append(build(kind, made, shapes))
        if not tried[-1].faults:
            break
    found = min(tried, key=lambda each: each.faults)
    return found if alike or found.faults < len(shapes) * _MOST_FAULTS else first


def _first_of(config: Config, but: Any) -> str:
    """The name of a class of that model_type that has parameters, to be named in a message."""
    return next((kind.__name__ for kind in others_of(config) if kind is not but), "another class")


def build(kind: Any, made: Any, shapes: Mapping[str, Shape]) -> Built:
    """Build one class on the meta device, and describe it with the names of the file."""
    with counted(len(shapes)):
        module = on_meta(kind, made)
        names = carried(module, shapes)
    model = described_in_file(module, f"transformers:{kind.__name__}", partial(kind, made), names, shapes)
    return Built(kind, made, model, compare(model, shapes) if shapes else Mismatch((), (), ()))


def on_meta(kind: Any, made: Any, initialised: bool = False) -> Any:
    """Return a module on the meta device.

    Args:
        kind: its class.
        made: the config object; it is copied, as a constructor changes it.
        initialised: whether its own initialisation is run, which the library skips on the meta device. It comes before tying: otherwise
            what a decoder draws would stand in for the embedding, without the zeros in its padding row.
    """
    import torch
    from transformers.initialization import no_tie_weights

    with torch.device("meta"), no_tie_weights():
        module = kind(deepcopy(made))
    if initialised:
        module.initialize_weights()
    module.tie_weights()
    return module


def initialisations(built: Built, shapes: Mapping[str, Shape]) -> dict[str, Initialisation]:
    """Return how the library initialises each tensor of the file."""

    def made() -> tuple[Any, Carried]:
        module = on_meta(built.kind, built.made, initialised=True)
        return module, carried(module, shapes)

    with counted(len(shapes)):
        return drawn(made)
