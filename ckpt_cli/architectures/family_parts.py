"""Files that hold several models, each a style of another family: Stable Diffusion in one file.

`[STYLE.parts]` has `"PREFIX" = "FAMILY/STYLE MARK"`: the layers of that style, without its base and heads, under the prefix. Their sizes
and options are hyperparameters of the whole, called MARK_NAME.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_BRACES = re.compile(r"\{[^}]*\}")


def with_parts(document: Mapping[str, Any], document_of: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document of a family with the lines, sizes and options of the parts of its styles.

    Args:
        document: the family's own.
        document_of: gives the document of a family by its name.
    """
    whole = {key: dict(value) if isinstance(value, Mapping) else value for key, value in document.items()}
    for style in [value for value in whole.values() if isinstance(value, dict) and "parts" in value]:
        for prefix, told in style.pop("parts").items():
            place, mark = told.split()
            family, _, name = place.partition("/")
            other = document_of(family)
            names = [*other["sizes"], *other.get("options", {})]
            lines = (line for line in other[name]["layers"].splitlines() if line.partition("#")[0].strip())
            style["layers"] = "\n".join([style.get("layers", ""), *(moved(line, prefix, names, mark) for line in lines)])
            for table in ("sizes", "options"):
                marked = {f"{mark}_{key}": [renamed(value, names, mark), meaning] for key, (value, meaning) in other.get(table, {}).items()}
                whole[table] = {**whole.get(table, {}), **marked}
    return whole


def moved(line: str, prefix: str, names: Iterable[str], mark: str) -> str:
    """Return a line under a prefix, with the mark before the names of its sizes and options."""
    words = line.split()
    option = renamed(words.pop(0), names, mark) if words[0].startswith("?") else ""
    path, kind, arguments = words[0], words[1], renamed(" ".join(words[2:]), names, mark)
    path = prefix.rstrip(".") if path == "." else prefix + _BRACES.sub(lambda found: renamed(found[0], names, mark), path)
    return f"{option} {path} {kind} {arguments}".strip()


def renamed(value: Any, names: Iterable[str], mark: str) -> Any:
    """Return a text with the mark before each of these names; anything else as it is."""
    if not isinstance(value, str):
        return value
    return re.sub(rf"\b({'|'.join(map(re.escape, names))})\b", rf"{mark}_\1", value)
