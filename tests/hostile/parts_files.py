"""Rank files: distributed tensors whose meshes, placements and shards lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from judge import Build, Case
from pickles import Raw, built, call, name, pickled, tensor
from zips import torch_zip

SPEC, SHARDS = "torch.distributed.tensor", "torch.distributed._shard"


def rebuilt(cls: Raw, inner: Any, state: Any) -> Raw:
    return call(name("torch._tensor", "_rebuild_from_type_v2"), name("torch._utils", "_rebuild_wrapper_subclass"), cls, inner, state)


def shard(dim: Any = 0, kind: str = "Shard", **more: Any) -> Raw:
    return built(name(f"{SPEC}.placement_types", kind), {"dim": dim} | more)


def dtensor(sizes: Any = (2,), at: Any = (0,), placements: Any = None, shape: Any = (4, 2), **more: Any) -> Raw:
    layout = built(name("torch.distributed._mesh_layout", "_MeshLayout"), {"shape": sizes, "stride": 1})
    mesh = built(name("torch.distributed.device_mesh", "DeviceMesh"), {"_layout": layout, "_coordinate_on_dim": at})
    meta = call(name(f"{SPEC}._dtensor_spec", "TensorMeta"), shape, (2, 1), name("torch", "float32"))
    facts = {"mesh": mesh, "placements": (shard(),) if placements is None else placements, "tensor_meta": meta} | more
    return rebuilt(
        name(SPEC, "DTensor"), (), {"_local_tensor": tensor(), "_spec": built(name(f"{SPEC}._dtensor_spec", "DTensorSpec"), facts)}
    )


def sharded(shards: Any = None, size: Any = (4, 2), inner: Any = None) -> Raw:
    facts = built(name(f"{SHARDS}.sharded_tensor.metadata", "ShardedTensorMetadata"), {"size": size})
    state = ([piece()] if shards is None else shards, facts, {"local_rank": 0, "local_world_size": 2}, None, False)
    kind = (None, name("torch", "float32"), (4, 2)) if inner is None else inner
    return rebuilt(name(f"{SHARDS}.sharded_tensor.api", "ShardedTensor"), kind, state)


def piece(offsets: Any = (0, 0), sizes: Any = (2, 2), of: Any = None) -> Raw:
    place = built(name(f"{SHARDS}.metadata", "ShardMetadata"), (None, {"shard_offsets": offsets, "shard_sizes": sizes}))
    return built(name(f"{SHARDS}.sharded_tensor.shard", "Shard"), (None, {"tensor": of or tensor(), "metadata": place}))


def file(root: Any) -> bytes:
    return torch_zip(pickled({"w": root}))


def folder(*roots: Any) -> Build:
    def build(path: Path) -> None:
        for number, root in enumerate(roots):
            (path / f"model_{number}.pt").write_bytes(file(root))

    return build


MANY = 10**15
ODD: dict[str, tuple[Raw, str]] = {
    "a rank beyond its mesh": (dtensor(at=(2,)), "outside of its mesh"),
    "a rank before its mesh": (dtensor(at=(-1,)), "no tuple of sizes"),
    "a rank that is True": (dtensor(at=(True,)), "no tuple of sizes"),
    "no rank": (dtensor(at=None), "no tuple of sizes"),
    "a mesh of no ranks": (dtensor(sizes=(0,)), "outside of its mesh"),
    "a mesh of 65 dimensions": (dtensor(sizes=(1,) * 65, at=(0,) * 65), "no tuple of sizes"),
    "a mesh that is text": (dtensor(sizes="2"), "no tuple of sizes"),
    "more placements": (dtensor(placements=(shard(), shard())), "other placements"),
    "no placements": (dtensor(placements=()), "other placements"),
    "an axis that is not there": (dtensor(placements=(shard(2),)), "does not have"),
    "an axis before the first": (dtensor(placements=(shard(-1),)), "does not have"),
    "a sum": (dtensor(placements=(shard(kind="Partial"),)), "is Partial"),
    "a placement of nobody": (dtensor(placements=(shard(kind="Scattered"),)), "is Scattered"),
    "a placement that is a number": (dtensor(placements=(7,)), "unknown way"),
    "half a million runs": (dtensor(placements=(shard(kind="_StridedShard", split_factor=MANY),)), "does not have"),
    "no runs": (dtensor(placements=(shard(kind="_StridedShard", split_factor=0),)), "does not have"),
    "a shape of half a million axes": (dtensor(shape=(1,) * 1000), "no tuple of sizes"),
    "a shape with a size below none": (dtensor(shape=(-4, 2)), "no tuple of sizes"),
    "a shape on paper": (dtensor(shape=(MANY, MANY)), "should hold"),
    "no shape": (dtensor(shape=None), "no tuple of sizes"),
    "a shard beyond its tensor": (sharded([piece((3, 0))]), "outside of its tensor"),
    "a shard of other axes": (sharded([piece((0,), (2,))]), "outside of its tensor"),
    "a shard of another size": (sharded([piece((0, 0), (1, 2))]), "should hold 1x2"),
    "a shard far away": (sharded([piece((MANY, 0))], (2 * MANY, 2)), "do not make up the whole"),
    "a tensor without a size": (sharded(size="big"), "no tuple of sizes"),
}
ALONE: dict[str, tuple[Raw, str, str]] = {
    "shards that are no list": (sharded("x"), "ok", ""),
    "two shards": (sharded([piece(), piece((2, 0))]), "ok", ""),
    "a shard that is no object": (sharded([7]), "ok", ""),
    "a shard without a tensor": (sharded([piece(of=Raw(b"N"))]), "ok", ""),
    "no shards of what is no dtype": (sharded([], inner=(None, "float32", (4, 2))), "error", "torch dtype"),
    "no shards of no shape": (sharded([], inner=(None, name("torch", "float32"), None)), "error", "no tuple of sizes"),
    "a state of nothing": (rebuilt(name(SPEC, "DTensor"), (), {"_local_tensor": tensor()}), "warning", "give the folder"),
    "a spec that is text": (rebuilt(name(SPEC, "DTensor"), (), {"_local_tensor": tensor(), "_spec": "x"}), "warning", "give the folder"),
}


def cases() -> Iterator[Case]:
    """A part alone opens as what this rank holds; the set is an error that says what is wrong."""
    yield Case("one rank of two", "warning", "part 1 of 2", file(dtensor()))
    for what, (root, says) in ODD.items():
        yield Case(f"{what}, alone", "warning", "give the folder", file(root))
        yield Case(what, "error", says, folder(root, root), ".")
    for what, (root, gives, says) in ALONE.items():
        yield Case(what, gives, says, file(root))
