"""reinit: through the command line on real files, with torch and torch.nn.init as oracles."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import init

from ckpt_cli.cli import main
from ckpt_cli.edits.reinit import Stream, reinit
from ckpt_cli.errors import CkptError, EditError, NoMatch, Opaque
from ckpt_cli.numbers.dtypes import DTYPES
from ckpt_cli.schemes.rules import parse_rule
from ckpt_cli.schemes.rules_file import read_recipe
from ckpt_cli.storage.sequential import Drawn
from ckpt_cli.storage.storage import Memory, Storage
from ckpt_cli.tensors.checkpoint import Checkpoint
from ckpt_cli.tensors.tensor import Layout, Tensor


def raw(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def dtype_of(tensor):
    return DTYPES[str(tensor.dtype).removeprefix("torch.")]


def checkpoint(state):
    """In memory, storages shared as torch shares them."""
    storages: dict[int, Storage] = {}
    tensors = {}
    for name, value in state.items():
        whole = value.detach().untyped_storage()
        storage = storages.setdefault(whole.data_ptr(), Memory(raw(torch.empty(0, dtype=torch.uint8).set_(whole))))
        tensors[name] = Tensor.view(dtype_of(value), tuple(value.shape), storage, value.stride(), value.storage_offset())
    return Checkpoint(tensors)


def nowhere(path):
    raise FileNotFoundError(2, "No such file or directory", path)


def edited(state, *rules, seed=0, **options):
    new, plan = reinit(checkpoint(state), [parse_rule(rule) for rule in rules], seed=seed, **({"open": nowhere} | options))
    return {name: torch.frombuffer(bytearray(t.tobytes()), dtype=state[name].dtype).reshape(t.shape) for name, t in new.items()}, plan


def subseed(seed, name):
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little") & (2**63 - 1)


def own(seed, name):
    return torch.Generator().manual_seed(subseed(seed, name))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).state_dict()


# ---------------------------------------------------------------- the edit


def test_each_tensor_has_a_generator_of_its_own():
    new, plan = edited(mlp(), "*.weight=xavier_uniform", "*.bias=normal(0, 0.01)", seed=5)
    for name, value in mlp().items():
        want = torch.empty_like(value)
        want = init.xavier_uniform_(want, generator=own(5, name)) if value.ndim > 1 else init.normal_(want, 0, 0.01, generator=own(5, name))
        assert torch.equal(new[name], want)
    assert [(step.name, step.seed) for step in plan] == [(name, subseed(5, name)) for name in mlp()]


def test_values_do_not_depend_on_other_rules():
    alone, _ = edited(mlp(), "2.weight=normal")
    among, _ = edited(mlp(), "*=uniform", "0.*=ones", "2.weight=normal")
    assert torch.equal(alone["2.weight"], among["2.weight"])
    assert torch.equal(alone["0.weight"], mlp()["0.weight"])


def test_the_last_rule_wins_over_rules_and_preset():
    new, plan = edited(mlp(), "*.bias=ones", "0.*=zeros", "0.bias=constant(3)", preset="pytorch")
    assert new["0.bias"].unique().tolist() == [3]
    assert new["0.weight"].unique().tolist() == [0]
    assert new["2.bias"].tolist() == [1]
    assert [step.reason for step in plan] == ["0.*", "0.bias", "linear, assumed from shape", "*.bias"]
    assert plan[2].scheme == "preset pytorch"


def test_types_come_from_the_architecture_where_it_is_known():
    _, plan = edited(mlp(), "@Linear.bias=zeros", preset="pytorch", layers=lambda kind="": {"0": "Linear", "2": "Linear"})
    assert [step.reason for step in plan] == ["linear, by type Linear", "@Linear.bias"] * 2
    with pytest.raises(NoMatch, match="layer types of this file are not known"):
        edited(mlp(), "@Linear.bias=zeros")


def test_one_stream_is_manual_seed():
    """More than a chunk, and read in any order."""
    state = {"a.weight": torch.zeros(700, 800), "a.bias": torch.zeros(5), "b.weight": torch.zeros(9, 7), "c": torch.zeros(3, 3)}
    rules = ["*.weight=xavier_normal", "*.bias=zeros", "c=orthogonal"]
    torch.manual_seed(3)
    want = {"a.weight": init.xavier_normal_(torch.empty(700, 800)), "a.bias": torch.zeros(5)}
    want |= {"b.weight": init.xavier_normal_(torch.empty(9, 7)), "c": init.orthogonal_(torch.empty(3, 3))}
    new, plan = reinit(checkpoint(state), [parse_rule(rule) for rule in rules], seed=3, rng="torch", open=nowhere)
    for name in [*reversed(state), *state]:
        assert new[name].tobytes() == raw(want[name]), name
    assert {step.seed for step in plan} == {None}


def test_one_stream_draws_each_tensor_once():
    drawn = []

    def draw(name, source):
        for _ in range(3):
            drawn.append(name)
            yield torch.empty(4).normal_(generator=source).numpy().tobytes()

    stream = Stream(0)
    storages = [Drawn(48, stream.next(partial(draw, name))) for name in "abc"]
    assert len({storage.read() for storage in storages}) == 3
    assert "".join(drawn) == "aaabbbccc"


def test_tied_names_follow_and_are_drawn_once():
    shared = torch.randn(6, 4)
    new, plan = edited({"head.weight": torch.randn(2, 4), "embed.weight": shared, "out.weight": shared}, "out.weight=normal")
    want = torch.empty(6, 4).normal_(generator=own(0, "embed.weight"))
    assert torch.equal(new["embed.weight"], want)
    assert torch.equal(new["out.weight"], want)
    assert [step.name for step in plan] == ["embed.weight"]


def test_views_of_one_storage():
    """A transposed view, a slice, and the rest of the storage, which nobody matches."""
    whole = torch.arange(60, dtype=torch.float32)
    state = {"t": whole[:12].reshape(3, 4).T, "part": whole[12:24], "steps": whole[24:44:2], "rest": whole[44:]}
    new, _ = edited(state, "t=normal", "part=uniform", "steps=constant(7)")
    assert torch.equal(new["t"], torch.empty(4, 3).normal_(generator=own(0, "t")))
    assert torch.equal(new["part"], torch.empty(12).uniform_(generator=own(0, "part")))
    assert new["steps"].unique().tolist() == [7]
    assert torch.equal(new["rest"], state["rest"])
    made, _ = reinit(checkpoint(state), [parse_rule("steps=zeros")], seed=0, open=nowhere)
    storage = torch.frombuffer(bytearray(made["rest"].storage.read()), dtype=torch.float32)
    assert torch.equal(storage[25:44:2], whole[25:44:2])


def test_old_values_are_those_before_the_edit():
    state = mlp()
    new, _ = edited(state, "*=shrink_perturb(0.5, 0)")
    assert all(torch.equal(new[name], state[name] / 2) for name in state)


def test_copy_from_another_checkpoint():
    other = {name: torch.randn_like(value, dtype=torch.float64) for name, value in mlp().items()}
    new, plan = edited(mlp(), "*=copy_from(other.pt)", open=lambda path: {"other.pt": checkpoint(other)}[path])
    assert all(torch.equal(new[name], other[name].float()) for name in other)
    assert plan[0] == ("0.weight", "copy_from(file=other.pt)", "0.weight of other.pt", None, "*")
    with pytest.raises(EditError, match=r"has the shape"):
        edited(mlp(), "*=copy_from(other.pt, 2.bias)", open=lambda path: checkpoint(other))


def test_what_cannot_be_reinitialised():
    state = mlp() | {"steps": torch.tensor(3), "mask": torch.ones(4, dtype=torch.bool)}
    for rule, match in [
        ("steps=normal", r"steps: normal\(0, 1\) cannot be drawn in int64"),
        ("*=xavier_uniform", "0.bias: a vector has no fan-in"),
        ("mask=constant(3)", "mask: bool cannot hold 3"),
        ("3.weight=zeros", "nothing matches '3.weight'"),
    ]:
        with pytest.raises(CkptError, match=match):
            edited(state, rule)
    new, plan = edited(state, preset="bert")
    assert new["steps"].item() == 3
    assert "mask" not in [step.name for step in plan]
    held = checkpoint(mlp()).tensors
    sparse = Tensor(DTYPES["float32"], (8,), held["0.bias"].storage, None, 0, Layout.SPARSE_COO)
    mixed = Checkpoint({**held, "0.bias": sparse})
    with pytest.raises(Opaque, match=r"0\.bias is sparse_coo"):
        reinit(mixed, [parse_rule("*=ones")], seed=0, open=nowhere)
    _, plan = reinit(mixed, [], preset="pytorch", seed=0, open=nowhere)
    assert [step.name for step in plan] == ["0.weight", "2.weight", "2.bias"]


# ---------------------------------------------------------------- recipes


def test_recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('seed = 3\npreset = "keras"\n[rules]\n"*.bias" = "ones"\n"re:^0=" = "normal(std=2)"\n')
    recipe = read_recipe(str(path))
    assert (recipe.seed, recipe.preset, [str(rule) for rule in recipe.rules]) == (3, "keras", ["*.bias=ones", "re:^0==normal(std=2)"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("*.bias = 1", "this is no TOML"),
        ("[rule]\n", "a recipe has no rule .did you mean rules"),
        ("seed = '3'", "seed is a whole number, not '3'"),
        ("[rules]\n0.weight = 'zeros'", "0 has no scheme .write the whole pattern"),
        ("[rules]\n'*' = 'zeroes'", "did you mean zeros"),
    ],
)
def test_recipes_that_make_no_sense(tmp_path, text, match):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(CkptError, match=match) as caught:
        read_recipe(str(path))
    assert str(path) in str(caught.value)


def test_no_recipe():
    with pytest.raises(CkptError, match="no such file"):
        read_recipe("nowhere.toml")


# ---------------------------------------------------------------- the command


class Run:
    """A command line, in this process: status, lines of both outputs."""

    def __init__(self, capsys, *args):
        capsys.readouterr()
        self.status = main(["reinit", *map(str, args)])
        out, err = capsys.readouterr()
        self.out, self.err = out.splitlines(), err.splitlines()


@pytest.fixture
def ckpt(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    torch.save(mlp(), "mlp.pt")
    save_file(mlp(), "mlp.safetensors")
    return lambda *args: Run(capsys, *args)


@pytest.mark.parametrize("file", ["mlp.pt", "mlp.safetensors"])
@pytest.mark.parametrize("rng", ["tensor", "torch"])
def test_writes_what_torch_draws(ckpt, file, rng):
    run = ckpt(file, "*.weight=xavier_uniform", "*.bias=normal(0, 0.01)", "--seed", 5, "--rng", rng, "-o", "out" + file[3:])
    assert (run.status, run.out) == (0, [])
    assert run.err[-1] == "ckpt: seed 5"
    new = torch.load("out.pt") if file.endswith(".pt") else load_file("out.safetensors")
    stream = torch.Generator().manual_seed(5)
    order = mlp() if file.endswith(".pt") else sorted(mlp())
    for name in order:
        source = stream if rng == "torch" else own(5, name)
        want = torch.empty_like(mlp()[name])
        want = init.xavier_uniform_(want, generator=source) if want.ndim > 1 else init.normal_(want, 0, 0.01, generator=source)
        assert torch.equal(new[name], want), name


def test_the_chapter(ckpt):
    """First layer Xavier, last 42; all zero biases."""
    assert ckpt("mlp.pt", "*.bias=zeros", "0.weight=xavier_uniform", "2.weight=constant(42)", "-i", "--backup", ".old").status == 0
    new = torch.load("mlp.pt")
    assert new["2.weight"].unique().tolist() == [42]
    assert not new["0.bias"].any()
    assert new["0.weight"].abs().max() <= (6 / 12) ** 0.5
    assert all(torch.equal(a, b) for a, b in zip(torch.load("mlp.pt.old").values(), mlp().values(), strict=True))


def test_all_formats_and_orders_agree(ckpt):
    assert ckpt("mlp.pt", "*=normal", "--seed", 1, "-o", "a.pt").status == 0
    assert ckpt("mlp.safetensors", "2.*=normal", "0.*=normal", "--seed", 1, "-o", "b.pt").status == 0
    a, b = torch.load("a.pt"), torch.load("b.pt")
    assert all(torch.equal(a[name], b[name]) for name in mlp())


def test_a_seed_is_chosen_and_reproduces(ckpt):
    first = ckpt("mlp.pt", "*=normal", "-o", "a.pt").err[-1]
    second = ckpt("mlp.pt", "*=normal", "-o", "b.pt").err[-1]
    assert first != second
    assert ckpt("mlp.pt", "*=normal", "-o", "c.pt", "--seed", first.removeprefix("ckpt: seed ")).status == 0
    assert torch.equal(torch.load("a.pt")["0.weight"], torch.load("c.pt")["0.weight"])
    assert not torch.equal(torch.load("a.pt")["0.weight"], torch.load("b.pt")["0.weight"])


def test_the_plan(ckpt, tmp_path):
    before = sorted(tmp_path.iterdir())
    run = ckpt("mlp.pt", "*.weight=normal(0, 0.02)", "0.bias=zeros", "-n", "--seed", 7)
    assert (run.status, run.err) == (0, ["ckpt: seed 7"])
    assert [line.split("\t") for line in run.out] == [
        ["0.weight", "normal(mean=0, std=0.02)", "normal(0, 0.02)", str(subseed(7, "0.weight")), "*.weight"],
        ["0.bias", "zeros", "constant(0)", "", "0.bias"],
        ["2.weight", "normal(mean=0, std=0.02)", "normal(0, 0.02)", str(subseed(7, "2.weight")), "*.weight"],
    ]
    assert sorted(tmp_path.iterdir()) == before
    document = json.loads("".join(ckpt("mlp.pt", "--preset", "keras", "-n", "--seed", 7, "--json").out))
    assert (document["seed"], document["rng"], document["preset"]) == ("7", "tensor", "keras")
    assert document["tensors"][1]["name"] == "0.bias"
    assert document["tensors"][1]["seed"] is None
    assert set(document["tensors"][0]) == {"name", "scheme", "draw", "seed", "reason"}


def test_what_was_drawn_is_told(ckpt):
    run = ckpt("mlp.pt", "--preset", "pytorch", "2.bias=ones", "--arch", "none", "-o", "a.pt", "--seed", 1)
    assert run.err == [
        "ckpt: 0.weight: preset pytorch: uniform(-0.5, 0.5) (linear, assumed from shape)",
        "ckpt: 0.bias: preset pytorch: uniform(-0.5, 0.5) (bias, assumed from name)",
        "ckpt: 2.weight: preset pytorch: uniform(-0.353553, 0.353553) (linear, assumed from shape)",
        "ckpt: 2.bias: ones: constant(1) (2.bias)",
        "ckpt: seed 1",
    ]
    assert "by type Linear" in ckpt("mlp.pt", "--preset", "pytorch", "--arch", "mlp", "-n").out[0]


def test_types_of_a_recognised_architecture(ckpt):
    assert ckpt("mlp.pt", "@Linear.bias=ones", "-o", "a.pt").status == 0
    assert torch.load("a.pt")["0.bias"].unique().tolist() == [1]


def test_recipe_and_command_line(ckpt, tmp_path):
    (tmp_path / "r.toml").write_text('seed = 3\npreset = "mxnet"\n[rules]\n"*.bias" = "ones"\n"0.*" = "constant(2)"\n')
    run = ckpt("mlp.pt", "0.bias=zeros", "--recipe", "r.toml", "-o", "a.pt")
    assert run.err[-1] == "ckpt: seed 3"
    new = torch.load("a.pt")
    assert new["0.weight"].unique().tolist() == [2]
    assert new["0.bias"].unique().tolist() == [0]
    assert new["2.bias"].tolist() == [1]
    assert torch.equal(new["2.weight"], torch.empty(1, 8).uniform_(-0.07, 0.07, generator=own(3, "2.weight")))
    assert ckpt("mlp.pt", "--recipe", "r.toml", "-n", "--seed", 4, "--preset", "bert").err == ["ckpt: seed 4"]


def test_tied_parameters_stay_tied(ckpt):
    shared = torch.randn(8, 8)
    torch.save({"2.weight": shared, "4.weight": shared}, "tied.pt")
    assert ckpt("tied.pt", "4.weight=normal", "-o", "a.pt", "--seed", 0).status == 0
    new = torch.load("a.pt")
    assert new["2.weight"].data_ptr() == new["4.weight"].data_ptr()
    assert torch.equal(new["4.weight"], torch.empty(8, 8).normal_(generator=own(0, "2.weight")))


def test_copy_from_and_own_functions(ckpt, tmp_path):
    (tmp_path / "own.py").write_text("def noise(tensor, scale=1.0, *, generator):\n    tensor.normal_(0, scale, generator=generator)\n")
    assert ckpt("mlp.pt", "*=own.py:noise(scale=2)", "-o", "a.pt", "--seed", 0).status == 0
    assert torch.equal(torch.load("a.pt")["0.weight"], torch.empty(8, 4).normal_(0, 2, generator=own(0, "0.weight")))
    assert ckpt("a.pt", "0.*=copy_from(mlp.safetensors)", "-i").status == 0
    new = torch.load("a.pt")
    assert torch.equal(new["0.weight"], mlp()["0.weight"])
    assert not torch.equal(new["2.weight"], mlp()["2.weight"])


def test_a_training_checkpoint_keeps_everything_else(ckpt):
    net = nn.Linear(4, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, "model": net.state_dict(), "optimizer": optimizer.state_dict()}, "train.pt")
    assert ckpt("train.pt", "model.*=zeros", "-o", "a.pt").status == 0
    old, new = torch.load("train.pt"), torch.load("a.pt")
    assert not new["model"]["weight"].any()
    assert new["epoch"] == 3
    assert torch.equal(new["optimizer"]["state"][0]["exp_avg"], old["optimizer"]["state"][0]["exp_avg"])
    plan = ckpt("train.pt", "--preset", "pytorch", "-n").out
    assert [line.split("\t")[0] for line in plan] == ["model.weight", "model.bias"]


ERRORS = [
    # arguments, what the one line says
    (["mlp.pt", "*=zeros"], "where should the result go?"),
    (["mlp.pt", "-i"], "nothing says what to draw"),
    (["mlp.pt", "*=zeroes", "-i"], "no scheme is called 'zeroes' (did you mean zeros"),
    (["mlp.pt", "*", "-i"], "'*' is no rule"),
    (["mlp.pt", "0.wieght=zeros", "-i"], "did you mean 0.weight"),
    (["mlp.pt", "*=xavier_uniform", "-i"], "0.bias: a vector has no fan-in and fan-out (use zeros"),
    (["mlp.pt", "*=constant(1e39)", "-i"], "0.weight: float32 cannot hold 1e+39"),
    (["mlp.pt", "*=uniform(0, 1e39)", "-i"], "cannot be drawn in float32"),
    (["mlp.pt", "--preset", "pytoch", "-i"], "no preset is called 'pytoch' (did you mean pytorch"),
    (["mlp.pt", "*=copy_from(gone.pt)", "-i"], "gone.pt: no such file"),
    (["mlp.pt", "*=bad.py:fill", "-i"], "bad.py:2: ValueError: not today"),
    (["mlp.pt", "--recipe", "gone.toml", "-i"], "gone.toml: no such file"),
    (["mlp.pt", "*=zeros", "-o", "mlp.pt"], "the file is there already"),
]


@pytest.mark.parametrize(("arguments", "says"), ERRORS, ids=[says for _, says in ERRORS])
def test_errors_are_one_line_and_change_nothing(ckpt, tmp_path, arguments, says):
    (tmp_path / "bad.py").write_text("def fill(tensor):\n    raise ValueError('not\\ntoday')\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    run = ckpt(*arguments)
    assert (run.status, run.out, len(run.err)) == (2, [], 1)
    assert run.err[0].startswith("ckpt: error: ")
    assert says in run.err[0]
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_constants_import_no_torch(ckpt):
    code = "import sys; from ckpt_cli.cli import main; main(sys.argv[1:]); print('torch' in sys.modules, 'numpy' in sys.modules)"
    args = ["reinit", "mlp.pt", "*.bias=zeros", "0.weight=constant(42)", "-i"]
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
    assert torch.load("mlp.pt")["0.weight"].unique().tolist() == [42]


# ---------------------------------------------------------------- ckpt schemes


def listing(capsys, *args):
    capsys.readouterr()
    assert main(["schemes", *args]) == 0
    return capsys.readouterr().out


def test_schemes_are_listed(capsys):
    from ckpt_cli.schemes import schemes
    from ckpt_cli.schemes.presets import presets

    rows = [line.split("\t") for line in listing(capsys).splitlines()]
    assert all(len(row) == 4 for row in rows)
    assert {row[0] for row in rows} == {scheme.name for scheme in schemes.values()} | set(presets)
    assert ["normal", "pytorch", "mean=0.0, std=1.0", "w ~ N(mean, std²)"] in rows
    entries = json.loads(listing(capsys, "--json"))["schemes"]
    assert [entry["name"] for entry in entries] == [row[0] for row in rows]
    assert next(e for e in entries if e["name"] == "mxnet.Normal")["aliases"] == ["Normal"]


def test_one_scheme_in_full(capsys):
    page = listing(capsys, "kaiming_uniform")
    assert "kaiming_uniform(a=0, mode='fan_in', nonlinearity='leaky_relu', fan='')" in page
    assert "He et al. 2015" in page
    assert "reset_parameters" in listing(capsys, "pytorch")
    assert json.loads(listing(capsys, "constant", "--json"))["parameters"] == [{"name": "val"}]
    assert main(["schemes", "xavier"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_a_preset_counts_the_fans_of_a_transposed_matrix_by_its_bias(ckpt):
    """GPT-2's Conv1D lies in x out: its bias has as many elements as it has columns."""
    torch.save({"fc.weight": torch.zeros(16, 64), "fc.bias": torch.zeros(64)}, "a.pt")
    plan = {line.split("\t")[0]: line.split("\t") for line in ckpt("a.pt", "--preset", "pytorch", "--seed", "0", "-n").out}
    assert plan["fc.weight"][2] == plan["fc.bias"][2] == "uniform(-0.25, 0.25)"
    assert "in x out by its bias" in plan["fc.weight"][4]


@pytest.mark.parametrize("spelling", ["xavier_uniform_", "torch.nn.init.xavier_uniform_", "init.xavier_uniform"])
def test_schemes_may_be_spelled_as_torch_does(spelling, ckpt):
    ckpt("mlp.pt", f"0.weight={spelling}", "--seed", "0", "-o", "a.pt")
    ckpt("mlp.pt", "0.weight=xavier_uniform", "--seed", "0", "-o", "b.pt")
    assert torch.equal(torch.load("a.pt")["0.weight"], torch.load("b.pt")["0.weight"])


def test_tensors_that_overlap_in_one_storage_are_not_filled_together(ckpt):
    base = torch.arange(12.0).reshape(3, 4)
    torch.save({"b": base, "t": base.t(), "row": base[1], "other": base[2]}, "v.pt")
    refused = ckpt("v.pt", "b=ones", "row=zeros", "-i")
    assert refused.status == 2 and refused.err[0].startswith("ckpt: error: v.pt: b and row overlap")
    assert ckpt("v.pt", "row=ones", "other=zeros", "-i").status == 0
    assert torch.load("v.pt")["b"].tolist() == [[0, 1, 2, 3], [1, 1, 1, 1], [0, 0, 0, 0]]


def test_what_is_drawn_for_many_blocks_alike_is_told_in_one_line(ckpt):
    torch.save({f"h.{i}.{part}": torch.zeros(4, 4) for i in range(12) for part in ("a.weight", "b.weight", "c.bias")}, "m.pt")
    assert ckpt("m.pt", "*.weight=normal", "*.bias=zeros", "--seed", "0", "-o", "out.pt").err == [
        "ckpt: h.{0-11}.a.weight ×12: normal: normal(0, 1) (*.weight)",
        "ckpt: h.{0-11}.b.weight ×12: normal: normal(0, 1) (*.weight)",
        "ckpt: h.{0-11}.c.bias ×12: zeros: constant(0) (*.bias)",
        "ckpt: seed 0",
    ]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("normal(0, inf)", "normal(0, inf) cannot be drawn (a mean, a std and a bound are finite numbers)"),
        ("normal(nan)", "normal(nan, 1) cannot be drawn"),
        ("uniform(-inf, 0)", "uniform(-inf, 0) cannot be drawn"),
        ("random_normal(0, inf)", "normal(0, inf) cannot be drawn"),
        ("trunc_normal(0, inf)", "std is inf"),
        ("xavier_uniform(inf)", "cannot be drawn"),
        ("orthogonal(gain=inf)", "gain is inf"),
        ("sparse(0.5, std=inf)", "std is inf"),
        ("rows(zeros, 0=normal(0, inf))", "normal(0, inf) cannot be drawn"),
        ("preset:bert(std=inf)", "normal(0, inf) cannot be drawn"),
        ("preset:bert(std=1e400)", "1e400 is more than a number can be (write inf where infinity is meant)"),
        ("constant(1e999)", "1e999 is more than a number can be (write inf where infinity is meant)"),
        ("constant(-1e999)", "-1e999 is more than a number can be"),
        ("constant(1e999j)", "1e999j is more than a number can be"),
        ("formula('normal(0, inf)')", "normal() draws with finite numbers only"),
    ],
)
def test_what_is_drawn_is_finite(ckpt, rule, says):
    run = ckpt("mlp.pt", f"0.weight={rule}", "-n")
    assert run.status == 2 and len(run.err) == 1 and says in run.err[0]


def test_infinity_in_words_is_a_constant(ckpt):
    assert ckpt("mlp.pt", "0.weight=constant(inf)", "-n").err == []
