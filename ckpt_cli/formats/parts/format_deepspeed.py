"""DeepSpeed's folders: the float32 weights that ZeRO keeps as partitions of flat vectors, a part for each rank.

    latest                                            the name of the step's folder
    global_step5/mp_rank_00_model_states.pt           ZeRO 1, 2: param_shapes, shared_params, buffers; and the module in 16 bits
    global_step5/zero_pp_rank_R_mp_rank_00_model_states.pt   the same for each rank of ZeRO 3
    global_step5/[bf16_]zero_pp_rank_R_mp_rank_00_optim_states.pt   the partitions of rank R, and the states of its optimizer

As in deepspeed/utils/zero_to_fp32.py, deepspeed/runtime/zero/stage_1_and_2.py, stage3.py and bf16_optimizer.py. Peculiarities:
- ZeRO 1 and 2: each group's partitions, one after another, are its parameters one after another; what is left over is padding.
- ZeRO 3: each parameter is cut into as many runs as there are ranks, the last ones padded; a rank's runs lie one after another.
- Buffers are those of the 16-bit module, in float32; frozen parameters lie whole (ZeRO 3: in runs) beside it.
- Optimizer states, and the 16-bit copy, are not part of what is read. So values are not edited in place: the copy would differ.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ...errors import Malformed, ReadError
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import formats
from .pickled_part import PickledPart, number_of
from .set_of_parts import Gathered, SetOfParts, missing_part
from .step_folder import named_step, names_in
from .zero_partitions import Partitions, weights

_STATES = re.compile(r"(?:(bf16_)?zero_pp_rank_(\d{1,6})_)?mp_rank_(\d{1,4})_(model|optim)_states\.pt")
_EXPERTS = re.compile(r"expp_rank_.*|layer_\d+_expert_.*")
_READ = ("buffer_names", "param_shapes", "frozen_param_shapes", "frozen_param_fragments", "shared_params", "module", "optimizer")
_FROZEN = "DeepSpeed keeps the weights twice, in float32 and in 16 bits: edited in place, the two would disagree"


class DeepSpeed(SetOfParts):
    """Folders that DeepSpeed saved with ZeRO 1, 2 or 3."""

    name = "deepspeed"
    title = "DeepSpeed ZeRO 1, 2, 3 (a folder, not edited)"
    called = "a DeepSpeed folder"
    frozen = _FROZEN

    def locate(self, path: str) -> str | None:
        """The model's file in a step's folder that holds partitions, or in the step that `latest` names."""
        if (step := named_step(path, "latest")) is not None and (main := _main(step)):
            return main
        return _main(path)

    def gather(self, main: File) -> Gathered:
        """The float32 weights, put together from the partitions."""
        folder = os.path.dirname(main.path)
        names = _state_files(folder)
        optim = [PickledPart(os.path.join(folder, name), main) for name in names["optim"]]
        first = optim[0]
        world = number_of(first.get("optimizer_state_dict", "partition_count")) or len(optim)
        stage3 = first.get("optimizer_state_dict", "fp32_flat_groups") is not None
        _check_ranks(folder, names["optim"], optim, world)
        models = _model_files(folder, names["model"], world if stage3 else 0)
        parts = [PickledPart(os.path.join(folder, name), main) for name in models]
        key = "fp32_flat_groups" if stage3 else "single_partition_of_fp32_groups"
        partitions = Partitions(stage3, [(part.file, part.vectors("optimizer_state_dict", key)) for part in optim])
        stage = number_of(first.get("optimizer_state_dict", "zero_stage")) or (3 if stage3 else 1)
        notes = [f"float32 weights of ZeRO {stage}, from {_counted(world)}; states of the optimizer and 16-bit weights are left out"]
        return Gathered(weights(parts, partitions), [p.file for p in (*parts, *optim)], _objects(parts[0]), notes)

    def part_note(self, path: str, checkpoint: Checkpoint) -> str:
        """Which partition an optimizer's file is, and that a model's file has a copy in 16 bits of what lies in these."""
        found = _STATES.fullmatch(os.path.basename(path))
        beside = _state_files(os.path.dirname(path) or ".")["optim"] if found else []
        if not found or not beside:
            return ""
        if found[2] is None:
            return "the weights in 16 bits: the float32 ones are partitions in the files beside it; give the folder to read them"
        parts = max(int(found[2]) + 1, len(beside))
        return f"part {int(found[2]) + 1} of {parts}: partitions of flat vectors; give the folder to read the weights"


def _objects(model: PickledPart) -> dict[str, object]:
    """What the model's file holds besides tensors and what is said of their places."""
    return {name: value for name, value in model.checkpoint.objects.items() if name.split(".")[0] not in _READ}


def _counted(world: int) -> str:
    return f"the partitions of {world} rank{'s' * (world != 1)}"


def _main(folder: str) -> str | None:
    """The file of the model in a step's folder with partitions; one of these where it is missing."""
    names = _state_files(folder)
    first = (names["model"] or names["optim"])[:1] if names["optim"] else []
    return os.path.join(folder, first[0]) if first else None


def _state_files(folder: str) -> dict[str, list[str]]:
    """The names of the files of the model and of the partitions, each by rank."""
    found: dict[str, list[tuple[int, int, str]]] = {"model": [], "optim": []}
    for name in names_in(folder):
        if match := _STATES.fullmatch(name):
            found[match[4]].append((int(match[2] or 0), int(match[3]), name))
    return {kind: [name for *_, name in sorted(files)] for kind, files in found.items()}


def _check_ranks(folder: str, names: Sequence[str], parts: Sequence[PickledPart], world: int) -> None:
    """Raise Malformed for a rank whose file is missing, ranks of several worlds, and tensors that several ranks hold parts of."""
    matches = [match for name in names if (match := _STATES.fullmatch(name))]
    if any(int(match[3]) for match in matches):
        raise ReadError("DeepSpeed's tensor or pipeline parallel ranks are not put together", "make a universal checkpoint of it", folder)
    if any(map(_EXPERTS.fullmatch, names_in(folder))):
        raise ReadError("DeepSpeed's files of experts are not put together", "make a universal checkpoint of it", folder)
    there = {int(match[2] or 0) for match in matches}
    for rank in range(world):
        if rank not in there:
            raise missing_part(folder, f"{matches[0][1] or ''}zero_pp_rank_{rank}_mp_rank_00_optim_states.pt", world)
    for name, part in zip(names, parts, strict=True):
        says = number_of(part.get("optimizer_state_dict", "partition_count"))
        if says not in (world, None) or len(parts) != world:
            raise Malformed(
                f"{names[0]} is one of {world} partitions, {name} one of {says}, and {len(parts)} are there",
                "the parts are not of one checkpoint",
                folder,
            )


def _model_files(folder: str, names: Sequence[str], ranks: int) -> Sequence[str]:
    """The model's files: one, or with ZeRO 3 one for each of `ranks`. Raises Malformed where one is missing."""
    wanted = [f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt" for rank in range(ranks)] or ["mp_rank_00_model_states.pt"]
    present = {name.removeprefix("bf16_"): name for name in names}
    for name in wanted:
        if name not in present:
            raise missing_part(folder, name, len(wanted))
    return [present[name] for name in wanted]


formats.add(DeepSpeed.name, DeepSpeed())
