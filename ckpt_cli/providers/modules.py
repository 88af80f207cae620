"""A module that a library builds and initialises in its constructor, with the names of the file: those of timm and torchvision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..architectures.layers import Shape
from ..architectures.user_module import describe
from ..configs import Config
from . import Initialisation, Provided
from .bounds import bounded
from .building import Carried, drawn, drift, installed
from .fence import fenced

if TYPE_CHECKING:
    from torch.nn import Module


class Recipe(NamedTuple):
    """How a library builds the model that a config names.

    Attributes:
        name: the model, as the library calls it.
        arguments: what the library is given.
        build: builds the module on the device in force.
        notes: what the user must know.
    """

    name: str
    arguments: Mapping[str, object]
    build: Callable[[], Module]
    notes: tuple[str, ...] = ()


def provided_module(library: str, config: Config, recipe_of: Callable[[Config], Recipe], shapes: Mapping[str, Shape]) -> Provided:
    """Build a module on the meta device, and describe it.

    Args:
        library: the library, as pip calls it.
        config: the config.
        recipe_of: imports the library, and says how it builds what the config names.
        shapes: the shape of each tensor of the file by name; empty where there is none.

    Raises:
        LibraryError: the library is not installed or too old, or cannot build it, or it has many more tensors than the file.
    """
    version = installed(library)
    title, what = f"{library} {version}", config.class_name[:100] or f"the model of {config.path}"
    with fenced(title, what):
        recipe = recipe_of(config)
        with bounded(len(shapes)):
            module = on_meta(recipe.build)

    def built() -> tuple[Module, Carried]:
        module = on_meta(recipe.build)
        return module, Carried({name: name for name in module.state_dict()}, {})

    def initialisations() -> dict[str, Initialisation]:
        with fenced(title, what), bounded(len(shapes)):
            return drawn(built)

    model = describe(f"{library}:{recipe.name}", dict(recipe.arguments), recipe.build, module)
    return Provided(title, model, initialisations, (*drift(library, version), *recipe.notes))


def on_meta(build: Callable[[], Module]) -> Module:
    """Build a module on the meta device. Where its constructor needs values (`torch.linspace(…).tolist()`), those are computed."""
    import torch

    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError) as error:
        if "meta" not in str(error).lower():
            raise
    with values_computed():
        return build()


def values_computed() -> AbstractContextManager[object]:
    """Return a context in which tensors are made on the meta device, but for those that are made of their values."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._device import _device_constructors

    of_values = {torch.arange, torch.linspace, torch.logspace, torch.tensor, torch.as_tensor, torch.scalar_tensor, torch.range}
    without_values = frozenset(_device_constructors()) - of_values

    class ValuesComputed(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            device = {"device": "meta"} if func in without_values else {}
            return func(*args, **device | (kwargs or {}))

    return ValuesComputed()
