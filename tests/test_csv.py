"""`--csv`: the table of each command as RFC 4180 has it, with the keys of its JSON document."""

from __future__ import annotations

import csv
import io
import json
import shlex
import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from conftest import SAMPLES, Ckpt

from ckpt_cli.cli import COMMANDS

# A command line, and where the JSON document has the rows of its table.
TRIED = {
    "ls mlp.pt": "tensors", "ls shared-mlp.pt --sort bytes": "tensors", "tied shared-mlp.pt": "groups",
    "hash mlp.pt": "tensors", "stats mlp.pt": "tensors", "stats shared-mlp.pt --by-layer": "layers", "stats mlp.pt --total": "total",
    "check mlp.pt --arch shared-mlp": "violations", "check mlp.pt": "violations", "diff mlp.pt nested.pt": "differences",
    "diff mlp.pt mlp.safetensors": "differences", "diff mlp.pt nested.pt --by-layer": "layers",
    "grad mlp.pt --seed 0": "tensors", "archs": "architectures", "archs mlp": "hyperparameters",
    "summary shared-mlp.pt": "layers", "schemes": "schemes", "schemes normal": "schemes", "formats": "formats",
    "train mlp.pt --random --steps 2 --lr 0.1 --seed 0 -n": "lines",
}  # fmt: skip


def table(text: str) -> list[dict[str, str]]:
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert text.endswith("\r\n") and len({len(row) for row in rows}) == 1
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def in_cell(key: str, value: Any) -> str:
    if key == "shape":
        return "x".join(map(str, value))
    if key == "first":
        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value)


@pytest.mark.parametrize("line", TRIED)
def test_the_columns_are_the_keys_of_the_document_and_the_cells_its_values(line: str, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SAMPLES)
    answer = ckpt(*shlex.split(line), "--csv", status=None)
    assert answer.status in (0, 1), answer.err
    document = ckpt(*shlex.split(line), "--json", status=None).json
    rows, found = table(answer.out), document.get(TRIED[line], document)
    for row, entry in zip(rows, found if isinstance(found, list) else [found], strict=False):
        shared = [key for key in row if isinstance(entry.get(key), (str, int, float)) or key in ("shape", "first")]
        assert shared or line.startswith("train")
        assert {key: row[key] for key in shared if key in entry} == {key: in_cell(key, entry[key]) for key in shared if key in entry} or (
            line == "formats"
        )


def test_every_table_has_csv_and_is_tried() -> None:
    def takes_csv(name: str) -> bool:
        word = name.replace("-", "_")
        return "as_csv" in signature(getattr(import_module(f"ckpt_cli.commands.{word}"), f"{word}_command")).parameters

    assert {line.split()[0] for line in TRIED} == {name for name in COMMANDS if takes_csv(name)}


def test_names_are_quoted_and_their_control_characters_escaped(ckpt: Ckpt, tmp_path: Path) -> None:
    names = ['a,b"c', "line\nbreak", "tab\tstop", "\x1b[31m", "ü 層", " blank "]
    torch.save({name: torch.ones(2, 3) for name in names}, tmp_path / "odd.pt")
    answer = ckpt("ls", tmp_path / "odd.pt", "--csv")
    rows = table(answer.out)
    assert [row["name"] for row in rows] == ['a,b"c', "line\\nbreak", "tab\\tstop", "\\x1b[31m", "ü 層", " blank "]
    assert [row["name"] for row in rows] == [row[0] for row in ckpt("ls", tmp_path / "odd.pt").rows]
    assert {row["shape"] for row in rows} == {"2x3"} and answer.out.count("\r\n") == 7


@pytest.mark.parametrize(
    "line",
    ["ls mlp.pt --csv --json", "ls mlp.pt --json --csv", "ls mlp.pt --tree --csv", "check mlp.pt --csv --sarif",
     "diff mlp.pt mlp.pt --json --csv", "summary mlp.pt --repr --csv"],
)  # fmt: skip
def test_two_forms_at_once_are_an_error(line: str, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SAMPLES)
    assert ckpt(*line.split(), status=2).out == ""


def test_lists_of_differences(ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SAMPLES)
    assert table(ckpt("diff", "mlp.pt", "mlp.pt", "--stat", "--csv").out) == [{"status": "unchanged", "count": "4"}]
    assert table(ckpt("diff", "mlp.pt", "mlp.pt", "--csv").out) == []
    rows = table(ckpt("diff", "mlp.pt", "mlp.pt", "--unchanged", "--name-only", "--csv").out)
    assert [row["name"] for row in rows] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert table(ckpt("stats", "mlp.pt", "--hist", "0.bias", "--csv").out)[0]["histogram"].count(",") == 19


def test_the_module_is_imported_where_it_is_used(tmp_path: Path) -> None:
    safetensors.torch.save_file({f"layer.{number}": torch.ones(1) for number in range(10_000)}, tmp_path / "many.safetensors")
    program = "import sys; from ckpt_cli.cli import main; main(sys.argv[1:]); print('csv' in sys.modules, file=sys.stderr)"
    for options, imported in (([], "False"), (["--csv"], "True")):
        words = [sys.executable, "-c", program, "ls", str(tmp_path / "many.safetensors"), *options]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stderr.strip() == imported and done.stdout.count("\n") == 10_000 + len(options)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 2, 3), (0,), (3, 0), (400, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_values_are_a_line_for_each_run_along_the_last_axis(shape: tuple[int, ...], dtype: torch.dtype, ckpt: Ckpt, tmp_path: Path) -> None:
    tensor = (torch.randn(shape, dtype=torch.float64) * 100).to(dtype)
    torch.save({"t": tensor}, tmp_path / "t.pt")
    text = ckpt("get", tmp_path / "t.pt", "t", "--format", "csv").out
    rows = [[float(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]
    wide = tensor.double()
    want = wide.reshape(-1, shape[-1] if shape else 1).tolist() if tensor.numel() else []
    assert [torch.tensor(row, dtype=torch.float64).to(dtype).double().tolist() for row in rows] == want
    ckpt("get", tmp_path / "t.pt", "t", "-o", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes().decode() == text


def test_values_of_a_gradient(ckpt: Ckpt) -> None:
    rows = list(csv.reader(io.StringIO(ckpt("grad", SAMPLES / "mlp.pt", "0.weight", "--seed", "0", "--csv").out, newline="")))
    assert [len(row) for row in rows] == [4] * 8 and all(float(cell) == float(cell) for row in rows for cell in row)
