"""timm's models: a config.json with `architecture`, or `--arch timm:resnet18(num_classes=10)`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..configs import Config
from ..errors import LibraryError, did_you_mean
from . import Provided, Provider, provider
from .modules import Recipe, provided_module
from .plain_arguments import parse_model, plain_arguments

if TYPE_CHECKING:
    from torch.nn import Module

# `resnet18.a1_in1k` names the weights behind the dot; `hf-hub:NAME` and `local-dir:NAME` would be fetched.
_NAME = re.compile(r"(\w+)(?:\.\w+)?", re.ASCII)
# What a `pretrained_cfg` says of the model. The others say where its weights are: `url`, `file`, `hf_hub_id`, `source`, `custom_load`.
_OF_THE_MODEL = ("num_classes", "input_size", "fixed_input_size", "pool_size", "global_pool", "first_conv", "classifier")
# Arguments of `create_model` that read weights or files, or wrap the model in another one.
_OF_THE_FACTORY = frozenset(
    {
        *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "pretrained_filter_fn", "pretrained_model_args"),
        *("checkpoint_path", "cache_dir", "features_only", "feature_cls", "out_indices", "pruned", "model_name", "model_cls", "variant"),
        *("scriptable", "exportable", "no_jit", "device", "dtype"),
    }
)


@provider
class Timm(Provider):
    """The models of timm, PyTorch Image Models."""

    name = "timm"

    def config_named(self, text: str) -> Config:
        """Return `resnet18(num_classes=10)` as a config.

        Raises:
            UsageError: the arguments are no literals, or have no names.
        """
        name, arguments = parse_model(self.name, text)
        return Config(f"timm:{text}", self.name, name, "", {"architecture": name, "model_args": arguments})

    def provide(self, config: Config, shapes: Mapping[str, tuple[int, ...]]) -> Provided:
        """Build the model that a config names, without weights; nothing is downloaded."""
        return provided_module(self.name, config, _recipe, shapes)


def _recipe(config: Config) -> Recipe:
    import timm

    found = _NAME.fullmatch(config.class_name)
    name = found[1] if found else ""
    if not timm.is_model(name):
        raise LibraryError(f"timm has no model {config.class_name[:100]!r}", did_you_mean(name, timm.list_models()))
    given = config.entries.get("model_args")
    arguments, notes = plain_arguments(given if isinstance(given, Mapping) else {}, _OF_THE_FACTORY)
    described = _of_the_model(config.entries)

    def build() -> Module:
        module: Module = timm.create_model(name, pretrained=False, pretrained_cfg=described, **arguments)
        return module

    return Recipe(name, arguments, build, notes)


def _of_the_model(entries: Mapping[str, object]) -> dict[str, object] | None:
    """What a config says of the model besides its arguments; None where it says nothing, and timm's own entry for that name holds.

    In old configs these entries have no object of their own. A `num_classes` beside that object is the newer one.
    """
    inner = entries.get("pretrained_cfg", entries)
    told = {name: value for name, value in inner.items() if name in _OF_THE_MODEL} if isinstance(inner, Mapping) else {}
    if "num_classes" in entries:
        told["num_classes"] = entries["num_classes"]
    return plain_arguments(told, ())[0] or None
