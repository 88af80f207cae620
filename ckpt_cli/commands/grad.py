"""`ckpt grad`: forward and backward through the module, and the gradient of each parameter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import typer

from ..architectures.model import Model
from ..errors import UsageError, about
from ..show.output import Answer, note
from ..show.summary_view import model_document
from ..tensors.checkpoint import Checkpoint
from ..tensors.references import indexed, only_match, split_index
from ..tensors.selection import Layers
from ..training.gradients import Figures, Gradient, figures, gradients
from ..training.losses import Loss, shape_text
from .get import As, Form, encoded, put
from .params import Color, Colors, Json, Path, layers_of, opened
from .reinit import any_seed
from .summary import Arch

LossName = Annotated[Loss | None, typer.Option("--loss", help="What is differentiated; sum, where there is no target.", show_default=False)]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, max=2**63 - 1, help="Where none is given, one is chosen and told.", show_default=False),
]


class Asked(NamedTuple):
    """What goes in, what comes out of it, and what is to be told of it."""

    input: str | None
    random: str | None
    target: str | None
    loss: Loss | None
    seed: int
    backward: bool
    by_use: bool


def grad_command(
    path: Path,
    reference: Annotated[
        str | None, typer.Argument(metavar="[REF]", help="One parameter, or a part of it: its values.", show_default=False)
    ] = None,
    input_file: Annotated[str | None, typer.Option("--input", metavar="FILE.npy", help="What goes in.", show_default=False)] = None,
    random: Annotated[
        str | None,
        typer.Option(
            "--random", metavar="N", help="Standard normal input: N samples (2 otherwise), or a shape as 2x3x32x32.", show_default=False
        ),
    ] = None,
    loss: LossName = None,
    target: Annotated[str | None, typer.Option("--target", metavar="FILE.npy", help="What should come out.", show_default=False)] = None,
    by_use: Annotated[bool, typer.Option("--by-use", help="Each use of a parameter: the terms that its gradient is the sum of.")] = False,
    no_backward: Annotated[bool, typer.Option("--no-backward", help="Forward alone: every gradient is still None.")] = False,
    seed: Seed = None,
    form: Form = None,
    precision: Annotated[int | None, typer.Option("--precision", min=0, max=50, help="Digits after the point.", show_default=False)] = None,
    arch: Arch = "auto",
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """Run the recognised module forward and backward, and print each parameter's gradient: shape, L2 norm, min, max; with REF its values.

    No file holds gradients: they are made here, in the dtype of the file, on the CPU. Where nothing flows (into a constant, into what is
    frozen, before any backward), the gradient is None. The loss is the sum of what comes out, or with --target mse (of floats) or
    cross_entropy (of classes). A parameter that is used several times has the sum of its uses' terms; --by-use shows them.
    In a pipe: NAME, SHAPE, NORM, MIN, MAX, TIED-TO, tab-separated, NORM being None where there is no gradient; with --by-use NAME, USE (1,
    2, … in the order of the forward, or sum), SHAPE, NORM, MIN, MAX, BY (the operation), what is tied under its first name alone.
    """
    asked = Asked(input_file, random, target, loss, any_seed() if seed is None else seed, not no_backward, by_use)
    checkpoint = opened(path)
    with about(path):
        model, told, found = _run(checkpoint, arch, asked)
    names = {gradient.name: gradient for gradient in found}
    out = Answer(as_json, color.value)
    if reference is not None and not by_use:
        with about(path):
            _values(path, names, reference, As.json if as_json else form or As.text, precision, layers_of(checkpoint, arch))
    else:
        with about(path):
            shown = found if reference is None else [names[only_match(_blank(names), reference, layers_of(checkpoint, arch))]]
        if as_json:
            out.json(_document(path, model, asked, told, shown))
        else:
            _show(out, shown, by_use)
    note_assumed(model)
    note(f"loss {told.kind}: {told.loss:.6g}; input {shape_text(told.input)}{'' if input_file else ', random'}; seed {asked.seed}")


class Told(NamedTuple):
    """What was done: the shape that went in, the loss and its value."""

    input: tuple[int, ...]
    kind: str
    loss: float


def note_assumed(model: Model) -> None:
    if model.assumed:
        note(f"assumed, since names and shapes do not tell: {', '.join(model.assumed)}")


def _run(checkpoint: Checkpoint, arch: str, asked: Asked) -> tuple[Model, Told, list[Gradient]]:
    """The model, what was done with it, and a gradient for each name in the file and each constant that is not."""
    from ..training import inputs, losses, network

    if asked.input is not None and asked.random is not None:
        raise UsageError("--input and --random exclude each other")
    model = network.model_in(checkpoint, arch)
    with network.steady(asked.seed):
        module = network.load_module(checkpoint, model)
        if asked.input is not None:
            data = inputs.cast_input(inputs.read_npy(asked.input), module)
        else:
            data = inputs.random_input(inputs.sample_shape(asked.random or "2", module), module, asked.seed)
        target = inputs.read_npy(asked.target) if asked.target is not None else None
        kind = asked.loss.value if asked.loss else losses.default_loss(target)
        if (kind == "sum") != (target is None):
            raise UsageError("--loss sum takes no --target" if target is not None else f"--loss {kind} needs --target FILE.npy")
        value, found = gradients(
            module, data, lambda output: losses.loss(kind, output, target), backward=asked.backward, by_use=asked.by_use
        )
    prefix = model.prefix
    placed = [each._replace(name=prefix + each.name, tied_to=each.tied_to and prefix + each.tied_to) for each in found]
    return model, Told(tuple(data.shape), kind, value), placed


def _blank(gradients: dict[str, Gradient]) -> Checkpoint:
    """The names with their shapes, to be selected from."""
    from ..numbers.dtypes import named
    from ..numbers.shapes import numel_of
    from ..storage.storage import Fill
    from ..tensors.tensor import Tensor

    byte = named("uint8")
    tensors = {name: Tensor.whole(byte, each.shape, Fill(b"\0", numel_of(each.shape))) for name, each in gradients.items()}
    return Checkpoint(tensors)


def _values(path: str, gradients: dict[str, Gradient], reference: str, form: As, precision: int | None, layers: Layers) -> None:
    """One gradient as `ckpt get` prints values; None where there is none."""
    from ..training.network import as_tensor

    names = _blank(gradients)
    pattern, index = split_index(names, reference, layers)
    name = only_match(names, pattern, layers)
    if index is not None:
        indexed(names[name], index, name)
    value = gradients[name].value
    if value is not None:
        tensor = as_tensor(value)
        tensor = tensor if index is None else indexed(tensor, index, name)
        put(encoded(path, name, tensor, form, precision, sys.stdout.isatty()), form, "pipe it into a file")
    elif form is As.json:
        Answer(True).json({"path": path, "name": name, "dtype": None, "shape": list(gradients[name].shape), "values": None})
    elif form is As.text:
        Answer().lines(["None"])
    else:
        raise UsageError(f"the gradient of {name} is None", "nothing flows into it; text and json can say that")


def _show(out: Answer, found: list[Gradient], by_use: bool) -> None:
    rows: Iterator[tuple[Any, ...]]
    if by_use:
        rows = (row for gradient in found if not gradient.tied_to for row in _uses(gradient, out.terminal))
        out.table(("NAME", "USE", "SHAPE", "NORM", "MIN", "MAX", "BY"), list(rows), right=("NORM", "MIN", "MAX"))
    else:
        rows = ((each.name, "x".join(map(str, each.shape)), *_cells(each.value, out.terminal), each.tied_to) for each in found)
        out.table(("NAME", "SHAPE", "NORM", "MIN", "MAX", "TIED TO"), list(rows), right=("NORM", "MIN", "MAX"))


def _uses(gradient: Gradient, brief: bool) -> Iterator[tuple[Any, ...]]:
    """A row a use, and one of the sum where there is not exactly one."""
    shape = "x".join(map(str, gradient.shape))
    for number, use in enumerate(gradient.uses, 1):
        yield gradient.name, number, shape, *_cells(use.term, brief), use.by
    if len(gradient.uses) != 1:
        yield gradient.name, "sum", shape, *_cells(gradient.value, brief), ""


def _cells(value: Any, brief: bool) -> tuple[str, ...]:
    if value is None:
        return "None", "", ""
    return tuple("" if number is None else f"{number:.4g}" if brief else repr(number) for number in figures(value))


def _document(path: str, model: Model, asked: Asked, told: Told, found: list[Gradient]) -> dict[str, Any]:
    head = {"path": path, "architecture": model_document(model), "seed": asked.seed, "input": list(told.input)}
    return head | {"loss": {"kind": told.kind, "value": told.loss}, "tensors": [_of(each, asked.by_use) for each in found]}


def _of(gradient: Gradient, by_use: bool) -> dict[str, Any]:
    found = _figures(gradient.value)
    document = {"name": gradient.name, "shape": list(gradient.shape), **found, "tied_to": gradient.tied_to or None}
    return document | ({"uses": [{"by": use.by, **_figures(use.term)} for use in gradient.uses]} if by_use else {})


def _figures(value: Any) -> dict[str, Any]:
    return dict(zip(Figures._fields, (None, None, None) if value is None else figures(value), strict=True))
