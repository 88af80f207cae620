"""What each tensor of a model's file is and how its library initialises it, watched while the library builds the model on the CPU.

This is the judge of the product's own recorder and shares nothing with it. Every operation of torch that writes is noted element by
element, below `torch.nn.init` and whatever a library has in its place. Which element of the model a file's element is, is told by a file
that the library wrote of a model whose elements are numbered.

    python tests/models/trace.py tests/models/truth.json.gz [NAME…]     writes it anew for the families named, or all
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from families import FAMILIES, Family, build, save, save_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from truth import load, store

Record = tuple[Any, ...]
UNKNOWN, EMPTY, FIXED, COMPUTED = ("unknown",), ("empty",), ("fixed",), ("computed",)
RANDOM = {"normal", "uniform", "trunc_normal", "orthogonal", "erf_uniform", "computed"}


def scaled(record: Record, factor: float) -> Record:
    """Return the record of `factor * x`."""
    kind, *a = record
    if kind in ("normal", "erf_uniform"):
        return (kind, a[0] * factor, a[1] * abs(factor), *a[2:])
    if kind == "uniform":
        return (kind, *sorted(x * factor for x in a))
    if kind == "trunc_normal":
        return (kind, a[0] * factor, a[1] * abs(factor), *sorted(x * factor for x in a[2:]))
    return (kind, a[0] * factor) if kind in ("constant", "orthogonal") else record


def moved(record: Record, by: float) -> Record:
    """Return the record of `x + by`."""
    kind, *a = record
    if kind in ("normal", "erf_uniform"):
        return (kind, a[0] + by, *a[1:])
    if kind == "trunc_normal":
        return (kind, a[0] + by, a[1], a[2] + by, a[3] + by)
    return (kind, *(x + by for x in a)) if kind in ("uniform", "constant") else record


def clamped(record: Record, low: float, high: float) -> Record:
    """Return the record of `clamp(x, low, high)`: the last step of a truncated normal distribution that is drawn by its inverse."""
    kind, *a = record
    if kind == "erf_uniform":
        return ("trunc_normal", a[0], a[1] / 2**0.5, low, high)
    if kind == "constant":
        return (kind, min(max(a[0], low), high))
    return COMPUTED if kind in RANDOM else record


def number_of(value: Any) -> float | None:
    """Return a Python number for a number or a tensor of one element; None for others."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else None
    return float(value) if isinstance(value, (int, float)) else None


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, default: float) -> float:
    """Return an argument of an operation as a number."""
    value = args[position] if len(args) > position else kwargs.get(name)
    return default if value is None else float(value)


# What an operation leaves in its output whatever was there before.
WRITES: dict[str, Callable[[tuple[Any, ...], dict[str, Any]], Record]] = {
    "normal_": lambda a, k: ("normal", argument(a, k, 1, "mean", 0.0), argument(a, k, 2, "std", 1.0)),
    "uniform_": lambda a, k: ("uniform", argument(a, k, 1, "from", 0.0), argument(a, k, 2, "to", 1.0)),
    "zero_": lambda a, k: ("constant", 0.0),
    "fill_": lambda a, k: ("constant", float(a[1])),
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), lambda a, k: ("constant", 0.0)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), lambda a, k: ("constant", 1.0)),
    **dict.fromkeys(("full", "full_like"), lambda a, k: ("constant", float(a[1]))),
    "new_full": lambda a, k: ("constant", float(a[2])),
    **dict.fromkeys(("empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided"), lambda a, k: EMPTY),
    **dict.fromkeys(("randn", "randn_like"), lambda a, k: ("normal", 0.0, 1.0)),
    **dict.fromkeys(("rand", "rand_like"), lambda a, k: ("uniform", 0.0, 1.0)),
}
# What it leaves depends on what was there.
CHANGES: dict[str, Callable[[Record, float], Record]] = {
    "mul": scaled,
    "div": lambda record, by: scaled(record, 1 / by) if by else COMPUTED,
    "add": moved,
    "sub": lambda record, by: moved(record, -by),
}
# What changes the view alone, in place.
VIEWS = {"t_", "transpose_", "squeeze_", "unsqueeze_", "detach_", "requires_grad_", "as_strided_", "set_", "resize_"}
SAME = {"clone", "_to_copy", "contiguous", "detach", "alias"}


class Watcher(TorchDispatchMode):
    """Keeps for every element of every storage the number of the record that says where its value comes from."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = [UNKNOWN]
        self.numbers: dict[Record, int] = {UNKNOWN: 0}
        self.storages: dict[int, np.ndarray] = {}
        self.alive: list[Any] = []  # so that no address is given out twice
        self.asleep = False

    def number(self, record: Record) -> int:
        if record not in self.numbers:
            self.numbers[record] = len(self.records)
            self.records.append(record)
        return self.numbers[record]

    def labels(self, tensor: torch.Tensor) -> np.ndarray:
        """Return the numbers of a tensor's elements, a view of those of its storage."""
        storage = tensor.untyped_storage()
        size = storage.nbytes() // tensor.element_size()
        kept = self.storages.get(storage._cdata)
        if kept is None or len(kept) != size:
            kept = self.storages[storage._cdata] = np.zeros(size, np.int32)
            self.alive.append(storage)
        steps = [4 * step for step in tensor.stride()]
        return np.lib.stride_tricks.as_strided(kept[tensor.storage_offset() :], tuple(tensor.shape), steps)

    def write(self, tensor: torch.Tensor, record: Record) -> None:
        self.labels(tensor)[...] = self.number(record)

    def change(self, source: torch.Tensor, target: torch.Tensor, new: Callable[[Record], Record]) -> None:
        old = np.array(self.labels(source))
        result = self.labels(target)
        for label in np.unique(old):
            np.copyto(result, self.number(new(self.records[label])), where=np.broadcast_to(old == label, result.shape))

    def is_random(self, tensors: list[torch.Tensor]) -> bool:
        return any(self.records[label][0] in RANDOM for tensor in tensors for label in np.unique(self.labels(tensor)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [] if self.asleep else [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        known = {x.untyped_storage()._cdata for x in inputs}
        random = bool(inputs) and func._schema.is_mutable and self.is_random(inputs)
        out = func(*args, **kwargs)
        if not self.asleep:
            name = func._schema.name.removeprefix("aten::")
            for result in (x for x in tree_flatten(out)[0] if isinstance(x, torch.Tensor)):
                fresh = result.untyped_storage()._cdata not in known
                if fresh or (func._schema.is_mutable and name not in VIEWS):
                    self.note(name, args, kwargs, result, inputs, random)
        return out

    def note(self, name: str, args: Any, kwargs: Any, result: torch.Tensor, inputs: list[torch.Tensor], random: bool) -> None:
        plain = name.removesuffix("_")
        by = number_of(args[1]) if len(args) > 1 else None
        if name in WRITES:
            self.write(result, WRITES[name](args, kwargs))
        elif name in SAME:
            self.labels(result)[...] = self.labels(args[0])
        elif name == "copy_":
            self.labels(result)[...] = self.labels(args[1])
        elif name in ("cat", "stack"):
            join = np.concatenate if name == "cat" else np.stack
            parts = [self.labels(x) for x in args[0]]
            self.labels(result)[...] = join([x for x in parts if x.size], int(argument(args, kwargs, 1, "dim", 0)))
        elif name == "linalg_qr":
            drawn = np.unique(self.labels(args[0]))
            self.write(result, ("orthogonal", 1.0) if {self.records[k][0] for k in drawn} == {"normal"} else COMPUTED)
        elif plain == "mul" and self.is_sign(args):
            self.labels(result)[...] = self.labels(args[0])
        elif plain in CHANGES and by is not None and args[0].shape == result.shape and "alpha" not in kwargs:
            self.change(args[0], result, lambda record: CHANGES[plain](record, by))
        elif plain == "neg":
            self.change(args[0], result, lambda record: scaled(record, -1))
        elif plain == "erfinv":
            self.change(
                args[0], result, lambda r: ("erf_uniform", 0.0, 1.0) if r[0] == "uniform" else COMPUTED if r[0] in RANDOM else FIXED
            )
        elif plain in ("clamp", "clip"):
            low, high = argument(args, kwargs, 1, "min", -np.inf), argument(args, kwargs, 2, "max", np.inf)
            self.change(args[0], result, lambda record: clamped(record, low, high))
        elif name == "constant_pad_nd":
            self.write(result, self.padded(args[0]))
        else:
            self.write(result, COMPUTED if random or self.is_random(inputs) else FIXED)

    def is_sign(self, args: Any) -> bool:
        """Return whether an orthogonal matrix is multiplied by signs: the second step of `orthogonal_`."""
        kinds = {self.records[label][0] for label in np.unique(self.labels(args[0]))}
        return kinds == {"orthogonal"} and isinstance(args[1], torch.Tensor) and bool((args[1].abs() == 1).all())

    def padded(self, source: torch.Tensor) -> Record:
        """Return the record of what is padded with zeros: of zeros the same."""
        return ("constant", 0.0) if not source.any() else COMPUTED if self.is_random([source]) else FIXED


@contextmanager
def watching() -> Iterator[Watcher]:
    """Watch what is built inside."""
    watcher = Watcher()
    draw = torch.nn.init._no_grad_trunc_normal_

    def truncated(tensor: torch.Tensor, mean: float, std: float, a: float, b: float, generator: Any = None) -> torch.Tensor:
        """By rejection, from torch 2.13 on: below it only masks are seen."""
        watcher.asleep = True
        try:
            result = draw(tensor, mean, std, a, b, generator=generator)
        finally:
            watcher.asleep = False
        watcher.write(tensor, ("trunc_normal", float(mean), float(std), float(a), float(b)))
        return result

    torch.nn.init._no_grad_trunc_normal_ = truncated
    try:
        with watcher:
            yield watcher
    finally:
        torch.nn.init._no_grad_trunc_normal_ = draw


def owners(model: torch.nn.Module) -> dict[str, tuple[str, str]]:
    """Return the layer that holds each tensor of the state: its path and its class. A parametrised layer counts as what it was."""
    found = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in model.state_dict():
        path = name.rpartition(".")[0].partition("parametrizations")[0].rstrip(".")
        kind = type(modules[path])
        found[name] = (path, kind.__mro__[1].__name__ if kind.__name__.startswith("Parametrized") else kind.__name__)
    return found


def numbered(family: Family, model: torch.nn.Module) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what the library writes of a model: for each tensor the numbers of its elements, counted through the state; and its config."""
    from safetensors.torch import load_file

    states = model.state_dict()
    if family.library in ("timm", "torchvision"):
        with tempfile.TemporaryDirectory() as folder:
            save_config(family, model, Path(folder))
            return positions(states), config_in(Path(folder))
    saved: dict[int, torch.Tensor] = {}
    for name, ids in positions(states).items():
        tensor = states[name]
        if tensor.dtype.is_floating_point and tensor.untyped_storage()._cdata not in saved:
            saved[tensor.untyped_storage()._cdata] = tensor.clone()
            tensor.copy_(torch.from_numpy(ids))
    with tempfile.TemporaryDirectory() as folder:
        save(family, model, Path(folder))
        written, config = load_file(next(Path(folder).glob("*.safetensors"))), config_in(Path(folder))
    plain = positions(states)
    return {name: x.numpy().astype(np.int64) if x.dtype.is_floating_point else plain[name] for name, x in written.items()}, config


def config_in(folder: Path) -> dict[str, Any]:
    """Return the config of a folder; empty where there is none."""
    path = folder / "config.json"
    return json.loads(path.read_text()) if path.exists() else {}


def positions(states: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return the number of each element of a state, counted from 0; what is exact in float32 for tiny models."""
    found, count = {}, 0
    for name, tensor in states.items():
        found[name] = np.arange(count, count + tensor.numel()).reshape(tuple(tensor.shape))
        count += tensor.numel()
    return found


def spoken(record: Record) -> list[Any]:
    return [x if isinstance(x, str) else float(f"{x:.7g}") for x in record]


def settled(record: Record, values: np.ndarray) -> Record:
    """Return a record in its plainest form: what is the same at each run and in each element is a constant."""
    if record[0] in ("fixed", "unknown"):
        return ("constant", float(values.flat[0])) if (values == values.flat[0]).all() else FIXED
    return record


def initialised(labels: np.ndarray, values: np.ndarray, records: list[Record]) -> dict[str, Any]:
    """Return how a tensor is initialised: the record of most of its elements, and the rows or other parts that differ."""
    kinds, counts = np.unique(labels, return_counts=True)
    order = kinds[np.argsort(-counts)]
    found: dict[str, Any] = {"init": spoken(settled(records[order[0]], values[labels == order[0]]))}
    rows = {}
    for other in order[1:]:
        record, where = spoken(settled(records[other], values[labels == other])), labels == other
        full = where.reshape(len(where), -1).all(axis=1)
        if where.sum() != full.sum() * where[0].size:
            return {"init": ["mixed", *(spoken(records[k]) for k in order)]}
        if record != found["init"]:
            rows |= {str(k): record for k in np.flatnonzero(full)}
    return found | ({"rows": rows} if rows else {})


def trace(family: Family) -> dict[str, Any]:
    """Return what the library says of a family."""
    library = __import__(family.library)
    torch.manual_seed(0)
    with watching() as watcher:
        model = build(family)
    states, layers = model.state_dict(), owners(model)
    torch.manual_seed(1)
    others = build(family).state_dict()
    labels = {name: np.array(watcher.labels(tensor)) for name, tensor in states.items()}
    every_label = np.concatenate([labels[name].ravel() for name in states])
    every_value = np.concatenate([states[name].double().numpy().ravel() for name in states])
    groups: dict[Any, list[str]] = {}
    for name, tensor in states.items():
        groups.setdefault((tensor.untyped_storage()._cdata, tensor.storage_offset()) if tensor.numel() else name, []).append(name)
    buffers = {name for name, _ in model.named_buffers()}
    names = list(states)
    starts = np.cumsum([0, *(states[name].numel() for name in names)])
    tensors = {}
    first = {name: tensor.clone() for name, tensor in states.items()}
    elements, config = numbered(family, model)
    for name, ids in elements.items():
        source = names[int(np.searchsorted(starts, ids.flat[0], side="right")) - 1] if ids.size else name
        path, kind = layers[source]
        tensors[name] = {"shape": list(ids.shape), "layer_type": kind, "path": path}
        tensors[name] |= initialised(every_label[ids], every_value[ids], watcher.records) if ids.size else {"init": ["constant", 0.0]}
        if (tensors[name]["init"][0] in RANDOM) == torch.equal(first[source], others[source]):
            raise ValueError(f"{name} is said to be {tensors[name]['init']}, which two seeds contradict")
        tensors[name] |= {"buffer": True} if source in buffers else {}
        tensors[name] |= {"source": source} if source != name else {}
    return {
        "library": family.library,
        "version": library.__version__.partition("+")[0],
        "class": family.class_name,
        "config": config,
        "tensors": dict(sorted(tensors.items())),
        "ties": [group for group in groups.values() if len(group) > 1],
    }


def drawn(family: Family, seeds: range) -> dict[str, np.ndarray]:
    """Return what a library draws for each tensor that it writes, without a file: one array of all seeds, the seed first."""
    elements, _ = numbered(family, build(family))
    runs = []
    for seed in seeds:
        torch.manual_seed(seed)
        states = build(family).state_dict()
        values = np.concatenate([tensor.double().numpy().ravel() for tensor in states.values()])
        runs.append({name: values[ids] for name, ids in elements.items()})
    return {name: np.stack([run[name] for run in runs]) for name in elements}


def main() -> None:
    """Trace the families named, or all."""
    target, *names = sys.argv[1:]
    path = Path(target)
    truth = load(path) if names and path.exists() else {}
    for name in names or FAMILIES:
        truth[name] = trace(FAMILIES[name])
        odd = {k: t for k, t in truth[name]["tensors"].items() if t["init"][0] not in ("normal", "uniform", "trunc_normal", "constant")}
        print(name, len(truth[name]["tensors"]), "tensors", {k: (t["init"], t["layer_type"]) for k, t in odd.items()} or "", flush=True)
    store(path, truth)


if __name__ == "__main__":
    main()
