"""`ckpt grad`: run the module forward and backward, and print the gradient of each parameter."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import typer

from ..architectures.model import Model
from ..errors import UsageError, about
from ..show.answer import Answer, Color, note
from ..show.gradients import gradient_document, show_gradients, show_uses
from ..show.summary_view import model_document, note_assumed
from ..show.values import ValueFormat, encoded, print_pieces
from ..tensors.checkpoint import Checkpoint
from ..tensors.references import indexed, only_match, split_index
from ..tensors.selection import Layers
from ..training.gradients import Gradient, gradients
from ..training.losses import Loss, shape_text
from .get import Form, Precision
from .params import Colors, Csv, IgnoreIndex, Json, ModelArch, Path, Seed, layers_of, open_checkpoint, random_seed

Reference = Annotated[str | None, typer.Argument(metavar="[REF]", help="One parameter, or a part of it: its values.", show_default=False)]
InputFile = Annotated[str | None, typer.Option("--input", metavar="FILE.npy", help="What goes in.", show_default=False)]
Random = Annotated[
    str | None,
    typer.Option(
        "--random", metavar="N", help="Standard normal input: N samples (2 otherwise), or a shape as 2x3x32x32.", show_default=False
    ),
]
LossName = Annotated[Loss | None, typer.Option("--loss", help="What is differentiated; sum, where there is no target.", show_default=False)]
TargetFile = Annotated[str | None, typer.Option("--target", metavar="FILE.npy", help="What should come out.", show_default=False)]
ByUse = Annotated[bool, typer.Option("--by-use", help="Each use of a parameter: the terms that its gradient is the sum of.")]
NoBackward = Annotated[bool, typer.Option("--no-backward", help="Forward alone: every gradient is still None.")]


def grad_command(
    path: Path,
    reference: Reference = None,
    input_file: InputFile = None,
    random: Random = None,
    loss: LossName = None,
    target: TargetFile = None,
    by_use: ByUse = False,
    no_backward: NoBackward = False,
    seed: Seed = None,
    form: Form = None,
    precision: Precision = None,
    arch: ModelArch = "auto",
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    as_csv: Csv = False,
    color: Colors = Color.auto,
) -> None:
    """Run the recognised module forward and backward, and print each parameter's gradient: shape, L2 norm, min, max; with REF its values.

    No file holds gradients: they are made here, in the dtype of the file, on the CPU. Where nothing flows (into a constant, into what is
    frozen, before any backward), the gradient is None. The loss is the sum of what comes out, or with --target mse (of floats) or
    cross_entropy (of classes). A parameter that is used several times has the sum of its uses' terms; --by-use shows them.
    In a pipe: NAME, SHAPE, NORM, MIN, MAX, TIED-TO, tab-separated, NORM being None where there is no gradient; with --by-use NAME, USE (1,
    2, … in the order of the forward, or sum), SHAPE, NORM, MIN, MAX, BY (the operation), what is tied under its first name alone.
    """
    request = Request(input_file, random, target, loss, random_seed() if seed is None else seed, not no_backward, by_use)
    checkpoint = open_checkpoint(path, ignore_index=ignore_index)
    layers = layers_of(checkpoint, arch)
    with about(path):
        result = _run(checkpoint, arch, request)
        if reference is not None and not by_use:
            _show_values(path, result, reference, _form(form, as_json, as_csv), precision, layers)
        else:
            _show_figures(Answer(as_json, color, as_csv), path, result, request, reference, layers)
    note_assumed(result.model)
    shape = shape_text(result.input_shape)
    note(f"loss {result.loss}: {result.value:.6g}; input {shape}{'' if input_file else ', random'}; seed {request.seed}")


def _form(form: ValueFormat | None, as_json: bool, as_csv: bool) -> ValueFormat:
    return ValueFormat.json if as_json else ValueFormat.csv if as_csv else form or ValueFormat.text


class Request(NamedTuple):
    """What the command line asks for."""

    input: str | None
    random: str | None
    target: str | None
    loss: Loss | None
    seed: int
    backward: bool
    by_use: bool


class Result(NamedTuple):
    """What was done, and the gradient of each parameter and buffer by its name in the file."""

    model: Model
    input_shape: tuple[int, ...]
    loss: str
    value: float
    gradients: Mapping[str, Gradient]


def _run(checkpoint: Checkpoint, arch: str, request: Request) -> Result:
    """Run the model on the input: forward and, unless told otherwise, backward."""
    from ..training import inputs, losses, network

    if request.input is not None and request.random is not None:
        raise UsageError("--input and --random exclude each other")
    model = network.model_in(checkpoint, arch)
    with network.steady(request.seed):
        module = network.load_module(checkpoint, model)
        if request.input is not None:
            data = inputs.cast_input(inputs.read_npy(request.input), module)
        else:
            data = inputs.random_input(inputs.sample_shape(request.random or "2", module), module, request.seed)
        target = inputs.read_npy(request.target) if request.target is not None else None
        loss = request.loss.value if request.loss else losses.default_loss(target)
        if (loss == Loss.sum) != (target is None):
            raise UsageError("--loss sum takes no --target" if target is not None else f"--loss {loss} needs --target FILE.npy")
        value, computed = gradients(
            module, data, lambda output: losses.loss(loss, output, target), backward=request.backward, by_use=request.by_use
        )
    prefix = model.prefix
    in_file = [each._replace(name=prefix + each.name, tied_to=each.tied_to and prefix + each.tied_to) for each in computed]
    return Result(model, tuple(data.shape), loss, value, {gradient.name: gradient for gradient in in_file})


def _show_figures(out: Answer, path: str, result: Result, request: Request, reference: str | None, layers: Layers) -> None:
    """Show the figures of all gradients, or of the one that `reference` means."""
    names = list(result.gradients) if reference is None else [only_match(_names(result.gradients), reference, layers)]
    shown = [result.gradients[name] for name in names]
    if out.as_json:
        out.json(_document(path, result, request, shown))
    else:
        (show_uses if request.by_use else show_gradients)(out, shown)


def _names(gradients: Mapping[str, Gradient]) -> Checkpoint:
    """Return a checkpoint with the names and shapes of the gradients, for references to be looked up in."""
    from ..numbers.dtypes import named
    from ..numbers.shapes import numel_of
    from ..storage.storage import Fill
    from ..tensors.tensor import Tensor

    byte = named("uint8")
    tensors = {name: Tensor.whole(byte, each.shape, Fill(b"\0", numel_of(each.shape))) for name, each in gradients.items()}
    return Checkpoint(tensors)


def _show_values(path: str, result: Result, reference: str, form: ValueFormat, precision: int | None, layers: Layers) -> None:
    """Print one gradient, or a part of it, as `ckpt get` prints values; None if there is none."""
    from ..training.network import as_tensor

    names = _names(result.gradients)
    pattern, index = split_index(names, reference, layers)
    name = only_match(names, pattern, layers)
    if index is not None:
        indexed(names[name], index, name)  # raises for an index that does not fit
    gradient = result.gradients[name]
    if gradient.value is not None:
        tensor = as_tensor(gradient.value)
        tensor = tensor if index is None else indexed(tensor, index, name)
        print_pieces(encoded(path, name, tensor, form, precision, sys.stdout.isatty()), form, "pipe it into a file")
    elif form is ValueFormat.json:
        Answer(True).json({"path": path, "name": name, "dtype": None, "shape": list(gradient.shape), "values": None})
    elif form is ValueFormat.text:
        Answer().lines(["None"])
    else:
        raise UsageError(f"the gradient of {name} is None", "nothing flows into it; text and json can say that")


def _document(path: str, result: Result, request: Request, shown: list[Gradient]) -> dict[str, Any]:
    head = {"path": path, "architecture": model_document(result.model), "seed": request.seed, "input": list(result.input_shape)}
    loss = {"kind": result.loss, "value": result.value}
    return head | {"loss": loss, "tensors": [gradient_document(each, request.by_use) for each in shown]}
