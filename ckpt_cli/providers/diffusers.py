"""Models of diffusers: a config.json with `_class_name`, in a folder of its own or as a component of a pipeline (`unet/`, `vae/`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from ..architectures.layers import Shape
from ..architectures.mismatch import compare
from ..configs import Config
from ..errors import LibraryError, did_you_mean
from . import Initialisation, Provided, Provider, provider
from .bounds import bounded, counted
from .building import Carried, described_in_file, drawn, drift, installed
from .fence import fenced

if TYPE_CHECKING:
    from torch.nn import Module

# What attention layers of 2022 are called now (diffusers, ModelMixin._fix_state_dict_keys_on_load).
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@provider
class Diffusers(Provider):
    """Hugging Face diffusers: U-Nets, transformers, autoencoders and ControlNets of diffusion pipelines."""

    name = "diffusers"

    def provide(self, config: Config, shapes: Mapping[str, Shape]) -> Provided:
        """Build the model on the meta device."""
        version = installed(self.name)
        library = f"{self.name} {version}"
        with fenced(library, config.path), bounded():
            kind = _class(config.class_name)
            build = partial(_build, kind, config.entries)
            with counted(len(shapes)):
                module = _on_meta(build)
            names = _carried(module, shapes)
            model = described_in_file(module, f"{self.name}:{config.class_name}", build, names, shapes)
        mismatch = compare(model, shapes) if shapes else None
        notes = [f"{config.class_name} does not agree with the file: {mismatch}"] if mismatch else []

        @cache
        def ask() -> dict[str, Initialisation]:
            with fenced(library, config.path), bounded(len(shapes)):
                return drawn(lambda: (_on_meta(build), names))

        def fresh() -> Module:
            with fenced(library, config.path):
                return build().eval()

        return Provided(library, replace(model, module=fresh), ask, (*drift(self.name, version), *notes))


def _class(name: str) -> Any:
    """The class of that name; pipelines and schedulers are no models, nor is anything that the library only imports.

    Raises:
        LibraryError: there is none.
    """
    import diffusers
    from diffusers.configuration_utils import ConfigMixin

    found = getattr(diffusers, name, None) if name.isidentifier() else None
    is_model = isinstance(found, type) and issubclass(found, diffusers.ModelMixin) and issubclass(found, ConfigMixin)
    if is_model and found.__module__.startswith("diffusers.models."):
        return found
    if hasattr(diffusers, name):
        raise LibraryError(f"{name} is no model", "those of a pipeline have folders of their own, as in unet/")
    raise LibraryError(f"diffusers has no model {name!r}", did_you_mean(name, dir(diffusers)) or "is it too old?")


def _build(kind: Any, entries: Mapping[str, object]) -> Module:
    module: Module = kind.from_config({key: value for key, value in entries.items() if key != "quantization_config"})
    return module


def _on_meta(build: Any) -> Any:
    import torch

    with torch.device("meta"):
        return build()


def _carried(module: Any, shapes: Mapping[str, Shape]) -> Carried:
    """Which tensor of the module each of the file is: it has today's names, or those of the oldest attention layers."""
    ours = module.state_dict()
    old = {theirs: new for theirs in shapes if theirs not in ours and (new := _today(theirs)) in ours}
    names = {name: name for name in shapes if name in ours} | old
    filled = set(names.values())
    return Carried(names | {name: name for name in ours if name not in filled}, {})


def _today(name: str) -> str:
    """What a tensor of an old attention layer is called now."""
    path, _, leaf = name.rpartition(".")
    above, _, layer = path.rpartition(".")
    return f"{above}.{_OLD_NAMES[layer]}.{leaf}" if layer in _OLD_NAMES else name
