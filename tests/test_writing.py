"""What is written does not depend on how: in one process or in workers, in one piece or in many, with the kernel's help or without."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import Ckpt
from hypothesis import given
from hypothesis import strategies as st
from oracles import members, safetensors_file
from safetensors.torch import load_file, save_file

from ckpt_cli.disk.layout import FileLayout
from ckpt_cli.storage.checksums import CRC32, Crc
from ckpt_cli.storage.crc32c import CRC32C
from ckpt_cli.storage.file import File
from ckpt_cli.storage.mapped import Mapped
from ckpt_cli.storage.sequential import Drawn
from ckpt_cli.storage.storage import Fill, Memory, Storage

WEIGHTS = {
    "embed.weight": torch.rand(301, 97), "layers.0.weight": torch.rand(64, 97), "layers.0.bias": torch.rand(64),
    "layers.1.weight": torch.rand(97, 64).half(), "head.weight": torch.rand(11, 64, dtype=torch.float64), "steps": torch.tensor(3),
    "empty": torch.zeros(0, 5), "mask": torch.rand(17, 19) > 0.5,
}  # fmt: skip
WEIGHTS |= {f"many.{i}": torch.rand(i) for i in range(40)}
WRITES = [
    ["convert", "{}", "{out}.pt"], ["convert", "{}", "{out}.safetensors"], ["cast", "{}", "bfloat16", "-o", "{out}{suffix}"],
    ["drop", "{}", "embed.*", "-o", "{out}{suffix}"], ["set", "{}", "layers.* *= 2", "-o", "{out}{suffix}"],
    ["set", "{}", "embed.weight[3:200] = 2", "-o", "{out}{suffix}"], ["rename", "{}", "many.*=few.*", "-o", "{out}{suffix}"],
    ["reinit", "{}", "*.weight=normal", "many.*=uniform", "*.bias=trunc_normal", "--seed", "0", "-o", "{out}{suffix}"],
    ["reinit", "{}", "*.weight=normal", "many.*=uniform", "--rng", "torch", "--seed", "0", "-o", "{out}{suffix}"],
    ["reinit", "{}", "embed.weight=orthogonal", "layers.*=constant(3)", "--seed", "0", "-o", "{out}{suffix}"],
]  # fmt: skip


@pytest.fixture(params=["pt", "safetensors"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"m.{request.param}"
    if request.param == "pt":
        torch.save(WEIGHTS, path)
    else:
        save_file(WEIGHTS, path)
    return path


@pytest.mark.parametrize("write", WRITES, ids=lambda args: " ".join(args[:1] + args[2:]))
def test_workers_and_parts_change_nothing(
    write: list[str], path: Path, tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(stem: str) -> bytes:
        args = [arg.format(path, out=tmp_path / stem, suffix=path.suffix) for arg in write]
        ckpt(*args)
        return next(tmp_path.glob(f"{stem}.*")).read_bytes()

    alone = written("alone")
    monkeypatch.setattr("ckpt_cli.tensors.blocks.SMALL", 0)
    monkeypatch.setattr("ckpt_cli.tensors.blocks._crew", lambda total: 3)
    monkeypatch.setattr("ckpt_cli.tensors.blocks.ITEM", 1 << 12)
    monkeypatch.setattr("ckpt_cli.disk.layout._SMALL", 0)
    monkeypatch.setattr("ckpt_cli.disk.layout._SYNCED", 0)
    assert written("forked") == alone
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    assert written("copied") == alone
    monkeypatch.delattr(os, "fork")
    assert written("threads") == alone


def test_a_clone_that_is_written_over_is_what_a_copy_would_be(
    path: Path, tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few file systems can clone; a copy has the same bytes."""
    edit = ["set", path, "layers.0.bias = 1", "embed.weight[3:200] = 2", "-o"]
    ckpt(*edit, tmp_path / f"copy{path.suffix}")
    cloned = []

    def clone(file_layout: FileLayout, file: File) -> bool:
        cloned.append(file.path)
        file_layout.fill(0, file.read(0, file.size))
        return True

    monkeypatch.setattr(FileLayout, "clone", clone)
    ckpt(*edit, tmp_path / f"clone{path.suffix}")
    assert cloned == [str(path)] and (tmp_path / f"clone{path.suffix}").read_bytes() == (tmp_path / f"copy{path.suffix}").read_bytes()


LIMITED = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (512 << 20,) * 2); from ckpt_cli.start import run; run()"


@pytest.mark.parametrize(
    ("args", "status"),
    [("stats {}", 0), ("hash {}", 0), ("diff {} {}", 0), ("cast {} bfloat16 -o {out}", 0), ("convert {} {out}", 0), ("set {} a=1 -i", 0),
     ("set {} a*=2 -o {out}", 0), ("reinit {} b=zeros -o {out}", 0), ("drop {} b -o {out}", 0), ("reinit {} b=normal -o {out}", 2)],
)  # fmt: skip
def test_a_checkpoint_larger_than_the_memory(args: str, status: int, tmp_path: Path) -> None:
    """576 MB, most of it a hole, in 512 MB of addresses; torch alone takes more."""
    header = json.dumps({"a": entry("F32", 1 << 24, 0), "b": entry("F32", 1 << 27, 1 << 26)})
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_file(header))
    os.truncate(path, 8 + len(header) + (1 << 26) + (1 << 29))
    words = [word.format(path, out=tmp_path / "out.safetensors") for word in args.split()]
    run = subprocess.run([sys.executable, "-c", LIMITED, *words], capture_output=True, text=True, timeout=60)
    assert run.returncode == status, run.stderr
    assert status == 0 or "ulimit -v) is too low for it (allow 800 MB, or use constants)" in run.stderr


def entry(dtype: str, count: int, begin: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": [count], "data_offsets": [begin, begin + 4 * count]}


def test_a_zip_that_was_written_in_parts_has_the_checksums_of_the_whole(
    tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(WEIGHTS, tmp_path / "m.safetensors")
    monkeypatch.setattr("ckpt_cli.tensors.blocks.ITEM", 1 << 10)
    ckpt("convert", tmp_path / "m.safetensors", tmp_path / "m.pt")
    assert len(members(tmp_path / "m.pt")) > len(WEIGHTS)  # zipfile has checked them
    ckpt("convert", tmp_path / "m.pt", tmp_path / "again.safetensors")
    again = load_file(tmp_path / "again.safetensors")
    assert all(again[name].equal(tensor) for name, tensor in WEIGHTS.items())


def pieces() -> st.SearchStrategy[list[Storage | bytes | int]]:
    """Bytes that are written, storages that are put, and room that is left and filled later."""
    data = st.binary(max_size=200)
    storages = st.one_of(
        data.map(Memory),
        st.tuples(st.binary(min_size=1, max_size=8), st.integers(0, 20)).map(lambda x: Fill(x[0], len(x[0]) * x[1])),
        data.map(lambda raw: Mapped(Memory(raw), lambda part: bytes(byte ^ 255 for byte in part), 1, 1)),
    )
    return st.lists(st.one_of(data, storages, st.integers(0, 30)), max_size=12)


@pytest.mark.parametrize("sums", [CRC32, CRC32C], ids=lambda sums: sums.name)
@given(laid=pieces(), item=st.integers(1, 40))
def test_a_sink_holds_what_was_laid_out(
    tmp_path_factory: pytest.TempPathFactory, laid: list[Storage | bytes | int], item: int, sums: Crc
) -> None:
    path = tmp_path_factory.mktemp("sink") / "out"
    want, filled, puts = bytearray(), [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ckpt_cli.tensors.blocks.ITEM", item)
        patch.setattr("ckpt_cli.disk.layout._SMALL", item)
        with open(path, "w+b") as file:
            file_layout = FileLayout(file.fileno())
            for piece in laid:
                if isinstance(piece, bytes):
                    file_layout.write(piece)
                    want += piece
                elif isinstance(piece, int):
                    filled.append((file_layout.skip(piece), b"\xaa" * piece))
                    want += b"\xaa" * piece
                else:
                    puts.append(file_layout.put(piece, sums))
                    want += piece.read()
                assert file_layout.at == len(want)
            file_layout.settle()
            for at, data in filled:
                file_layout.fill(at, data)
    assert path.read_bytes() == bytes(want)
    assert [put.crc for put in puts] == [sums.of(put.storage.read()) for put in puts]
    assert sums.joined(sums.of(b"ab"), sums.of(b"c"), 1) == sums.of(b"abc")


def test_what_was_drawn_is_not_kept() -> None:
    """Else the memory that drawing takes would grow with the number of tensors."""
    kept: list[weakref.ref[Block]] = []

    class Block(bytearray):
        """A buffer that can be asked whether it is still there."""

    def draw() -> Iterator[bytes]:
        for _ in range(3):
            block = Block(1000)
            kept.append(weakref.ref(block))
            yield block

    drawn = Drawn(3000, draw)
    assert drawn.read(0, 500) == bytes(500) and kept[0]() is not None
    assert drawn.read(500) == bytes(2500) and len(kept) == 3
    gc.collect()
    assert [block() for block in kept] == [None, None, None] and drawn.read() == bytes(3000)
