"""Which layer of one framework is which of another: names decide, and what they leave open is refused.

Right answers are the files of the reports, and networks whose layers are filled with numbers of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest
import torch
from conftest import Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ndarrays import array, listed
from oracles import all_bits, loaded

State = dict[str, torch.Tensor]
Case = Callable[[str], Path]


def written(folder: Path, name: str, state: State) -> Path:
    path = folder / f"{name}.pt"
    torch.save({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


# The reports


@pytest.mark.parametrize(
    ("options", "right"), [(("--drop", "global_step"), "right.pt"), (("--select", "bert/encoder/*"), "right_encoder.pt"), ((), "right.pt")]
)
def test_bert_of_tensorflow_1_is_that_of_torch(options: tuple[str, ...], right: str, case: Case, tmp_path: Path, ckpt: Ckpt) -> None:
    folder, out = case("reports/bert-tf1"), tmp_path / "out.pt"
    ckpt(
        "convert", folder / "bert_model.ckpt", out, *options, "--drop", "*/adam_?", "--map", "tensorflow-to-torch", "--like", folder / right
    )
    assert all_bits(loaded(out)) == all_bits(loaded(folder / right))
    assert list(loaded(out)) == list(loaded(folder / right))


@pytest.mark.parametrize(("one", "two"), [("tensorflow", "torch"), ("torch", "tensorflow")])
def test_bert_is_the_same_in_either_direction(one: str, two: str, case: Case, ckpt: Ckpt) -> None:
    paths = {"tensorflow": case("reports/bert-tf1/bert_model.ckpt"), "torch": case("reports/bert-tf1/right.pt")}
    assert ckpt("diff", paths[one], paths[two], "--map", f"{one}-to-{two}").out == ""


def test_patterns_with_a_map_pick_names_of_either_side(case: Case, tmp_path: Path, ckpt: Ckpt) -> None:
    there = loaded(case("reports/bert-tf1/right.pt"))
    there["bert.encoder.layer.1.attention.self.key.weight"][0, 1] += 1
    there["bert.pooler.dense.bias"][3] += 1
    a, b = case("reports/bert-tf1/bert_model.ckpt"), written(tmp_path, "b", there)

    def changed(*patterns: str) -> list[str]:
        found = ckpt("diff", a, b, *patterns, "--map", "tensorflow-to-torch", status=None)
        assert found.status == bool(found.rows)
        return [row[1] for row in found.rows]

    key, bias = "bert.encoder.layer.1.attention.self.key.weight", "bert.pooler.dense.bias"
    assert changed() == [key, bias]
    assert changed("bert/encoder/layer_1/attention/self/key/kernel") == changed("*layer_1/*") == changed("*.key.*") == [key]
    assert changed("*/bias") == changed("*.bias") == [bias]
    assert changed("*", "!*/kernel") == changed("!*.weight", "!*/gamma") == [bias]
    assert changed("!*/bias") == changed("*", "!*.bias") == [key]
    assert "nothing matches 'no'" in ckpt("diff", a, b, "no", "--map", "tensorflow-to-torch", status=2).err
    assert "nothing matches" in ckpt("diff", a, b, "global_step", "--map", "tensorflow-to-torch", status=2).err


def test_patterns_pick_old_names_after_a_renaming(tmp_path: Path, ckpt: Ckpt) -> None:
    a, b = (
        written(tmp_path, "a", {"m.x": torch.ones(2), "m.y": torch.ones(2)}),
        written(tmp_path, "b", {"x": torch.zeros(2), "y": torch.ones(2)}),
    )
    assert [row[1] for row in ckpt("diff", a, b, "m.x", "--map", "m.*=*", status=1).rows] == ["x"]
    assert ckpt("diff", a, b, "m.y", "--map", "m.*=*").out == ""


def test_what_is_not_compared_is_listed_in_one_order(case: Case) -> None:
    command = [sys.executable, "-m", "ckpt_cli", "diff", case("reports/bert-tf1/right.pt"), case("reports/bert-tf1/bert_model.ckpt")]
    said = {
        subprocess.run(
            [*command, "--map", "torch-to-tensorflow"], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stderr
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(said) == 1


# Names of one network in several styles

LAYERS = ["query", "key", "value", "output"]


def bert(style: Callable[[int, str], str], weight: str, bias: str, transposed: bool, order: list[int]) -> State:
    """Dense layers of 4x4, the k-th full of k: as a framework's file names, lays out and sorts them."""
    state: State = {}
    for k in order:
        name = style(k // 4, LAYERS[k % 4])
        values = torch.arange(16.0).view(4, 4) + 100 * k
        state |= {f"{name}{weight}": values.T if transposed else values, f"{name}{bias}": torch.full((4,), float(k))}
    return state


def long(n: int, word: str) -> str:
    return f"bert/encoder/layer_{n}/attention/{'output/dense' if word == 'output' else f'self/{word}'}"


STYLES: dict[str, tuple[Callable[[int, str], str], str, str, bool]] = {
    "tensorflow": (long, "/kernel", "/bias", True),
    "torch": (lambda n, word: long(n, word).replace("layer_", "layer.").replace("/", "."), ".weight", ".bias", False),
    "keras": (lambda n, word: f"model_weights/layer_{n}_{word}/layer_{n}_{word}", "/kernel:0", "/bias:0", True),
    "mxnet": (lambda n, word: f"encoder.{n}.attention.{word}", ".weight", ".bias", False),
    "flax": (lambda n, word: f"params.encoder.layers_{n}.attn.{word}", ".kernel", ".bias", True),
    "paddle": (
        lambda n, word: f"encoder.layers.{n}.attn.{word[0] + '_proj' if word != 'output' else 'out_proj'}",
        ".weight",
        ".bias",
        True,
    ),
}


@pytest.mark.parametrize("two", STYLES)
@pytest.mark.parametrize("one", STYLES)
def test_layers_of_one_size_are_told_by_their_names_whatever_their_order(one: str, two: str, tmp_path: Path, ckpt: Ckpt) -> None:
    if one == two:
        return
    a = written(tmp_path, "a", bert(*STYLES[one], order=list(range(12))))
    b = written(tmp_path, "b", bert(*STYLES[two], order=[7, 0, 3, 11, 10, 2, 1, 9, 8, 4, 6, 5]))
    out = tmp_path / "out.pt"
    ckpt("convert", a, out, "--map", f"{one}-to-{two}", "--like", b)
    assert all_bits(loaded(out)) == all_bits(loaded(b))
    assert list(loaded(out)) == list(loaded(b))
    assert ckpt("diff", a, b, "--map", f"{one}-to-{two}").out == ""


WORDS = ["query", "key", "value", "output", "gate", "up", "down", "transform", "pooler", "classifier", "stem", "mixer", "dense", "dense_1",
         "fc1", "fc2", "0", "1", "2", "proj", "q", "k", "v", "encoder.fc", "decoder.fc"]  # fmt: skip
MEANING = {"q": "query", "k": "key", "v": "value"}


@settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_layers_with_names_are_paired_right_or_not_at_all(tmp_path: Path, ckpt: Ckpt, data: st.DataObject) -> None:
    """Names of any kind on either side: no tensor whose word has a partner becomes another one."""
    names = [
        data.draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4, unique_by=lambda word: MEANING.get(word, word)))
        for _ in range(2)
    ]
    here = {f"top/{name.replace('.', '/')}/kernel": torch.full((3, 3), float(WORDS.index(MEANING.get(name, name)))) for name in names[0]}
    there = {f"net.{name}.weight": torch.full((3, 3), float(WORDS.index(MEANING.get(name, name)))) for name in names[1]}
    a, b, out = written(tmp_path, "a", here), written(tmp_path, "b", there), tmp_path / "out.pt"
    found = ckpt("convert", a, out, "--map", "tensorflow-to-torch", "--like", b, "--force", status=None)
    if found.status:
        assert found.status == 2
        return
    spoken = {MEANING.get(name, name) for name in names[0]} & {MEANING.get(name, name) for name in names[1]} - {"0", "1", "2"}
    for name, tensor in loaded(out).items():
        word = MEANING.get(name[4:-7], name[4:-7])
        if word in spoken:
            assert torch.equal(tensor, there[name]), names


OPEN: dict[str, tuple[list[str], list[str]]] = {
    "numbers here, words there": (["dense", "dense_1", "dense_2"], ["query", "key", "value"]),
    "words here, numbers there": (["query", "key", "value"], ["0", "1", "2"]),
    "more there": (["dense", "dense_1"], ["0", "2", "4"]),
    "more here": (["dense", "dense_1", "dense_2"], ["0", "2"]),
    "two branches": (["conv", "conv_1", "conv_2"], ["layer1.0.conv1", "layer1.0.conv2", "layer1.0.downsample.0"]),
    "a head of another kind": (["bert/pooler", "bert/transform"], ["bert.pooler", "bert.classifier"]),
    "other words": (["alpha", "beta_"], ["gamma_", "delta"]),
}


@pytest.mark.parametrize("kind", OPEN)
def test_what_names_leave_open_is_refused_and_listed(kind: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """`convert`, `diff` and a recipe alike; `--rest` does not choose either."""
    here = {f"{name}/kernel": torch.rand(4, 4) for name in OPEN[kind][0]}
    there = {f"{name}.weight": torch.rand(4, 4) for name in OPEN[kind][1]}
    a, b, out, recipe = written(tmp_path, "a", here), written(tmp_path, "b", there), tmp_path / "out.pt", tmp_path / "r.toml"
    recipe.write_text(f'[[step]]\nmap = "tensorflow-to-torch"\nlike = "{b}"\n')
    commands = [("convert", a, out, "--like", b), ("convert", a, out, "--like", b, "--rest", "drop"), ("diff", a, b)]
    for command in (*((*each, "--map", "tensorflow-to-torch") for each in commands), ("apply", a, recipe, "-o", out)):
        said = ckpt(*command, status=2).err
        assert "neither names nor sizes decide" in said and "--map RULES.toml" in said
        assert f"{OPEN[kind][1][-1]}.weight" in said and f"{OPEN[kind][0][-1]}/kernel" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("groups", "more"), [(1, ""), (2, ", and so for 1 more group of layers"), (3, ", and so for 2 more groups of layers")]
)
def test_groups_that_are_open_are_counted(groups: int, more: str, tmp_path: Path, ckpt: Ckpt) -> None:
    sizes = range(2, 2 + groups)
    a = written(tmp_path, "a", {f"{name}{n}/kernel": torch.ones(n, n) for n in sizes for name in ("ax", "bx")})
    b = written(tmp_path, "b", {f"{name}{n}.weight": torch.ones(n, n) for n in sizes for name in ("cy", "dy")})
    said = ckpt("diff", a, b, "--map", "tensorflow-to-torch", status=2).err
    assert f"neither names nor sizes decide{more} (say which by rules" in said


def test_a_long_list_of_what_is_open_is_cut(tmp_path: Path, ckpt: Ckpt) -> None:
    a = written(tmp_path, "a", {f"{chr(97 + k)}x/kernel": torch.ones(2, 2) for k in range(14)})
    b = written(tmp_path, "b", {f"{chr(97 + k)}y.weight": torch.ones(2, 2) for k in range(14)})
    said = ckpt("diff", a, b, "--map", "tensorflow-to-torch", status=2).err
    assert "ix/kernel, jx/kernel and 4 more could each become" in said and "and 4 more: neither" in said


def test_a_query_does_not_become_a_key_though_nothing_else_is_there(tmp_path: Path, ckpt: Ckpt) -> None:
    a, b = written(tmp_path, "a", {"query/kernel": torch.ones(2, 2)}), written(tmp_path, "b", {"key.weight": torch.ones(2, 2)})
    assert "no place for query/kernel" in ckpt("convert", a, tmp_path / "o.pt", "--map", "tensorflow-to-torch", "--like", b, status=2).err


def test_an_embedding_and_a_layer_without_bias_are_not_exchanged(tmp_path: Path, ckpt: Ckpt) -> None:
    """Both are 4x4, and one is transposed, the other not."""
    table, kernel = torch.arange(16.0).view(4, 4), torch.arange(16.0).view(4, 4) + 50
    a = written(tmp_path, "a", {"tokens/embeddings": table, "head/kernel": kernel})
    out = tmp_path / "out.pt"
    b = written(tmp_path, "b", {"head.weight": torch.zeros(4, 4), "tokens.weight": torch.zeros(4, 4)})
    ckpt("convert", a, out, "--map", "tensorflow-to-torch", "--like", b)
    assert torch.equal(loaded(out)["head.weight"], kernel.T) and torch.equal(loaded(out)["tokens.weight"], table)
    b = written(tmp_path, "b", {"one.weight": torch.zeros(4, 4), "two.weight": torch.zeros(4, 4)})
    assert "neither names" in ckpt("convert", a, out, "--map", "tensorflow-to-torch", "--like", b, "--force", status=2).err


def test_a_weight_that_may_be_an_embedding_is_told_where_nothing_says_it(tmp_path: Path, ckpt: Ckpt) -> None:
    a = written(tmp_path, "a", {"some.weight": torch.ones(4, 3), "fc.weight": torch.ones(3, 4), "fc.bias": torch.ones(3)})
    said = ckpt("convert", a, tmp_path / "out.safetensors", "--map", "torch-to-keras").err
    assert "taken for dense by shape alone, not embedding: some.weight" in said and "fc.weight" not in said


# MXNet


SHAPES = {"arg:bn_gamma": (3,), "arg:bn_beta": (3,), "aux:bn_moving_mean": (3,), "aux:bn_moving_var": (3,), "arg:my_fc_weight": (2, 3)}
NORM = ["bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var"]
Node = tuple[str, str, list[str], dict[str, object]]


def module(folder: Path, *nodes: Node, attributes: str = "attrs") -> Path:
    """What MXNet's Module saves: arrays, of which the k-th is full of k + 2, and a graph of layers that take variables."""
    arrays = [array(pack("<f", k + 2) * torch.Size(shape).numel(), *shape) for k, shape in enumerate(SHAPES.values())]
    (folder / "net-0003.params").write_bytes(listed(*arrays, names=tuple(SHAPES)))
    graph: list[dict[str, object]] = [{"op": "null", "name": "data", "inputs": []}]
    for op, name, variables, facts in nodes:
        before = len(graph) - 1
        graph += [{"op": "null", "name": variable, "inputs": []} for variable in variables]
        inputs = [[before, 0, 0], *([before + 1 + k, 0, 0] for k in range(len(variables)))]
        graph.append({"op": op, "name": name, "inputs": inputs, attributes: facts})
    if nodes:
        (folder / "net-symbol.json").write_text(json.dumps({"nodes": graph, "heads": [[len(graph) - 1, 0, 0]]}))
    return folder / "net-0003.params"


FC: Node = ("FullyConnected", "my_fc", ["my_fc_weight"], {"num_hidden": "2", "no_bias": "True"})


@pytest.mark.parametrize("like", [True, False], ids=["like", "new names"])
def test_a_module_of_mxnet_with_a_fixed_gamma(like: bool, case: Case, tmp_path: Path, ckpt: Ckpt) -> None:
    folder, out = case("reports/mxnet-fix-gamma"), tmp_path / "out.pt"
    said = ckpt(
        "convert", folder / "net-0000.params", out, "--map", "mxnet-to-torch", *(("--like", folder / "right.pt") if like else ())
    ).err
    assert all_bits(loaded(out)) == all_bits(loaded(folder / "right.pt"))
    assert said == "ckpt: arg:bn0_gamma counts as 1, as the graph beside it says\n"
    ckpt("diff", folder / "net-0000.params", folder / "right.pt", "--map", "mxnet-to-torch")


@pytest.mark.parametrize("attributes", ["attrs", "attr", "param"])
@pytest.mark.parametrize(("fixed", "gamma"), [("True", 1), ("1", 1), (None, 1), ("False", 2), ("0", 2)])
@pytest.mark.parametrize("op", ["BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm", "LayerNorm"])
def test_fix_gamma_is_on_where_nothing_says_otherwise(
    op: str, fixed: str | None, gamma: float, attributes: str, tmp_path: Path, ckpt: Ckpt
) -> None:
    facts: dict[str, object] = {"eps": "1e-5"} | ({"fix_gamma": fixed} if fixed else {})
    path = module(tmp_path, (op, "bn", NORM, facts), FC, attributes=attributes)
    ckpt("convert", path, tmp_path / "out.pt", "--map", "mxnet-to-torch")
    found = loaded(tmp_path / "out.pt")
    assert torch.equal(found["bn.weight"], torch.full((3,), float(2 if op == "LayerNorm" else gamma)))
    assert torch.equal(found["bn.running_var"], torch.full((3,), 5.0)) and torch.equal(found["my_fc.weight"], torch.full((2, 3), 6.0))


def test_a_gamma_that_another_layer_takes_too_keeps_its_values(tmp_path: Path, ckpt: Ckpt) -> None:
    path = module(tmp_path, ("BatchNorm", "bn", NORM, {}), FC)
    graph = json.loads((tmp_path / "net-symbol.json").read_text())
    graph["nodes"].append({"op": "elemwise_mul", "name": "scaled", "inputs": [[len(graph["nodes"]) - 1, 0, 0], [1, 0, 0]]})
    (tmp_path / "net-symbol.json").write_text(json.dumps(graph))
    ckpt("convert", path, tmp_path / "out.pt", "--map", "mxnet-to-torch")
    assert torch.equal(loaded(tmp_path / "out.pt")["bn.weight"], torch.full((3,), 2.0))


@pytest.mark.parametrize("facts", [{"fix_gamma": True}, {"fix_gamma": ["x"]}, "text", None, 3], ids=str)
def test_a_graph_with_odd_attributes_is_an_answer(facts: object, tmp_path: Path, ckpt: Ckpt) -> None:
    path = module(tmp_path, ("BatchNorm", "bn", NORM, facts), FC)  # type: ignore[arg-type]
    ckpt("convert", path, tmp_path / "out.pt", "--map", "mxnet-to-torch")


def test_without_a_graph_it_is_told_that_nothing_says_it(tmp_path: Path, ckpt: Ckpt) -> None:
    said = ckpt("convert", module(tmp_path), tmp_path / "out.pt", "--map", "mxnet-to-torch").err
    assert "no graph beside the file says whether arg:bn_gamma counts as 1" in said
    assert torch.equal(loaded(tmp_path / "out.pt")["bn.weight"], torch.full((3,), 2.0))


def test_fix_gamma_counts_after_a_selection_and_a_renaming(tmp_path: Path, ckpt: Ckpt) -> None:
    path, recipe = module(tmp_path, ("BatchNorm", "bn", NORM, {}), FC), tmp_path / "r.toml"
    recipe.write_text('[[step]]\ndrop = ["*fc*"]\n[[step]]\nrename = ["*bn_*=*norm7_*"]\n[[step]]\nmap = "mxnet-to-torch"\n')
    ckpt("apply", path, recipe, "-o", tmp_path / "out.pt")
    assert torch.equal(loaded(tmp_path / "out.pt")["norm7.weight"], torch.ones(3))
