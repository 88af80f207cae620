"""`ckpt grad`: held against the same forward and backward, written out in torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES, Ckpt
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from ckpt_cli.training.network import merged

OWN = """
import torch
from torch import nn

class Uses(nn.Module):
    '''A weight that is used by a layer, transposed, and twice in one product.'''
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(2))
        self.register_buffer("constant", torch.ones(3))
    def forward(self, x):
        return self.layer(x) @ self.layer.weight.T * self.frozen + (self.layer.bias * self.layer.bias).sum() + self.constant

class Two(nn.Module):
    def forward(self, x):
        return x, x
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

class Words(nn.Module):
    '''An embedding whose weight the last layer shares.'''
    def __init__(self):
        super().__init__()
        self.words, self.scores = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.scores.weight = self.words.weight
    def forward(self, x):
        return self.scores(self.words(x))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mlp(hidden: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def shared() -> nn.Sequential:
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 1))


def saved(net: nn.Module, path: Path) -> nn.Module:
    torch.save(net.state_dict(), path)
    return net


def inputs(path: Path, *shape: int, seed: int = 3) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    np.save(path, x.numpy())
    return x


# Against torch


@pytest.mark.parametrize("build", [mlp, shared])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", ["sum", "mse"])
def test_the_gradients_are_those_of_the_same_lines_of_torch(
    ckpt: Ckpt, here: Path, build: Callable[[], nn.Module], suffix: str, kind: str
) -> None:
    net = saved(build(), here / "net.pt")
    if suffix != ".pt":
        ckpt("convert", "net.pt", "net.safetensors")
    x, y = inputs(here / "x.npy", 5, 4), inputs(here / "y.npy", 5, 1, seed=4)
    value = net(x).sum() if kind == "sum" else functional.mse_loss(net(x), y)
    value.backward()
    target = [] if kind == "sum" else ["--target", "y.npy"]
    rows = {row[0]: row[1:] for row in ckpt("grad", f"net{suffix}", "--input", "x.npy", *target).rows}
    state = net.state_dict(keep_vars=True)
    assert list(rows) == list(state)
    for name, parameter in state.items():
        assert rows[name][0] == "x".join(map(str, parameter.shape))
        gradient = parameter.grad
        assert [float(cell) for cell in rows[name][1:4]] == pytest.approx(
            [float(gradient.double().norm()), float(gradient.min()), float(gradient.max())], rel=1e-6
        )
        raw = ckpt("grad", f"net{suffix}", name, "--input", "x.npy", *target, "--format", "raw").raw
        assert raw == gradient.numpy().tobytes()


def test_the_textbook_s_gradients_of_the_tied_network(ckpt: Ckpt, case: Callable[[str], Path], here: Path) -> None:
    facts = json.loads(case("expect/textbook_facts.json").read_text())["tied"]
    np.save("x.npy", np.array(facts["input"], "float32"))
    path = case("torch/tied.state.pt")
    found = ckpt("grad", path, "--input", "x.npy", "--json", "--by-use").json
    assert found["loss"] == {"kind": "sum", "value": pytest.approx(facts["output_sum"], rel=1e-6)}
    net = shared()
    net.load_state_dict(torch.load(path))
    net(torch.tensor(facts["input"])).sum().backward()
    for name, fact in facts["grad"].items():
        raw = ckpt("grad", path, name, "--input", "x.npy", "--format", "raw").raw
        gradient = net.get_parameter(name).grad
        assert gradient is not None and raw == gradient.numpy().tobytes(), name
        told = fact["record"]["stats"]  # recorded on another processor, whose last bits may differ
        found_here = [gradient.sum(), gradient.abs().sum(), gradient.min(), gradient.max(), gradient.eq(0).sum()]
        assert list(map(float, found_here)) == pytest.approx(
            [fact["sum"], fact["abs_sum"], told["min"], told["max"], told["zeros"]], rel=1e-5
        ), name
    rows = {each["name"]: each for each in found["tensors"]}
    assert {name: each["tied_to"] for name, each in rows.items() if each["tied_to"]} == {"4.weight": "2.weight", "4.bias": "2.bias"}
    assert [len(rows[name]["uses"]) for name in ("0.weight", "2.weight", "2.bias", "6.bias")] == [1, 2, 2, 1]


def test_the_terms_of_a_tied_parameter_are_the_gradients_of_its_untied_copies(ckpt: Ckpt, here: Path) -> None:
    net = saved(shared(), here / "net.pt")
    x = inputs(here / "x.npy", 6, 4)
    apart = nn.Sequential(*(nn.Linear(layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else layer for layer in net))
    apart.load_state_dict(net.state_dict())
    apart(x).sum().backward()
    rows = ckpt("grad", "net.pt", "--input", "x.npy", "--by-use").rows
    for leaf in ("weight", "bias"):
        terms = {row[1]: float(row[3]) for row in rows if row[0] == f"2.{leaf}"}
        copies = [apart.get_parameter(f"{layer}.{leaf}").grad for layer in (2, 4)]
        assert list(terms) == ["1", "2", "sum"]
        norms = [float(copy.double().norm()) for copy in (*copies, copies[0] + copies[1])]
        assert list(terms.values()) == pytest.approx(norms, rel=1e-5)
    assert not [row for row in rows if row[0].startswith("4.")]
    assert {row[6] for row in rows} == {"linear", ""}


def test_a_use_is_an_operation_that_takes_the_parameter_and_where_nothing_flows_there_is_none(ckpt: Ckpt, here: Path) -> None:
    torch.manual_seed(0)
    saved(__import__("runpy").run_path("own.py")["Uses"](), here / "net.pt")
    rows = ckpt("grad", "net.pt", "--arch", "own.py:Uses", "--seed", "1", "--by-use", "--random", "2x3").rows
    assert [(row[0], row[1], row[6]) for row in rows] == [
        ("frozen", "sum", ""),
        ("unused", "sum", ""),
        ("constant", "sum", ""),
        ("layer.weight", "1", "linear"),
        ("layer.weight", "2", "T"),
        ("layer.weight", "sum", ""),
        ("layer.bias", "1", "linear"),
        ("layer.bias", "2", "mul"),
        ("layer.bias", "3", "mul"),
        ("layer.bias", "sum", ""),
    ]
    assert [row[3:6] for row in rows[:3]] == [["None", "", ""]] * 3


def test_fancy_mlp_uses_its_layer_twice_and_nothing_flows_into_its_constant(ckpt: Ckpt, here: Path) -> None:
    sample = SAMPLES / "fancy-mlp.pt"
    rows = ckpt("grad", sample, "--seed", "0", "--by-use").rows
    assert [row[1] for row in rows if row[0] == "linear.weight"] == ["1", "2", "sum"]
    assert ["rand_weight", "sum", "20x20", "None", "", "", ""] in rows
    assert ckpt("grad", sample, "rand_weight").out == "None\n"
    assert ckpt("grad", sample, "rand_weight", "--json").json["values"] is None
    assert "the gradient of rand_weight is None" in ckpt("grad", sample, "rand_weight", "--format", "npy", status=2).err


def test_cross_entropy_of_classes_and_of_probabilities(ckpt: Ckpt, here: Path) -> None:
    net = saved(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), here / "net.pt")
    x = inputs(here / "x.npy", 5, 4)
    for target in (torch.tensor([0, 2, 1, 1, 0]), torch.softmax(torch.randn(5, 3), 1)):
        np.save("y.npy", target.numpy())
        net.zero_grad()
        functional.cross_entropy(net(x), target).backward()
        raw = ckpt("grad", "net.pt", "2.bias", "--input", "x.npy", "--target", "y.npy", "--loss", "cross_entropy", "--format", "raw").raw
        assert raw == net[2].bias.grad.numpy().tobytes()
    np.save("y.npy", np.array([0, 2, 1, 3, 0]))
    assert "out of bounds" in ckpt("grad", "net.pt", "--input", "x.npy", "--target", "y.npy", status=2).err


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_gradients_are_of_the_dtype_of_the_file(ckpt: Ckpt, here: Path, dtype: str) -> None:
    net = saved(mlp().to(getattr(torch, dtype)), here / "net.pt")
    x = inputs(here / "x.npy", 5, 4)
    net(x.to(getattr(torch, dtype))).sum().backward()
    found = ckpt("grad", "net.pt", "2.weight", "--input", "x.npy", "--json").json
    assert found["dtype"] == dtype and found["values"] == net[2].weight.grad.tolist()


def test_words_go_in_as_whole_numbers_and_a_weight_that_two_layers_share_has_two_terms(ckpt: Ckpt, here: Path) -> None:
    namespace = __import__("runpy").run_path("own.py")
    saved(namespace["Words"](), here / "net.pt")
    np.save("x.npy", np.array([[0, 4], [1, 1]]))
    rows = ckpt("grad", "net.pt", "--arch", "own.py:Words", "--input", "x.npy", "--by-use").rows
    assert [row[6] for row in rows if row[0] == "words.weight"] == ["embedding", "linear", ""]
    assert ckpt("grad", "net.pt", "--arch", "own.py:Words", "--random", "2x7", "--seed", "0").rows


# What is asked for


def test_a_reference_gives_values_and_an_index_a_part_of_them(ckpt: Ckpt, here: Path) -> None:
    sample = SAMPLES / "mlp.pt"
    whole = ckpt("grad", sample, "2.weight", "--seed", "0", "--json").json
    part = ckpt("grad", sample, "[2].weight[0, 3:5]", "--seed", "0", "--json").json
    assert part["shape"] == [2] and part["values"] == whole["values"][0][3:5]
    assert ckpt("grad", sample, "2.bias", "--seed", "0").out == "[2.]\n"
    assert ckpt("grad", sample, "2.bias", "--seed", "0", "--precision", "2").out == "[2.00]\n"
    assert [row[0] for row in ckpt("grad", sample, "2.bias", "--seed", "0", "--by-use").rows] == ["2.bias"]


def test_before_any_backward_every_gradient_is_none(ckpt: Ckpt) -> None:
    rows = ckpt("grad", SAMPLES / "shared-mlp.pt", "--no-backward").rows
    assert len(rows) == 8 and {row[2] for row in rows} == {"None"}
    assert ckpt("grad", SAMPLES / "mlp.pt", "2.weight", "--no-backward").out == "None\n"


def test_the_seed_is_told_and_gives_the_same_again(ckpt: Ckpt) -> None:
    first = ckpt("grad", SAMPLES / "fancy-mlp.pt")
    seed = first.err.split()[-1]
    assert ckpt("grad", SAMPLES / "fancy-mlp.pt", "--seed", seed).out == first.out
    assert ckpt("grad", SAMPLES / "fancy-mlp.pt", "--seed", int(seed) ^ 1).out != first.out


def test_what_the_names_do_not_tell_is_told(ckpt: Ckpt) -> None:
    assert "assumed, since names and shapes do not tell: activation=relu" in ckpt("grad", SAMPLES / "mlp.pt").err
    relu, tanh = (ckpt("grad", SAMPLES / "mlp.pt", "--seed", "0", "--arch", f"mlp(activation={kind!r})").out for kind in ("relu", "tanh"))
    assert relu != tanh


def test_no_number_is_a_text_in_json(ckpt: Ckpt, here: Path) -> None:
    ckpt("set", SAMPLES / "mlp.pt", "2.weight = nan", "-o", "nan.pt")
    figures = ckpt("grad", "nan.pt", "--json", "--seed", "0").json
    assert figures["loss"]["value"] == "NaN" and "NaN" in [each["norm"] for each in figures["tensors"]]


def test_a_training_checkpoint_is_its_model(ckpt: Ckpt) -> None:
    rows = ckpt("grad", SAMPLES / "training.ckpt", "--seed", "0").rows
    assert [row[0] for row in rows] == ["model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"]


def test_torch_goes_on_as_if_nothing_had_been_drawn(ckpt: Ckpt) -> None:
    torch.manual_seed(5)
    want, threads = torch.rand(3).tolist(), torch.get_num_threads()
    torch.manual_seed(5)
    ckpt("grad", SAMPLES / "fancy-mlp.pt")
    assert torch.rand(3).tolist() == want and torch.get_num_threads() == threads


# Errors


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dtypes.pt", "no architecture is recognised in this file, so nothing can run it (name it with --arch)"),
        ("mlp.pt --input x.npy --random 2", "--input and --random exclude each other"),
        ("mlp.pt --loss mse", "--loss mse needs --target"),
        ("mlp.pt --loss sum --target y.npy", "--loss sum takes no --target"),
        ("mlp.pt --input no.npy", "no.npy: no such file"),
        ("mlp.pt --input objects.npy", "objects.npy: no array could be read: it is none, or one of objects"),
        ("mlp.pt --input text.npy", "an array of <U1 holds no numbers"),
        ("mlp.pt --input complex.npy", "an array of complex128 holds no numbers"),
        ("mlp.pt --input pair.npz", "this is an archive of arrays"),
        ("mlp.pt --input empty.npy", "no array could be read"),
        ("mlp.pt --input wide.npy", "the network does not take this input: RuntimeError: mat1 and mat2 shapes"),
        ("mlp.pt --input x.npy --target x.npy", "mse takes a target of 5x1 for an output of 5x1, this one is 5x4"),
        ("mlp.pt --input x.npy --target x.npy --loss cross_entropy", "cross_entropy takes a target of 5x1 for an output of 5x1"),
        ("mlp.pt --random 2xx4", "no shape"),
        ("mlp.pt --seed -1", "--seed"),
        ("mlp.pt 2.wieght", "nothing matches '2.wieght' (did you mean 2.weight"),
        ("mlp.pt *.weight", "means 2 tensors"),
        ("mlp.pt 2.weight[0,99]", "out of range"),
        ("mlp.pt --arch shared-mlp", "the file does not hold shared-mlp"),
        ("two.pt --arch own.py:Two --random 2", "the network gives a tuple, not one tensor"),
        ("whole.pt", "0.weight is int64, which has no gradient (cast it to a float: ckpt cast)"),
        ("apart.pt --arch shared-mlp", "one parameter for 2.weight and 4.weight, which differ in the file (tie them: ckpt tie)"),
        ("turned.pt --arch own.py:Uses --random 2", "are different views of the same elements"),
    ],
)  # fmt: skip
def test_errors_are_one_line(ckpt: Ckpt, here: Path, line: str, says: str) -> None:
    inputs(here / "x.npy", 5, 4)
    inputs(here / "y.npy", 5, 1)
    inputs(here / "wide.npy", 5, 7)
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    np.save("text.npy", np.array(["a"]))
    np.save("complex.npy", np.array([1j]))
    np.savez("pair.npz", x=np.ones(3))
    Path("empty.npy").write_bytes(b"")
    torch.save({name: tensor.long() for name, tensor in mlp().state_dict().items()}, "whole.pt")
    ckpt("untie", SAMPLES / "shared-mlp.pt", "4.weight", "4.bias", "-o", "untied.pt")
    ckpt("set", "untied.pt", "4.weight += 1", "-o", "apart.pt")
    namespace = __import__("runpy").run_path("own.py")
    saved(namespace["Two"](), here / "two.pt")
    uses = namespace["Uses"]().state_dict()
    torch.save(uses | {"constant": uses["layer.weight"].T[0]}, "turned.pt")
    path, *rest = line.split(" ")
    place = SAMPLES / path if (SAMPLES / path).exists() else path
    assert says in ckpt("grad", place, *rest, status=2).err


def test_equal_values_that_only_the_model_ties_are_no_error(ckpt: Ckpt, here: Path) -> None:
    ckpt("untie", SAMPLES / "shared-mlp.pt", "4.weight", "4.bias", "-o", "apart.pt")
    tied, apart = (ckpt("grad", path, "--seed", "0", "--arch", "shared-mlp").out for path in (SAMPLES / "shared-mlp.pt", "apart.pt"))
    assert tied == apart


def test_what_only_the_file_ties_is_one_parameter(ckpt: Ckpt, here: Path) -> None:
    """Two layers of one size, tied by hand: no family has that, but the model that is named runs it."""
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    saved(net, here / "net.pt")
    ckpt("tie", "net.pt", "0.weight", "2.weight", "-i")
    net[2].weight = net[0].weight
    x = inputs(here / "x.npy", 3, 4)
    net(x).sum().backward()
    raw = ckpt("grad", "net.pt", "2.weight", "--input", "x.npy", "--arch", "mlp(hidden=(4,4))", "--format", "raw").raw
    assert raw == net[0].weight.grad.numpy().tobytes()


@given(st.lists(st.lists(st.integers(0, 8).map(str), min_size=1, max_size=4), max_size=8))
def test_groups_that_have_a_name_in_common_are_one(groups: list[list[str]]) -> None:
    found = merged(groups)
    names = [name for group in found for name in group]
    assert sorted(names) == sorted({name for group in groups for name in group})
    assert all(any(set(group) <= set(home) for home in found) for group in groups)
    for one in found:  # no smaller group would do
        inner = [group for group in groups if set(group) <= set(one)]
        reached = set(inner[0])
        while bigger := reached.union(*(group for group in inner if reached & set(group))) - reached:
            reached |= bigger
        assert reached == set(one)


def test_the_figures_of_a_gradient_are_exact_in_float64(ckpt: Ckpt, here: Path) -> None:
    saved(mlp(), here / "net.pt")
    row = ckpt("grad", "net.pt", "--seed", "0").rows[0]
    values = np.frombuffer(ckpt("grad", "net.pt", "0.weight", "--seed", "0", "--format", "raw").raw, "float32").astype("float64")
    assert float(row[2]) == pytest.approx(math.sqrt((values**2).sum()), rel=1e-14)
    assert [float(row[3]), float(row[4])] == [values.min(), values.max()]
