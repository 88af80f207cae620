"""Rules that cut, join, stack and reorder: what torch does with the same tensors, forwards and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import Ckpt
from oracles import all_bits, bits, loaded
from safetensors.torch import save_file

State = dict[str, torch.Tensor]


def written(folder: Path, state: State, rules: str) -> tuple[Path, Path]:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "a.safetensors")
    (folder / "rules.toml").write_text(rules)
    return folder / "a.safetensors", folder / "rules.toml"


def carried(folder: Path, state: State, rules: str, ckpt: Ckpt) -> State:
    """What the rules make of it. They are undone, too, and nothing is lost; and `diff` finds them the same."""
    a, by = written(folder, state, rules)
    out, back = folder / "out.safetensors", folder / "back.safetensors"
    ckpt("convert", a, out, "--map", by)
    ckpt("convert", out, back, "--map", f"inverse:{by}")
    assert all_bits(loaded(back)) == all_bits({name: tensor.contiguous() for name, tensor in state.items()})
    assert ckpt("diff", a, out, "--map", by).out == ""
    found: State = loaded(out)
    return found


def same(found: State, want: State) -> None:
    assert {name: bits(tensor) for name, tensor in found.items()} == {name: bits(tensor) for name, tensor in want.items()}


DTYPES = [torch.float32, torch.bfloat16, torch.int8, torch.float64, torch.bool]


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 2 if dtype == torch.bool else 100, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


GPT2 = """
[[rule]]
from = "h.{n}.attn.c_attn.weight"
to = ["layers.{n}.q.weight", "layers.{n}.k.weight", "layers.{n}.v.weight"]
concat = 1
layout = "io->oi"
[[rule]]
from = "h.{n}.attn.c_attn.bias"
to = ["layers.{n}.q.bias", "layers.{n}.k.bias", "layers.{n}.v.bias"]
concat = 0
"""


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_fused_projection_of_gpt2_is_cut(dtype: torch.dtype, tmp_path: Path, ckpt: Ckpt) -> None:
    """Conv1D of transformers: x @ w + b with w of in × 3·out; query, key, value are thirds of the last axis."""
    state = {f"h.{n}.attn.c_attn.weight": drawn(6, 18, dtype=dtype, seed=n) for n in (0, 1, 10)}
    state |= {f"h.{n}.attn.c_attn.bias": drawn(18, dtype=dtype, seed=n) for n in (0, 1, 10)}
    want = {}
    for n in (0, 1, 10):
        for letter, w, b in zip(
            "qkv", state[f"h.{n}.attn.c_attn.weight"].split(6, 1), state[f"h.{n}.attn.c_attn.bias"].split(6), strict=True
        ):
            want |= {f"layers.{n}.{letter}.weight": w.T, f"layers.{n}.{letter}.bias": b}
    same(carried(tmp_path, state, GPT2, ckpt), want)


def test_projections_of_grouped_queries_are_one(tmp_path: Path, ckpt: Ckpt) -> None:
    """Llama with fewer heads for keys and values: qkv_proj of vLLM and others is q, k, v one under the other."""
    rules = '[[rule]]\nfrom = ["m.{n}.q_proj.weight", "m.{n}.k_proj.weight", "m.{n}.v_proj.weight"]\nto = "m.{n}.qkv_proj.weight"\n'
    state = {
        f"m.{n}.{letter}_proj.weight": drawn(rows, 8, seed=n + rows) for n in (0, 1) for letter, rows in zip("qkv", (8, 2, 2), strict=True)
    }
    want = {f"m.{n}.qkv_proj.weight": torch.cat([state[f"m.{n}.{letter}_proj.weight"] for letter in "qkv"]) for n in (0, 1)}
    same(carried(tmp_path, state, rules + "concat = 0\nlengths = [8, 2, 2]\n", ckpt), want)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_experts_are_stacked_by_number(axis: int, dtype: torch.dtype, tmp_path: Path, ckpt: Ckpt) -> None:
    """As Mixtral's experts.N.w1 are one tensor in others; a file that sorts names has experts.10 before experts.2."""
    rules = f'[[rule]]\nfrom = "m.{{n}}.experts.{{e}}.w1.weight"\nto = "m.{{n}}.experts.gate"\nstack = {axis}\nlayout = "oi->io"\n'
    state = {f"m.{n}.experts.{e}.w1.weight": drawn(3, 4, dtype=dtype, seed=20 * n + e) for n in (0, 1) for e in range(12)}
    want = {f"m.{n}.experts.gate": torch.stack([state[f"m.{n}.experts.{e}.w1.weight"].T for e in range(12)], axis) for n in (0, 1)}
    same(carried(tmp_path, state, rules, ckpt), want)


@pytest.mark.parametrize("axis", [0, 1])
def test_numbered_tensors_are_concatenated(axis: int, tmp_path: Path, ckpt: Ckpt) -> None:
    rules = f'[[rule]]\nfrom = "part.{{k}}"\nto = "whole"\nconcat = {axis}\nlengths = [4, 4, 4]\n'
    state = {f"part.{k}": drawn(4, 4, seed=k) for k in range(3)}
    same(carried(tmp_path, state, rules, ckpt), {"whole": torch.cat(list(state.values()), axis)})


@pytest.mark.parametrize(("gates", "axis"), [("ifgo->iofg", 0), ("zrh->rzh", 1), ("ab->ba", 0)])
def test_gates_change_places(gates: str, axis: int, tmp_path: Path, ckpt: Ckpt) -> None:
    before, after = gates.split("->")
    sizes = [5, 5]
    sizes[axis] = 3 * len(before)
    state = {"w": drawn(*sizes)}
    blocks = dict(zip(before, state["w"].chunk(len(before), axis), strict=True))
    layout = 'layout = "io->oi"\n' if axis else ""
    moved = torch.cat([blocks[letter] for letter in after], axis)
    rules = f'[[rule]]\nfrom = "w"\nto = "v"\nblocks = "{gates}"\naxis = {axis}\n{layout}'
    same(carried(tmp_path, state, rules, ckpt), {"v": moved.T if axis else moved})


def test_slices_of_one_tensor_are_several(tmp_path: Path, ckpt: Ckpt) -> None:
    rules = "".join(
        f'[[rule]]\nfrom = "w"\nto = "{name}"\nslice = "{span}"\naxis = 1\n'
        for name, span in (("c", "7:"), ("a", ":3"), ("b", "3:7"))
    )  # fmt: skip
    state = {"w": drawn(4, 10)}
    same(carried(tmp_path, state, rules, ckpt), {"a": state["w"][:, :3], "b": state["w"][:, 3:7], "c": state["w"][:, 7:]})


def test_a_gru_of_keras_by_rules_alone(tmp_path: Path, ckpt: Ckpt) -> None:
    rules = """
    [[rule]]
    from = "gru/kernel"
    to = "weight_ih_l0"
    blocks = "zrh->rzh"
    axis = 1
    layout = "io->oi"
    [[rule]]
    from = "gru/bias"
    to = ["bias_ih_l0", "bias_hh_l0"]
    stack = 0
    blocks = "zrh->rzh"
    """
    state = {"gru/kernel": drawn(5, 12), "gru/bias": drawn(2, 12)}
    z, r, h = state["gru/kernel"].chunk(3, 1)
    rows = [torch.cat([row.chunk(3)[at] for at in (1, 0, 2)]) for row in state["gru/bias"]]
    same(carried(tmp_path, state, rules, ckpt), {"weight_ih_l0": torch.cat([r, z, h], 1).T, "bias_ih_l0": rows[0], "bias_hh_l0": rows[1]})


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("concat = 0\nstack = 0", "rule 1: concat and stack exclude each other"),
        ("stack = 0\nlengths = [1]", "rule 1: concat and stack exclude each other, and lengths go with concat"),
        ("concat = true", "rule 1: concat = True is no axis"),
        ("concat = -1", "rule 1: concat = -1 is no axis"),
        ("concat = 99999999999999999999", "concat = 99999999999999999999 is no axis"),
        ("concat = 0", "rule 1: concat and stack need several names on one side"),
        ("concat = 0\nlengths = [0, 8]", "lengths = [0, 8] are no lengths"),
        ('blocks = "ab->ac"', "blocks = 'ab->ac' says no order"),
        ('blocks = "aa->aa"', "blocks = 'aa->aa' says no order"),
        ('slice = "3"', "slice = '3' is no part"),
        ('slice = "4:2"', "slice = '4:2' is no part"),
        ('slice = "0:99"', "w of shape 8x4 has no part 0:99 along axis 0"),
        ('slice = "0:2"\naxis = 7', "has no axis 7"),
        ("axis = 0", "axis goes with blocks or slice"),
        ('blocks = "abc->bca"', "w: axis 0 of 8 has no 3 equal parts"),
        ('blocks = "ab->ba"\naxis = 2', "has no axis 2"),
    ],
    ids=str,
)
def test_rules_that_make_no_sense_are_one_line(rules: str, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    a, by = written(tmp_path, {"w": torch.ones(8, 4)}, f'[[rule]]\nfrom = "w"\nto = "v"\n{rules}\n')
    assert says in ckpt("convert", a, tmp_path / "out.pt", "--map", by, status=2).err
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ('from = "w"\nto = ["q", "k", "v"]\nconcat = 0', "rule 1: w: axis 0 of 8 has no 3 equal parts (say them: lengths"),
        ('from = "w"\nto = ["q", "k"]\nconcat = 0\nlengths = [4, 5]', "rule 1: w of shape 8x4: lengths = [4, 5] are not 2 parts of axis 0"),
        ('from = "w"\nto = ["q", "k"]\nconcat = 2', "rule 1: w of shape 8x4 has no axis 2"),
        ('from = "w"\nto = ["q", "k"]\nstack = 0', "rule 1: w of shape 8x4: lengths = [1, 1] are not 2 parts of axis 0"),
        ('from = "w"\nto = "v.{e}"\nconcat = 0', "rule 1: nothing tells how many parts w has"),
        ('from = ["w", "b"]\nto = "v"\nconcat = 0', "w (float32 8x4) and b (float32 4) cannot be joined along axis 0"),
        ('from = ["w", "i"]\nto = "v"\nconcat = 0', "w (float32 8x4) and i (int64 8x4) cannot be joined along axis 0"),
        ('from = ["w", "no"]\nto = "v"\nstack = 0', "there is no tensor 'no'"),
        ('from = "e.{k}"\nto = "v"\nstack = 0', "rule 1: there is no e.1, but e.2 ({k} runs from 0 on)"),
        ('from = "{k}"\nto = "v"\nstack = 0', "which is no number"),
        ('from = "w"\nto = "v"\nslice = "0:4"\n[[rule]]\nfrom = "w"\nto = "u"', "rule 2: rule 1 speaks of w, too"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_one_line(rules: str, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    state = {
        "w": torch.ones(8, 4),
        "b": torch.ones(4),
        "i": torch.ones(8, 4, dtype=torch.int64),
        "e.0": torch.ones(1),
        "e.2": torch.ones(1),
    }
    a, by = written(tmp_path, state, f"[[rule]]\n{rules}\n")
    assert says in ckpt("convert", a, tmp_path / "out.pt", "--map", by, "--rest", "drop", status=2).err


def test_slices_that_leave_a_hole_are_not_put_together(tmp_path: Path, ckpt: Ckpt) -> None:
    rules = '[[rule]]\nfrom = "w"\nto = "a"\nslice = "0:3"\n[[rule]]\nfrom = "w"\nto = "b"\nslice = "4:8"\n'
    a, by = written(tmp_path, {"a": torch.ones(3), "b": torch.ones(4)}, rules)
    assert "the slices of w do not make up axis 0" in ckpt("convert", a, tmp_path / "o.pt", "--map", f"inverse:{by}", status=2).err


def test_a_sum_and_rest_stay_as_they_were(tmp_path: Path, ckpt: Ckpt) -> None:
    a, by = written(tmp_path, {"p": torch.ones(3), "q": torch.ones(3), "x": torch.zeros(2)}, '[[rule]]\nfrom = ["p", "q"]\nto = "s"\n')
    for rest, names in (("drop", ["s"]), ("keep", ["s", "x"])):
        ckpt("convert", a, tmp_path / "o.pt", "--map", by, "--rest", rest, "--force")
        found = loaded(tmp_path / "o.pt")
        assert list(found) == names and torch.equal(found["s"], torch.full((3,), 2.0))
