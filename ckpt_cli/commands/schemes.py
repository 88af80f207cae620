"""`ckpt schemes`: list what `ckpt reinit` can draw, with parameters and formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..show.answer import Answer, Color
from .params import Colors, Csv, Json

if TYPE_CHECKING:
    from ..schemes import Scheme
    from ..schemes.signature import Signature

_PRESET = "preset"  # the family that presets have in the list

Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="A scheme, a preset or FILE.py:FUNCTION: all about it.", show_default=False)
]


def schemes_command(name: Name = None, as_json: Json = False, as_csv: Csv = False, color: Colors = Color.auto) -> None:
    """List the schemes and presets of `ckpt reinit`, or tell all about NAME.

    In a pipe: NAME, FAMILY, PARAMETERS with their defaults, FORMULA, tab-separated. Presets, for --preset, have the family `preset`.
    """
    out = Answer(as_json, color, as_csv)
    entries = [_entry_of(name)] if name else _entries()
    if as_json:
        out.json(entries[0] if name else {"schemes": entries})
    elif name and not as_csv:
        out.lines(_page(entries[0]))
    else:
        rows = [(each["name"], each["family"], _parameters(each), each["formula"]) for each in entries]
        out.table(("NAME", "FAMILY", "PARAMETERS", "FORMULA"), rows)


def _entries() -> list[dict[str, Any]]:
    """Return each scheme once, by family, whatever names it has; then the presets."""
    from ..schemes import schemes
    from ..schemes.presets import presets

    distinct = {scheme.name: scheme for scheme in schemes.values()}
    listed = sorted(distinct.values(), key=lambda scheme: (scheme.family, scheme.name.lower()))
    return [*map(_of_scheme, listed), *map(_of_preset, sorted(presets))]


def _entry_of(name: str) -> dict[str, Any]:
    from ..schemes.presets import presets
    from ..schemes.rules import named_scheme

    return _of_preset(name) if name in presets else _of_scheme(named_scheme(name))


def _of_scheme(scheme: Scheme[Any]) -> dict[str, Any]:
    from ..schemes import schemes

    aliases = [name for name, other in schemes.items() if other is scheme and name != scheme.name]
    return _entry(scheme, aliases)


def _of_preset(name: str) -> dict[str, Any]:
    from ..schemes.presets import presets

    return _entry(presets[name], [])


def _entry(signature: Signature, aliases: list[str]) -> dict[str, Any]:
    formula, _, notes = signature.doc.partition("\n\n")
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]  # as text: `val`, `**rows`
    named = [{"name": str(p)} if p.default is p.empty else {"name": p.name, "default": p.default} for p in bare]
    return {
        "name": signature.name,
        "family": signature.family,
        "aliases": aliases,
        "parameters": named,
        "formula": " ".join(formula.split()),
        "notes": " ".join(notes.split()),
    }


def _parameters(entry: dict[str, Any]) -> str:
    return ", ".join(p["name"] if "default" not in p else f"{p['name']}={p['default']!r}" for p in entry["parameters"])


def _page(entry: dict[str, Any]) -> list[str]:
    """Return all that is known of one scheme or preset, as lines."""
    import textwrap

    plain = entry["family"] == _PRESET and not entry["parameters"]
    signature = entry["name"] if plain else f"{entry['name']}({_parameters(entry)})"
    also = f", also {', '.join(entry['aliases'])}" if entry["aliases"] else ""
    paragraphs = [textwrap.wrap(entry[part], 100, initial_indent="    ", subsequent_indent="    ") for part in ("formula", "notes")]
    return [f"{signature}    {entry['family']}{also}", "", *paragraphs[0], *([""] if paragraphs[1] else []), *paragraphs[1]]
