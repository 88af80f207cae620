"""`ckpt archs`: list the architectures."""

from __future__ import annotations

from typing import Any

from ..architectures import Architecture, architectures
from ..architectures.hyperparameters import schema, shown_all
from ..show.answer import Answer, Color, note
from .params import Colors, Json


def archs_command(as_json: Json = False, color: Colors = Color.auto) -> None:
    """List the architectures that `ckpt new` builds and `ckpt summary` recognises, with their hyperparameters and defaults.

    A note names the libraries of models that are installed, whose models `--arch LIBRARY:NAME` names.
    In a pipe: NAME, HYPERPARAMETERS (key=default, separated by comma and blank), TITLE, tab-separated.
    """
    out = Answer(as_json, color)
    known = [architectures[name] for name in sorted(architectures)]
    if as_json:
        documents = [{"name": each.name, "title": each.title, "hyperparameters": _document(each)} for each in known]
        out.json({"architectures": documents, "libraries": _libraries()})
        return
    rows = [(each.name, shown_all({name: one.default for name, one in schema(each).items()}), each.title) for each in known]
    out.table(("NAME", "HYPERPARAMETERS", "WHAT IT IS"), rows)
    libraries = _libraries()
    if out.terminal and libraries:
        note(f"the models of {', '.join(libraries)} are named as LIBRARY:NAME")


def _libraries() -> list[str]:
    """The libraries of models that are installed and whose models can be named. None is imported."""
    from importlib.util import find_spec

    from ..providers import providers

    return [name for name in sorted(providers) if name != "keras" and find_spec(name) is not None]


def _document(architecture: Architecture) -> list[dict[str, Any]]:
    return [{"name": each.name, "default": each.default, "meaning": each.meaning} for each in schema(architecture).values()]
