"""`ckpt summary`, `ckpt archs` and `ckpt new`, through the command line, on files that torch wrote and torch reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ckpt_cli.cli import main

ROOT = Path(__file__).parent.parent
CASES = Path(os.environ.get("CKPT_CASES", ROOT.parent / "shared" / "cases"))


class Net(nn.Module):
    """A network that no family has: a convolution, statistics, tied weights, a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6))
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)

    def forward(self, x):
        return self.second(self.first(self.stem(x).mean((2, 3))))


def shared() -> nn.Sequential:
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 1))


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def deeper() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 1))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command line in an empty folder: status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(list(words))
        return (status, *capsys.readouterr())

    return run


def records(text: str, kind: str) -> list[list[str]]:
    lines = [line.split("\t") for line in text.splitlines()]
    return [line[1:] for line in lines if line[0] == kind]


def one(text: str, kind: str) -> list[str]:
    (fields,) = records(text, kind)
    return fields


def test_a_recognised_network(run):
    torch.save(plain().state_dict(), "mlp.pt")
    status, out, err = run("summary", "mlp.pt")
    assert (status, err) == (0, "")
    assert one(out, "path") == ["mlp.pt"]
    assert one(out, "bytes") == [str(os.path.getsize("mlp.pt"))]
    assert one(out, "architecture") == ["mlp", ""]
    assert dict(records(out, "hyperparameter")) == {"inputs": "4", "hidden": "8", "outputs": "1", "activation": "relu"}
    assert records(out, "assumed") == [["activation", "relu"]]
    assert records(out, "layer") == [
        ["", "Sequential", "0", "0", "", ""],
        ["0", "Linear", "40", "0", "", ""],
        ["1", "ReLU", "0", "0", "", ""],
        ["2", "Linear", "9", "0", "", ""],
    ]
    assert [one(out, kind) for kind in ("tensors", "tied", "params", "trainable", "buffers")] == [["4"], ["0"], ["49"], ["49"], ["0"]]
    assert one(out, "dtype") == ["float32", "49"]


def test_what_is_tied_is_counted_once(run):
    torch.save(shared().state_dict(), "tied.pt")
    _, out, _ = run("summary", "tied.pt")
    assert one(out, "architecture")[0] == "shared-mlp"
    assert one(out, "params") == ["121"]
    assert one(out, "tied") == ["2"]
    assert ["4", "Linear", "0", "0", "2", ""] in records(out, "layer")
    assert sum(int(fields[2]) for fields in records(out, "layer")) == 121


@pytest.mark.parametrize("make", [plain, shared])
def test_repr_is_what_torch_prints(run, make):
    net = make()
    torch.save({"epoch": 1, "model": net.state_dict()}, "net.pt")
    status, out, err = run("summary", "--repr", "net.pt")
    assert (status, out) == (0, f"{net}\n")
    assert ("activation=relu" in err) == (make is plain)
    assert json.loads(run("summary", "--repr", "--json", "net.pt")[1]) == {"repr": str(net)}


def test_repr_of_a_pickled_module(run):
    torch.save(nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 1)), "net.pt")
    _, out, err = run("summary", "--repr", "net.pt")
    assert out == "Sequential(\n  (0): Linear(in_features=4, out_features=8, bias=True)\n  (1): Sigmoid()\n" + (
        "  (2): Linear(in_features=8, out_features=1, bias=True)\n)\n"
    )
    assert err.startswith("ckpt: the file names code: torch.nn.modules") and err.count("\n") == 1
    torch.save(nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Sequential(nn.BatchNorm2d(2))), "net.pt")
    _, out, err = run("summary", "--repr", "net.pt")
    assert out == "Sequential(\n  (0): Conv2d(...)\n  (1): Sequential(\n    (0): BatchNorm2d(...)\n  )\n)\n"
    assert "is not known from the file" in err


def test_repr_of_what_is_not_known(run):
    torch.save(Net().state_dict(), "net.pt")
    status, out, err = run("summary", "--repr", "net.pt")
    assert (status, out) == (2, "")
    assert err.startswith("ckpt: error: ")
    assert "name it with --arch" in err
    assert err.count("\n") == 1


def test_a_network_that_no_family_has(run):
    torch.save(Net().state_dict(), "net.pt")
    _, out, _ = run("summary", "net.pt")
    assert not records(out, "architecture")
    assert not records(out, "trainable")
    layers = {fields[0]: fields[1:5] for fields in records(out, "layer")}
    assert list(layers) == ["stem", "stem.0", "stem.1", "first", "second"]
    assert layers["stem.1"] == ["", "12", "13", ""]
    assert layers["second"] == ["", "6", "0", "first"]
    assert (one(out, "params"), one(out, "buffers"), one(out, "tied")) == (["222"], ["13"], ["1"])
    assert dict(records(out, "dtype")) == {"float32": "234", "int64": "1"}


def test_buffers_that_the_architecture_tells(run):
    run("new", "fancy-mlp", "buffer=true", "-o", "fancy.pt")
    _, out, _ = run("summary", "fancy.pt")
    assert (one(out, "params"), one(out, "buffers")) == (["420"], ["400"])
    assert records(out, "layer") == [["", "FancyMLP", "0", "400", "", ""], ["linear", "Linear", "420", "0", "", ""]]


def test_the_users_own_architecture(run):
    torch.save({"state_dict": Net().state_dict()}, "net.pt")
    status, out, err = run("summary", "net.pt", "--arch", f"{__file__}:Net", "--input", "2x3x8x8")
    assert (status, err) == (0, "")
    layers = {fields[0]: fields[1:] for fields in records(out, "layer")}
    assert layers["state_dict"] == ["Net", "0", "0", "", "2x6"]
    assert layers["state_dict.stem.0"] == ["Conv2d", "162", "0", "", "2x6x6x6"]
    assert layers["state_dict.second"] == ["Linear", "6", "0", "state_dict.first", "2x6"]
    assert (one(out, "params"), one(out, "trainable"), one(out, "buffers")) == (["222"], ["216"], ["13"])
    _, out, _ = run("summary", "net.pt", "--arch", f"{__file__}:Net", "--repr")
    assert out == f"{Net()}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--arch", "nested"], "does not hold nested(inputs=4, hidden=8, blocks=4, outputs=1): missing 0.block 0.0.weight, "),
        (["--arch", "mlp(hidden=9)"], "of another shape 0.weight (8x4, not 9x4), 0.bias (8, not 9), 2.weight (1x8, not 1x9)"),
        (["--arch", f"{__file__}:Net"], "missing stem.0.weight, stem.1.weight, stem.1.bias and "),
        (["--arch", f"{__file__}:Nut"], "did you mean Net"),
        (["--arch", "mlpp"], "did you mean mlp"),
        (["--arch", "none", "--input", "2x4"], "--input needs a known architecture"),
        (["--arch", "none", "--repr"], "no architecture"),
        (["--input", "2x5"], "does not take an input of 2x5"),
        (["--input", "two"], "write it as 2x4"),
        (["--depth", "-1"], "--depth"),
    ],
)
def test_errors_are_one_line(run, words, told):
    torch.save(plain().state_dict(), "mlp.pt")
    status, out, err = run("summary", "mlp.pt", *words)
    assert (status, out) == (2, "")
    assert err.startswith("ckpt: error: ")
    assert told in err
    assert err.count("\n") == 1


def test_said_by_the_user_nothing_is_assumed(run):
    torch.save(plain().state_dict(), "mlp.pt")
    status, out, err = run("summary", "mlp.pt", "--arch", "mlp(activation='tanh')", "--repr")
    assert (status, err) == (0, "")
    assert "(1): Tanh()" in out


def test_none_takes_the_tree_of_the_names(run):
    torch.save(plain().state_dict(), "mlp.pt")
    _, out, _ = run("summary", "mlp.pt", "--arch", "none")
    assert [fields[:3] for fields in records(out, "layer")] == [["0", "", "40"], ["2", "", "9"]]


def test_a_training_checkpoint(run):
    net = plain()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, "model": net.state_dict(), "optimizer": optimizer.state_dict(), "note": "a\tb\nc"}, "train.ckpt")
    _, out, _ = run("summary", "train.ckpt")
    assert one(out, "architecture") == ["mlp", "model"]
    assert one(out, "params") == ["49"]
    assert one(out, "besides")[:3] == ["optimizer", "12", "102"]
    objects = dict(records(out, "object"))
    assert objects["epoch"] == "3"
    assert objects["note"] == "a\\tb\\nc"
    assert objects["optimizer"].endswith(" values")
    _, out, _ = run("summary", "train.ckpt", "--arch", "none")
    assert one(out, "params") == ["49"]


def test_an_average_of_the_weights_is_not_counted_twice(run):
    state = plain().state_dict()
    torch.save({"ema": dict(state), "model": state}, "train.pt")
    _, out, _ = run("summary", "train.pt")
    assert (one(out, "params"), one(out, "tied")) == (["49"], ["0"])
    assert one(out, "besides") == ["ema", "4", "0", "0"]


def test_depth_folds_what_lies_below(run):
    run("new", "nested", "-o", "nested.pt")
    expected = {0: ["309"], 1: ["0", "304", "5"], 2: ["0", "0", "76", "76", "76", "76", "5"]}
    for depth, params in expected.items():
        _, out, _ = run("summary", "nested.pt", "--depth", str(depth))
        assert [fields[2] for fields in records(out, "layer")] == params
        assert one(out, "params") == ["309"]


def test_depth_counts_from_the_model(run):
    torch.save({"model": plain().state_dict(), "epoch": 1}, "train.pt")
    _, out, _ = run("summary", "train.pt", "--depth", "0")
    assert [fields[:3] for fields in records(out, "layer")] == [["model", "Sequential", "49"]]
    _, out, _ = run("summary", "train.pt", "--depth", "1")
    assert [fields[0] for fields in records(out, "layer")] == ["model", "model.0", "model.1", "model.2"]


def test_json(run):
    torch.save({"model": shared().state_dict(), "best": float("inf"), "epoch": 2}, "net.pt")
    _, out, _ = run("summary", "net.pt", "--json", "--input", "5x4")
    document = json.loads(out)
    assert list(document) == [
        *("path", "format", "bytes", "architecture", "layers", "tensors", "tied", "params", "trainable", "buffers"),
        *("data_bytes", "dtypes", "besides", "objects", "metadata", "packed", "averages", "config", "contradictions"),
    ]
    sizes = {"inputs": 4, "hidden": 8, "outputs": 1, "repeats": 2}
    assert document["architecture"] == {"name": "shared-mlp", "hyperparameters": sizes, "prefix": "model.", "assumed": {}}
    assert document["layers"][5] == {"path": "model.4", "type": "Linear", "params": 0, "buffers": 0, "tied_to": "model.2", "output": [5, 8]}
    assert document["objects"] == {"best": "Infinity", "epoch": 2}
    assert (document["params"], document["data_bytes"], document["dtypes"]) == (121, 484, {"float32": 121})
    assert json.loads(run("summary", "net.pt", "--json", "--arch", "none")[1])["architecture"] is None


def test_on_a_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    torch.save(shared().state_dict(), "tied.pt")
    _, out, _ = run("summary", "tied.pt", "--color", "always", "--input", "2x4")
    assert "shared-mlp(inputs=4, hidden=8, outputs=1, repeats=2)" in out
    assert "├── 4" in out
    assert "└── 6" in out
    assert "121 parameters (121 trainable)" in out
    assert "2 of them tied to others and counted once" in out


def test_guides_of_a_deep_tree(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    run("new", "nested", "blocks=2", "-o", "nested.pt")
    _, out, _ = run("summary", "nested.pt", "--color", "always")
    for drawn in ("├── 0", "│   ├── block 0", "│   │   └── 3", "│   └── block 1", "│       └── 3", "└── 1"):
        assert drawn in out


def test_a_hostile_name_stays_in_its_line(run):
    torch.save({"a\x1b[2J\nb.weight": torch.ones(2, 3), "a\\.b.c": torch.ones(1), "": torch.ones(1)}, "net.pt")
    for words in ([], ["--color", "always"]):
        status, out, _ = run("summary", "net.pt", *words)
        assert status == 0
        assert "\x1b[2J" not in out
        assert "a\\x1b[2J\\nb" in out


def test_an_absurdly_deep_name(run):
    torch.save({".".join("x" * 200_000): torch.ones(3), "y.weight": torch.ones(1)}, "deep.pt")
    status, out, _ = run("summary", "deep.pt")
    assert status == 0
    assert one(out, "params") == ["4"]
    assert len(records(out, "layer")) == 101


def test_an_empty_checkpoint(run):
    torch.save({"epoch": 3}, "empty.pt")
    for words in ([], ["--color", "always"], ["--json"], ["--depth", "0"]):
        status, out, _ = run("summary", "empty.pt", *words)
        assert status == 0
        assert "epoch" in out


def test_summary_imports_neither_torch_nor_numpy_nor_rich(tmp_path):
    for name, thing in {"a.pt": shared().state_dict(), "b.pt": Net().state_dict(), "c.pt": nn.Sequential(nn.Linear(2, 2))}.items():
        torch.save(thing, tmp_path / name)
        program = (
            "import sys; from ckpt_cli.cli import main\n"
            f"assert main(['summary', {str(tmp_path / name)!r}]) == 0\n"
            "assert not {'torch', 'numpy', 'rich'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


CHECKPOINTS = sorted(
    str(path.relative_to(CASES)) for folder in ("torch", "safetensors", "lightning") for path in CASES.glob(f"{folder}/*.*")
)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_files_of_other_programs(run, name):
    if run("ls", str(CASES / name))[0]:
        pytest.skip("not read yet")
    listed = json.loads(run("ls", str(CASES / name), "--json")[1])
    status, out, _ = run("summary", str(CASES / name), "--json")
    assert status == 0
    document = json.loads(out)
    if not document["packed"]:
        assert document["tensors"] + sum(part["tensors"] for part in document["besides"].values()) == len(listed["tensors"])
        assert document["params"] + document["buffers"] + sum(part["elements"] for part in document["besides"].values()) == listed["params"]
    assert document["params"] == sum(layer["params"] for layer in document["layers"])
    assert document["buffers"] == sum(layer["buffers"] for layer in document["layers"])


# ckpt archs, ckpt new


def test_archs(run):
    _, out, _ = run("archs")
    lines = [line.split("\t") for line in out.splitlines()]
    assert {"mlp", "nested", "shared-mlp", "fancy-mlp"} <= {name for name, _, _ in lines}
    assert ["nested", "inputs=4, hidden=8, blocks=4, outputs=1"] in [line[:2] for line in lines]
    document = json.loads(run("archs", "--json")[1])
    (mlp,) = [each for each in document["architectures"] if each["name"] == "mlp"]
    assert {each["name"]: each["default"] for each in mlp["hyperparameters"]} == {
        "inputs": 4,
        "hidden": 8,
        "outputs": 1,
        "activation": "relu",
    }
    assert all(each["meaning"] for each in mlp["hyperparameters"])


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize(("arch", "make"), [("mlp", plain), ("shared-mlp", shared), ("mlp hidden=8,3", deeper)])
def test_new_is_what_torch_draws(run, arch, make, suffix):
    status, out, err = run("new", *arch.split(), "--seed", "5", "-o", f"net.{suffix}")
    assert (status, out) == (0, "")
    assert "seed 5" in err
    torch.manual_seed(5)
    net = make()
    if suffix == "pt":
        state = torch.load("net.pt", weights_only=True)
        assert list(state) == list(net.state_dict())
        assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
        assert len({value.data_ptr() for value in state.values()}) == len(list(net.parameters()))
    else:
        from safetensors.torch import load_model

        drawn = make()
        load_model(drawn, "net.safetensors")
        assert all(torch.equal(drawn.state_dict()[name], value) for name, value in net.state_dict().items())
    _, out, _ = run("summary", f"net.{suffix}")
    assert one(out, "architecture")[0] == arch.split()[0]


def test_new_chooses_a_seed_and_says_it(run):
    _, _, err = run("new", "mlp", "-o", "a.pt")
    seed = err.split("seed ")[1].strip()
    run("new", "mlp", "-o", "b.pt", "--seed", seed)
    assert Path("a.pt").read_bytes() == Path("b.pt").read_bytes()
    run("new", "mlp", "-o", "c.pt")
    assert Path("a.pt").read_bytes() != Path("c.pt").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mlp"], "-o OUT writes a new file"),
        (["mlpp", "-o", "x.pt"], "did you mean mlp"),
        (["mlp", "hiden=3", "-o", "x.pt"], "did you mean hidden"),
        (["mlp", "hidden=x", "-o", "x.pt"], "a whole number"),
        (["mlp", "16", "-o", "x.pt"], "write KEY=VALUE"),
        (["mlp", "-o", "there.pt"], "--force replaces it"),
        (["mlp", "-o", "x.what"], "suffix"),
        (["mlp", "-o", "x.pt", "--seed", "x"], "--seed"),
        (["mlp", "-o", "x.pt", "--seed", "99999999999999999999999"], "seed"),
    ],
)
def test_errors_of_new(run, words, told):
    Path("there.pt").write_text("mine")
    status, out, err = run("new", *words)
    assert (status, out) == (2, "")
    assert err.startswith("ckpt: error: ")
    assert told in err
    assert err.count("\n") == 1
    assert not Path("x.pt").exists()
    assert Path("there.pt").read_text() == "mine"


def test_new_replaces_by_force(run):
    Path("there.pt").write_text("mine")
    assert run("new", "mlp", "-o", "there.pt", "--force")[0] == 0
    assert torch.load("there.pt")["0.weight"].shape == (8, 4)


def test_new_builds_the_users_own_architecture_as_torch_does(tmp_path, ckpt):
    (tmp_path / "net.py").write_text(
        "from torch import nn, bfloat16\n"
        "def make(width=3):\n"
        "    net = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Linear(4, 4), nn.Linear(4, 4, dtype=bfloat16))\n"
        "    net[2].bias = nn.Parameter(net[2].weight.T[1])\n"
        "    return net\n"
    )
    ckpt("new", f"{tmp_path / 'net.py'}:make(width=5)", "--seed", "3", "-o", tmp_path / "n.pt")
    found = torch.load(tmp_path / "n.pt")
    torch.manual_seed(3)
    scope: dict = {}
    exec((tmp_path / "net.py").read_text(), scope)
    want = scope["make"](5).state_dict()
    assert list(found) == list(want) and all(torch.equal(found[name], want[name]) for name in want)
    assert "in brackets" in ckpt("new", f"{tmp_path / 'net.py'}:make", "width=5", "-o", tmp_path / "m.pt", status=2).err
