"""What the product says and draws for a tiny model: its own initialisation read back from the plan, recipes, and draws by seed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from families import FAMILIES, Family

ROOT = Path(__file__).resolve().parent.parent.parent


class Tiny(NamedTuple):
    """A tiny model as its library wrote it."""

    name: str
    family: Family
    folder: Path

    @property
    def weights(self) -> Path:
        return next(self.folder.glob("*.safetensors"))

    @property
    def arch(self) -> tuple[str, ...]:
        """The option that names the model where no config does: `--arch torchvision:resnet18(num_classes=3)`."""
        if self.family.library != "torchvision":
            return ()
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.family.config.items())
        return ("--arch", f"torchvision:{self.family.class_name}" + (f"({arguments})" if arguments else ""))


def tiny(name: str, home: Path) -> Tiny:
    """Build the model of a family, and let its library write it."""
    import torch
    from families import build, save

    torch.manual_seed(0)
    save(FAMILIES[name], build(FAMILIES[name]), home / name)
    return Tiny(name, FAMILIES[name], home / name)


# The schemes that a plan may name, with their defaults, as the truth has them.
KINDS: dict[str, tuple[str, list[float]]] = {
    "zeros": ("constant", [0.0]),
    "ones": ("constant", [1.0]),
    "constant": ("constant", [0.0]),
    "normal": ("normal", [0.0, 1.0]),
    "uniform": ("uniform", [0.0, 1.0]),
    "trunc_normal": ("trunc_normal", [0.0, 1.0, -2.0, 2.0]),
    "orthogonal": ("orthogonal", [1.0]),
}
PLACES = {"mean": 0, "std": 1, "a": 2, "b": 3, "gain": 0, "value": 0}


def read_scheme(text: str) -> dict[str, Any]:
    """Return what a scheme draws in the words of the truth: `init`, and `rows` where some differ."""
    name, _, inside = text.strip().partition("(")
    arguments = split(inside.removesuffix(")"))
    if name == "rows":
        rows = {}
        for keys, _, scheme in (argument.partition("=") for argument in arguments[1:]):
            for key in re.findall(r"\d+", keys):
                rows[key] = read_scheme(scheme)["init"]
        return read_scheme(arguments[0]) | {"rows": rows}
    if name not in KINDS:
        return {"init": [name, *arguments]}
    kind, values = KINDS[name][0], list(KINDS[name][1])
    for at, argument in enumerate(arguments):
        key, equals, value = argument.rpartition("=")
        place = {"a": 0, "b": 1}.get(key, 0) if name == "uniform" and equals else PLACES.get(key.strip(), 0) if equals else at
        values[place] = float(value)
    return {"init": [kind, *values]}


def split(text: str) -> list[str]:
    """Split arguments at the commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def same_draw(one: list[Any], other: list[Any]) -> bool:
    """Return whether two descriptions draw alike: a truncation beyond eight standard deviations cuts nothing off."""
    one, other = plainest(one), plainest(other)
    return one[0] == other[0] and len(one) == len(other) and all(close(a, b) for a, b in zip(one[1:], other[1:], strict=True))


def plainest(init: list[Any]) -> list[Any]:
    kind, *a = init
    if kind == "trunc_normal" and min(a[0] - a[2], a[3] - a[0]) > 8 * a[1]:
        return ["normal", *a[:2]]
    return ["constant", a[0]] if kind == "normal" and a[1] == 0 else init


def close(a: float, b: float) -> bool:
    return abs(a - b) <= 2e-6 * max(abs(a), abs(b))


def disagreement(plan: dict[str, Any], truth: dict[str, Any], buffers: bool = False) -> dict[str, str]:
    """Return the tensors of which a plan says otherwise than the truth, with both.

    Values that the library computes have no name in the truth: there the values themselves are compared.
    """
    said = {step["name"]: step["scheme"] for step in plan["tensors"]}
    wrong = {}
    for name, true in truth.items():
        if name not in said:
            wrong[name] = f"nothing, not {true['init']}"
        elif true["init"][0] not in ("fixed", "computed", "mixed"):
            ours = read_scheme(said[name])
            rows, true_rows = ours.get("rows", {}), true.get("rows", {})
            if not same_draw(ours["init"], true["init"]) or rows.keys() != true_rows.keys():
                wrong[name] = f"{said[name]}, not {true['init']} {true_rows or ''}".strip()
            elif any(not same_draw(rows[key], true_rows[key]) for key in rows):
                wrong[name] = f"{said[name]}, not rows {true_rows}"
    return wrong


WITHOUT = """
import sys, json
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("transformers", "diffusers", "timm", "torchvision", "accelerate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from ckpt_cli.cli import main
for line in sys.stdin:
    print(json.dumps(main(json.loads(line))), flush=True)
"""


class Elsewhere:
    """`ckpt` in a process where no library of models can be imported."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WITHOUT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ, cwd=ROOT
        )

    def run(self, *words: object) -> int:
        """Run a command; return its exit status."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps([str(word) for word in words]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()
