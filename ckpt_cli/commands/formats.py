"""`ckpt formats`: the table of file formats."""

from __future__ import annotations

from typing import Any

from ..formats import Format, Patcher, Writer, formats
from ..show.answer import Answer, Color
from .params import Colors, Csv, Json

ABILITIES = ("read", "write", "patch", "ties", "metadata", "objects")


def formats_command(as_json: Json = False, as_csv: Csv = False, color: Colors = Color.auto) -> None:
    """List the file formats and what each can do.

    NAME, TITLE, SUFFIXES, then yes or no for: read, write, patch (values are edited in a copy of the file), ties, metadata, objects.
    """
    out = Answer(as_json, color, as_csv)
    if as_json:
        out.json({"formats": [_document(form) for form in formats.values()]})
    else:
        rows = [
            (f.name, f.title, " ".join(f.suffixes), *("yes" if can else "no" for can in abilities(f).values())) for f in formats.values()
        ]
        out.table(("NAME", "TITLE", "SUFFIXES", *map(str.upper, ABILITIES)), rows)


def abilities(form: Format) -> dict[str, bool]:
    """What a format is able to do, by the pieces that it has and by what its files have a place for: a column each."""
    pieces = True, isinstance(form, Writer), isinstance(form, Patcher)
    return dict(zip(ABILITIES, (*pieces, form.ties, form.metadata, form.objects), strict=True))


def _document(form: Format) -> dict[str, Any]:
    return {"name": form.name, "title": form.title, "suffixes": list(form.suffixes)} | abilities(form)
