"""Orbax and TensorStore as the writers: what ckpt reads of their folders is what they had in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy
import orbax.checkpoint as ocp
import pytest
import tensorstore
from safetensors.numpy import load_file

Run = Callable[..., str]
TREE = {"params": {"w": numpy.arange(3000, dtype="f4").reshape(60, 50), "b": jnp.ones(3)}, "list": [jnp.zeros(2)], "step": 7}


def read(folder: Path, ckpt: Run) -> dict[str, Any]:
    ckpt("convert", folder, folder.parent / "x.safetensors", "--force")
    return load_file(folder.parent / "x.safetensors")


@pytest.mark.parametrize("zarr3", [False, True])
@pytest.mark.parametrize("ocdbt", [False, True])
def test_what_orbax_saves_is_read(zarr3: bool, ocdbt: bool, tmp_path: Path, ckpt: Run) -> None:
    handler = ocp.PyTreeCheckpointHandler(use_zarr3=zarr3, use_ocdbt=ocdbt)
    with ocp.Checkpointer(handler) as saver:
        saver.save(tmp_path / "run", TREE)
    found = read(tmp_path / "run", ckpt)
    assert set(found) == {"params.w", "params.b", "list.0"}
    assert (found["params.w"] == TREE["params"]["w"]).all() and found["params.b"].tolist() == [1, 1, 1]  # type: ignore[index]


def test_a_managers_steps_are_read(tmp_path: Path, ckpt: Run) -> None:
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(3, args=ocp.args.StandardSave(TREE))
        manager.wait_until_finished()
    assert "params.w" in ckpt("ls", tmp_path / "run" / "3") and "params.w" in ckpt("ls", tmp_path / "run")


def spec(driver: str, chunks: list[int], inner: list[int]) -> dict[str, Any]:
    if driver == "zarr":
        return {"chunks": chunks, "compressor": {"id": "zstd", "level": 1}}
    sharding = {"chunk_shape": inner, "codecs": [{"name": "bytes"}, {"name": "zstd"}]}
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}, "codecs": codecs}


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
@pytest.mark.parametrize(("node", "inline"), [(500, 10), (100_000, 0), (1_000_000, 1_000_000)])
def test_any_shape_of_the_database_is_read(driver: str, node: int, inline: int, tmp_path: Path, ckpt: Run) -> None:
    """Trees of several levels and versions, values in the leaves and beside them, many chunks and shards."""
    folder = tmp_path / "run"
    config = {"max_decoded_node_bytes": node, "max_inline_value_bytes": inline}
    base = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}, "config": config}
    values = {f"layer.{i}": numpy.random.default_rng(i).standard_normal((13, 10)).astype("f4") for i in range(30)}
    for name, array in values.items():
        kinds = {"driver": driver, "kvstore": {**base, "path": f"{name}/"}, "metadata": spec(driver, [4, 6], [2, 3]), "create": True}
        store = tensorstore.open(kinds, dtype=tensorstore.float32, shape=[13, 10]).result()
        store[...] = array
    entries = {
        name: {"key_metadata": [{"key": key, "key_type": 2} for key in name.split(".")], "value_metadata": {"value_type": "jax.Array"}}
        for name in values
    }
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": entries, "use_ocdbt": True}))
    found = read(folder, ckpt)
    assert set(found) == set(values) and all((found[name] == array).all() for name, array in values.items())
