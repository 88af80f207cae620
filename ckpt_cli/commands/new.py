"""`ckpt new`: write a fresh checkpoint of an architecture, as torch or another framework names, lays out and initialises it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import reading, writing
from ..architectures.hyperparameters import parse_pairs
from ..errors import UsageError, about
from ..numbers.dtypes import named
from ..show.answer import note
from ..storage.storage import Memory, Storage
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .params import Force, FormatName, Out, random_seed

if TYPE_CHECKING:
    import torch

    from ..mapping.convention import Convention

_TORCH = "torch"  # the framework that builds the modules

Architecture = Annotated[
    str,
    typer.Argument(
        metavar="ARCH",
        help="An architecture (`ckpt archs` lists them), FILE.py:CALLABLE, or a config.json.",
        show_default=False,
    ),
]
Pairs = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Hyperparameters, as in hidden=8,16.", show_default=False)
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", metavar="N", min=0, max=2**64 - 1, help="The seed; a random one is chosen and printed otherwise.", show_default=False
    ),
]
Framework = Annotated[
    str, typer.Option("--framework", metavar="torch|keras|mxnet|tensorflow", help="Whose names, layouts and initialisation it has.")
]


def new_command(
    architecture: Architecture,
    pairs: Pairs = None,
    framework: Framework = "torch",
    seed: Seed = None,
    output: Out = None,
    force: Force = False,
    format_name: FormatName = None,
) -> None:
    """Write a fresh checkpoint of ARCH: the values that torch.manual_seed(N) and building the model give.

    ARCH may be a config.json, or LIBRARY:NAME: the model has the names, shapes and ties that its library gives it, and is initialised as
    that does; -o DIR/ writes a model folder. A family whose layers are known by names and shapes alone is drawn by a preset of
    `ckpt reinit`.
    With --framework, it has the names and the layouts of that framework, and what its layers draw by default (`ckpt reinit --preset`).
    """
    from ..formats import formats
    from ..mapping.convention import convention

    if output is None:
        raise UsageError("where should the result go?", "-o OUT writes a new file")
    seed = random_seed() if seed is None else seed
    if _is_config(architecture):
        _write_own(architecture, pairs or [], seed, output, force, format_name)
        return
    if not format_name and (output.endswith("/") or os.path.isdir(output)):
        file = os.path.join(output, "model.safetensors")
        raise UsageError(f"{architecture} is written to a file, not to a folder", f"as in -o {file}", output)
    theirs = convention(framework)
    form = writing.format_for(output, format_name, theirs.format if framework != _TORCH and theirs.format in formats else None)
    checkpoint = _built(architecture, parse_pairs(pairs or []), seed, framework)
    for line in writing.save(checkpoint, output, form, replace=force):
        note(line)
    _note_written(output, architecture, checkpoint, seed)


def _note_written(output: str, what: str, checkpoint: Checkpoint, seed: int) -> None:
    count = sum(tensor.numel for tensor in checkpoint.distinct().values())
    note(f"{output}: {what}, {len(checkpoint):,} tensors of {count:,} elements, seed {seed}")


def _built(architecture: str, values: dict[str, object], seed: int, framework: str) -> Checkpoint:
    """Return the checkpoint of an architecture: as torch initialises it, as another framework does, or by a preset."""
    from ..architectures.fresh_weights import fresh
    from ..edits.new_family import is_described, new_family

    if is_described(architecture):
        return new_family(architecture, values, seed, framework)
    if framework == _TORCH:
        return _checkpoint_of(fresh(architecture, values, seed))
    from ..mapping.convention import convention

    return _elsewhere(architecture, values, convention(framework), seed)


def _is_config(architecture: str) -> bool:
    """Whether ARCH is the path of a config, or of the folder of one, or names a model of a library: `torchvision:resnet18`."""
    from ..providers.asking import library_in

    return architecture.endswith(".json") or os.path.isdir(architecture) or bool(library_in(architecture))


def _write_own(path: str, pairs: list[str], seed: int, output: str, force: bool, format_name: str | None) -> None:
    """Write the model that the config at `path` describes to a file, or to a folder together with that config."""
    from ..configs import config_at
    from ..edits.new_own import new_own
    from ..providers import asking
    from .model_folder import fresh_folder, is_folder

    if pairs:
        raise UsageError(f"{path} says all hyperparameters", f"leave out {pairs[0]}, or change the config")
    config = (asking.library_in(path) and asking.config_for(Checkpoint({}), path)) or config_at(path)
    if is_folder(output) and not os.path.isfile(config.path):
        raise UsageError(f"{path} has no config that the folder would get", "-o FILE writes the weights alone")
    with about(path):
        checkpoint, notes = new_own(config, seed)
        provided = asking.provided_by(config)  # the answer that new_own had
    built = provided.model.architecture.partition(":")[2] if provided else ""
    folder = fresh_folder(checkpoint, config, output, force) if is_folder(output) else None
    target = folder.weights if folder else output
    form = writing.format_for(target, format_name)
    for line in (*notes, *writing.save(checkpoint, target, form, replace=force, folder=folder.written() if folder else None)):
        note(line)
    _note_written(output, built or config.class_name or path, checkpoint, seed)


def _elsewhere(architecture: str, values: dict[str, object], theirs: Convention, seed: int) -> Checkpoint:
    """Return the architecture as another framework has it: with its names, layouts and default initialisation."""
    from ..architectures import architectures
    from ..architectures.fresh_weights import fresh
    from ..architectures.hyperparameters import checked, schema
    from ..architectures.recognition import USER_MODULE
    from ..edits.map import carry
    from ..edits.reinit import reinit
    from ..mapping.convention import convention
    from ..mapping.naming import names_of
    from ..schemes.rules import parse_rule

    like = None
    if not USER_MODULE.fullmatch(architecture):
        family = architectures[architecture]
        values = ({"buffer": True} if theirs.constants and "buffer" in schema(family) else {}) | values
        like = names_of(family.layers(**checked(family, values)), theirs)
    in_torch = _checkpoint_of(fresh(architecture, values, seed))
    named = carry(in_torch, (convention(_TORCH), theirs), like).checkpoint
    constants = [parse_rule("rand_weight=uniform(0, 1)")] if "rand_weight" in named else []
    return reinit(named, constants, seed=seed, preset=theirs.preset, layout=theirs.layout, open=reading.open)[0]


def _checkpoint_of(tensors: list[tuple[str, torch.Tensor]]) -> Checkpoint:
    """Return torch tensors as a checkpoint; tensors that share a storage share it there too."""
    storages: dict[int, Storage] = {}
    return Checkpoint({name: _tensor_of(tensor, storages) for name, tensor in tensors})


def _tensor_of(tensor: Any, storages: dict[int, Storage]) -> Tensor:
    """Return a torch tensor as a view of its storage, with its strides."""
    import torch

    untyped = tensor.untyped_storage()
    if untyped.data_ptr() not in storages or not untyped.nbytes():
        storages[untyped.data_ptr()] = Memory(torch.empty(0, dtype=torch.uint8).set_(untyped).numpy().tobytes())
    storage = storages[untyped.data_ptr()]
    return Tensor.view(named(str(tensor.dtype)), tuple(tensor.shape), storage, tuple(tensor.stride()), tensor.storage_offset())
