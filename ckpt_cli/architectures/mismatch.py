"""How a model and a file differ in names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UsageError, first_few
from ..numbers.shapes import show_shape
from .hyperparameters import shown_all
from .layers import Shape
from .model import Model
from .prefixes import unaccounted


@dataclass(frozen=True)
class Mismatch:
    """The differences between a model and a file; true where there are any.

    Attributes:
        missing: names that only the model has.
        unexpected: names that only the file has.
        mismatched: (name, the model's shape, the file's shape) where these differ.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        shapes = [f"{name} ({show_shape(theirs)}, not {show_shape(ours)})" for name, ours, theirs in self.mismatched]
        parts = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": shapes}
        return "; ".join(f"{what} {first_few(names, 3)}" for what, names in parts.items() if names)


def compare(model: Model, shapes: Mapping[str, Shape]) -> Mismatch:
    """Compare a model with a file's names and shapes, exactly. Names are the file's, prefix included.

    A name that the model ties to one in the file is not missing: some formats write a shared tensor once.
    """
    ours = {model.prefix + name: shape for name, shape in model.shapes.items()}
    present = {name for group in model.ties if any(model.prefix + name in shapes for name in group) for name in group}
    inside = {name for name in shapes if name.startswith(model.prefix)} | set(unaccounted(shapes, model.prefix, model.shapes))
    return Mismatch(
        tuple(name for name in ours if name not in shapes and name[len(model.prefix) :] not in present),
        tuple(name for name in shapes if name in inside and name not in ours),
        tuple((name, ours[name], shapes[name]) for name in ours if name in shapes and ours[name] != shapes[name]),
    )


def require_match(model: Model, shapes: Mapping[str, Shape]) -> None:
    """Refuse a model whose names and shapes are not those of the file.

    Raises:
        UsageError: they differ; the message lists the first differences.
    """
    mismatch = compare(model, shapes)
    if mismatch:
        arguments = f"({shown_all(model.hyperparameters)})" if model.hyperparameters else ""
        raise UsageError(f"the file does not hold {model.architecture}{arguments}: {mismatch}", "give another --arch, or --arch none")
