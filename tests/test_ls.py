"""`ckpt ls`: the tensors of a file, from its header alone."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import safetensors_file

from ckpt_cli.show.answer import Answer
from ckpt_cli.show.tree import folded

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))

MODELS = [path for path in sorted(SAMPLES.iterdir()) if path.suffix in (".pt", ".safetensors", ".ckpt")]


def test_a_record_is_name_dtype_shape_parameters_bytes_and_tied_to_between_tabs(ckpt: Ckpt) -> None:
    assert ckpt("ls", SAMPLES / "shared-mlp.pt").out == (
        "0.weight\tfloat32\t8x4\t32\t128\t\n"
        "0.bias\tfloat32\t8\t8\t32\t\n"
        "2.weight\tfloat32\t8x8\t64\t256\t\n"
        "2.bias\tfloat32\t8\t8\t32\t\n"
        "4.weight\tfloat32\t8x8\t64\t256\t2.weight\n"
        "4.bias\tfloat32\t8\t8\t32\t2.bias\n"
        "6.weight\tfloat32\t1x8\t8\t32\t\n"
        "6.bias\tfloat32\t1\t1\t4\t\n"
    )


def test_a_scalar_has_an_empty_shape_and_an_empty_tensor_its_zeros(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"s": torch.tensor(1, dtype=torch.int8), "e": torch.zeros(0, 3)}, tmp_path / "a.pt")
    assert ckpt("ls", tmp_path / "a.pt").out == "s\tint8\t\t1\t1\t\ne\tfloat32\t0x3\t0\t0\t\n"


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_the_json_document_says_what_the_records_say(ckpt: Ckpt, path: Path) -> None:
    document = ckpt("ls", path, "--json").json
    assert list(document) == ["path", "format", "tensors", "params", "bytes"] and document["path"] == str(path)
    assert all(list(tensor) == ["name", "dtype", "shape", "params", "bytes", "tied_to"] for tensor in document["tensors"])
    rows = [
        [t["name"], t["dtype"], "x".join(map(str, t["shape"])), str(t["params"]), str(t["bytes"]), t["tied_to"] or ""]
        for t in document["tensors"]
    ]
    assert rows == ckpt("ls", path).rows
    assert all(t["tied_to"] is None or t["tied_to"] in {u["name"] for u in document["tensors"]} for t in document["tensors"])
    distinct = [t for t in document["tensors"] if t["tied_to"] is None]
    assert (document["params"], document["bytes"]) == (sum(t["params"] for t in distinct), sum(t["bytes"] for t in distinct))


@pytest.mark.parametrize(("model", "names", "params"), [("mlp", 4, 49), ("nested", 18, 309), ("shared-mlp", 8, 121), ("fancy-mlp", 2, 420)])
@pytest.mark.parametrize("suffix", [".pt", ".legacy.pt", ".safetensors"])
def test_the_totals_count_once_what_is_tied(ckpt: Ckpt, model: str, names: int, params: int, suffix: str) -> None:
    document = ckpt("ls", SAMPLES / f"{model}{suffix}", "--json").json
    assert (len(document["tensors"]), document["params"], document["bytes"]) == (names, params, 4 * params)
    assert document["format"] == {".pt": "torch", ".legacy.pt": "torch-legacy", ".safetensors": "safetensors"}[suffix]


def test_totals_are_of_what_is_listed(ckpt: Ckpt) -> None:
    document = ckpt("ls", SAMPLES / "shared-mlp.pt", "*.bias", "--json").json
    assert (len(document["tensors"]), document["params"]) == (4, 17)
    assert ckpt("ls", SAMPLES / "shared-mlp.pt", "4.*", "--json").json["params"] == 72


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_what_is_listed_is_what_torch_and_safetensors_find(ckpt: Ckpt, path: Path) -> None:
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    else:
        loaded = torch.load(path, weights_only=False)
        found = dict(loaded.state_dict() if isinstance(loaded, torch.nn.Module) else loaded)
        if path.suffix == ".ckpt":
            found = {f"model.{name}": tensor for name, tensor in found["model"].items()}
    listed = {row[0]: row[1:5] for row in ckpt("ls", path).rows}
    for name, tensor in found.items():
        size = tensor.numel() * tensor.element_size()
        expected = [str(tensor.dtype)[6:], "x".join(map(str, tensor.shape)), str(tensor.numel()), str(size)]
        assert listed[name] == expected


@pytest.mark.parametrize(
    ("sort", "names"),
    [("file", "b10 b2 a"), ("name", "a b10 b2"), ("params", "b2 a b10"), ("bytes", "a b10 b2")],
)
def test_sorted_by_name_by_size_or_as_in_the_file(ckpt: Ckpt, tmp_path: Path, sort: str, names: str) -> None:
    tensors = {"b10": torch.zeros(1), "b2": torch.zeros(4, dtype=torch.int8), "a": torch.zeros(2, dtype=torch.float64)}
    torch.save(tensors, tmp_path / "a.pt")
    assert [row[0] for row in ckpt("ls", tmp_path / "a.pt", "--sort", sort).rows] == names.split()
    assert [t["name"] for t in ckpt("ls", tmp_path / "a.pt", "--sort", sort, "--json").json["tensors"]] == names.split()


def test_a_tree_shows_the_parts_of_names(ckpt: Ckpt, tmp_path: Path) -> None:
    shared = torch.zeros(2)
    torch.save({"net.0.w": torch.zeros(2, 3), "net.0.b": shared, "net": torch.tensor(1.0), "x": {"c": shared}}, tmp_path / "a.pt")
    assert ckpt("ls", tmp_path / "a.pt", "--tree").out.splitlines() == [
        "├── net  float32",
        "│   └── 0",
        "│       ├── w  float32 2x3",
        "│       └── b  float32 2",
        "└── x",
        "    └── c  float32 2 = net.0.b",
    ]


def test_fold_writes_repeated_blocks_in_one_line(ckpt: Ckpt, tmp_path: Path) -> None:
    tensors = {f"layers.{i}.mlp.weight": torch.zeros(2, 3) for i in range(12)} | {"head": torch.zeros(3)}
    torch.save(tensors, tmp_path / "a.pt")
    assert (
        ckpt("ls", tmp_path / "a.pt", "--fold").out == "layers.{0-11}.mlp.weight ×12\tfloat32\t2x3\t72\t288\t\nhead\tfloat32\t3\t3\t12\t\n"
    )


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        ("h.0 h.1 h.2", [("h.{0-2}", 3)]),
        ("h.0 h.2 h.3", [("h.{0,2-3}", 3)]),
        ("h.7", [("h.7", 1)]),
        ("h.07 h.8", [("h.07", 1), ("h.8", 1)]),
        ("h1 h2", [("h1", 1), ("h2", 1)]),
        ("a.0.b.0 a.0.b.1 a.1.b.0 a.1.b.1", [("a.{0-1}.b.{0-1}", 4)]),
        ("a.0.b.0 a.1.b.0 a.1.b.1", [("a.0.b.0", 1), ("a.1.b.{0-1}", 2)]),
        ("a.0.b.1 a.1.b.0", [("a.0.b.1", 1), ("a.1.b.0", 1)]),
    ],
)
def test_a_folded_line_stands_for_exactly_the_names_it_writes(names: str, lines: list[tuple[str, int]]) -> None:
    assert [(name, count) for name, count, _ in folded((name, ()) for name in names.split())] == lines


@relaxed
@given(st.lists(st.lists(st.sampled_from(["a", "b", "0", "1", "2", "10", "07", "\0"]), min_size=1, max_size=4).map(".".join), unique=True))
def test_folding_loses_no_name(names: list[str]) -> None:
    found = folded((name, (1, 2)) for name in names)
    assert sum(count for _, count, _ in found) == len(names) and all(facts == (1, 2) for _, _, facts in found)

    def unfolded(text: str) -> list[str]:
        start, brace, rest = text.partition("{")
        if not brace:
            return [text]
        ranges, _, tail = rest.partition("}")
        ends = [each.split("-") for each in ranges.split(",")]
        return [f"{start}{k}{more}" for e in ends for k in range(int(e[0]), int(e[-1]) + 1) for more in unfolded(tail)]

    assert sorted(name for text, _, _ in found for name in unfolded(text)) == sorted(names)


def huge(path: Path) -> Path:
    """A file of a terabyte that takes no room: a header, and a hole."""
    entry = {"dtype": "F32", "shape": [500, 500_000_000], "data_offsets": [0, 10**12]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "t": entry}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 10**12)
    return path


def test_only_the_header_is_read_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from ckpt_cli.cli import main\n"
        "count = 0\n"
        "def counting(read):\n"
        "    def counted(*args):\n"
        "        global count\n"
        "        done = read(*args)\n"
        "        count += done if isinstance(done, int) else len(done)\n"
        "        return done\n"
        "    return counted\n"
        "os.pread, os.preadv = counting(os.pread), counting(os.preadv)\n"
        "main(sys.argv[1:])\n"
        "print(count)\n"
    )
    path = huge(tmp_path / "a.safetensors")
    run = subprocess.run([sys.executable, "-c", code, "ls", str(path)], capture_output=True, text=True, timeout=20)
    row, count = run.stdout.splitlines()
    assert row == "t\tfloat32\t500x500000000\t250000000000\t1000000000000\t"
    assert 8 < int(count) < 2000


def wide(path: Path, count: int) -> Path:
    """A file of very many tensors, each of them empty."""
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = "{" + ",".join([f'"h.{i // 8}.{i % 8}.bias":{entry}' for i in range(count)]) + "}"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    return path


def in_memory(megabytes: int, *args: object) -> subprocess.CompletedProcess[str]:
    """`ckpt ARGS…` with an address space of so many MB."""
    code = (
        "import resource, sys\n"
        "most = int(sys.argv.pop(1)) << 20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "from ckpt_cli.start import run\n"
        "run()\n"
    )
    return subprocess.run([sys.executable, "-c", code, str(megabytes), *map(str, args)], capture_output=True, text=True, timeout=120)


def test_a_million_names_are_listed_in_little_memory(tmp_path: Path) -> None:
    run = in_memory(300, "ls", wide(tmp_path / "a.safetensors", 1_000_000), "*.7.bias")
    assert (run.stderr, run.stdout.count("\n")) == ("", 125_000)
    assert run.stdout.startswith("h.0.7.bias\tfloat32\t0\t0\t0\t\nh.1.7.bias\t")


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ("ls A --tree", 1 + 12_500 + 100_000 + 100_000),
        ("ls A --fold", 1),
        ("ls A --json", 1),
        ("ls A [0][7][3]", 1),
        ("tied A", 0),
        ("diff A A", 0),
        ("diff A B", 0),
    ],
)
def test_what_is_told_of_very_many_names_takes_little_memory(asked: str, lines: int, tmp_path: Path) -> None:
    paths = {name: wide(tmp_path / name, 100_000) for name in "AB" if name in asked.split()}
    run = in_memory(160, *[paths.get(arg, arg) for arg in asked.split()])
    assert (run.stderr, run.stdout.count("\n")) == ("", lines)


@pytest.mark.parametrize("indent", [None, 2])
def test_json_that_is_streamed_is_the_document(indent: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    out = Answer(as_json=True)
    out.terminal = indent is not None
    items = [{"a": [1, 2], "é\n": float("nan")}, {}, "x"] * 1000
    for count in (0, 1, 3, 3000):
        out.json({"path": {"b": []}, "tensors": iter(items[:count]), "more": iter([]), "n": 1})
        whole = {"path": {"b": []}, "tensors": items[:count], "more": [], "n": 1}
        assert capsys.readouterr().out == out.json_text(whole)


def test_a_name_of_very_many_parts_is_listed_and_makes_no_tree(ckpt: Ckpt, tmp_path: Path) -> None:
    name = "a." * 50_000 + "b"
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors_file({name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}))
    assert ckpt("ls", path).rows == [[name, "float32", "0", "0", "0", ""]]
    assert ckpt("ls", path, "[0]" * 1000).rows == [[name, "float32", "0", "0", "0", ""]]
    assert "a name of over 1,000 parts makes no tree" in ckpt("ls", path, "--tree", status=2).err


@pytest.mark.parametrize("name", ["mlp.pt", "mlp.legacy.pt", "mlp.safetensors", "module.pt", "training.ckpt", "dtypes.pt"])
@pytest.mark.parametrize("options", [[], ["--json"], ["--tree"], ["--fold"], ["*.weight", "--sort", "params"]], ids=" ".join)
def test_neither_torch_nor_numpy_nor_rich_is_imported_for_a_pipe(name: str, options: list[str]) -> None:
    if name == "dtypes.pt" and "*.weight" in options:
        pytest.skip("it has no weights")
    code = "import sys\nfrom ckpt_cli.cli import main\nassert main(sys.argv[1:]) == 0\nprint(*sys.modules, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", code, "ls", str(SAMPLES / name), *options], capture_output=True, text=True)
    heavy = {"torch", "numpy", "rich", "ml_dtypes", "safetensors", "h5py"}
    assert run.stdout and "ckpt_cli.commands.ls" in run.stderr.split() and not heavy & set(run.stderr.split())


def test_sparse_and_quantised_tensors_are_listed_as_what_they_are(ckpt: Ckpt, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.quantize_per_tensor(torch.ones(4), 0.1, 3, torch.qint8)
        torch.save({"q": quantised, "s": torch.eye(3).to_sparse(), "c": torch.eye(3).to_sparse_csr()}, tmp_path / "a.pt")
    assert [row[:3] for row in ckpt("ls", tmp_path / "a.pt").rows] == [
        ["q", "qint8", "4"],
        ["s", "float32 (sparse_coo)", "3x3"],
        ["c", "float32 (sparse_csr)", "3x3"],
    ]
