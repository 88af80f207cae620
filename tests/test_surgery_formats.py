"""Surgery in every format that is written: a table of formats by edits. The values are right, and everything else is as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
import torch
from conftest import SAMPLES, WHOLE, Ckpt
from oracles import Bits, read_bits

from ckpt_cli import reading

FORMATS = {  # the sample, and a matrix of floats in it
    "mlp.pt": "0.weight", "mlp.legacy.pt": "0.weight", "training.ckpt": "model.0.weight", "dtypes.pt": "float16", "module.pt": "0.weight",
    "mlp.safetensors": "0.weight", "dtypes.safetensors": "bfloat16", "shared-mlp.pt": "2.weight", "shared-mlp.safetensors": "4.weight",
    "bert": "bert.pooler.dense.weight", "mlp.dcp": "model.0.weight", "mlp.npz": "0.weight", "fortran.npy": "*", "mlp.pkl": "0.weight",
    "mlp.params": "0.weight", "checkpoint.pdz": "model.0.weight", "train-state.msgpack": "params.Dense_0.kernel",
    "mlp.h5": "model_weights/dense/dense/kernel:0", "mlp.weights.h5": "layers/dense/vars/0", "mlp.keras": "layers/dense/vars/0",
    "blocks.gguf": "blk.0.F32.weight", "tensorflow": "net/layer_with_weights-0/kernel",
}  # fmt: skip
VALUES_ALONE = {"conv.onnx": "fc.weight", "linear.package": "weight", "shared-mlp.torchscript": "0.weight", "shared-mlp.pt2": "0.weight"}
SLOTS = {  # the sample with an optimizer, and the command that merge gives for leaving its states out
    "training.ckpt": "'optimizer.*'", "mlp.keras": "'optimizer/*'", "mlp.h5": "'optimizer_weights/*'", "checkpoint.pdz": "'opt.*'",
    "train-state.msgpack": "'opt_state.*'", "tensorflow": "'*/.OPTIMIZER_SLOT/*' 'optimizer/*'",
}  # fmt: skip
every_format = pytest.mark.parametrize("name", list(FORMATS)[:: 1 if WHOLE else 3])


class Found(NamedTuple):
    """What is in a file."""

    tensors: dict[str, Bits]
    beside: tuple[Any, ...]
    ties: list[list[str]]

    def but(self, names: set[str]) -> dict[str, Bits]:
        return {name: each for name, each in self.tensors.items() if name not in names}


def found(path: Path) -> Found:
    checkpoint = reading.open(str(path))
    objects = {key: repr(value) for key, value in checkpoint.objects.items()}
    return Found(read_bits(path), (dict(checkpoint.metadata), objects), checkpoint.ties())


def one(tensors: Mapping[str, Bits], pattern: str) -> str:
    return pattern if pattern in tensors else next(iter(tensors))


def array(bits: Bits) -> np.ndarray[Any, Any]:
    dtype, shape, data = bits
    return np.frombuffer(data, getattr(ml_dtypes, dtype, dtype)).reshape(shape)


def same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.dtype == other.dtype and np.array_equal(one.astype("f8"), other.astype("f8"), equal_nan=True)


def run(ckpt: Ckpt, tmp_path: Path, name: str, command: str, *args: object) -> tuple[Found, Found]:
    """The edit as `-o`, in place, and as a recipe: what was in the file, and what all three have made of it."""
    source, same = SAMPLES / name, tmp_path / "same" / name
    same.parent.mkdir()
    shutil.copytree(source, same) if source.is_dir() else shutil.copy(source, same)
    (tmp_path / "recipe.toml").write_text(ckpt(command, source, *args, "--print-recipe").out)
    ckpt(command, same, *args, "-i")
    after = found(same)
    for where, edit in (("made", [command, source, *args]), ("replayed", ["apply", source, tmp_path / "recipe.toml"])):
        (tmp_path / where).mkdir()
        folder = source.is_dir() and not name.endswith(".dcp")
        target = str(tmp_path / where / name) + ("/" if folder else "")
        ckpt(*edit, "-o", target, *(["--format", "dcp"] if name.endswith(".dcp") else []))
        assert found(Path(target)) == after
        ckpt("check", target)
    return found(source), after


@every_format
def test_resize(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    before, after = run(ckpt, tmp_path, name, "resize", f"{FORMATS[name]}=+2x*", "--fill", "zeros")
    target = one(before.tensors, FORMATS[name])
    old, new = array(before.tensors[target]), array(after.tensors[target])
    assert same(new, np.concatenate([old, np.zeros((2, old.shape[1]), old.dtype)]))
    followed = {n for n, each in after.tensors.items() if each[1] != before.tensors[n][1]}
    slots = {n for n in followed if n != target and all(n not in group for group in before.ties)}
    assert len(slots) == (2 if name in SLOTS or name == "mlp.weights.h5" else 0)
    assert list(after.tensors) == list(before.tensors) and after.but(followed) == before.but(followed)
    assert (after.beside, after.ties) == (before.beside, before.ties)


@every_format
def test_set_from_another_checkpoint(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    before = found(SAMPLES / name)
    target = one(before.tensors, FORMATS[name])
    old = array(before.tensors[target])
    np.save(tmp_path / "other.npy", np.arange(old.size, dtype="f4").reshape(old.shape))
    before, after = run(ckpt, tmp_path, name, "set", f"{FORMATS[name]} = 0.5 * this + 2 * @{tmp_path}/other.npy")
    want = (np.float32(0.5) * old.astype("f4") + 2 * np.load(tmp_path / "other.npy")).astype(old.dtype)
    assert same(array(after.tensors[target]), want)
    tied = {target, *(n for group in before.ties if target in group for n in group)}
    assert list(after.tensors) == list(before.tensors) and after.but(tied) == before.but(tied)
    assert (after.beside, after.ties) == (before.beside, before.ties)


@pytest.mark.parametrize("name", [name for name in list(FORMATS)[:: 1 if WHOLE else 3] if name not in ("fortran.npy", "module.pt")])
def test_add(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    before, after = run(ckpt, tmp_path, name, "add", "new/w:float32[2,3]=constant(2)")
    assert np.array_equal(array(after.tensors["new/w"]), np.full((2, 3), 2, "f4"))
    assert set(after.tensors) == {*before.tensors, "new/w"} and after.but({"new/w"}) == before.tensors
    assert (after.beside, after.ties) == (before.beside, before.ties)


MERGED = [name for name in (*FORMATS, *VALUES_ALONE) if name != "blocks.gguf"]  # of which most is in blocks


@pytest.mark.parametrize("name", list(MERGED)[:: 1 if WHOLE else 3])
def test_merge(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    """With another file in which one matrix differs: that is at the mean, and nothing else moves."""
    pattern = {**FORMATS, **VALUES_ALONE}[name]
    other = str(tmp_path / f"other-{name}") + ("/" if name in ("bert", "tensorflow") else "")
    ckpt("set", SAMPLES / name, f"{pattern} *= 3", "-o", other, *(["--format", "dcp"] if name.endswith(".dcp") else []))
    before, after = run(ckpt, tmp_path, name, "merge", other)
    target = one(before.tensors, pattern)
    old, third = array(before.tensors[target]), array(read_bits(Path(other))[target])
    assert same(array(after.tensors[target]), ((old.astype("f4") + third.astype("f4")) / 2).astype(old.dtype))
    moved = {target, *(n for group in before.ties if target in group for n in group)}
    for each in set(before.tensors) - moved if name.startswith("dtypes") else ():  # a NaN stays one, in bits of its own
        old, new = array(before.tensors[each]), array(after.tensors[each])
        assert old.dtype == new.dtype and np.array_equal(old.astype("c16").view("f8"), new.astype("c16").view("f8"), equal_nan=True), each
        moved.add(each)
    assert list(after.tensors) == list(before.tensors) and after.but(moved) == before.but(moved)
    assert (after.beside, after.ties) == (before.beside, before.ties)


@pytest.mark.parametrize("name", VALUES_ALONE)
@pytest.mark.parametrize("edit", ["resize", "add"])
def test_where_a_program_has_the_shapes_they_are_refused(ckpt: Ckpt, name: str, edit: str) -> None:
    args = [f"{VALUES_ALONE[name]}=+2x*", "--fill", "zeros"] if edit == "resize" else ["new:f32[2]=zeros"]
    assert "values" in ckpt(edit, SAMPLES / name, *args, "-n", status=2).err
    assert str(SAMPLES / name) in ckpt("add", SAMPLES / name, "--from", SAMPLES / "mlp.pt", "2.bias", "-i", status=2).err


@pytest.mark.parametrize("name", SLOTS)
def test_the_command_for_an_optimizer_leaves_the_model(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    other = str(tmp_path / f"other-{name}") + ("/" if name == "tensorflow" else "")
    ckpt("set", SAMPLES / name, f"{FORMATS[name]} *= 2", "-o", other)
    assert f"`ckpt drop OUT {SLOTS[name]}`" in ckpt("merge", SAMPLES / name, other, "-n").err


def test_the_optimizers_of_keras_3_are_known_by_any_name(ckpt: Ckpt, tmp_path: Path) -> None:
    """As in TensorFlow's tutorial on DCGAN: tf.train.Checkpoint(generator_optimizer=…, discriminator_optimizer=…)."""
    arrays: dict[str, Any] = {}
    for home, shape in (("generator_optimizer", (4, 3)), ("discriminator_optimizer", (2, 5))):
        arrays |= {f"{home}/_iterations": np.int64(7), f"{home}/_learning_rate": np.float32(0.1)}
        arrays |= {f"{home}/_trainable_variables/0": np.ones(shape, "f4"), f"{home}/_trainable_variables/1": np.ones(shape[1], "f4")}
        arrays |= {f"{home}/_variables/{2 + at}": np.ones(shape[at // 2 :][-1 if at > 1 else slice(None)], "f4") for at in range(4)}
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez(tmp_path / "b.npz", **{name: each * 3 for name, each in arrays.items()})
    for each in "ab":
        ckpt("convert", tmp_path / f"{each}.npz", tmp_path / f"{each}.index")
    ckpt("merge", tmp_path / "a.index", tmp_path / "b.index", "-o", tmp_path / "m.index")
    for name, bits in read_bits(tmp_path / "m.index").items():
        assert set(array(bits).flat) == ({2} if "trainable" in name else {arrays[name].flat[0]}), name
    of = {row[0]: row[-1] for row in ckpt("ls", tmp_path / "a.index", "--optimizer").rows}
    for home in ("generator_optimizer", "discriminator_optimizer"):
        assert [of[f"{home}/_variables/{at}"] for at in (2, 3, 4, 5)] == [f"{home}/_trainable_variables/{at}" for at in (0, 0, 1, 1)]


def test_views_that_have_their_own_elements_afterwards_are_told(ckpt: Ckpt, tmp_path: Path) -> None:
    for seed in (1, 2):
        whole = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
        torch.save({"whole": whole, "tied": whole, "row": whole[1], "apart": torch.ones(9)[:3]}, tmp_path / f"{seed}.pt")
    done = ckpt("merge", tmp_path / "1.pt", tmp_path / "2.pt", "-o", tmp_path / "m.pt")
    assert "row is another view of the elements of whole" in done.err
    merged, first, second = (torch.load(tmp_path / name) for name in ("m.pt", "1.pt", "2.pt"))
    for name, tensor in merged.items():
        assert torch.equal(tensor, (first[name] + second[name]) / 2)
    assert merged["whole"].data_ptr() == merged["tied"].data_ptr()


def test_many_tensors_take_linear_time(ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No expression looks through all names of another file for each of its tensors."""
    from ckpt_cli.tensors.checkpoint import Checkpoint

    np.savez(tmp_path / "a.npz", **{f"w{at}": np.full(1, at, "f4") for at in range(100)})
    shutil.copy(tmp_path / "a.npz", tmp_path / "b.npz")
    looks: list[int] = []
    every = Checkpoint.__iter__
    monkeypatch.setattr(Checkpoint, "__iter__", lambda self: (looks.append(1), every(self))[1])
    ckpt("set", tmp_path / "a.npz", f"* = this + @{tmp_path}/b.npz", "-o", tmp_path / "c.npz")
    assert 0 < len(looks) < 50 and json.loads(ckpt("get", tmp_path / "c.npz", "w7", "--json").out)["values"] == [14]
