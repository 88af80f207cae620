"""DeepSpeed's folders: the float32 weights are those that went into the partitions, cut here as ZeRO cuts them."""

from __future__ import annotations

import math
import shutil
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Ckpt
from oracles import all_bits, read_bits

Tensors = dict[str, torch.Tensor]


def weights() -> list[Tensors]:
    """Two groups: with decay, and without."""
    generator = torch.Generator().manual_seed(0)
    shapes: list[dict[str, tuple[int, ...]]] = [
        {"wte.weight": (11, 4), "h.0.weight": (5, 3)},
        {"h.0.bias": (5,), "scale": (), "none": (0, 2), "none_either": (0, 2)},
    ]
    return [{name: torch.randn(shape, generator=generator) for name, shape in group.items()} for group in shapes]


FROZEN = {"frozen.weight": torch.arange(7.0).half()}
BUFFERS = {"mask": torch.arange(5.0).half(), "position_ids": torch.arange(6)}


def model_state(groups: Sequence[Tensors], world: int, **more: Any) -> dict[str, Any]:
    module = {name: tensor.half() for group in groups for name, tensor in group.items()} | BUFFERS | FROZEN
    module["lm_head.weight"] = module["wte.weight"]
    return {
        "module": OrderedDict(module),
        "buffer_names": list(BUFFERS),
        "param_shapes": [OrderedDict((name, tensor.shape) for name, tensor in group.items()) for group in groups],
        "frozen_param_shapes": {name: tensor.shape for name, tensor in FROZEN.items()},
        "frozen_param_fragments": FROZEN,
        "shared_params": {"lm_head.weight": "wte.weight"},
        "ds_version": "0.16.0",
        "dp_world_size": world,
        "global_steps": 5,
    } | more


def optimizer_state(parts: Sequence[torch.Tensor], world: int, **more: Any) -> dict[str, Any]:
    adam = {"exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    return {"optimizer_state_dict": {"base_optimizer_state": {"state": {0: adam}}, "partition_count": world} | more, "ds_version": "0.16.0"}


def put(folder: Path, name: str, state: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / name)


def zero2(run: Path, world: int, *, strip: bool = False, bf16: bool = False) -> Path:
    """ZeRO 1 and 2: every group one vector, padded to 2 x world, cut evenly. `strip`: saved without the padding, as stage 2 does."""
    step = run / "global_step5"
    parts: list[list[torch.Tensor]] = [[] for _ in range(world)]
    for group in weights():
        flat = torch.cat([tensor.reshape(-1) for tensor in group.values()])
        size = 2 * math.ceil(len(flat) / (2 * world))
        padded = torch.cat([flat, torch.full((size * world - len(flat),), 99.0)])
        for rank in range(world):
            parts[rank].append(padded[rank * size : rank * size + size].clone())
            if strip:
                parts[rank][-1] = parts[rank][-1][: max(0, len(flat) - rank * size)].clone()
    put(step, "mp_rank_00_model_states.pt", model_state(weights(), world))
    for rank in range(world):
        stage = {} if bf16 else {"zero_stage": 2}
        facts = {"single_partition_of_fp32_groups": parts[rank], "partition_count": [world, world]} | stage
        put(step, f"{'bf16_' * bf16}zero_pp_rank_{rank}_mp_rank_00_optim_states.pt", optimizer_state(parts[rank], world, **facts))
    (run / "latest").write_text("global_step5")
    return run


def runs(tensor: torch.Tensor, world: int) -> list[torch.Tensor]:
    """A parameter of ZeRO 3: a run for each rank, the last ones padded."""
    flat = tensor.reshape(-1)
    size = math.ceil(len(flat) / world)
    return list(torch.cat([flat, torch.full((size * world - len(flat),), 99.0, dtype=flat.dtype)]).split(size) if size else [flat] * world)


def zero3(run: Path, world: int) -> Path:
    step = run / "global_step5"
    groups = weights()
    for rank in range(world):
        flat = [torch.cat([runs(tensor, world)[rank] for tensor in group.values()]) for group in groups]
        more = {"frozen_param_fragments": {name: runs(tensor, world)[rank].clone() for name, tensor in FROZEN.items()}}
        put(step, f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt", model_state(groups, world, **more))
        facts = {"zero_stage": 3, "fp32_flat_groups": flat}
        put(step, f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt", optimizer_state(flat, world, **facts))
    (run / "latest").write_text("global_step5")
    return run


def universal(run: Path, world: int = 1, *, flat: bool = False) -> Path:
    step = run / "global_step5_universal"
    put(step, "mp_rank_00_model_states.pt", model_state(weights(), world))
    for name, tensor in {name: tensor for group in weights() for name, tensor in group.items()}.items():
        put(step / "zero" / name, "fp32.pt", tensor.reshape(-1) if flat else {"param": tensor, "cat_dim": 0})  # type: ignore[arg-type]
        put(step / "zero" / name, "exp_avg.pt", {"param": torch.zeros_like(tensor)})
    (run / "latest_universal").write_text("global_step5_universal")
    return run


def right(frozen: bool = True) -> Tensors:
    """What `zero_to_fp32.py` gives; it makes integer buffers floats, too, which are left as they are here."""
    found = {"mask": BUFFERS["mask"].float(), "position_ids": BUFFERS["position_ids"]} | (FROZEN if frozen else {})
    found |= {name: tensor for group in weights() for name, tensor in group.items()}
    return found | {"lm_head.weight": found["wte.weight"]}


MAKERS: dict[str, Callable[[Path], Path]] = {
    "zero2, 2 ranks": lambda run: zero2(run, 2),
    "zero2, 3 ranks, stripped": lambda run: zero2(run, 3, strip=True),
    "zero1, bf16, 1 rank": lambda run: zero2(run, 1, bf16=True),
    "zero2, more ranks than elements": lambda run: zero2(run, 8, strip=True),
    "zero3, 2 ranks": lambda run: zero3(run, 2),
    "zero3, 3 ranks": lambda run: zero3(run, 3),
    "zero3, 8 ranks": lambda run: zero3(run, 8),
    "universal": universal,
    "universal of zero3": lambda run: universal(run, flat=True),
}


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_partitions_are_read_as_the_float32_weights(maker: Callable[[Path], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    run = maker(tmp_path / "run")
    step = next(path for path in run.iterdir() if path.is_dir())
    want = right(frozen="universal" not in step.name)
    for path in (run, step):
        assert read_bits(path) == all_bits(want)
        assert [row[0] for row in ckpt("ls", path).rows if row[5] == "wte.weight"] == ["lm_head.weight"]
        assert f"{step.name} is opened" in ckpt("ls", run).err
        assert "states of the optimizer" in ckpt("ls", path).err
    ckpt("convert", run, tmp_path / "out.safetensors")
    assert read_bits(tmp_path / "out.safetensors") == all_bits(want)
    assert ckpt("check", run).out == ""
    assert ckpt("diff", run, tmp_path / "out.safetensors").out == ""
    assert ckpt("get", step, "h.0.weight[2]", "--format", "json").json["values"] == want["h.0.weight"][2].tolist()
    assert "keeps the weights twice" in ckpt("set", run, "h.0.weight = 0", "-i", status=2).err


def test_one_file_alone_says_what_it_is(tmp_path: Path, ckpt: Ckpt) -> None:
    step = zero2(tmp_path / "run", 2) / "global_step5"
    assert "part 2 of 2: partitions" in ckpt("ls", step / "zero_pp_rank_1_mp_rank_00_optim_states.pt").err
    assert "the weights in 16 bits" in ckpt("ls", step / "mp_rank_00_model_states.pt").err


@pytest.mark.parametrize(
    "gone",
    [
        ("zero2", "zero_pp_rank_0_mp_rank_00_optim_states.pt"),
        ("zero2", "zero_pp_rank_1_mp_rank_00_optim_states.pt"),
        ("zero2", "mp_rank_00_model_states.pt"),
        ("zero3", "zero_pp_rank_1_mp_rank_00_model_states.pt"),
        ("zero3", "zero_pp_rank_1_mp_rank_00_optim_states.pt"),
    ],
    ids=" ".join,
)
def test_a_missing_part_is_named(gone: tuple[str, str], tmp_path: Path, ckpt: Ckpt) -> None:
    run = {"zero2": zero2, "zero3": zero3}[gone[0]](tmp_path / "run", 2)
    (run / "global_step5" / gone[1]).unlink()
    assert f"part {gone[1]} of {1 if gone[1].startswith('mp') else 2} is missing" in ckpt("ls", run, status=2).err


def change(run: Path, file: str, edit: Callable[[Any], object]) -> None:
    path = run / "global_step5" / file
    state = torch.load(path, weights_only=False)
    edit(state)
    torch.save(state, path)


MODEL, RANK_1 = "mp_rank_00_model_states.pt", "zero_pp_rank_1_mp_rank_00_optim_states.pt"
ZERO, GROUPS = "optimizer_state_dict", "single_partition_of_fp32_groups"
BROKEN: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "another world": (RANK_1, lambda s: s[ZERO].update(partition_count=[3, 3]), "one of 3"),
    "a huge shape": (MODEL, lambda s: s["param_shapes"][0].update({"wte.weight": torch.Size([2**40, 2**20])}), "1,152,921,504,606,846,976"),
    "a shape that is none": (MODEL, lambda s: s["param_shapes"][0].update({"wte.weight": "big"}), "the shape of wte.weight is no tuple"),
    "a parameter too few": (MODEL, lambda s: s["param_shapes"][0].pop("wte.weight"), "elements, and its partitions 60"),
    "a group too few": (MODEL, lambda s: s["param_shapes"].pop(), "1 groups of parameters, and a rank 2 partitions"),
    "other partitions": (RANK_1, lambda s: s[ZERO].update({GROUPS: [torch.zeros(1)] * 2}), "44 elements, and the partitions hold 31"),
    "partitions that are none": (RANK_1, lambda s: s[ZERO].update({GROUPS: [7]}), "is no tensor"),
    "partitions with axes": (RANK_1, lambda s: s[ZERO].update({GROUPS: [torch.zeros(2, 2)]}), "no list of flat"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_parts_that_do_not_fit_are_one_line(broken: tuple[str, Callable[[Any], object], str], tmp_path: Path, ckpt: Ckpt) -> None:
    run = zero2(tmp_path / "run", 2)
    change(run, broken[0], broken[1])
    assert broken[2] in ckpt("ls", run, status=2).err


def test_what_is_not_put_together_is_refused(tmp_path: Path, ckpt: Ckpt) -> None:
    step = zero2(tmp_path / "run", 2) / "global_step5"
    (step / "layer_0_expert_0_mp_rank_00_model_states.pt").touch()
    assert "experts are not put together" in ckpt("ls", step, status=2).err
    (step / "layer_0_expert_0_mp_rank_00_model_states.pt").unlink()
    shutil.copy(step / RANK_1, step / "zero_pp_rank_0_mp_rank_01_optim_states.pt")
    assert "parallel ranks are not put together" in ckpt("ls", step, status=2).err
    (tmp_path / "run" / "latest").write_text("global_step6")
    assert "latest names the step global_step6" in ckpt("ls", tmp_path / "run", status=2).err


def test_a_model_beside_a_step_is_what_the_folder_is(tmp_path: Path, ckpt: Ckpt) -> None:
    run = zero2(tmp_path / "run", 2)
    torch.save({"w": torch.zeros(3)}, run / "pytorch_model.bin")
    assert ckpt("ls", run).rows == [["w", "float32", "3", "3", "12", ""]]


@pytest.mark.parametrize("path", ["ds", "ds/global_step5"])
def test_the_reported_folder_is_read(case: Callable[[str], Path], ckpt: Ckpt, tmp_path: Path, path: str) -> None:
    folder = case("reports/zero2")
    ckpt("convert", folder / path, tmp_path / "out.pt")
    assert ckpt("diff", tmp_path / "out.pt", folder / "right.pt", "--exact").out == ""
