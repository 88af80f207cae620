"""Megatron-LM's folders of ranks (`--ckpt-format torch`): tensor and pipeline parallel, a folder for each rank.

    latest_checkpointed_iteration.txt            the number of the newest step, or `release`
    iter_0000005/mp_rank_TT/model_optim_rng.pt   tensor-parallel rank TT: its part of the model, its optimizer, `args`
    iter_0000005/mp_rank_TT_PPP/…                the same of pipeline stage PPP

As in megatron/training/checkpointing.py, megatron/core/tensor_parallel/layers.py and megatron/legacy/model. Peculiarities:
- The axis follows from the layer's type: column-parallel layers and embeddings lie along axis 0, row-parallel ones along axis 1; norms, and
  the biases of row-parallel layers, are whole on every rank.
- A gated MLP keeps its two halves one after another on each rank, so that both are cut: told by the widths of fc1 and fc2.
- Before checkpoint_version 1, so do query, key and value.
- Each pipeline stage counts its layers from 0.
- A step that was saved as a torch.distributed.checkpoint is read as that. Optimizer states are not part of what is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import Malformed, ReadError
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import SeveralFiles, formats
from .pickled_part import PickledPart
from .pipeline_stages import Stage, joined_stages, renumbered
from .set_of_parts import Gathered, SetOfParts, file_of, missing_part, open_part
from .step_folder import named_step, names_in, tracked
from .tensor_parallel import SAME, Cut, by_layer, joined, rules_of, told
from .wholes import Whole, by_name

_TRACKER = "latest_checkpointed_iteration.txt"
_RANK = re.compile(r"mp_rank_(\d{2,4})(?:_(\d{3}))?(?:_(\d{3}))?")
_FILES = ("model_optim_rng.pt", "model_rng.pt", "model_weights.ckpt")
_NOT_THE_MODEL = ("optimizer", "rng_state", "opt_param_scheduler", "lr_scheduler", "rerun_state_machine")
_COLUMN = (
    "word_embeddings|word_embeddings_for_head|query_key_value|query|key_value|linear_qkv|linear_q|linear_kv|linear_q_proj|linear_q_up_proj|"
    "linear_kv_up_proj|dense_h_to_4h|linear_fc1|output_layer"
)
_ROW = r"dense_4h_to_h|linear_fc2|linear_proj|attention\.dense"
_RULES = {
    r"norm[^.]*[._](weight|bias)$": SAME,
    rf"(^|[._])({_ROW})\.weight\d*$": Cut(1),
    rf"(^|[._])({_ROW})\.bias\d*$": SAME,
    rf"(^|\.)({_COLUMN})\.(weight|bias)\d*$": Cut(0),
    r"(^|\.)lm_head\.bias$": Cut(0),
    r"(^|\.)(position_embeddings|tokentype_embeddings|router|pooler\.dense|lm_head\.dense|binary_head)\.(weight|bias)$": SAME,
    r"(^|\.)rotary_pos_emb\.inv_freq$": SAME,
}


class Megatron(SetOfParts):
    """Folders of Megatron-LM's ranks."""

    name = "megatron"
    title = "Megatron-LM ranks (a folder)"
    called = "a set of Megatron's ranks"

    def locate(self, path: str) -> str | None:
        """The first rank's file in a step's folder, or in the step that the tracker names; a distributed checkpoint's metadata there."""
        number = tracked(path, _TRACKER)
        if number is not None:
            step = named_step(path, _TRACKER, f"iter_{int(number):07d}" if number.isdecimal() else number)
            distributed = formats["dcp"]
            found = _main(step) or (distributed.locate(step) if step and isinstance(distributed, SeveralFiles) else None)
            if found:
                return found
        return _main(path)

    def is_main(self, path: str, folder: str) -> bool:
        """Whether `path` is the file of the first rank, and `folder` is not that rank's own."""
        of_rank = os.path.dirname(path)
        main = _main(os.path.dirname(of_rank) or ".") if _RANK.fullmatch(os.path.basename(of_rank)) else None
        return main is not None and os.path.realpath(main) == os.path.realpath(path) and not os.path.samefile(folder, of_rank)

    def gather(self, main: File) -> Gathered:
        """The model, put together of its ranks."""
        folder = os.path.dirname(os.path.dirname(main.path)) or "."
        ranks = _ranks(folder)
        first = PickledPart(main.path)
        _check_ranks(folder, ranks, first)
        rules = rules_of([folder, os.path.dirname(folder) or "."])
        stages: list[Stage] = []
        files: list[File] = []
        for stage in sorted({stage for _, stage in ranks}):
            parts = [open_part(path, main) for (_, number), path in sorted(ranks.items()) if number == stage]
            files += map(file_of, parts)
            stages.append(renumbered(_stage(parts, first, rules, folder), stages))
        notes = [f"the ranks' {', '.join(left)} are left out"] if (left := _left_out(first.checkpoint)) else []
        return Gathered(joined_stages(stages), files, _objects(first.checkpoint), notes)

    def part_note(self, path: str, checkpoint: Checkpoint) -> str:
        """Which rank a file is of."""
        folder = os.path.dirname(os.path.abspath(path))
        match = _RANK.fullmatch(os.path.basename(folder))
        ranks = sorted(_ranks(os.path.dirname(folder))) if match else []
        if not match or len(ranks) < 2:
            return ""
        number = ranks.index((int(match[1]), int(match[2] or 0))) + 1
        return f"part {number} of {len(ranks)}: tensors are listed as this rank holds them; give the folder of all ranks to read them whole"


def _ranks(folder: str) -> dict[tuple[int, int], str]:
    """The files of the ranks, by tensor-parallel rank and pipeline stage."""
    found = {}
    for name in names_in(folder):
        if match := _RANK.fullmatch(name):
            file = next((path for file in _FILES if os.path.isfile(path := os.path.join(folder, name, file))), None)
            if file and match[3] is not None:
                raise ReadError("Megatron's expert-parallel ranks are not put together", "save with --ckpt-format torch_dist", folder)
            if file:
                found[int(match[1]), int(match[2] or 0)] = file
    return found


def _main(folder: str | None) -> str | None:
    ranks = _ranks(folder) if folder is not None else {}
    return ranks[min(ranks)] if ranks else None


def _argument(part: PickledPart, name: str) -> Any:
    """A value of `args`, the Namespace of the run's options; None where there is none."""
    from ..encodings.object_nodes import Call

    args = part.get("args")
    state = args.state() if type(args) is Call else None
    return state.get(name) if state else None


def _check_ranks(folder: str, ranks: Mapping[tuple[int, int], str], first: PickledPart) -> None:
    """Raise Malformed for a rank that is missing, and for layouts that are not understood."""
    counts = []
    for axis, name in enumerate(("tensor_model_parallel_size", "pipeline_model_parallel_size")):
        said, there = _argument(first, name), max(rank[axis] for rank in ranks) + 1
        if type(said) is int and said < there:
            raise Malformed(f"the ranks' args say {name} {said}, and there are {there}", "the parts are not of one checkpoint", folder)
        counts.append(min(said, 10_000) if type(said) is int else there)
    pipeline = max(stage for _, stage in ranks) > 0 or counts[1] > 1
    for tensor, stage in ((tensor, stage) for stage in range(counts[1]) for tensor in range(counts[0])):
        if (tensor, stage) not in ranks:
            raise missing_part(folder, f"mp_rank_{tensor:02d}" + (f"_{stage:03d}" if pipeline else ""), counts[0] * counts[1])
    experts = _argument(first, "expert_model_parallel_size")
    if type(experts) is int and experts > 1:
        raise ReadError("Megatron's expert-parallel ranks are not put together", "save with --ckpt-format torch_dist", folder)
    if counts[1] > 1 and first.get("model1") is not None:
        raise ReadError("Megatron's interleaved pipeline stages are not put together", "save with --ckpt-format torch_dist", folder)
    groups = _argument(first, "num_query_groups")
    if type(groups) is int and 0 < groups < counts[0] and _argument(first, "group_query_attention") is True:
        raise ReadError("fewer query groups than ranks: ranks share keys and values, which are not put together", where=folder)


def _model(part: Checkpoint) -> dict[str, Tensor]:
    """The tensors of the model."""
    inside = {name: part.tensors[name] for name in part.tensors if re.match(r"model\d*\.", name)}
    held = inside or {name: part.tensors[name] for name in part.tensors if name.split(".")[0] not in _NOT_THE_MODEL}
    return {name: tensor for name, tensor in held.items() if not name.endswith("._extra_state")}


def _left_out(part: Checkpoint) -> list[str]:
    """What else a rank's file holds tensors of."""
    model = _model(part)
    others = [name for name in part if name not in model]
    return list(dict.fromkeys("_extra_state" if name.endswith("._extra_state") else name.split(".")[0] for name in others))


def _objects(part: Checkpoint) -> dict[str, Any]:
    return {name: value for name, value in part.objects.items() if name.split(".")[0] not in _NOT_THE_MODEL}


def _stage(parts: Sequence[Checkpoint], first: PickledPart, rules: Mapping[str, Cut], folder: str) -> dict[str, Whole]:
    """The tensors of one pipeline stage."""
    held = list(by_name([(file_of(part), _model(part)) for part in parts]))
    tensors = {name: of_ranks[0][1] for name, of_ranks in held}
    wholes = {}
    for name, of_ranks in held:
        if len(of_ranks) != len(parts):
            raise Malformed(f"{name} is in {len(of_ranks)} of {len(parts)} ranks", "the parts are not of one checkpoint", folder)
        wholes[name] = joined(name, of_ranks, told(rules, name) or _cut(name, tensors, first), folder)
    return wholes


def _cut(name: str, tensors: Mapping[str, Tensor], first: PickledPart) -> Cut | None:
    """How a tensor lies on the ranks, by the type of its layer."""
    cut = by_layer(_RULES, name)
    if cut != Cut(0):
        return cut
    if re.search(r"(dense_h_to_4h|linear_fc1)\.", name) and _gated(name, tensors, first):
        return Cut(0, 2)
    fused = re.search(r"(query_key_value|key_value)\.(weight|bias)$", name)
    version = first.checkpoint.objects.get("checkpoint_version", 0)
    if fused and isinstance(version, (int, float)) and version < 1:
        return Cut(0, 3 if fused[1] == "query_key_value" else 2)
    return cut


def _gated(name: str, tensors: Mapping[str, Tensor], first: PickledPart) -> bool:
    """Whether fc1 is a gate and a value: it is twice as wide then as what fc2 takes."""
    weight = re.sub(r"bias(\d*)$", r"weight\1", name)
    second = tensors.get(weight.replace("dense_h_to_4h", "dense_4h_to_h").replace("linear_fc1", "linear_fc2"))
    if second is not None and len(second.shape) == 2:
        return tensors[name].shape[:1] == (2 * second.shape[1],)
    return _argument(first, "swiglu") is True


formats.add(Megatron.name, Megatron())
