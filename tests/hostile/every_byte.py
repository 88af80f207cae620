"""One byte of a good file's contents changed: `diff` says different and `hash` differs, or they refuse. Never "same".

For the tests, and as a program for `make fuzz`: `every_byte.py --seconds 60 [--seed N]`. Contents are tensors, their names, and bytes that
are not decoded. Which byte of a file is content is told in two ways:

- by what another library reads before and after (torch, safetensors, numpy, h5py), wherever in the file the byte is;
- by where ckpt itself says that the elements lie, which holds every format and every kind of object to what it lists.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from judge import Warm
from mutations import SAMPLES

from ckpt_cli import reading
from ckpt_cli.analysis.contents import contents
from ckpt_cli.errors import CkptError
from ckpt_cli.storage.file import File, FileWindow
from ckpt_cli.storage.mapped import Mapped
from ckpt_cli.storage.storage import Extent, Slice, Storage
from ckpt_cli.tensors.checkpoint import Checkpoint
from ckpt_cli.tensors.tensor import Tensor

CASES = Path(os.environ.get("CKPT_CASES", SAMPLES.parents[1] / "shared" / "cases"))
LARGEST = 3_000_000  # bytes of a file that is changed
NOT_CHECKPOINTS = {".json", ".md", ".txt", ".py", ".toml", ".png", ".pth.tar"}
COMMANDS = ("ckpt_cli.commands.diff", "ckpt_cli.commands.hash", "numpy", "ckpt_cli.analysis.diff", "ckpt_cli.analysis.digest")

Content = dict[str, tuple[str, tuple[int, ...], bytes]]  # name → dtype, shape, bytes


def sources() -> list[Path]:
    """Every sample and every real checkpoint: files, and folders that are one model."""
    found = [path for path in sorted(SAMPLES.iterdir()) if path.suffix != ".py"]
    for family in sorted(CASES.iterdir()) if CASES.is_dir() else ():
        if family.is_dir() and family.name not in ("expect", "reports"):
            found += sorted(path for path in family.iterdir() if path.suffix not in NOT_CHECKPOINTS)
    found += sorted(path for path in CASES.glob("reports/*/*") if path.suffix not in NOT_CHECKPOINTS)
    return found


# What other libraries read


def of_torch(raw: bytes) -> Content:
    import torch

    found: Content = {}

    def walk(name: str, thing: Any) -> None:
        if isinstance(thing, torch.Tensor):
            plain = thing.detach().resolve_conj().resolve_neg()
            found[name] = (str(thing.dtype), tuple(thing.shape), plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(thing, (dict, list, tuple)):
            for key, value in thing.items() if isinstance(thing, dict) else enumerate(thing):
                walk(f"{name}/{key}", value)

    walk("", torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu"))
    return found


def of_safetensors(raw: bytes) -> Content:
    from safetensors import deserialize

    return {name: (str(view["dtype"]), tuple(view["shape"]), bytes(view["data"])) for name, view in deserialize(raw)}


def of_numpy(raw: bytes) -> Content:
    import numpy

    loaded = numpy.load(io.BytesIO(raw))
    arrays = {"": loaded} if isinstance(loaded, numpy.ndarray) else {name: loaded[name] for name in loaded.files}
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()}


def of_h5py(raw: bytes) -> Content:
    import h5py

    found: Content = {}

    def visit(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and thing.dtype.kind in "biufV":
            found[name] = (str(thing.dtype), thing.shape, thing[()].tobytes())

    with h5py.File(io.BytesIO(raw)) as file:
        file.visititems(visit)
    return found


ORACLES: dict[bytes, Callable[[bytes], Content]] = {b"PK": of_torch, b"\x80\x02": of_torch, b"\x93N": of_numpy, b"\x89H": of_h5py}


def oracle_of(path: Path) -> Callable[[bytes], Content] | None:
    """The library that reads a file, where there is one that takes it as it is."""
    if not path.is_file() or path.suffix in (".keras", ".pt2", ".torchscript", ".pkl"):
        return None
    if path.suffix == ".safetensors":
        return of_safetensors
    oracle = of_numpy if path.suffix == ".npz" else ORACLES.get(path.read_bytes()[:2])
    return oracle if oracle and content(oracle, path.read_bytes()) else None


def content(oracle: Callable[[bytes], Content], raw: bytes) -> Content | None:
    """What the library reads; None where it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return oracle(raw)
        except Exception:
            return None


# Where elements lie


def spots(checkpoint: Checkpoint, choose: random.Random) -> Iterator[tuple[str, int]]:
    """For each tensor, and for what is in none, a file and the offset in it of a byte of its contents."""
    for tensor in checkpoint.values():
        whole = contents(tensor)
        if whole.nbytes and (spot := _spot(whole.storage, _byte(whole, choose))):
            yield spot
    for _, storage, _ in checkpoint.undecoded.values():
        if storage and storage.nbytes and (spot := _spot(storage, choose.randrange(storage.nbytes))):
            yield spot


def _byte(tensor: Tensor, choose: random.Random) -> int:
    """A byte of the storage that belongs to an element."""
    if tensor.contiguous:
        return tensor.start + choose.randrange(tensor.nbytes)
    index = [choose.randrange(n) for n in tensor.shape]
    return (tensor.offset + sum(i * s for i, s in zip(index, tensor.strides, strict=True))) * tensor.dtype.nbytes


def _spot(storage: Storage, at: int) -> tuple[str, int] | None:
    """Where byte `at` of a storage lies; None where it is made of others in a way that does not say so."""
    if isinstance(storage, Extent):
        return _in_file(storage.file, storage.place() + at) if not getattr(storage, "method", 0) else None
    if isinstance(storage, Slice):
        return _spot(storage.of, storage.offset + at)
    return _spot(storage.of, at) if isinstance(storage, Mapped) and storage.before == storage.after else None


def _in_file(file: File, at: int) -> tuple[str, int] | None:
    """The same byte in the file that a window is of; None where it is in memory alone."""
    while isinstance(file, FileWindow):
        file, at = file.file, at + file.start
    return (file.path, at) if os.path.isfile(file.path) else None


# The rule


def check(source: Path, choose: random.Random, folder: Path, warm: Warm) -> None:
    """Change a byte of the contents of a copy of `source`, and ask whether it is the same. Raises AssertionError where it is said to be."""
    before, after = folder / f"before{source.suffix}", folder / f"after{source.suffix}"
    for copy in (before, after):
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755)
    changed = _change(after, choose)
    if changed is None:
        return
    difference = warm(folder, "diff", before.name, after.name, "--exact")
    assert difference.status in (1, 2), f"{source}: {changed} changed, and diff says same: {difference}"
    one, two = (warm(folder, "hash", path.name) for path in (before, after))
    assert two.status == 2 or one.out != two.out, f"{source}: {changed} changed, and the hash is the same"


def _change(path: Path, choose: random.Random) -> str | None:
    """Change a byte of contents; say which one it was. None where there is none to be changed."""
    oracle = oracle_of(path)
    if oracle and path.stat().st_size < LARGEST and choose.random() < 0.5:
        return _change_anywhere(path, oracle, choose)
    try:
        found = [spot for spot in spots(reading.open(str(path)), choose) if os.path.getsize(spot[0]) < LARGEST]
    except CkptError:
        return None
    if not found:
        return None
    name, at = choose.choice(found)
    _flip(Path(name), at, choose)
    return f"byte {at} of {Path(name).name}"


def _change_anywhere(path: Path, oracle: Callable[[bytes], Content], choose: random.Random) -> str | None:
    raw = path.read_bytes()
    wanted = content(oracle, raw)
    for _ in range(20):
        at = choose.randrange(len(raw))
        _flip(path, at, choose)
        found = content(oracle, path.read_bytes())
        if found is not None and found != wanted:
            return f"byte {at}, by another library,"
        path.write_bytes(raw)
    return None


def _flip(path: Path, at: int, choose: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << choose.randrange(8)]))


def main() -> None:
    """Go on until the time is over; what is said to be the same is an error, and its seed is printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 48) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)
    choose, stop, count, warm = random.Random(seed), time.monotonic() + asked.seconds, 0, Warm(*COMMANDS)
    every = sources()
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < stop:
            check(choose.choice(every), choose, Path(folder), warm)
            count += 1
    warm.close()
    print(f"{count} changes, each found")


if __name__ == "__main__":
    sys.exit(main())
