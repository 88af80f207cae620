"""MXNet's optimizer states: pickles as `Updater.get_states` makes them, with arrays as NDArray pickles itself."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from struct import pack
from typing import Any

import ndarrays
import pytest
from conftest import Ckpt

from ckpt_cli import reading

LONG = [float(i) for i in range(2000)]


@pytest.fixture(params=["mxnet.ndarray.ndarray NDArray", "mxnet.numpy.multiarray ndarray"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    """A class that pickles itself as MXNet's arrays do, under their name."""
    module, name = request.param.split()

    def reduced(self: Any) -> Any:
        return type(self), (None,), {"handle": self.handle}

    def made(self: Any, handle: Any) -> None:
        self.handle = handle

    cls = type(name, (), {"__init__": made, "__reduce__": reduced, "__module__": module})
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
    setattr(sys.modules[module], name, cls)
    return cls


class Optimizer:
    """Stands for one of MXNet's."""

    lr = 0.1


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dumped", [False, True])
def test_states_are_listed_by_the_index_of_their_parameter(kind: Any, protocol: int, dumped: bool, tmp_path: Path, ckpt: Ckpt) -> None:
    def array(*values: float) -> Any:
        return kind(bytearray(ndarrays.array(pack(f"<{len(values)}f", *values), len(values))))

    states = {0: (array(1, 2), array(*LONG)), 1: None, 2: array(5), 3: kind(None)}
    path = tmp_path / "trainer.states"
    path.write_bytes(pickle.dumps((states, Optimizer()) if dumped else states, protocol))
    before = "0." if dumped else ""
    assert {row[0]: row[1:3] for row in ckpt("ls", path).rows} == {
        f"{before}0.0": ["float32", "2"], f"{before}0.1": ["float32", "2000"], f"{before}2": ["float32", "1"]
    }  # fmt: skip
    assert ckpt("ls", path, "--json").json["format"] == "mxnet-states"
    found = reading.open(str(path))
    assert found[f"{before}0.1"].array().tolist() == LONG and found[f"{before}2"].array().tolist() == [5]
    ckpt("convert", path, tmp_path / "a.safetensors")
    assert ckpt("diff", path, tmp_path / "a.safetensors").out == ""


@pytest.mark.parametrize(
    ("handle", "says"),
    [
        (ndarrays.array(pack("<2f", 1, 2), 3), "truncated"),
        (ndarrays.array(pack("<2f", 1, 2), 2) + b"x", "stand after"),
        (ndarrays.array(pack("<2f", 1, 2), 2)[:9], "truncated"),
        (b"", "truncated"),
        ("text", "without its bytes"),
    ],
)
@pytest.mark.parametrize("kind", ["mxnet.ndarray.ndarray NDArray"], indirect=True)
def test_a_broken_array_is_one_line(kind: Any, handle: Any, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.states"
    path.write_bytes(pickle.dumps({0: kind(bytearray(handle) if isinstance(handle, bytes) else handle)}))
    assert says in ckpt("ls", path, status=2).err
