"""The files that the ranks of FSDP save each by itself, with torch.save: the state dict of a rank, its tensors sharded over the ranks.

    model_world_size_2_rank_0.pt     FSDP2 (`fully_shard`): DTensors, whose mesh and placements say all
    pytorch_model_rank_0.bin         FSDP1 (SHARDED_STATE_DICT): ShardedTensors, with the offsets and sizes of their shards

As in `distributed_tensors`. The names of the files differ from one trainer to the next; the last number in each is the rank.
Peculiarities:
- What is no distributed tensor, and what is replicated, is whole on every rank.
- FSDP1's LOCAL_STATE_DICT keeps flat parameters (`_flat_param`) of which no file says what is in them: refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from ...errors import CkptError, Malformed, ReadError, about
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import formats
from ..encodings.distributed_tensors import Placed, placed, rank_of
from ..encodings.object_nodes import Call
from ..encodings.pickle_tree import TorchTree
from .set_of_parts import Gathered, SetOfParts, file_of, missing_part, open_part
from .step_folder import names_in
from .wholes import Piece, Whole, by_name, narrowed, same_on_all, whole_of

_WORLD = re.compile(r"world_?size_?(\d+)")
_NOT_THE_MODEL = ("optim", "extra", "scheduler", "rng", "random", "-of-")


class Fsdp(SetOfParts):
    """Folders of rank files."""

    name = "fsdp"
    title = "FSDP rank files (a folder)"
    called = "a set of FSDP ranks"

    def locate(self, path: str) -> str | None:
        """The file of rank 0 in the folder `path`, where it holds distributed tensors. Raises ReadError where there are several sets."""
        found = [names for names in _sets(path) if _is_distributed(path, names)]
        models = [names for names in found if "model" in names[0]] or found
        if len(models) > 1:
            listed = ", ".join(names[0] for names in models[:5])
            raise ReadError(f"the folder holds several sets of rank files: {listed}", "move all but one into a folder of their own", path)
        return os.path.join(path, models[0][0]) if models else None

    def is_main(self, path: str, folder: str) -> bool:
        """Whether `path` is what `locate` gives; files are opened only where its name is that of a rank."""
        return _last_number(os.path.basename(path)) is not None and super().is_main(path, folder)

    def gather(self, main: File) -> Gathered:
        """The tensors of all ranks, put together."""
        folder = os.path.dirname(main.path)
        names = next(names for names in _sets(folder) if os.path.basename(main.path) in names)
        parts = [open_part(os.path.join(folder, name), main) for name in names]
        _check_ranks(folder, names, parts)
        files = [file_of(part) for part in parts]
        trees = {file: part.rest for file, part in zip(files, parts, strict=True)}
        wholes = {}
        for name, held in by_name([(file, part.tensors) for file, part in zip(files, parts, strict=True)]):
            wholes[name] = _whole(name, held, trees)
        return Gathered(wholes, files, parts[0].objects)


def _sets(folder: str) -> Iterator[list[str]]:
    """The names of the files that only a number tells apart, by that number: each set that may be the model's."""
    sets: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in names_in(folder):
        found = _last_number(name)
        if found and not any(word in name.lower() for word in _NOT_THE_MODEL):
            sets.setdefault((found[0], found[2]), []).append((int(found[1]), name))
    yield from ([name for _, name in sorted(found)] for _, found in sorted(sets.items()))


def _last_number(name: str) -> tuple[str, str, str] | None:
    """What stands before the last number of a name, that number, and what stands behind."""
    found = re.fullmatch(r"(.*?)(\d{1,9})(\D*\.(?:pt|pth|bin|ckpt))", name)
    return (found[1], found[2], found[3]) if found else None


def _is_distributed(folder: str, names: Sequence[str]) -> bool:
    """Whether the first of these files holds tensors that are distributed over several ranks.

    What cannot be read holds none: the error comes when it is opened. One rank alone is read by its own format.
    """
    try:
        part = open_part(os.path.join(folder, names[0]))
    except CkptError:
        return False
    return isinstance(part.rest, TorchTree) and bool(part.rest.distributed) and (len(names) > 1 or _world(names[0], part) != 1)


def _check_ranks(folder: str, names: Sequence[str], parts: Sequence[Checkpoint]) -> None:
    """Raise Malformed for a rank whose file is missing, or ranks that are of several worlds."""
    worlds = {name: _world(name, part) for name, part in zip(names, parts, strict=True)}
    world = max(worlds.values())
    other = next((name for name in names if worlds[name] not in (world, 0)), None)
    if other:
        one = next(name for name in names if worlds[name] == world)
        raise Malformed(f"{one} is of {world} ranks and {other} of {worlds[other]}", "the parts are not of one checkpoint", folder)
    before, number, behind = _last_number(names[0]) or ("", "0", "")
    there = {int(found[1]) for name in names if (found := _last_number(name))}
    first = min(there) if min(there) <= 1 and world <= len(there) else 0
    for rank in range(first, first + world):
        if rank not in there:
            raise missing_part(folder, f"{before}{rank:0{len(number)}d}{behind}", world)


def _world(name: str, part: Checkpoint) -> int:
    """How many ranks there are: what the name says, or the mesh, whichever is more; 0 where neither does."""
    nodes = part.rest.distributed.values() if isinstance(part.rest, TorchTree) else ()
    said = _WORLD.search(name)
    return max([int(said[1]) if said else 0, *(rank.parts for node in nodes if (rank := rank_of(node)))])


def _whole(name: str, held: list[tuple[File, Tensor]], trees: dict[File, object]) -> Whole:
    """The tensor `name` from what the ranks hold of it."""
    if name.rpartition(".")[2] in ("_flat_param", "flat_param"):
        raise Malformed(
            f"{name} is a flat parameter, and no file says which parameters are in it",
            "save with StateDictType.SHARDED_STATE_DICT or FULL_STATE_DICT",
        )
    nodes = [tree.distributed.get(name) if isinstance(tree := trees[file], TorchTree) else None for file, _ in held]
    if not any(nodes):
        return same_on_all(name, held)
    shape, pieces = None, []
    for node, (file, tensor) in zip(nodes, held, strict=True):
        with about(file.path):
            if node is None:
                raise Malformed(f"{name} is a plain tensor here, and distributed in another part", "the parts are not of one checkpoint")
            found = _placed(name, node, tensor)
            if shape not in (None, found.shape):
                raise Malformed(f"{name} is of another shape in another part", "the parts are not of one checkpoint")
        shape = found.shape
        pieces += [Piece(file, narrowed(tensor, local), box) for local, box in found.boxes]
    if not pieces:
        pieces = [Piece(held[0][0], held[0][1], [(0, n) for n in held[0][1].shape])]
    whole = whole_of(name, shape or (), pieces)
    return whole._replace(agree=whole.single)  # copies of shards are as large as the model, and are compared by `ckpt check` alone


def _placed(name: str, node: Call, tensor: Tensor) -> Placed:
    """Where a rank's piece of the tensor `name` lies; an error names the tensor."""
    try:
        return placed(node, tensor)
    except Malformed as error:
        error.what = f"{name}: {error.what}"
        raise


formats.add(Fsdp.name, Fsdp())
