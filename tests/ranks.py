"""Four processes that save one checkpoint together, each its part: `python ranks.py FOLDER`. Tensors are those of `whole`."""

from __future__ import annotations

import os
import socket
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor


def whole() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"rows": (10, 6), "columns": (6, 10), "grid": (9, 7, 2), "short": (3, 5), "line": (13,), "every": (4, 4)}
    found = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return found | {"half": torch.randn(12, 3, generator=generator).bfloat16(), "whole": torch.arange(6)}


def save(rank: int, folder: str, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "4"}
    dist.init_process_group("gloo", rank=rank, world_size=4)
    mesh = init_device_mesh("cpu", (2, 2))
    places = {"rows": [Shard(0), Shard(0)], "columns": [Shard(1), Shard(1)], "grid": [Shard(0), Shard(1)], "short": [Shard(0), Shard(0)],
              "line": [Replicate(), Shard(0)], "every": [Replicate(), Replicate()], "half": [Shard(1), Shard(0)]}  # fmt: skip
    tensors = whole()
    parts = {name: distribute_tensor(tensors[name], mesh, place) for name, place in places.items()}
    dcp.save({"model": parts | {"whole": tensors["whole"]}, "epoch": 3}, checkpoint_id=folder)
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    # Forked, they need not import torch again, which takes longer than what they do.
    torch.multiprocessing.start_processes(save, (sys.argv[1], free_port()), nprocs=4, start_method="fork")
