"""GGUF, llama.cpp's: `GGUF`, version, counts, key/values with types, what is said of each tensor, padding, and the tensors' data.

Specified in docs/gguf.md of ggml-org/ggml; types, block sizes and limits are those of ggml.h and gguf.cpp. Peculiarities:
- The dimensions `ne` stand in reverse: ne[0] runs fastest. A row of a quantised tensor is a whole number of blocks.
- All data are aligned to `general.alignment` (32 where it is not there), each tensor's too, and follow each other without a hole.
- Quantised tensors have no plain elements: they are decoded where numbers are asked for, and kept as they are elsewhere.
- Scalars and strings are metadata, arrays (vocabularies) are objects. A file written anew keeps them with their types and order; what comes
  from other formats is strings, and `general.architecture`, which every reader wants, is `unknown` where it is not said.
- Version 3 may be big-endian: plain tensors are turned round; blocks are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import CannotHold, Malformed
from ...numbers.dtypes import DTYPES, DType
from ...numbers.shapes import show_shape
from ...storage.file import File
from ...storage.mapped import swapped
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import Format, changed_storages, formats, patch_of

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Change, Patch
    from .header import Header, Info

_DTYPES = {
    0: "float32", 1: "float16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
    13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64", 29: "IQ1_M", 30: "bfloat16", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
_CODES = {name: code for code, name in _DTYPES.items()}
_LONGEST_NAME = 64
_MOST_AXES = 4


class Gguf(Format):
    name = "gguf"
    title = "GGUF (llama.cpp, ggml)"
    called = "GGUF"
    suffixes = (".gguf",)
    patches = metadata = objects = sets_metadata = True

    def sniff(self, file: File) -> bool:
        return file.head[:4] == b"GGUF"

    def read(self, file: File) -> Checkpoint:
        from .header import Header, arrays, metadata

        header = Header(file)
        return Checkpoint(_tensors(header), metadata(header), arrays(header), rest=header)

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        from .header import Header, head, info

        header = checkpoint.rest if isinstance(checkpoint.rest, Header) else None
        order, version, alignment = (header.order, header.version, header.alignment) if header else ("<", 3, _alignment(checkpoint))
        pairs = _pairs(checkpoint, header, alignment)
        infos, end = _laid_out(checkpoint, alignment)
        file_layout.write(head(order, version, len(infos), len(pairs)))
        for piece in (*pairs, *(info(found, order) for found in infos)):
            file_layout.write(piece)
        base = file_layout.at + -file_layout.at % alignment
        for found, tensor in zip(infos, checkpoint.values(), strict=True):
            file_layout.write(bytes(base + found.offset - file_layout.at))
            file_layout.put(_in_order(tensor.elements(), tensor.dtype, order))
        file_layout.write(bytes(base + end - file_layout.at))
        if header and header.end < header.file.size:  # nobody reads it, and it is not ours to leave out
            file_layout.put(Extent(header.file, header.end, header.file.size - header.end))

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        """Values, and those of the metadata that keep their length."""
        if checkpoint.origin is None:
            return None
        told = _changed(checkpoint, checkpoint.origin.read)
        found = patch_of(checkpoint, changed_storages(checkpoint.replacing(metadata=checkpoint.origin.read.metadata)))
        if told is None or found is None:
            return None
        return found._replace(changes=sorted([*told, *found.changes], key=lambda change: change.at))


def _changed(checkpoint: Checkpoint, before: Checkpoint) -> list[Change] | None:
    """What changes in the metadata; None where that takes another length, or an entry is not there any more."""
    from ...disk.patch import Change
    from ...storage.storage import Memory

    header: Header = before.rest
    if checkpoint.metadata is before.metadata:
        return []
    if list(checkpoint.metadata) != list(before.metadata):
        return None
    told = {header.values[key].begin: (header.raw(key), _pair(checkpoint, before, key)) for key in before.metadata}
    if any(len(old) != len(new) for old, new in told.values()):
        return None
    return [Change(at, Memory(new)) for at, (old, new) in told.items() if old != new]


def _pair(checkpoint: Checkpoint, before: Checkpoint, key: str) -> bytes:
    """A key and its value: as they stand in the file, where they were not changed. Raises CannotHold."""
    header: Header = before.rest
    if key not in before.metadata or checkpoint.metadata[key] == before.metadata[key]:
        return header.raw(key)
    if key == "general.alignment":
        raise CannotHold("general.alignment says where the data lie, and they stay there", "leave it as it is")
    return header.with_text(key, checkpoint.metadata[key])


def _tensors(header: Header) -> dict[str, Tensor]:
    """The tensors, which follow each other as they must."""
    tensors: dict[str, Tensor] = {}
    at = end = header.base
    for found in header.tensors:
        dtype = _dtype(found, header)
        if found.name in tensors:
            raise Malformed(f"there are two tensors {found.name!r}")
        begin = header.base + found.offset
        if begin != at:
            raise Malformed(f"tensor {found.name!r} begins at byte {begin:,}, not at {at:,} behind the one before it")
        extent = Extent(header.file, begin, _nbytes(dtype, found.shape))
        at, end = begin + -(-extent.nbytes // header.alignment) * header.alignment, begin + extent.nbytes
        tensors[found.name] = Tensor.whole(dtype, found.shape, _in_order(extent, dtype, header.order))
    if end > header.file.size and tensors:
        missing = end - header.file.size
        raise Malformed(f"truncated: {missing:,} of {end - header.base:,} bytes of data are missing", "download or copy it again")
    header.end = at
    return tensors


def _dtype(found: Info, header: Header) -> DType:
    if found.type not in _DTYPES:
        raise Malformed(f"tensor {found.name!r}: type {found.type:,} of ggml is not known")
    dtype = DTYPES[_DTYPES[found.type]]
    if (found.shape[-1] if found.shape else 1) % dtype.elements:
        raise Malformed(f"tensor {found.name!r}: rows of shape {show_shape(found.shape)} are no whole blocks of {dtype.name}")
    if header.order == ">" and dtype.elements > 1:
        raise Malformed(f"tensor {found.name!r}: blocks of {dtype.name} in big-endian order are not read", "take the little-endian file")
    return dtype


def _nbytes(dtype: DType, shape: tuple[int, ...]) -> int:
    from ...numbers.shapes import nbytes_of

    return nbytes_of(dtype, shape)


def _in_order(storage: Storage, dtype: DType, order: str) -> Storage:
    return storage if order == "<" else swapped(storage, dtype.part)


def _alignment(checkpoint: Checkpoint) -> int:
    """What a file that comes from elsewhere says of itself, where that can be; else 32."""
    said = checkpoint.metadata.get("general.alignment", "")
    found = int(said) if said.isascii() and said.isdecimal() and len(said) < 8 else 0
    return found if found and not found & (found - 1) else 32


def _pairs(checkpoint: Checkpoint, header: Header | None, alignment: int) -> list[bytes]:
    """The key/values: as they stand in the file that they were read from; else as strings."""
    from .header import pair

    if header and checkpoint.origin:
        before = checkpoint.origin.read
        return [_pair(checkpoint, before, key) for key in header.values if key in checkpoint.metadata or key in checkpoint.objects]
    said = {key: value for key, value in checkpoint.metadata.items() if key not in ("format", "general.alignment")}
    texts = {"general.architecture": "unknown"} | said
    found = [pair(key, value, "<") for key, value in texts.items()]
    return found if alignment == 32 else [*found, pair("general.alignment", alignment, "<")]


def _laid_out(checkpoint: Checkpoint, alignment: int) -> tuple[list[Info], int]:
    """What is to be said of each tensor, and the bytes of all data, padded. Raises CannotHold."""
    from .header import Info

    at, infos = 0, []
    for name, tensor in checkpoint.items():
        _check(name, tensor)
        infos.append(Info(name, _CODES[tensor.dtype.name], tensor.shape, at))
        at += -(-tensor.nbytes // alignment) * alignment
    return infos, at


def _check(name: str, tensor: Tensor) -> None:
    """Raises CannotHold where there is no place for a tensor."""
    kind = tensor.layout or tensor.dtype.name
    if tensor.layout or tensor.dtype.name not in _CODES:
        casts = {"f": "--dtype float32", "u": f"ckpt cast … int64 '{name}'", "b": f"ckpt cast … int8 '{name}'"}
        cast = f"cast it: {casts[tensor.dtype.kind]}, or " if tensor.numeric and tensor.dtype.kind in casts else ""
        raise CannotHold(f"GGUF cannot hold {name}, which is {kind}", f"{cast}leave it out: --drop '{name}'")
    if (tensor.shape[-1] if tensor.shape else 1) % tensor.dtype.elements:
        raise CannotHold(f"GGUF cannot hold {name}: its rows are no whole blocks of {kind}", "cast it to float32")
    if len(tensor.shape) > _MOST_AXES:
        raise CannotHold(f"GGUF cannot hold {name}, which has {len(tensor.shape)} dimensions: {_MOST_AXES} at most", "leave it out: --drop")
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
        raise CannotHold(f"GGUF cannot hold the name {name}, which is longer than {_LONGEST_NAME} bytes", "rename it: --rename OLD=NEW")


formats.add(Gguf.name, Gguf())
