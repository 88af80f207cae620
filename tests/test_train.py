"""`ckpt train`: the bits that torch.optim.SGD gives, kept in a checkpoint, gone on from, drawn."""

from __future__ import annotations

import os
import pty
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES, Ckpt, heeds_ctrl_c
from torch import nn
from torch.nn import functional

CKPT = Path(sys.executable).with_name("ckpt")
OWN = """
import torch
from torch import nn

class Noisy(nn.Module):
    '''All that a step leaves behind besides its parameters, and chance in the forward.'''
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2)
        self.first.bias.requires_grad_(False)
    def forward(self, x):
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with samples, a model of one's own, and data: x of 20×4, y of 20×1, classes 0, 1, 2."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    for name in ("mlp.pt", "mlp.safetensors", "shared-mlp.pt", "fancy-mlp.pt", "training.ckpt", "module.pt", "nested.pt"):
        shutil.copy(SAMPLES / name, tmp_path)
    torch.manual_seed(0)
    torch.save(runpy.run_path("own.py")["Noisy"]().state_dict(), "noisy.pt")
    chance = np.random.default_rng(0)
    x = chance.standard_normal((20, 4)).astype("float32")
    np.savez("data.npz", x=x, y=np.sin(x.sum(1, keepdims=True)))
    np.savez("classes.npz", x=x, y=(x.sum(1) > 0) * 1)
    return tmp_path


def shared() -> nn.Sequential:
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 1))


def state_of(path: str | Path) -> dict[str, object]:
    found: dict[str, object] = torch.load(path, weights_only=True)
    return found


# Against torch


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_values_and_the_lines_are_those_of_torch_s_sgd(ckpt: Ckpt, here: Path, dtype: str) -> None:
    net, data = shared().to(getattr(torch, dtype)), np.load("data.npz")
    torch.save(net.state_dict(), "net.pt")
    x, y = (torch.from_numpy(data[name]).to(getattr(torch, dtype)) for name in "xy")
    rows = ckpt("train", "net.pt", "--data", "data.npz", "--steps", "6", "--every", "1", "--lr", "0.1", "-o", "out.pt").rows
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for step in range(7):
        optimizer.zero_grad()
        loss = functional.mse_loss(net(x), y)
        loss.backward()
        norms = [float(each.double().norm()) for parameter in net.parameters() for each in (parameter.detach(), parameter.grad)]
        assert [float(cell) for cell in rows[step]] == pytest.approx([step, float(loss.detach()), *norms], rel=1e-12)
        if step < 6:
            optimizer.step()
    torch.set_num_threads(threads)
    kept = state_of("out.pt")
    training = kept.pop("training")
    assert list(kept) == list(net.state_dict()) and all(torch.equal(kept[name], value) for name, value in net.state_dict().items())
    assert training["optimizer"] == optimizer.state_dict() and training["step"] == 6
    net.load_state_dict(kept)
    optimizer.load_state_dict(training["optimizer"])


def test_samples_come_in_an_order_of_each_pass_every_one_once(ckpt: Ckpt, here: Path) -> None:
    """With one sample a step and a sum of outputs the gradient of the last bias is 1, and that of a weight tells the sample."""
    torch.save({"0.weight": torch.zeros(1, 4), "0.bias": torch.zeros(1)}, "line.pt")
    x = np.eye(4, dtype="float32") * np.array([[1], [2], [3], [4]], "float32")
    np.savez("eye.npz", x=x)
    line = shlex.split("train line.pt --data eye.npz --loss sum --batch 1 --steps 12 --every 1 --lr 1 --seed 5 -n")
    gradients = [float(row[3]) for row in ckpt(*line).rows][:12]
    passes = [gradients[at : at + 4] for at in (0, 4, 8)]
    assert [sorted(one) for one in passes] == [[1, 2, 3, 4]] * 3 and len({tuple(one) for one in passes}) > 1


def test_whole_numbers_are_classes(ckpt: Ckpt, here: Path) -> None:
    ckpt("new", "mlp", "inputs=4", "hidden=6", "outputs=3", "--seed", "0", "-o", "net.pt")
    found = ckpt("train", "net.pt", "--data", "classes.npz", "--steps", "30", "--lr", "0.5", "-n", "--json").json
    assert found["loss"] == "cross_entropy" and found["lines"][-1]["loss"] < found["lines"][0]["loss"] / 1.3


# Resuming


@pytest.mark.parametrize(
    ("source", "same", "begins"),
    [
        ("shared-mlp.pt", "--random", ""), ("shared-mlp.pt", "--random", "--batch 10"), ("fancy-mlp.pt", "--random", "--loss sum"),
        ("nested.pt", "--random", "--batch 7"), ("mlp.pt", "--data data.npz", "--batch 6"), ("training.ckpt", "--random", ""),
        ("noisy.pt", "--arch own.py:Noisy --data classes.npz", "--batch 9"), ("mlp.safetensors", "--random", ""),
    ],
)  # fmt: skip
def test_going_on_gives_the_bits_of_a_run_that_was_never_interrupted(ckpt: Ckpt, here: Path, source: str, same: str, begins: str) -> None:
    first, every = f"{same} {begins} --lr 0.05 --seed 3 --every 1".split(), f"{same} --every 1".split()
    whole = ckpt("train", source, *first, "--steps", "9", "-o", "whole.pt")
    part = ckpt("train", source, *first, "--steps", "4", "-o", "part.pt")
    resumed = ckpt("train", "part.pt", *every, "--resume", "--steps", "5", "-o", "resumed.pt")
    assert part.rows + resumed.rows[1:] == whole.rows and resumed.rows[0] == part.rows[-1]
    assert Path("resumed.pt").read_bytes() == Path("whole.pt").read_bytes()


def test_a_training_can_go_on_in_place_and_at_another_rate(ckpt: Ckpt, here: Path) -> None:
    ckpt("train", "mlp.pt", "--random", "--steps", "3", "--lr", "0.1", "--seed", "1", "-i")
    ckpt("train", "mlp.pt", "--random", "--resume", "--steps", "2", "--lr", "0.01", "-i")
    training = state_of("mlp.pt")["training"]
    assert (training["step"], training["seed"], training["optimizer"]["param_groups"][0]["lr"]) == (5, 1, 0.01)
    assert state_of("mlp.pt")["training"]["optimizer"]["param_groups"][0]["params"] == [0, 1, 2, 3]


def test_what_else_is_in_the_file_is_carried_along(ckpt: Ckpt, here: Path) -> None:
    ckpt("train", "training.ckpt", "--random", "--steps", "2", "--lr", "0.1", "-o", "out.ckpt")
    before, after = (ckpt("ls", path, "optimizer.*").out for path in ("training.ckpt", "out.ckpt"))
    assert before == after and ckpt("diff", "training.ckpt", "out.ckpt", "--name-only", status=1).out.splitlines() == [
        "model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias",
    ]  # fmt: skip
    assert ckpt("get", "out.ckpt", "epoch").out == ckpt("get", "training.ckpt", "epoch").out


def test_ties_stay_ties_and_the_frozen_stay_as_they_are(ckpt: Ckpt, here: Path) -> None:
    ckpt("train", "shared-mlp.pt", "--random", "--steps", "2", "--lr", "0.1", "-o", "out.pt")
    assert ckpt("tied", "out.pt").rows == ckpt("tied", "shared-mlp.pt").rows
    rows = ckpt("train", "noisy.pt", "--arch", "own.py:Noisy", "--random", "--steps", "2", "--lr", "0.1", "-o", "after.pt").rows
    changed = ckpt("diff", "noisy.pt", "after.pt", "--name-only", status=1).out.splitlines()
    assert "first.bias" not in changed and {"norm.running_mean", "norm.num_batches_tracked"} <= set(changed)
    assert rows[0][5] == "None"


@pytest.mark.parametrize(("source", "target"), [("mlp.safetensors", "out.safetensors"), ("module.pt", "out.pt")])
def test_where_there_is_no_place_for_the_state_that_is_told(ckpt: Ckpt, here: Path, source: str, target: str) -> None:
    found = ckpt("train", source, "--random", "--steps", "2", "--lr", "0.1", "-o", target)
    assert "no place for the state of the training" in found.err
    changed = ckpt("diff", source, target, "--name-only", status=1).out.splitlines()
    assert sorted(changed) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    assert "there is no state of a training in it" in ckpt("train", target, "--resume", "--random", "--steps", "1", "-n", status=2).err


# Watching


def test_a_line_every_k_steps_and_at_both_ends(ckpt: Ckpt, here: Path) -> None:
    def steps(*args: object) -> list[str]:
        return [row[0] for row in ckpt("train", "mlp.pt", "--random", "--lr", "0.1", "-n", *args).rows]

    assert steps("--steps", "10", "--every", "4") == ["0", "4", "8", "10"]
    assert steps("--steps", "40") == [str(step) for step in range(0, 41, 4)]
    assert not ckpt("train", "mlp.pt", "--random", "--steps", "1", "--lr", "0.1", "-o", "out.pt", "--json").rows[1:]


def test_a_parameter_that_is_shared_has_one_column_and_both_norms(ckpt: Ckpt, here: Path) -> None:
    found = ckpt("train", "shared-mlp.pt", "--random", "--steps", "1", "--lr", "0.1", "--seed", "0", "-n", "--json").json
    assert found["parameters"] == ["0.weight", "0.bias", "2.weight", "2.bias", "6.weight", "6.bias"] and found["path"] is None
    norms = [float(row[7]) for row in ckpt("stats", "shared-mlp.pt", *found["parameters"]).rows]
    assert found["lines"][0]["norms"] == pytest.approx(norms, rel=1e-12)


def test_nothing_is_written_with_n_and_what_is_not_finite_is_told(ckpt: Ckpt, here: Path) -> None:
    before = sorted(os.listdir())
    found = ckpt("train", "mlp.pt", "--random", "--steps", "50", "--lr", "1e30", "-n", "--json")
    assert sorted(os.listdir()) == before and found.json["lines"][-1]["loss"] == "NaN" and "a smaller --lr" in found.err


@pytest.mark.parametrize(("suffix", "head"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_curves_are_drawn(ckpt: Ckpt, here: Path, suffix: str, head: bytes) -> None:
    pytest.importorskip("matplotlib")
    ckpt("rename", "mlp.pt", "0.*=_$x.*", "2.*=b.*", "-o", "odd.pt")
    for source in ("mlp.pt", "odd.pt"):
        picture = f"{source}{suffix}"
        ckpt("train", source, "--random", "--steps", "5", "--lr", "0.1", "-n", "--plot", picture)
        assert Path(picture).read_bytes().startswith(head)
    assert "--force replaces it" in ckpt("train", "mlp.pt", "--random", "--steps", "1", "--lr", "1", "-n", "--plot", picture, status=2).err
    ckpt("train", "mlp.pt", "--random", "--steps", "5", "--lr", "0.1", "-n", "--plot", picture, "--force")


def test_where_matplotlib_is_missing_that_is_said_before_anything_is_done(here: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from ckpt_cli.cli import main; sys.exit(main(sys.argv[1:]))"
    words = shlex.split("train mlp.pt --random --steps 1 --lr 1 -o out.pt --plot a.png")
    found = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert found.returncode == 2 and not Path("out.pt").exists()
    assert found.stderr == "ckpt: error: --plot draws with matplotlib, which is not installed (pip install 'ckpt-tool[plot]')\n"


def test_a_terminal_gets_a_table_and_a_bar_that_makes_room_for_it(here: Path) -> None:
    ours, theirs = pty.openpty()
    words = [CKPT, *shlex.split("train mlp.pt --random --steps 4000 --every 2000 --lr 0.01 -n")]
    process = subprocess.Popen(words, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm", "NO_COLOR": "1"})
    os.close(theirs)
    shown = b""
    while block := _read(ours):
        shown += block
    assert process.wait(60) == 0
    lines = [line.rpartition("\x1b[K")[2].split() for line in shown.decode().splitlines()]
    assert ["STEP", "LOSS", "0.weight", "0.bias", "2.weight", "2.bias"] in lines
    assert [line[0] for line in lines if len(line) == 6 and line[0] != "STEP"] == ["0", "2000", "4000"]
    assert all("/" in cell for line in lines if line and line[0] == "4000" for cell in line[2:])
    assert " of 4,000 steps (" in shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the program has ended
        return b""


def test_ctrl_c_leaves_nothing_half_written(here: Path) -> None:
    before = sorted(os.listdir())
    words = [CKPT, *shlex.split("train mlp.pt --random --steps 1000000000 --every 1 --lr 0.001 -o out.pt --plot a.png")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_ctrl_c)
    assert process.stdout and process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and sorted(os.listdir()) == before


def test_a_reader_that_goes_away_does_not_end_the_training(here: Path) -> None:
    line = f"{CKPT} train mlp.pt --random --steps 1000 --every 1 --lr 0.01 -o out.pt | head -1; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0 and found.stdout.count("\n") == 1
    assert state_of("out.pt")["training"]["step"] == 1000


# Errors


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("mlp.pt --steps 1 --lr 1 -n", "what should it learn? (give --data FILE.npz, or --random)"),
        ("mlp.pt --random --data data.npz --steps 1 --lr 1 -n", "what should it learn?"),
        ("mlp.pt --random --steps 1 -n", "at which rate should it learn?"),
        ("mlp.pt --random --lr 1 -n", "missing option '--steps'"),
        ("mlp.pt --random --steps 0 --lr 1 -n", "--steps"),
        ("mlp.pt --random --steps 1 --lr nan -n", "--lr nan is no rate"),
        ("mlp.pt --random --steps 1 --lr 1", "where should the result go?"),
        ("mlp.pt --random --steps 1 --lr 1 -o mlp.safetensors", "mlp.safetensors: the file is there already"),
        ("mlp.pt --random --steps 1 --lr 1 -o out.xyz", "no format is written to names such as"),
        ("mlp.pt --random --steps 1 --lr 1 -n --plot a.txt", "no picture is written to such a name"),
        ("mlp.pt --random --steps 1 --resume -n", "there is no state of a training in it to resume from"),
        ("mlp.pt --random --steps 1 --resume --seed 1 -n", "are those of the run that is resumed"),
        ("mlp.pt --data no.npz --steps 1 --lr 1 -n", "no.npz: no such file"),
        ("mlp.pt --data mlp.pt --steps 1 --lr 1 -n", "there is no array x in it"),
        ("mlp.pt --data x.npy --steps 1 --lr 1 -n", "this is one array"),
        ("mlp.pt --data few.npz --steps 1 --lr 1 -n", "samples are counted along the first axis: there are 3 of x and 2 of y"),
        ("mlp.pt --data lone.npz --steps 1 --lr 1 --loss mse -n", "there is no array y in it, which mse needs"),
        ("mlp.pt --data objects.npz --steps 1 --lr 1 -n", "array x cannot be read: it is none, or one of objects"),
        ("mlp.pt --data wide.npz --steps 1 --lr 1 -n", "the network does not take this input"),
        ("mlp.pt --data flat.npz --steps 1 --lr 1 -n", "mse takes a target of 3x1 for an output of 3x1, this one is 3"),
        ("taken.pt --random --steps 1 --lr 1 -o out.pt", "something of its own that is called 'training'"),
        ("dtypes.pt --random --steps 1 --lr 1 -n", "no architecture is recognised"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_nothing_is_written(ckpt: Ckpt, here: Path, line: str, says: str) -> None:
    shutil.copy(SAMPLES / "dtypes.pt", here)
    np.save("x.npy", np.ones((3, 4)))
    np.savez("few.npz", x=np.ones((3, 4)), y=np.ones((2, 1)))
    np.savez("lone.npz", x=np.ones((3, 4)))
    np.savez("objects.npz", x=np.array([{}], object), allow_pickle=True)
    np.savez("wide.npz", x=np.ones((3, 5)), y=np.ones((3, 1)))
    np.savez("flat.npz", x=np.ones((3, 4)), y=np.ones(3))
    torch.save(torch.load("mlp.pt") | {"training": True}, "taken.pt")
    before = sorted(os.listdir())
    assert says in ckpt("train", *line.split(), status=2).err and sorted(os.listdir()) == before


def test_a_state_that_makes_no_sense_is_not_resumed_from(ckpt: Ckpt, here: Path) -> None:
    ckpt("train", "mlp.pt", "--random", "--steps", "1", "--lr", "1", "-o", "out.pt")
    good: Callable[[], dict[str, object]] = lambda: torch.load("out.pt")  # noqa: E731
    for key, value in {"step": -1, "seed": "3", "loss": "sun", "batch": True}.items():
        broken = good()
        broken["training"][key] = value  # type: ignore[index]
        torch.save(broken, "broken.pt")
        assert "there is no state" in ckpt("train", "broken.pt", "--resume", "--random", "--steps", "1", "-n", status=2).err
