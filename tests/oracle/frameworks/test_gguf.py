"""GGUF, judged by the gguf package: what ckpt writes it reads to the same bits, and blocks mean the same numbers to both."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from conftest import ROOT, Run
from gguf import quants

SAMPLE = ROOT / "sample_models" / "blocks.gguf"


def read(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    return {t.name: (t.tensor_type.name, t.shape.tolist(), t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


def test_what_is_rebuilt_is_what_it_was(ckpt: Run, tmp_path: Path) -> None:
    ckpt("rename", SAMPLE, "blk.*=x.*", "-o", tmp_path / "a.gguf")
    ckpt("rename", tmp_path / "a.gguf", "x.*=blk.*", "-o", tmp_path / "b.gguf")
    assert read(tmp_path / "b.gguf") == read(SAMPLE) and (tmp_path / "b.gguf").read_bytes() == SAMPLE.read_bytes()


def test_what_is_set_in_place_is_read(ckpt: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(SAMPLE.read_bytes())
    ckpt("set", path, "output_norm.weight[3] = 42", "-i")
    want = {t.name: t.data for t in gguf.GGUFReader(SAMPLE).tensors}["output_norm.weight"].copy()
    want[3] = 42
    assert read(path)["output_norm.weight"][2] == want.tobytes()
    assert {**read(path), "output_norm.weight": None} == {**read(SAMPLE), "output_norm.weight": None}


def test_what_is_cast_is_what_the_package_decodes(ckpt: Run, tmp_path: Path) -> None:
    ckpt("cast", SAMPLE, "float32", "*[!S].weight", "-o", tmp_path / "a.gguf")
    for tensor in gguf.GGUFReader(tmp_path / "a.gguf").tensors:
        (before,) = (t for t in gguf.GGUFReader(SAMPLE).tensors if t.name == tensor.name)
        if tensor.tensor_type.name == "F32":
            want = quants.dequantize(before.data, before.tensor_type)
            np.testing.assert_array_equal(tensor.data, want, tensor.name)


def test_what_comes_from_elsewhere_has_an_architecture(ckpt: Run, tmp_path: Path) -> None:
    ckpt("convert", ROOT / "sample_models" / "mlp.safetensors", tmp_path / "a.gguf")
    assert gguf.GGUFReader(tmp_path / "a.gguf").fields["general.architecture"].contents() == "unknown"
    names = [t["name"] for t in json.loads(ckpt("ls", tmp_path / "a.gguf", "--json"))["tensors"]]
    assert list(read(tmp_path / "a.gguf")) == names
