"""Models of transformers: a config.json with `model_type` and `architectures`.

Internals of the library that are used, all of 5.x: `initialization.no_tie_weights`, `PreTrainedModel.initialize_weights` and
`tie_weights`, `conversion_mapping`, `core_model_loading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ..architectures.layers import Shape
from ..configs import Config
from . import Initialisation, Provided, Provider, provider
from .bounds import bounded
from .building import drift, installed
from .fence import fenced

if TYPE_CHECKING:
    from torch.nn import Module


@provider
class Transformers(Provider):
    """Hugging Face transformers: language, vision, audio, and models of several kinds."""

    name = "transformers"

    def provide(self, config: Config, shapes: Mapping[str, Shape]) -> Provided:
        """Build the model on the meta device. Names are those of the file, or those with which the library saves a new model."""
        from .transformers_config import notes_on
        from .transformers_model import best, initialisations

        version = installed(self.name)
        library = f"{self.name} {version}"
        with fenced(library, config.path), bounded():
            built = best(config, shapes)

        @cache
        def ask() -> dict[str, Initialisation]:
            with fenced(library, config.path), bounded():
                return initialisations(built, shapes)

        def fresh() -> Module:
            with fenced(library, config.path):
                return built.fresh()

        notes = (*drift(self.name, version), *notes_on(config.entries), *built.notes(config.class_name, bool(shapes)))
        return Provided(library, replace(built.model, module=fresh), ask, notes)
