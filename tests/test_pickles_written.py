"""Pickles of arrays, written: edits of .pkl and .pdparams, and new ones. Read back by pickle and numpy themselves."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from conftest import SAMPLES, Ckpt

Case = Callable[[str], Path]
every_protocol = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
TABLE = "StructuredToParameterName@@"


def saved(path: Path, thing: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(thing, protocol))
    return path


def loaded(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


def same(a: Any, b: Any) -> bool:
    """Equal in classes, keys, their order, dtypes and values."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)


def test_a_prefix_is_taken_away_and_nothing_else(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    out = tmp_path / "out.pkl"
    ckpt("rename", case("reports/zoo-pkl/zoo.pkl"), "model.backbone.*=model.*", "-o", out)
    assert same(loaded(out), loaded(case("reports/zoo-pkl/right.pkl")))


def zoo(protocol: int = 4) -> dict[str, Any]:
    """A model zoo's dict, as it is once numpy has read it: arrays are in the byte order of the machine then."""
    return pickle.loads(pickle.dumps(raw_zoo(), protocol))  # type: ignore[no-any-return]


def raw_zoo() -> dict[str, Any]:
    tied = np.arange(3.0)
    return {
        "model": OrderedDict(
            [
                ("backbone.a", np.arange(6, dtype="f4").reshape(2, 3)),
                ("backbone.long", np.arange(5000, dtype="i8")),
                ("head", np.asfortranarray(np.arange(6, dtype=">f2").reshape(2, 3))),
                ("tied", tied),
                ("again", tied),
                ("flag", np.array([True, False])),
                ("scale", np.float32(2)),
            ]
        ),
        "__author__": "zoo",
        "args": {"lr": [0.1, (1, None)], "when": {1, 2}},
        7: b"bytes",
    }


@every_protocol
def test_edits_keep_the_rest_of_the_tree(ckpt: Ckpt, tmp_path: Path, protocol: int) -> None:
    path, out = saved(tmp_path / "zoo.pkl", raw_zoo(), protocol), tmp_path / "out.pkl"
    ckpt("rename", path, "model.backbone.*=model.*", "-o", out)
    want = zoo(protocol)
    want["model"] = OrderedDict((key.removeprefix("backbone."), value) for key, value in want["model"].items())
    assert same(loaded(out), want)
    found = loaded(out)["model"]
    assert found["tied"] is found["again"] and found["long"].flags.writeable == loaded(path)["model"]["backbone.long"].flags.writeable

    ckpt("drop", path, "model.head", "-i")
    want = zoo(protocol)
    del want["model"]["head"]
    assert same(loaded(path), want)

    ckpt("cast", path, "float64", "model.backbone.a", "-i")
    want["model"]["backbone.a"] = want["model"]["backbone.a"].astype("f8")
    assert same(loaded(path), want)

    ckpt("set", path, "model.tied = 5", "-i")
    found = loaded(path)["model"]
    assert found["tied"].tolist() == [5, 5, 5] and found["tied"] is found["again"]


@every_protocol
def test_plain_entries_are_set(ckpt: Ckpt, tmp_path: Path, protocol: int) -> None:
    path = saved(tmp_path / "a.pkl", raw_zoo(), protocol)
    ckpt("set", path, '__author__ = "me"', "args.lr.0 = 0.5", "-i")
    want = zoo(protocol)
    want["__author__"], want["args"]["lr"][0] = "me", 0.5
    assert same(loaded(path), want)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_values_are_written_where_they_lie(ckpt: Ckpt, tmp_path: Path, protocol: int) -> None:
    path = saved(tmp_path / "a.pkl", raw_zoo(), protocol)
    before = path.read_bytes()
    ckpt("set", path, "model.backbone.long[4999] = 2", "-i")
    after = path.read_bytes()
    assert len(after) == len(before) and sum(a != b for a, b in zip(before, after, strict=True)) <= 8
    assert loaded(path)["model"]["backbone.long"][-1] == 2


@every_protocol
def test_an_edit_that_changes_nothing_leaves_the_same_object(ckpt: Ckpt, tmp_path: Path, protocol: int) -> None:
    path = saved(tmp_path / "a.pkl", raw_zoo(), protocol)
    ckpt("convert", path, tmp_path / "b.pkl")
    assert same(loaded(tmp_path / "b.pkl"), zoo(protocol))


def test_a_new_one_is_a_dict_of_arrays(ckpt: Ckpt, tmp_path: Path) -> None:
    shared = torch.ones(2, 3)
    torch.save({"a": shared, "b": shared, "c.d": torch.arange(4), "e": torch.tensor(True), "epoch": 3}, tmp_path / "a.pt")
    told = ckpt("convert", tmp_path / "a.pt", tmp_path / "a.pkl").err
    found = loaded(tmp_path / "a.pkl")
    assert list(found) == ["a", "b", "c.d", "e"] and found["a"] is found["b"] and found["c.d"].tolist() == [0, 1, 2, 3]
    assert found["e"].shape == () and found["e"].dtype == bool and "no place for 1 object besides tensors (epoch): left behind" in told
    assert ckpt("diff", tmp_path / "a.pt", tmp_path / "a.pkl").out == ""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_what_numpy_lacks_is_refused_with_the_cure(ckpt: Ckpt, tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"w": torch.ones(2).to(dtype)}, tmp_path / "a.pt")
    error = ckpt("convert", tmp_path / "a.pt", tmp_path / "a.pkl", status=2).err
    assert f"numpy has no {str(dtype)[6:]}, which w is (ckpt cast FILE float32 'w' first)" in error
    assert not (tmp_path / "a.pkl").exists()


def test_bfloat16_that_was_read_stays_what_it_is(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pkl", {"w": np.arange(4).astype(ml_dtypes.bfloat16), "x": np.zeros(2)})
    ckpt("set", path, "w[0] = 3", "x = 1", "-o", tmp_path / "b.pkl")
    found = loaded(tmp_path / "b.pkl")
    assert found["w"].dtype == ml_dtypes.bfloat16 and found["w"].tolist() == [3, 1, 2, 3] and found["x"].tolist() == [1, 1]


def test_objects_of_a_program_are_carried_and_never_made(ckpt: Ckpt, tmp_path: Path) -> None:
    raw = pickle.dumps({"w": np.zeros(2), "evil": 5}, 2).replace(b"K\x05", b"cnowhere\nthing\n(K\x01tR")
    (tmp_path / "a.pkl").write_bytes(raw)
    ckpt("rename", tmp_path / "a.pkl", "w=v", "-o", tmp_path / "b.pkl")
    assert b"cnowhere\nthing\n" in (tmp_path / "b.pkl").read_bytes()


def paddle() -> dict[str, Any]:
    """As `paddle.save(net.state_dict())` writes it: arrays, bfloat16 as uint16, and the names in the program."""
    arrays = {"0.weight": np.ones((40, 50), "f4"), "0.bias": np.zeros(3, "f4"), "1.weight": np.array([0x3F80, 0x4000], "u2")}
    return arrays | {TABLE: {"0.weight": "linear_0.w_0", "0.bias": "linear_0.b_0", "1.weight": "linear_1.w_0"}}


def test_a_state_dict_of_paddles_is_edited_with_its_table(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pdparams", paddle())
    ckpt("rename", path, "1.*=head.*", "-o", tmp_path / "b.pdparams")
    ckpt("drop", tmp_path / "b.pdparams", "0.bias", "-i")
    ckpt("set", tmp_path / "b.pdparams", "head.weight[0] = 4", "-i")
    found = loaded(tmp_path / "b.pdparams")
    assert list(found) == ["0.weight", "head.weight", TABLE] and found[TABLE] == {"0.weight": "linear_0.w_0", "head.weight": "linear_1.w_0"}
    assert found["head.weight"].tolist() == [0x4080, 0x4000] and found["head.weight"].dtype == np.uint16
    before = path.read_bytes()
    ckpt("set", path, "0.weight[0, 0] = 2", "-i")
    assert len(path.read_bytes()) == len(before) and loaded(path)["0.weight"][0, :2].tolist() == [2, 1]


def test_a_new_one_of_paddles_has_a_table_of_its_own_names(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"a.w": torch.ones(2, 3), "a.b": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "a.pt")
    ckpt("convert", tmp_path / "a.pt", tmp_path / "a.pdparams")
    found = loaded(tmp_path / "a.pdparams")
    assert found[TABLE] == {"a.w": "a.w", "a.b": "a.b"} and found["a.b"].dtype == np.uint16 and found["a.w"].tolist() == [[1, 1, 1]] * 2
    assert ckpt("ls", tmp_path / "a.pdparams", "--json").json["format"] == "paddle"
    assert ckpt("diff", tmp_path / "a.pt", tmp_path / "a.pdparams").out == ""
    torch.save({"w": torch.ones(2, dtype=torch.uint16)}, tmp_path / "b.pt")
    assert "Paddle cannot hold w, which is uint16" in ckpt("convert", tmp_path / "b.pt", tmp_path / "b.pdparams", status=2).err


class Tensor:
    """Pickles itself as Paddle's tensors do outside of state dicts."""

    def __init__(self, array: np.ndarray, how: str) -> None:
        self.array, self.how = array, how

    def __reduce__(self) -> Any:
        return (eval, ("data", {"data": self.array})) if self.how == "eval" else (tuple, (("linear_0.w_0", self.array),))


@pytest.mark.parametrize("how", ["tuple", "eval"])
def test_calls_that_stand_for_tensors_of_paddles_stay_calls(ckpt: Ckpt, tmp_path: Path, how: str) -> None:
    path = saved(tmp_path / "a.pdz", {"w": Tensor(np.ones(2, "f4"), how), "n": [Tensor(np.zeros(1), how), 5]})
    ckpt("set", path, "w = 3", "-i")
    data = path.read_bytes()
    assert (b"eval" in data) == (how == "eval") and (b"linear_0.w_0" in data) == (how == "tuple")
    assert ckpt("get", path, "w").out == "[3. 3.]\n" and ckpt("get", path, "n.0").out == "[0.]\n"
    if how == "tuple":
        assert same(loaded(path)["w"], ("linear_0.w_0", np.array([3, 3], "f4"))) and loaded(path)["n"][1] == 5


def test_every_sample_is_there_and_back(ckpt: Ckpt, tmp_path: Path) -> None:
    for name in ("mlp.pt", "nested.safetensors", "shared-mlp.pt"):
        for suffix in (".pkl", ".pdparams"):
            there = tmp_path / (name + suffix)
            ckpt("convert", SAMPLES / name, there)
            assert not [row for row in ckpt("diff", SAMPLES / name, there, status=None).rows if row[0] != "untied"]
