"""Architectures against torch itself: what it builds is recognised, what is recognised is built again, and print(net) agrees."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn

from ckpt_cli.architectures import architectures
from ckpt_cli.architectures.fresh_weights import fresh
from ckpt_cli.architectures.hyperparameters import checked, parse_call, parse_pairs, schema, shown_all
from ckpt_cli.architectures.mismatch import compare, require_match
from ckpt_cli.architectures.output_shapes import output_shapes, parse_shape
from ckpt_cli.architectures.recognition import recognise, resolve_arch
from ckpt_cli.errors import CkptError, UnknownName, UsageError, UserCodeError

ROOT = Path(__file__).parent.parent
FACTS = Path(os.environ.get("CKPT_CASES", ROOT.parent / "shared" / "cases")) / "expect" / "textbook_facts.json"


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def ties_of(module: nn.Module) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def found(module: nn.Module):
    return recognise(shapes_of(module), ties_of(module))


def named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def linears(*sizes: int) -> list[nn.Module]:
    return [layer for before, after in pairwise(sizes) for layer in (nn.Linear(before, after), nn.ReLU())][:-1]


def block(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, inputs), nn.ReLU())


def nested(inputs: int = 4, hidden: int = 8, blocks: int = 4, outputs: int = 1) -> nn.Sequential:
    inner = nn.Sequential()
    for number in range(blocks):
        inner.add_module(f"block {number}", block(inputs, hidden))
    return nn.Sequential(inner, nn.Linear(inputs, outputs))


def shared(inputs: int = 4, hidden: int = 8, outputs: int = 1, repeats: int = 2) -> nn.Sequential:
    layer = nn.Linear(hidden, hidden)
    middle = [each for _ in range(repeats) for each in (nn.ReLU(), layer)]
    return nn.Sequential(nn.Linear(inputs, hidden), *middle, nn.ReLU(), nn.Linear(hidden, outputs))


class FancyMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rand_weight = torch.rand((20, 20), requires_grad=False)
        self.linear = nn.Linear(20, 20)

    def forward(self, x):
        x = self.linear(x)
        x = nn.functional.relu(torch.mm(x, self.rand_weight) + 1)
        x = self.linear(x)
        while x.abs().sum() > 1:
            x /= 2
        return x.sum()


class FancyBufferMLP(FancyMLP):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.register_buffer("rand_weight", torch.rand(20, 20))
        self.linear = nn.Linear(20, 20)


class NestMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.linear = nn.Linear(32, 16)

    def forward(self, x):
        return self.linear(self.net(x))


def chimera() -> nn.Sequential:
    return nn.Sequential(NestMLP(), nn.Linear(16, 20), FancyMLP())


SIZES = {"inputs": 4, "hidden": 8, "outputs": 1}
MEMBERS = [
    ("mlp", nn.Sequential(*linears(4, 8, 1)), SIZES),
    ("mlp", nn.Linear(3, 2), {"inputs": 3, "hidden": (), "outputs": 2}),
    ("mlp", nn.Sequential(nn.Linear(3, 2)), {"inputs": 3, "hidden": (), "outputs": 2}),
    ("mlp", nn.Sequential(*linears(4, 8, 16, 32, 2)), {"inputs": 4, "hidden": (8, 16, 32), "outputs": 2, "activation": "relu"}),
    ("mlp", nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1)), {**SIZES, "activation": "none"}),
    ("mlp", nn.Sequential(nn.Flatten(), *linears(4, 8, 1)), SIZES),
    ("mlp", nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 1)), SIZES),
    ("mlp", nn.Sequential(*linears(*range(1, 15))), {"inputs": 1, "outputs": 14, "hidden": tuple(range(2, 14))}),
    ("mlp", named(hidden=nn.Linear(4, 8), output=nn.Linear(8, 1)), SIZES),
    ("mlp", named(**{f"fc{k}": nn.Linear(k, k + 1) for k in range(1, 13)}), {"inputs": 1, "outputs": 13}),
    ("mlp", named(fc1=nn.Linear(4, 8, bias=False), fc2=nn.Linear(8, 1)), SIZES),
    ("mlp", named(net=nn.Sequential(*linears(4, 8, 1))), SIZES),
    ("mlp", named(encoder=nn.Sequential(*linears(9, 5, 2)), decoder=nn.Sequential(*linears(2, 5, 9))), {"hidden": (5, 2, 5)}),
    ("mlp", NestMLP(), {"inputs": 20, "hidden": (64, 32), "outputs": 16}),
    ("nested", nested(), {**SIZES, "blocks": 4}),
    ("nested", nested(3, 5, 12, 2), {"inputs": 3, "hidden": 5, "blocks": 12, "outputs": 2}),
    ("shared-mlp", shared(), {**SIZES, "repeats": 2}),
    ("shared-mlp", shared(2, 3, 4, 5), {"inputs": 2, "hidden": 3, "outputs": 4, "repeats": 5}),
    ("fancy-mlp", FancyMLP(), {"size": 20, "buffer": False}),
    ("fancy-mlp", FancyBufferMLP(), {"size": 20, "buffer": True}),
]


@pytest.mark.parametrize(("name", "module", "hyperparameters"), MEMBERS)
def test_members_are_recognised_and_built_again(name, module, hyperparameters):
    model = found(module)
    assert model and model.architecture == name and not model.prefix
    assert hyperparameters.items() <= model.hyperparameters.items()
    again = model.module()
    assert shapes_of(again) == shapes_of(module) and {*map(frozenset, ties_of(again))} == model.ties
    assert str(again) == model.repr()
    assert [(path, type(layer).__name__) for path, layer in again.named_modules(remove_duplicate=False)] == list(model.layers.items())
    assert model.buffers == dict(again.named_buffers()).keys() & model.shapes.keys()


@pytest.mark.parametrize(("name", "module", "hyperparameters"), MEMBERS)
def test_recognition_does_not_lean_on_the_order_of_names(name, module, hyperparameters):
    if any(name.startswith("encoder.") for name in shapes_of(module)):
        pytest.skip("a decoder that sorts before its encoder is a chain too, the other way round")
    model = recognise(dict(sorted(shapes_of(module).items())), ties_of(module))
    assert model and model.architecture == name and hyperparameters.items() <= model.hyperparameters.items()


def test_layers_sorted_by_name_come_in_natural_order():
    net = named(**{f"fc{k}": nn.Linear(4 if k == 1 else 8, 3 if k == 11 else 8) for k in range(1, 12)})
    model = recognise(dict(sorted(shapes_of(net).items())))
    assert list(model.layers)[1:] == [f"fc{k}" for k in range(1, 12)]
    square = named(**{f"fc{k}": nn.Linear(8, 8) for k in range(1, 12)})
    assert list(recognise(dict(sorted(shapes_of(square).items()))).layers)[1:] == [f"fc{k}" for k in range(1, 12)]


def test_layers_come_in_the_order_of_the_file():
    net = named(input=nn.Linear(8, 8), hidden=nn.Linear(8, 8), b10=nn.Linear(8, 8), b9=nn.Linear(8, 8))
    assert list(found(net).layers)[1:] == ["input", "hidden", "b10", "b9"]


def test_special_families_come_before_general_ones():
    order = [architectures[name] for name in ("mlp", "fancy-mlp")]
    assert recognise(shapes_of(FancyMLP()), families=order).architecture == "fancy-mlp"
    assert recognise(shapes_of(named(linear=nn.Linear(19, 19))), families=order).architecture == "mlp"


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(8, 8, bias=False) for _ in range(4))


def half_tied() -> nn.Sequential:
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), layer)


def weights_tied_biases_not() -> nn.Sequential:
    net = nn.Sequential(*linears(4, 8, 8, 8, 1))
    net[4].weight = net[2].weight
    return net


STRANGERS = {
    "empty": nn.Sequential(),
    "batch norm": nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)),
    "layer norm": nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1)),
    "convolution": nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2)),
    "lstm": nn.LSTM(4, 8),
    "transformer": nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    "attention": Attention(),
    "multi-head": nn.MultiheadAttention(8, 2),
    "embedding": nn.Embedding(10, 4),
    "word vectors": named(embedding=nn.Embedding(10, 4), output=nn.Linear(4, 10)),
    "low rank": named(layer=named(lora_A=nn.Linear(8, 2, bias=False), lora_B=nn.Linear(2, 8, bias=False))),
    "sizes do not meet": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(9, 1)),
    "two heads": named(body=nn.Linear(4, 8), policy=nn.Linear(8, 2), worth=nn.Linear(8, 1)),
    "a chain within a chain": chimera(),
    "something left out": named(**{"0": nn.Linear(4, 8), "2": nn.Linear(8, 8), "6": nn.Linear(8, 1)}),
    "far apart": named(**{"0": nn.Linear(4, 8), "60": nn.Linear(8, 1)}),
    "a number too long": named(**{"0": nn.Linear(4, 8), "9" * 5000: nn.Linear(8, 1)}),
    "two sorts of names": named(**{"0": nn.Linear(4, 8), "out": nn.Linear(8, 1)}),
    "two networks": named(generator=nn.Sequential(*linears(2, 3, 4)), critic=nn.Sequential(*linears(4, 3, 3))),
    "one block missing": named(**{"0": named(**{"block 0": block(4, 8), "block 2": block(4, 8)}), "1": nn.Linear(4, 1)}),
    "blocks that differ": named(**{"0": named(**{"block 0": block(4, 8), "block 1": block(4, 9)}), "1": nn.Linear(4, 1)}),
    "half tied": half_tied(),
    "weights tied, biases not": weights_tied_biases_not(),
}
STRANGERS["two networks"].critic[0] = nn.Linear(5, 3)


@pytest.mark.parametrize("name", STRANGERS)
def test_others_are_not_claimed(name):
    assert found(STRANGERS[name]) is None


def test_shared_layers_once_separate_are_an_mlp():
    assert found(nn.Sequential(*linears(4, 8, 8, 8, 1))).architecture == "mlp"
    assert recognise(shapes_of(shared()), []).architecture == "mlp"


def test_a_row_of_extra_names_is_never_swallowed():
    for _, module, _ in MEMBERS:
        for extra in ("scale", "9.running_mean", "linear.weight_g", "in_proj_weight"):
            assert recognise(shapes_of(module) | {extra: (3,)}, ties_of(module)) is None


PREFIXES = [
    "model.",
    "state_dict.",
    "module.",
    "_orig_mod.",
    "model.module.",
    "module._orig_mod.",
    "state_dict.model.",
    "net_g.",
    "my weights.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "module", [nested(), shared(), nn.Sequential(*linears(4, 8, 1)), FancyMLP()], ids=["nested", "shared", "mlp", "fancy"]
)
def test_a_model_within_a_training_checkpoint(prefix, module):
    shapes = {prefix + name: shape for name, shape in shapes_of(module).items()}
    beside = {"optimizer.state.0.exp_avg": (8, 4), "optimizer.state.0.step": (), "rng": (5056,)}
    average = {"ema.n_averaged": ()} | {f"ema.{name}": shape for name, shape in shapes_of(module).items()}
    ties = [[prefix + name for name in group] for group in ties_of(module)]
    for file in (shapes | beside, beside | shapes | average):
        model = recognise(file, ties)
        assert model and model.prefix == prefix and model.repr() == found(module).repr()
        assert model.placed[prefix[:-1]] == model.layers[""]
        assert all(prefix + path in model.placed for path in model.layers if path)
    assert recognise(shapes | beside | {"head.weight": (3, 3)}, ties) is None
    known = prefix not in ("net_g.", "my weights.")
    assert bool(recognise(shapes | beside | {"some_array": (3, 3)}, ties)) == known


def test_layers_that_a_state_dict_does_not_tell_are_said_to_be_assumed():
    assert found(nn.Sequential(nn.Flatten(), *linears(4, 8, 1))).assumed == ("activation=relu", "0=Flatten")
    assert found(named(hidden=nn.Linear(4, 8), output=nn.Linear(8, 1))).assumed == ("class=MLP", "activation=relu")
    assert found(nn.Sequential(nn.Linear(4, 1))).assumed == ()
    assert found(nested()).assumed == ()


@settings(max_examples=examples(60), deadline=None)
@given(
    some.lists(some.integers(1, 20), min_size=2, max_size=7),
    some.sampled_from(["relu", "tanh", "sigmoid", "silu", "gelu", "elu", "leaky_relu", "none"]),
)
def test_any_chain_of_linear_layers(sizes, activation):
    inputs, *hidden, outputs = sizes
    values = {"inputs": inputs, "hidden": hidden[0] if len(hidden) == 1 else tuple(hidden), "outputs": outputs}
    with torch.device("meta"):
        net = architectures["mlp"].build(**values, activation=activation)
    assert [tuple(layer.weight.shape) for layer in net.modules() if isinstance(layer, nn.Linear)] == [
        (after, before) for before, after in pairwise(sizes)
    ]
    model = resolve_arch(f"mlp(activation={activation!r})", shapes_of(net))
    assert model.hyperparameters == {**values, "activation": activation}
    assert model.repr() == str(net) and not model.assumed
    assert recognise(shapes_of(net)).hyperparameters.items() >= values.items()


@settings(max_examples=examples(40), deadline=None)
@given(some.data())
def test_what_a_family_builds_it_recognises(data):
    name = data.draw(some.sampled_from(["nested", "shared-mlp"]))
    most = {"repeats": (2, 6)}
    values = {key: data.draw(some.integers(*most.get(key, (1, 9)))) for key in schema(architectures[name])}
    with torch.device("meta"):
        net = architectures[name].build(**values)
    model = found(net)
    assert (model.architecture, model.hyperparameters) == (name, values)


@pytest.mark.parametrize(("name", "tensors", "count"), [("mlp", 4, 49), ("nested", 18, 309), ("shared-mlp", 8, 121), ("fancy-mlp", 2, 420)])
def test_counts_of_the_chapter(name, tensors, count):
    module = architectures[name].build()
    assert len(module.state_dict()) == tensors
    assert sum(parameter.numel() for parameter in module.parameters()) == count


@pytest.mark.parametrize(
    ("name", "values", "make"),
    [
        ("mlp", {"hidden": (8, 3)}, lambda: nn.Sequential(*linears(4, 8, 3, 1))),
        ("nested", {}, nested),
        ("shared-mlp", {}, shared),
        ("fancy-mlp", {}, FancyMLP),
        ("fancy-mlp", {"buffer": True}, FancyBufferMLP),
    ],
)
def test_fresh_values_are_those_of_torch(name, values, make):
    before = torch.random.get_rng_state()
    got = fresh(name, values, 7)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(7)
    want = make().state_dict()
    assert [key for key, _ in got] == list(want)
    assert all(torch.equal(value, want[key]) for key, value in got)
    assert len({value.data_ptr() for _, value in got}) == len({value.data_ptr() for value in want.values()})


def test_the_fancy_network_computes_what_the_book_says():
    torch.manual_seed(3)
    book = FancyMLP()
    torch.manual_seed(3)
    ours = architectures["fancy-mlp"].build()
    x = torch.rand(2, 20) * 50
    assert torch.equal(ours(x), book(x)) and ours(x).shape == ()
    assert [name for name, _ in ours.named_parameters()] == ["linear.weight", "linear.bias"]


def test_named_layers_are_called_in_turn_with_the_activation_between():
    net = named(fc1=nn.Linear(4, 8), act=nn.Tanh(), fc2=nn.Linear(8, 2))
    ours = resolve_arch("mlp(activation='tanh')", shapes_of(net)).module()
    ours.load_state_dict(net.state_dict())
    x = torch.randn(5, 4)
    assert torch.equal(ours(x), net(x))


# the book's own facts


def facts() -> dict:
    if not FACTS.exists():
        pytest.skip("the facts are not here")
    return json.loads(FACTS.read_text())


@pytest.mark.parametrize("net", ["plain", "rgnet", "tied", "fancy", "mlp"])
def test_print_of_the_book(net):
    fact = facts()
    fresh_tensors = fact["fresh"][net]
    storages: dict[int, list[str]] = {}
    for name, record in fresh_tensors.items():
        storages.setdefault(record["storage"], []).append(name)
    ties = [group for group in storages.values() if len(group) > 1]
    model = recognise({name: tuple(record["shape"]) for name, record in fresh_tensors.items()}, ties)
    assert model.repr() == fact["nets"][net]["print"]


@pytest.mark.parametrize(("net", "name"), [("plain", "mlp"), ("rgnet", "nested"), ("tied", "shared-mlp"), ("fancy", "fancy-mlp")])
def test_fresh_values_of_the_book(net, name):
    want = {key: record["sha256"] for key, record in facts()["fresh"][net].items()}
    assert {key: hashlib.sha256(value.numpy().tobytes()).hexdigest() for key, value in fresh(name, {}, 0)} == want


@pytest.mark.parametrize("net", ["nest", "chimera", "fancy_buffer"])
def test_print_of_the_books_other_networks(net):
    fact = facts()["nets"][net]
    make = {"nest": "NestMLP", "chimera": "chimera", "fancy_buffer": "FancyBufferMLP"}[net]
    with torch.device("meta"):
        shapes = shapes_of(globals()[make]())
    model = resolve_arch(f"{__file__}:{make}", shapes)
    assert model.repr() == fact["print"] and list(model.shapes) == fact["state_dict_keys"]
    assert not compare(model, shapes)


# what the user names

NET = """\
import functools
import torch
from torch import nn
import companion
print("loud")

class Net(nn.Module):
    def __init__(self, hidden=8, tied=False):
        super().__init__()
        self.register_buffer("scale", torch.ones(3))
        self.embed = nn.Embedding(5, hidden)
        self.head = nn.Linear(hidden, 5, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.embed(x))

def make(*sizes, **more):
    return Net(*sizes, **more)

def needs_values():
    return Net(hidden=int(torch.linspace(0, 8, 3)[-1].item()))

def broken():
    return Net(hidden="eight")

def quits():
    raise SystemExit(3)

def number():
    return 3

ready = nn.Linear(3, 2)

class Group:
    inner = Net
"""


@pytest.fixture
def user_file(tmp_path):
    (tmp_path / "companion.py").write_text("x = 1\n")
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path}/net.py"


@pytest.mark.parametrize(
    ("call", "hidden"),
    [("Net", 8), ("Net(3)", 3), ("make(hidden=16)", 16), ("make(16, tied=True)", 16), ("needs_values", 8), ("Group.inner", 8)],
)
def test_own_architectures(user_file, call, hidden, capsys):
    path = list(sys.path)
    model = resolve_arch(f"{user_file}:{call}", {})
    assert capsys.readouterr().out == ""
    assert sys.path == path
    assert model.shapes == {"scale": (3,), "embed.weight": (5, hidden), "head.weight": (5, hidden)}
    assert model.layers == {"": "Net", "embed": "Embedding", "head": "Linear"}
    assert model.buffers == {"scale"}
    assert model.repr() == str(model.module())
    assert not compare(model, model.shapes)


def test_own_architecture_of_a_package():
    model = resolve_arch("torch.nn:Linear(3, out_features=2)", {})
    assert model.shapes == {"weight": (2, 3), "bias": (2,)} and model.layers == {"": "Linear"}


def test_own_architecture_costs_no_memory(user_file):
    from ckpt_cli.architectures.user_module import on_meta

    built = []
    on_meta(lambda: built.append(nn.Linear(2, 2)) or built[0])
    assert built[0].weight.device.type == "meta"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("broken", "net.py:11: TypeError: "),
        ("quits", "net.py:29: SystemExit: 3"),
        ("make(5, 6, 7)", "net.py:20: TypeError: "),
        ("number", "gives int, not a torch.nn.Module"),
        ("functools", "gives module, not a torch.nn.Module"),
        ("nett", "has no nett (did you mean Net?)"),
        ("Net(", "cannot be read"),
        ("Net(hidden=open('x'))", "cannot be read"),
        ("Net(**{'hidden': 3})", "cannot be read"),
    ],
)
def test_errors_of_the_users_code_are_one_line(user_file, call, told):
    with pytest.raises(CkptError) as caught:
        resolve_arch(f"{user_file}:{call}", {})
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def net(:\n", "own.py:1: SyntaxError: "),
        ("x = 1\nimport no_such_thing\n", "own.py:2: ModuleNotFoundError: No module named 'no_such_thing'"),
    ],
)
def test_files_that_do_not_load(tmp_path, text, told):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(UserCodeError) as caught:
        resolve_arch(f"{tmp_path}/own.py:net", {})
    assert told in str(caught.value)


@pytest.mark.parametrize("spec", ["no_such_file.py:net", "no.such.module:net"])
def test_sources_that_are_not_there(spec):
    with pytest.raises(UserCodeError, match=r"no such file|No module named"):
        resolve_arch(spec, {})


def test_mismatches_are_listed(user_file):
    model = resolve_arch(f"{user_file}:Net", {"embed.weight": (5, 8), "head.weight": (5, 9), "tail.weight": (1,)})
    mismatch = compare(model, {"embed.weight": (5, 8), "head.weight": (5, 9), "tail.weight": (1,)})
    assert (mismatch.missing, mismatch.unexpected) == (("scale",), ("tail.weight",))
    assert mismatch.mismatched == (("head.weight", (5, 8), (5, 9)),)
    assert str(mismatch) == "missing scale; unexpected tail.weight; of another shape head.weight (5x9, not 5x8)"
    with pytest.raises(UsageError, match=r"does not hold .*net\.py:Net: missing scale; unexpected"):
        require_match(model, {"embed.weight": (5, 8), "head.weight": (5, 9), "tail.weight": (1,)})


def test_a_mismatch_keeps_to_its_line():
    model = resolve_arch("nested", {"a": (1,)})
    assert str(compare(model, {"a": (1,)})).startswith(
        "missing 0.block 0.0.weight, 0.block 0.0.bias, 0.block 0.2.weight and 15 more; unexpected a"
    )


def test_own_architectures_under_a_prefix(user_file):
    file = {"model.scale": (3,), "model.embed.weight": (5, 8), "model.head.weight": (5, 8), "optimizer.state.0.step": ()}
    model = resolve_arch(f"{user_file}:Net", file)
    assert model.prefix == "model." and not compare(model, file)
    assert compare(model, file | {"extra.weight": (2, 2)}).unexpected == ("extra.weight",)
    assert compare(model, {name: file[name] for name in list(file)[1:]}).missing == ("model.scale",)


def test_a_shared_tensor_written_once_is_not_missed(user_file):
    file = {"scale": (3,), "embed.weight": (5, 8)}
    assert not compare(resolve_arch(f"{user_file}:Net(tied=True)", file), file)
    assert compare(resolve_arch(f"{user_file}:Net(tied=False)", file), file).missing == ("head.weight",)


# names, hyperparameters, shapes


def test_get_by_name():
    shapes = shapes_of(nn.Sequential(*linears(4, 8, 1)))
    assert resolve_arch("auto", shapes).architecture == "mlp" and resolve_arch("none", shapes) is None
    assert resolve_arch("mlp", shapes).hyperparameters == {**SIZES, "activation": "relu"}
    assert not compare(resolve_arch("mlp(hidden=8)", shapes), shapes)
    assert compare(resolve_arch("mlp(hidden=9)", shapes), shapes).mismatched
    assert resolve_arch("mlp(inputs=3)", shapes).hyperparameters["inputs"] == 3
    with pytest.raises(UnknownName, match=r"did you mean (\w+, )*mlp"):
        resolve_arch("mpl", shapes)
    with pytest.raises(UsageError, match="by name"):
        resolve_arch("mlp(4)", shapes)
    with pytest.raises(UsageError, match=r"write net\.py:CALLABLE"):
        resolve_arch("net.py", shapes)


@pytest.mark.parametrize(
    ("pairs", "values"),
    [
        (["hidden=16"], {"hidden": 16}),
        (["hidden=8,16", "activation=tanh"], {"hidden": (8, 16), "activation": "tanh"}),
        (["hidden=[8, 16]"], {"hidden": (8, 16)}),
        (["hidden=16,"], {"hidden": 16}),
        (["hidden=none"], {"hidden": ()}),
        ([], {}),
    ],
)
def test_hyperparameters_are_read(pairs, values):
    assert checked(architectures["mlp"], parse_pairs(pairs)) == values
    again = parse_pairs(shown_all(values).split(", ")) if values else {}
    assert checked(architectures["mlp"], again) == values


@pytest.mark.parametrize("text", ["true", "True", "1", "yes"])
def test_truths_are_read(text):
    assert checked(architectures["fancy-mlp"], parse_pairs([f"buffer={text}"])) == {"buffer": True}


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("hiden=8", "did you mean hidden?"),
        ("hidden", "write KEY=VALUE"),
        ("=8", "write KEY=VALUE"),
        ("inputs=0", "whole number"),
        ("inputs=-1", "whole number"),
        ("inputs=4.5", "whole number"),
        ("inputs=True", "whole number"),
        ("inputs=1,2", "whole number"),
        ("inputs=__import__('os')", "whole number"),
        ("hidden=8,0", "or several as in 8,16"),
        ("hidden=", "or several as in 8,16"),
        ("activation=3", "a word"),
        ("activation=rleu", "one of relu"),
    ],
)
def test_hyperparameters_that_make_no_sense(pair, told):
    with pytest.raises(CkptError, match=told.replace("?", r"\?")):
        fresh("mlp", parse_pairs([pair]), 0)


def test_too_big_a_model_is_an_error_of_ours():
    with pytest.raises(UsageError, match="cannot be built"):
        fresh("mlp", {"inputs": 2**31 - 1, "hidden": 2**31 - 1}, 0)


def test_every_architecture_is_documented():
    for name, architecture in architectures.items():
        assert architecture.name == name and architecture.title
        assert all(each.meaning for each in schema(architecture).values())
        assert checked(architecture, {key: each.default for key, each in schema(architecture).items()})


def test_calls_are_read():
    assert parse_call("make(1, 'a', hidden=[2, 3])") == ("make", [1, "a"], {"hidden": [2, 3]})
    assert parse_call("make") == ("make", [], {}) == parse_call("make()")
    for text in ("make(1", "make(f())", "make(1)(2)", "make(x)", "make(1) + 1", "make(1))"):
        with pytest.raises(UsageError):
            parse_call(text)


def test_output_shapes(user_file):
    mlp = found(nn.Sequential(*linears(4, 8, 1)))
    assert output_shapes(mlp, (2, 4)) == {"0": (2, 8), "1": (2, 8), "2": (2, 1), "": (2, 1)}
    assert output_shapes(found(shared()), (3, 4))["4"] == (3, 8)
    assert output_shapes(found(FancyMLP()), (2, 20)) == {"linear": (2, 20), "": ()}
    assert output_shapes(resolve_arch(f"{user_file}:Net", {}), (2, 7)) == {"embed": (2, 7, 8), "head": (2, 7, 5), "": (2, 7, 5)}
    with pytest.raises(UsageError, match="input of 2x5: RuntimeError"):
        output_shapes(mlp, (2, 5))


def test_shapes_are_read():
    assert parse_shape("2x4") == (2, 4) and parse_shape("7") == (7,)
    for text in ("", "2x", "x", "-1x2", "2*4", "²x2", "9" * 30):
        with pytest.raises(UsageError):
            parse_shape(text)


def test_recognition_imports_neither_torch_nor_numpy():
    program = (
        "import sys; from ckpt_cli.architectures.recognition import recognise\n"
        f"for shapes, ties in {[(shapes_of(module), ties_of(module)) for _, module, _ in MEMBERS]!r}:\n"
        "    model = recognise(shapes, ties); assert model and model.repr() and model.layers\n"
        "assert not {'torch', 'numpy', 'rich', 'typer'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_a_very_large_file_is_dismissed_at_once():
    from time import process_time

    names = {f"model.layers.{k}.mlp.{leaf}": (8, 8) for k in range(30_000) for leaf in ("weight", "bias")}
    flat = {f"part{k}.weight": (8, 8) for k in range(30_000)}
    begin = process_time()
    assert recognise(names) is None and recognise(flat) is None
    assert process_time() - begin < 3
