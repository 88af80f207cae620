"""A config.json of transformers as the library's own config object, and the classes that it may mean.

Entries that would make the library fetch, run or import something else are left out, at any depth; `LEFT_OUT` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..configs import Config
from ..errors import LibraryError, did_you_mean

_OF_CODE = ("auto_map", "custom_pipelines", "trust_remote_code")
_OF_KERNELS = (  # `_attn_implementation` may name a repository of the hub
    *("use_kernels", "kernel_config", "attn_implementation", "_attn_implementation", "_attn_implementation_internal"),
    *("experts_implementation", "_experts_implementation", "_experts_implementation_internal"),
)
_OF_WEIGHTS = (
    *("_name_or_path", "name_or_path", "_commit_hash", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"),
    *("cache_dir", "pretrained_backbone", "use_pretrained_backbone"),
)
_OF_STORING = ("quantization_config", "compression_config", "torch_dtype")  # the model is built plain, in float32
LEFT_OUT = frozenset((*_OF_CODE, *_OF_KERNELS, *_OF_WEIGHTS, *_OF_STORING))
SAID = {
    "auto_map": "auto_map names code of its own, which was not run",
    "quantization_config": "the model is built without quantization_config",
}
_NAMES_OF_REPOSITORIES = ("backbone", "architecture")  # of timm, by name alone
_DEEPEST = 32


def plain(value: Any, depth: int = 0) -> Any:
    """Return a part of a config without the entries that are left out.

    Raises:
        LibraryError: it is nested too deep, or names a backbone that would be fetched.
    """
    if depth > _DEEPEST:
        raise LibraryError(f"its entries are nested more than {_DEEPEST} deep", "see what it says")
    if isinstance(value, Mapping):
        if list(value) == ["__float__"] and value["__float__"] in ("Infinity", "-Infinity", "NaN"):  # how the library writes these
            return float(value["__float__"])
        _require_no_repository(value)
        return {key: plain(inner, depth + 1) for key, inner in value.items() if _is_kept(key, inner)}
    return [plain(inner, depth + 1) for inner in value] if isinstance(value, list) else value


def _is_kept(key: str, value: object) -> bool:
    return key not in LEFT_OUT and not key.startswith("__") and not (key == "dtype" and isinstance(value, str))


def _require_no_repository(entries: Mapping[str, object]) -> None:
    for key in _NAMES_OF_REPOSITORIES:
        name = entries.get(key)
        if isinstance(name, str) and (":" in name or "/" in name):
            raise LibraryError(f"{key} {name[:100]!r} would be fetched", "give the backbone's own config, backbone_config")


def notes_on(entries: Mapping[str, object]) -> list[str]:
    """Return what of a config was not followed."""
    return [f"config.json: {said}" for key, said in SAID.items() if entries.get(key)]


def config_object(config: Config) -> Any:
    """Return the library's config object.

    Raises:
        LibraryError: the library has no such model_type.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.model_type
    if not kind:
        raise LibraryError("it names no model_type", "transformers writes one, as in model_type: bert")
    if kind not in CONFIG_MAPPING:
        unknown = "its code is its own (auto_map), which is not run" if config.entries.get("auto_map") else ""
        raise LibraryError(
            f"transformers has no model_type {kind!r}", unknown or did_you_mean(kind, CONFIG_MAPPING, 0.7) or "is it too old?"
        )
    made = CONFIG_MAPPING[kind].from_dict(plain(config.entries))
    made._attn_implementation = "eager"  # sets that of the configs in it, too
    return made


def classes_for(config: Config, made: Any) -> list[Any]:
    """Return the classes that a config may mean: the one that it names; where it names none that there is, all of its model_type.

    Raises:
        LibraryError: there is none.
    """
    named = [config.class_name] if config.class_name else []
    found = [kind for kind in _model_classes(named) if isinstance(made, kind.config_class or ())] or others_of(config)
    if not found:
        raise LibraryError(f"transformers has no class {config.class_name or 'for ' + config.model_type!r}", "name it under architectures")
    return found


def others_of(config: Config) -> list[Any]:
    """Return all classes of a config's model_type."""
    return [*_model_classes(_of_model_type(config.model_type))]


def _model_classes(names: Iterable[str]) -> Iterator[Any]:
    """Yield the models among the library's names: `pipeline`, `PreTrainedModel` and the like are none."""
    import transformers

    for name in names:
        found = getattr(transformers, name, None) if name.isidentifier() else None
        is_model = isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)
        if is_model and found.__module__.startswith("transformers.models."):
            yield found


def _of_model_type(kind: str) -> list[str]:
    """The names of the classes of a model_type: the base model first, and BertForMaskedLM before BertLMHeadModel, which has its names."""
    from transformers.models.auto import modeling_auto

    tables = {name: table for name, table in vars(modeling_auto).items() if re.fullmatch(r"MODEL_(\w+_)?MAPPING_NAMES", name)}
    first = [name for name in ("MODEL_MAPPING_NAMES", "MODEL_FOR_MASKED_LM_MAPPING_NAMES") if name in tables]
    found = [tables[name][kind] for name in dict.fromkeys([*first, *tables]) if kind in tables[name]]
    return list(dict.fromkeys(name for entry in found for name in ((entry,) if isinstance(entry, str) else entry)))
