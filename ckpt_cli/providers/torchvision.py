"""torchvision's models, which have no config: `--arch torchvision:resnet18(num_classes=10)` names one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..configs import Config
from ..errors import LibraryError, did_you_mean
from . import Provided, Provider, provider
from .modules import Recipe, provided_module
from .plain_arguments import parse_model, plain_arguments

if TYPE_CHECKING:
    from torch.nn import Module

# Arguments that read weights, or a file of them, and those that ckpt gives.
_WEIGHTS = frozenset({"weights", "weights_backbone", "progress", "pretrained", "pretrained_backbone", "quantize"})


@provider
class Torchvision(Provider):
    """The models of torchvision: classification, detection, segmentation, video, optical flow."""

    name = "torchvision"

    def config_named(self, text: str) -> Config:
        """Return `resnet18(num_classes=10)` as a config.

        Raises:
            UsageError: the arguments are no literals, or have no names.
        """
        name, arguments = parse_model(self.name, text)
        return Config(f"torchvision:{text}", self.name, name, "", arguments)

    def provide(self, config: Config, shapes: Mapping[str, tuple[int, ...]]) -> Provided:
        """Build the model that a config names, without weights."""
        return provided_module(self.name, config, _recipe, shapes)


def _recipe(config: Config) -> Recipe:
    from torchvision import models

    name, known = config.class_name.lower(), models.list_models()
    if name not in known:
        raise LibraryError(f"torchvision has no model {config.class_name[:100]!r}", did_you_mean(name, known))
    make = models.get_model_builder(name)
    arguments, notes = plain_arguments(config.entries, _WEIGHTS)
    without = _no_weights(make)

    def build() -> Module:
        module: Module = make(**without, **arguments)
        return module

    return Recipe(name, arguments, build, notes)


def _no_weights(make: object) -> dict[str, None]:
    """The arguments by which a model gets no weights: of detectors and the like, the backbone neither."""
    from inspect import signature

    names = signature(make).parameters  # type: ignore[arg-type]
    return {name: None for name in ("weights", "weights_backbone") if name in names}
