"""The edits, each as its command has it: the checkpoint first, then the texts of the command line, then its options.

An edit returns a new checkpoint and changes nothing. No values are read before they are asked for, or saved.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..errors import EditError
from ..tensors.checkpoint import Checkpoint
from .opening import AnyCheckpoint, opened, place, texts
from .steps import Others, context, lines_of, made
from .wording import about

if TYPE_CHECKING:
    import numpy
    import torch

    from ..numbers.dtypes import DType

Texts = str | Sequence[str]


def set_values(checkpoint: AnyCheckpoint, assignments: Texts, *, arch: str = "auto") -> Checkpoint:
    """Make assignments, from left to right: `ckpt set`.

    Args:
        checkpoint: The checkpoint, or its path.
        assignments: `"0.weight[0, 0] = 42"`, `"*.weight *= 0.5"`, `"*.weight = 0.5 * this + 0.5 * @other.pt"`, `"epoch = 10"`.
        arch: What patterns `@Type` speak of: auto, none, a name, `FILE.py:CALLABLE`.

    Raises:
        CkptError: A text is no assignment, matches nothing, or assigns what the dtype cannot hold.
    """
    return made(checkpoint, "set", set=texts(assignments), arch=arch)


def reinit(
    checkpoint: AnyCheckpoint,
    rules: Texts = (),
    *,
    preset: str = "",
    select: Texts = (),
    seed: int = 0,
    rng: Literal["tensor", "torch"] = "tensor",
    arch: str = "auto",
) -> Checkpoint:
    """Fill tensors anew: `ckpt reinit`. The notes of the result say what is drawn for which tensor, and why.

    Args:
        checkpoint: The checkpoint, or its path.
        rules: `"*.bias=zeros"`, `"0.weight=normal(0, 0.01)"`; the last that matches a tensor wins.
        preset: A scheme for each role, before the rules: `pytorch`, `bert` …, or `own`, for what the model's library does.
        select: Patterns of what the preset fills; all without one.
        seed: Where random numbers begin, from 0 to 2⁶³ - 1.
        rng: `tensor` draws each tensor by itself; `torch` draws all from one generator, in file order.
        arch: What patterns `@Type` speak of, and presets go by.

    Raises:
        CkptError: A rule is none, matches nothing, or cannot fill a tensor.
    """
    return made(checkpoint, "reinit", reinit=texts(rules), preset=preset, select=texts(select), seed=seed, rng=rng, arch=arch)


def resize(
    checkpoint: AnyCheckpoint,
    rules: Texts,
    *,
    fill: str = "",
    at: Literal["end", "start"] = "end",
    fresh: bool = False,
    seed: int = 0,
    arch: str = "auto",
) -> Checkpoint:
    """Give tensors other shapes: `ckpt resize`. The notes of the result say how each is filled, and what else may have to follow.

    Args:
        checkpoint: The checkpoint, or its path.
        rules: `"*.wte.weight=50304x*"`, `"+16x*"` behind a `PATTERN=` for 16 rows more, `"-16x*"` for 16 rows fewer.
        fill: A scheme for what is new: `mean_rows`, `normal(0, 0.02)`, `preset:NAME`; without one, as the model's preset does.
        at: The side of an axis at which there is more or less.
        fresh: Whether no values are kept.
        seed: Where random numbers begin, from 0 to 2⁶³ - 1.
        arch: What patterns `@Type` speak of, and presets go by.

    Raises:
        CkptError: A tensor cannot have that shape or be filled so, or something that belongs to it cannot follow.
    """
    return made(checkpoint, "resize", resize=texts(rules), fill=fill, at=at, fresh=fresh, seed=seed, arch=arch)


def add(
    checkpoint: AnyCheckpoint,
    wanted: Texts = (),
    *,
    from_: AnyCheckpoint | None = None,
    rename: Texts = (),
    seed: int = 0,
    arch: str = "auto",
) -> Checkpoint:
    """Add tensors, behind those that there are: `ckpt add`.

    Args:
        checkpoint: The checkpoint, or its path.
        wanted: `"head.bias:float32[10]=zeros"`, `"head.weight=@other.pt#classifier.weight"`, `"w=@array.npy"`; with `from_`, patterns
            of what is taken over, all without one.
        from_: A checkpoint, or its path, from which tensors are taken over.
        rename: With `from_`: `"classifier.*=head.*"`.
        seed: Where random numbers begin, from 0 to 2⁶³ - 1.
        arch: What patterns `@Type` speak of.

    Raises:
        CkptError: A name is taken, a tensor is not there, or a scheme does not suit it.
    """
    others = Others()
    named = {} if from_ is None else {"from_": others.called(from_)}
    return made(checkpoint, "add", others, add=texts(wanted), rename=texts(rename), seed=seed, arch=arch, **named)


def tie(checkpoint: AnyCheckpoint, names: Sequence[str]) -> Checkpoint:
    """Make names share one storage, that of the first: `ckpt tie`.

    Raises:
        CkptError: There are fewer than two names, or shapes or dtypes do not agree.
    """
    return made(checkpoint, "tie", tie=texts(names))


def untie(checkpoint: AnyCheckpoint, names: Texts) -> Checkpoint:
    """Give names a storage of their own: `ckpt untie`.

    Raises:
        CkptError: A pattern matches nothing, or nothing that is tied.
    """
    return made(checkpoint, "untie", untie=texts(names))


def rename(checkpoint: AnyCheckpoint, rules: Texts) -> Checkpoint:
    r"""Rename tensors: `ckpt rename`.

    Args:
        checkpoint: The checkpoint, or its path.
        rules: `"module.*=*"`, `r"re:^h\.(\d+)=layers.\1"`, one after another.

    Raises:
        CkptError: A rule matches no name, or two tensors would have one name.
    """
    return made(checkpoint, "rename", rename=texts(rules))


def map(checkpoint: AnyCheckpoint, by: str, *, like: str | os.PathLike[str] = "", rest: str = "", arch: str = "auto") -> Checkpoint:
    """Carry names and layouts from one framework to another: `ckpt convert --map`. The notes of the result say what was left out.

    Args:
        checkpoint: The checkpoint, or its path.
        by: A ready map (`keras-to-torch`), a file of rules (`RULES.toml`), or `inverse:RULES.toml`.
        like: The path of a checkpoint whose names are wanted.
        rest: What becomes of tensors that the map does not cover: keep, drop or error.
        arch: The architecture whose names are wanted.

    Raises:
        CkptError: The map does not cover a tensor, or two would have one name.
    """
    return made(checkpoint, "map", map=by, like=os.fspath(like), rest=rest, arch=arch)


def drop(checkpoint: AnyCheckpoint, patterns: Texts, *, arch: str = "auto") -> Checkpoint:
    """Leave tensors and other objects out: `ckpt drop`.

    Raises:
        CkptError: A pattern matches nothing, or no tensor would be left.
    """
    return made(checkpoint, "drop", drop=texts(patterns), arch=arch)


def select(checkpoint: AnyCheckpoint, patterns: Texts, *, arch: str = "auto") -> Checkpoint:
    """Keep what the patterns match, tensors and other objects, and nothing else: `ckpt convert --select`.

    Args:
        checkpoint: The checkpoint, or its path.
        patterns: Names, globs (`*.bias`), `re:…`, positions (`[0][1].bias`), `@Type`; `!PATTERN` takes out.
        arch: What patterns `@Type` speak of.

    Raises:
        CkptError: A pattern matches nothing, or no tensor would be left.
    """
    from ..commands.layer_types import layers_of
    from ..edits.drop import keep

    before = opened(checkpoint)
    with about(place(before)):
        return keep(before, texts(patterns), layers_of(before, arch))


def cast(
    checkpoint: AnyCheckpoint,
    dtype: str | DType | torch.dtype | numpy.dtype[Any] | type[Any],
    patterns: Texts = (),
    *,
    dequantise: bool = False,
    arch: str = "auto",
) -> Checkpoint:
    """Convert tensors to another dtype, rounded to nearest even: `ckpt cast`.

    Args:
        checkpoint: The checkpoint, or its path.
        dtype: `"bfloat16"`, `"bf16"`, `"float8_e4m3fn"` …, or a dtype of torch, of numpy or of a tensor.
        patterns: Which tensors; without one every floating-point tensor but the step counts of optimizers.
        dequantise: Whether packed parameters are decoded first.
        arch: What patterns `@Type` speak of.

    Raises:
        CkptError: There is no such dtype, a pattern matches nothing, or a tensor has no plain elements.
    """
    known = getattr(dtype, "name", getattr(dtype, "__name__", dtype))
    return made(checkpoint, "cast", cast=str(known).removeprefix("torch."), patterns=texts(patterns), dequantise=dequantise, arch=arch)


def apply(checkpoint: AnyCheckpoint, recipe: str | os.PathLike[str], *, allow_code: bool = False) -> Checkpoint:
    """Make the edits of a recipe, in order: `ckpt apply`. A step of random values without a seed has seed 0.

    Args:
        checkpoint: The checkpoint, or its path.
        recipe: The path of the recipe.
        allow_code: Whether code that the recipe names, `FILE.py:NAME`, may run.

    Raises:
        CkptError: The recipe makes no sense, an edit cannot be made, or an assertion does not hold.
    """
    from ..configs.code_allowed import code_allowed
    from ..edits import recipes

    path, notes = os.fspath(recipe), list[str]()
    before = opened(checkpoint)
    with code_allowed(allow_code):
        with about(path), open(path, "rb") as file:
            steps = recipes.read_steps(recipes.text_of(file.read()), path, lambda: 0)
        done = list(recipes.made(before, steps, context(notes, Others())))
    if done[-1].broken:
        raise EditError("; ".join(done[-1].broken), where=f"{place(before)}: {done[-1].step.where}")
    said = (line for each in done for line in lines_of(each.plan))
    return done[-1].checkpoint.replacing(notes=(*done[-1].checkpoint.notes, *notes, *said))
