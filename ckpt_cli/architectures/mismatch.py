"""How a model and a file disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from .hyperparameters import shown_all
from .layers import Shape
from .recognition import Model, strangers


@dataclass(frozen=True)
class Mismatch:
    """Names that the model has and the file has not, that the file has and the model has not, and (name, model's, file's shape)."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        shapes = [f"{name} ({by(theirs)}, not {by(ours)})" for name, ours, theirs in self.mismatched]
        parts = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": shapes}
        return "; ".join(f"{what} {some(names)}" for what, names in parts.items() if names)


def compare(model: Model, shapes: Mapping[str, Shape]) -> Mismatch:
    """The model held strictly against a file's names and shapes. Names are the file's, prefix included.

    A name that the model ties to one in the file is not missed: some formats write a shared tensor once.
    """
    ours = {model.prefix + name: shape for name, shape in model.shapes.items()}
    present = {name for group in model.ties if any(model.prefix + name in shapes for name in group) for name in group}
    inside = {name for name in shapes if name.startswith(model.prefix)} | set(strangers(shapes, model.prefix, model.shapes))
    return Mismatch(
        tuple(name for name in ours if name not in shapes and name[len(model.prefix) :] not in present),
        tuple(name for name in shapes if name in inside and name not in ours),
        tuple((name, ours[name], shapes[name]) for name in ours if name in shapes and ours[name] != shapes[name]),
    )


def hold(model: Model, shapes: Mapping[str, Shape]) -> None:
    """Refuse a model whose names and shapes are not those of the file."""
    mismatch = compare(model, shapes)
    if mismatch:
        told = f"({shown_all(model.hyperparameters)})" if model.hyperparameters else ""
        raise UsageError(f"the file does not hold {model.architecture}{told}: {mismatch}", "give another --arch, or --arch none")


def some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def by(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"
