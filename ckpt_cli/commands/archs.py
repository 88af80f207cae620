"""`ckpt archs`: list the architectures, or tell all about one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..architectures import Architecture, architectures
from ..architectures.hyperparameters import Hyperparameter, schema, shown, shown_all
from ..providers import asking
from ..show.answer import Answer, Color, note
from .params import Colors, Csv, Json

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="An architecture: all its hyperparameters.", show_default=False)]


def archs_command(architecture: Name = None, as_json: Json = False, as_csv: Csv = False, color: Colors = Color.auto) -> None:
    """List the architectures that `ckpt new` builds and `ckpt summary` recognises, or tell the hyperparameters of NAME.

    A note names the libraries of models that are installed, whose models `--arch LIBRARY:NAME` names.
    In a pipe: NAME, HYPERPARAMETERS (key=default, separated by comma and blank), TITLE, tab-separated; with NAME its HYPERPARAMETERS, a
    record each: name, default, meaning.
    """
    out = Answer(as_json, color, as_csv)
    known = [architectures[name] for name in ([architecture] if architecture else sorted(architectures))]
    if as_json:
        documents = [_document(each) for each in known]
        out.json(documents[0] if architecture else {"architectures": documents, "libraries": asking.libraries()})
    elif architecture:
        if out.terminal:
            out.lines([f"{architecture}: {known[0].title}", ""])
        out.table(
            ("NAME" if as_csv else "HYPERPARAMETER", "DEFAULT", "MEANING"),
            [(each.name, shown(each.default), each.meaning) for each in _told(known[0])],
        )
    elif out.terminal:
        out.table(("NAME", "WHAT IT IS"), [(each.name, each.title) for each in known])
        if libraries := asking.libraries():
            note(f"the models of {', '.join(libraries)} are named as LIBRARY:NAME")
    else:
        out.table(
            ("NAME", "HYPERPARAMETERS", "TITLE"),
            [(each.name, shown_all({one.name: one.default for one in _told(each)}), each.title) for each in known],
        )


def _told(architecture: Architecture) -> list[Hyperparameter]:
    return list(schema(architecture).values())


def _document(architecture: Architecture) -> dict[str, Any]:
    hyperparameters = [{"name": each.name, "default": each.default, "meaning": each.meaning} for each in _told(architecture)]
    return {"name": architecture.name, "title": architecture.title, "hyperparameters": hyperparameters}
