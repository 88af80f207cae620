"""`ckpt summary`: the architecture, layers and totals of a checkpoint, from headers alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from ..adapters import described
from ..analysis.averages import average_of_config
from ..analysis.config_summary import ConfigSummary, summarise_config
from ..analysis.summary import Summary, summarise, to_depth
from ..architectures.model import Model
from ..errors import LibraryError, UsageError, about
from ..packing import dequantised, find
from ..providers import Provided, asking
from ..show.answer import Answer, Color, note, note_later
from ..show.code_note import note_code, note_code_of_config
from ..show.summary_view import note_assumed, show_summary
from ..tensors.checkpoint import Checkpoint
from .params import Colors, Csv, IgnoreIndex, Json, ModelArch, Path, open_checkpoint

Depth = Annotated[
    int | None,
    typer.Option("--depth", metavar="N", min=0, help="Layers no deeper than N; what is below is counted in.", show_default=False),
]
Input = Annotated[
    str | None, typer.Option("--input", metavar="2x4", help="Each layer's output shape for an input of this shape.", show_default=False)
]
Types = Annotated[bool, typer.Option("--types", help="The layers and their types from the library that the config names.")]
AsRepr = Annotated[bool, typer.Option("--repr", help="What print(net) prints.")]


def summary_command(
    path: Path,
    arch: ModelArch = "auto",
    depth: Depth = None,
    input_shape: Input = None,
    as_repr: AsRepr = False,
    types: Types = False,
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    as_csv: Csv = False,
    color: Colors = Color.auto,
) -> None:
    """Tell what is in CKPT: its architecture where known, the layers with their parameters, totals, dtypes, what is there besides tensors.

    In a pipe a record a fact, tab-separated, told by its first field: path, format, bytes; architecture NAME UNDER; hyperparameter
    NAME VALUE; assumed NAME VALUE; layer PATH TYPE PARAMS BUFFERS TIED-TO OUTPUT; tensors, tied, params, trainable, buffers COUNT;
    dtype NAME ELEMENTS; packed TITLE PARAMETERS ELEMENTS BYTES; besides NAME TENSORS ELEMENTS BYTES; average PATTERN TENSORS IN-PLACE DECAY
    UPDATES, of what a training has averaged (EMA, SWA), IN-PLACE being true where the weights are the average; object NAME TEXT; metadata
    KEY VALUE; of the config beside the file config PATH LIBRARY CLASS MODEL-TYPE WITHIN, size NAME VALUE and said NAME VALUE; contradicts
    ENTRY SAYS FOUND where the weights are otherwise. What is tied is counted once; a packed parameter (integers with scales) is one, of
    the size that it has in the plain model. With --csv the layers alone.
    """
    checkpoint = open_checkpoint(path, ignore_index=ignore_index)
    note_code(checkpoint)
    with about(path):
        found = find(checkpoint)
        checkpoint = dequantised(checkpoint, found)
    if found.broken:
        more = f", and {len(found.broken) - 1:,} more" if len(found.broken) > 1 else ""
        note(f"counted as plain tensors, since they do not fit together: {next(iter(found.broken.values())).what}{more}")
    model = _model_of(checkpoint, arch, exact=types or as_repr or input_shape is not None)
    if as_repr:
        _show_repr(Answer(as_json, color, as_csv), model)
        return
    summary = summarise(checkpoint, model, _outputs_of(model, input_shape), found)
    layers = summary.layers if depth is None else to_depth(summary.layers, depth)
    config = _config_of(checkpoint, summary)
    if config:
        summary = replace(summary, averages=[*summary.averages, *average_of_config(config.config.entries)])
    show_summary(Answer(as_json, color, as_csv), summary, layers, config)


def _config_of(checkpoint: Checkpoint, summary: Summary) -> ConfigSummary | None:
    """Return what the config beside the file says, and note what is wrong with it, and which code it names."""
    config, notes = summarise_config(checkpoint, summary)
    note_later([*notes, *filter(None, [described(checkpoint)])])
    if config:
        note_code_of_config(config.config, config.code)
    return config


def _model_of(checkpoint: Checkpoint, arch: str, exact: bool) -> Model | None:
    """Return the model that the file holds, or None if it is not known.

    Args:
        checkpoint: The file.
        arch: The value of --arch.
        exact: With `auto`, the library that the config beside the file names is asked first.

    Raises:
        UsageError: If the file does not have the names and shapes of the architecture that the user names.
    """
    if exact and arch == "auto":
        provided = _provided(checkpoint)
        if provided:
            return provided.model
    model = asking.model_of(checkpoint, arch)
    if model and arch != "auto":
        from ..architectures.mismatch import require_match

        require_match(model, {name: tensor.shape for name, tensor in checkpoint.items()})
    return model


def _provided(checkpoint: Checkpoint) -> Provided | None:
    """Return what the library of the config says of the model; if it cannot be asked, note why."""
    try:
        provided = asking.ask(checkpoint)
    except LibraryError as error:
        note_later([f"the types are not those of the library: {error}"])
        return None
    note_later(provided.notes if provided else ())
    return provided


def _outputs_of(model: Model | None, input_shape: str | None) -> dict[str, tuple[int, ...]]:
    """Return the output shape of each layer by its path, for an input of that shape; nothing if no shape is given."""
    if input_shape is None:
        return {}
    from ..architectures.output_shapes import output_shapes, parse_shape

    shape = parse_shape(input_shape)
    if not model or not model.architecture:
        raise UsageError("--input needs a known architecture", "name it with --arch")
    return output_shapes(model, shape)


def _show_repr(out: Answer, model: Model | None) -> None:
    """Write what print(net) prints, and note what of it is assumed."""
    if out.as_csv:
        raise UsageError("--csv is the table of the layers, and --repr is none", "leave out one of them")
    if not model:
        raise UsageError("no architecture is recognised in this file, so what print(net) says is not known", "name it with --arch")
    text = model.repr()
    note_assumed(model)
    if "(...)" in text:
        note("what stands as (...) is not known from the file; --arch names the architecture")
    if out.as_json:
        out.json({"repr": text})
    else:
        out.lines(text.split("\n"))
