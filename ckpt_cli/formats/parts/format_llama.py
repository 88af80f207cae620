"""The original weights of Llama: a file for each model-parallel rank, and the sizes of the model.

    params.json              dim, n_heads, n_kv_heads …
    consolidated.00.pth …    rank 0's part of each tensor

As in llama/model.py and fairscale's model-parallel layers. The axis follows from the layer: wq, wk, wv, w1, w3 and output lie along axis 0,
wo and w2 along axis 1; norms and rope.freqs are whole on every rank. tok_embeddings are cut along axis 1 (Llama 1 and 2) or 0 (Llama 3),
which `dim` tells. No file says how many ranks there are; that follows from `n_heads` and the size of wq.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ...disk.opening import open_file
from ...errors import Malformed, about
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import formats
from ..encodings import strict_json
from .set_of_parts import Gathered, SetOfParts, file_of, missing_part, open_part
from .step_folder import names_in
from .tensor_parallel import SAME, Cut, by_layer, joined, rules_of, told
from .wholes import by_name

_PART = re.compile(r"consolidated\.(\d{2,3})\.(pth|pt)")
_MOST_PARAMS = 1 << 20  # bytes of params.json
_RULES = {
    r"(^|\.)(attention\.w[qkv]|feed_forward\.w[13]|output)\.(weight|bias)$": Cut(0),
    r"(^|\.)(attention\.wo|feed_forward\.w2)\.weight$": Cut(1),
    r"(^|\.)(attention\.wo|feed_forward\.w2)\.bias$": SAME,
    r"norm\.weight$": SAME,
    r"(^|\.)rope\.freqs$": SAME,
}


class Llama(SetOfParts):
    """Folders of `consolidated.0R.pth`."""

    name = "llama"
    title = "Llama's original ranks (a folder)"
    called = "a set of Llama's ranks"

    def locate(self, path: str) -> str | None:
        """The file of the first rank in the folder `path`; None where it is the only one, which is read by its own format."""
        names = _parts(path)
        first = os.path.join(path, names[min(names)]) if names else None
        alone = first and list(names) == [0] and _world(open_part(first), _params(path)) == 1
        return None if alone else first

    def gather(self, main: File) -> Gathered:
        """The model, put together of its ranks."""
        folder = os.path.dirname(main.path) or "."
        names = _parts(folder)
        params = _params(folder)
        parts = {rank: open_part(os.path.join(folder, name), main) for rank, name in sorted(names.items())}
        world = max(_world(next(iter(parts.values())), params), max(names) + 1)
        _, suffix = os.path.splitext(main.path)
        for rank in range(world):
            if rank not in names:
                raise missing_part(folder, f"consolidated.{rank:02d}{suffix}", world)
        rules = rules_of([folder])
        wholes = {}
        for name, held in by_name([(file_of(part), part.tensors) for part in parts.values()]):
            if len(held) != world:
                raise Malformed(f"{name} is in {len(held)} of {world} ranks", "the parts are not of one checkpoint", folder)
            wholes[name] = joined(name, held, told(rules, name) or _cut(name, held[0][1], params), folder)
        return Gathered(wholes, [file_of(part) for part in parts.values()], parts[0].objects)

    def part_note(self, path: str, checkpoint: Checkpoint) -> str:
        """Which rank a file is of."""
        match = _PART.fullmatch(os.path.basename(path))
        folder = os.path.dirname(path) or "."
        world = max(_world(checkpoint, _params(folder)), max(_parts(folder), default=0) + 1) if match else 1
        if not match or world == 1:
            return ""
        return f"part {int(match[1]) + 1} of {world}: tensors are listed as this rank holds them; give the folder to read them whole"


def _parts(folder: str) -> dict[int, str]:
    """The names of the ranks' files, by rank."""
    return {int(match[1]): name for name in names_in(folder) if (match := _PART.fullmatch(name))}


def _params(folder: str) -> Mapping[str, Any]:
    """What params.json says; nothing where there is none."""
    path = os.path.join(folder, "params.json")
    if not os.path.isfile(path):
        return {}
    with about(path):
        file = open_file(path)
        found = strict_json.loads(file.read(0, file.size)) if file.size <= _MOST_PARAMS else None
    return found if type(found) is dict else {}


def _number(params: Mapping[str, Any], name: str) -> int:
    value = params.get(name)
    return value if type(value) is int and 0 < value < 1 << 31 else 0


def _world(part: Checkpoint, params: Mapping[str, Any]) -> int:
    """How many ranks there are, by the rows of wq: all of them are n_heads × head_dim; 1 where that cannot be told."""
    heads, dim = _number(params, "n_heads"), _number(params, "dim")
    rows = heads * (_number(params, "head_dim") or (dim // heads if heads else 0))
    name = next((name for name in part if name.endswith("attention.wq.weight")), None)
    held = part.kinds()[name].shape[0] if name and part.kinds()[name].shape else 0
    return min(rows // held, 1000) if held and rows % held == 0 else 1


def _cut(name: str, tensor: Tensor, params: Mapping[str, Any]) -> Cut | None:
    """How a tensor lies on the ranks, by the type of its layer."""
    if re.search(r"(^|\.)tok_embeddings\.weight$", name):
        dim = _number(params, "dim")
        return Cut(0 if tensor.shape[1:] == (dim,) else 1) if dim else None
    return by_layer(_RULES, name)


formats.add(Llama.name, Llama())
