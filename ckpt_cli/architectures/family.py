"""A family of models that a data file describes, `families/NAME.toml`.

title    what `ckpt archs` says of it
types    the `model_type`s of the configs that it belongs to
library  the library that has its modules
preset   the preset that initialises it
like     another family, whose sizes, options and styles it has where it names none of its own; a line of the same path takes the
         place of the other's, and a line `PATH -` takes it away
sizes    NAME = [DEFAULT, "meaning"]; a default may be an expression of sizes before it
options  NAME = [DEFAULT, "meaning"]: what a model may have or lack

Every other table is a naming style: the names that a library or a program gives the tensors. The first one is that of `ckpt new`.

marks    the last two parts, or the last one, of some names that every file in this style has; without them, a file is looked at no more
layers   the lines: see family_lines.py
base     what the names of `layers` begin with, unless the file holds the model without its heads; that is a style of its own, NAME-bare
bare     false where the model without its heads has the names of another family
heads    lines besides, whose paths have no base
ties     groups of names that may be one tensor, each as a text
layout   torch, flax, or gamma: what the lines' types call their tensors, and the order of axes
parts    styles of other families that lie beside each other in one file: see family_parts.py
copies   another style of the family, whose base, layers, heads and ties it has, in its own layout
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LibraryError, UsageError
from . import Architecture, Member, architectures
from .family_lines import Line, lines_of
from .family_names import Evidence, Places, used_in
from .family_parts import with_parts
from .family_sizes import Guessed, Known, gathered, parsed, spread, value_of
from .family_trees import MOST_LAYERS, layers_from, nested, shapes_of
from .hyperparameters import Hyperparameter
from .layers import Layer, Shape

if TYPE_CHECKING:
    from torch.nn import Module

FOLDER = Path(__file__).parent / "families"
ABOUT = ("title", "types", "library", "preset", "like", "sizes", "options")
NAMES = "names"  # the hyperparameter that picks a style


@dataclass(frozen=True)
class Style:
    """The names of a family's tensors as one library or program has them.

    Attributes:
        lines: the layers.
        marks: the last two parts, or the last one, of names that are always there.
        ties: groups of names that may be one tensor.
    """

    lines: tuple[Line, ...]
    marks: tuple[str, ...]
    ties: frozenset[frozenset[str]]

    @cached_property
    def places(self) -> Places:
        """The names, for look-up."""
        return Places(self.lines)


class Family(Architecture):
    """A family that a data file describes. The file is read when it is first needed, and parsed when its marks are found.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem  # type: ignore[misc]

    @cached_property
    def text(self) -> str:
        """The file."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def document(self) -> dict[str, Any]:
        """The file, with what it has of the family that it is like."""
        import tomllib

        own = tomllib.loads(self.text)
        if "like" not in own:
            return with_parts(own, self._document_of)
        other = self._document_of(own["like"])
        merged = {key: {**other.get(key, {}), **own.get(key, {})} for key in ("sizes", "options")}
        merged |= {key: {**other.get(key, {}), **own[key]} for key in own if key not in ABOUT}
        for style in (key for key in merged if key in other and key not in ABOUT):
            for lines in ("layers", "heads"):
                if lines in merged[style]:
                    merged[style][lines] = overlaid(other[style].get(lines, ""), own[style].get(lines, ""))
        return {**{key: other[key] for key in ABOUT if key in other}, **own, **merged}

    def _document_of(self, name: str) -> dict[str, Any]:
        """The file of another family."""
        return Family(self.path.with_name(f"{name}.toml")).document

    @cached_property
    def styles(self) -> dict[str, Style]:
        """Style by name; the first is the default."""
        tables = {key: table for key, table in self.document.items() if key not in ABOUT}
        whole = {key: {**tables.get(table.get("copies", ""), {}), **table} for key, table in tables.items()}
        return {name: style for key, table in whole.items() for name, style in styles_of(key, table)}

    @property
    def title(self) -> str:
        """What `ckpt archs` says of the family."""
        return str(self.document["title"])

    @property
    def preset(self) -> str:
        """The preset of `ckpt reinit` that initialises it."""
        return str(self.document.get("preset", "bert"))

    @cached_property
    def _schema(self) -> dict[str, Hyperparameter]:
        used = {name for style in self.styles.values() for name in used_in(style.lines)}
        told = {name: told for name, told in {**self.document["sizes"], **self.document.get("options", {})}.items() if name in used}
        known = {name: Hyperparameter(name, default_of(value), annotation_of(value), meaning) for name, (value, meaning) in told.items()}
        if len(self.styles) > 1:
            meaning = f"whose names the tensors have: {', '.join(self.styles)}"
            known[NAMES] = Hyperparameter(NAMES, next(iter(self.styles)), "str", meaning)
        return known

    def declared(self) -> dict[str, Hyperparameter]:
        """Return the hyperparameters by name."""
        return self._schema

    def layers(self, **hyperparameters: Any) -> Layer:
        """Return the tree of layers. Hyperparameters that are not given have their defaults."""
        return self.member(hyperparameters).tree

    def member(self, hyperparameters: Mapping[str, object]) -> Member:
        """Return the member with these hyperparameters, and the defaults of the others."""
        name = str(hyperparameters.get(NAMES, next(iter(self.styles))))
        style = self.style(name)
        return self.member_of(layers_from(style.lines, self.complete(hyperparameters)), name)

    def member_of(self, layers: Mapping[str, Layer], style: str) -> Member:
        """Return the member with these layers; sizes that none of them has are no hyperparameters of it."""
        values = told(self.styles[style], shapes_of(layers), {}, strict=False) or {}
        return Member(self.named(values, style), nested(layers), may_tie=self.styles[style].ties)

    def style(self, name: str) -> Style:
        """Return the style of that name.

        Raises:
            UsageError: there is none.
        """
        if name not in self.styles:
            raise UsageError(f"{self.name} has no names={name}", f"it has {', '.join(self.styles)}")
        return self.styles[name]

    def complete(self, hyperparameters: Mapping[str, object]) -> Known:
        """Return all sizes and options, with the defaults of those that are not given.

        Raises:
            UsageError: a value is no number.
        """
        known = spread({key: value for key, value in hyperparameters.items() if not isinstance(value, str)})
        for name, each in self._schema.items():
            value = hyperparameters.get(name, each.default)
            if name != NAMES:
                try:
                    known |= spread({name: value_of(parsed(value), known, {}) if isinstance(value, str) else value})
                except (KeyError, ValueError):
                    raise UsageError(f"{name}={value} makes no sense", "write a whole number") from None
        return known

    def may_hold(self, ends: Collection[str]) -> bool:
        """Return whether names that end so may be the family's. The file is not parsed."""
        marks = (line.partition('"')[2].rpartition('"')[0] for line in self.text.splitlines() if line.startswith("marks"))
        return any(all(mark in ends for mark in each.split()) for each in marks)

    def recognise(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Member | None:
        """Return the member that has exactly these names and shapes."""
        for name, style in self.styles.items():
            if given.get(NAMES, name) == name and (known := told(style, shapes, given)):
                try:
                    layers = layers_from(style.lines, known, shapes, len(shapes) * 3 + 100)
                except UsageError:
                    continue
                if shapes_of(layers) == shapes:
                    return Member(self.named(known, name), nested(layers), may_tie=style.ties)
        return None

    def closest(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Member | None:
        """Return the member that explains most of these names, with the sizes that they tell and the defaults of others."""
        choices = {name: style for name, style in self.styles.items() if given.get(NAMES, name) == name}
        counts = {name: sum(bool(style.places.find(*each)) for each in shapes.items()) for name, style in choices.items()}
        best = max(counts, key=lambda name: counts[name], default="")
        if not counts.get(best):
            return None
        known = told(choices[best], shapes, given, strict=False) or {}
        known = Guessed({**self.complete(gathered(known)), **known})
        try:
            layers = layers_from(choices[best].lines, known, shapes, min(MOST_LAYERS, len(shapes) * 3 + 10_000))
        except UsageError:
            return None
        return self.member_of(layers, best)

    def named(self, known: Known, style: str) -> dict[str, object]:
        """Return the hyperparameters in the order of the schema, but for defaults of options and names; what a block lacks has size 0."""
        values = {**gathered(known, holes=True), NAMES: style}
        plain = {name for name, each in self._schema.items() if isinstance(each.default, (bool, str)) and values.get(name) == each.default}
        return {name: values[name] for name in self._schema if name in values and name not in plain}

    def agrees(self, member: Member, given: Mapping[str, object]) -> bool:
        """Return whether a member has the hyperparameters that the user named."""
        defaults = {name: each.default for name, each in self._schema.items()}
        return all(member.hyperparameters.get(name, defaults.get(name)) == value for name, value in given.items())

    def build(self, **hyperparameters: Any) -> Module:
        """Refuse to build a module: names and shapes do not tell what it computes.

        Raises:
            LibraryError: always.
        """
        raise self.no_module()

    def no_module(self) -> LibraryError:
        """Return the error for a module that is asked for."""
        library = self.document.get("library", "transformers")
        what = f"{self.name} is known by names and shapes, which do not say what it computes"
        return LibraryError(what, f"its module comes from {library}: pip install 'ckpt-tool[{library}]', and keep its config beside it")


def told(style: Style, shapes: Mapping[str, Shape], given: Mapping[str, object], strict: bool = True) -> Known | None:
    """Return what names and shapes tell of the sizes; None where numbers in names are hostile.

    With `strict`, a name that is none of the style's gives None, too.
    """
    evidence = Evidence(style.lines, {key: value for key, value in given.items() if key != NAMES})
    for name, shape in shapes.items():
        found = style.places.find(name, shape)
        if found:
            evidence.add(found, shape)
        elif strict:
            return None
    return evidence.told()


def styles_of(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Style]]:
    """Yield a style, and the one without its base and heads where it has a base."""
    layout, base = table.get("layout", "torch"), table.get("base", "")
    body, heads = tuple(lines_of(table["layers"], layout)), tuple(lines_of(table.get("heads", ""), layout))
    ties = frozenset(frozenset(group.split()) for group in table.get("ties", ()))
    marks = tuple(table["marks"].split())
    yield name, Style((*(line.under(base) for line in body), *heads), marks, ties)
    if base and table.get("bare", True):
        inside = (frozenset(each.removeprefix(base) for each in group if each.startswith(base)) for group in ties)
        yield f"{name}-bare", Style(body, marks, frozenset(group for group in inside if len(group) > 1))


def overlaid(lines: str, own: str) -> str:
    """Return lines, those of the same path replaced by own ones, at their place, and the other own ones behind them."""
    own_lines, others = ([line for line in text.splitlines() if line.partition("#")[0].strip()] for text in (own, lines))
    replacing = {path_of(line): line for line in own_lines}
    kept = [replacing.pop(path_of(line), line) for line in others]
    return "\n".join(line for line in [*kept, *replacing.values()] if line.split()[-1] != "-")


def path_of(line: str) -> str:
    """Return the path of a line."""
    return next(word for word in line.split() if not word.startswith("?"))


def default_of(value: object) -> object:
    """Return a default as it is kept: lists are tuples."""
    return tuple(map(default_of, value)) if isinstance(value, list) else value


def annotation_of(value: object) -> str:
    """Return what kind of value a default is, as `hyperparameters.CONVERTERS` calls it."""
    if isinstance(value, list):
        kinds = {list: "table", bool: "flags"}
        return next((kinds[type(item)] for item in value if type(item) in kinds), "Sizes" if all(value) else "counts")
    return {bool: "bool", str: "expression"}.get(type(value), "int" if value else "count")


def register() -> None:
    """Register the families of the folder."""
    for path in sorted(FOLDER.glob("*.toml")):
        architectures.add(path.stem, Family(path))


register()
