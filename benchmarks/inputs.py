"""The files that are measured; and, by hand, a checkpoint as training leaves it, of any size, written in little memory:

python benchmarks/inputs.py --size 10GB --optimizer big.pt
python benchmarks/inputs.py --size 10GB big.safetensors
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import packed
from streams import Blocks, Tensor, cut, drawn, write_safetensors, write_torch

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_models"
UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def layers(size: int, dtype: str = "float32", blocks: Blocks | None = None) -> dict[str, Tensor]:
    """Layers of 4096 × 4096 (fewer rows in the last), and a bias of 16 kB as float32."""
    rows = max(1, size // (4096 * (4 if dtype == "float32" else 2)))
    heights = [min(4096, rows - start) for start in range(0, rows, 4096)]
    made = {f"layers.{index}.weight": Tensor((height, 4096), dtype, blocks) for index, height in enumerate(heights)}
    return made | {"head.bias": Tensor((4096,), dtype, cut(bytes(range(256)) * 64))}


def names(count: int) -> dict[str, Tensor]:
    return {f"layers.{index}.weight": Tensor((1,)) for index in range(count)}


def shards(folder: Path, tensors: dict[str, Tensor], count: int = 300) -> None:
    """The folder of a model in shards, with an index."""
    folder.mkdir()
    files = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    every = list(tensors.items())
    dealt = {file: dict(every[start::count]) for start, file in enumerate(files)}
    for file, part in dealt.items():
        write_safetensors(folder / file, part)
    index = {name: file for file, part in dealt.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def saved_by_torch(path: Path, tensors: dict[str, Tensor]) -> None:
    """Small tensors, as torch itself writes them."""
    shapes = json.dumps({name: tensor.shape for name, tensor in tensors.items()})
    program = "import json, sys, torch; torch.save({n: torch.zeros(s) for n, s in json.load(sys.stdin).items()}, sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, path], input=shapes, text=True, check=True)


WRITERS: dict[str, Callable[[Path, dict[str, Tensor]], None]] = {
    ".safetensors": write_safetensors,
    ".pt": write_torch,
    ".pth": saved_by_torch,
    "": shards,
}
# The word in a row → the suffix, and what is in it. The size counts where the bytes matter, not where the header alone does.
INPUTS: dict[str, tuple[str, Callable[[int], dict[str, Tensor]]]] = {
    "float32": (".safetensors", lambda size: layers(size, "float32", drawn())),
    "same": (".safetensors", lambda size: layers(size, "float32", drawn())),
    "other": (".safetensors", lambda size: layers(size, "float32", drawn(seed=1))),
    "bfloat16": (".safetensors", lambda size: layers(size, "bfloat16", drawn("bfloat16"))),
    "float16": (".safetensors", lambda size: layers(size, "float16", drawn("float16"))),
    "gptq": (".safetensors", packed.packed(packed.gptq)),
    "nf4": (".safetensors", packed.packed(packed.nf4)),
    "fp8": (".safetensors", packed.packed(packed.fp8)),
    "torch": (".pt", lambda size: layers(size, "float32", drawn())),
    "sparse": (".safetensors", lambda size: layers(2 * size)),
    "sparse_torch": (".pt", lambda size: layers(2 * size)),
    "names_1k": (".pth", lambda size: names(1000)),
    "names_20k": (".pth", lambda size: names(20_000)),
    "terabyte": (".safetensors", lambda size: {f"layers.{index}.weight": Tensor((125, 10**6)) for index in range(2000)}),
    "shards": ("", lambda size: names(45_000)),
    "million": (".safetensors", lambda size: names(10**6)),
}


class Inputs(dict[str, str]):
    """Words that commands may mention, and what they stand for. A file is made when it is first mentioned."""

    def __init__(self, folder: Path, megabytes: int, known: dict[str, str]) -> None:
        super().__init__(known, out=f"{folder}/out.safetensors", out_torch=f"{folder}/out.pt", turn="0")
        folder.mkdir(exist_ok=True)
        self.folder, self.size = folder, megabytes * 10**6

    def __missing__(self, name: str) -> str:
        suffix, contents = INPUTS[name]
        path = self.folder / (name + suffix)
        WRITERS[suffix](path, contents(self.size))
        os.sync()  # what is still to be written would slow down whoever comes next
        self[name] = str(path)
        return self[name]

    def words(self, template: str) -> list[str]:
        return [word.format_map(self) for word in shlex.split(template)]

    def keep_only(self, templates: Iterable[str]) -> None:
        """Removes outputs, and inputs that no command to come mentions, so that few files are there at a time."""
        self.clear_outputs()
        wanted = {field for template in templates for _, field, _, _ in string.Formatter().parse(template)}
        for name in (self.keys() & INPUTS.keys()) - wanted:
            remove(Path(self.pop(name)))

    def clear_outputs(self) -> None:
        for path in self.folder.glob("out*"):
            remove(path)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def language_model(size: int, dtype: str, blocks: Blocks, width: int) -> dict[str, Tensor]:
    """The names and shapes of a GPT-2; the embedding has as many rows as the size leaves for it."""
    block = {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.c_attn.weight": (width, 3 * width),
        "attn.c_attn.bias": (3 * width,),
        "attn.c_proj.weight": (width, width),
        "attn.c_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (width, 4 * width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (4 * width, width),
        "mlp.c_proj.bias": (width,),
    }
    each = sum(Tensor(shape, dtype).size for shape in block.values())
    row = Tensor((width,), dtype).size
    depth = max(0, size - 1000 * row) // each
    rows = max(1, (size - depth * each) // row)
    shapes = {f"transformer.h.{layer}.{name}": shape for layer in range(depth) for name, shape in block.items()}
    shapes = {"transformer.wte.weight": (rows, width)} | shapes
    return {name: Tensor(shape, dtype, blocks) for name, shape in shapes.items()}


def training(size: int, dtype: str, width: int) -> dict[str, Any]:
    """A training checkpoint: a model, Adam's state of it (two moments and a step for each parameter), and how far it had come."""
    blocks, squares = drawn(dtype), drawn(dtype, seed=1, squared=True)
    model = language_model(size // 3, dtype, blocks, width)
    step = Tensor((), "float32", cut(b"\x00\x80\x3b\x46"))  # 12000
    state = {
        index: {"step": step, "exp_avg": tensor, "exp_avg_sq": tensor._replace(blocks=squares)}
        for index, tensor in enumerate(model.values())
    }
    group = {"lr": 0.0006, "betas": (0.9, 0.95), "eps": 1e-08, "weight_decay": 0.1, "amsgrad": False, "params": list(range(len(model)))}
    return {"model": model, "optimizer": {"state": state, "param_groups": [group]}, "epoch": 3, "step": 12000, "loss": 2.875}


def parse_size(text: str) -> int:
    found = re.fullmatch(r"([\d.]+) ?(\w*)", text)
    if not found or found[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; 500MB and 10GB are")
    return int(float(found[1]) * UNITS[found[2]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a new file; .safetensors, else as torch.save writes it")
    parser.add_argument("--size", type=parse_size, default=parse_size("1GB"), help="of the whole, to about one part in a thousand")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--optimizer", action="store_true", help="with Adam's state, in a .pt: two thirds of the file")
    given = parser.parse_args()
    width = 1024 if given.size >= 10**9 else 256
    flat = given.path.suffix == ".safetensors"
    if flat and given.optimizer:
        parser.error("a .safetensors holds no optimizer; name a .pt")
    if given.path.exists():
        parser.error(f"{given.path} exists")
    try:
        if given.optimizer:
            write_torch(given.path, training(given.size, given.dtype, width))
        else:
            model = language_model(given.size, given.dtype, drawn(given.dtype), width)
            (write_safetensors if flat else write_torch)(given.path, model)
    except BaseException:
        given.path.unlink(missing_ok=True)
        raise
    print(f"{given.path}: {given.path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
