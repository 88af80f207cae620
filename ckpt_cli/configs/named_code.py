"""Code that a config names. ckpt runs none of it; other programs may, as they load the model.

transformers imports the modules of `auto_map` and of `custom_pipelines` where it is told `trust_remote_code`
(src/transformers/dynamic_module_utils.py; src/transformers/pipelines/__init__.py), and fetches an attention from the hub that is named as a
repository (src/transformers/integrations/hub_kernels.py); diffusers imports the module of a pipeline's class
(src/diffusers/pipelines/pipeline_utils.py), sentence-transformers the class of a module (sentence_transformers/base/model.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..formats.encodings.strict_json import objects_in
from .finding import Found
from .whole import module_types

_TRUSTING = "transformers imports it, where it is told trust_remote_code"
_FETCHED = "transformers fetches it from the hub, and runs it"
_DIFFUSERS = "diffusers imports it, where it is told trust_remote_code"
_SENTENCES = "sentence-transformers imports it, where it is told trust_remote_code"
_ATTENTIONS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")


class Named(NamedTuple):
    """Code that a config names.

    Attributes:
        entry: the entry that names it.
        name: the class, module or repository.
        why: which program imports it, and when.
    """

    entry: str
    name: str
    why: str


def named_in(value: Mapping[str, Any]) -> Iterator[Named]:
    """Yield the code that one object of a config names, but for that of the objects in it."""
    found = value.get("auto_map")
    for named in found.values() if isinstance(found, dict) else [found]:
        yield from (Named("auto_map", each, _TRUSTING) for each in (named if isinstance(named, list) else [named]) if isinstance(each, str))
    pipelines = value.get("custom_pipelines")
    for pipeline in pipelines.values() if isinstance(pipelines, dict) else ():
        if isinstance(pipeline, dict) and isinstance(pipeline.get("impl"), str):
            yield Named("custom_pipelines", pipeline["impl"], _TRUSTING)
    for key in _ATTENTIONS:
        if isinstance(value.get(key), str) and "/" in value[key]:
            yield Named(key, value[key], _FETCHED)
    class_name = value.get("_class_name")
    if isinstance(class_name, list) and class_name and all(isinstance(each, str) for each in class_name):
        yield Named("_class_name", ".".join(class_name), _DIFFUSERS)


def code_named_by(found: Found) -> list[Named]:
    """Return the code that a config names, and that the list of modules beside it names; each once."""
    named = [each for value in objects_in(found.config.entries) for each in named_in(value)] if found.config else []
    types = module_types(found.folder).values() if found.folder else ()
    named += [Named("type", each, _SENTENCES) for each in types if not each.startswith("sentence_transformers.")]
    return list({each.name: each for each in named}.values())
