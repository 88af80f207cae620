"""Flax as the judge of msgpack files: what ckpt wrote is restored, bit for bit, to the tree that it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy
import pytest
from flax import serialization
from safetensors.numpy import save_file

Run = Callable[..., str]
DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float16", "float32", "float64", "complex64", "complex128"]
SMALL = [name for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu") if hasattr(ml_dtypes, name)]


def tree() -> dict[str, Any]:
    kinds = [numpy.dtype(name) for name in DTYPES + FLOATS] + [numpy.dtype(getattr(ml_dtypes, name)) for name in SMALL]
    arrays = {str(kind.name): numpy.arange(6).astype(kind).reshape(2, 3) for kind in kinds}
    others = {"scalar": numpy.float32(2), "empty": numpy.zeros((0, 3), "f4"), "a.b": numpy.ones(1), "deep": {"deeper": jnp.ones(3)}}
    objects = {"step": 7, "lr": 0.1, "note": "text", "z": 1 - 2j, "raw": b"\0", "empty": {}}
    return {"params": arrays | others, "list": [numpy.ones(2), {"x": None}], **objects}


def same(a: Any, b: Any) -> bool:
    one, other = jax.tree.flatten(a), jax.tree.flatten(b)

    def alike(x: Any, y: Any) -> bool:
        if not isinstance(x, numpy.ndarray | numpy.generic):
            return type(x) is type(y) and x == y
        return (x.dtype, x.shape, x.tobytes(), type(x)) == (y.dtype, y.shape, y.tobytes(), type(y))

    return one[1] == other[1] and all(map(alike, one[0], other[0]))


@pytest.fixture(params=[1 << 30, 8])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Written by Flax, arrays whole or in chunks."""
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", request.param)
    (tmp_path / "a.msgpack").write_bytes(serialization.msgpack_serialize(tree()))
    return tmp_path / "a.msgpack"


def restored(path: Path) -> Any:
    return serialization.msgpack_restore(path.read_bytes())


def test_a_rebuilt_file_is_the_same_tree(path: Path, ckpt: Run) -> None:
    before, out = restored(path), path.with_name("b.msgpack")
    ckpt("rename", path, "params.int8=params.other", "-o", out.with_name("c.msgpack"))
    ckpt("rename", out.with_name("c.msgpack"), "params.other=params.int8", "-o", out)
    assert same(restored(out), before)
    serialization.MAX_CHUNK_SIZE = 1 << 30
    assert out.read_bytes() == serialization.msgpack_serialize(tree())


@pytest.mark.parametrize("how", ["-i", "-o"])
def test_edited_values_are_restored(how: str, path: Path, ckpt: Run) -> None:
    wanted, out = restored(path), path.with_name("b.msgpack")
    wanted["params"]["float32"] = wanted["params"]["float32"] + numpy.float32(1)
    wanted["params"]["bfloat16"] = wanted["params"]["bfloat16"].copy()
    wanted["params"]["bfloat16"][1, 2] = 42
    wanted["params"]["scalar"] = numpy.float32(3)
    ckpt("set", path, "params.float32 += 1", "params.bfloat16[1, 2] = 42", "params.scalar = 3", *([how] if how == "-i" else [how, out]))
    assert same(restored(path if how == "-i" else out), wanted)


def test_what_is_left_after_a_drop_and_a_rename_is_restored(path: Path, ckpt: Run) -> None:
    wanted, out = restored(path), path.with_name("b.msgpack")
    ckpt("drop", path, "params.int8", "step", "-o", out)
    ckpt("rename", out, "params.deep.*=params.shallow.*", "-o", out.with_name("c.msgpack"))
    del wanted["params"]["int8"], wanted["step"]
    wanted["params"]["shallow"] = wanted["params"].pop("deep")
    assert same(restored(out.with_name("c.msgpack")), wanted)


def test_a_state_dict_of_torchs_names_becomes_a_tree(tmp_path: Path, ckpt: Run) -> None:
    save_file({"a.kernel": numpy.ones((2, 3), "f4"), "a.bias": numpy.zeros(3, "f2")}, tmp_path / "a.safetensors")
    ckpt("convert", tmp_path / "a.safetensors", tmp_path / "a.msgpack")
    target = {"a": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3, jnp.float16)}}
    found = serialization.from_bytes(target, (tmp_path / "a.msgpack").read_bytes())
    assert same(found, {"a": {"kernel": numpy.ones((2, 3), "f4"), "bias": numpy.zeros(3, "f2")}})
