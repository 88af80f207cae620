r"""The lines that describe the layers of a family: `[?OPTION…] PATH TYPE ARGUMENTS`.

    model.layers.{layers}.self_attn.q_proj   Linear hidden -> queries, bias?qkv_bias
    model.layers.{layers}.input_layernorm    RMSNorm hidden
    ?lm_head  lm_head                        Linear hidden -> vocab

PATH: `{layers}` counts 0, 1, … layers-1; `{layers+1}` counts from 1, `{2*layers+1}` by two; `{layers[dense:]}` counts dense … layers-1,
with the bounds and the step of a Python slice; `{depths[stages]}` counts within a repetition of `{stages}`, and depths is a list.
`{=layers+1}` is that one number. `.` is the root of the model.

OPTION: a line with `?NAME` is there where NAME is true, with `?!NAME` where it is false, in all repetitions alike; with `?NAME[layers]`
NAME is a list, with `?NAME[stages][depths]` a list of lists. `?A?!B` asks for both. A lone `?` marks what any file may have or lack.

ARGUMENTS: `Linear IN -> OUT`, `Conv2d IN -> OUT, 3 x 3`, `Embedding ROWS x COLUMNS`, `LayerNorm SIZE` and other types of `MATRICES` and
`SHORT`; `, bias` adds a bias, `, bias?` one that a file may have or lack, `, bias?NAME` one by an option. Any type has tensors that are
written out, `weight: OUT x IN, bias?: OUT, buffer mask: 1 x 1 x _`; `_` is any number. A line without arguments has no tensors: it tells
the type of a container.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from .family_sizes import indexed, names_in, parsed

_LOOP = re.compile(r"\{(?:(?:(\d+)\*)?([a-z]\w*)(?:\[(\w+)\])?(?:\[([^][:]*):([^][:]*)(?::(\d+))?\])?(?:\+(\d+))?|=([^}]+))\}")
_OPTION = re.compile(r"\?(!?)(\w*)((?:\[\w+\])*)")
_TENSOR = re.compile(r"(buffer )?([\w.]+)([^:]*):(.*)")

Dims = tuple[ast.expr | None, ...]


@dataclass(frozen=True)
class Option:
    """A condition. `name` is empty for what may always be absent; the numbers of `loops` pick an item of a list of options.

    With `by_default`, what may be absent is there where no file says so.
    """

    name: str
    wanted: bool = True
    loops: tuple[str, ...] = ()
    by_default: bool = False


@dataclass(frozen=True)
class Loop:
    """A repetition in a path: `name` counts, within a repetition of `outer` where that is named; `first`, `last`, `step` are a slice.

    What the path has is the number times `scale` plus `shown_from`. With `only`, it is one number, the value of an expression.
    """

    name: str
    outer: str = ""
    first: ast.expr | None = None
    last: ast.expr | None = None
    step: int = 1
    shown_from: int = 0
    scale: int = 1
    only: ast.expr | None = None


@dataclass(frozen=True)
class LineTensor:
    """A tensor of a layer. A dimension that is None is any number."""

    leaf: str
    dims: Dims
    options: tuple[Option, ...] = ()
    buffer: bool = False


@dataclass(frozen=True)
class Line:
    """A layer. `pieces` are the literal parts of its path, around and between its loops."""

    pieces: tuple[str, ...]
    loops: tuple[Loop, ...]
    type: str
    tensors: tuple[LineTensor, ...] = ()
    options: tuple[Option, ...] = ()

    @property
    def pattern(self) -> str:
        """The path, with braces for its loops."""
        return "{}".join(self.pieces)

    @cached_property
    def is_alike(self) -> bool:
        """Whether all repetitions have the same tensors, whatever the file holds."""
        options = (*self.options, *(option for tensor in self.tensors for option in tensor.options))
        dims = [dim for tensor in self.tensors for dim in tensor.dims]
        numbers = {loop.name for loop in self.loops}
        return all(option.name and not option.loops for option in options) and not any(
            dim is None or indexed(dim) or numbers & {*names_in(dim)} for dim in dims
        )

    def under(self, prefix: str) -> Line:
        """Return the line with a text before its path; the root comes under it, too."""
        first = prefix + self.pieces[0] if self.pattern else prefix.rstrip("./")
        return replace(self, pieces=(first, *self.pieces[1:]))


# type → the order of the tensors' axes by layout: o(ut), i(n), k(ernel), as they stand in `A -> B, KERNEL`
MATRICES: dict[str, dict[str, str]] = {
    **{kind: {"torch": "oik", "flax": "kio"} for kind in ("Linear", "Conv1d", "Conv2d", "Conv3d")},
    **{f"ConvTranspose{n}d": {"torch": "iok", "flax": "kio"} for n in (1, 2, 3)},
    "Conv1D": {"torch": "io", "flax": "oi"},  # of transformers' GPT-2: a Linear whose weight is transposed
}
WEIGHT = {"flax": "kernel"}
# type → its tensors by layout, all of the shape that the line gives
SHORT: dict[str, dict[str, tuple[str, ...]]] = {
    "Embedding": {"torch": ("weight",), "flax": ("embedding",)},
    "RMSNorm": {"torch": ("weight",), "flax": ("weight",)},
    "LayerNorm": {"torch": ("weight", "bias"), "flax": ("scale", "bias"), "gamma": ("gamma", "beta")},
    "GroupNorm": {"torch": ("weight", "bias"), "flax": ("scale", "bias")},
    "BatchNorm1d": {"torch": ("weight", "bias", "running_mean", "running_var"), "flax": ("scale", "bias")},
    "BatchNorm2d": {"torch": ("weight", "bias", "running_mean", "running_var"), "flax": ("scale", "bias")},
}
_COUNTER = LineTensor("num_batches_tracked", (), (Option("", by_default=True),), buffer=True)


def lines_of(text: str, layout: str = "torch") -> Iterator[Line]:
    """Yield the lines of a text; what is behind a `#` is a comment.

    Raises:
        ValueError: a line is not as the language wants it; the message quotes it.
    """
    for written in text.splitlines():
        if line := written.partition("#")[0].strip():
            try:
                yield line_of(line, layout)
            except (ValueError, KeyError) as error:
                raise ValueError(f"{line!r}: {error}") from None


def line_of(text: str, layout: str) -> Line:
    """Parse one line."""
    words = text.split(None, 1)
    options: tuple[Option, ...] = ()
    if words[0].startswith("?"):
        options, words = options_of(words[0]), words[1].split(None, 1)
    path, (kind, _, arguments) = "" if words[0] == "." else words[0], words[1].partition(" ")
    pieces, loops = pieces_of(path)
    return Line(pieces, loops, kind, tuple(tensors_of(kind, arguments.strip(), layout)), options)


def options_of(text: str) -> tuple[Option, ...]:
    """Parse `?NAME`, `?!NAME`, `?NAME[LOOP]`, `?NAME[LOOP][LOOP]`, several of these, or `?`; nothing is no option."""
    if not re.fullmatch(rf"({_OPTION.pattern})*", text):
        raise ValueError(f"{text!r} is no option")
    return tuple(Option(found[2], not found[1], tuple(re.findall(r"\w+", found[3]))) for found in _OPTION.finditer(text))


def pieces_of(path: str) -> tuple[tuple[str, ...], tuple[Loop, ...]]:
    """Parse a path to the literal parts and the loops between them."""
    pieces, loops, end = [], [], 0
    for found in _LOOP.finditer(path):
        pieces.append(path[end : found.start()])
        first, last, only = (parsed(bound) if bound else None for bound in found.group(4, 5, 8))
        step, shown_from, scale = (int(found[group] or default) for group, default in ((6, 1), (7, 0), (1, 1)))
        loops.append(Loop(found[2] or found[0], found[3] or "", first, last, step, shown_from, scale, only))
        end = found.end()
    pieces.append(path[end:])
    if any("{" in piece or "}" in piece for piece in pieces):
        raise ValueError(f"{path!r} has a brace that is no loop")
    return tuple(pieces), tuple(loops)


def tensors_of(kind: str, arguments: str, layout: str) -> Iterator[LineTensor]:
    """Yield the tensors of a layer of that type."""
    if not arguments:
        return
    parts = [part.strip() for part in arguments.split(",")]
    if ":" in arguments:
        yield from map(written_out, parts)
    elif "->" in parts[0]:
        yield from matrix(kind, parts, layout)
    else:
        leaves = SHORT[kind].get(layout, SHORT[kind]["torch"])
        dims = dims_of(parts[0])
        yield from (LineTensor(leaf, dims, buffer=leaf.startswith("running_")) for leaf in leaves)
        if "running_mean" in leaves:
            yield _COUNTER


def matrix(kind: str, parts: list[str], layout: str) -> Iterator[LineTensor]:
    """Yield weight and bias of `A -> B, KERNEL, bias`; the bias has B numbers."""
    inputs, outputs = (dims_of(side) for side in parts[0].split("->"))
    biases = [part for part in parts[1:] if part.startswith("bias")]
    kernel = next((dims_of(part) for part in parts[1:] if part not in biases), ())
    axes: dict[str, Dims] = {"i": inputs, "o": outputs, "k": kernel}
    order = MATRICES[kind].get(layout, MATRICES[kind]["torch"])
    yield LineTensor(WEIGHT.get(layout, "weight"), sum((axes[axis] for axis in order), ()))
    yield from (LineTensor("bias", outputs, options_of(bias[4:])) for bias in biases)


def written_out(part: str) -> LineTensor:
    """Parse `[buffer] NAME[?[OPTION]]: DIMS`."""
    if not (found := _TENSOR.fullmatch(part)):
        raise ValueError(f"{part!r} is no tensor")
    return LineTensor(found[2], dims_of(found[4]), options_of(found[3]), bool(found[1]))


def dims_of(text: str) -> Dims:
    """Parse `2*hidden x _ x 3`; nothing, or `scalar`, is the shape of a scalar."""
    dims = [dim.strip() for dim in re.split(r"\sx\s", text)]
    return () if dims in ([""], ["scalar"]) else tuple(None if dim == "_" else parsed(dim) for dim in dims)
