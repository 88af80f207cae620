"""DeepSpeed's universal checkpoints: a folder for each parameter, which no longer depend on the ranks that trained it.

    latest_universal                                 the name of the step's folder
    global_step5_universal/zero/NAME/fp32.pt         a dict with the tensor as `param` (ZeRO 1, 2), or a flat vector (ZeRO 3)
    global_step5_universal/zero/NAME/exp_avg.pt …    states of the optimizer
    global_step5_universal/mp_rank_00_model_states.pt   buffers, names that share a parameter, shapes

As in deepspeed/checkpoint/ds_to_universal.py. Optimizer states, and the module in 16 bits, are not part of what is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ...errors import Malformed, about
from ...storage.file import File
from ...tensors.tensor import Tensor
from .. import formats
from .pickled_part import PickledPart, items_of, shapes_of
from .set_of_parts import Gathered, SetOfParts, file_of, open_part
from .step_folder import named_step, names_in
from .wholes import Piece, Whole, flat, whole_box, whole_of
from .zero_partitions import buffers_of

_FILE = "fp32.pt"
_MODELS = ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_model_states.pt")


class DeepSpeedUniversal(SetOfParts):
    """Folders that `ds_to_universal.py` wrote."""

    name = "deepspeed-universal"
    title = "DeepSpeed universal checkpoint (a folder, not edited)"
    called = "a universal checkpoint"
    frozen = "DeepSpeed keeps the weights twice, in float32 and in 16 bits: edited in place, the two would disagree"

    def locate(self, path: str) -> str | None:
        """The model's file in a step's folder, or in the one that `latest_universal` names; a parameter's where it has none."""
        if (step := named_step(path, "latest_universal")) is not None and (main := _main(step)):
            return main
        return _main(path)

    def is_main(self, path: str, folder: str) -> bool:
        """Whether `path` is what `locate` gives."""
        main = _main(_folder_of(path))
        return main is not None and os.path.realpath(main) == os.path.realpath(path)

    def gather(self, main: File) -> Gathered:
        """Every parameter, from its file; buffers and shared names from the model's."""
        folder = _folder_of(main.path)
        models = [PickledPart(os.path.join(folder, name), main) for name in _MODELS if os.path.isfile(os.path.join(folder, name))][:1]
        shapes: dict[str, tuple[int, ...]] = {}
        wholes: dict[str, Whole] = {}
        for model in models:
            shapes = {name: shape for node in items_of(model.get("param_shapes")) for name, shape in shapes_of(node).items()}
            wholes |= buffers_of(model)
        files = [model.file for model in models]
        for name in _in_order(_names(folder), shapes):
            part = open_part(os.path.join(folder, "zero", name, _FILE), main)
            files.append(file_of(part))
            with about(files[-1].path):
                wholes[name] = _whole(name, files[-1], part.tensors, shapes.get(name))
        for model in models:
            wholes |= {name: wholes[of] for name, of in model.named("shared_params") if of in wholes}
        missing = next((name for name in shapes if name not in wholes), None)
        if missing:
            raise Malformed(f"the folder zero/{missing} is missing", "download or copy it, too", folder)
        notes = ["float32 weights of a universal checkpoint; states of the optimizer and 16-bit weights are left out"]
        return Gathered(wholes, files, {}, notes)


def _folder_of(main: str) -> str:
    """The step's folder, of the model's file or of a parameter's."""
    levels = 3 if os.path.basename(main) == _FILE else 1
    for _ in range(levels):
        main = os.path.dirname(main)
    return main or "."


def _names(folder: str) -> list[str]:
    """The names of the parameters that have a file."""
    zero = os.path.join(folder, "zero")
    return [name for name in names_in(zero) if os.path.isfile(os.path.join(zero, name, _FILE))]


def _in_order(names: Sequence[str], shapes: Mapping[str, object]) -> list[str]:
    """Names in the order of the model, where that is known."""
    place = {name: number for number, name in enumerate(shapes)}
    return sorted(names, key=lambda name: place.get(name, len(place)))


def _main(folder: str) -> str | None:
    names = _names(folder)
    if not names:
        return None
    model = next((name for name in _MODELS if os.path.isfile(os.path.join(folder, name))), None)
    return os.path.join(folder, model) if model else os.path.join(folder, "zero", names[0], _FILE)


def _whole(name: str, file: File, tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Whole:
    """The parameter in a file: under `param`, in its own shape; or a vector, in the shape that the model's file says."""
    if "param" in tensors:
        tensor = tensors["param"]
        return whole_of(name, tensor.shape, [Piece(file, tensor, whole_box(tensor.shape))])
    if len(tensors) != 1:
        raise Malformed("this is no file of one parameter")
    tensor = next(iter(tensors.values()))
    if shape is None or len(tensor.shape) != 1 or not tensor.contiguous:
        return whole_of(name, tensor.shape, [Piece(file, tensor, whole_box(tensor.shape))])
    return flat(name, tensor, shape, [(file, tensor, 0, tensor.numel)])


formats.add(DeepSpeedUniversal.name, DeepSpeedUniversal())
