"""`ckpt hash`: digests of tensors that do not depend on the format of the file."""

from __future__ import annotations

from typing import Any

from ..analysis.digest import Digest, digests, undecoded_digests, whole
from ..errors import about
from ..show.answer import Answer, Color
from ..show.progress import Progress
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import select
from .params import Arch, Colors, Csv, IgnoreIndex, Json, Path, Patterns, layers_of, open_checkpoint


def hash_command(
    path: Path,
    patterns: Patterns = None,
    arch: Arch = "auto",
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    as_csv: Csv = False,
    color: Colors = Color.auto,
) -> None:
    """Print the SHA-256 of each tensor's elements as C-contiguous little-endian bytes, and one digest of all that were picked.

    The last is SHA-256 over the sorted lines NAME, DTYPE, SHAPE, DIGEST (tab-separated, each with its newline): the same weights in another
    format, order or sharding hash the same. Quantised tensors are hashed with their scales, zero points and axis, sparse ones by indices
    and values. Bytes that are in no tensor are hashed, too, where no PATTERN is given: their dtype is `bytes`, their shape their count.
    In a pipe: DIGEST, NAME, DTYPE, SHAPE, tab-separated, the whole last with the name *.
    JSON: {"path", "format", "sha256", "tensors": [{"name", "dtype", "shape", "sha256"}]}.
    """
    checkpoint = open_checkpoint(path, ignore_index=ignore_index)
    with about(path), Progress() as progress:
        names = select(checkpoint, patterns or [], layers_of(checkpoint, arch))
        of_tensors = list(digests({name: checkpoint[name] for name in names}, progress=progress))
        of_all = of_tensors if patterns else [*of_tensors, *undecoded_digests(checkpoint.undecoded)]
    out = Answer(as_json, color, as_csv)
    if as_json:
        document = {"path": path, "format": checkpoint.origin.format if checkpoint.origin else "", "sha256": whole(of_all)}
        out.json(document | {"tensors": [_document(digest, checkpoint) for digest in of_all]})
    else:
        out.table(("SHA-256", "NAME", "DTYPE", "SHAPE"), [*of_all, (whole(of_all), "*", "", "")])


def _document(digest: Digest, checkpoint: Checkpoint) -> dict[str, Any]:
    shape = checkpoint[digest.name].shape if digest.name in checkpoint else (int(digest.shape),)
    return {"name": digest.name, "dtype": digest.dtype, "shape": list(shape), "sha256": digest.sha256}
