"""What a model is a part of: a pipeline of diffusers, or the modules of a SentenceTransformer."""

from __future__ import annotations

from .folder import Folder
from .reader import text

_MOST_MODULES = 100


def whole_of(folder: Folder) -> str:
    """Return what the model in a folder is a part of, in words; empty where nothing tells."""
    from .reader_diffusers import class_of

    index = folder.above.object("model_index.json")
    if folder.name in index and class_of(index):
        return class_of(index)
    here, above = module_types(folder), module_types(folder.above)
    types = here or (above if folder.name in above else {})
    names = [named.rpartition(".")[2] for named in types.values()]
    return f"SentenceTransformer({', '.join(names)})" if names else ""


def module_types(folder: Folder) -> dict[str, str]:
    """Return the class of each module that modules.json lists, by its folder; the module in the same folder has an empty name."""
    document = folder.document("modules.json")
    modules = [each for each in document[:_MOST_MODULES] if isinstance(each, dict)] if isinstance(document, list) else []
    found = {text(each.get("path")): text(each.get("type")) for each in modules}
    return {path: named for path, named in found.items() if named}
