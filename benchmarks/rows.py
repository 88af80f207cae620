"""The tasks that are measured: one line a row.

A command is what follows `ckpt`; a yardstick and a peer are whole commands. A word in braces is an input (inputs.py has them), an output
(removed before every run), or a program; {turn} is a number that is another in every run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv-peers" / "bin"
BIAS = 16384  # bytes
START = "{python} -c pass"
# To read two files and write one that is on the disk is the least that any merge takes.
BOTH = """sh -c 'cat "$0" "$1" > /dev/null; cp "$0" "$2" && sync "$2"'"""


class Row(NamedTuple):
    """A task: the command, what it is held against, the ratio to reach, and the memory (MB) not to exceed; the bytes that it changes."""

    task: str
    command: str
    yardstick: str
    ratio: float
    memory: int = 64
    patch: int | None = None


ROWS = [
    Row("ls of a small .safetensors", "ls {small}", START, 6.5),
    Row("ls of a small .pt", "ls {small_torch}", START, 6.5),
    Row("get of one value", "get {small_torch} 2.bias[0]", START, 6.5),
    Row("tied of a small .pt", "tied {small_tied}", START, 6.5),
    Row("ls of a .pt with 1,000 tensors", "ls {names_1k}", "{python} {naive} load {names_1k}", 1 / 16),
    Row("ls of a .pt with 20,000 tensors", "ls {names_20k}", "{python} {naive} load {names_20k}", 1 / 12),
    Row("ls of 1 TB, 2,000 tensors (sparse)", "ls {terabyte}", START, 7),
    Row("ls of 300 shards, 45,000 tensors", "ls {shards}", "{python} {naive} names {shards}", 0.8),
    Row("ls of 1,000,000 tensors in one header", "ls {million}", "{python} {naive} names {million}", 0.4, 400),
    Row("set one bias in place, .safetensors (sparse)", "set {sparse} 'head.bias = {turn}' -i", START, 8, patch=BIAS),
    Row("set one bias in place, .pt (sparse)", "set {sparse_torch} 'head.bias = {turn}' -i", START, 8, patch=BIAS),
    Row("reinit one bias in place, .safetensors (sparse)", "reinit {sparse} 'head.bias=constant({turn})' -i", START, 8, patch=BIAS),
    Row("reinit one bias in place, .pt (sparse)", "reinit {sparse_torch} 'head.bias=constant({turn})' -i", START, 8, patch=BIAS),
    Row("stats, bfloat16", "stats {bfloat16}", "cat {bfloat16}", 2.5),
    Row("stats, float16", "stats {float16}", "cat {float16}", 3),
    Row("stats, float32", "stats {float32}", "cat {float32}", 2.5),
    Row("hash", "hash {float32}", "sha256sum {float32}", 0.6),
    Row("diff of equal files", "diff {float32} {same}", "cmp {float32} {same}", 0.35),
    Row("diff, every element different", "diff {float32} {other}", "cmp {float32} {same}", 0.7),
    Row("diff --unchanged of equal files", "diff {float32} {same} --unchanged", "cmp {float32} {same}", 0.35),
    Row("diff --by-layer, every element different", "diff {float32} {other} --by-layer", "cmp {float32} {same}", 0.75),
    Row("set one bias, -o, .safetensors", "set {float32} 'head.bias = 1' -o {out}", "cp {float32} {out}", 1.15),
    Row("set one bias, -o, .pt", "set {torch} 'head.bias = 1' -o {out_torch}", "cp {torch} {out_torch}", 1.15),
    Row("reinit one bias, -o, .safetensors", "reinit {float32} head.bias=zeros -o {out}", "cp {float32} {out}", 1.15),
    Row("reinit one bias, -o, .pt", "reinit {torch} head.bias=zeros -o {out_torch}", "cp {torch} {out_torch}", 1.15),
    Row("reinit '*=normal', -o", "reinit {float32} '*=normal' --seed 0 -o {out}", "cp {float32} {out}", 1.3, 300),
    Row("convert .pt to .safetensors", "convert {torch} {out}", "cp {torch} {out}", 1.2),
    Row("convert .safetensors to .pt", "convert {float32} {out_torch}", "cp {float32} {out_torch}", 1.2),
    *(
        Row(f"{kind} to bfloat16", f"cast {{{word}}} bfloat16 --dequantise -o {{out}}", "cp {bfloat16} {out}", 2.5)
        for word, kind in (("gptq", "GPTQ 4 bit"), ("nf4", "nf4"), ("fp8", "fp8 by blocks"))
    ),
    *(
        Row(f"merge of two, {one}", f"merge {{{one}}} {{{two}}} -o {{out}}", f"{BOTH} {{{one}}} {{{two}}} {{out}}", 1.5, 100)
        for one, two in (("float32", "other"), ("bfloat16", "bfloat16_other"))
    ),
    Row(
        "set '* = 0.5 * this + 0.5 * @b'",
        "set {float32} '* = 0.5 * this + 0.5 * @{other}' -o {out}",
        f"{BOTH} {{float32}} {{other}} {{out}}",
        1.5,
    ),
    Row("cast to bfloat16", "cast {float32} bfloat16 -o {out}", "cp {float32} {out}", 1.5),
]

# What else does a task, by the task: the peer's name and its command. Only what gives a comparable answer is here: `ckptkit diff`
# compares names and shapes, `ckptkit info` lists nothing of a .pt, and neither edits.
PEER_COMMANDS = {
    "ls of a small .safetensors": {
        "safetensors-print": "{safetensors_print} --tensors {small}",
        "ckptkit": "{ckptkit} info {small}",
        "sft": "{sft} tree {small}",
    },
    "ls of a small .pt": {"torch": "{python} {naive} load {small_torch}"},
    "ls of 1 TB, 2,000 tensors (sparse)": {
        "safetensors-print": "{safetensors_print} --tensors {terabyte}",
        "ckptkit": "{ckptkit} info {terabyte}",
        "sft": "{sft} tree {terabyte}",
        "safetensors": "{python} {naive} names {terabyte}",
    },
    "ls of 1,000,000 tensors in one header": {
        "safetensors-print": "{safetensors_print} --tensors {million}",
        "ckptkit": "{ckptkit} info {million}",
        "sft": "{sft} tree {million}",
    },
    "stats, float32": {"torch": "{python} {naive} stats {float32}", "sft": "{sft} stat {float32}"},
    "stats, bfloat16": {"torch": "{python} {naive} stats {bfloat16}", "sft": "{sft} stat {bfloat16}"},
    "hash": {"safetensors + hashlib": "{python} {naive} digests {float32}"},
    "diff of equal files": {"torch": "{python} {naive} same {float32} {same}", "sft": "{sft} diff --delta {float32} {same}"},
    "diff, every element different": {"torch": "{python} {naive} compare {float32} {other}", "sft": "{sft} diff --delta {float32} {other}"},
    "set one bias, -o, .safetensors": {"load_file, save_file": "{python} {naive} edit {float32} {out}"},
    "set one bias, -o, .pt": {"torch.load, torch.save": "{python} {naive} edit {torch} {out_torch}"},
    "reinit '*=normal', -o": {"load_file, nn.init, save_file": "{python} {naive} draw {float32} {out}"},
    "convert .pt to .safetensors": {
        "torch.load, save_file": "{python} {naive} convert {torch} {out}",
        "sft": "{sft} convert {torch} -o {out}",
    },
    "convert .safetensors to .pt": {"load_file, torch.save": "{python} {naive} convert {float32} {out_torch}"},
    "merge of two, float32": {
        "load_file, save_file": "{python} {naive} mean {float32} {other} {out}",
        "mergekit": "{python} {naive} mergekit {mergekit} {float32} {other} {out}",
    },
    "merge of two, bfloat16": {
        "load_file, save_file": "{python} {naive} mean {bfloat16} {bfloat16_other} {out}",
        "mergekit": "{python} {naive} mergekit {mergekit} {bfloat16} {bfloat16_other} {out}",
    },
    "cast to bfloat16": {
        "load_file, save_file": "{python} {naive} cast {float32} {out}",
        "sft": "{sft} cast {float32} --dtype bf16 -o {out}",
    },
}

PROGRAMS = {
    "python": sys.executable,
    "ckpt": str(Path(sys.executable).with_name("ckpt")),
    "naive": str(ROOT / "benchmarks" / "naive.py"),
    "small": str(ROOT / "sample_models" / "mlp.safetensors"),
    "small_torch": str(ROOT / "sample_models" / "mlp.pt"),
    "small_tied": str(ROOT / "sample_models" / "shared-mlp.pt"),
    "sft": str(PEERS / "sft"),
    "mergekit": str(PEERS / "mergekit-pytorch"),
    "ckptkit": str(PEERS / "ckptkit"),
    "safetensors_print": str(PEERS / "safetensors-print"),
}
