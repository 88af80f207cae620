"""Four processes that save each its own part of a model, with torch.save: `python rank_files.py FOLDER`.

A set is a folder; FOLDER/SET.pt is the whole of it, gathered by torch itself.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ranks import free_port
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType, fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.distributed.tensor.placement_types import _StridedShard

State = dict[str, Any]


def ready(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    count = torch.Size(shape).numel()
    return torch.arange(1, count + 1, dtype=torch.float32).reshape(shape).to(dtype)


def uneven(mesh: DeviceMesh) -> State:
    """Three ranks: sizes that 3 does not divide, ranks without a row, names of one tensor, what is on no mesh."""
    state: State = {
        "rows": distribute_tensor(ready(7, 3), mesh, [Shard(0)]),
        "columns": distribute_tensor(ready(3, 8, dtype=torch.bfloat16), mesh, [Shard(1)]),
        "last_has_none": distribute_tensor(ready(4, 2), mesh, [Shard(0)]),
        "two_have_none": distribute_tensor(ready(1, 5), mesh, [Shard(0)]),
        "none_has_any": distribute_tensor(ready(0, 5), mesh, [Shard(0)]),
        "every": distribute_tensor(ready(2, 2), mesh, [Replicate()]),
        "integers": distribute_tensor(ready(5).long(), mesh, [Shard(0)]),
        "count": torch.tensor(7),
    }
    return state | {"tied": state["rows"]}


def grid(mesh: DeviceMesh) -> State:
    """A mesh of 2 x 2: replicas of shards, both axes, one axis twice in either order."""
    places = {
        "replicas": [Replicate(), Shard(0)],
        "both": [Shard(0), Shard(1)],
        "both_turned": [Shard(1), Shard(0)],
        "twice": [Shard(0), Shard(0)],
        "strided": [_StridedShard(0, split_factor=2), Shard(0)],
        "middle": [Shard(1), Replicate()],
    }
    state: State = {name: distribute_tensor(ready(9 if name != "strided" else 8, 6, 2), mesh, place) for name, place in places.items()}
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4))
    parallelize_module(net, mesh["tensor"], {"0": ColwiseParallel(), "1": RowwiseParallel()})
    fully_shard(net, mesh=mesh["data"])
    return state | {f"net.{name}": value for name, value in net.state_dict().items()}


def partial(mesh: DeviceMesh) -> State:
    return {"sum": DTensor.from_local(ready(2, 2), mesh, [Partial()])}


def fsdp1(kind: StateDictType) -> tuple[State, State]:
    """The state dict of a rank and the whole one, by FSDP itself."""
    net = FullyShardedDataParallel(nn.Sequential(nn.Linear(4, 7), nn.Linear(7, 3), nn.BatchNorm1d(3)), device_id=torch.device("cpu"))
    with FullyShardedDataParallel.state_dict_type(net, kind):
        parts = net.state_dict()
    with FullyShardedDataParallel.state_dict_type(net, StateDictType.FULL_STATE_DICT):
        return parts, {name: value.clone() for name, value in net.state_dict().items()}


def save(rank: int, root: str, port: int) -> None:
    warnings.simplefilter("ignore")
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "4"}
    dist.init_process_group("gloo", rank=rank, world_size=4)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = Path(root)
    square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    three = DeviceMesh("cpu", [0, 1, 2])

    def write(name: str, file: str, make: Callable[[DeviceMesh], State], mesh: DeviceMesh, whole: bool = True) -> None:
        state = make(mesh)
        (folder / name).mkdir(exist_ok=True, parents=True)
        torch.save(state, folder / name / file)
        if whole:
            gathered = {key: value.full_tensor() if isinstance(value, DTensor) else value for key, value in state.items()}
            torch.save({key: value.detach() for key, value in gathered.items()}, folder / f"{name}.pt") if rank == 0 else None

    write("grid", f"model.rank{rank}.pt", grid, square)
    write("partial", f"rank_{rank}.pt", partial, init_device_mesh("cpu", (4,)), whole=False)
    if rank < 3:
        write("uneven", f"model_world_size_3_rank_{rank}.pt", uneven, three)
    for name, kind in (("fsdp1", StateDictType.SHARDED_STATE_DICT), ("flat", StateDictType.LOCAL_STATE_DICT)):
        parts, whole = fsdp1(kind)
        write(name, f"pytorch_model_{rank}.bin", lambda _, parts=parts: parts, square, whole=False)  # type: ignore[misc]
        torch.save(whole, folder / f"{name}.pt") if rank == 0 else None
    dist.destroy_process_group()


if __name__ == "__main__":
    # Forked, they need not import torch again, which takes longer than what they do.
    torch.multiprocessing.start_processes(save, (sys.argv[1], free_port()), nprocs=4, start_method="fork")
