"""What scripts rely on: docs/scripts.md says the exit status and the JSON document of every command, and every command is held to it."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import zipfile
from importlib import import_module
from inspect import signature
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import ROOT, SAMPLES, Ckpt
from shapes import Shapes, strict

from ckpt_cli.checking import KINDS
from ckpt_cli.cli import COMMANDS

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = (ROOT / "docs/scripts.md").read_text()

# Command lines, by the type of their documents; together they show all that the type allows.
TRIED = {
    "Ls": ["ls shared-mlp.pt", "ls odd.pt --tree", "ls mlp.pt --fold", "ls training.ckpt --optimizer",
           "ls lone.pt --optimizer"],
    "Summary": ["summary mlp.pt --input 2x4", "summary training.ckpt", "summary odd.pt", "summary shared-mlp.pt --depth 1",
                "summary packed.pt", "summary averaged.pt", "summary swapped.pt", "summary pipe/llama",
        "summary adapter", "summary unnamed"],
    "Repr": ["summary mlp.pt --repr"],
    "Get": [
        *(f"get odd.pt {name}" for name in ("specials", "complex", "mask", "scalar", "large", "lr", "name")),
        "get training.ckpt args", "get mlp.pt 0.weight[0]", "get mlp.pt 0.weight --format json",
    ],
    "Tied": ["tied shared-mlp.pt", "tied odd.pt --equal"],
    "Stats": [
        "stats odd.pt", "stats odd.pt --hist", "stats odd.pt --total --hist", "stats mlp.pt --total", "stats odd.pt complex --total",
        "stats odd.pt none --total", "stats odd.pt --by-layer --hist",
        "stats odd.pt complex none --by-layer", "stats odd.pt huge huger --by-layer",
        "stats odd.pt sparse --by-layer", "stats odd.pt none --by-layer", "stats odd.pt huge huger", "stats odd.pt huge huger --total",
    ],
    "Hash": ["hash odd.pt", "hash mlp.pt '*.bias'"],
    "Check": [
        "check emptied --arch auto",
        "check mlp.pt", "check odd.pt --finite", "check bad.pt", "check odd.pt --arch auto", "check mlp.pt --arch shared-mlp",
        "check odd.pt --spec strict.toml", "check shared-mlp.pt --spec strict.toml", "check cut.pt",
        "check module.pt --safe", "check ranks",
        "check module.pt --safe", "check stale.index.json",
        "check virtual.h5", "check raw.pt --finite", "check cut.pkl --safe", "check raw.pt --spec quantiser.toml",
    ],
    "Diff": [
        "diff mlp.pt mlp.safetensors", "diff one.pt two.pt", "diff one.pt two.pt --stat", "diff one.pt two.pt --name-only",
        "diff one.pt two.pt --by-layer", "diff mlp.pt training.ckpt --unchanged --by-layer", "diff mlp.pt nested.pt --by-layer",
        "diff one.pt odd.pt --by-layer --sort name",
        "diff virtual.h5 other.h5", "diff mlp.pt training.ckpt", "diff mine.safetensors yours.safetensors",
    ],
    "Edit": [
        "set mlp.pt '0.bias[0] = nan' -n", "set mlp.pt 0.bias=0 -o out.pt", "set odd.pt 'large[1] = 7' -n", "tie one.pt a b -n",
        "untie shared-mlp.pt '*' -n", "rename mlp.pt '0.*=first.*' -n", "drop training.ckpt 'optimizer.*' -n", "drop odd.pt lr -n",
        "resize mlp.pt 0.weight=+3x* --fill zeros -n", "resize mlp.pt 0.weight=+3x* --fill zeros -o resized.pt",
        "add mlp.pt x:f32[2]=zeros -n", "add mlp.pt --from mlp.safetensors --rename re:^=x. -o added.pt",
        "merge mlp.pt mlp.safetensors -o mean.pt", "merge mlp.pt mlp.safetensors --weights 1,1 -n",
        "cast mlp.pt bf16 -n", "cast odd.pt float64 specials -n", "cast mlp.pt bf16 -i", "convert mlp.pt new.safetensors --dtype bf16",
        "convert mlp.pt other.safetensors --drop 2.bias -n", "apply mlp.pt good.toml -n",
    ],
    "Reinit": [
        "reinit mlp.pt '*.weight=normal' '*.bias=zeros' --seed 1 -n", "reinit mlp.pt --preset keras --rng torch -n",
        "reinit mlp.pt '*=zeros' -o drawn.pt",
    ],
    "Apply": ["apply mlp.pt good.toml -n", "apply mlp.pt good.toml -o applied.pt", "apply mlp.pt moved.toml -n",
              "apply mlp.pt false.toml -n"],
    "Grad": [
        "grad mlp.pt", "grad fancy-mlp.pt --by-use", "grad shared-mlp.pt", "grad shared-mlp.pt 2.bias", "grad fancy-mlp.pt rand_weight",
        "grad training.ckpt --no-backward", "grad mlp.pt 2.bias[0]", "grad frozen.pt --arch own.py:Frozen --by-use",
        "grad frozen.pt --arch own.py:Frozen --target y.npy", "grad frozen.pt --arch own.py:Frozen --target classes.npy",
    ],
    "Train": [
        "train shared-mlp.pt --random --steps 2 --lr 0.1 -o trained.pt", "train mlp.pt --random --steps 2 --lr 0.1 -n --batch 3",
        "train frozen.pt --arch own.py:Frozen --random --steps 1 --lr 1 -n --loss sum",
        "train frozen.pt --arch own.py:Frozen --random --steps 1 --lr 1 -n --loss cross_entropy",
    ],
    "Archs": ["archs"],
    "Arch": ["archs mlp", "archs llama"],
    "Schemes": ["schemes"],
    "Scheme": ["schemes normal", "schemes keras", "schemes constant"],
    "Formats": ["formats"],
}  # fmt: skip

# Shown elsewhere: what a number can be by `get`, each difference by `diff`.
ELSEWHERE = {"Edit": {"real", "Difference"}, "Apply": {"real", "Difference"}, "Get": set[str](), "Grad": {"real", "Value"}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the samples, and with files of all that is odd."""
    for path in SAMPLES.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    for rank in (0, 1):
        folder = tmp_path / "ranks" / f"mp_rank_0{rank}"
        folder.mkdir(parents=True)
        torch.save({"model": {"norm.weight": torch.full((2,), float(rank))}}, folder / "model_optim_rng.pt")
    for folder, weights, config in (
        ("pipe/llama", "model", {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4, "hidden_sizes": [4, 8],
                            "torch_dtype": "float16", "quantization_config": {"quant_method": "fp8"}}),
        ("unnamed", "model", {"d_model": 4}), ("emptied", "model", {}),
        ("adapter", "adapter_model", {"peft_type": "LORA", "base_model_name_or_path": "base", "r": 4}),
    ):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
        safetensors.torch.save_file({"model.norm.weight": torch.ones(4)}, tmp_path / folder / f"{weights}.safetensors")
        (tmp_path / folder / f"{'adapter_' * (folder == 'adapter')}config.json").write_text(json.dumps(config))
    (tmp_path / "pipe/model_index.json").write_text('{"_class_name": "Pipeline", "llama": ["transformers", "LlamaForCausalLM"]}')
    shared = torch.arange(4.0)
    ema = {"module": {"w": torch.ones(2)}, "decay": 0.9, "updates": 3}
    swapped = {"w": torch.ones(2), "ema_w": torch.zeros(2)}  # as mmcv has them, perhaps
    torch.save({"model": {"w": torch.ones(2)}, "ema": ema}, "averaged.pt")
    torch.save({"state_dict": swapped, "meta": {"mmcv_version": "1"}}, "swapped.pt")
    torch.save({"l.weight": torch.ones(2, 2).to(torch.float8_e4m3fn), "l.weight_scale": torch.ones(1)}, "packed.pt")
    torch.save(
        {
            "specials": torch.tensor([1, math.nan, math.inf, -math.inf]),
            "complex": torch.tensor([complex(math.nan, 1), complex(2, 3)]),
            "mask": torch.tensor([True, False]),
            "scalar": torch.tensor(7),
            "large": torch.tensor([2**53 + 1, 2**63 - 1]),
            "none": torch.tensor([math.nan, math.inf]),
            "huge": torch.tensor([-1.7e308, 1.7e308], dtype=torch.float64),
            "huger": torch.full((2,), 1.7e308, dtype=torch.float64),
            "sparse": torch.eye(2).to_sparse(),
            "one": torch.ones(3),
            "other": torch.ones(3),
            "part": shared[1:],
            "whole": shared,
            "lr": math.nan,
            "name": "a \u2028 b",
        },
        "odd.pt",
    )
    torch.save(
        {"a": shared, "b": torch.ones(4), "c": torch.ones(2), "d": torch.ones(2), "e": shared, "gone": torch.ones(1), "g": torch.eye(2)},
        "one.pt",
    )
    two = {"a": shared, "b": shared, "c": torch.ones(3), "d": torch.full((2,), math.nan, dtype=torch.float16), "e": torch.arange(4.0)}
    torch.save(two | {"new": torch.ones(1), "g": torch.eye(2).to_sparse()}, "two.pt")
    for author in ("mine", "yours"):
        safetensors.torch.save_file({"w": torch.ones(2)}, f"{author}.safetensors", {"author": author})
    (tmp_path / "stale.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}')
    for name in ("virtual.h5", "other.h5"):  # what a virtual dataset shows lies in other files, and is not read
        with h5py.File(name, "w") as file:
            file["w"] = [1.0, 2.0]
            layout = h5py.VirtualLayout((2,), "f4")
            layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (2,))
            file.create_virtual_dataset("shown", layout)
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)
    torch.save({"w": torch.ones(2), "q": quantised, "raw": torch.UntypedStorage(4)}, "raw.pt")
    (tmp_path / "quantiser.toml").write_text('[tensors]\nq = { quantiser = "per_tensor_affine, scale 0.25, zero point 0" }\n')
    (tmp_path / "cut.pkl").write_bytes((tmp_path / "mlp.pkl").read_bytes()[:-9])
    _break(tmp_path)
    _train(tmp_path)
    (tmp_path / "good.toml").write_text("[[step]]\nset = ['0.bias = 1']\n")
    (tmp_path / "moved.toml").write_text("[[step]]\nrename = ['0.*=first.*']\n")
    (tmp_path / "false.toml").write_text("[[step]]\nassert = {exists = ['nothing']}\n")
    (tmp_path / "strict.toml").write_text(
        f"""
        params = 7
        ties = [["one", "other"]]
        [tensors]
        "one" = {{ dtype = "int8", shape = [3, "1-*"], layout = "sparse_coo", sha256 = "{"0" * 64}", max = [2, inf], finite = true }}
        "other" = {{ shape = [4] }}
        "sparse" = {{ max = [0, 1] }}
        "h.*" = {{ count = "2-3" }}
        "o*" = {{ count = 9 }}
        """
    )
    return tmp_path


def _break(folder: Path) -> None:
    """bad.pt has a wrong bit in a storage, cut.pt a member whose header is gone."""
    data = (folder / "mlp.pt").read_bytes()
    with zipfile.ZipFile(folder / "mlp.pt") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data/0"))
        at = data.index(archive.read(name))
    (folder / "bad.pt").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    start = data.index(name.encode()) - 30  # the local header stands before its name
    (folder / "cut.pt").write_bytes(data[:start] + bytes(4) + data[start + 4 :])


OWN = """
import torch
class Frozen(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.nothing = torch.nn.Linear(3, 2), torch.nn.Parameter(torch.ones(0))
        self.layer.bias.requires_grad_(False)
    def forward(self, x):
        return self.layer(x) + self.nothing.sum()
"""


def _train(folder: Path) -> None:
    """A network with a frozen bias and a parameter of no elements, and what may come out of it."""
    (folder / "own.py").write_text(OWN)
    torch.save({"optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}}}, "lone.pt")
    torch.save({"nothing": torch.ones(0), "layer.weight": torch.ones(2, 3), "layer.bias": torch.ones(2)}, "frozen.pt")
    np.save("y.npy", np.ones((2, 2), "float32"))
    np.save("classes.npy", np.array([0, 1]))


@pytest.fixture
def shapes() -> Shapes:
    return Shapes(PAGE)


@pytest.mark.parametrize("kind", TRIED)
def test_documents_are_of_the_type_that_the_page_says_and_show_all_of_it(kind: str, here: Path, shapes: Shapes, ckpt: Ckpt) -> None:
    for line in TRIED[kind]:
        result = ckpt(*shlex.split(line), "--json", status=None)
        assert result.status in (0, 1), result.err
        why = shapes.holds(strict(result.out), kind)
        assert not why, f"{line}: {why}"
    assert shapes.unseen(kind, frozenset(ELSEWHERE.get(kind, {"real"}))) == []


def test_every_command_that_gives_json_is_tried() -> None:
    def takes_json(name: str) -> bool:
        word = name.replace("-", "_")
        return "as_json" in signature(getattr(import_module(f"ckpt_cli.commands.{word}"), f"{word}_command")).parameters

    tried = {line.split()[0] for lines in TRIED.values() for line in lines}
    assert tried == {name for name in COMMANDS if takes_json(name)}


def test_every_kind_of_violation_is_on_the_page() -> None:
    assert all(f'"{kind}"' in PAGE for kind in KINDS)


def test_integers_are_written_in_full(here: Path, ckpt: Ckpt) -> None:
    assert "[9007199254740993, 9223372036854775807]" in ckpt("get", "odd.pt", "large", "--json").out
    assert '"max": 9223372036854775807' in ckpt("stats", "odd.pt", "large", "--json").out


# Exit status


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("diff mlp.pt mlp.safetensors", 0), ("diff mlp.pt nested.pt", 1), ("diff mlp.pt no.pt", 2), ("diff mlp.pt nested.pt --stat", 1),
        ("diff mlp.pt nested.pt --name-only", 1), ("diff mlp.pt mlp.pt nothing", 2),
        ("check mlp.pt", 0), ("check bad.pt", 1), ("check bad.pt --sarif", 1),
        ("check mlp.pt --sarif --spec no.toml", 2), ("check no.pt", 2), ("check mlp.pt --spec no.toml", 2),
        ("apply mlp.pt good.toml -n", 0), ("apply mlp.pt false.toml -n", 1), ("apply mlp.pt false.toml -i", 1),
        ("apply mlp.pt no.toml -n", 2),
        ("set mlp.pt 0.bias=0 -n", 0), ("set mlp.pt 0.bias=0", 2), ("set mlp.pt 0.bias=0 -o mlp.safetensors", 2), ("set", 2),
        ("get mlp.pt nothing", 2), ("ls mlp.pt --no-such-option", 2), ("no-such-command", 2), ("--help", 0), ("--version", 0),
        ("grad mlp.pt", 0), ("grad mlp.pt nothing", 2), ("grad odd.pt", 2), ("train mlp.pt --random --steps 1 --lr 1", 2),
        ("train mlp.pt --random --steps 1 --lr 1 -n", 0), ("train mlp.pt --random --steps 1 --lr 1 -o mlp.safetensors", 2),
        ("git-diff bad.pt", 0), ("git-diff no.pt", 0), ("git-diff", 2), ("spec mlp.pt", 0), ("spec no.pt", 2), ("completion tcsh", 2),
    ],
)  # fmt: skip
def test_exit_status(line: str, status: int, here: Path, ckpt: Ckpt) -> None:
    result = ckpt(*shlex.split(line), status=status)
    assert (result.err.startswith("ckpt: error: ") and not result.out) == (status == 2)


def test_where_there_is_an_error_there_is_no_document(here: Path, ckpt: Ckpt) -> None:
    (here / "late.toml").write_text('[[step]]\nset = ["0.bias = 200"]\n[[step]]\ncast = "int8"\npatterns = ["0.bias"]\n')
    for line in ("ls no.pt", "apply mlp.pt late.toml -n", "apply mlp.pt late.toml -o out.pt", "stats mlp.pt nothing"):
        assert ckpt(*line.split(), "--json", status=2).out == ""
    assert not (here / "out.pt").exists()


def test_a_terminal_is_given_the_same_document(here: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ckpt("check", "odd.pt", "--finite", "--json", status=1).out
    assert plain.count("\n") == 1 and json.loads(plain) == strict(plain)
